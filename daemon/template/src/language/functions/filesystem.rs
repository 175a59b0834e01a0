//! Owns the functions on paths and files.
//!
//! `file`, `fileexists`, `fileset` and `templatefile` begin at the template's folder, `filebase64` and `abspath` at the
//! caller's current folder, as in Packer.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::table::{Answer, Call, Failure, Function, function, text};
use crate::go::path::clean;
use crate::language::value::{Type, Value};

/// Files that `fileset` looks at, at most.
const MAX_FILES: usize = 100_000;
/// Folders that `fileset` descends, at most.
const MAX_LEVELS: usize = 64;

pub(super) const FUNCTIONS: &[Function] = &[
    function("abspath", &[text("path")], |call| Ok(display(&clean(&call.environment.cwd.join(call.text(0)))).into())),
    function("basename", &[text("path")], |call| Ok(basename(call.text(0)).into())),
    function("dirname", &[text("path")], |call| Ok(dirname(call.text(0)).into())),
    function("file", &[text("path")], |call| Ok(read_text(call, call.text(0))?.into())),
    function("filebase64", &[text("path")], |call| {
        let path = call.environment.cwd.join(expand_home(call, call.text(0))?);
        let bytes = call.environment.files.read(&path).map_err(|error| cannot_read(&path, &error))?;
        Ok(STANDARD.encode(bytes).into())
    }),
    function("fileexists", &[text("path")], |call| {
        let path = resolve(call, call.text(0))?;
        if call.environment.files.is_dir(&path) {
            return Err(Failure::new(format!("{} is not a regular file, but a folder", path.display())));
        }
        Ok(call.environment.files.exists(&path).into())
    }),
    function("fileset", &[text("path"), text("pattern")], fileset),
    function("pathexpand", &[text("path")], |call| Ok(display(&expand_home(call, call.text(0))?).into())),
];

fn display(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}

/// Replaces a leading `~` by the caller's home.
fn expand_home(call: &Call<'_>, path: &str) -> Result<PathBuf, Failure> {
    let Some(rest) = path.strip_prefix('~') else { return Ok(path.into()) };
    if !rest.is_empty() && !rest.starts_with('/') {
        return Err(Failure::new("failed to expand ~: cannot expand user-specific home dir"));
    }
    match call.environment.variables.get("HOME") {
        Some(home) => Ok(Path::new(home).join(rest.trim_start_matches('/'))),
        None => Err(Failure::new("failed to expand ~: HOME is not set")),
    }
}

/// Returns an absolute path for a path relative to the template.
pub(super) fn resolve(call: &Call<'_>, path: &str) -> Result<PathBuf, Failure> {
    Ok(clean(&call.environment.root.join(expand_home(call, path)?)))
}

pub(crate) fn read_text(call: &Call<'_>, path: &str) -> Result<String, Failure> {
    let path = resolve(call, path)?;
    let bytes = call.environment.files.read(&path).map_err(|error| cannot_read(&path, &error))?;
    String::from_utf8(bytes).map_err(|_| {
        let path = path.display();
        Failure::new(format!(
            "contents of {path} are not valid UTF-8; use the filebase64 function to obtain the Base64 encoded contents"
        ))
    })
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::NotFound => Failure::new(format!("no file exists at {}", path.display())),
        _ => Failure::new(format!("failed to read {}: {error}", path.display())),
    }
}

fn basename(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    match (path, trimmed) {
        ("", _) => ".".into(),
        (_, "") => "/".into(),
        (_, trimmed) => trimmed.rsplit('/').next().unwrap_or(trimmed).into(),
    }
}

fn dirname(path: &str) -> String {
    match path.rfind('/') {
        None => ".".into(),
        Some(slash) => display(&clean(Path::new(&path[..=slash]))),
    }
}

fn fileset(call: &Call<'_>) -> Answer {
    let start = resolve(call, call.text(0))?;
    let pattern = call.text(1);
    let glob = globset::GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|error| Failure::at(1, format!("failed to glob pattern ({pattern}): {}", error.kind())))?
        .compile_matcher();
    let mut found = Vec::new();
    let mut folders = vec![(start.clone(), 0)];
    let mut seen = 0;
    while let Some((folder, level)) = folders.pop() {
        // A folder that cannot be read has no files, as in Packer.
        for path in call.environment.files.list(&folder).unwrap_or_default() {
            seen += 1;
            if seen > MAX_FILES {
                return Err(Failure::new(format!("more than {MAX_FILES} files below {}", start.display())));
            }
            if call.environment.files.is_dir(&path) {
                if level < MAX_LEVELS {
                    folders.push((path, level + 1));
                }
            } else if let Ok(relative) = path.strip_prefix(&start)
                && glob.is_match(relative)
            {
                found.push(Value::string(&display(relative)));
            }
        }
    }
    Ok(Value::set(Type::String, found))
}
