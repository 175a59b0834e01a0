//! The one way in: from a path, a format and a policy to a reader. Only this file knows every reader.

use std::path::{Path, PathBuf};

use crate::backing_name::{self, BackingFile};
use crate::package::{self, ArchivedDisk};
use crate::qcow2::{self, Qcow2Reader};
use crate::raw::RawReader;
use crate::recognise::{format_of, told_format};
use crate::source_file::SourceFile;
use crate::take_out::{bare_archive, is_named_packed, take_out, take_out_first};
use crate::vdi::VdiReader;
use crate::vhd::VhdReader;
use crate::vhdx::VhdxReader;
use crate::vmdk::VmdkReader;
use crate::{DiskReader, Error, ErrorKind, Format, ImageInfo, Operation, Result, foreign};

/// Says whether an image may pull in the files that it names (backing file, parent, extents).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BackingPolicy {
    /// No other file is opened; an image that needs one is refused.
    #[default]
    Deny,
    /// Regular files below these directories may be opened, after resolving symbolic links.
    Allow(Vec<PathBuf>),
    /// Any regular file that this process can read may be opened. For images this user's own tools made.
    AllowAny,
}

/// What opening an image is allowed to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenPolicy {
    /// Files that the image names.
    pub backing: BackingPolicy,
    /// Largest guest disk in bytes that is accepted.
    pub max_virtual_size: u64,
    /// Most bytes that an image packed with gzip, xz, bzip2 or zstd may unpack to.
    pub max_unpacked_size: u64,
    /// Which internal snapshot is read instead of the present state, by id or name; only qcow2 has any.
    pub snapshot: Option<String>,
    /// Which disk of an archive (OVA) is meant, by the name of its file there. Without it an archive of several is refused.
    pub archived_disk: Option<String>,
}

/// Largest guest disk accepted by default: 64 TiB, the limit of VHDX and of seSparse.
const DEFAULT_MAX_VIRTUAL_SIZE: u64 = 64 << 40;

/// Most bytes unpacked by default: 256 GiB, some minutes of work when they are zeroes.
const DEFAULT_MAX_UNPACKED_SIZE: u64 = 256 << 30;

/// Longest chain of images that is followed.
const MAX_CHAIN: usize = 16;

impl OpenPolicy {
    /// Returns the policy for images that nobody vouches for: no other file is opened.
    #[must_use]
    pub fn deny() -> Self {
        Self {
            backing: BackingPolicy::Deny,
            max_virtual_size: DEFAULT_MAX_VIRTUAL_SIZE,
            max_unpacked_size: DEFAULT_MAX_UNPACKED_SIZE,
            snapshot: None,
            archived_disk: None,
        }
    }

    /// Returns the policy that allows files below `directories`.
    #[must_use]
    pub fn allow_below(directories: Vec<PathBuf>) -> Self {
        Self { backing: BackingPolicy::Allow(directories), ..Self::deny() }
    }

    /// Returns the policy for images made by the user's own tools: they may name any regular file.
    #[must_use]
    pub fn allow_any() -> Self {
        Self { backing: BackingPolicy::AllowAny, ..Self::deny() }
    }
}

impl Default for OpenPolicy {
    fn default() -> Self {
        Self::deny()
    }
}

/// Opens an image for reading.
///
/// With `format` absent the signature decides (see [`crate::detect`]); give it whenever it is known. Of an OVA, the only disk, or
/// that which [`OpenPolicy::archived_disk`] chooses, is opened in place, without unpacking. An image packed with gzip, xz, bzip2 or zstd is unpacked into a nameless file first;
/// only this image, never one that it names.
///
/// # Errors
/// When the file cannot be read, breaks its format's rules, or needs what the policy does not allow.
pub fn open(path: &Path, format: Option<Format>, policy: &OpenPolicy) -> Result<Box<dyn DiskReader>> {
    let opening = Opening::new(policy);
    let file = open_first(path, format, policy);
    let reader = file.and_then(|file| opening.open_file(file, format));
    reader.map_err(|error| error.with_path(path).during(Operation::Open))
}

/// Opens a file and takes the image out of what it is packed in.
pub(crate) fn open_first(path: &Path, format: Option<Format>, policy: &OpenPolicy) -> Result<SourceFile> {
    SourceFile::open(path).and_then(|file| match format {
        // The caller says that these bytes are the disk, unless the name says otherwise.
        Some(Format::Raw) if !is_named_packed(path) => Ok(file),
        _ => take_out(file, policy.max_unpacked_size, policy.archived_disk.as_deref()),
    })
}

/// Returns facts about one image: as [`open`], but what lies below it is not opened and may be missing, and it may be encrypted.
/// Extents, which are parts of the image itself, are opened.
///
/// # Errors
/// When the file cannot be read, breaks its format's rules, or has extents that the policy does not allow.
pub fn image_info(path: &Path, format: Option<Format>, policy: &OpenPolicy) -> Result<ImageInfo> {
    let opening = Opening { alone: true, ..Opening::new(policy) };
    let info =
        open_first(path, format, policy).and_then(|file| match format.map_or_else(|| told_format(&file), Ok)? {
            Format::Qcow2 => qcow2::info(&file),
            format => Ok(opening.open_file(file, Some(format))?.info()),
        });
    info.map_err(|error| error.with_path(path).during(Operation::Open))
}

/// Recognises a format; see [`crate::detect`].
pub(crate) fn detect_path(path: &Path) -> Result<Format> {
    let file = SourceFile::open(path).and_then(|file| take_out_first(file, DEFAULT_MAX_UNPACKED_SIZE));
    let format = file.and_then(|file| match format_of(&file)? {
        Format::Raw => foreign::refuse(&file).map(|()| Format::Raw),
        format => Ok(format),
    });
    format.map_err(|error| error.with_path(path).during(Operation::Open))
}

/// Lists the disks of an archive (OVA, box, tar; also packed) by the names of their files there; empty for a file that is none.
///
/// # Errors
/// When the file cannot be read, or is an archive without a disk.
pub fn archived_disks(path: &Path) -> Result<Vec<String>> {
    let listed = bare(path).and_then(|file| package::archived_disks(&file));
    let names =
        |disks: Option<Vec<ArchivedDisk>>| disks.unwrap_or_default().into_iter().map(|disk| disk.name).collect();
    listed.map(names).map_err(|error| error.with_path(path).during(Operation::Open))
}

/// Describes the machines and disks of an archive with an OVF descriptor (an OVA, or VirtualBox's box); `None` for another file.
///
/// # Errors
/// When the file cannot be read, or its descriptor is damaged.
pub fn package_facts(path: &Path) -> Result<Option<package::PackageFacts>> {
    let facts = bare(path).and_then(|file| package::package_facts(&file));
    facts.map_err(|error| error.with_path(path).during(Operation::Open))
}

fn bare(path: &Path) -> Result<SourceFile> {
    SourceFile::open(path).and_then(|file| bare_archive(file, DEFAULT_MAX_UNPACKED_SIZE))
}

/// Lists the internal snapshots of an image; only qcow2 has any.
///
/// # Errors
/// When the file cannot be read or its snapshot table is damaged.
pub fn snapshots(path: &Path, format: Option<Format>) -> Result<Vec<qcow2::Snapshot>> {
    let listed = SourceFile::open(path).and_then(|file| match format.map_or_else(|| told_format(&file), Ok)? {
        Format::Qcow2 => qcow2::list_snapshots(&file),
        _ => Ok(Vec::new()),
    });
    listed.map_err(|error| error.with_path(path).during(Operation::Read))
}

/// A chain of images being opened: the policy, and the files above the present one.
pub(crate) struct Opening<'a> {
    policy: &'a OpenPolicy,
    /// Device and inode numbers of the files above.
    chain: Vec<(u64, u64)>,
    /// What lies below is not opened: nothing is going to be read.
    alone: bool,
    /// See [`OpenPolicy::snapshot`]; for the first image only.
    snapshot: Option<&'a str>,
}

impl<'a> Opening<'a> {
    /// Begins a chain.
    pub(crate) fn new(policy: &'a OpenPolicy) -> Self {
        Self { policy, chain: Vec::new(), alone: false, snapshot: policy.snapshot.as_deref() }
    }

    fn open_file(&self, file: SourceFile, format: Option<Format>) -> Result<Box<dyn DiskReader>> {
        let format = match format {
            Some(format) => format,
            None => told_format(&file)?,
        };
        let opening = self.descend(&file);
        if self.snapshot.is_some() && format != Format::Qcow2 {
            let rule = format!("a snapshot was chosen, but a {format} image has none inside");
            return Err(file.error(ErrorKind::InvalidInput, rule).at(0));
        }
        match format {
            Format::Raw => {
                opening.check_virtual_size(file.len(), &file, 0)?;
                Ok(Box::new(RawReader::new(file)))
            }
            Format::Qcow2 => Ok(Box::new(Qcow2Reader::open(file, self.snapshot, &opening)?)),
            Format::Vmdk => Ok(Box::new(VmdkReader::open(file, &opening)?)),
            Format::Vdi => Ok(Box::new(VdiReader::open(file, &opening)?)),
            Format::Vhd => Ok(Box::new(VhdReader::open(file, &opening)?)),
            Format::Vhdx => Ok(Box::new(VhdxReader::open(file, &opening)?)),
        }
    }

    /// Returns the opening for what `file` names.
    pub(crate) fn descend(&self, file: &SourceFile) -> Self {
        let mut chain = self.chain.clone();
        chain.push(file.identity());
        Self { policy: self.policy, chain, alone: self.alone, snapshot: None }
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
        self.open_file(file, Some(format))
    }

    /// Opens a file that `from` names at `at`, if the policy allows it.
    pub(crate) fn open_named(&self, name: &str, from: &SourceFile, at: u64) -> Result<SourceFile> {
        let plain = backing_name::path(name).map_err(|why| {
            let error = from.error(ErrorKind::Refused, format!("the image names {name:?}, {why}")).at(at);
            error.with_hint("an image must name its files by their paths")
        })?;
        self.open_path(plain, from, at)
    }

    fn open_path(&self, name: &str, from: &SourceFile, at: u64) -> Result<SourceFile> {
        let refuse = |rule: String| from.error(ErrorKind::Refused, rule).at(at);
        if self.policy.backing == BackingPolicy::Deny {
            return Err(refuse(format!("the image needs the file {name:?}")));
        }
        if self.chain.len() >= MAX_CHAIN {
            return Err(from.error(ErrorKind::Corrupt, "the chain of images is longer than 16").at(at));
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
        let file = SourceFile::open(&resolved)?;
        if self.chain.contains(&file.identity()) {
            return Err(from.error(ErrorKind::Corrupt, format!("the chain of images comes back to {name:?}")).at(at));
        }
        Ok(file)
    }
}
