//! What a test says the fake does, and what it was asked to do.

use crate::communicator::Exit;

/// What the fake does with one command.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Writes back what it reads, to its end, and succeeds.
    Echo,
    /// Writes this output, then ends so.
    Exit {
        /// Bytes for standard output.
        stdout: Vec<u8>,
        /// Bytes for standard error.
        stderr: Vec<u8>,
        /// How the command ends.
        exit: Exit,
    },
    /// Ends with this status, and right after it the connection is lost.
    LastWord(i32),
    /// Never ends, until the connection is lost or the future is dropped.
    Hang,
    /// Loses the connection: the command ends with [`Exit::Disconnected`].
    Disconnect,
    /// The same, and the guest never comes back: all that is asked of it from then on waits for it in vain.
    GoAway,
    /// Fails as a refused session.
    Refuse,
}

impl Answer {
    /// Ends with this status and no output.
    #[must_use]
    pub fn code(code: i32) -> Self {
        Self::Exit { stdout: Vec::new(), stderr: Vec::new(), exit: Exit::Code(code) }
    }

    /// Succeeds with this output.
    #[must_use]
    pub fn stdout(text: &str) -> Self {
        Self::Exit { stdout: text.as_bytes().to_vec(), stderr: Vec::new(), exit: Exit::Code(0) }
    }
}

/// One thing the fake was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `execute`.
    Execute(String),
    /// `upload_file` or `upload_bytes`.
    Upload {
        /// The path in the guest.
        destination: String,
        /// What was uploaded.
        content: Vec<u8>,
        /// The mode asked for.
        mode: Option<u32>,
    },
    /// `upload_directory`, with the source as given.
    UploadDirectory {
        /// The local directory.
        source: String,
        /// The path in the guest.
        destination: String,
    },
    /// `download_file` or `download_directory`.
    Download {
        /// The path in the guest.
        source: String,
        /// The local path.
        destination: String,
    },
    /// `close`.
    Close,
}
