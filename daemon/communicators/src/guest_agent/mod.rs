//! A guest that is spoken to through its QEMU guest agent, over a virtio serial port: no network is needed in it.
//!
//! ```text
//! Communicator ─► Link ─► Session ─► task that owns the socket ── a request, its answer, the next one ──► qemu-ga
//!                  │         └── gives `ended` when the agent is another one, answers nonsense, or not at all
//!                  └── makes a lost session anew
//! ```
//!
//! The agent answers one request after the other, and knows only files and processes. What it starts tells its output when it has
//! ended; so a command of ours runs under a shell script of ours (`scripts.rs`), which keeps its output in pieces of a few MiB that
//! are read while it runs and given back before the next but one is written: a command that writes more than is read waits, as on a pipe.
//! The guest needs a POSIX shell, `dd`, `mkfifo`, and `find` and `stat` for the download of directories.
//!
//! Everything that the agent says is hostile input: answers have a size and a time, and one that makes no sense ends the session.

mod communicator;
mod config;
mod download;
mod execute;
mod failure;
mod feed;
mod guest_file;
mod link;
mod pieces;
mod placing;
mod script_run;
mod scripts;
mod session;
mod token;
mod upload;
mod wire;

pub use communicator::{GuestAgentCommunicator, connect};
pub use config::GuestAgentConfig;
