//! The process that is a machine, whoever has started it.

use futures_util::future::{BoxFuture, FutureExt as _};

use crate::process::{ChildProcess, ExitState};

/// QEMU's process. Dropping it ends it.
pub(super) trait GuestProcess: Send + Sync {
    /// Its process id.
    fn pid(&self) -> u32;

    /// Ends it at once, without waiting. Does nothing when it has ended.
    fn kill(&self);

    /// Waits until it has ended and is off the ledger.
    fn ended(&self) -> BoxFuture<'_, ExitState>;

    /// The end of what it wrote to standard error, where that is heard.
    fn stderr_tail(&self) -> String;
}

impl GuestProcess for ChildProcess {
    fn pid(&self) -> u32 {
        self.pid()
    }

    fn kill(&self) {
        self.kill();
    }

    fn ended(&self) -> BoxFuture<'_, ExitState> {
        self.ended().boxed()
    }

    fn stderr_tail(&self) -> String {
        self.stderr_tail()
    }
}
