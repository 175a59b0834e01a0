//! Output files: nameless until whole.
