//! Why a file could not be got.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::checksum::{ChecksumSyntaxError, Digest};
use crate::error::StepError;

/// Why nothing could be got.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// No URL was given.
    #[error("no URL to download from")]
    NoUrl,
    /// Every URL failed.
    #[error("error downloading ISO: {}", listed(failures))]
    AllFailed {
        /// What each one gave, in order.
        failures: Vec<UrlFailure>,
    },
    /// Something on this machine is in the way, so that other URLs would fail too.
    #[error(transparent)]
    Local(UrlError),
    /// The checksum file cannot be had.
    #[error("cannot get the checksum file {file}")]
    ChecksumFile {
        /// Its path or URL.
        file: String,
        /// Why not.
        source: UrlError,
    },
    /// The checksum file does not mention the file.
    #[error("no checksum found in: {file}")]
    NoChecksumInFile {
        /// Path or URL of the checksum file.
        file: String,
        /// The name that was looked for.
        name: String,
    },
}

/// What one URL gave instead of the file.
#[derive(Debug)]
pub(crate) struct UrlFailure {
    /// The path or URL, without a password.
    pub(crate) url: String,
    /// What happened.
    pub(crate) error: UrlError,
}

/// Why one URL did not give the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UrlError {
    /// Not a URL.
    #[error("`{url}` is not a valid URL: {reason}")]
    Malformed {
        /// The text, without a password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The scheme is not one of those that can be used.
    #[error("cannot download with `{scheme}:`; http, https, file and plain paths are possible")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// The URL names a compressed file, which Packer would unpack.
    #[error("`{url}` is compressed (.{suffix}), and unpacking downloads is not supported")]
    Compressed {
        /// The path or URL.
        url: String,
        /// What it ends with.
        suffix: &'static str,
    },
    /// The URL's own `checksum=` is not a checksum.
    #[error("the URL's `checksum=` is not usable")]
    Checksum(#[from] ChecksumSyntaxError),
    /// The file that the URL's `checksum=file:…` names is not usable.
    #[error("the URL's `checksum=` is not usable")]
    ChecksumFile(#[source] Box<FetchError>),
    /// A local file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory or special file stands where a file should be.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// A file of this machine where somebody is to read from a server.
    #[error("`{}` is on no server", path.display())]
    NoServer {
        /// The file.
        path: PathBuf,
    },
    /// The server gives whole files only.
    #[error("{url} gives whole files only: its answer has no `Accept-Ranges: bytes`")]
    NoParts {
        /// The URL that answered, after redirects.
        url: String,
    },
    /// The cache cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is whole but is not the right one.
    #[error("checksum does not match: expected {expected}, got {found} ({bytes} bytes)")]
    WrongChecksum {
        /// What the template asks for.
        expected: Digest,
        /// What the file has.
        found: Digest,
        /// Length of the file in bytes.
        bytes: u64,
    },
    /// The server has answered, but not with the file.
    #[error("{url} answered {status}")]
    Status {
        /// The URL that answered, after redirects.
        url: String,
        /// Code and reason.
        status: hyper::StatusCode,
    },
    /// The answer makes no sense.
    #[error("{url} gave an answer that cannot be used: {reason}")]
    Answer {
        /// The URL that answered.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More than ten redirects.
    #[error("{url} redirects more than {limit} times")]
    Redirects {
        /// The URL asked first.
        url: String,
        /// Redirects that were followed.
        limit: usize,
    },
    /// The proxy of the environment cannot be used.
    #[error("the proxy `{proxy}` cannot be used: {reason}")]
    Proxy {
        /// The proxy, without a password.
        proxy: String,
        /// Why not.
        reason: String,
    },
    /// No connection to the server or proxy.
    #[error("cannot connect to {host}")]
    Connect {
        /// Host and port.
        host: String,
        /// What happened.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The trusted certificates of this machine cannot be loaded.
    #[error("cannot load the certificate authorities of this machine")]
    Certificates(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke.
    #[error("the connection to {url} broke after {received} bytes")]
    Broken {
        /// The URL.
        url: String,
        /// Bytes of the file that had arrived, over all tries.
        received: u64,
        /// What happened.
        source: hyper::Error,
    },
    /// Nothing came for too long.
    #[error("{url} sent nothing for {} s (after {received} bytes)", waited.as_secs())]
    Stalled {
        /// The URL.
        url: String,
        /// Bytes of the file that had arrived, over all tries.
        received: u64,
        /// How long was waited.
        waited: Duration,
    },
}

impl FetchError {
    /// Returns what the user can do about it, where there is something.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoUrl => Some("set iso_url or iso_urls".to_owned()),
            Self::AllFailed { failures } => failures.iter().find_map(|failure| failure.error.hint()),
            Self::ChecksumFile { source: UrlError::Read { .. }, .. } => Some(
                "check iso_checksum; relative paths start from the directory in which the build was started".to_owned(),
            ),
            Self::Local(error) | Self::ChecksumFile { source: error, .. } => error.hint(),
            Self::NoChecksumInFile { name, .. } => Some(format!(
                "the file has no line for {name}; check that it belongs to this version, or give the checksum itself"
            )),
        }
    }
}

impl From<FetchError> for StepError {
    fn from(error: FetchError) -> Self {
        let hint = error.hint();
        Self::wrap(error).with_hint_maybe(hint)
    }
}

impl UrlError {
    /// Returns what the user can do about it, where there is something.
    pub(crate) fn hint(&self) -> Option<String> {
        let text = match self {
            Self::WrongChecksum { expected, found, bytes } => {
                return Some(if *bytes < 100_000 {
                    "the server probably sent an error page instead of the file: open the URL in a browser".to_owned()
                } else {
                    format!(
                        "when the publisher has replaced the file, set iso_checksum to \"{found}\" (instead of {expected}), after checking it against the publisher's list"
                    )
                });
            }
            Self::Status { status, .. } if status.as_u16() == 404 => {
                "publishers move old versions away: look for the current URL"
            }
            Self::Status { status, .. } if matches!(status.as_u16(), 401 | 403) => {
                "the server wants a login or refuses this machine: download the file yourself and give its path as iso_url"
            }
            Self::Compressed { .. } => {
                "unpack it once and give the path as iso_url, or add `?archive=false` to use it as it is"
            }
            Self::NoParts { .. } | Self::NoServer { .. } => "remove iso_skip_cache, and the file is downloaded first",
            Self::Scheme { .. } => "download the file yourself and give its path as iso_url",
            Self::Certificates(_) => "install the package ca-certificates, or set SSL_CERT_FILE",
            Self::Connect { .. } | Self::Stalled { .. } => {
                "check the network and the proxy (HTTP_PROXY, HTTPS_PROXY, NO_PROXY); what has arrived is kept"
            }
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "check the path in the template (iso_url, source_path); relative paths start from the directory in which the build was started"
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "make room, or set PACKER_CACHE_DIR to a larger disk"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }

    /// Says whether the same request may succeed a little later.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Broken { .. } | Self::Stalled { .. } => true,
            // A certificate that is wrong stays wrong.
            Self::Connect { source, .. } => {
                let mut cause: Option<&(dyn Error + 'static)> = Some(source.as_ref());
                while let Some(error) = cause {
                    if error.downcast_ref::<rustls::Error>().is_some() {
                        return false;
                    }
                    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
                    cause = match inner {
                        Some(inner) => Some(inner),
                        None => error.source(),
                    };
                }
                true
            }
            Self::Status { status, .. } => status.is_server_error() || matches!(status.as_u16(), 408 | 429),
            _ => false,
        }
    }

    /// Says whether the failure is this machine's, so that other URLs need not be tried.
    pub(super) const fn ends_everything(&self) -> bool {
        matches!(self, Self::Write { .. })
    }
}

/// Returns the message of an error and of all its causes.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        // Some libraries repeat their cause in their own message.
        if !text.ends_with(&message) {
            let _ = write!(text, ": {message}");
        }
        cause = error.source();
    }
    text
}

fn listed(failures: &[UrlFailure]) -> String {
    format!("[{}]", failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

impl fmt::Display for UrlFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.url, with_causes(&self.error))
    }
}
