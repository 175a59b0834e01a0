//! Where a template comes from: a path, or standard input.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use kiln_template::{Files, Inputs, OsFiles};

use crate::arguments::TemplateFlags;
use crate::error::CommandError;

/// Largest template from standard input, in bytes; as large as a file may be.
const MAX_INPUT_BYTES: u64 = 64 << 20;

/// A template as the command line names it.
pub(super) struct Template {
    pub(super) inputs: Inputs,
    pub(super) files: Arc<dyn Files>,
}

impl Template {
    /// Takes the template at `path`, or the one on standard input for `-`.
    pub(super) fn new(flags: TemplateFlags, path: &Path) -> Result<Self, CommandError> {
        if path != Path::new("-") {
            return Ok(Self { inputs: inputs(flags, path.to_owned())?, files: Arc::new(OsFiles) });
        }
        let hcl2 = flags.config_type.as_deref() == Some("hcl2");
        let name = if hcl2 { "<standard input>.pkr.hcl" } else { "<standard input>" };
        Self::of_text(flags, name, read_input()?)
    }

    /// Takes a text as the template; it lies in the working directory, as far as its paths are concerned.
    pub(super) fn of_text(flags: TemplateFlags, name: &str, text: Vec<u8>) -> Result<Self, CommandError> {
        let inputs = inputs(flags, name.into())?;
        let files = Overlay { path: inputs.cwd.join(name), text };
        Ok(Self { inputs, files: Arc::new(files) })
    }
}

/// Reads standard input to its end.
pub(super) fn read_input() -> Result<Vec<u8>, CommandError> {
    let mut text = Vec::new();
    let failed = |error: io::Error| CommandError::new(format!("cannot read standard input: {error}"));
    io::stdin().lock().take(MAX_INPUT_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_INPUT_BYTES {
        return Err(CommandError::new("standard input has more than 64 MiB"));
    }
    Ok(text)
}

pub(super) fn inputs(flags: TemplateFlags, path: PathBuf) -> Result<Inputs, CommandError> {
    let cwd = std::env::current_dir()
        .map_err(|error| CommandError::new(format!("cannot find out the working directory: {error}")))?;
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(Inputs {
        path,
        cwd,
        vars: flags.var.into_iter().map(|set| format!("{}={}", set.0.name, set.0.value)).collect(),
        var_files: flags.var_file,
        env: environment.collect(),
        only: flags.only,
        except: flags.except,
        now: Timestamp::now(),
        warn_on_undeclared_var: false,
    })
}

/// The machine's files, and one that is in memory only.
struct Overlay {
    path: PathBuf,
    text: Vec<u8>,
}

impl Files for Overlay {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == self.path { Ok(self.text.clone()) } else { OsFiles.read(path) }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        OsFiles.list(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        path != self.path && OsFiles.is_dir(path)
    }

    fn is_file(&self, path: &Path) -> bool {
        path == self.path || OsFiles.is_file(path)
    }
}
