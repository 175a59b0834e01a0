//! What a running job tells the outside: one enum, nothing of the wire.

use std::path::PathBuf;
use std::time::Duration;

/// One thing that happened. The worker numbers events and writes them down; nothing here knows of clients.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Problems (or warnings) of the template, rendered for people and as JSON for tools.
    Diagnostics {
        /// The text as it is shown, with source excerpts.
        text: String,
        /// The same as a JSON array.
        json: serde_json::Value,
        /// True when at least one of them is an error.
        has_errors: bool,
    },
    /// A build passed preparation and will run.
    BuildPlanned {
        /// Its full name, such as `qemu.web`.
        build: String,
        /// Its place in the template, from 0.
        position: u32,
    },
    /// A line for people. `build` is `None` when it belongs to the whole job.
    Say {
        /// The build that speaks.
        build: Option<String>,
        /// The text; may have several lines.
        text: String,
        /// Who speaks in place of the build, such as `qemu.web (manifest)`.
        target: Option<String>,
    },
    /// Output of the guest or of a local command.
    Message {
        /// The build that speaks.
        build: Option<String>,
        /// The text; may have several lines.
        text: String,
        /// Who speaks in place of the build, such as `qemu.web (manifest)`.
        target: Option<String>,
    },
    /// An error line for people; also the guest's standard error.
    Error {
        /// The build that speaks.
        build: Option<String>,
        /// True for what a guest or a local command wrote to its standard error.
        output: bool,
        /// The text; may have several lines.
        text: String,
        /// Who speaks in place of the build, such as `qemu.web (manifest)`.
        target: Option<String>,
    },
    /// A step of a build begins.
    StepStarted {
        /// The build.
        build: String,
        /// The step's name, such as `connect`.
        step: String,
    },
    /// A step of a build is over.
    StepFinished {
        /// The build.
        build: String,
        /// The step's name.
        step: String,
        /// Wall time it took.
        elapsed: Duration,
        /// Why it failed, if it did.
        error: Option<String>,
    },
    /// How far something long has come.
    Progress {
        /// The build.
        build: String,
        /// What is being done, such as `download ubuntu.iso`.
        what: String,
        /// Bytes done.
        done: u64,
        /// Bytes in all, when known.
        total: Option<u64>,
    },
    /// Something is waited for that may take long.
    Waiting {
        /// The build; `None` while none is known yet.
        build: Option<String>,
        /// What is waited for, such as `connect`.
        what: String,
        /// How long at most, when there is a limit.
        limit: Option<Duration>,
    },
    /// A wait is over, whatever came of it.
    WaitFinished {
        /// The build; `None` while none is known yet.
        build: Option<String>,
        /// What was waited for.
        what: String,
    },
    /// A picture of the guest's screen was saved.
    ScreenSaved {
        /// The build.
        build: String,
        /// The PNG file.
        path: PathBuf,
    },
    /// A question that waits for an answer through [`crate::Control::answer`].
    Prompt {
        /// The build that asks.
        build: String,
        /// Names this question within the job.
        id: u64,
        /// The text to show.
        text: String,
        /// The accepted answers; the first is taken when nobody can answer.
        choices: Vec<String>,
        /// The command that leads into the guest meanwhile, when one runs that can be reached.
        guest: Option<String>,
    },
    /// The question `id` no longer waits.
    PromptClosed {
        /// The build that asked.
        build: String,
        /// The question.
        id: u64,
        /// What was answered.
        answer: String,
    },
    /// A build left an artifact.
    Artifact {
        /// The build.
        build: String,
        /// Who made it, such as `transcend.qemu`.
        builder_id: String,
        /// Its id in its maker's terms.
        id: String,
        /// The line for people.
        text: String,
        /// Its files.
        files: Vec<PathBuf>,
    },
    /// A build ended.
    BuildFinished {
        /// The build.
        build: String,
        /// Wall time it took.
        elapsed: Duration,
        /// `None` when it succeeded.
        error: Option<String>,
        /// True when it ended because the job was cancelled.
        cancelled: bool,
    },
}
