//! Files into the guest.

use std::path::Path;

use aws_lc_rs::digest;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

use super::failed::failed;
use super::lines::{Feed, hex, room};
use crate::communicator::TransferProgress;
use crate::error::CommunicatorError;
use crate::local_files::{UploadStep, directory_name, open_for_upload, plan_upload};
use crate::winrm::error::Attempt;
use crate::winrm::powershell;
use crate::winrm::shell::{LAST_WORDS, OUTPUT_PATIENCE, Shell};
use crate::winrm::soap::answer::Stream;
use crate::winrm::soap::request::Input;

/// What takes the files.
const SCRIPT: &str = include_str!("receive.ps1");

/// Bytes of error messages that are kept.
const MAX_SAID: usize = 64 << 10;

/// What is uploaded.
#[derive(Clone, Copy)]
pub(crate) enum Upload<'a> {
    File(&'a Path),
    Bytes(&'a [u8]),
    Directory(&'a Path),
}

/// Why feeding ended early.
enum Ended {
    /// Something here is wrong.
    Here(CommunicatorError),
    /// The guest takes no more.
    There(Attempt),
}

impl From<Attempt> for Ended {
    fn from(attempt: Attempt) -> Self {
        Self::There(attempt)
    }
}

/// Uploads to `destination`, which for a file is its own name, in envelopes of so many bytes. Until a file is whole, `mark` is the end of
/// its name: with the same one, another try takes the place of what one that was cut off has left.
pub(crate) async fn upload(
    mut shell: Shell,
    address: &str,
    what: Upload<'_>,
    destination: &str,
    envelope: usize,
    mark: &str,
    progress: &dyn TransferProgress,
) -> Result<(), CommunicatorError> {
    let transport = |attempt| failed(address, &format!("the upload to {destination}"), attempt);
    let name = match what {
        Upload::Directory(source) => directory_name(source)?.map(|name| text(&name, source)).transpose()?,
        _ => None,
    };
    let (root, name) = (powershell::path(destination), powershell::quoted(name.as_deref().unwrap_or_default()));
    let line = powershell::command(&powershell::filled(SCRIPT, &[("ROOT", &root), ("NAME", &name), ("MARK", mark)]));
    if line.len() > powershell::MAX_LINE {
        return Err(CommunicatorError::InvalidDestination { destination: destination.to_owned() });
    }
    shell.start(&line, Input::Pipe).await.map_err(transport)?;
    let mut feed = Feed::new(&shell, envelope);
    let mut feeder = Feeder { feed: &mut feed, piece: room(envelope), destination, progress };
    let fed = match feeder.all(what).await {
        Ok(()) => feed.flush(true).await.map_err(Ended::There),
        ended => ended,
    };
    match fed {
        Err(Ended::Here(error)) => return Err(error),
        Err(Ended::There(attempt)) if attempt.fault().is_none_or(|fault| fault.is_loss()) => {
            return Err(transport(attempt));
        }
        // PowerShell may have ended, and says why; otherwise it waits for what was refused, for ever.
        Err(Ended::There(attempt)) => match timeout(LAST_WORDS, finish(&shell, false)).await {
            Ok(ended) => ended.map_err(transport)?,
            Err(_) => return Err(transport(attempt)),
        },
        Ok(()) => finish(&shell, true).await.map_err(transport)?,
    }
    .map_err(|message| {
        let path = destination.to_owned();
        CommunicatorError::Remote { action: "receive", path, message }
    })
}

/// Waits for the end of the script; its own words where it failed. `fed`: it has been given everything.
async fn finish(shell: &Shell, fed: bool) -> Result<Result<(), String>, Attempt> {
    let mut said = Vec::new();
    loop {
        let received = shell.receive(OUTPUT_PATIENCE).await?;
        for (stream, piece) in received.pieces {
            let room = MAX_SAID.saturating_sub(said.len());
            if stream == Stream::Errors {
                said.extend_from_slice(&piece[..piece.len().min(room)]);
            }
        }
        let said = || powershell::errors(&String::from_utf8_lossy(&said));
        match received.exit {
            Some(0) if fed => return Ok(Ok(())),
            Some(0) => return Ok(Err("PowerShell ended before it had everything".to_owned())),
            Some(exit) if said().is_empty() => return Ok(Err(format!("PowerShell ended with {exit}"))),
            Some(_) => return Ok(Err(said())),
            None => {}
        }
    }
}

struct Feeder<'a, 'b> {
    feed: &'a mut Feed<'b>,
    piece: usize,
    destination: &'a str,
    progress: &'a dyn TransferProgress,
}

impl Feeder<'_, '_> {
    async fn all(&mut self, what: Upload<'_>) -> Result<(), Ended> {
        match what {
            Upload::Bytes(content) => {
                self.file("", content.len() as u64, content, Path::new("")).await?;
            }
            Upload::File(source) => self.file_of("", source).await?,
            Upload::Directory(source) => {
                let steps = plan_upload(source).await.map_err(Ended::Here)?;
                self.feed.name('@', "").await?;
                let mut above: Vec<String> = Vec::new();
                for step in steps {
                    match step {
                        UploadStep::Enter { name, .. } => {
                            above.push(text(&name, source).map_err(Ended::Here)?);
                            self.feed.name('@', &above.join("/")).await?;
                        }
                        UploadStep::Leave => drop(above.pop()),
                        UploadStep::File { path, name } => {
                            above.push(text(&name, &path).map_err(Ended::Here)?);
                            self.file_of(&above.join("/"), &path).await?;
                            above.pop();
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn file_of(&mut self, name: &str, source: &Path) -> Result<(), Ended> {
        let opened = open_for_upload(source).await.map_err(Ended::Here)?;
        self.file(name, opened.size, opened.file, source).await
    }

    async fn file(
        &mut self,
        name: &str,
        size: u64,
        mut content: impl AsyncRead + Unpin + Send,
        source: &Path,
    ) -> Result<(), Ended> {
        self.progress.file_started(if name.is_empty() { self.destination } else { name }, size);
        self.feed.name(':', name).await?;
        let mut hash = digest::Context::new(&digest::SHA256);
        let (mut piece, mut total) = (vec![0; self.piece], 0u64);
        loop {
            let mut length = 0;
            while length < piece.len() {
                let read = content.read(&mut piece[length..]).await.map_err(|error| {
                    Ended::Here(CommunicatorError::Local { action: "read", path: source.to_owned(), source: error })
                })?;
                if read == 0 {
                    break;
                }
                length += read;
            }
            if length == 0 {
                break;
            }
            hash.update(&piece[..length]);
            self.feed.bytes(&piece[..length]).await?;
            total = total.saturating_add(length as u64);
            self.progress.advanced(length as u64);
        }
        self.feed.sum(total, &hex(hash.finish().as_ref())).await?;
        Ok(())
    }
}

fn text(name: &std::ffi::OsStr, path: &Path) -> Result<String, CommunicatorError> {
    let unsendable = |why| CommunicatorError::Unsendable { path: path.to_owned(), why };
    let name = name.to_str().ok_or_else(|| unsendable("its name is not in UTF-8"))?;
    // In a guest's path this would be a directory, a drive or a stream of another file.
    if name.contains(['\\', ':']) {
        return Err(unsendable("Windows has no names with a backslash or a colon"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_fits_a_line_with_a_long_path() {
        let root = powershell::path(&format!("c:/{}", "x".repeat(250)));
        let script = powershell::filled(SCRIPT, &[("ROOT", &root), ("NAME", "''"), ("MARK", "kiln-01234567")]);
        let line = powershell::command(&script);
        assert!(line.len() < powershell::MAX_LINE, "{} letters", line.len());
    }

    #[test]
    fn the_script_takes_every_name_as_it_is() {
        // These take patterns of names, as which `[` and `]` mean something.
        for taker in ["Move-Item", "Copy-Item", "New-Item", "Get-Item", " -Path $", " -Destination $"] {
            assert!(!SCRIPT.contains(taker), "{taker}");
        }
    }
}
