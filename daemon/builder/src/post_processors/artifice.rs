//! The artifice post-processor: other files in the place of the artifact's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::context::{PostProcessContext, Processed};
use crate::artifact::{Artifact, Ownership};
use crate::error::StepError;
use crate::option_values::OptionValues;

pub(crate) fn run(
    context: &PostProcessContext,
    options: OptionValues<'_>,
    input: &Artifact,
) -> Result<Processed, StepError> {
    let mut files: Vec<PathBuf> = Vec::new();
    for text in options.texts("files") {
        let pattern = Pattern::new(&text)
            .map_err(|error| StepError::new(format!("`files` has the glob {text:?}")).with_source(error))?;
        let found = pattern.files();
        if found.is_empty() {
            context.build.error(format!("Warning: no file matches {text:?}"));
        }
        files.extend(found);
    }
    // Two patterns may find one file.
    let mut seen = BTreeSet::new();
    files.retain(|file| seen.insert(file.clone()));
    let list = |files: &[PathBuf]| files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    if !input.files.is_empty() {
        context.build.say(format!("Discarding files from artifact: {}", list(&input.files)));
    }
    context.build.say(format!("Using these artifact files: {}", list(&files)));
    let artifact = Artifact {
        builder_id: "packer.post-processor.artifice".to_owned(),
        id: String::new(),
        text: format!("Created artifact from files: {}", list(&files)),
        ownership: Ownership::Files(files.clone()),
        files,
    };
    Ok(Processed { artifact, keep_input: true, force_keep: false })
}

/// A glob as Go's `filepath.Glob` reads it: `*`, `?` and `[…]` within one name of a path.
pub(crate) struct Pattern {
    is_absolute: bool,
    parts: Vec<Part>,
}

/// One name of a path.
enum Part {
    Name(String),
    Glob(GlobMatcher),
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Result<Self, globset::Error> {
        let parts = text.split('/').filter(|part| !part.is_empty()).map(|part| {
            if !part.contains(['*', '?', '[', '\\']) {
                return Ok(Part::Name(part.to_owned()));
            }
            // Braces mean nothing to Go.
            let part = part.replace('{', "[{]").replace('}', "[}]");
            let glob = GlobBuilder::new(&part).literal_separator(true).backslash_escape(true).build()?;
            Ok(Part::Glob(glob.compile_matcher()))
        });
        Ok(Self { is_absolute: text.starts_with('/'), parts: parts.collect::<Result<_, globset::Error>>()? })
    }

    /// The files there are, sorted.
    fn files(&self) -> Vec<PathBuf> {
        let mut found = vec![PathBuf::from(if self.is_absolute { "/" } else { "" })];
        for part in &self.parts {
            found = found.iter().flat_map(|directory| part.below(directory)).collect();
        }
        found.retain(|path| path.is_file());
        found
    }
}

impl Part {
    fn below(&self, directory: &Path) -> Vec<PathBuf> {
        let glob = match self {
            Self::Name(name) => return vec![directory.join(name)],
            Self::Glob(glob) => glob,
        };
        let here = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let Ok(entries) = std::fs::read_dir(here) else { return Vec::new() };
        let names = entries.flatten().map(|entry| entry.file_name());
        let mut names: Vec<_> = names.filter(|name| glob.is_match(name)).collect();
        names.sort();
        names.into_iter().map(|name| directory.join(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_are_gos() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_str().unwrap();
        std::fs::create_dir_all(directory.path().join("out/deep")).unwrap();
        for name in ["a.img", "b.img", ".hidden.img", "{x}.img", "out/c.img", "out/deep/d.img"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let found = |pattern: &str| -> Vec<String> {
            let files = Pattern::new(&format!("{root}/{pattern}")).unwrap().files();
            files.iter().map(|file| file.strip_prefix(root).unwrap().display().to_string()).collect()
        };
        assert_eq!(found("a.img"), ["a.img"]);
        assert_eq!(found("*.img"), [".hidden.img", "a.img", "b.img", "{x}.img"]);
        assert_eq!(found("[ab].img"), ["a.img", "b.img"]);
        assert_eq!(found("[^a].img"), ["b.img"]);
        assert_eq!(found("{*}.img"), ["{x}.img"]);
        assert_eq!(found("*/?.img"), ["out/c.img"]);
        assert_eq!(found("**/d.img"), Vec::<String>::new(), "two stars are one");
        assert_eq!(found("o*/d*/*"), ["out/deep/d.img"]);
        assert_eq!(found("out"), Vec::<String>::new(), "a directory is no file");
        assert!(Pattern::new("[a").is_err());
    }
}
