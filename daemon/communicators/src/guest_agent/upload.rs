//! Sending files.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use tokio::io::AsyncReadExt;

use super::failure::Failure;
use super::guest_file::GuestFile;
use super::placing::Placing;
use super::session::Session;
use super::wire::CHUNK;
use super::{script_run, scripts};
use crate::communicator::TransferProgress;
use crate::error::CommunicatorError;
use crate::local_files::{OpenedFile, UploadStep, directory_name, open_for_upload, plan_upload};
use crate::ssh::transfer::{file_destination, split_remote};

/// The longest script: Linux takes no argument of more than 128 KiB.
const MAX_SCRIPT: usize = 64 << 10;

/// Who files are sent to.
pub(super) struct Upload<'a> {
    pub(super) session: &'a Arc<Session>,
    pub(super) host: &'a str,
    pub(super) progress: &'a dyn TransferProgress,
}

impl Upload<'_> {
    pub(super) async fn file(
        &self,
        source: &Path,
        destination: &str,
        mode: Option<u32>,
    ) -> Result<(), CommunicatorError> {
        let opened = open_for_upload(source).await?;
        let destination = file_destination(source, destination)?;
        let place = self.make_file(&destination, mode.unwrap_or(opened.mode)).await?;
        self.send(source, opened, &place.there, &place.path).await?;
        self.put(place).await
    }

    pub(super) async fn bytes(&self, content: &[u8], destination: &str, mode: u32) -> Result<(), CommunicatorError> {
        let place = self.make_file(destination, mode).await?;
        let failed = |failure| self.failed(failure, destination);
        let file = GuestFile::open(self.session, &place.there, "w").await.map_err(failed)?;
        self.progress.file_started(destination, content.len() as u64);
        for chunk in content.chunks(CHUNK) {
            file.write(chunk).await.map_err(failed)?;
            self.progress.advanced(chunk.len() as u64);
        }
        file.finish().await.map_err(failed)?;
        self.put(place).await
    }

    pub(super) async fn directory(&self, source: &Path, destination: &str) -> Result<(), CommunicatorError> {
        let own_name = directory_name(source)?;
        let name = own_name.as_deref().map(|name| text(name, source)).transpose()?;
        let steps = plan_upload(source).await?;
        let made = script_run::output(self.session, &scripts::make_directory(destination, name)).await;
        let root = made.and_then(path).map_err(|failure| self.failed(failure, destination))?;
        let entries = entries(&root, steps)?;
        let mut placing = self.placing(destination)?;
        placing.begin_tree(&root);
        // Everything gets its mode before there is anything in it.
        let mut lines = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            let mode = entry.mode().await?;
            lines.push(match entry.here {
                None => scripts::enter_directory(&entry.there, mode),
                Some(_) => scripts::enter_file(&entry.there, &placing.beside(&entry.there, number), mode),
            });
        }
        self.run_all(lines, destination).await?;
        let mut lines = Vec::new();
        for (number, entry) in entries.into_iter().enumerate() {
            let Some(here) = entry.here else { continue };
            let (opened, there) = (open_for_upload(&here).await?, placing.beside(&entry.there, number));
            self.send(&here, opened, &there, &entry.there).await?;
            lines.push(scripts::place(&there, &entry.there));
        }
        self.run_all(lines, destination).await?;
        placing.end();
        Ok(())
    }

    fn placing(&self, destination: &str) -> Result<Placing, CommunicatorError> {
        Placing::new(self.session).map_err(|failure| self.failed(failure, destination))
    }

    /// Makes an empty file beside the place of one.
    async fn make_file(&self, destination: &str, mode: u32) -> Result<Place, CommunicatorError> {
        split_remote(destination)?;
        let mut placing = self.placing(destination)?;
        let script = scripts::make_beside(destination, &placing.name(0), mode);
        let made = script_run::output(self.session, &script).await;
        let path = made.and_then(path).map_err(|failure| self.failed(failure, destination))?;
        let there = placing.begin_file(&path);
        Ok(Place { path, there, placing })
    }

    /// Puts one that is whole into its place.
    async fn put(&self, place: Place) -> Result<(), CommunicatorError> {
        self.run_all(vec![scripts::place(&place.there, &place.path)], &place.path).await?;
        place.placing.end();
        Ok(())
    }

    /// Runs lines of a script, which is as many as it takes.
    async fn run_all(&self, lines: Vec<String>, destination: &str) -> Result<(), CommunicatorError> {
        let mut script = scripts::ENTRIES.to_owned();
        for line in lines {
            if script.len() + line.len() > MAX_SCRIPT {
                self.run(&std::mem::replace(&mut script, scripts::ENTRIES.to_owned()), destination).await?;
            }
            script += &line;
        }
        self.run(&script, destination).await
    }

    async fn run(&self, script: &str, destination: &str) -> Result<(), CommunicatorError> {
        let ran = script_run::output(self.session, script).await;
        ran.map(drop).map_err(|failure| self.failed(failure, destination))
    }

    /// Sends the content of a file to one that is there, and is to be at `path`.
    async fn send(&self, source: &Path, opened: OpenedFile, there: &str, path: &str) -> Result<(), CommunicatorError> {
        let OpenedFile { mut file, size, .. } = opened;
        let failed = |failure| self.failed(failure, path);
        let unreadable = |error| CommunicatorError::Local { action: "read", path: source.to_owned(), source: error };
        let there = GuestFile::open(self.session, there, "w").await.map_err(failed)?;
        self.progress.file_started(path, size);
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = file.read(&mut chunk).await.map_err(unreadable)?;
            if length == 0 {
                break;
            }
            there.write(&chunk[..length]).await.map_err(failed)?;
            self.progress.advanced(length as u64);
        }
        there.finish().await.map_err(failed)
    }

    fn failed(&self, failure: Failure, path: &str) -> CommunicatorError {
        failure.during(self.host, &format!("the upload of {path}"), "receive", path)
    }
}

/// A file that is sent.
struct Place {
    /// Where it is to be.
    path: String,
    /// Where it is meanwhile.
    there: String,
    placing: Placing,
}

/// A path that a script has printed, with a dot behind it.
pub(super) fn path(printed: Vec<u8>) -> Result<String, Failure> {
    let text = String::from_utf8(printed).ok().and_then(|text| text.strip_suffix('.').map(str::to_owned));
    text.filter(|path| path.starts_with('/'))
        .ok_or_else(|| Failure::Refused("its path is no text in UTF-8, which the agent's protocol needs".to_owned()))
}

/// Something that is to be in the guest.
struct Entry {
    there: String,
    /// `None`: a directory.
    here: Option<std::path::PathBuf>,
    directory_mode: u32,
}

impl Entry {
    async fn mode(&self) -> Result<u32, CommunicatorError> {
        match &self.here {
            Some(here) => Ok(open_for_upload(here).await?.mode),
            None => Ok(self.directory_mode),
        }
    }
}

fn entries(root: &str, steps: Vec<UploadStep>) -> Result<Vec<Entry>, CommunicatorError> {
    let (mut entries, mut above, mut now) = (Vec::new(), Vec::new(), root.to_owned());
    for step in steps {
        match step {
            UploadStep::Enter { name, mode } => {
                let below = format!("{now}/{}", text(&name, Path::new(&name))?);
                above.push(std::mem::replace(&mut now, below.clone()));
                entries.push(Entry { there: below, here: None, directory_mode: mode });
            }
            UploadStep::Leave => now = above.pop().expect("the plan leaves what it has entered"),
            UploadStep::File { path, name } => {
                let there = format!("{now}/{}", text(&name, &path)?);
                entries.push(Entry { there, here: Some(path), directory_mode: 0 });
            }
        }
    }
    Ok(entries)
}

fn text<'a>(name: &'a OsStr, path: &Path) -> Result<&'a str, CommunicatorError> {
    name.to_str().ok_or_else(|| CommunicatorError::Unsendable {
        path: path.to_owned(),
        why: "the guest agent takes names in UTF-8 only",
    })
}
