//! The output of a command, read in pieces while it runs.

use std::sync::Arc;

use super::failure::Failure;
use super::guest_file::GuestFile;
use super::session::Session;

/// A piece that is not the last one was written in so many parts, of a byte at least.
const LEAST_PIECE: u64 = 32;

/// One of a command's output streams.
pub(super) struct Pieces {
    session: Arc<Session>,
    /// The pieces' path without their number.
    prefix: String,
    number: u64,
    file: Option<GuestFile>,
    /// Bytes of this piece that were read.
    taken: u64,
}

impl Pieces {
    pub(super) fn new(session: &Arc<Session>, prefix: String) -> Self {
        Self { session: Arc::clone(session), prefix, number: 0, file: None, taken: 0 }
    }

    /// Returns what has come since; nothing when there is nothing right now.
    pub(super) async fn next(&mut self) -> Result<Vec<u8>, Failure> {
        if self.file.is_none() {
            self.file = self.open(self.number).await?;
        }
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        let mut bytes = file.read().await?;
        if bytes.is_empty()
            && self.taken >= LEAST_PIECE
            && let Some(following) = self.open(self.number + 1).await?
        {
            // This one is whole now, and may have grown since.
            bytes = file.read().await?;
            if bytes.is_empty() {
                self.give_back(following).await?;
                bytes = match &self.file {
                    Some(file) => file.read().await?,
                    None => bytes,
                };
            }
        }
        self.taken += bytes.len() as u64;
        Ok(bytes)
    }

    /// Empties the piece that was read, so that another one may be written, and goes on to the following one.
    async fn give_back(&mut self, following: GuestFile) -> Result<(), Failure> {
        if let Some(done) = self.file.replace(following) {
            done.close().await?;
        }
        GuestFile::open(&self.session, &self.path(self.number), "w").await?.close().await?;
        self.number += 1;
        self.taken = 0;
        Ok(())
    }

    async fn open(&self, number: u64) -> Result<Option<GuestFile>, Failure> {
        match GuestFile::open(&self.session, &self.path(number), "r").await {
            Ok(file) => Ok(Some(file)),
            // It is not there yet.
            Err(Failure::Refused(_)) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn path(&self, number: u64) -> String {
        format!("{}{number}", self.prefix)
    }

    /// Closes what is open.
    pub(super) async fn close(mut self) -> Result<(), Failure> {
        match self.file.take() {
            Some(file) => file.close().await,
            None => Ok(()),
        }
    }
}
