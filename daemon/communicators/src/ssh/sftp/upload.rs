//! Sending by sftp.

use std::ffi::OsStr;
use std::path::Path;

use russh_sftp::client::error::Error as SftpError;
use russh_sftp::client::fs::File;
use russh_sftp::protocol::{FileAttributes, OpenFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::communicator::TransferProgress;
use crate::error::CommunicatorError;
use crate::local_files::{UploadStep, directory_name, open_for_upload, plan_upload};
use crate::ssh::sftp::guest_files::{FileKind, join, kind, server_path};
use crate::ssh::sftp::session::Sftp;
use crate::ssh::transfer::{CHUNK, NEW_DIRECTORY_MODE, file_destination, split_remote};

impl Sftp {
    pub(super) async fn upload_file(
        &self,
        source: &Path,
        destination: &str,
        mode: Option<u32>,
        progress: &dyn TransferProgress,
    ) -> Result<(), CommunicatorError> {
        let destination = file_destination(source, destination)?;
        split_remote(&destination)?;
        self.send_file(source, &server_path(&destination), mode, progress).await
    }

    pub(super) async fn upload_bytes(
        &self,
        content: &[u8],
        destination: &str,
        mode: u32,
        progress: &dyn TransferProgress,
    ) -> Result<(), CommunicatorError> {
        split_remote(destination)?;
        let path = server_path(destination);
        let mut file = self.create(&path, mode).await?;
        progress.file_started(destination, content.len() as u64);
        for chunk in content.chunks(CHUNK) {
            file.write_all(chunk).await.map_err(|error| self.io_error("receive", &path, &error))?;
            progress.advanced(chunk.len() as u64);
        }
        self.finish(file, &path, mode).await
    }

    pub(super) async fn upload_directory(
        &self,
        source: &Path,
        destination: &str,
        progress: &dyn TransferProgress,
    ) -> Result<(), CommunicatorError> {
        let own_name = directory_name(source)?;
        let steps = plan_upload(source).await?;
        let mut path = server_path(destination);
        // The rule of `cp -r`, as scp has it: below a destination that is there, else in its place.
        if let Some(name) = own_name
            && self.session.metadata(&path).await.is_ok_and(|metadata| kind(&metadata) == FileKind::Directory)
        {
            path = join(&path, text(&name, source)?);
        }
        self.make_directory(&path, NEW_DIRECTORY_MODE).await?;
        let mut above = Vec::new();
        for step in steps {
            match step {
                UploadStep::Enter { name, mode } => {
                    let below = join(&path, text(&name, source)?);
                    self.make_directory(&below, mode).await?;
                    above.push(std::mem::replace(&mut path, below));
                }
                UploadStep::Leave => path = above.pop().expect("the plan leaves what it has entered"),
                UploadStep::File { path: local, name } => {
                    let remote = join(&path, text(&name, &local)?);
                    self.send_file(&local, &remote, None, progress).await?;
                }
            }
        }
        Ok(())
    }

    async fn send_file(
        &self,
        source: &Path,
        path: &str,
        mode: Option<u32>,
        progress: &dyn TransferProgress,
    ) -> Result<(), CommunicatorError> {
        let mut opened = open_for_upload(source).await?;
        let mode = mode.unwrap_or(opened.mode);
        let mut file = self.create(path, mode).await?;
        progress.file_started(path, opened.size);
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = opened.file.read(&mut chunk).await.map_err(|error| CommunicatorError::Local {
                action: "read",
                path: source.to_owned(),
                source: error,
            })?;
            if length == 0 {
                break;
            }
            file.write_all(&chunk[..length]).await.map_err(|error| self.io_error("receive", path, &error))?;
            progress.advanced(length as u64);
        }
        self.finish(file, path, mode).await
    }

    async fn create(&self, path: &str, mode: u32) -> Result<File, CommunicatorError> {
        let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE;
        let opened = self.session.open_with_flags_and_attributes(path, flags, permissions(mode)).await;
        opened.map_err(|error| self.error("receive", path, error))
    }

    /// Waits for all writes, then sets the mode: that given at creation is lost to the guest's umask, and is not set on a
    /// file that was there already.
    async fn finish(&self, mut file: File, path: &str, mode: u32) -> Result<(), CommunicatorError> {
        file.flush().await.map_err(|error| self.io_error("receive", path, &error))?;
        file.set_metadata(permissions(mode)).await.map_err(|error| self.error("set the mode of", path, error))?;
        file.shutdown().await.map_err(|error| self.io_error("receive", path, &error))
    }

    /// Makes a directory unless it is there.
    async fn make_directory(&self, path: &str, mode: u32) -> Result<(), CommunicatorError> {
        match self.session.create_dir(path).await {
            Ok(()) => {
                let set = self.session.set_metadata(path, permissions(mode | 0o700)).await;
                set.map_err(|error| self.error("set the mode of", path, error))
            }
            // Version 3 of the protocol has no code for "exists already".
            Err(refusal @ SftpError::Status(_)) => match self.session.metadata(path).await {
                Ok(metadata) if kind(&metadata) == FileKind::Directory => Ok(()),
                _ => Err(self.error("make the directory", path, refusal)),
            },
            Err(error) => Err(self.error("make the directory", path, error)),
        }
    }
}

fn permissions(mode: u32) -> FileAttributes {
    FileAttributes { permissions: Some(mode & 0o7777), ..FileAttributes::empty() }
}

fn text<'a>(name: &'a OsStr, path: &Path) -> Result<&'a str, CommunicatorError> {
    name.to_str().ok_or_else(|| CommunicatorError::Unsendable {
        path: path.to_owned(),
        why: "sftp sends names in UTF-8 only; use `ssh_file_transfer_method = \"scp\"`",
    })
}
