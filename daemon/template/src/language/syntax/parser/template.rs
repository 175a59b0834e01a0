//! Owns the parsing of templates: text with `${ }` and `%{ }`, escapes, trimming, indentation of heredocs.

use std::sync::Arc;

use unicode_segmentation::UnicodeSegmentation as _;

use super::super::ast::{Expr, ExprKind, Name, Part};
use super::super::token::{Token, TokenKind};
use super::core::Parser;
use crate::diagnostics::Diagnostic;
use crate::diagnostics::source_map::Span;
use crate::diagnostics::suggest::did_you_mean;

/// A template before `if` and `for` are matched with their ends.
enum Piece {
    Text(String),
    Interpolation(Expr),
    If(Expr, Span),
    Else(Span),
    EndIf(Span),
    For { key_name: Option<Name>, value_name: Name, collection: Expr, span: Span },
    EndFor(Span),
}

impl Parser<'_> {
    /// Reads a template up to and with `end`; `open` is where it began. Returns its parts and the place of its content.
    pub(super) fn template(&mut self, end: TokenKind, open: Span, flush: bool) -> (Vec<Part>, Span) {
        let mut pieces = self.pieces(end, open);
        let span = open.to(self.previous());
        if self.failed {
            return (Vec::new(), span);
        }
        if flush {
            remove_indentation(&mut pieces);
        }
        let mut pieces = pieces.into_iter().peekable();
        let parts = self.parts(&mut pieces, None);
        (parts, span)
    }

    fn pieces(&mut self, end: TokenKind, open: Span) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut trim_next = false;
        loop {
            // Template text never counts as a line end or comment, so tokens are read as they are.
            let token = self.read();
            if token.kind == end {
                return pieces;
            }
            let trim = std::mem::take(&mut trim_next);
            match token.kind {
                TokenKind::QuotedText | TokenKind::PlainText => {
                    let mut text = self.literal(token);
                    if trim {
                        text = text.trim_start().to_owned();
                    }
                    pieces.push(Piece::Text(text));
                }
                TokenKind::TemplateInterpolation | TokenKind::TemplateControl => {
                    if self.slice(token.span).ends_with('~')
                        && let Some(Piece::Text(text)) = pieces.last_mut()
                    {
                        text.truncate(text.trim_end().len());
                    }
                    self.enter_sequence(token, end);
                    let piece = self.with_newlines(false, |parser| {
                        if token.kind == TokenKind::TemplateControl {
                            parser.control(token)
                        } else {
                            let inner = parser.expression();
                            Some(Piece::Interpolation(inner))
                        }
                    });
                    let Some(piece) = piece.filter(|_| !self.failed) else { return pieces };
                    pieces.push(piece);
                    let close = self.with_newlines(false, Self::peek_token);
                    if close.kind != TokenKind::TemplateEnd {
                        self.unclosed_sequence(token, close, end);
                        return pieces;
                    }
                    self.with_newlines(false, Self::read);
                    self.leave_sequence(end);
                    trim_next = self.slice(close.span).starts_with('~');
                }
                TokenKind::QuotedNewline => {
                    let diagnostic = self.stray(token);
                    if let Some(diagnostic) = diagnostic {
                        self.error(diagnostic.at(token.span.before()).within(open.to(token.span.before())));
                    }
                    return pieces;
                }
                _ => {
                    let hint = if end == TokenKind::CloseHeredoc {
                        "the end marker must stand alone on its line, and a line end must follow it"
                    } else {
                        "a closing quote is missing"
                    };
                    self.error(
                        Diagnostic::error(
                            "Unterminated template string",
                            "No closing marker was found for the string.",
                        )
                        .at(open)
                        .hint(hint),
                    );
                    return pieces;
                }
            }
        }
    }

    fn enter_sequence(&mut self, token: Token, end: TokenKind) {
        if let Some(heredoc) = self.heredocs.last_mut().filter(|_| end == TokenKind::CloseHeredoc) {
            heredoc.sequence = Some(token);
        }
    }

    fn leave_sequence(&mut self, end: TokenKind) {
        if let Some(heredoc) = self.heredocs.last_mut().filter(|_| end == TokenKind::CloseHeredoc) {
            heredoc.sequence = None;
        }
    }

    fn peek_token(&mut self) -> Token {
        self.peek()
    }

    fn unclosed_sequence(&mut self, open: Token, close: Token, end: TokenKind) {
        let unclosed = matches!(close.kind, TokenKind::EndOfFile | TokenKind::QuotedNewline)
            || (end == TokenKind::CloseQuote && matches!(close.kind, TokenKind::CloseQuote | TokenKind::OpenQuote));
        let diagnostic = if unclosed {
            Diagnostic::error(
                "Unclosed template interpolation sequence",
                "There is no closing brace for this sequence before the end of the string. Perhaps brackets are nested \
                 wrongly inside it.",
            )
            .at(open.span)
        } else {
            let summary = if open.kind == TokenKind::TemplateControl {
                "Extra characters in template directive"
            } else {
                "Extra characters after interpolation expression"
            };
            let detail = "Expected a closing brace to end the sequence, but found extra characters. If the sequence is \
                          meant for another language, such as a shell script, write \"$${\" in place of \"${\" (or \
                          \"%%{\" in place of \"%{\").";
            self.stray(close).unwrap_or_else(|| Diagnostic::error(summary, detail)).at(close.span)
        };
        self.error(diagnostic.within(open.span.to(close.span)));
    }

    /// Reads what follows `%{`, up to its closing brace.
    fn control(&mut self, open: Token) -> Option<Piece> {
        let keyword = self.peek();
        if keyword.kind != TokenKind::Identifier {
            let detail = "A directive keyword (\"if\", \"for\", …) is expected at the beginning of a %{ sequence.";
            self.error(
                Diagnostic::error("Invalid template directive", detail)
                    .at(keyword.span)
                    .within(open.span.to(keyword.span))
                    .hint("to write a literal \"%{\", double the percent sign: \"%%{\""),
            );
            return None;
        }
        self.read();
        let span = open.span.to(keyword.span);
        match self.slice(keyword.span) {
            "if" => {
                let condition = self.expression();
                Some(Piece::If(condition, span.to(self.previous())))
            }
            "else" => Some(Piece::Else(span)),
            "endif" => Some(Piece::EndIf(span)),
            "for" => {
                let (key_name, value_name) = self.for_names("Invalid 'for' directive", open.span)?;
                let collection = self.expression();
                Some(Piece::For { key_name, value_name, collection, span: span.to(self.previous()) })
            }
            "endfor" => Some(Piece::EndFor(span)),
            other => {
                let hint = did_you_mean(other, ["if", "for", "else", "endif", "endfor"]);
                let detail = format!("{other:?} is not a template control keyword.");
                self.error(
                    Diagnostic::error("Invalid template control keyword", detail)
                        .at(keyword.span)
                        .within(open.span.to(keyword.span))
                        .hint_maybe(hint),
                );
                None
            }
        }
    }

    /// Reads `value in` or `key, value in` after the keyword `for`.
    pub(super) fn for_names(&mut self, summary: &str, open: Span) -> Option<(Option<Name>, Name)> {
        let mut names = Vec::new();
        loop {
            let token = self.peek();
            if token.kind != TokenKind::Identifier {
                let detail = "'for' requires the name of a variable here.";
                self.error(Diagnostic::error(summary, detail).at(token.span).within(open.to(token.span)));
                return None;
            }
            self.read();
            names.push(self.name(token));
            if names.len() == 2 || self.accept(TokenKind::Comma).is_none() {
                break;
            }
        }
        let token = self.peek();
        if token.kind != TokenKind::Identifier || self.slice(token.span) != "in" {
            let detail = "'for' requires the keyword 'in' after its names.";
            self.error(Diagnostic::error(summary, detail).at(token.span).within(open.to(token.span)));
            return None;
        }
        self.read();
        let value = names.pop()?;
        Some((names.pop(), value))
    }

    /// Matches directives with their ends; `open` is the directive that is being closed, if any.
    fn parts(
        &mut self,
        pieces: &mut std::iter::Peekable<std::vec::IntoIter<Piece>>,
        open: Option<(&str, Span)>,
    ) -> Vec<Part> {
        let mut parts = Vec::new();
        while let Some(piece) = pieces.peek() {
            if let Piece::Else(span) | Piece::EndIf(span) | Piece::EndFor(span) = *piece {
                let name = match piece {
                    Piece::Else(_) => "else",
                    Piece::EndIf(_) => "endif",
                    _ => "endfor",
                };
                if matches!(
                    (open, name),
                    (Some(("if", _)), "else" | "endif") | (Some(("else", _)), "endif") | (Some(("for", _)), "endfor")
                ) {
                    return parts;
                }
                let detail = match open {
                    Some((directive, _)) => format!("The {directive} directive before it is not closed by it."),
                    None => "There is no directive that it could belong to.".to_owned(),
                };
                self.complain_once(Diagnostic::error(format!("Unexpected {name} directive"), detail).at(span));
                return parts;
            }
            let Some(piece) = pieces.next() else { break };
            match piece {
                Piece::Text(text) => parts.push(Part::Text(normal(&text))),
                Piece::Interpolation(inner) => parts.push(Part::Interpolation(inner)),
                Piece::If(condition, span) => {
                    let part = self.deeper(None, |parser| Some(parser.if_parts(pieces, condition, span)));
                    parts.extend(part);
                }
                Piece::For { key_name, value_name, collection, span } => {
                    let body = self.deeper(Vec::new(), |parser| parser.parts(pieces, Some(("for", span))));
                    match pieces.next() {
                        Some(Piece::EndFor(_)) => {}
                        _ => self.unclosed_directive("for", span),
                    }
                    parts.push(Part::For { key_name, value_name, collection, body, span });
                }
                Piece::Else(_) | Piece::EndIf(_) | Piece::EndFor(_) => {}
            }
            if self.failed {
                return parts;
            }
        }
        parts
    }

    fn if_parts(
        &mut self,
        pieces: &mut std::iter::Peekable<std::vec::IntoIter<Piece>>,
        condition: Expr,
        span: Span,
    ) -> Part {
        let yes = self.parts(pieces, Some(("if", span)));
        let mut no = Vec::new();
        let mut next = pieces.next();
        if let Some(Piece::Else(_)) = next {
            no = self.parts(pieces, Some(("else", span)));
            next = pieces.next();
        }
        if !matches!(next, Some(Piece::EndIf(_))) {
            self.unclosed_directive("if", span);
        }
        Part::If { condition, yes, no, span }
    }

    fn unclosed_directive(&mut self, directive: &str, span: Span) {
        let detail = format!("The {directive} directive has no end{directive} directive.");
        self.complain_once(Diagnostic::error("Unexpected end of template", detail).at(span));
    }

    /// Reports a problem of the template's structure, unless one was reported already.
    fn complain_once(&mut self, diagnostic: Diagnostic) {
        self.error(diagnostic);
    }

    /// Returns the text that a literal token stands for.
    fn literal(&mut self, token: Token) -> String {
        let raw = self.slice(token.span);
        let quoted = token.kind == TokenKind::QuotedText;
        if !raw.contains(['\\', '$', '%']) {
            return raw.to_owned();
        }
        let mut out = String::with_capacity(raw.len());
        let mut at = 0;
        while let Some(c) = raw.get(at..).and_then(|rest| rest.chars().next()) {
            let rest = &raw[at..];
            if (c == '$' && rest.starts_with("$${")) || (c == '%' && rest.starts_with("%%{")) {
                out.push(c);
                out.push('{');
                at += 3;
                continue;
            }
            if c != '\\' || !quoted {
                out.push(c);
                at += c.len_utf8();
                continue;
            }
            match escape(rest) {
                Ok((c, length)) => {
                    out.push(c);
                    at += length;
                }
                Err(reason) => {
                    let length = 1 + rest.chars().nth(1).map_or(0, char::len_utf8);
                    let start = token.span.start + u32::try_from(at).unwrap_or(0);
                    let end = start + u32::try_from(length).unwrap_or(0);
                    let span = Span { start, end, ..token.span };
                    self.complain(
                        Diagnostic::error("Invalid escape sequence", reason)
                            .at(span)
                            .hint("a backslash itself is written \\\\"),
                    );
                    at += length;
                }
            }
        }
        out
    }
}

fn normal(text: &str) -> Arc<str> {
    // NFC is applied to the whole string when the value is made.
    text.into()
}

/// Reads one escape of a quoted string; returns its character and its length in bytes.
fn escape(text: &str) -> Result<(char, usize), String> {
    let kind = text.chars().nth(1);
    let digits = match kind {
        Some('n') => return Ok(('\n', 2)),
        Some('r') => return Ok(('\r', 2)),
        Some('t') => return Ok(('\t', 2)),
        Some('"') => return Ok(('"', 2)),
        Some('\\') => return Ok(('\\', 2)),
        Some('u') => 4,
        Some('U') => 8,
        Some(other) => return Err(format!("The symbol {other:?} has no meaning after a backslash.")),
        None => return Err("A backslash must be followed by an escape sequence selector.".into()),
    };
    let code = text.get(2..2 + digits).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
    code.and_then(|code| u32::from_str_radix(code, 16).ok())
        .and_then(char::from_u32)
        .map(|c| (c, 2 + digits))
        .ok_or_else(|| {
            format!("The \\{} escape needs {digits} hexadecimal digits of a character.", kind.unwrap_or('u'))
        })
}

/// Removes the indentation that all lines of a `<<-` heredoc share.
fn remove_indentation(pieces: &mut [Piece]) {
    let mut least = usize::MAX;
    let mut line_start = true;
    let mut starts = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        if std::mem::take(&mut line_start) {
            let mut spaces = 0;
            if let Piece::Text(text) = piece {
                let trimmed = text.trim_start();
                if trimmed.is_empty() && text.ends_with('\n') {
                    // A blank line says nothing about the indentation, and keeps what it has.
                    spaces = usize::MAX;
                } else {
                    spaces = text[..text.len() - trimmed.len()].graphemes(true).count();
                    starts.push(index);
                }
            }
            least = least.min(spaces);
        }
        if let Piece::Text(text) = piece {
            line_start = text.ends_with('\n');
        }
    }
    for index in starts {
        if let Some(Piece::Text(text)) = pieces.get_mut(index) {
            let cut: usize = text.graphemes(true).take(least).map(str::len).sum();
            text.drain(..cut);
        }
    }
}

/// Makes an expression of template parts: a single sequence keeps its type.
pub(super) fn template_expression(mut parts: Vec<Part>, span: Span) -> Expr {
    let kind = match parts.as_mut_slice() {
        [Part::Interpolation(_)] => match parts.pop() {
            Some(Part::Interpolation(inner)) => ExprKind::Wrapped(Box::new(inner)),
            _ => ExprKind::Invalid,
        },
        _ => ExprKind::Template(parts),
    };
    Expr { kind, span }
}
