//! The records of a build: a line for every step before it acts and after it, on disk before the build goes on.
//!
//! ```text
//! steps.ndjson   {"version":1,"build":"qemu.web","plan":"9f86…"}
//!                {"build":"qemu.web","number":1,"phase":"prepare","name":"fetch","state":"intent","at":"…"}
//!                {"build":"qemu.web","number":1,"phase":"prepare","name":"fetch","state":"done","at":"…","elapsed_ms":12}
//! ```
//!
//! The builds of a job share the file; a build's lines follow its header. A step that is tried again has the same number. An
//! intent without an end is a step that was cut short. With its plan, a build's records are all that is needed to go on
//! with it in another process; they hold no secret.

mod chain;
mod file;
mod output;
mod reader;
mod step;
#[cfg(test)]
mod tests;

pub(crate) use chain::{Chain, Resumed};
pub(crate) use file::RecordFile;
pub use output::Output;
pub use reader::{BuildRecords, Records, RecordsError, read};
pub use step::{FILE_NAME, Header, Phase, State, StepRecord, VERSION};
