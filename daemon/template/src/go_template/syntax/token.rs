//! Owns the words of actions.

use super::tree::Place;
use crate::go_template::value::Value;

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Identifier(String),
    Field(String),
    Variable(String),
    Literal(Value),
    Dot,
    Pipe,
    Open,
    Close,
    Comma,
    Assign,
    Declare,
    Space,
}

/// One word of an action, with the blanks between words as tokens of their own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: Place,
}

/// Literal text or the inside of one action.
pub(super) enum Item {
    Text(String),
    Action(Vec<Token>, Place),
}
