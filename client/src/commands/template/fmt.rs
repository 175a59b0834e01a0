//! `kiln fmt`.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use kiln_template::{Diagnostic, Diagnostics, Files as _, OsFiles, SourceMap, format_hcl};
use serde_json::json;

use super::file::write_whole;
use super::input::read_input;
use super::report::{EXIT_FAILURE, tell};
use super::unified::unified;
use crate::arguments::FmtArguments;
use crate::error::CommandError;
use crate::terminal;

/// Exit code of `-check` when something is not in canonical form, as in Packer.
const EXIT_NOT_FORMATTED: u8 = 3;

/// Endings of the files that are HCL.
const ENDINGS: [&str; 2] = [".pkr.hcl", ".pkrvars.hcl"];

/// Directories in directories at most, so that a mount inside itself ends.
const MAX_DEPTH: usize = 64;

/// One run over all paths.
struct Formatter {
    check: bool,
    diff: bool,
    write: bool,
    recursive: bool,
    json: bool,
    machine_readable: bool,
    changed: Vec<String>,
    failed: bool,
    /// Problems that are printed with everything else, when that is JSON.
    reports: Vec<serde_json::Value>,
}

pub(super) fn fmt(arguments: FmtArguments, machine_readable: bool) -> Result<u8, CommandError> {
    let mut formatter = Formatter {
        check: arguments.check,
        diff: arguments.diff,
        write: arguments.write && !arguments.check,
        recursive: arguments.recursive,
        json: arguments.json,
        machine_readable,
        changed: Vec::new(),
        failed: false,
        reports: Vec::new(),
    };
    for path in &arguments.paths {
        if path == Path::new("-") {
            formatter.standard_input()?;
        } else {
            formatter.path(path, 0)?;
        }
    }
    if formatter.json {
        let problems = json!({ "changed": formatter.changed, "diagnostics": formatter.reports });
        terminal::print_json(&problems)?;
    }
    Ok(match formatter {
        Formatter { failed: true, .. } => EXIT_FAILURE,
        Formatter { check: true, changed, .. } if !changed.is_empty() => EXIT_NOT_FORMATTED,
        _ => 0,
    })
}

impl Formatter {
    fn path(&mut self, path: &Path, depth: usize) -> Result<(), CommandError> {
        let Ok(metadata) = fs::metadata(path) else {
            return self.problem("File not found", format!("There is no file or directory {}.", path.display()), None);
        };
        if metadata.is_dir() {
            return self.directory(path, depth);
        }
        let name = path.to_string_lossy();
        if !ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            let detail = format!("The name of {name} does not tell whether it holds HCL2.");
            let hint = "names of files that are formatted end with .pkr.hcl or .pkrvars.hcl";
            return self.problem("Not an HCL2 file", detail, Some(hint));
        }
        self.file(path)
    }

    fn directory(&mut self, directory: &Path, depth: usize) -> Result<(), CommandError> {
        let mut names: Vec<_> = match fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            Err(error) => {
                let detail = format!("{} cannot be listed: {error}.", directory.display());
                return self.problem("Cannot read directory", detail, None);
            }
        };
        names.sort_by_key(fs::DirEntry::file_name);
        for entry in names {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if is_left_out(&name) {
                continue;
            }
            // Of the entry itself: a link to a directory is not followed.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if self.recursive && depth < MAX_DEPTH {
                    self.directory(&joined(directory, &name), depth + 1)?;
                }
            } else if ENDINGS.iter().any(|ending| name.ends_with(ending)) {
                self.file(&joined(directory, &name))?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), CommandError> {
        let name = path.display().to_string();
        let bytes = match OsFiles.read(path) {
            Ok(bytes) => bytes,
            Err(error) => return self.problem("Cannot read file", format!("{name} cannot be read: {error}."), None),
        };
        let Some((old, new)) = self.formatted(&name, bytes)? else { return Ok(()) };
        if old == new {
            return Ok(());
        }
        self.changed.push(name.clone());
        if !self.json {
            writeln!(terminal::stdout(), "{name}")?;
        }
        if self.write
            && let Err(error) = write_whole(path, &new)
        {
            return self.problem("Cannot write file", format!("{name} cannot be written: {error}."), None);
        }
        if self.diff {
            write!(terminal::data_stdout(), "{}", unified(&name, &old, &new))?;
        }
        Ok(())
    }

    fn standard_input(&mut self) -> Result<(), CommandError> {
        let name = "<standard input>";
        let bytes = read_input()?;
        let Some((old, new)) = self.formatted(name, bytes)? else { return Ok(()) };
        if old != new {
            self.changed.push(name.to_owned());
        }
        if self.diff {
            write!(terminal::data_stdout(), "{}", unified(name, &old, &new))?;
        } else if !self.check && !self.json {
            write!(terminal::data_stdout(), "{new}")?;
        }
        Ok(())
    }

    /// Returns the text before and after; nothing when it cannot be formatted, which is told.
    fn formatted(&mut self, name: &str, bytes: Vec<u8>) -> Result<Option<(String, String)>, CommandError> {
        let old = match String::from_utf8(bytes) {
            Ok(old) => old,
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let detail = format!("{name} is not UTF-8: the first byte that does not belong is at offset {at}.");
                self.problem("Invalid character encoding", detail, None)?;
                return Ok(None);
            }
        };
        match format_hcl(name, &old) {
            Ok(new) => Ok(Some((old, new))),
            Err(error) => {
                self.problems(&error.diagnostics, &error.sources)?;
                Ok(None)
            }
        }
    }

    fn problem(&mut self, summary: &str, detail: String, hint: Option<&str>) -> Result<(), CommandError> {
        let diagnostic = Diagnostic::error(summary, detail).hint_maybe(hint.map(str::to_owned));
        self.problems(&diagnostic.into(), &SourceMap::new())
    }

    fn problems(&mut self, diagnostics: &Diagnostics, sources: &SourceMap) -> Result<(), CommandError> {
        self.failed = true;
        if self.json {
            let reports = diagnostics.reports(sources).into_iter().map(serde_json::to_value);
            self.reports.extend(reports.collect::<Result<Vec<_>, _>>().map_err(CommandError::new)?);
            return Ok(());
        }
        Ok(tell(diagnostics, sources, self.machine_readable)?)
    }
}

/// Hidden files, and what editors leave.
fn is_left_out(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~') || (name.starts_with('#') && name.ends_with('#'))
}

/// Returns the path of a name in a directory, as people write it: no `./` in front.
fn joined(directory: &Path, name: &str) -> PathBuf {
    if directory == Path::new(".") { PathBuf::from(name) } else { directory.join(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_files_and_leftovers_of_editors_are_left_out() {
        for name in [".a.pkr.hcl", "a.pkr.hcl~", "#a.pkr.hcl#"] {
            assert!(is_left_out(name), "{name}");
        }
        assert!(!is_left_out("a.pkr.hcl"));
    }
}
