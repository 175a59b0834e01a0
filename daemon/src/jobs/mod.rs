//! Jobs, from submission to their end. One task (`driver.rs`) decides; one task per running job (`supervisor.rs`) watches its
//! worker; everybody else holds a [`Jobs`] and sends messages.
//! Whoever calls a method of it says who asks ([`Caller`](crate::Caller)): `authorizer.rs` decides, not the way by which a request came.
//!
//! ```text
//! submit ─► request.json ─► journal: queued ─► queue ─► journal: starting ─► worker process ─► JobStarted ─► journal: running
//!                                                                               │ events.ndjson
//!                              journal: builds, artifacts ◄── supervisor ◄──────┤
//!           journal: over ◄── sweep when no last event ◄── worker ends ◄────────┘
//! ```
//!
//! What could not be given back by then is tried again (`giving_back.rs`), and keeps its job from being forgotten when there are many
//! (`housekeeping.rs`).
//!
//! Each arrow may be the last thing that happens before a crash: a directory without a journal entry is removed or taken in at the next
//! start (`recovery.rs`), a queued job is queued again, a starting one is started again unless its worker is found, a running one is
//! watched again. Its events are then read from the first on, so that the ending in the file decides, whatever the journal knows.
//!
//! A job's files are its user's, who may write anything there: they are read in pieces (`watched.rs`), no more of them is kept than an
//! honest job needs (`allowance.rs`), and nothing that is waited for there is waited for without an end.

mod allowance;
mod answers;
mod authorizer;
mod changes;
mod driver;
mod error;
mod facts;
mod follower;
mod giving_back;
mod handle;
mod housekeeping;
mod last_event;
mod launcher;
mod leftovers;
mod login_environment;
mod looks;
mod message;
mod observed;
mod recovery;
mod shared;
mod spawn;
mod steps;
mod submission;
mod supervisor;
mod unit_launcher;
mod user_launcher;
mod watched;
mod wire;

pub use authorizer::{Action, Forbidden};
pub(crate) use changes::ChangeWatch;
pub use error::{JobsError, StartError};
pub(crate) use follower::{FollowError, Follower, Piece};
pub use handle::Jobs;
pub use launcher::{After, Exit, JobProcess, LaunchError, Launched, Launcher, Look};
pub use message::JobCounts;
pub(crate) use observed::Observed;
pub use submission::{InvalidSubmission, Submission};

#[cfg(test)]
mod fake_launcher;
#[cfg(test)]
mod tests;
