//! Takes an image from the worker to this process's standard output, through a FIFO that only this user can open.

use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use crate::error::CommandError;
use crate::terminal;

/// Bytes taken at once, and asked of the system for the FIFO.
const BUFFER: usize = 1 << 20;

/// The reading end. The FIFO's name is removed by the worker when it has the other end, else when this is dropped.
pub(super) struct StandardOutput {
    path: PathBuf,
    receiver: Option<pipe::Receiver>,
}

impl StandardOutput {
    /// Makes the FIFO and opens it.
    pub(super) fn new() -> Result<Self, CommandError> {
        if terminal::is_watched() {
            return Err(CommandError::new("an image does not go to a terminal")
                .hint("redirect standard output, or name a file"));
        }
        let directory = terminal::variable("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty());
        let mut bits = [0; 8];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bits)?;
        let name = format!("kiln-stdout-{:016x}", u64::from_ne_bytes(bits));
        let path = directory.map_or_else(std::env::temp_dir, PathBuf::from).join(name);
        let failed = |error: io::Error| CommandError::new(format!("cannot make the FIFO {}: {error}", path.display()));
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).map_err(|error| failed(error.into()))?;
        let mut output = Self { path: path.clone(), receiver: None };
        let receiver = pipe::OpenOptions::new().open_receiver(&path).map_err(failed)?;
        // A larger pipe means fewer turns; a smaller one does as well.
        let _ = rustix::pipe::fcntl_setpipe_size(&receiver, BUFFER);
        output.receiver = Some(receiver);
        Ok(output)
    }

    /// Returns the FIFO's name for the worker.
    pub(super) fn path(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// Copies until the worker closes its end.
    pub(super) fn start(mut self) -> JoinHandle<io::Result<()>> {
        tokio::spawn(async move {
            let Some(mut receiver) = self.receiver.take() else { return Ok(()) };
            let mut buffer = vec![0; BUFFER];
            loop {
                let length = receiver.read(&mut buffer).await?;
                if length == 0 {
                    return Ok(());
                }
                // Whoever reads may take time; events go on meanwhile.
                let write = move || terminal::raw_stdout().write_all(&buffer[..length]).map(|()| buffer);
                buffer = tokio::task::spawn_blocking(write).await??;
            }
        })
    }
}

impl Drop for StandardOutput {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
