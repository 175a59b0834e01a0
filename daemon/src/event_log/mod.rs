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

mod reader;
mod watcher;
mod writer;

pub use reader::{EventLine, EventReader, ReadError};
pub use watcher::{EventWatcher, Subscription};
pub use writer::{EventWriter, WriteError};

#[cfg(test)]
mod tests;
