//! What the terminal is and wants: colours, bars, a place to ask questions.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};

/// Names of environment variables.
mod environment {
    /// Any value but an empty one: no colours (no-color.org).
    pub(super) const NO_COLOR: &str = "NO_COLOR";
    /// The same, in Packer's words; not even with `-color=true`.
    pub(super) const PACKER_NO_COLOR: &str = "PACKER_NO_COLOR";
    /// Kind of the terminal.
    pub(super) const TERM: &str = "TERM";
}

/// Returns a variable of the environment; the one place of the client that reads them by name.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn is_set(name: &str) -> bool {
    variable(name).is_some_and(|value| !value.is_empty())
}

/// Whether to use colours on standard output; `flag` is the value of `-color`, if it was given.
pub(crate) fn wants_colour(flag: Option<bool>) -> bool {
    if is_set(environment::PACKER_NO_COLOR) {
        return false;
    }
    flag.unwrap_or_else(|| {
        let dumb = variable(environment::TERM).is_some_and(|terminal| terminal == "dumb");
        io::stdout().is_terminal() && !is_set(environment::NO_COLOR) && !dumb
    })
}

/// Whether to use colours on standard error.
pub(crate) fn wants_colour_on_errors() -> bool {
    let dumb = variable(environment::TERM).is_some_and(|terminal| terminal == "dumb");
    let refused = is_set(environment::PACKER_NO_COLOR) || is_set(environment::NO_COLOR);
    io::stderr().is_terminal() && !refused && !dumb
}

/// Whether there is somebody to watch bars: both outputs lead to a terminal.
pub(crate) fn shows_bars() -> bool {
    io::stdout().is_terminal() && io::stderr().is_terminal()
}
