//! Owns the functions of the language: plain tables. What is checked before one runs, and those that see expressions, are in
//! `eval`.

mod collection;
mod crypto;
mod csv;
mod date;
mod encoding;
pub(crate) mod filesystem;
mod format;
mod network;
mod numeric;
mod pattern;
mod rsa;
mod set;
mod stores;
pub(crate) mod table;
mod text;
mod yaml;

#[cfg(test)]
mod tests;

use table::Function;

/// All tables.
const TABLES: &[&[Function]] = &[
    collection::FUNCTIONS,
    crypto::FUNCTIONS,
    date::FUNCTIONS,
    encoding::FUNCTIONS,
    filesystem::FUNCTIONS,
    format::FUNCTIONS,
    network::FUNCTIONS,
    numeric::FUNCTIONS,
    pattern::FUNCTIONS,
    set::FUNCTIONS,
    stores::FUNCTIONS,
    text::FUNCTIONS,
    yaml::FUNCTIONS,
];

/// Tables of functions that make new texts of texts; the others only hand on what they are given.
const DERIVING: &[&[Function]] = &[
    crypto::FUNCTIONS,
    date::FUNCTIONS,
    encoding::FUNCTIONS,
    format::FUNCTIONS,
    network::FUNCTIONS,
    pattern::FUNCTIONS,
    text::FUNCTIONS,
    yaml::FUNCTIONS,
];

/// Returns a function.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    TABLES.iter().flat_map(|table| table.iter()).find(|function| function.name == name)
}

/// Reports whether a function makes new texts of those it is given.
pub(crate) fn derives(name: &str) -> bool {
    DERIVING.iter().any(|table| table.iter().any(|function| function.name == name))
}

/// Returns the names of all functions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLES.iter().flat_map(|table| table.iter()).map(|function| function.name)
}
