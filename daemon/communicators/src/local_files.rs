//! The near side of transfers: reading trees of files to send, and writing what a guest sends without letting it out of
//! the directory it was given.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

use crate::error::CommunicatorError;

/// Directories inside each other, sent or received. Linux limits a path to 4096 bytes.
const MAX_DEPTH: usize = 256;

/// The longest file name taken from a guest; Linux's limit.
const MAX_NAME: usize = 255;

/// Bytes collected before the disk is written to.
const WRITE_BUFFER: usize = 256 * 1024;

/// Permission bits that travel. Set-uid and sticky bits from a guest have no place here.
const MODE_MASK: u32 = 0o777;

/// Mode of a file downloaded alone, before the umask.
pub(crate) const DOWNLOAD_MODE: u32 = 0o644;

fn local(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CommunicatorError {
    let path = path.to_owned();
    move |source| CommunicatorError::Local { action, path, source }
}

/// One step of sending a tree, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum UploadStep {
    Enter { name: OsString, mode: u32 },
    File { path: PathBuf, name: OsString },
    Leave,
}

/// A regular file opened for sending.
pub(crate) struct OpenedFile {
    pub(crate) file: File,
    pub(crate) size: u64,
    pub(crate) mode: u32,
}

/// Opens a regular file. Others are refused: a FIFO would wait for ever, a device has no end.
pub(crate) async fn open_for_upload(path: &Path) -> Result<OpenedFile, CommunicatorError> {
    // Non-blocking, for opening a FIFO waits for its writer; it means nothing to a regular file.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let mut options = fs::OpenOptions::new();
    options.read(true).custom_flags(flags);
    let file = tokio::fs::OpenOptions::from(options).open(path).await.map_err(local("read", path))?;
    let metadata = file.metadata().await.map_err(local("read", path))?;
    if !metadata.is_file() {
        let why = if metadata.is_dir() { "it is a directory" } else { "it is not a regular file" };
        return Err(CommunicatorError::Unsendable { path: path.to_owned(), why });
    }
    Ok(OpenedFile { file, size: metadata.size(), mode: metadata.mode() & MODE_MASK })
}

/// Lists a tree, names sorted, symbolic links followed. The steps do not include entering `source` itself.
pub(crate) async fn plan_upload(source: &Path) -> Result<Vec<UploadStep>, CommunicatorError> {
    let source = source.to_owned();
    let listing = tokio::task::spawn_blocking(move || {
        let mut steps = Vec::new();
        let mut above = vec![fs::canonicalize(&source).map_err(local("read", &source))?];
        list(&source, &mut above, &mut steps)?;
        Ok(steps)
    });
    listing.await.map_err(|error| CommunicatorError::Local {
        action: "list",
        path: PathBuf::new(),
        source: io::Error::other(error),
    })?
}

fn list(directory: &Path, above: &mut Vec<PathBuf>, steps: &mut Vec<UploadStep>) -> Result<(), CommunicatorError> {
    let unsendable = |path: &Path, why| Err(CommunicatorError::Unsendable { path: path.to_owned(), why });
    let entries = fs::read_dir(directory).map_err(local("list", directory))?;
    let mut names: Vec<OsString> = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()
        .map_err(local("list", directory))?;
    names.sort();
    for name in names {
        let path = directory.join(&name);
        let metadata = fs::metadata(&path).map_err(local("read", &path))?;
        if metadata.is_file() {
            steps.push(UploadStep::File { path, name });
        } else if metadata.is_dir() {
            let real = fs::canonicalize(&path).map_err(local("read", &path))?;
            if above.contains(&real) {
                return unsendable(&path, "it is a symbolic link to a directory it lies in");
            }
            if above.len() >= MAX_DEPTH {
                return unsendable(&path, "it lies too deep");
            }
            steps.push(UploadStep::Enter { name, mode: metadata.mode() & MODE_MASK });
            above.push(real);
            list(&path, above, steps)?;
            above.pop();
            steps.push(UploadStep::Leave);
        } else {
            return unsendable(&path, "it is neither a file nor a directory");
        }
    }
    Ok(())
}

/// Returns the name a directory is sent under: none when the path ends in `/`, which means its contents.
pub(crate) fn directory_name(source: &Path) -> Result<Option<OsString>, CommunicatorError> {
    if source.as_os_str().as_bytes().ends_with(b"/") {
        return Ok(None);
    }
    if let Some(name) = source.file_name() {
        return Ok(Some(name.to_owned()));
    }
    // `.` or `a/..`: the name is known to the file system only.
    let real = fs::canonicalize(source).map_err(local("read", source))?;
    Ok(real.file_name().map(OsStr::to_owned))
}

/// A file being received, under a temporary name until it is whole. Dropping it removes it.
pub(crate) struct PendingFile {
    writer: Option<BufWriter<File>>,
    temporary: PathBuf,
    destination: PathBuf,
}

impl PendingFile {
    pub(crate) async fn create(destination: &Path, mode: u32) -> Result<Self, CommunicatorError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let Some(directory) = destination.parent().filter(|_| destination.file_name().is_some()) else {
            return Err(local("create", destination)(io::ErrorKind::InvalidInput.into()));
        };
        // Not made from the final name, which may be as long as a name can be.
        let temporary = directory.join(format!(".kiln-partial-{}-{number}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(mode & MODE_MASK);
        let file = tokio::fs::OpenOptions::from(options).open(&temporary).await.map_err(local("create", &temporary))?;
        let writer = Some(BufWriter::with_capacity(WRITE_BUFFER, file));
        Ok(Self { writer, temporary, destination: destination.to_owned() })
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), CommunicatorError> {
        let writer = self.writer.as_mut().expect("only commit takes the writer");
        writer.write_all(bytes).await.map_err(local("write", &self.destination))
    }

    /// Makes the file appear under its name. `durable` waits for the disk.
    pub(crate) async fn commit(mut self, durable: bool) -> Result<(), CommunicatorError> {
        let mut writer = self.writer.take().expect("commit runs once");
        writer.flush().await.map_err(local("write", &self.destination))?;
        if durable {
            writer.get_ref().sync_all().await.map_err(local("write", &self.destination))?;
        }
        drop(writer);
        let renamed = tokio::fs::rename(&self.temporary, &self.destination).await;
        renamed.map_err(local("create", &self.destination))?;
        self.temporary = PathBuf::new();
        Ok(())
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty()
            && let Err(error) = fs::remove_file(&self.temporary)
        {
            tracing::warn!(path = %self.temporary.display(), %error, "cannot remove a partly downloaded file");
        }
    }
}

/// A directory a guest's files go into, and where in it we are.
pub(crate) struct DownloadTree {
    path: PathBuf,
    depth: usize,
}

impl DownloadTree {
    /// Makes the target directory if it is missing.
    pub(crate) async fn create(root: &Path) -> Result<Self, CommunicatorError> {
        tokio::fs::create_dir_all(root).await.map_err(local("create", root))?;
        Ok(Self { path: root.to_owned(), depth: 0 })
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Goes into a directory the guest names, making it if it is missing. `.` as the first one means the target itself.
    pub(crate) fn enter(&mut self, name: &[u8], mode: u32) -> Result<(), CommunicatorError> {
        let shown = || String::from_utf8_lossy(name).into_owned();
        if self.depth >= MAX_DEPTH {
            return Err(CommunicatorError::HostileName { name: shown(), why: "lies too deep" });
        }
        let path = if name == b"." && self.depth == 0 { self.path.join(".") } else { self.path.join(safe_name(name)?) };
        match fs::symlink_metadata(&path) {
            // A link that lies here already could lead the guest's files anywhere.
            Ok(metadata) if metadata.is_symlink() => {
                return Err(CommunicatorError::HostileName { name: shown(), why: "is a symbolic link here" });
            }
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(local("create", &path)(io::ErrorKind::AlreadyExists.into())),
            Err(_) => {
                // We must be able to write into it whatever the guest's mode says.
                let mode = (mode & MODE_MASK) | 0o700;
                fs::DirBuilder::new().mode(mode).create(&path).map_err(local("create", &path))?;
            }
        }
        self.path = path;
        self.depth += 1;
        Ok(())
    }

    /// Goes back up. False when there is no way up.
    pub(crate) fn leave(&mut self) -> bool {
        if self.depth == 0 {
            return false;
        }
        self.depth -= 1;
        // `PathBuf::pop` would take two components when the last is `.`.
        if let Some(without) = self.path.as_os_str().as_bytes().strip_suffix(b"/.") {
            self.path = PathBuf::from(OsStr::from_bytes(without));
            true
        } else {
            self.path.pop()
        }
    }

    /// Begins a file the guest names.
    pub(crate) async fn file(&self, name: &[u8], mode: u32) -> Result<PendingFile, CommunicatorError> {
        PendingFile::create(&self.path.join(safe_name(name)?), mode | 0o600).await
    }
}

/// Takes a file name from a guest, if it is one: a single component that stays where it is put.
pub(crate) fn safe_name(name: &[u8]) -> Result<&OsStr, CommunicatorError> {
    let why = if name.is_empty() {
        "is empty"
    } else if name == b"." || name == b".." {
        "leads elsewhere"
    } else if name.contains(&b'/') {
        "contains a slash"
    } else if name.contains(&0) {
        "contains a NUL byte"
    } else if name.len() > MAX_NAME {
        "is too long"
    } else {
        return Ok(OsStr::from_bytes(name));
    };
    Err(CommunicatorError::HostileName { name: String::from_utf8_lossy(name).chars().take(MAX_NAME).collect(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        for name in [&b""[..], b".", b"..", b"/etc/passwd", b"a/b", b"../x", b"a\0b", &[b'x'; 256]] {
            assert!(matches!(safe_name(name), Err(CommunicatorError::HostileName { .. })), "{name:?}");
        }
        assert_eq!(safe_name(b"...").unwrap(), "...");
    }

    #[tokio::test]
    async fn a_link_in_the_way_is_not_followed() {
        let target = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/tmp", target.path().join("link")).unwrap();
        let mut tree = DownloadTree::create(target.path()).await.unwrap();
        assert!(matches!(tree.enter(b"link", 0o755), Err(CommunicatorError::HostileName { .. })));
    }

    #[tokio::test]
    async fn an_unfinished_file_is_removed() {
        let target = tempfile::tempdir().unwrap();
        let mut file = PendingFile::create(&target.path().join("x"), 0o644).await.unwrap();
        file.write(b"half").await.unwrap();
        drop(file);
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_tree_is_listed_in_order_and_loops_are_found() {
        let source = tempfile::tempdir().unwrap();
        fs::create_dir(source.path().join("b")).unwrap();
        fs::write(source.path().join("b/c"), "").unwrap();
        fs::write(source.path().join("a"), "").unwrap();
        let steps = plan_upload(source.path()).await.unwrap();
        let names: Vec<_> = steps
            .iter()
            .map(|step| match step {
                UploadStep::Enter { name, .. } => format!("{}/", name.display()),
                UploadStep::File { name, .. } => name.display().to_string(),
                UploadStep::Leave => "..".into(),
            })
            .collect();
        assert_eq!(names, ["a", "b/", "c", ".."]);
        std::os::unix::fs::symlink("..", source.path().join("b/up")).unwrap();
        assert!(matches!(plan_upload(source.path()).await, Err(CommunicatorError::Unsendable { .. })));
    }
}
