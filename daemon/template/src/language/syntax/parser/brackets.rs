//! Owns the kinds of brackets, and what is kept of one, or of a heredoc, that is open.

use crate::language::syntax::token::{Token, TokenKind};

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
    pub(super) fn close(self) -> TokenKind {
        match self {
            Self::List | Self::Index => TokenKind::CloseBracket,
            Self::Object => TokenKind::CloseBrace,
            Self::Call | Self::Parentheses => TokenKind::CloseParen,
        }
    }

    pub(super) fn summary(self) -> &'static str {
        match self {
            Self::List => "Unterminated tuple constructor expression",
            Self::Object => "Unterminated object constructor expression",
            Self::Call => "Unterminated function call",
            Self::Parentheses => "Unbalanced parentheses",
            Self::Index => "Missing close bracket on index",
        }
    }

    /// Names the bracket that is missing, and of what.
    pub(super) fn missing(self) -> &'static str {
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
    pub(super) token: Token,
    pub(super) enclosed: Enclosed,
}

/// A heredoc that is open.
pub(super) struct Heredoc<'a> {
    pub(super) marker: &'a str,
    /// The template sequence of it that is being read.
    pub(super) sequence: Option<Token>,
    /// How many brackets were open where it began.
    pub(super) outside: usize,
}
