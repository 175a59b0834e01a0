//! The WinRM communicator against the stand-in of `tests/winrm/`, which others' clients judge.

mod conformance;
mod connect;
mod failures;
mod launcher;
mod speed;
mod stand_in;

use launcher::StandIn;

/// Returns from a test where the stand-in cannot run.
macro_rules! stand_in_or_return {
    ($arguments:expr) => {
        match $crate::winrm::StandIn::start($arguments) {
            Some(stand_in) => stand_in,
            None => return $crate::servers::skip("the Python of `./x test`, with pyspnego"),
        }
    };
}
use stand_in_or_return;
