//! Owns the functions of Go templates: Go's own and Packer's.

mod arguments;
mod go;
mod packer;

use arguments::Arguments;

use super::context::Context;
use super::value::Value;
use crate::diagnostics::suggest::did_you_mean;

/// Go's functions that stop at the first argument that decides; who executes a template knows them.
const LAZY: &[&str] = &["and", "or"];

fn names() -> impl Iterator<Item = &'static str> + Clone {
    let packer = packer::FUNCTIONS.iter().map(|(name, _)| *name);
    LAZY.iter().copied().chain(go::FUNCTIONS.iter().map(|(name, _)| *name)).chain(packer)
}

/// Reports whether a function exists; the error says so as Go does.
pub(super) fn exists(name: &str) -> Result<(), String> {
    if names().any(|known| known == name) {
        return Ok(());
    }
    let hint = did_you_mean(name, names());
    Err(format!("function {name:?} not defined{}", hint.map_or_else(String::new, |hint| format!(" ({hint})"))))
}

/// Calls a function.
pub(super) fn call(name: &str, values: &[Value], context: &Context) -> Result<Value, String> {
    exists(name)?;
    let arguments = Arguments { name, values };
    if let Some((_, function)) = go::FUNCTIONS.iter().find(|(known, _)| *known == name) {
        return function(&arguments);
    }
    match packer::FUNCTIONS.iter().find(|(known, _)| *known == name) {
        Some((_, function)) => function(&arguments, context),
        None => Err(format!("error calling {name}: it is no function that can be called")),
    }
}
