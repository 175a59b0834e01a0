//! Words that stand in columns of the journal.

/// Makes an enum whose values are words in a column.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$says:meta])* $value:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$says])* $value,)*
        }

        impl $name {
            /// Returns the word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)*
                }
            }

            /// Returns what the word stands for; nothing for other words.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$value),)*
                    _ => None,
                }
            }
        }
    };
}

words! {
    /// Kinds of jobs.
    JobKind {
        /// Builds images.
        Build = "build",
        /// Converts images.
        Convert = "convert",
        /// Looks at images.
        Image = "image",
    }
}

words! {
    /// States of a job.
    JobState {
        /// Waits for its turn.
        Queued = "queued",
        /// Its worker is being started.
        Starting = "starting",
        /// Its worker runs.
        Running = "running",
        /// A cancellation was asked for.
        Cancelling = "cancelling",
        /// Over: everything was done.
        Succeeded = "succeeded",
        /// Over: something failed.
        Failed = "failed",
        /// Over: cancelled and cleaned up.
        Cancelled = "cancelled",
    }
}

words! {
    /// States of one build of a job.
    BuildState {
        /// Known, not finished.
        Running = "running",
        /// Finished without an error.
        Succeeded = "succeeded",
        /// Finished with an error.
        Failed = "failed",
        /// Ended by a cancellation.
        Cancelled = "cancelled",
    }
}

words! {
    /// Phases of a build, in their order.
    StepPhase {
        /// What the machine needs.
        Prepare = "prepare",
        /// Until the guest is reached.
        BringUp = "bring_up",
        /// One step for each provisioner.
        Provision = "provision",
        /// Shut down, read and write the disks.
        Finish = "finish",
        /// One step for each post-processor.
        PostProcess = "post_process",
    }
}

words! {
    /// How far a step has come.
    StepState {
        /// It is about to act, or was cut short while it did.
        Intent = "intent",
        /// It has done its work.
        Done = "done",
        /// It has failed, or was cancelled.
        Failed = "failed",
    }
}
