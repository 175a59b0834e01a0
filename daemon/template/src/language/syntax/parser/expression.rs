//! Owns the parsing of expressions: operators, terms, references, collections, `for`.

use super::super::ast::{BinaryOperator, Expr, ExprKind, Step, UnaryOperator};
use super::super::token::{Token, TokenKind};
use super::brackets::Enclosed;
use super::core::Parser;
use super::template::template_expression;
use crate::diagnostics::Diagnostic;
use crate::diagnostics::source_map::Span;
use crate::language::value::{Number, Value};

/// Returns an infix operator and its precedence, from 1 (loosest).
fn binary_operator(kind: TokenKind) -> Option<(BinaryOperator, u8)> {
    use BinaryOperator as B;
    Some(match kind {
        TokenKind::Or => (B::Or, 1),
        TokenKind::And => (B::And, 2),
        TokenKind::EqualEqual => (B::Equal, 3),
        TokenKind::NotEqual => (B::NotEqual, 3),
        TokenKind::Less => (B::Less, 4),
        TokenKind::LessEqual => (B::LessEqual, 4),
        TokenKind::Greater => (B::Greater, 4),
        TokenKind::GreaterEqual => (B::GreaterEqual, 4),
        TokenKind::Plus => (B::Add, 5),
        TokenKind::Minus => (B::Subtract, 5),
        TokenKind::Star => (B::Multiply, 6),
        TokenKind::Slash => (B::Divide, 6),
        TokenKind::Percent => (B::Modulo, 6),
        _ => return None,
    })
}

impl Parser<'_> {
    pub(super) fn invalid(&self, span: Span) -> Expr {
        Expr { kind: ExprKind::Invalid, span }
    }

    /// Reads an expression; after an error the result is [`ExprKind::Invalid`] somewhere and `failed` is set.
    pub(super) fn expression(&mut self) -> Expr {
        let span = self.peek().span;
        let fallback = self.invalid(span);
        self.deeper(fallback, Self::conditional)
    }

    fn conditional(&mut self) -> Expr {
        let condition = self.binary(1);
        if self.failed || self.accept(TokenKind::Question).is_none() {
            return condition;
        }
        let yes = self.expression();
        if self.failed {
            return condition;
        }
        let colon = self.peek();
        if colon.kind != TokenKind::Colon {
            self.error(
                Diagnostic::error(
                    "Missing false expression in conditional",
                    "The conditional operator (… ? … : …) needs a second result after a colon.",
                )
                .at(colon.span)
                .within(condition.span.to(colon.span)),
            );
            return condition;
        }
        self.read();
        let no = self.expression();
        let span = condition.span.to(no.span);
        let kind = ExprKind::Conditional { condition: Box::new(condition), yes: Box::new(yes), no: Box::new(no) };
        Expr { kind, span }
    }

    /// Reads operators of at least this precedence; operators of one precedence become one node.
    fn binary(&mut self, least: u8) -> Expr {
        let mut left = self.operand();
        while !self.failed {
            let Some((_, level)) = binary_operator(self.peek().kind).filter(|&(_, level)| level >= least) else {
                break;
            };
            let mut rest = Vec::new();
            let mut span = left.span;
            while !self.failed {
                let found = binary_operator(self.peek().kind).filter(|&(_, found)| found == level);
                let Some((operator, _)) = found else { break };
                self.read();
                let right = self.binary(level + 1);
                span = span.to(right.span);
                rest.push((operator, right));
            }
            left = Expr { kind: ExprKind::Binary { first: Box::new(left), rest }, span };
        }
        left
    }

    fn operand(&mut self) -> Expr {
        let term = self.term();
        self.traversals(term)
    }

    fn term(&mut self) -> Expr {
        let token = self.peek();
        match token.kind {
            TokenKind::OpenParen => self.parens(),
            TokenKind::Number => {
                self.read();
                self.number(token)
            }
            TokenKind::Identifier => {
                self.read();
                if self.peek().kind == TokenKind::OpenParen {
                    return self.call(token);
                }
                let kind = match self.slice(token.span) {
                    "true" => ExprKind::Literal(true.into()),
                    "false" => ExprKind::Literal(false.into()),
                    "null" => ExprKind::Literal(Value::null()),
                    name => ExprKind::Variable(name.into()),
                };
                Expr { kind, span: token.span }
            }
            TokenKind::OpenQuote => {
                self.read();
                let (parts, _) = self.template(TokenKind::CloseQuote, token.span, false);
                template_expression(parts, token.span.to(self.previous()))
            }
            TokenKind::OpenHeredoc => {
                self.read();
                let flush = self.slice(token.span).starts_with("<<-");
                let (parts, _) =
                    self.in_heredoc(token, |parser| parser.template(TokenKind::CloseHeredoc, token.span, flush));
                template_expression(parts, token.span.to(self.previous()))
            }
            TokenKind::Minus | TokenKind::Bang => {
                self.read();
                let fallback = self.invalid(token.span);
                let operand = self.deeper(fallback, Self::operand);
                let operator = if token.kind == TokenKind::Minus { UnaryOperator::Negate } else { UnaryOperator::Not };
                let span = token.span.to(operand.span);
                Expr { kind: ExprKind::Unary { operator, operand: Box::new(operand) }, span }
            }
            TokenKind::OpenBracket => self.tuple(),
            TokenKind::OpenBrace => self.object(),
            _ => {
                let found = if token.kind == TokenKind::EndOfFile || token.kind == TokenKind::Newline {
                    token.span.before()
                } else {
                    token.span
                };
                let diagnostic = self.stray(token).unwrap_or_else(|| {
                    Diagnostic::error(
                        "Invalid expression",
                        format!("Expected the start of an expression, but found {}.", token.kind.noun()),
                    )
                });
                self.error(diagnostic.at(found));
                self.invalid(token.span)
            }
        }
    }

    fn number(&mut self, token: Token) -> Expr {
        let text = self.slice(token.span);
        let Some(number) = Number::parse(text) else {
            self.error(
                Diagnostic::error("Invalid number literal", format!("The number {text} is too long or too large."))
                    .at(token.span),
            );
            return self.invalid(token.span);
        };
        Expr { kind: ExprKind::Literal(number.into()), span: token.span }
    }

    fn parens(&mut self) -> Expr {
        let open = self.read();
        let inner = self.bracketed(open, Enclosed::Parentheses, false, |parser| {
            let inner = parser.expression();
            if parser.failed {
                return inner;
            }
            let close = parser.peek();
            if close.kind == TokenKind::CloseParen {
                parser.read();
            } else {
                let diagnostic = parser.stray(close).unwrap_or_else(|| {
                    Diagnostic::error("Unbalanced parentheses", "Expected a closing parenthesis after the expression.")
                });
                parser.error(diagnostic.at(close.span).within(open.span.to(close.span)));
            }
            inner
        });
        Expr { span: open.span.to(self.previous()), kind: ExprKind::Parens(Box::new(inner)) }
    }

    fn call(&mut self, name: Token) -> Expr {
        let open = self.read();
        let name = self.name(name);
        let mut arguments = Vec::new();
        let mut expand = false;
        self.bracketed(open, Enclosed::Call, false, |parser| {
            while parser.accept(TokenKind::CloseParen).is_none() {
                arguments.push(parser.expression());
                if parser.failed {
                    return;
                }
                let next = parser.read();
                match next.kind {
                    TokenKind::Comma => {}
                    TokenKind::CloseParen => return,
                    TokenKind::Ellipsis => {
                        expand = true;
                        let close = parser.peek();
                        if close.kind != TokenKind::CloseParen {
                            let detail = "The argument with \"...\" must be the last one, so a closing parenthesis is \
                                          expected here.";
                            parser.error(Diagnostic::error("Missing closing parenthesis", detail).at(close.span));
                            return;
                        }
                    }
                    kind => {
                        let diagnostic = parser.stray(next).unwrap_or_else(|| {
                            Diagnostic::error(
                                "Missing argument separator",
                                format!("A comma or closing parenthesis is required here, not {}.", kind.noun()),
                            )
                        });
                        return parser.error(diagnostic.at(next.span).within(name.span.to(next.span)));
                    }
                }
            }
        });
        let span = name.span.to(self.previous());
        let arguments_span = open.span.to(self.previous());
        Expr { kind: ExprKind::Call { name, arguments, expand, arguments_span }, span }
    }

    /// Reads everything that may follow a term: `.name`, `[index]`, splats.
    fn traversals(&mut self, from: Expr) -> Expr {
        let mut result = from;
        while !self.failed {
            let token = self.peek();
            result = match token.kind {
                TokenKind::Dot => self.dot(result),
                TokenKind::OpenBracket => self.bracket(result),
                _ => break,
            };
        }
        result
    }

    fn dot(&mut self, source: Expr) -> Expr {
        let dot = self.read();
        let token = self.peek();
        match token.kind {
            TokenKind::Identifier => {
                self.read();
                step(source, Step::Attribute(self.name(token)))
            }
            TokenKind::Number => match self.legacy_index(dot) {
                Some(index) => step(source, index),
                None => source,
            },
            TokenKind::Star => {
                let marker = dot.span.to(self.read().span);
                let mut each = Expr { kind: ExprKind::SplatItem, span: marker };
                // Only names and numbers belong to this splat; what follows belongs to its result.
                while !self.failed && self.peek().kind == TokenKind::Dot {
                    let dot = self.read();
                    let token = self.peek();
                    match token.kind {
                        TokenKind::Identifier => {
                            self.read();
                            each = step(each, Step::Attribute(self.name(token)));
                        }
                        TokenKind::Number => {
                            if let Some(index) = self.legacy_index(dot) {
                                each = step(each, index);
                            }
                        }
                        TokenKind::Star => self.error(
                            Diagnostic::error(
                                "Nested splat expression not allowed",
                                "A splat (*) cannot be used inside another attribute-only splat.",
                            )
                            .at(token.span),
                        ),
                        _ => self.bad_attribute(token, dot),
                    }
                }
                let span = source.span.to(self.previous());
                Expr { kind: ExprKind::Splat { source: Box::new(source), each: Box::new(each), marker }, span }
            }
            _ => {
                self.bad_attribute(token, dot);
                source
            }
        }
    }

    fn bad_attribute(&mut self, token: Token, dot: Token) {
        let diagnostic = self.stray(token).unwrap_or_else(|| {
            Diagnostic::error("Invalid attribute name", "An attribute name is required after a dot.")
        });
        self.error(diagnostic.at(token.span).within(dot.span.to(token.span)));
    }

    /// Reads the number of `.0`.
    fn legacy_index(&mut self, dot: Token) -> Option<Step> {
        let token = self.read();
        let text = self.slice(token.span);
        if let Some((first, second)) = text.split_once('.') {
            let detail = format!("Two indexes cannot follow one another in this form. Write [{first}][{second}].");
            self.error(Diagnostic::error("Invalid legacy index syntax", detail).at(token.span));
            return None;
        }
        let key = self.number(token);
        Some(Step::Index { key, span: dot.span.to(token.span) })
    }

    fn bracket(&mut self, source: Expr) -> Expr {
        let open = self.read();
        if self.peek().kind == TokenKind::Star {
            let star = self.read();
            let close = self.peek();
            if close.kind != TokenKind::CloseBracket {
                let detail = "The star of a splat must be followed at once by a closing bracket.";
                self.error(
                    Diagnostic::error("Missing close bracket on splat index", detail)
                        .at(close.span)
                        .within(open.span.to(close.span)),
                );
                return source;
            }
            self.read();
            let marker = open.span.to(close.span);
            let item = Expr { kind: ExprKind::SplatItem, span: star.span };
            let fallback = self.invalid(marker);
            // Everything that follows is done for each element.
            let each = self.deeper(fallback, |parser| parser.traversals(item));
            let span = source.span.to(self.previous());
            return Expr { kind: ExprKind::Splat { source: Box::new(source), each: Box::new(each), marker }, span };
        }
        let key = self.bracketed(open, Enclosed::Index, false, |parser| {
            let key = parser.expression();
            if parser.failed {
                return key;
            }
            let close = parser.peek();
            if close.kind == TokenKind::CloseBracket {
                parser.read();
            } else {
                let detail = "The index operator must end with a closing bracket (\"]\").";
                let diagnostic =
                    parser.stray(close).unwrap_or_else(|| Diagnostic::error("Missing close bracket on index", detail));
                parser.error(diagnostic.at(close.span).within(open.span.to(close.span)));
            }
            key
        });
        let span = open.span.to(self.previous());
        step(source, Step::Index { key, span })
    }
}

/// Adds a step to a reference.
fn step(source: Expr, step: Step) -> Expr {
    let span = source.span.to(step.span());
    match source.kind {
        ExprKind::Traversal { source, mut steps } => {
            steps.push(step);
            Expr { kind: ExprKind::Traversal { source, steps }, span }
        }
        _ => Expr { kind: ExprKind::Traversal { source: Box::new(source), steps: vec![step] }, span },
    }
}
