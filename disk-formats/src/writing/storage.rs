//! Where outputs go: files that have no name until they are whole.
//!
//! On Linux file systems that can, a file is made without any name (`O_TMPFILE`), so that even a killed process leaves nothing;
//! elsewhere it has a temporary name beside the target. Tests put a storage between that fails where they choose.

use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::digest::Sha256Digest;

/// Bytes written with one call at most. With larger calls the page cache takes its memory in larger pieces; in a virtual machine
/// that gives free memory back to its host these are the ones that must first be fetched again (measured: three times the CPU).
const WRITE: usize = 256 << 10;

/// Links that are followed to a file (the kernel's limit).
const MAX_LINKS: usize = 40;
/// Mode of a directory in which everybody may make files, and nobody remove those of others.
const STICKY_FOR_ALL: u32 = 0o1002;

/// Makes the files of a conversion. The seam where tests inject failures.
pub(crate) trait Destinations: Sync {
    /// Makes a file that will be published as `path`.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Storage>>;
}

/// A file in the making. Dropping it before [`Storage::publish`] removes it.
pub(crate) trait Storage: Send {
    /// Writes all of `bytes` at `offset`; writing behind the end leaves a hole of zeroes.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Fills the buffer from `offset`.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Sets the length; growth is a hole.
    fn set_len(&mut self, len: u64) -> io::Result<()>;

    /// Makes all contents durable.
    fn sync(&mut self) -> io::Result<()>;

    /// Gives the file its final name, replacing an existing file only when asked.
    fn publish(&mut self, overwrite: bool) -> io::Result<()>;

    /// Says whether bytes leave at once for somebody else: nothing can be read back, hashed later, or taken away.
    fn is_stream(&self) -> bool {
        false
    }

    /// Returns the SHA-256 of all that went through a stream, where it was wanted.
    fn stream_digest(&mut self) -> Option<Sha256Digest> {
        None
    }
}

/// The real file system.
#[derive(Default)]
pub(crate) struct FileSystem {
    /// See [`ConvertOptions::mark`](crate::ConvertOptions::mark).
    pub(crate) mark: Option<String>,
}

impl Destinations for FileSystem {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Storage>> {
        Ok(Box::new(PendingFile::create(path, self.mark.as_deref())?))
    }
}

/// Returns the name that an output called `path` has for as long as it is not whole, where a conversion with this
/// [`mark`](crate::ConvertOptions::mark) is killed; `None`: it has no name then, and nothing stays, or it cannot be written anyway.
#[must_use]
pub fn unfinished_name(path: &Path, mark: &str) -> Option<PathBuf> {
    let target = link_target(path).ok()?;
    let target = target.as_deref().unwrap_or(path);
    // One that is replaced is linked beside it first.
    let is_nameless = target.symlink_metadata().is_err() && nameless_in(directory_of(target)).is_some();
    (!is_nameless).then(|| marked_name(target, mark))
}

/// How an unpublished file is held.
enum Hold {
    /// No name at all: the kernel removes it with its last descriptor.
    Nameless,
    /// A name beside the target, removed on drop.
    Named(tempfile::TempPath),
    /// Published.
    Done,
}

/// A file that has no final name yet.
pub(crate) struct PendingFile {
    file: File,
    target: PathBuf,
    /// The name asked for is a link to the target.
    linked: bool,
    /// Part of its name, where it has one.
    mark: Option<String>,
    hold: Hold,
}

impl PendingFile {
    /// Makes an empty file to be published as `name`. Where that is a symbolic link, what it leads to will be replaced; a file
    /// that is replaced hands down its mode, and its owner where the system allows it.
    pub(crate) fn create(name: &Path, mark: Option<&str>) -> io::Result<Self> {
        let target = link_target(name)?;
        let (target, linked) = target.map_or((name.to_path_buf(), false), |target| (target, true));
        let mark = mark.map(str::to_owned);
        match nameless_in(directory_of(&target)) {
            Some(file) => Self { file, target, linked, mark, hold: Hold::Nameless },
            None => {
                let (file, name) = temporary_beside(&target, mark.as_deref())?;
                Self { file, target, linked, mark, hold: Hold::Named(name) }
            }
        }
        .like_the_old()
    }

    /// Takes over what a file that is going to be replaced may be accessed by.
    fn like_the_old(self) -> io::Result<Self> {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let Ok(old) = self.target.symlink_metadata() else { return Ok(self) };
        if old.is_file() {
            let own = self.file.metadata()?;
            if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
                // Only root may give files away, and a group only its members.
                let _ = std::os::unix::fs::fchown(&self.file, Some(old.uid()), Some(old.gid()));
            }
            self.file.set_permissions(std::fs::Permissions::from_mode(old.mode() & 0o777))?;
        }
        Ok(self)
    }

    /// Links a nameless file under a temporary name, from which it can replace an existing target.
    fn link_temporarily(&self) -> io::Result<tempfile::TempPath> {
        if let Some(mark) = &self.mark {
            let name = marked_name(&self.target, mark);
            self.link(&name)?;
            return tempfile::TempPath::try_from_path(name);
        }
        let builder = temporary_name();
        let link = builder.make_in(directory_of(&self.target), |path| self.link(path))?;
        Ok(link.into_temp_path())
    }

    fn link(&self, name: &Path) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let descriptor = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        Ok(rustix::fs::linkat(CWD, descriptor, CWD, name, AtFlags::SYMLINK_FOLLOW)?)
    }
}

impl Storage for PendingFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offsets = (offset..).step_by(WRITE);
        bytes.chunks(WRITE).zip(offsets).try_for_each(|(part, offset)| self.file.write_all_at(part, offset))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn publish(&mut self, overwrite: bool) -> io::Result<()> {
        if self.linked && !overwrite {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        match std::mem::replace(&mut self.hold, Hold::Done) {
            Hold::Nameless if overwrite => {
                self.link_temporarily()?.persist(&self.target).map_err(|error| error.error)?;
            }
            Hold::Nameless => self.link(&self.target)?,
            Hold::Named(name) if overwrite => name.persist(&self.target).map_err(|error| error.error)?,
            Hold::Named(name) => name.persist_noclobber(&self.target).map_err(|error| error.error)?,
            Hold::Done => return Ok(()),
        }
        // The name itself must survive a power loss too.
        let durable = File::open(directory_of(&self.target)).and_then(|directory| directory.sync_all());
        if durable.is_err() && !overwrite {
            // Who is told that publishing failed must not find the file.
            let _ = std::fs::remove_file(&self.target);
        }
        durable
    }
}

/// Returns where a symbolic link leads in the end, which may not exist; `None` for a name that is no link.
///
/// Follows the kernel's rule for links in directories that everybody may write to (`fs.protected_symlinks`), since the kernel does
/// not see that they are followed here: one of a stranger's could lead anywhere.
pub(crate) fn link_target(name: &Path) -> io::Result<Option<PathBuf>> {
    use std::os::unix::fs::MetadataExt;
    let (mut path, mut found) = (name.to_path_buf(), None);
    for _ in 0..MAX_LINKS {
        let Ok(link) = path.symlink_metadata() else { return Ok(found) };
        if !link.is_symlink() {
            return Ok(found);
        }
        let directory = directory_of(&path).metadata()?;
        let own = rustix::process::geteuid().as_raw() == link.uid();
        if directory.mode() & STICKY_FOR_ALL == STICKY_FOR_ALL && !own && directory.uid() != link.uid() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        path = directory_of(&path).join(path.read_link()?);
        found = Some(path.clone());
    }
    Err(rustix::io::Errno::LOOP.into())
}

/// Returns the directory that holds `path`.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes a file without a name, where the file system can.
fn nameless_in(directory: &Path) -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    // Without /proc it could never be linked.
    let can_be_linked = Path::new("/proc/self/fd").exists();
    let file = can_be_linked.then(|| rustix::fs::open(directory, flags, Mode::from_raw_mode(0o666)).ok()).flatten();
    file.map(File::from)
}

/// The temporary name of `target` that is known beforehand. As short as those made by chance, however long the target's is.
fn marked_name(target: &Path, mark: &str) -> PathBuf {
    let mut hasher = std::hash::DefaultHasher::new();
    target.file_name().hash(&mut hasher);
    target.with_file_name(format!(".kiln-{mark}-{:016x}.partial", hasher.finish()))
}

fn temporary_name() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".kiln-").suffix(".partial");
    builder
}

fn temporary_beside(target: &Path, mark: Option<&str>) -> io::Result<(File, tempfile::TempPath)> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(mark) = mark {
        let name = marked_name(target, mark);
        let file = File::options().read(true).write(true).create_new(true).open(&name)?;
        return Ok((file, tempfile::TempPath::try_from_path(name)?));
    }
    let file = temporary_name()
        // Like any file a program makes: the umask decides, not tempfile's private default.
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(directory_of(target))?;
    Ok(file.into_parts())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_only_when_published() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = PendingFile::create(&directory.path().join("a"), None).unwrap();
        file.write_at(0, b"whole").unwrap();
        assert!(!directory.path().join("a").exists());
        file.sync().unwrap();
        file.publish(false).unwrap();
        assert_eq!(std::fs::read(directory.path().join("a")).unwrap(), b"whole");
        assert_eq!(names(directory.path()), ["a"]);
    }

    #[test]
    fn a_dropped_file_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = PendingFile::create(&directory.path().join("a"), None).unwrap();
        file.write_at(0, b"part").unwrap();
        drop(file);
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn an_existing_file_is_replaced_only_when_asked() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("a");
        std::fs::write(&target, b"old").unwrap();
        let mut refused = PendingFile::create(&target, None).unwrap();
        assert_eq!(refused.publish(false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let mut accepted = PendingFile::create(&target, None).unwrap();
        accepted.write_at(0, b"new").unwrap();
        accepted.publish(true).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        assert_eq!(names(directory.path()), ["a"]);
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_the_link_to_it() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("store")).unwrap();
        std::fs::write(path("store/real"), b"old").unwrap();
        std::fs::set_permissions(path("store/real"), std::fs::Permissions::from_mode(0o640)).unwrap();
        symlink("store/real", path("link")).unwrap();
        symlink("link", path("chain")).unwrap();
        symlink("store/none", path("dangling")).unwrap();
        symlink("loop", path("loop")).unwrap();
        for (name, target) in [("chain", "store/real"), ("dangling", "store/none")] {
            let mut file = PendingFile::create(&path(name), None).unwrap();
            file.write_at(0, name.as_bytes()).unwrap();
            let mut refused = PendingFile::create(&path(name), None).unwrap();
            assert_eq!(refused.publish(false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            file.publish(true).unwrap();
            assert!(path(name).is_symlink());
            assert_eq!(std::fs::read(path(target)).unwrap(), name.as_bytes());
        }
        assert_eq!(path("store/real").metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert!(PendingFile::create(&path("loop"), None).is_err());
        assert_eq!(names(&path("store")), ["none", "real"]);
    }

    #[test]
    fn a_named_temporary_works_where_nameless_files_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("a");
        for mark in [None, Some("m1")] {
            let (file, name) = temporary_beside(&target, mark).unwrap();
            assert!(mark.is_none() || name.to_path_buf() == marked_name(&target, "m1"));
            let hold = Hold::Named(name);
            let mark = mark.map(str::to_owned);
            let mut pending = PendingFile { file, target: target.clone(), linked: false, mark, hold };
            pending.write_at(2, b"x").unwrap();
            pending.publish(true).unwrap();
            assert_eq!(std::fs::read(&target).unwrap(), b"\0\0x");
            assert_eq!(names(directory.path()), ["a"]);
        }
    }

    #[test]
    fn the_name_of_an_unfinished_file_is_known_beforehand() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("a");
        // Nothing is there, and here a file needs no name.
        assert_eq!(unfinished_name(&target, "m1"), None);
        std::fs::write(&target, b"old").unwrap();
        let expected = unfinished_name(&target, "m1").unwrap();
        let mut file = PendingFile::create(&target, Some("m1")).unwrap();
        file.write_at(0, b"new").unwrap();
        let link = file.link_temporarily().unwrap();
        assert_eq!(link.to_path_buf(), expected);
        drop((link, file));
        let mut file = PendingFile::create(&target, Some("m1")).unwrap();
        file.publish(true).unwrap();
        assert_eq!(names(directory.path()), ["a"]);
        // Beside what a link leads to, and never longer than a name may be.
        let long = directory.path().join("x".repeat(255));
        std::fs::write(&long, b"old").unwrap();
        std::os::unix::fs::symlink(&long, directory.path().join("link")).unwrap();
        let linked = unfinished_name(&directory.path().join("link"), "m1");
        assert_eq!(linked, unfinished_name(&long, "m1"));
        assert!(linked.is_some_and(|name| name != expected && name.file_name().unwrap().len() < 64));
    }
}
