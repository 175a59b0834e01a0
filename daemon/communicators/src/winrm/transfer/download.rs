//! Files out of the guest. What it says is hostile input: names, sizes and lines alike.

use std::path::Path;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::failed::failed;
use super::lines::{Lines, hex};
use crate::communicator::TransferProgress;
use crate::error::CommunicatorError;
use crate::local_files::{DOWNLOAD_MODE, DownloadTree, PendingFile};
use crate::winrm::powershell;
use crate::winrm::shell::{OUTPUT_PATIENCE, Shell};
use crate::winrm::soap::answer::Stream;
use crate::winrm::soap::request::Input;

/// What sends the files.
const SCRIPT: &str = include_str!("send.ps1");

/// Mode of directories that are made here.
const DIRECTORY_MODE: u32 = 0o755;

/// Bytes of error messages that are kept.
const MAX_SAID: usize = 64 << 10;

/// Downloads `source`: a file to the name `destination`, or a directory, or what a pattern matches, into the directory of that name.
pub(crate) async fn download(
    mut shell: Shell,
    address: &str,
    source: &str,
    destination: &Path,
    is_file: bool,
    progress: &dyn TransferProgress,
) -> Result<(), CommunicatorError> {
    let transport = |attempt| failed(address, &format!("the download of {source}"), attempt);
    let is_pattern = !is_file && source.contains(['*', '?', '[']);
    let path = if is_file { source } else { source.trim_end_matches(['/', '\\']) };
    let kind = if is_file {
        "file"
    } else if is_pattern {
        "pattern"
    } else {
        "tree"
    };
    let line = powershell::command(&powershell::filled(SCRIPT, &[("ROOT", &powershell::path(path)), ("KIND", kind)]));
    if line.len() > powershell::MAX_LINE {
        return Err(CommunicatorError::InvalidDestination { destination: source.to_owned() });
    }
    shell.start(&line, Input::Console).await.map_err(transport)?;
    let into = if is_file { Into::File } else { Into::Tree(DownloadTree::create(destination).await?, Vec::new()) };
    let mut taker = Taker { address, source, destination, into, file: None, files: 0, progress };
    let (mut lines, mut said) = (Lines::default(), Vec::new());
    loop {
        let received = shell.receive(OUTPUT_PATIENCE).await.map_err(transport)?;
        for (stream, piece) in received.pieces {
            if stream == Stream::Errors {
                let room = MAX_SAID.saturating_sub(said.len());
                said.extend_from_slice(&piece[..piece.len().min(room)]);
                continue;
            }
            for line in lines.take(&piece).ok_or_else(|| taker.broken("a line that is too long"))? {
                taker.line(&line).await?;
            }
        }
        let Some(exit) = received.exit else { continue };
        let said = powershell::errors(&String::from_utf8_lossy(&said));
        if exit == 0 {
            return taker.finish();
        }
        let message = if said.is_empty() { format!("PowerShell ended with {exit}") } else { said };
        return Err(CommunicatorError::Remote { action: "send", path: source.to_owned(), message });
    }
}

/// Where files go.
enum Into {
    File,
    /// Below a directory, and which one of it the files are in now.
    Tree(DownloadTree, Vec<String>),
}

/// A file that comes.
struct Coming {
    pending: PendingFile,
    hash: digest::Context,
    size: u64,
}

struct Taker<'a> {
    address: &'a str,
    source: &'a str,
    destination: &'a Path,
    into: Into,
    file: Option<Coming>,
    files: u64,
    progress: &'a dyn TransferProgress,
}

impl Taker<'_> {
    fn broken(&self, what: &str) -> CommunicatorError {
        CommunicatorError::Protocol {
            host: self.address.to_owned(),
            operation: format!("the download of {}", self.source),
            what: format!("the guest sends {what}"),
        }
    }

    async fn line(&mut self, line: &str) -> Result<(), CommunicatorError> {
        match line.chars().next() {
            Some('@') => {
                let name = self.name(&line[1..])?;
                self.go_to(&name.split('/').collect::<Vec<_>>())
            }
            Some(':') => {
                let (name, size) = line[1..].split_once(' ').ok_or_else(|| self.broken("a file without a size"))?;
                let size = size.trim().parse::<u64>().map_err(|_| self.broken("a size that is no number"))?;
                let name = self.name(name)?;
                self.begin(&name, size).await
            }
            Some('=') => self.end(line).await,
            Some(_) => {
                let bytes = STANDARD.decode(line.trim()).map_err(|_| self.broken("bytes that are not in Base64"))?;
                let Some(file) = &mut self.file else { return Err(self.broken("bytes of no file")) };
                file.hash.update(&bytes);
                file.size = file.size.saturating_add(bytes.len() as u64);
                file.pending.write(&bytes).await?;
                self.progress.advanced(bytes.len() as u64);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn name(&self, encoded: &str) -> Result<String, CommunicatorError> {
        let name = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        name.ok_or_else(|| self.broken("a name that cannot be read"))
    }

    async fn begin(&mut self, name: &str, size: u64) -> Result<(), CommunicatorError> {
        let at_once = self.file.is_some() || (matches!(self.into, Into::File) && (self.files > 0 || !name.is_empty()));
        if at_once {
            return Err(self.broken("a file that nobody asked for"));
        }
        let parts: Vec<&str> = name.split('/').collect();
        let (last, above) = parts.split_last().unwrap_or((&"", &[]));
        let pending = match &self.into {
            Into::File => PendingFile::create(self.destination, DOWNLOAD_MODE).await?,
            Into::Tree(..) => {
                self.go_to(above)?;
                let Into::Tree(tree, _) = &self.into else { return Err(self.broken("a file of nowhere")) };
                tree.file(last.as_bytes(), DOWNLOAD_MODE).await?
            }
        };
        self.progress.file_started(if name.is_empty() { self.source } else { name }, size);
        self.files += 1;
        self.file = Some(Coming { pending, hash: digest::Context::new(&digest::SHA256), size: 0 });
        Ok(())
    }

    /// Goes to a directory below the destination, making what is missing.
    fn go_to(&mut self, parts: &[&str]) -> Result<(), CommunicatorError> {
        let Into::Tree(tree, here) = &mut self.into else {
            return Err(self.broken("a directory that nobody asked for"));
        };
        let common = here.iter().zip(parts).take_while(|(here, part)| here == part).count();
        while here.len() > common {
            tree.leave();
            here.pop();
        }
        for part in &parts[common..] {
            tree.enter(part.as_bytes(), DIRECTORY_MODE)?;
            here.push((*part).to_owned());
        }
        Ok(())
    }

    async fn end(&mut self, line: &str) -> Result<(), CommunicatorError> {
        let Some(file) = self.file.take() else { return Err(self.broken("the end of no file")) };
        let sum = format!("={} {}", file.size, hex(file.hash.finish().as_ref()));
        if sum != line.trim() {
            return Err(self.broken("a file that has changed on its way"));
        }
        file.pending.commit(matches!(self.into, Into::File)).await
    }

    fn finish(self) -> Result<(), CommunicatorError> {
        let is_whole = self.file.is_none() && (matches!(self.into, Into::Tree(..)) || self.files == 1);
        if is_whole { Ok(()) } else { Err(self.broken("less than it was to")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::communicator::NoProgress;

    fn named(sign: char, name: &str) -> String {
        format!("{sign}{}", STANDARD.encode(name))
    }

    async fn take(local: &Path, is_file: bool, lines: &[String]) -> Result<(), CommunicatorError> {
        let into = if is_file { Into::File } else { Into::Tree(DownloadTree::create(local).await?, Vec::new()) };
        let destination = local.join("file");
        let destination = if is_file { destination.as_path() } else { local };
        let progress = &NoProgress;
        let mut taker = Taker { address: "g:1", source: "x", destination, into, file: None, files: 0, progress };
        for line in lines {
            taker.line(line).await?;
        }
        taker.finish()
    }

    fn sum(bytes: &[u8]) -> String {
        format!("={} {}", bytes.len(), hex(digest::digest(&digest::SHA256, bytes).as_ref()))
    }

    #[tokio::test]
    async fn trees_are_laid_out_below_the_destination() {
        let local = tempfile::tempdir().unwrap();
        let lines = [
            named('@', "d"),
            format!("{} 1", named(':', "d/a")),
            "QQ==".to_owned(),
            sum(b"A"),
            named('@', "d/sub/deep"),
            format!("{} 0", named(':', "d/z")),
            sum(b""),
        ];
        take(local.path(), false, &lines).await.unwrap();
        assert_eq!(std::fs::read(local.path().join("d/a")).unwrap(), b"A");
        assert!(local.path().join("d/sub/deep").is_dir() && local.path().join("d/z").is_file());
    }

    #[tokio::test]
    async fn a_hostile_guest_leaves_nothing_and_reaches_nowhere_else() {
        let above = tempfile::tempdir().unwrap();
        let local = above.path().join("in");
        std::fs::create_dir(&local).unwrap();
        let file = format!("{} 1", named(':', ""));
        for (is_file, lines) in [
            (false, vec![format!("{} 1", named(':', "../x")), "QQ==".to_owned(), sum(b"A")]),
            (false, vec![named('@', "a/../../x")]),
            (false, vec![format!("{} 1", named(':', ""))]),
            (false, vec!["QQ==".to_owned()]),
            (true, vec![file.clone(), "QQ==".to_owned(), sum(b"B")]),
            (true, vec![file.clone(), "QQ==".to_owned()]),
            (true, vec![file.clone(), "*".to_owned()]),
            (true, vec![file.clone(), file.clone()]),
            (true, vec![named('@', "d")]),
            (true, vec![sum(b"")]),
            (true, vec![":QQ==".to_owned()]),
            (true, vec![]),
        ] {
            assert!(take(&local, is_file, &lines).await.is_err(), "{lines:?}");
            assert_eq!(std::fs::read_dir(above.path()).unwrap().count(), 1, "{lines:?}");
            assert!(!local.join("file").exists() && !local.join("x").exists(), "{lines:?}");
        }
    }

    #[test]
    fn the_script_fits_a_line_with_a_long_path() {
        let root = powershell::path(&format!("c:/{}", "x".repeat(250)));
        let script = powershell::filled(SCRIPT, &[("ROOT", &root), ("KIND", "pattern")]);
        let line = powershell::command(&script);
        assert!(line.len() < powershell::MAX_LINE, "{} letters", line.len());
    }
}
