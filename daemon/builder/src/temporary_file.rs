//! Files that live as long as a step: in the ledger before they exist, of their owner alone, gone when dropped.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::context::BuildContext;
use crate::ledger::Resource;

/// A file with a name of its own. It may hold secrets.
pub(crate) struct TemporaryFile<'a> {
    build: &'a BuildContext,
    path: tempfile::TempPath,
    resource: Resource,
    kept: bool,
}

impl<'a> TemporaryFile<'a> {
    /// Writes `text` to a file below `directory`, or where temporary files go, with the permission bits `mode`.
    pub(crate) fn new(
        build: &'a BuildContext,
        directory: Option<&Path>,
        (prefix, suffix): (&str, &str),
        mode: u32,
        text: &[u8],
    ) -> io::Result<Self> {
        let mut noted = None;
        let make = |path: &Path| {
            let resource = Resource::File { path: path.to_owned() };
            build.ledger.acquired(&resource);
            let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
            match &file {
                Ok(_) => noted = Some(resource),
                // Somebody else's file, perhaps.
                Err(_) => build.ledger.released(&resource),
            }
            file
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(OsStr::new(prefix)).suffix(OsStr::new(suffix));
        let made = match directory {
            Some(directory) => builder.make_in(directory, make),
            None => builder.make(make),
        };
        let (mut file, path) = made?.into_parts();
        let resource = noted.unwrap_or(Resource::File { path: path.to_path_buf() });
        let this = Self { build, resource, path, kept: false };
        file.write_all(text)?;
        // Closed before anybody uses it: a script open for writing cannot be executed.
        Ok(this)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it to the person who asked for that; returns where it is.
    pub(crate) fn keep(mut self) -> PathBuf {
        self.kept = true;
        self.build.ledger.released(&self.resource);
        self.path.to_path_buf()
    }
}

impl Drop for TemporaryFile<'_> {
    fn drop(&mut self) {
        if self.kept {
            self.path.disable_cleanup(true);
            return;
        }
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let path = self.path.display();
                self.build.error(format!("Cannot remove {path}, which may hold secrets: {error}"));
            }
            _ => self.build.ledger.released(&self.resource),
        }
    }
}
