//! Sending: the guest runs `scp -t`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;

use crate::communicator::TransferProgress;
use crate::error::CommunicatorError;
use crate::local_files::{OpenedFile, UploadStep, directory_name, open_for_upload, plan_upload};
use crate::quoting::{Patterns, quote_path};
use crate::ssh::channel::SessionChannel;
use crate::ssh::config::SshConfig;
use crate::ssh::scp::session::Scp;
use crate::ssh::transfer::{CHUNK, NEW_DIRECTORY_MODE, RemotePath, TransferFailure, file_destination, split_remote};

const MODE_MASK: u32 = 0o7777;

pub(super) async fn file(
    channel: SessionChannel,
    config: &SshConfig,
    source: &Path,
    destination: &str,
    mode: Option<u32>,
    progress: &dyn TransferProgress,
) -> Result<(), TransferFailure> {
    let opened = open_for_upload(source).await?;
    let destination = file_destination(source, destination)?;
    let target = split_remote(&destination)?;
    let command = file_command(&target);
    let mut scp = Scp::start(channel, config, &command, "receive", &destination).await?;
    scp.acknowledged().await?;
    let mode = mode.unwrap_or(opened.mode);
    send_file(&mut scp, source, opened, OsStr::new(&target.name), mode, progress).await?;
    scp.finish().await
}

pub(super) async fn bytes(
    channel: SessionChannel,
    config: &SshConfig,
    content: &[u8],
    destination: &str,
    mode: u32,
    progress: &dyn TransferProgress,
) -> Result<(), TransferFailure> {
    let target = split_remote(destination)?;
    let command = file_command(&target);
    let mut scp = Scp::start(channel, config, &command, "receive", destination).await?;
    scp.acknowledged().await?;
    scp.header(b'C', mode, content.len() as u64, OsStr::new(&target.name)).await?;
    progress.file_started(destination, content.len() as u64);
    for chunk in content.chunks(CHUNK) {
        scp.write(Bytes::copy_from_slice(chunk)).await?;
        progress.advanced(chunk.len() as u64);
    }
    scp.end_of_file().await?;
    scp.finish().await
}

pub(super) async fn directory(
    channel: SessionChannel,
    config: &SshConfig,
    source: &Path,
    destination: &str,
    progress: &dyn TransferProgress,
) -> Result<(), TransferFailure> {
    let own_name = directory_name(source)?;
    let steps = plan_upload(source).await?;
    let given = destination.trim_end_matches('/');
    let given = if given.is_empty() && !destination.is_empty() { "/" } else { given };
    let target = split_remote(given).ok().filter(|target| !target.name.contains('$'));
    // The rule of `cp -r`: a directory goes below a destination that is there, and becomes one that is not; the guest's scp
    // does so by itself. Contents have no name to go by: the destination is sent as a directory into its parent, which
    // makes it when it is missing. One without a name of its own (`~`, `.`) or whose name the guest's shell must expand is
    // there already.
    let (place, sent_name, must_exist) = match (own_name, &target) {
        (Some(name), _) => (given, Some(name), ""),
        (None, Some(target)) => (target.directory.as_str(), Some(OsString::from(&target.name)), "-d "),
        (None, None) => (given, None, "-d "),
    };
    let command = format!("scp -r {must_exist}-t {}", quote_path(place, Patterns::Literal));
    let mut scp = Scp::start(channel, config, &command, "receive", destination).await?;
    scp.acknowledged().await?;

    if let Some(name) = &sent_name {
        scp.header(b'D', NEW_DIRECTORY_MODE, 0, name).await?;
    }
    for step in steps {
        match step {
            UploadStep::Enter { name, mode } => scp.header(b'D', mode, 0, &name).await?,
            UploadStep::Leave => scp.leave().await?,
            UploadStep::File { path, name } => {
                let opened = open_for_upload(&path).await?;
                let mode = opened.mode;
                send_file(&mut scp, &path, opened, &name, mode, progress).await?;
            }
        }
    }
    if sent_name.is_some() {
        scp.leave().await?;
    }
    scp.finish().await
}

/// `-p` gives the file exactly the mode sent, whatever the guest's umask and though the file exists. Directories are sent
/// without it, for it would change the mode of those that exist, `/tmp` for one. With `-d` a directory that is missing is an
/// error; without, the file would get the directory's name.
fn file_command(target: &RemotePath) -> String {
    format!("scp -p -d -t {}", quote_path(&target.directory, Patterns::Literal))
}

async fn send_file(
    scp: &mut Scp,
    path: &Path,
    opened: OpenedFile,
    name: &OsStr,
    mode: u32,
    progress: &dyn TransferProgress,
) -> Result<(), TransferFailure> {
    let OpenedFile { mut file, size, .. } = opened;
    if name.as_bytes().contains(&b'\n') {
        let why = "scp cannot send a name with a line break; use `ssh_file_transfer_method = \"sftp\"`";
        return Err(CommunicatorError::Unsendable { path: path.to_owned(), why }.into());
    }
    let unreadable = |source| CommunicatorError::Local { action: "read", path: path.to_owned(), source };
    scp.header(b'C', mode, size, name).await?;
    progress.file_started(&name.to_string_lossy(), size);

    // The next piece is read while the last one is sent.
    let mut left = size;
    let mut chunk = read_chunk(&mut file, left).await.map_err(unreadable)?;
    while left > 0 {
        let length = chunk.len() as u64;
        if length == 0 {
            let why = "it became shorter while it was sent";
            return Err(CommunicatorError::Unsendable { path: path.to_owned(), why }.into());
        }
        left -= length;
        let (written, read) = tokio::join!(scp.write(chunk), read_chunk(&mut file, left));
        written?;
        progress.advanced(length);
        chunk = read.map_err(unreadable)?;
    }
    scp.end_of_file().await
}

async fn read_chunk(file: &mut tokio::fs::File, left: u64) -> std::io::Result<Bytes> {
    let wanted = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
    let mut chunk = BytesMut::with_capacity(wanted);
    while chunk.len() < wanted {
        let missing = (wanted - chunk.len()) as u64;
        if (&mut *file).take(missing).read_buf(&mut chunk).await? == 0 {
            break;
        }
    }
    Ok(chunk.freeze())
}

impl Scp {
    /// Sends the header of a file (`C`) or directory (`D`).
    async fn header(&mut self, kind: u8, mode: u32, size: u64, name: &OsStr) -> Result<(), TransferFailure> {
        let mut header = format!("{}{:04o} {size} ", char::from(kind), mode & MODE_MASK).into_bytes();
        header.extend_from_slice(name.as_bytes());
        header.push(b'\n');
        self.write(header.into()).await?;
        self.acknowledged().await
    }

    async fn leave(&mut self) -> Result<(), TransferFailure> {
        self.write(Bytes::from_static(b"E\n")).await?;
        self.acknowledged().await
    }

    async fn end_of_file(&mut self) -> Result<(), TransferFailure> {
        self.write(Bytes::from_static(b"\0")).await?;
        self.acknowledged().await
    }
}
