//! Owns evaluation: expression + [`Scope`] → value. What evaluates is the scope: each file gives it one part of the language.

mod call;
mod disclosure;
mod expression;
mod forms;
mod iteration;
mod operators;
mod scope;
mod template;
mod traversal;
mod unknown;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use scope::{FunctionSet, Scope};
