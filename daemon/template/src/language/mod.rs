//! The language of HCL2 templates, whatever their blocks mean: text → tree → values.

pub(crate) mod budget;
pub(crate) mod dynamic;
pub(crate) mod environment;
pub(crate) mod eval;
pub(crate) mod functions;
pub(crate) mod limits;
pub(crate) mod shape;
pub(crate) mod syntax;
pub(crate) mod type_expr;
pub(crate) mod value;
