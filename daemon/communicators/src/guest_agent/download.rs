//! Receiving files. Names and sizes are hostile input.

use std::path::Path;
use std::sync::Arc;

use super::failure::Failure;
use super::guest_file::GuestFile;
use super::session::Session;
use super::upload::path;
use super::{script_run, scripts};
use crate::communicator::TransferProgress;
use crate::error::CommunicatorError;
use crate::local_files::{DOWNLOAD_MODE, DownloadTree, PendingFile};

/// Modes of what the guest gives none for.
const UNKNOWN_FILE: u32 = 0o644;
const UNKNOWN_DIRECTORY: u32 = 0o755;

/// Who files come from.
pub(super) struct Download<'a> {
    pub(super) session: &'a Arc<Session>,
    pub(super) host: &'a str,
    pub(super) progress: &'a dyn TransferProgress,
}

impl Download<'_> {
    pub(super) async fn file(&self, source: &str, destination: &Path) -> Result<(), CommunicatorError> {
        let found = script_run::output(self.session, &scripts::find_file(source)).await.and_then(path);
        let there = found.map_err(|failure| self.failed(failure, source))?;
        let pending = PendingFile::create(destination, DOWNLOAD_MODE).await?;
        self.receive(&there, pending, true).await
    }

    pub(super) async fn directory(&self, source: &str, destination: &Path) -> Result<(), CommunicatorError> {
        let failed = |failure| self.failed(failure, source);
        let listed = script_run::output(self.session, &scripts::list(source)).await.map_err(failed)?;
        let mut tree = DownloadTree::create(destination).await?;
        let mut name: &[u8] = b"";
        // What the paths of a directory begin with, and how they go on where we are.
        let (mut root, mut inside): (&[u8], Vec<&[u8]>) = (b"", Vec::new());
        for record in listed.split(|&byte| byte == 0).filter(|record| !record.is_empty()) {
            let (kind, mode, place) =
                parse(record).ok_or_else(|| failed(Failure::Nonsense("a list of files that is none".to_owned())))?;
            if kind == b'n' {
                (name, root) = (place, b"");
                continue;
            }
            if root.is_empty() {
                root = place;
                while tree.leave() {}
                inside.clear();
                match kind {
                    b'd' => tree.enter(if name.is_empty() { b"." } else { name }, mode)?,
                    _ => self.place_in(&tree, place, name, mode).await?,
                }
                continue;
            }
            let below = place.strip_prefix(root).map(|below| below.strip_prefix(b"/").unwrap_or(below));
            let below =
                below.ok_or_else(|| failed(Failure::Nonsense("a file beside what was asked for".to_owned())))?;
            let mut parts: Vec<&[u8]> = below.split(|&byte| byte == b'/').collect();
            let last = parts.pop().unwrap_or(below);
            while inside.len() > parts.len() || !parts.starts_with(&inside) {
                inside.pop();
                tree.leave();
            }
            if inside.len() != parts.len() {
                return Err(failed(Failure::Nonsense("a file in a directory that was not named".to_owned())));
            }
            if kind == b'd' {
                tree.enter(last, mode)?;
                inside.push(last);
            } else {
                self.place_in(&tree, place, last, mode).await?;
            }
        }
        Ok(())
    }

    async fn place_in(
        &self,
        tree: &DownloadTree,
        place: &[u8],
        name: &[u8],
        mode: u32,
    ) -> Result<(), CommunicatorError> {
        let Ok(there) = std::str::from_utf8(place) else {
            let name = String::from_utf8_lossy(place).into_owned();
            return Err(CommunicatorError::HostileName { name, why: "is not UTF-8, which the agent's protocol needs" });
        };
        let pending = tree.file(name, mode).await?;
        self.receive(there, pending, false).await
    }

    async fn receive(&self, there: &str, mut pending: PendingFile, durable: bool) -> Result<(), CommunicatorError> {
        let failed = |failure| self.failed(failure, there);
        let file = GuestFile::open(self.session, there, "r").await.map_err(failed)?;
        self.progress.file_started(there, file.length().await.map_err(failed)?);
        loop {
            let bytes = file.read().await.map_err(failed)?;
            if bytes.is_empty() {
                break;
            }
            pending.write(&bytes).await?;
            self.progress.advanced(bytes.len() as u64);
        }
        file.close().await.map_err(failed)?;
        pending.commit(durable).await
    }

    fn failed(&self, failure: Failure, path: &str) -> CommunicatorError {
        failure.during(self.host, &format!("the download of {path}"), "send", path)
    }
}

/// Reads a record of [`scripts::list`].
fn parse(record: &[u8]) -> Option<(u8, u32, &[u8])> {
    let mut parts = record.splitn(3, |&byte| byte == b' ');
    let (kind, mode, place) = (parts.next()?, parts.next()?, parts.next()?);
    let &[kind @ (b'n' | b'd' | b'f')] = kind else { return None };
    let mode = u32::from_str_radix(std::str::from_utf8(mode).ok()?, 8).ok()?;
    let unknown = if kind == b'd' { UNKNOWN_DIRECTORY } else { UNKNOWN_FILE };
    Some((kind, if mode == 0 { unknown } else { mode }, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_strictly() {
        assert_eq!(parse(b"f 640 /a b\n"), Some((b'f', 0o640, &b"/a b\n"[..])));
        assert_eq!(parse(b"d 0 /a"), Some((b'd', 0o755, &b"/a"[..])));
        for bad in [&b""[..], b"f", b"f 640", b"x 640 /a", b"ff 640 /a", b"f 9 /a", b"f -1 /a", b"f 99999999999999 /a"]
        {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
