//! Told about the work as it goes on, and able to stop it.

use std::ops::ControlFlow;

/// Told about the work as it goes on; may stop it.
pub trait Progress: Sync {
    /// Called often, from one thread, with guest bytes done and in all; `Break` cancels the conversion, which then removes
    /// what it has written and fails with [`crate::ErrorKind::Cancelled`].
    fn advance(&self, done: u64, total: u64) -> ControlFlow<()>;

    /// Called once, when all that was to be read has been read and all files are whole, before the first of them gets its name; nothing
    /// else is done meanwhile. `Break` cancels the conversion.
    fn whole(&self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Ignores progress and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn advance(&self, _done: u64, _total: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<F: Fn(u64, u64) -> ControlFlow<()> + Sync> Progress for F {
    fn advance(&self, done: u64, total: u64) -> ControlFlow<()> {
        self(done, total)
    }
}
