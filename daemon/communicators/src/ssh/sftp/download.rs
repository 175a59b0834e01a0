//! Receiving by sftp. Names and kinds of files are hostile input.

use std::path::Path;

use tokio::io::AsyncReadExt;

use crate::communicator::{BoxFuture, TransferProgress};
use crate::error::CommunicatorError;
use crate::local_files::{DOWNLOAD_MODE, DownloadTree, PendingFile};
use crate::ssh::sftp::guest_files::{FileKind, join, kind, server_path};
use crate::ssh::sftp::pattern::{is_pattern, matches};
use crate::ssh::sftp::session::Sftp;
use crate::ssh::transfer::CHUNK;

/// Mode of what the guest gives no mode for.
const UNKNOWN_MODE: u32 = 0o755;

impl Sftp {
    pub(super) async fn download_file(
        &self,
        source: &str,
        destination: &Path,
        progress: &dyn TransferProgress,
    ) -> Result<(), CommunicatorError> {
        let path = server_path(source);
        let metadata = self.session.metadata(path.as_str()).await.map_err(|error| self.error("send", source, error))?;
        if kind(&metadata) == FileKind::Directory {
            let message = "it is a directory".to_owned();
            return Err(CommunicatorError::Remote { action: "send", path: source.to_owned(), message });
        }
        let pending = PendingFile::create(destination, DOWNLOAD_MODE).await?;
        self.receive(&path, metadata.len(), pending, true, progress).await
    }

    pub(super) async fn download_directory(
        &self,
        source: &str,
        destination: &Path,
        progress: &dyn TransferProgress,
    ) -> Result<(), CommunicatorError> {
        let mut tree = DownloadTree::create(destination).await?;
        let trimmed = source.trim_end_matches('/');
        let path = if trimmed.is_empty() { "/".to_owned() } else { server_path(trimmed) };
        let (directory, last) = path.rsplit_once('/').unwrap_or((".", path.as_str()));
        if !is_pattern(&path) {
            // The directory's own name: that of what it really is when the path ends in dots.
            let real = self.canonical(&path).await?;
            let name = if matches!(last, "." | ".." | "") {
                real.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(".")
            } else {
                last
            };
            return self
                .receive_directory(&path, name, UNKNOWN_MODE, &mut vec![real.clone()], &mut tree, progress)
                .await;
        }
        if is_pattern(directory) {
            let message = "sftp takes patterns in the last part of a path only".to_owned();
            return Err(CommunicatorError::Remote { action: "expand", path: source.to_owned(), message });
        }
        let directory = if directory.is_empty() { "/" } else { directory };
        let mut found = false;
        for (name, mode) in self.names(directory).await? {
            if matches(last, &name) {
                found = true;
                let above = &mut vec![self.canonical(directory).await?];
                self.receive_entry(&join(directory, &name), &name, mode, above, &mut tree, progress).await?;
            }
        }
        if found {
            return Ok(());
        }
        let message = "nothing matches".to_owned();
        Err(CommunicatorError::Remote { action: "send", path: source.to_owned(), message })
    }

    /// Receives a directory as `name`. `above` holds the real paths of the directories entered, this one included.
    fn receive_directory<'a>(
        &'a self,
        path: &'a str,
        name: &'a str,
        mode: u32,
        above: &'a mut Vec<String>,
        tree: &'a mut DownloadTree,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(async move {
            tree.enter(name.as_bytes(), mode)?;
            for (name, mode) in self.names(path).await? {
                self.receive_entry(&join(path, &name), &name, mode, above, tree, progress).await?;
            }
            tree.leave();
            Ok(())
        })
    }

    /// Receives a file or directory; symbolic links are followed, others (devices, sockets) left out, as scp does.
    async fn receive_entry(
        &self,
        path: &str,
        name: &str,
        mode: u32,
        above: &mut Vec<String>,
        tree: &mut DownloadTree,
        progress: &dyn TransferProgress,
    ) -> Result<(), CommunicatorError> {
        let metadata = self.session.metadata(path).await.map_err(|error| self.error("send", path, error))?;
        let mode = metadata.permissions.unwrap_or(mode);
        let kind = kind(&metadata);
        if kind == FileKind::Directory {
            let real = self.canonical(path).await?;
            if above.contains(&real) {
                let message = "a symbolic link leads to a directory it lies in".to_owned();
                return Err(CommunicatorError::Remote { action: "send", path: path.to_owned(), message });
            }
            above.push(real);
            self.receive_directory(path, name, mode, above, tree, progress).await?;
            above.pop();
        } else if kind == FileKind::Regular {
            let pending = tree.file(name.as_bytes(), mode).await?;
            self.receive(path, metadata.len(), pending, false, progress).await?;
        } else {
            tracing::debug!(path, "not downloaded: neither a file nor a directory");
        }
        Ok(())
    }

    async fn canonical(&self, path: &str) -> Result<String, CommunicatorError> {
        self.session.canonicalize(path).await.map_err(|error| self.error("send", path, error))
    }

    async fn names(&self, directory: &str) -> Result<Vec<(String, u32)>, CommunicatorError> {
        let entries = self.session.read_dir(directory).await.map_err(|error| self.error("list", directory, error))?;
        let mut names: Vec<_> =
            entries.map(|entry| (entry.file_name(), entry.metadata().permissions.unwrap_or(UNKNOWN_MODE))).collect();
        names.sort();
        Ok(names)
    }

    async fn receive(
        &self,
        path: &str,
        size: u64,
        mut pending: PendingFile,
        durable: bool,
        progress: &dyn TransferProgress,
    ) -> Result<(), CommunicatorError> {
        let mut file = self.session.open(path).await.map_err(|error| self.error("send", path, error))?;
        progress.file_started(path, size);
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = file.read(&mut chunk).await.map_err(|error| self.io_error("send", path, &error))?;
            if length == 0 {
                break;
            }
            pending.write(&chunk[..length]).await?;
            progress.advanced(length as u64);
        }
        file.close().await.map_err(|error| self.io_error("send", path, &error))?;
        pending.commit(durable).await
    }
}
