//! Keeps why no daemon came up, for who asks later: the client that started it may have shown it to nobody.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use kiln_builder::regular_file;
use kiln_protocol::places::{FAILED_START_NAME, FailedStart};

use crate::private_directory::{self, Privacy};
use crate::wall_clock::wall_clock;

/// Notes why the daemon of this state directory does not serve; makes the directory, and leaves one alone that is not this user's.
pub(crate) fn note(state_directory: &Path, error: &str, hint: Option<&str>) {
    let owner = rustix::process::geteuid().as_raw();
    if private_directory::ensure(state_directory, owner, Privacy::NotWritable).is_err() {
        return;
    }
    let start = FailedStart { at: wall_clock(), error: error.to_owned(), hint: hint.map(str::to_owned) };
    let options = &mut OpenOptions::new();
    options.write(true).create(true).truncate(true);
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    let written = regular_file::open(&state_directory.join(FAILED_START_NAME), options)
        .and_then(|mut file| file.write_all(&serde_json::to_vec(&start)?));
    if let Err(error) = written {
        // The log has it, too.
        tracing::warn!(%error, "the failed start is not noted");
    }
}

/// Forgets it: this daemon serves.
pub(crate) fn forget(state_directory: &Path) {
    match std::fs::remove_file(state_directory.join(FAILED_START_NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "the note of a failed start is still there");
        }
        _ => {}
    }
}
