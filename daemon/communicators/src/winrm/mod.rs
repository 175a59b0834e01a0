//! WinRM: WS-Management (DSP0226, MS-WSMV) over HTTP or HTTPS, to guests that are Windows.
//!
//! | file | what it is |
//! |---|---|
//! | `config.rs`, `error.rs` | what it can be told, and how far connecting came |
//! | `dial.rs`, `tls.rs`, `http.rs` | the way to the service: TCP or a proxy, TLS, HTTP with limits |
//! | `login.rs`, `ntlm/`, `sealed.rs` | logging in by Basic or NTLMv2, and messages that nobody on the way reads or changes |
//! | `soap/` | envelopes, written and read |
//! | `endpoint.rs` | one question to the service, over a connection that is logged in |
//! | `shell.rs`, `execute.rs` | a shell with a command, its streams and its end |
//! | `transfer/`, `powershell.rs` | files through the streams of one PowerShell |
//! | `connect.rs`, `link.rs` | until the guest is there, and when it was lost |
//!
//! Over HTTP with NTLM every message is sealed, so a guest with Windows' own settings (`AllowUnencrypted` false) lets us in. Of an answer that
//! is unsealed after that nothing but its HTTP status is taken.

mod communicator;
mod config;
mod connect;
mod dial;
mod endpoint;
mod error;
mod execute;
mod http;
mod link;
mod login;
mod ntlm;
mod powershell;
mod sealed;
mod shell;
mod soap;
mod tls;
mod transfer;

pub use communicator::{WinRmCommunicator, connect};
pub use config::{HttpProxy, LoginMethod, TlsTrust, WinRmConfig};
