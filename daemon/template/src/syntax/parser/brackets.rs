//! Owns the brackets of expressions that are open, and what is said of one that is never closed.
//!
//! The parser notices only where something else stands than what may follow. The cause is the bracket, wherever it opened.

use super::super::token::{Token, TokenKind};
use super::Parser;
use crate::diagnostics::Diagnostic;

/// What a bracket encloses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enclosed {
    List,
    Object,
    Call,
    Parentheses,
    Index,
}

impl Enclosed {
    fn close(self) -> TokenKind {
        match self {
            Self::List | Self::Index => TokenKind::CloseBracket,
            Self::Object => TokenKind::CloseBrace,
            Self::Call | Self::Parentheses => TokenKind::CloseParen,
        }
    }

    fn summary(self) -> &'static str {
        match self {
            Self::List => "Unterminated tuple constructor expression",
            Self::Object => "Unterminated object constructor expression",
            Self::Call => "Unterminated function call",
            Self::Parentheses => "Unbalanced parentheses",
            Self::Index => "Missing close bracket on index",
        }
    }

    /// Names the bracket that is missing, and of what.
    fn missing(self) -> &'static str {
        match self {
            Self::List => "closing bracket (\"]\") of this list",
            Self::Object => "closing brace (\"}\") of this object",
            Self::Call => "closing parenthesis (\")\") of this call",
            Self::Parentheses => "closing parenthesis (\")\") that belongs to this one",
            Self::Index => "closing bracket (\"]\") of this index",
        }
    }
}

/// A bracket that is open.
pub(super) struct Open {
    token: Token,
    enclosed: Enclosed,
}

impl Parser<'_> {
    /// Runs `inside` in a bracket, with line ends counting or not.
    pub(super) fn bracketed<T>(
        &mut self,
        token: Token,
        enclosed: Enclosed,
        newlines: bool,
        inside: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.open.push(Open { token, enclosed });
        let result = self.with_newlines(newlines, inside);
        self.open.pop();
        result
    }

    /// Returns what is to be said of a problem whose cause is that the innermost bracket is never closed.
    pub(super) fn unclosed(&self, problem: &Diagnostic) -> Option<Diagnostic> {
        let open = self.open.last()?;
        let subject = problem.subject?;
        let index = self.tokens.partition_point(|token| token.span.start < subject.start);
        let found = *self.tokens.get(index)?;
        let line = || self.line(found.span);
        let found_here = if found.kind == TokenKind::EndOfFile {
            "The file ends".to_owned()
        } else if self.closes_another(open.enclosed, index) {
            format!("{} on line {} comes", capitalized(found.kind.noun()), line())
        } else if self.begins_item(open, index) {
            format!("An argument or block begins on line {}", line())
        } else {
            return None;
        };
        let detail = format!("{found_here} before the {}.", open.enclosed.missing());
        let diagnostic = Diagnostic::error(open.enclosed.summary(), detail).at(open.token.span);
        Some(match found.kind {
            TokenKind::EndOfFile => diagnostic,
            _ => diagnostic.related(found.span, "it should be closed before this"),
        })
    }

    /// Reports whether a token closes something else, and nothing closes the bracket on the rest of its line.
    fn closes_another(&self, enclosed: Enclosed, index: usize) -> bool {
        let closes = [TokenKind::CloseBrace, TokenKind::CloseBracket, TokenKind::CloseParen, TokenKind::TemplateEnd];
        let rest = self.tokens.get(index..).unwrap_or_default();
        let wrong = rest.first().is_some_and(|token| token.kind != enclosed.close() && closes.contains(&token.kind));
        let line = rest.iter().take_while(|token| !matches!(token.kind, TokenKind::Newline | TokenKind::QuotedNewline));
        wrong && line.into_iter().all(|token| token.kind != enclosed.close())
    }

    /// Reports whether a token is at the beginning of a line that looks like the next argument or block: not further to the
    /// right than the item that is being read.
    fn begins_item(&self, open: &Open, index: usize) -> bool {
        let kind = |index: usize| self.tokens.get(index).map(|token| token.kind);
        let starts_line = |index: usize| {
            index.checked_sub(1).and_then(|before| self.tokens.get(before)).is_some_and(|before| match before.kind {
                TokenKind::Newline => true,
                TokenKind::Comment => self.slice(before.span).ends_with('\n'),
                _ => false,
            })
        };
        let first = [Some(index), index.checked_sub(1)].into_iter().flatten().find(|index| starts_line(*index));
        let Some(first) = first.filter(|first| kind(*first) == Some(TokenKind::Identifier)) else { return false };
        // In an object, names with an equals sign behind them are its own.
        let is_item = match kind(first + 1) {
            Some(TokenKind::Equal) => open.enclosed != Enclosed::Object,
            Some(TokenKind::OpenBrace | TokenKind::OpenQuote) => true,
            _ => false,
        };
        is_item && self.tokens[first].span.start > open.token.span.start && self.column(first) <= self.item_column
    }
}

fn capitalized(noun: &str) -> String {
    let mut characters = noun.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}
