//! Owns the parser's core and bodies: arguments and blocks, with recovery after each broken item.

mod expression;
mod template;

use super::ast::{Attribute, Block, Body, Expr, ExprKind, Name};
use super::lexer::{lex, lex_template};
use super::token::{Token, TokenKind};
use super::{MAX_DEPTH, ast::Part};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::source_map::{FileId, SourceMap, Span};

/// Syntax errors reported for one text at most.
const MAX_ERRORS: usize = 50;

/// Parses a whole file. The body holds everything that could be understood.
pub(crate) fn parse_body(sources: &mut SourceMap, file: FileId, diagnostics: &mut Diagnostics) -> Body {
    let Some(text) = sources.get(file).map(|source| source.text().clone()) else { return Body::default() };
    let mut parser = Parser::new(&text, lex(file, &text));
    let body = parser.body(TokenKind::EndOfFile);
    diagnostics.extend(parser.diagnostics);
    remember_blocks(&body, sources);
    body
}

/// Parses a text that is one expression, as `-var` values of complex types are.
pub(crate) fn parse_expression(sources: &SourceMap, file: FileId, diagnostics: &mut Diagnostics) -> Expr {
    let Some(text) = sources.get(file).map(|source| source.text().clone()) else {
        return Expr { kind: ExprKind::Invalid, span: Span::default() };
    };
    let mut parser = Parser::new(&text, lex(file, &text));
    parser.newlines.push(false);
    let expression = parser.expression();
    let next = parser.peek();
    if next.kind != TokenKind::EndOfFile {
        parser.error(
            Diagnostic::error(
                "Extra characters after expression",
                "A whole expression was read, but there is more text after it.",
            )
            .at(next.span),
        );
    }
    diagnostics.extend(parser.diagnostics);
    expression
}

/// Parses a text that is a template as a whole, as `templatefile` reads it.
pub(crate) fn parse_template(file: FileId, text: &str, diagnostics: &mut Diagnostics) -> Expr {
    let mut parser = Parser::new(text, lex_template(file, text));
    let start = parser.peek().span;
    let parts = parser.template(TokenKind::EndOfFile, start, false);
    diagnostics.extend(parser.diagnostics);
    let span = parts.1;
    template_expression(parts.0, span)
}

/// Parses a template that a JSON string spells; every place in it is that of the whole string.
pub(crate) fn parse_quoted_template(text: &str, span: Span, diagnostics: &mut Diagnostics) -> Expr {
    let mut parser = Parser::new(text, lex_template(span.file, text));
    let start = parser.peek().span;
    let parts = parser.template(TokenKind::EndOfFile, start, false);
    diagnostics
        .extend(parser.diagnostics.into_iter().map(|diagnostic| Diagnostic { context: None, ..diagnostic.at(span) }));
    let mut expr = template_expression(parts.0, span);
    expr.relocate(span);
    expr
}

/// Makes an expression of template parts: a single sequence keeps its type.
fn template_expression(mut parts: Vec<Part>, span: Span) -> Expr {
    let kind = match parts.as_mut_slice() {
        [Part::Interpolation(_)] => match parts.pop() {
            Some(Part::Interpolation(inner)) => ExprKind::Wrapped(Box::new(inner)),
            _ => ExprKind::Invalid,
        },
        _ => ExprKind::Template(parts),
    };
    Expr { kind, span }
}

fn remember_blocks(body: &Body, sources: &mut SourceMap) {
    for block in &body.blocks {
        let mut header = block.kind.text.to_string();
        for label in &block.labels {
            header.push_str(&format!(" \"{}\"", label.text));
        }
        sources.add_block(block.span, header);
        remember_blocks(&block.body, sources);
    }
}

/// Reads tokens into a tree. An error inside an item sets `failed`, which makes everything up to the item return at
/// once; the item then skips to where the next one begins.
struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    /// Index of the next token.
    at: usize,
    /// Whether line ends count, for each bracket around; the file itself counts them.
    newlines: Vec<bool>,
    failed: bool,
    depth: u32,
    diagnostics: Diagnostics,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, tokens: Vec<Token>) -> Self {
        Self { text, tokens, at: 0, newlines: vec![true], failed: false, depth: 0, diagnostics: Diagnostics::new() }
    }

    fn slice(&self, span: Span) -> &'a str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// Returns the kind a token has here: a comment that ends a line is a line end where those count, else nothing.
    fn effective(&self, token: Token) -> Option<TokenKind> {
        let newlines = self.newlines.last().copied().unwrap_or(true);
        match token.kind {
            TokenKind::Comment if newlines && !self.slice(token.span).starts_with("/*") => Some(TokenKind::Newline),
            TokenKind::Comment => None,
            TokenKind::Newline if !newlines => None,
            kind => Some(kind),
        }
    }

    fn next_index(&self) -> usize {
        let mut index = self.at;
        while let Some(&token) = self.tokens.get(index) {
            if self.effective(token).is_some() {
                break;
            }
            index += 1;
        }
        index.min(self.tokens.len().saturating_sub(1))
    }

    fn peek(&self) -> Token {
        let fallback = Token { kind: TokenKind::EndOfFile, span: Span::default() };
        let token = self.tokens.get(self.next_index()).copied().unwrap_or(fallback);
        Token { kind: self.effective(token).unwrap_or(TokenKind::EndOfFile), ..token }
    }

    fn read(&mut self) -> Token {
        let token = self.peek();
        let index = self.next_index();
        // The end of the file may be read any number of times.
        self.at = if token.kind == TokenKind::EndOfFile { index } else { index + 1 };
        token
    }

    fn previous(&self) -> Span {
        self.tokens[..self.at.min(self.tokens.len())].last().map(|token| token.span).unwrap_or_default()
    }

    fn accept(&mut self, kind: TokenKind) -> Option<Token> {
        (self.peek().kind == kind).then(|| self.read())
    }

    /// Reports a problem of the current item; only the first of each item is of use.
    fn error(&mut self, diagnostic: Diagnostic) {
        if !self.failed && self.diagnostics.len() < MAX_ERRORS {
            self.diagnostics.push(diagnostic);
        }
        self.failed = true;
    }

    /// Reports a problem without giving up on the current item.
    fn complain(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() < MAX_ERRORS {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Runs `inside` one level deeper, or reports that the nesting is too deep.
    fn deeper<T>(&mut self, fallback: T, inside: impl FnOnce(&mut Self) -> T) -> T {
        if self.depth >= MAX_DEPTH {
            let span = self.peek().span;
            self.error(
                Diagnostic::error(
                    "Nesting too deep",
                    format!("Blocks and expressions can be nested at most {MAX_DEPTH} levels deep."),
                )
                .at(span),
            );
            return fallback;
        }
        self.depth += 1;
        let result = inside(self);
        self.depth -= 1;
        result
    }

    /// Runs `inside` with line ends counting or not.
    fn with_newlines<T>(&mut self, count: bool, inside: impl FnOnce(&mut Self) -> T) -> T {
        self.newlines.push(count);
        let result = inside(self);
        self.newlines.pop();
        result
    }

    fn name(&self, token: Token) -> Name {
        Name { text: self.slice(token.span).into(), span: token.span }
    }

    /// Reads items up to `end`, which is read too.
    fn body(&mut self, end: TokenKind) -> Body {
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
                    self.error(
                        Diagnostic::error(
                            "Unclosed configuration block",
                            "The file ends before the closing brace of this block. Perhaps braces are nested wrongly \
                             somewhere before.",
                        )
                        .at(opened),
                    );
                    break;
                }
                _ => {
                    let start = self.at;
                    self.failed = false;
                    self.item(&mut body);
                    if self.failed {
                        self.recover(start);
                        self.failed = false;
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

    fn line(&self, span: Span) -> usize {
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
            _ => self.single_line_body(brace.span),
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
            _ => self.error(
                Diagnostic::error(
                    "Invalid single-argument block definition",
                    "A block on a single line can hold one argument only, and must end on that line. Put each argument \
                     on a line of its own.",
                )
                .at(end.span),
            ),
        }
        body.span = brace.to(self.previous());
        body
    }

    /// Explains characters that have no meaning anywhere.
    fn stray(&self, token: Token) -> Option<Diagnostic> {
        let text = self.slice(token.span);
        let diagnostic = match token.kind {
            TokenKind::Apostrophe => Diagnostic::error(
                "Invalid character",
                "Single quotes have no meaning here; strings stand in double quotes (\").",
            ),
            TokenKind::Backquote => Diagnostic::error(
                "Invalid character",
                "The \"`\" character has no meaning here. For a string of several lines use a heredoc, such as \"<<EOT\".",
            ),
            TokenKind::Semicolon => Diagnostic::error(
                "Invalid character",
                "The \";\" character has no meaning here. Arguments and blocks are separated by line ends, items of \
                 lists and objects by commas.",
            ),
            TokenKind::BitOperator => {
                let instead = match text {
                    "&" => " Did you mean boolean AND (\"&&\")?",
                    "|" => " Did you mean boolean OR (\"||\")?",
                    "~" => " Did you mean boolean NOT (\"!\")?",
                    _ => "",
                };
                Diagnostic::error("Unsupported operator", format!("There are no bitwise operators.{instead}"))
            }
            TokenKind::QuotedNewline => Diagnostic::error(
                "Invalid multi-line string",
                "A quoted string cannot go on over the end of the line. Write \\n for a line end in it, or use a \
                 heredoc.",
            ),
            TokenKind::Invalid if text.starts_with(['\u{201c}', '\u{201d}', '\u{201e}']) => Diagnostic::error(
                "Invalid character",
                "Curly quotes are not valid. These can come from text editors and web pages; use straight quotes (\").",
            ),
            TokenKind::Invalid => Diagnostic::error(
                "Invalid character",
                format!("The character {text:?} has no meaning in this language."),
            ),
            _ => return None,
        };
        Some(diagnostic)
    }

    /// Skips from a broken item (which began at token `start`) to where the next one begins.
    ///
    /// That is after the first line end outside of all brackets, or before the brace that closes the body. If a bracket
    /// is never closed, a line that looks like an item and is not indented further than this one ends the skipping.
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
                TokenKind::CloseBracket
                | TokenKind::CloseParen
                | TokenKind::CloseQuote
                | TokenKind::CloseHeredoc
                | TokenKind::TemplateEnd
                | TokenKind::QuotedNewline => _ = open.pop(),
                _ => {}
            }
            index += 1;
            if line_end && index >= error_at && (open.is_empty() || self.looks_like_item(index, column)) {
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

    fn column(&self, index: usize) -> usize {
        let Some(token) = self.tokens.get(index) else { return 0 };
        let before = self.text.get(..token.span.start as usize).unwrap_or_default();
        before.len() - before.rfind('\n').map_or(0, |newline| newline + 1)
    }
}

#[cfg(test)]
mod tests;
