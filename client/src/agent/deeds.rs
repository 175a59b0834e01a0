//! What the buttons do: ask kilnd for something, or show a log.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;
use zbus::{Connection, Fd, Variant};

use super::desk::Deed;
use super::follower::{JOB, KILND, PROMPT};
use super::news::Thing;

/// Time for kilnd to do it: it may have to be started first.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Longest log that is shown, in bytes; `kiln logs` has all of it.
const MAX_LOG: u64 = 64 << 20;

/// Does it; returns what went wrong, for people.
pub(super) async fn do_it(bus: &Connection, thing: &Thing, job: &str, deed: Deed, logs: &Path) -> Result<(), String> {
    let options: HashMap<&str, Variant<'_>> = HashMap::new();
    let done = async {
        match deed {
            Deed::Cancel => {
                bus.call_method(Some(KILND), job, Some(JOB), "Cancel", &(options,)).await?;
            }
            Deed::Answer(key) => {
                let arguments = (key, options);
                bus.call_method(Some(KILND), thing.path.as_str(), Some(PROMPT), "Answer", &arguments).await?;
            }
            Deed::OpenLog => {
                // What there is by now: a job that runs would keep the pipe open to its end.
                let options: HashMap<&str, Variant<'_>> = HashMap::from([("follow", false.into())]);
                let answer = bus.call_method(Some(KILND), job, Some(JOB), "OpenLog", &(options,)).await?;
                let body = answer.body();
                let pipe: Fd<'_> = body.deserialize()?;
                let pipe = OwnedFd::try_from(pipe)?;
                let path = logs.join(format!("kiln-{}.log", job.rsplit("/_").next().unwrap_or_default()));
                open_log(pipe, path).await.map_err(zbus::Error::from)?;
            }
        }
        Ok(())
    };
    let done: zbus::Result<()> = timeout(TIMEOUT, done).await.unwrap_or_else(|_| Err(late()));
    done.map_err(|error| in_words(&error))
}

fn late() -> zbus::Error {
    zbus::Error::Failure(format!("kilnd did not do it within {} s", TIMEOUT.as_secs()))
}

/// Returns what an error says to people, without the name that D-Bus has for it.
fn in_words(error: &zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(_, Some(text), _) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns a directory of this person's for logs that are shown, which goes when it is dropped.
pub(super) fn log_directory() -> io::Result<TempDir> {
    let place = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::Builder::new().prefix("kiln-agent-").tempdir_in(place)
}

/// Writes what comes through the pipe to a file, and has the desktop show it.
async fn open_log(pipe: OwnedFd, path: PathBuf) -> io::Result<()> {
    let written = path.clone();
    let write = move || {
        let mut log = File::from(pipe).take(MAX_LOG);
        io::copy(&mut log, &mut File::create(written)?)
    };
    tokio::task::spawn_blocking(write).await.map_err(io::Error::other)??;
    let mut command = tokio::process::Command::new("xdg-open");
    let program = command.arg(&path).stdin(Stdio::null()).spawn();
    let mut program =
        program.map_err(|error| io::Error::other(format!("xdg-open cannot show {}: {error}", path.display())))?;
    // Some programs stay as long as their window does.
    tokio::spawn(async move { program.wait().await });
    Ok(())
}
