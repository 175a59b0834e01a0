//! What is needed to start a program.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// A program to run.
#[derive(Debug)]
pub(crate) struct ChildCommand {
    /// The program's path.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// What is set in its environment, beside all that this process has in its own.
    pub(crate) environment: Vec<(&'static str, &'static str)>,
    /// Descriptors it inherits, under the numbers they have here.
    pub(crate) inherited: Vec<OwnedFd>,
    /// What it writes to standard output is kept, instead of thrown away.
    pub(crate) hear_stdout: bool,
}
