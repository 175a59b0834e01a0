//! File name patterns (`*`, `?`, `[…]`) as templates write them, expanded against this machine's directories.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::name_pattern::NamePattern;

/// Most paths one pattern may give.
const MAX_MATCHES: usize = 100_000;

/// Why a pattern cannot be expanded.
#[derive(Debug, thiserror::Error)]
pub enum GlobError {
    /// The pattern is not well formed.
    #[error("`{pattern}` is not a valid file name pattern: {problem}")]
    Pattern {
        /// The pattern as given.
        pattern: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The pattern is not text, which the matcher needs.
    #[error("the pattern `{pattern}` is not valid UTF-8")]
    NotText {
        /// The pattern, with what is not text replaced.
        pattern: String,
    },
    /// A directory to look in cannot be listed.
    #[error("cannot list `{}` for the pattern `{pattern}`", directory.display())]
    List {
        /// The pattern as given.
        pattern: String,
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The pattern matches more than 100,000 paths.
    #[error("`{pattern}` matches more than {MAX_MATCHES} paths")]
    TooMany {
        /// The pattern as given.
        pattern: String,
    },
}

/// Says whether a path of a template is a pattern: Packer's test, which looks for any of `*?[`.
pub(super) fn is_pattern(path: &Path) -> bool {
    path.as_os_str().as_bytes().iter().any(|byte| b"*?[".contains(byte))
}

/// Whether `path` is a pattern that nothing matches; relative ones are looked up in the working directory of the process. What cannot be
/// looked into is told when the medium is made.
#[must_use]
pub fn matches_nothing(path: &Path) -> bool {
    is_pattern(path) && expand(Path::new(""), path).is_ok_and(|found| found.is_empty())
}

/// Returns the existing paths that match, sorted component by component; none is not an error.
///
/// The language is that of Go's `filepath.Glob`: `*` and `?` stay within one component and match leading dots, `[a-z]`
/// and `[^a-z]` are classes, `\` takes the meaning away; `**` and `{a,b}` have no special meaning. A relative
/// pattern is looked up in `base`, and the results stay relative to it.
pub(super) fn expand(base: &Path, pattern: &Path) -> Result<Vec<PathBuf>, GlobError> {
    let shown = || pattern.to_string_lossy().into_owned();
    let mut found = vec![PathBuf::new()];
    let mut pending_literal = false;
    let mut after_pattern = false;
    for component in pattern.components() {
        if let Component::Normal(name) = component
            && name.as_bytes().iter().any(|byte| b"*?[\\".contains(byte))
        {
            let name = name.to_str().ok_or_else(|| GlobError::NotText { pattern: shown() })?;
            let matcher =
                NamePattern::parse(name).map_err(|problem| GlobError::Pattern { pattern: shown(), problem })?;
            let mut next = Vec::new();
            for directory in &found {
                match list_matches(base, directory, &matcher, &mut next) {
                    // Only a pattern led here: what may not be looked into is passed over, as a shell does.
                    Err((_, error)) if after_pattern && error.kind() == io::ErrorKind::PermissionDenied => {}
                    Err((directory, source)) => {
                        return Err(GlobError::List { pattern: shown(), directory, source });
                    }
                    Ok(()) => {}
                }
                if next.len() > MAX_MATCHES {
                    return Err(GlobError::TooMany { pattern: shown() });
                }
            }
            found = next;
            after_pattern = true;
            pending_literal = false;
        } else if component != Component::CurDir {
            found.iter_mut().for_each(|path| path.push(component));
            pending_literal = true;
        }
    }
    if pending_literal {
        found.retain(|path| base.join(path).symlink_metadata().is_ok());
    }
    found.retain(|path| !path.as_os_str().is_empty());
    Ok(found)
}

fn list_matches(
    base: &Path,
    directory: &Path,
    matcher: &NamePattern,
    matches: &mut Vec<PathBuf>,
) -> Result<(), (PathBuf, io::Error)> {
    let place = base.join(directory);
    // An empty base means the current directory, which has a name only as `.`.
    let place = if place.as_os_str().is_empty() { PathBuf::from(".") } else { place };
    let entries = match std::fs::read_dir(&place) {
        Ok(entries) => entries,
        // `*/x` looks into every match of `*`: those that are not directories simply hold no `x`.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::NotFound) => return Ok(()),
        Err(error) => return Err((place, error)),
    };
    let mut names: Vec<OsString> = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| (place.clone(), error))?.file_name();
        if matcher.matches(&name.to_string_lossy()) {
            names.push(name);
        }
    }
    names.sort();
    matches.extend(names.iter().map(|name| directory.join(name)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(base: &Path, pattern: &str) -> Vec<String> {
        let paths = expand(base, Path::new(pattern)).unwrap();
        paths.iter().map(|path| path.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn expands_like_packer() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        for name in ["b.xml", "a.xml", ".hidden", "a.txt", "x{1}", "x1", "é.xml"] {
            std::fs::write(base.join(name), name).unwrap();
        }
        std::fs::create_dir_all(base.join("d/e")).unwrap();
        std::fs::write(base.join("d/e/f.xml"), "f").unwrap();
        assert_eq!(expanded(base, "*.xml"), ["a.xml", "b.xml", "é.xml"]);
        assert_eq!(expanded(base, "?.xml"), ["a.xml", "b.xml", "é.xml"]);
        assert_eq!(expanded(base, "[ab].xml"), ["a.xml", "b.xml"]);
        assert_eq!(expanded(base, "[^a].xml"), ["b.xml", "é.xml"]);
        assert_eq!(expanded(base, "[a-b].*"), ["a.txt", "a.xml", "b.xml"]);
        assert_eq!(expanded(base, "*/*/f.xml"), ["d/e/f.xml"]);
        assert_eq!(expanded(base, "**.xml"), ["a.xml", "b.xml", "é.xml"]);
        assert_eq!(expanded(base, "x{1}*"), ["x{1}"]);
        assert_eq!(expanded(base, "{a,b}*.xml"), Vec::<String>::new());
        assert_eq!(expanded(base, "./d/*"), ["d/e"]);
        assert_eq!(expanded(base, "nothing/*"), Vec::<String>::new());
        assert_eq!(expanded(base, "*/nothing"), Vec::<String>::new());
        assert!(expanded(base, "*").contains(&".hidden".to_owned()));
        let absolute = format!("{}/a.*", base.display());
        assert_eq!(expanded(Path::new("/nowhere"), &absolute).len(), 2);
    }

    #[test]
    fn names_a_malformed_pattern() {
        let error = expand(Path::new("."), Path::new("a[b")).unwrap_err();
        assert_eq!(error.to_string(), "`a[b` is not a valid file name pattern: a `[` is not closed");
    }
}
