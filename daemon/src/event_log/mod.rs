//! The events file of a job: one JSON object a line, numbered from 1, written by one process, read by any number.
//!
//! ```text
//! EventWriter (the worker; after its death the sweeper or the daemon) ──► events.ndjson ◄── EventReader (one per follower)
//!                                                                          │ inotify
//!                                                                          └──► EventWatcher ──► Subscription::changed
//! ```
//!
//! Only whole lines count. A line that a killed writer left unfinished is invisible to readers, who advance line by line, and is
//! cut off by the next writer. The writer's exclusiveness is the worker's lock file (`job_dir.rs`).
//!
//! A file that reaches its limit is replaced by a shorter one (`limit.rs`): texts in its middle are left out, and their numbers with
//! them.

mod limit;
mod own_words;
mod reader;
mod watcher;
mod writer;

pub use limit::{DEFAULT_LIMIT_BYTES, InvalidLimit, KILN_MAX_LOG_MIB, limit_of};
pub use reader::{EventLine, EventReader, ReadError, last_event};
pub(crate) use watcher::REST;
pub use watcher::{EventWatcher, Subscription};
pub use writer::{EventWriter, WriteError};

#[cfg(test)]
mod tests;
