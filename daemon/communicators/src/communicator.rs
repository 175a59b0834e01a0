//! The trait every way of speaking to a guest implements, and the small types in its signatures.

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

pub use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::CommunicatorError;

/// Runs commands in a guest and moves files to and from it.
///
/// Calls may overlap. Dropping a future cancels its work: the channel it used is closed in the guest and a partly
/// downloaded file is removed. A partly uploaded file stays in the guest, for nothing can be asked of it any more.
///
/// A lost connection ends running calls ([`Exit::Disconnected`] or [`CommunicatorError::Disconnected`]); the next call
/// connects again, within the time that connecting may take at all (a quarter of an hour at most), or
/// [until](Communicator::until) another.
pub trait Communicator: Send + Sync {
    /// Runs one command to its end.
    ///
    /// Output is delivered as it comes, in chunks that know nothing of lines or of UTF-8. The command's input is empty.
    /// A command that ends with a non-zero status is not an error: the status is in [`Exit`].
    fn execute<'a>(
        &'a self,
        command: &'a str,
        output: &'a dyn CommandOutput,
    ) -> BoxFuture<'a, Result<Exit, CommunicatorError>>;

    /// Runs one command to its end, for somebody who speaks with it: what `streams` give goes to its input until that ends, and what it
    /// writes goes back. Never in a terminal, which would change bytes.
    fn converse<'a>(
        &'a self,
        command: &'a str,
        streams: CommandStreams<'a>,
    ) -> BoxFuture<'a, Result<Exit, CommunicatorError>>;

    /// Moves files, as the methods below say of each kind.
    fn transfer<'a>(
        &'a self,
        transfer: Transfer<'a>,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>>;

    /// Uploads one file.
    ///
    /// The file's content streams; it is never held in memory. A `destination` ending in `/` means that directory, and
    /// the file keeps its name. `mode` is the permission bits in the guest; `None` takes those of the source.
    fn upload_file<'a>(
        &'a self,
        source: &'a Path,
        destination: &'a str,
        mode: Option<u32>,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        self.transfer(Transfer::UploadFile { source, destination, mode }, progress)
    }

    /// Uploads bytes from memory as one file named `destination` with the permission bits `mode`.
    fn upload_bytes<'a>(
        &'a self,
        content: &'a [u8],
        destination: &'a str,
        mode: u32,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        self.transfer(Transfer::UploadBytes { content, destination, mode }, &NoProgress)
    }

    /// Uploads a directory with everything in it.
    ///
    /// `source` ending in `/` puts its contents into `destination`. Without the slash the directory itself goes into a
    /// `destination` that is there, and becomes one that is missing. A missing `destination` is made; its parent must exist.
    /// Symbolic links are followed. Files other than regular ones and directories are an error.
    fn upload_directory<'a>(
        &'a self,
        source: &'a Path,
        destination: &'a str,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        self.transfer(Transfer::UploadDirectory { source, destination }, progress)
    }

    /// Downloads one file to `destination`, which appears under that name only when it is whole.
    ///
    /// Its mode is 0644 less the umask. The parent directory must exist.
    fn download_file<'a>(
        &'a self,
        source: &'a str,
        destination: &'a Path,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        self.transfer(Transfer::DownloadFile { source, destination }, progress)
    }

    /// Downloads a directory, or all that a pattern (`*`, `?`, `[…]`) matches, into the directory `destination`.
    ///
    /// `/var/log` and `/var/log/` both become `destination/log`; `/var/log/*` puts what is in it into `destination`.
    /// `destination` is made when missing. Names from the guest are hostile input: one that would leave `destination`
    /// ends the transfer with [`CommunicatorError::HostileName`].
    fn download_directory<'a>(
        &'a self,
        source: &'a str,
        destination: &'a Path,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        self.transfer(Transfer::DownloadDirectory { source, destination }, progress)
    }

    /// The same guest by the same connection, for somebody who waits for a lost one until `deadline` and no longer or shorter.
    ///
    /// What is done over a connection that lives is not limited by it.
    fn until(&self, deadline: Instant) -> Arc<dyn Communicator>;

    /// Resolves when the connection that is present at the call is lost; at once when there is none.
    fn disconnected(&self) -> BoxFuture<'_, ()>;

    /// Says goodbye and closes the connection. Later calls fail; a second `close` does nothing.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// What is moved: one variant for each method of [`Communicator`] that moves files.
#[derive(Debug, Clone, Copy)]
pub enum Transfer<'a> {
    /// [`Communicator::upload_file`].
    UploadFile {
        /// The file here.
        source: &'a Path,
        /// Where it goes.
        destination: &'a str,
        /// Its permission bits there.
        mode: Option<u32>,
    },
    /// [`Communicator::upload_bytes`].
    UploadBytes {
        /// What the file holds.
        content: &'a [u8],
        /// The file there.
        destination: &'a str,
        /// Its permission bits there.
        mode: u32,
    },
    /// [`Communicator::upload_directory`].
    UploadDirectory {
        /// The directory here.
        source: &'a Path,
        /// Where it goes.
        destination: &'a str,
    },
    /// [`Communicator::download_file`].
    DownloadFile {
        /// The file there.
        source: &'a str,
        /// The file here.
        destination: &'a Path,
    },
    /// [`Communicator::download_directory`].
    DownloadDirectory {
        /// The directory there, or a pattern.
        source: &'a str,
        /// The directory here.
        destination: &'a Path,
    },
}

/// The far ends of a command's standard streams. What takes no more bytes ends the command.
pub struct CommandStreams<'a> {
    /// What the command reads.
    pub input: Pin<Box<dyn AsyncRead + Send + 'a>>,
    /// Where its standard output goes.
    pub output: Pin<Box<dyn AsyncWrite + Send + 'a>>,
    /// Where its standard error goes.
    pub errors: Pin<Box<dyn AsyncWrite + Send + 'a>>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It returned this status.
    Code(i32),
    /// It was killed by this signal (`TERM`, `KILL`, …).
    Signal(String),
    /// The connection or the command's channel ended without a status: the guest went down, as in a reboot.
    Disconnected,
}

impl Exit {
    /// The status Packer reports when a command ended without one.
    pub const DISCONNECTED_CODE: i32 = 2_300_218;

    /// Returns true for status 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        *self == Self::Code(0)
    }

    /// Returns the number `valid_exit_codes` is compared with: the status, 128 + n for well-known signals as shells
    /// have it (128 for others), or [`Self::DISCONNECTED_CODE`].
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Self::Code(code) => *code,
            Self::Signal(name) => 128 + signal_number(name),
            Self::Disconnected => Self::DISCONNECTED_CODE,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(name) => write!(f, "signal {name}"),
            Self::Disconnected => write!(f, "disconnected"),
        }
    }
}

/// POSIX numbers of the signal names of RFC 4254 §6.10.
fn signal_number(name: &str) -> i32 {
    match name {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "ILL" => 4,
        "ABRT" => 6,
        "FPE" => 8,
        "KILL" => 9,
        "USR1" => 10,
        "SEGV" => 11,
        "PIPE" => 13,
        "ALRM" => 14,
        "TERM" => 15,
        _ => 0,
    }
}

/// Takes the output of a command as it comes.
///
/// Called on the connection's path: it must not block. A full terminal is the caller's affair.
pub trait CommandOutput: Send + Sync {
    /// Takes bytes the command wrote to its standard output.
    fn stdout(&self, bytes: &[u8]);
    /// Takes bytes the command wrote to its standard error.
    fn stderr(&self, bytes: &[u8]);
}

/// Hears how far a transfer has come. All methods do nothing unless implemented.
pub trait TransferProgress: Send + Sync {
    /// A file of this many bytes begins. Called once per file; directories call it often.
    fn file_started(&self, name: &str, bytes: u64) {
        let _ = (name, bytes);
    }
    /// This many more bytes of content have moved.
    fn advanced(&self, bytes: u64) {
        let _ = bytes;
    }
}

/// Progress nobody listens to.
#[derive(Debug, Clone, Copy)]
pub struct NoProgress;

impl TransferProgress for NoProgress {}
