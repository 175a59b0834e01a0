//! What no template may exceed, whatever it is made of.

/// Levels of brackets, blocks and template sequences that may be nested. Real templates stay under 20; the limit keeps
/// hostile ones from exhausting the stack.
pub(crate) const MAX_DEPTH: u32 = 100;
/// Bytes a function's result may have: 64 MiB.
pub(crate) const MAX_TEXT: usize = 64 << 20;
/// Elements a function's result may have: protects against products of products.
pub(crate) const MAX_ELEMENTS: usize = 1 << 20;
