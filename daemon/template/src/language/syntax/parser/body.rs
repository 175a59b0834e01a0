//! Owns the parsing of bodies: arguments and blocks, and how to go on after a broken one.

use super::super::ast::{Attribute, Block, Body, Expr, ExprKind, Name};
use super::super::token::{Token, TokenKind};
use super::core::Parser;
use super::template::template_expression;
use crate::diagnostics::Diagnostic;
use crate::diagnostics::source_map::Span;

impl Parser<'_> {
    /// Reads items up to `end`, which is read too.
    pub(super) fn body(&mut self, end: TokenKind) -> Body {
        let mut body = Body { span: self.peek().span.before(), ..Body::default() };
        let opened = self.previous();
        loop {
            let token = self.peek();
            match token.kind {
                kind if kind == end => {
                    self.read();
                    break;
                }
                TokenKind::Newline => _ = self.read(),
                TokenKind::EndOfFile => {
                    // A comment without an end has the brace in it.
                    if !self.swallowed {
                        self.error(
                            Diagnostic::error(
                                "Unclosed configuration block",
                                "The file ends before the closing brace of this block. Perhaps braces are nested wrongly \
                                 somewhere before.",
                            )
                            .at(opened),
                        );
                    }
                    body.torn = true;
                    break;
                }
                _ => {
                    let start = self.at;
                    self.failed = false;
                    let column = self.column(self.next_index());
                    let outer = std::mem::replace(&mut self.item_column, column);
                    self.item(&mut body);
                    self.item_column = outer;
                    if self.failed {
                        self.recover(start);
                        self.failed = false;
                        body.torn = true;
                    }
                }
            }
        }
        body.span = body.span.to(self.previous());
        body
    }

    fn item(&mut self, body: &mut Body) {
        let token = self.read();
        if token.kind != TokenKind::Identifier {
            let diagnostic = match token.kind {
                TokenKind::OpenQuote => {
                    Diagnostic::error("Invalid argument name", "Argument names must not be quoted.")
                }
                _ => self.stray(token).unwrap_or_else(|| {
                    Diagnostic::error(
                        "Argument or block definition required",
                        format!("An argument or block definition is required here, not {}.", token.kind.noun()),
                    )
                }),
            };
            return self.error(diagnostic.at(token.span));
        }
        match self.peek().kind {
            TokenKind::Equal => {
                if let Some(attribute) = self.attribute(token, false) {
                    self.add_attribute(body, attribute);
                }
            }
            TokenKind::OpenQuote | TokenKind::OpenBrace | TokenKind::Identifier => {
                if let Some(block) = self.deeper(None, |parser| parser.block(token)) {
                    body.blocks.push(block);
                }
            }
            // Of which has been told.
            TokenKind::UnclosedComment => self.failed = true,
            _ => {
                let diagnostic = Diagnostic::error(
                    "Argument or block definition required",
                    "An argument or block definition is required here. To set an argument, put an equals sign \"=\" \
                     between its name and its value.",
                );
                self.error(diagnostic.at(token.span));
            }
        }
    }

    fn add_attribute(&mut self, body: &mut Body, attribute: Attribute) {
        if let Some(earlier) = body.attribute(&attribute.name.text) {
            let diagnostic = Diagnostic::error(
                "Attribute redefined",
                format!(
                    "The argument {:?} was already set on line {}. Each argument may be set only once.",
                    attribute.name.text,
                    self.line(earlier.name.span)
                ),
            );
            return self.complain(diagnostic.at(attribute.name.span));
        }
        body.attributes.push(attribute);
    }

    pub(super) fn line(&self, span: Span) -> usize {
        self.text.get(..span.start as usize).unwrap_or_default().matches('\n').count() + 1
    }

    fn attribute(&mut self, name: Token, single_line: bool) -> Option<Attribute> {
        self.read();
        let value = self.expression();
        let name = self.name(name);
        let span = name.span.to(value.span);
        if self.failed {
            // What could be read is still worth checking.
            return Some(Attribute { name, value: Expr { kind: ExprKind::Invalid, span }, span });
        }
        if !single_line {
            self.line_end(
                name.span,
                ("Missing newline after argument", "An argument definition must end with a line end."),
            );
        }
        Some(Attribute { name, value, span })
    }

    fn line_end(&mut self, start: Span, (summary, detail): (&str, &str)) {
        let end = self.peek();
        match end.kind {
            TokenKind::Newline => _ = self.read(),
            TokenKind::EndOfFile => {}
            TokenKind::Comma => self.error(
                Diagnostic::error(
                    "Unexpected comma after argument",
                    "Arguments are separated by line ends, not commas.",
                )
                .at(end.span)
                .within(start.to(end.span)),
            ),
            _ => {
                let diagnostic = self.stray(end).unwrap_or_else(|| Diagnostic::error(summary, detail));
                self.error(diagnostic.at(end.span).within(start.to(end.span)));
            }
        }
    }

    fn block(&mut self, kind: Token) -> Option<Block> {
        let kind = self.name(kind);
        let mut labels = Vec::new();
        let mut header = kind.span;
        let brace = loop {
            let token = self.read();
            match token.kind {
                TokenKind::OpenBrace => break token,
                TokenKind::Identifier => labels.push(self.name(token)),
                TokenKind::OpenQuote => {
                    let parts = self.template(TokenKind::CloseQuote, token.span, false);
                    let label = template_expression(parts.0, token.span.to(self.previous()));
                    if self.failed {
                        return None;
                    }
                    let Some(text) = label.literal_string() else {
                        self.error(
                            Diagnostic::error(
                                "Invalid string literal",
                                "Template sequences are not allowed in block labels. To write a literal \"${\", \
                                 double the dollar sign.",
                            )
                            .at(label.span),
                        );
                        return None;
                    };
                    labels.push(Name { text: text.into(), span: label.span });
                }
                other => {
                    let detail = match other {
                        TokenKind::Equal => "An equals sign belongs to an argument; a block has none before its brace.",
                        TokenKind::Newline => {
                            "The content of a block stands between \"{\" and \"}\", and the \"{\" must be on the same \
                             line as the block's name."
                        }
                        _ => "A quoted label or an opening brace is expected here.",
                    };
                    let diagnostic = self.stray(token).unwrap_or_else(|| {
                        Diagnostic::error("Invalid block definition", detail).within(header.to(token.span))
                    });
                    self.error(diagnostic.at(token.span));
                    return None;
                }
            }
            header = header.to(self.previous());
        };
        let newlines = self.newlines.len();
        let body = match self.peek().kind {
            TokenKind::Newline | TokenKind::EndOfFile | TokenKind::CloseBrace => {
                let mut body = self.with_newlines(true, |parser| parser.body(TokenKind::CloseBrace));
                body.span = brace.span.to(self.previous());
                body
            }
            _ => {
                let mut body = self.single_line_body(brace.span);
                body.torn = self.failed;
                body
            }
        };
        self.newlines.truncate(newlines);
        let span = kind.span.to(self.previous());
        if !self.failed {
            self.line_end(
                kind.span,
                ("Missing newline after block definition", "A block definition must end with a line end."),
            );
        }
        Some(Block { kind, labels, body, header, span })
    }

    /// Reads `name = value }`.
    fn single_line_body(&mut self, brace: Span) -> Body {
        let mut body = Body::default();
        let name = self.read();
        if name.kind != TokenKind::Identifier || self.peek().kind != TokenKind::Equal {
            let diagnostic = self.stray(name).unwrap_or_else(|| {
                Diagnostic::error(
                    "Argument definition required",
                    "A block on a single line can hold one argument only. Put nested blocks on lines of their own.",
                )
            });
            self.error(diagnostic.at(name.span));
            return body;
        }
        if let Some(attribute) = self.attribute(name, true) {
            body.attributes.push(attribute);
        }
        if self.failed {
            return body;
        }
        let end = self.peek();
        match end.kind {
            TokenKind::CloseBrace => _ = self.read(),
            TokenKind::EndOfFile => self.error(
                Diagnostic::error(
                    "Unclosed configuration block",
                    "The file ends before the closing brace of this block.",
                )
                .at(brace),
            ),
            _ => {
                let diagnostic = self.never_closed(brace).or_else(|| Some(self.stray(end)?.at(end.span)));
                self.error(diagnostic.unwrap_or_else(|| {
                    Diagnostic::error(
                        "Invalid single-argument block definition",
                        "A block on a single line can hold one argument only, and must end on that line. Put each \
                         argument on a line of its own.",
                    )
                    .at(end.span)
                }));
            }
        }
        body.span = brace.to(self.previous());
        body
    }

    /// Returns what is to be said of a block on a single line behind which the file ends, or the next item of the body
    /// around begins, or that body ends.
    fn never_closed(&self, brace: Span) -> Option<Diagnostic> {
        let blank = |token: &Token| matches!(token.kind, TokenKind::Newline | TokenKind::Comment);
        let next = self.next_index();
        let index = next + self.tokens.get(next..)?.iter().take_while(|token| blank(token)).count();
        let found = *self.tokens.get(index).filter(|_| index > next)?;
        let detail = if found.kind == TokenKind::EndOfFile {
            "The file ends before the closing brace of this block.".to_owned()
        } else if self.looks_like_item(index, self.item_column) {
            let what = match found.kind {
                TokenKind::CloseBrace => "The block around it ends",
                _ => "An argument or block begins",
            };
            format!("{what} on line {} before the closing brace of this block.", self.line(found.span))
        } else {
            return None;
        };
        let diagnostic = Diagnostic::error("Unclosed configuration block", detail).at(brace);
        Some(match found.kind {
            TokenKind::EndOfFile => diagnostic,
            _ => diagnostic.related(found.span, "it should be closed before this"),
        })
    }

    /// Skips from a broken item (which began at token `start`) to where the next one begins.
    ///
    /// That is after the first line end outside of all brackets, or before the brace that closes the body. If a bracket
    /// is never closed, a line that looks like an item and is not indented further than this one ends the skipping; in a list
    /// or in parentheses already where the parser found it, because nothing of that look can stand there.
    fn recover(&mut self, start: usize) {
        let column = self.column(start);
        let error_at = self.at;
        let mut open: Vec<TokenKind> = Vec::new();
        let mut index = start;
        while let Some(&token) = self.tokens.get(index) {
            let line_end = match token.kind {
                TokenKind::Newline | TokenKind::QuotedNewline => true,
                TokenKind::Comment => !self.slice(token.span).starts_with("/*"),
                _ => false,
            };
            match token.kind {
                TokenKind::EndOfFile => break,
                TokenKind::OpenBrace
                | TokenKind::OpenBracket
                | TokenKind::OpenParen
                | TokenKind::OpenQuote
                | TokenKind::OpenHeredoc
                | TokenKind::TemplateInterpolation
                | TokenKind::TemplateControl => open.push(token.kind),
                // A brace that nothing inside the item opened ends the body, whatever else was left open.
                TokenKind::CloseBrace
                    if !open.contains(&TokenKind::OpenBrace) && index + 1 >= error_at && index > start =>
                {
                    break;
                }
                TokenKind::CloseBrace => while open.pop().is_some_and(|kind| kind != TokenKind::OpenBrace) {},
                // Whatever a sequence of it left open ends with it.
                TokenKind::CloseHeredoc => while open.pop().is_some_and(|kind| kind != TokenKind::OpenHeredoc) {},
                TokenKind::CloseBracket
                | TokenKind::CloseParen
                | TokenKind::CloseQuote
                | TokenKind::TemplateEnd
                | TokenKind::QuotedNewline => _ = open.pop(),
                _ => {}
            }
            index += 1;
            // After too deep a nesting nothing is looked at, or every line of it would be read over and over.
            if !line_end || self.too_deep {
                continue;
            }
            let past = index >= error_at;
            let listed = |kind: &TokenKind| matches!(kind, TokenKind::OpenBracket | TokenKind::OpenParen);
            let in_list = !open.is_empty() && open.iter().all(listed);
            if past && open.is_empty() || (past || in_list) && self.looks_like_item(index, column) {
                break;
            }
        }
        self.at = index.min(self.tokens.len().saturating_sub(1));
    }

    fn looks_like_item(&self, index: usize, column: usize) -> bool {
        let kind = |offset: usize| self.tokens.get(index + offset).map(|token| token.kind);
        let here = self.column(index);
        match kind(0) {
            Some(TokenKind::Identifier) => {
                here <= column
                    && matches!(kind(1), Some(TokenKind::Equal | TokenKind::OpenBrace | TokenKind::OpenQuote))
            }
            Some(TokenKind::CloseBrace) => here < column,
            _ => false,
        }
    }

    pub(super) fn column(&self, index: usize) -> usize {
        let Some(token) = self.tokens.get(index) else { return 0 };
        let before = self.text.get(..token.span.start as usize).unwrap_or_default();
        before.len() - before.rfind('\n').map_or(0, |newline| newline + 1)
    }
}
