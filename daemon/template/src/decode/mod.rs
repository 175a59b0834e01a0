//! Owns the last step: options of a component, evaluated and checked against its [`Schema`](crate::Schema).

pub(crate) mod hcl;
mod render;
