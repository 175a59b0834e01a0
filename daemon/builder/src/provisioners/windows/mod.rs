//! Provisioners for Windows guests, and how commands are written for Windows.

pub(super) mod elevated;
mod encoded;
pub(super) mod powershell;
pub(super) mod restart;
pub(super) mod shell;
mod start;
