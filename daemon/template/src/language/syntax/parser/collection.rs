//! Owns the parsing of what stands in brackets and braces: lists, objects, `for`.

use super::super::ast::{Expr, ExprKind, ForExpr, Name, ObjectKey};
use super::super::token::{Token, TokenKind};
use super::brackets::Enclosed;
use super::core::Parser;
use crate::diagnostics::Diagnostic;

impl Parser<'_> {
    fn is_for(&mut self) -> bool {
        self.newlines.push(false);
        let token = self.peek();
        self.newlines.pop();
        token.kind == TokenKind::Identifier && self.slice(token.span) == "for"
    }

    pub(super) fn tuple(&mut self) -> Expr {
        let open = self.read();
        if self.is_for() {
            return self
                .bracketed(open, Enclosed::List, false, |parser| parser.for_expression(open, TokenKind::CloseBracket));
        }
        let mut items = Vec::new();
        self.bracketed(open, Enclosed::List, false, |parser| {
            while parser.accept(TokenKind::CloseBracket).is_none() {
                items.push(parser.expression());
                if parser.failed {
                    return;
                }
                let next = parser.read();
                match next.kind {
                    TokenKind::Comma => {}
                    TokenKind::CloseBracket => return,
                    kind => {
                        let diagnostic = parser.stray(next).unwrap_or_else(|| {
                            Diagnostic::error(
                                "Missing item separator",
                                format!("Expected a comma before the next item, but found {}.", kind.noun()),
                            )
                        });
                        return parser.error(diagnostic.at(next.span).within(open.span.to(next.span)));
                    }
                }
            }
        });
        Expr { kind: ExprKind::Tuple(items), span: open.span.to(self.previous()) }
    }

    pub(super) fn object(&mut self) -> Expr {
        let open = self.read();
        if self.is_for() {
            return self
                .bracketed(open, Enclosed::Object, false, |parser| parser.for_expression(open, TokenKind::CloseBrace));
        }
        let mut items = Vec::new();
        self.bracketed(open, Enclosed::Object, true, |parser| {
            loop {
                while parser.accept(TokenKind::Newline).is_some() {}
                if parser.failed || parser.accept(TokenKind::CloseBrace).is_some() {
                    return;
                }
                let Some(item) = parser.object_item(open) else { return };
                items.push(item);
                let next = parser.peek();
                match next.kind {
                    TokenKind::Comma | TokenKind::Newline => _ = parser.read(),
                    TokenKind::CloseBrace => {}
                    kind => {
                        let diagnostic = parser.stray(next).unwrap_or_else(|| {
                            Diagnostic::error(
                                "Missing attribute separator",
                                format!(
                                    "Expected a line end or comma before the next attribute, but found {}.",
                                    kind.noun()
                                ),
                            )
                        });
                        return parser.error(diagnostic.at(next.span).within(open.span.to(next.span)));
                    }
                }
            }
        });
        Expr { kind: ExprKind::Object(items), span: open.span.to(self.previous()) }
    }

    fn object_item(&mut self, open: Token) -> Option<(ObjectKey, Expr)> {
        let key = self.expression();
        if self.failed {
            return None;
        }
        let separator = self.peek();
        if !matches!(separator.kind, TokenKind::Equal | TokenKind::Colon) {
            let (summary, detail) = match separator.kind {
                TokenKind::Newline | TokenKind::Comma | TokenKind::CloseBrace => (
                    "Missing attribute value",
                    "Expected an attribute value, introduced by an equals sign (\"=\").".to_owned(),
                ),
                kind => (
                    "Missing key/value separator",
                    format!("Expected an equals sign (\"=\") after the key, but found {}.", kind.noun()),
                ),
            };
            let diagnostic = self.stray(separator).unwrap_or_else(|| Diagnostic::error(summary, detail));
            self.error(diagnostic.at(separator.span).within(open.span.to(separator.span)));
            return None;
        }
        self.read();
        let value = self.expression();
        if self.failed {
            return None;
        }
        let key = match key.kind {
            ExprKind::Variable(text) => ObjectKey::Name(Name { text, span: key.span }),
            ExprKind::Literal(value) if value.is_null() || value.as_bool().is_some() => {
                // A bare word is its own text, even when it is a keyword.
                let text = self.slice(key.span).into();
                ObjectKey::Name(Name { text, span: key.span })
            }
            _ => ObjectKey::Expr(key),
        };
        Some((key, value))
    }

    fn for_expression(&mut self, open: Token, end: TokenKind) -> Expr {
        let invalid = self.invalid(open.span);
        self.read();
        let Some((key_name, value_name)) = self.for_names("Invalid 'for' expression", open.span) else {
            return invalid;
        };
        let collection = self.expression();
        if self.failed {
            return invalid;
        }
        let colon = self.read();
        if colon.kind != TokenKind::Colon {
            return self.for_error(open, colon, "A colon is required after the collection of 'for'.");
        }
        let mut value = self.expression();
        let mut key = None;
        let mut group = false;
        if !self.failed
            && let Some(arrow) = self.accept(TokenKind::FatArrow)
        {
            if end == TokenKind::CloseBracket {
                return self.for_error(
                    open,
                    arrow,
                    "A key (\"=>\") is only possible when the result is an object, in braces.",
                );
            }
            key = Some(value);
            value = self.expression();
            if !self.failed {
                group = self.accept(TokenKind::Ellipsis).is_some();
            }
        }
        if self.failed {
            return invalid;
        }
        if key.is_none() && end == TokenKind::CloseBrace {
            let next = self.peek();
            return self.for_error(
                open,
                next,
                "For an object (in braces) both a key and a value are required: \"for … : key => value\".",
            );
        }
        let mut condition = None;
        let next = self.peek();
        if next.kind == TokenKind::Identifier && self.slice(next.span) == "if" {
            self.read();
            condition = Some(self.expression());
            if self.failed {
                return invalid;
            }
        }
        let close = self.read();
        if close.kind != end {
            return self.for_error(open, close, "Extra characters after the end of the 'for' expression.");
        }
        let kind = ExprKind::For(Box::new(ForExpr { key_name, value_name, collection, key, value, condition, group }));
        Expr { kind, span: open.span.to(close.span) }
    }

    fn for_error(&mut self, open: Token, at: Token, detail: &str) -> Expr {
        let diagnostic = self.stray(at).unwrap_or_else(|| Diagnostic::error("Invalid 'for' expression", detail));
        self.error(diagnostic.at(at.span).within(open.span.to(at.span)));
        self.invalid(open.span)
    }
}
