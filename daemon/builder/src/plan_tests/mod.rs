//! From option tables to plans: that every rule acts, every default is the table's, and a digest covers what the template says.

pub(crate) mod component;
mod credentials;
mod defaults;
mod digest;
mod firmware;
mod golden;
mod machine_words;
mod no_effect;
mod reader;
mod rules;
