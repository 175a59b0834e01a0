//! Owns values: what they are, how they convert, what they weigh, and their JSON.

pub(crate) mod convert;
mod data;
pub(crate) mod json;
pub(crate) mod number;
pub(crate) mod types;
mod weight;

#[cfg(test)]
mod tests;

pub(crate) use data::{Data, Entries, Value};
pub(crate) use number::{Number, NumberError};
pub(crate) use types::Type;
pub(crate) use weight::Namespace;
