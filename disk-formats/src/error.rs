//! The one public error: what was done, to which file, where in it, and which rule was broken.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::{fmt, io};

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Says what a caller can do about an error; match on this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file or directory does not exist.
    NotFound,
    /// An output exists already and overwriting was not asked for.
    AlreadyExists,
    /// The system refused access.
    PermissionDenied,
    /// The target file system, quota or file-size limit is full.
    NoSpace,
    /// Another input or output failure; the source has the system's words.
    Io,
    /// No known format was recognised.
    UnknownFormat,
    /// The file contradicts its format's rules.
    Corrupt,
    /// The file ends before what its own tables refer to.
    Truncated,
    /// A correct image uses a feature this crate does not implement.
    Unsupported,
    /// The image is encrypted.
    Encrypted,
    /// The image names another file, and the policy does not allow opening it.
    Refused,
    /// An archive holds several disks, and none was chosen.
    SeveralDisks,
    /// A size exceeds a limit of the target format or of this crate.
    TooLarge,
    /// An option or description is not usable.
    InvalidInput,
    /// A destination is also a source.
    DestinationIsSource,
    /// The caller's progress callback asked to stop.
    Cancelled,
}

impl ErrorKind {
    /// Returns the words used when an error carries no more precise rule.
    fn words(self) -> &'static str {
        match self {
            Self::NotFound => "no such file or directory",
            Self::AlreadyExists => "the file exists already",
            Self::PermissionDenied => "permission denied",
            Self::NoSpace => "no space left",
            Self::Io => "input/output failure",
            Self::UnknownFormat => "the format is not known",
            Self::Corrupt => "the image is damaged",
            Self::Truncated => "the file is cut short",
            Self::Unsupported => "the image uses an unsupported feature",
            Self::Encrypted => "the image is encrypted",
            Self::Refused => "opening another file is not allowed",
            Self::SeveralDisks => "the archive holds several disks",
            Self::TooLarge => "the size is over a limit",
            Self::InvalidInput => "an option is not usable",
            Self::DestinationIsSource => "the destination is also a source",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns what the user can do, where that is known from the kind alone.
    fn hint(self) -> Option<&'static str> {
        match self {
            Self::AlreadyExists => Some("choose another name, or allow overwriting"),
            Self::NoSpace => Some("free some space, or write to another file system"),
            Self::UnknownFormat => Some("name the format explicitly if you know it (a raw disk has no signature)"),
            Self::Encrypted => Some("decrypt the image with the tool that made it, then try again"),
            Self::Refused => Some("allow backing files explicitly if you trust where this image comes from"),
            Self::SeveralDisks => Some("say by its name which one is meant"),
            Self::Truncated => {
                Some("the copy or download of this file may be incomplete; compare its size or checksum")
            }
            Self::DestinationIsSource => Some("write to another file, then rename it"),
            _ => None,
        }
    }
}

impl From<&io::Error> for ErrorKind {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::AlreadyExists => Self::AlreadyExists,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::PermissionDenied,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::NoSpace,
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Io,
        }
    }
}

/// Names the operation that failed; the first word of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Opening an image or finding its format.
    Open,
    /// Reading guest data or tables.
    Read,
    /// Checking an image's structure.
    Check,
    /// Making a new file.
    Create,
    /// Writing an output.
    Write,
    /// Making an output durable and giving it its name.
    Publish,
    /// Changing the size of an image.
    Resize,
    /// Converting as a whole.
    Convert,
    /// Describing a machine in a package.
    Describe,
    /// Checking files against a manifest.
    Verify,
}

impl Operation {
    fn verb(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Check => "check",
            Self::Create => "create",
            Self::Write => "write",
            Self::Publish => "publish",
            Self::Resize => "resize",
            Self::Convert => "convert",
            Self::Describe => "describe machine for",
            Self::Verify => "verify",
        }
    }
}

/// The error of every operation in this crate.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    op: Operation,
    path: Option<PathBuf>,
    offset: Option<u64>,
    rule: Option<Cow<'static, str>>,
    hint: Option<Cow<'static, str>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Makes an error from a kind and the rule that was broken (lower case, no full stop).
    pub(crate) fn new(kind: ErrorKind, op: Operation, rule: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind, op, path: None, offset: None, rule: Some(rule.into()), hint: None, source: None }))
    }

    /// Makes an error from a system error; its kind follows from the system's.
    pub(crate) fn io(op: Operation, source: io::Error) -> Self {
        let kind = ErrorKind::from(&source);
        Self(Box::new(Inner {
            kind,
            op,
            path: None,
            offset: None,
            rule: None,
            hint: None,
            source: Some(Box::new(source)),
        }))
    }

    /// The file contradicts its format's rules.
    pub(crate) fn corrupt(rule: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Corrupt, Operation::Read, rule)
    }

    /// The file uses a feature that is not implemented.
    pub(crate) fn unsupported(rule: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unsupported, Operation::Open, rule)
    }

    /// The caller's progress callback asked to stop.
    pub(crate) fn cancelled(op: Operation) -> Self {
        Self::new(ErrorKind::Cancelled, op, "cancelled")
    }

    /// Adds the path, unless a deeper layer named one already.
    #[must_use]
    pub(crate) fn with_path(mut self, path: &Path) -> Self {
        self.0.path.get_or_insert_with(|| path.to_path_buf());
        self
    }

    /// Adds the offset in the file, unless a deeper layer named one already.
    #[must_use]
    pub(crate) fn at(mut self, offset: u64) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }

    /// Replaces the operation by the one the user asked for.
    #[must_use]
    pub(crate) fn during(mut self, op: Operation) -> Self {
        self.0.op = op;
        self
    }

    /// Adds advice that is more precise than the kind's.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Returns the rule that was broken, without file and place.
    pub(crate) fn rule(&self) -> &str {
        self.0.rule.as_deref().unwrap_or(self.0.kind.words())
    }

    /// Returns the kind, to branch on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the operation that failed.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.0.op
    }

    /// Returns the file concerned, when one is known.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Returns the offset in that file in bytes, when one is known.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// Returns advice for the user, where there is any.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref().or(self.0.kind.hint())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        match &inner.path {
            Some(path) => write!(f, "cannot {} {}: ", inner.op.verb(), path.display())?,
            None => write!(f, "cannot {}: ", inner.op.verb())?,
        }
        f.write_str(inner.rule.as_deref().unwrap_or(inner.kind.words()))?;
        match inner.offset {
            Some(offset) => write!(f, " (offset {offset:#x})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.to_string())
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_operation_file_rule_and_offset() {
        let error = Error::corrupt("the l2 table lies outside the file").at(0x1f000).with_path(Path::new("a.qcow2"));
        assert_eq!(error.to_string(), "cannot read a.qcow2: the l2 table lies outside the file (offset 0x1f000)");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_full_disk_is_recognised_and_has_a_hint() {
        let error = Error::io(Operation::Write, io::Error::from_raw_os_error(28));
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert!(error.hint().is_some());
        assert!(std::error::Error::source(&error).is_some());
    }
}
