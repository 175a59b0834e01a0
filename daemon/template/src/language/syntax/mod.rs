//! Owns HCL's native syntax: text → tokens → [`ast`].

pub(crate) mod ast;
pub(crate) mod json;
pub(crate) mod json_body;
pub(crate) mod lexer;
pub(crate) mod parser;
pub(crate) mod token;

pub(crate) use parser::{parse_body, parse_expression, parse_template};
