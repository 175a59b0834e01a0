//! A chain of images being opened: the policy for files that an image names, and the files above the present one.

use std::path::Path;

use super::backing_name::{self, BackingFile};
use super::open_policy::{BackingPolicy, OpenPolicy};
use super::reader::DiskReader;
use super::source_file::SourceFile;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::format::Format;

/// Longest chain of images that is followed.
const MAX_CHAIN: usize = 16;

/// Opens images of all formats. They lie above this file, so whoever begins a chain hands this in.
pub(crate) trait ImageOpener {
    /// Opens a file as an image of a format, or a snapshot inside it; `opening` is for what the image names in turn.
    fn open(
        &self,
        file: SourceFile,
        format: Format,
        snapshot: Option<&str>,
        opening: &Opening<'_>,
    ) -> Result<Box<dyn DiskReader>>;
}

/// A chain of images being opened: the policy, and the files above the present one.
#[derive(Clone)]
pub(crate) struct Opening<'a> {
    policy: &'a OpenPolicy,
    opener: &'a dyn ImageOpener,
    /// Device and inode numbers of the files above.
    chain: Vec<(u64, u64)>,
    /// What lies below is not opened: nothing is going to be read.
    alone: bool,
    /// See [`OpenPolicy::snapshot`]; for the first image only.
    snapshot: Option<&'a str>,
}

impl<'a> Opening<'a> {
    /// Begins a chain.
    pub(crate) fn new(policy: &'a OpenPolicy, opener: &'a dyn ImageOpener) -> Self {
        Self { policy, opener, chain: Vec::new(), alone: false, snapshot: policy.snapshot.as_deref() }
    }

    /// The same for facts about the first image alone: what lies below it is not opened.
    pub(crate) fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    /// Opens a file of this format in the chain.
    pub(crate) fn open_file(&self, file: SourceFile, format: Format) -> Result<Box<dyn DiskReader>> {
        let opening = self.descend(&file);
        self.opener.open(file, format, self.snapshot, &opening)
    }

    /// Returns the opening for what `file` names.
    pub(crate) fn descend(&self, file: &SourceFile) -> Self {
        let mut chain = self.chain.clone();
        chain.push(file.identity());
        Self { chain, snapshot: None, ..self.clone() }
    }

    /// Whether what lies below is left out.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Refuses guest disks over the policy's limit; the size stands at `at`.
    pub(crate) fn check_virtual_size(&self, size: u64, file: &SourceFile, at: u64) -> Result<()> {
        if size > self.policy.max_virtual_size {
            let limit = self.policy.max_virtual_size;
            let rule = format!("the guest disk of {size} bytes is over the limit of {limit} bytes");
            return Err(file.error(ErrorKind::TooLarge, rule).at(at));
        }
        Ok(())
    }

    /// Opens the image that `from` names at `at` as its backing file or parent, if the policy allows it.
    pub(crate) fn open_backing(
        &self,
        name: &str,
        format: Option<&str>,
        from: &SourceFile,
        at: u64,
    ) -> Result<Box<dyn DiskReader>> {
        let fail = |why| from.error(ErrorKind::Refused, format!("the image names {name:?}, {why}")).at(at);
        let backing = BackingFile::named(name, format).map_err(|why| {
            fail(why).with_hint("name a local file by its path: `qemu-img rebase -u -b FILE -F FORMAT IMAGE`")
        })?;
        let file = self.open_path(&backing.path, from, at)?;
        let format = match backing.format.as_deref() {
            // Guessing would let a guest that writes a header into its raw disk choose the next file.
            None => {
                let rule = format!("the format of the backing file {name:?} is not recorded");
                return Err(from
                    .error(ErrorKind::Refused, rule)
                    .at(at)
                    .with_hint("record it, for example with `qemu-img rebase -u -F FORMAT`"));
            }
            Some(word) => Format::from_name(word).ok_or_else(|| {
                from.error(ErrorKind::Unsupported, format!("the backing file's format {word:?} is not known")).at(at)
            })?,
        };
        self.open_file(file, format)
    }

    /// Opens a file that `from` names at `at`, if the policy allows it.
    pub(crate) fn open_named(&self, name: &str, from: &SourceFile, at: u64) -> Result<SourceFile> {
        let plain = backing_name::path(name).map_err(|why| {
            let error = from.error(ErrorKind::Refused, format!("the image names {name:?}, {why}")).at(at);
            error.with_hint("an image must name its files by their paths")
        })?;
        self.open_path(plain, from, at)
    }

    /// Opens the parent that the policy tells for the image that was opened last, which is of the same format; `None`: it tells none.
    pub(crate) fn told_parent(&self, from: &SourceFile, format: Format, at: u64) -> Result<Option<SourceFile>> {
        let depth = self.chain.len().saturating_sub(1);
        let Some((path, told)) = self.policy.parents.get(depth) else { return Ok(None) };
        if *told != format {
            let rule = format!("a {format} that lies on a {told}");
            return Err(from.error(ErrorKind::Unsupported, rule).at(at));
        }
        self.next_in_chain(SourceFile::open(path)?, from, at).map(Some)
    }

    fn open_path(&self, name: &str, from: &SourceFile, at: u64) -> Result<SourceFile> {
        let refuse = |rule: String| from.error(ErrorKind::Refused, rule).at(at);
        if self.policy.backing == BackingPolicy::Deny {
            return Err(refuse(format!("the image needs the file {name:?}")));
        }
        let directory = from.path().parent().unwrap_or(Path::new(""));
        let path = directory.join(name);
        let fail = |error| Error::io(Operation::Open, error).with_path(&path);
        let resolved = path.canonicalize().map_err(fail)?;
        if let BackingPolicy::Allow(directories) = &self.policy.backing {
            let inside = directories
                .iter()
                .filter_map(|directory| directory.canonicalize().ok())
                .any(|directory| resolved.starts_with(directory));
            if !inside {
                return Err(refuse(format!("the image needs {name:?}, which is outside the allowed directories")));
            }
        }
        self.next_in_chain(SourceFile::open(&resolved)?, from, at)
    }

    /// Refuses a file that is in the chain already, and one too many.
    fn next_in_chain(&self, file: SourceFile, from: &SourceFile, at: u64) -> Result<SourceFile> {
        if self.chain.len() >= MAX_CHAIN {
            return Err(from.error(ErrorKind::Corrupt, "the chain of images is longer than 16").at(at));
        }
        if self.chain.contains(&file.identity()) {
            let rule = format!("the chain of images comes back to {:?}", file.path());
            return Err(from.error(ErrorKind::Corrupt, rule).at(at));
        }
        Ok(file)
    }
}
