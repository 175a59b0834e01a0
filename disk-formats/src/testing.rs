//! Instruments for this crate's tests.
