//! Owns HCL's native syntax: text → tokens → [`ast`].

pub(crate) mod ast;
pub(crate) mod json;
pub(crate) mod lexer;
pub(crate) mod parser;
pub(crate) mod token;

pub(crate) use parser::{parse_body, parse_expression, parse_template};

/// Levels of brackets, blocks and template sequences that may be nested. Real templates stay under 20; the limit keeps
/// hostile ones from exhausting the stack.
pub(crate) const MAX_DEPTH: u32 = 100;
