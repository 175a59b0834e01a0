//! Owns the parser: tokens → tree, with recovery after each broken item.

mod body;
mod brackets;
mod collection;
mod core;
mod expression;
mod template;
mod unclosed;

#[cfg(test)]
mod tests;

use core::Parser;
use template::template_expression;

use super::ast::{Body, Expr, ExprKind};
use super::lexer::{lex, lex_template};
use super::token::TokenKind;
use crate::diagnostics::source_map::{FileId, SourceMap, Span};
use crate::diagnostics::{Diagnostic, Diagnostics};

/// Parses a whole file. The body holds everything that could be understood.
pub(crate) fn parse_body(sources: &mut SourceMap, file: FileId, diagnostics: &mut Diagnostics) -> Body {
    let Some(text) = sources.get(file).map(|source| source.text().clone()) else { return Body::default() };
    let mut parser = Parser::new(&text, lex(file, &text));
    let incomplete = parser.diagnostics.has_errors();
    let mut body = parser.body(TokenKind::EndOfFile);
    body.torn |= incomplete;
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
