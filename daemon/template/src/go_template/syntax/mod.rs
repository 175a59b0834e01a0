//! Owns the syntax of Go templates: text → words → [`Node`]s.

mod lexer;
mod number;
mod parser;
mod token;
mod tree;

pub(super) use parser::parse;
pub(super) use tree::{Command, Node, Operand, Pipeline, Place};
