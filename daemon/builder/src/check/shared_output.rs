//! Finds builds of one template that would write into the same directory, or the same file.

use std::path::{Component, Path, PathBuf};

use kiln_template::{Diagnostic, Diagnostics, EvaluatedBuild, Generated};

use crate::plan::SourcePlan;
use crate::plan_reader::Purpose;
use crate::sources;

/// Complains about each build whose output directory is an earlier one's: at once or one after the other, the second would
/// take the first one's image for something in the way. A template that is only looked at may be meant to be built with -only, where
/// Packer looks at the directory no earlier than that.
pub(super) fn check(builds: &[(EvaluatedBuild, SourcePlan)], purpose: Purpose, diagnostics: &mut Diagnostics) {
    let mut taken: Vec<(PathBuf, &str, bool)> = Vec::new();
    for (build, source) in builds {
        let (path, option, summary, early) = match source {
            SourcePlan::File(plan) => (&*plan.target, "target", "Two builds, one target", true),
            source => match sources::machine(source) {
                Some(builder) if !builder.guest().leaves_files => continue,
                Some(builder) => {
                    let early = builder.looks_at_output_early();
                    (builder.guest().output_directory, "output_directory", "Two builds, one output directory", early)
                }
                None => continue,
            },
        };
        let output = place(path);
        match taken.iter().find(|(other, ..)| *other == output) {
            None => taken.push((output, &build.name, early)),
            Some((_, other, other_early)) => {
                let detail = format!("{} and {other} would both write into {}.", build.name, path.display());
                let (options, _) = build.source.decode_partly(&Generated::plan());
                let later = purpose == Purpose::Validate && !(early && *other_early);
                let make = if later { Diagnostic::warning } else { Diagnostic::error };
                let diagnostic = make(summary, detail).at(options.span_of(option));
                let hint = format!("give each {option} a value of its own, or choose one build with -only");
                diagnostics.push(diagnostic.hint(hint));
            }
        }
    }
}

/// The one name of a path: absolute, links followed as far as there are any.
pub(super) fn place(path: &Path) -> PathBuf {
    let mut place = PathBuf::new();
    for component in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                place.pop();
            }
            other => place.push(other),
        }
        if let Ok(real) = std::fs::canonicalize(&place) {
            place = real;
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_directory_has_one_name() {
        let directory = tempfile::tempdir().unwrap();
        let real = std::fs::canonicalize(directory.path()).unwrap();
        std::fs::create_dir(real.join("a")).unwrap();
        std::os::unix::fs::symlink("a", real.join("link")).unwrap();
        for (path, name) in [("a/out", "a/out"), ("link/out", "a/out"), ("a/x/../out/.", "a/out"), ("a/out2", "a/out2")]
        {
            assert_eq!(place(&real.join(path)), real.join(name), "{path}");
        }
    }
}
