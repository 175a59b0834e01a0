//! The option tables: for each component, every option with its type, default and meaning, and the rules between them.
//! Decoding, checking, "did you mean" and the documentation pages all come from these.

pub(crate) mod amazon;
pub(crate) mod ansible;
pub(crate) mod builders;
pub(crate) mod checks;
pub(crate) mod chef;
pub(crate) mod components;
pub(crate) mod define;
pub(crate) mod definition;
pub(crate) mod option_table;
pub(crate) mod own;
pub(crate) mod post_processors;
pub(crate) mod puppet;
pub(crate) mod rule;
pub(crate) mod scripts;
pub(crate) mod shared;
pub(crate) mod upload;
pub(crate) mod vagrant;
pub(crate) mod virtualbox;
pub(crate) mod vmware;
pub(crate) mod windows;

pub(crate) use definition::Definition;
