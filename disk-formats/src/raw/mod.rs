//! The raw format.
