//! What those who fetch are told meanwhile.

use std::sync::Arc;
use std::time::Duration;

/// Told how many bytes have arrived, and how many there are when that is known.
pub(crate) type ProgressFn<'a> = &'a (dyn Fn(u64, Option<u64>) + Send + Sync);

/// Told what a user should read.
pub(crate) type SayFn<'a> = &'a (dyn Fn(String) + Send + Sync);

/// Told what is waited for, and for how long at most; the wait is over when what it returns is dropped.
pub(crate) type WaitingFn = Arc<dyn Fn(&str, Duration) -> Box<dyn Send> + Send + Sync>;
