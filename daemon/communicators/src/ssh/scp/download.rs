//! Receiving: the guest runs `scp -f`. Everything it says is hostile input.

use std::path::Path;

use bytes::{Buf, Bytes};

use crate::communicator::TransferProgress;
use crate::local_files::{DOWNLOAD_MODE, DownloadTree, PendingFile};
use crate::quoting::{Patterns, quote_path};
use crate::ssh::channel::SessionChannel;
use crate::ssh::config::SshConfig;
use crate::ssh::scp::session::Scp;
use crate::ssh::transfer::TransferFailure;

pub(super) async fn file(
    channel: SessionChannel,
    config: &SshConfig,
    source: &str,
    destination: &Path,
    progress: &dyn TransferProgress,
) -> Result<(), TransferFailure> {
    let command = format!("scp -f {}", quote_path(source, Patterns::Literal));
    let mut scp = Scp::start(channel, config, &command, "send", source).await?;
    scp.go_on().await?;
    let mut received = None;
    loop {
        match scp.record().await? {
            Record::File { size, .. } if received.is_none() => {
                let mut pending = PendingFile::create(destination, DOWNLOAD_MODE).await?;
                progress.file_started(source, size);
                scp.receive(&mut pending, size, progress).await?;
                received = Some(pending);
            }
            Record::Times => scp.go_on().await?,
            Record::End => break,
            _ => return Err(scp.protocol("the guest sends more than the one file asked for")),
        }
    }
    let Some(pending) = received else { return Err(scp.ended()) };
    scp.finish().await?;
    Ok(pending.commit(true).await?)
}

pub(super) async fn directory(
    channel: SessionChannel,
    config: &SshConfig,
    source: &str,
    destination: &Path,
    progress: &dyn TransferProgress,
) -> Result<(), TransferFailure> {
    let command = format!("scp -r -f {}", quote_path(source, Patterns::Expanded));
    let mut scp = Scp::start(channel, config, &command, "send", source).await?;
    let mut tree = DownloadTree::create(destination).await?;
    scp.go_on().await?;
    let mut received = false;
    loop {
        match scp.record().await? {
            Record::File { mode, size, name } => {
                let mut pending = tree.file(&name, mode).await?;
                progress.file_started(&String::from_utf8_lossy(&name), size);
                scp.receive(&mut pending, size, progress).await?;
                pending.commit(false).await?;
                received = true;
            }
            Record::Directory { mode, name } => {
                tree.enter(&name, mode)?;
                received = true;
                scp.go_on().await?;
            }
            Record::Leave => {
                if !tree.leave() {
                    return Err(scp.protocol("the guest leaves a directory it has not entered"));
                }
                scp.go_on().await?;
            }
            Record::Times => scp.go_on().await?,
            Record::End => break,
        }
    }
    if !received || tree.depth() != 0 {
        return Err(scp.ended());
    }
    scp.finish().await
}

/// What the guest announces.
#[derive(Debug, PartialEq, Eq)]
enum Record {
    File { mode: u32, size: u64, name: Bytes },
    Directory { mode: u32, name: Bytes },
    Leave,
    Times,
    End,
}

impl Scp {
    async fn go_on(&mut self) -> Result<(), TransferFailure> {
        self.write(Bytes::from_static(b"\0")).await
    }

    async fn record(&mut self) -> Result<Record, TransferFailure> {
        let Some(kind) = self.byte().await? else {
            return if self.spoke { Ok(Record::End) } else { Err(self.ended()) };
        };
        let line = self.line().await?;
        match kind {
            1 | 2 => Err(self.remote(&line)),
            b'E' => Ok(Record::Leave),
            b'T' => Ok(Record::Times),
            b'C' | b'D' => match parse_header(&line) {
                Some((mode, size, name)) if kind == b'C' => Ok(Record::File { mode, size, name }),
                Some((mode, _, name)) => Ok(Record::Directory { mode, name }),
                None => Err(self.protocol(format!("{:?} is no header", String::from_utf8_lossy(&line)))),
            },
            other => {
                let said: String = String::from_utf8_lossy(&line).chars().take(60).collect();
                let said = format!("{}{said}", char::from(other));
                Err(self.protocol(format!("the guest's shell prints {said:?} where scp should speak")))
            }
        }
    }

    /// Receives the bytes of a file just announced, and the guest's word that they are right.
    async fn receive(
        &mut self,
        file: &mut PendingFile,
        size: u64,
        progress: &dyn TransferProgress,
    ) -> Result<(), TransferFailure> {
        self.go_on().await?;
        let mut left = size;
        while left > 0 {
            if self.unread.is_empty() && !self.fill().await? {
                return Err(self.ended());
            }
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(self.unread.len());
            file.write(&self.unread[..length]).await?;
            self.unread.advance(length);
            left -= length as u64;
            progress.advanced(length as u64);
        }
        self.acknowledged().await?;
        self.go_on().await
    }
}

/// Reads `<mode> <size> <name>`; the name may hold blanks.
fn parse_header(line: &Bytes) -> Option<(u32, u64, Bytes)> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (mode, size, name) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_digit);
    if !digits(mode) || !digits(size) {
        return None;
    }
    let mode = u32::from_str_radix(std::str::from_utf8(mode).ok()?, 8).ok()?;
    let size = std::str::from_utf8(size).ok()?.parse().ok()?;
    Some((mode, size, line.slice_ref(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_strictly() {
        let parse = |text: &'static str| parse_header(&Bytes::from_static(text.as_bytes()));
        assert_eq!(parse("0644 12 a b"), Some((0o644, 12, Bytes::from_static(b"a b"))));
        for bad in ["", "0644 12", "0648 1 x", "0644 -1 x", "0644 +1 x", "0644 99999999999999999999 x", " 1 x"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
