//! Names of subjects: a file's own name, and as much of its path as tells it from the others of one statement.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Returns a name for each file, in their order. Files of one name are told apart by the directories before it; a verifier finds both forms
/// beside the attestation.
#[must_use]
pub fn subject_names(files: &[PathBuf]) -> Vec<String> {
    let parts: Vec<Vec<String>> = files.iter().map(|file| parts_of(file)).collect();
    let mut lengths = vec![1_usize; files.len()];
    loop {
        let mut same: BTreeMap<&[String], Vec<usize>> = BTreeMap::new();
        for (index, (parts, length)) in parts.iter().zip(&lengths).enumerate() {
            same.entry(&parts[parts.len().saturating_sub(*length)..]).or_default().push(index);
        }
        let mut grew = false;
        for index in same.into_values().filter(|same| same.len() > 1).flatten() {
            if lengths[index] < parts[index].len() {
                lengths[index] += 1;
                grew = true;
            }
        }
        if !grew {
            let names = parts.iter().zip(&lengths);
            return names.map(|(parts, length)| parts[parts.len().saturating_sub(*length)..].join("/")).collect();
        }
    }
}

/// What a path is made of, without where it begins: names do not lead out of a directory.
fn parts_of(path: &Path) -> Vec<String> {
    let normal = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    normal.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[&str]) -> Vec<String> {
        subject_names(&files.iter().map(PathBuf::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_file_has_its_own_name_unless_another_has_it_too() {
        assert_eq!(names(&["out/a.img", "other/b.img"]), ["a.img", "b.img"]);
        assert_eq!(names(&["x/out/a.img", "x/other/a.img", "x/c"]), ["out/a.img", "other/a.img", "c"]);
        assert_eq!(names(&["/1/out/a.img", "/2/out/a.img"]), ["1/out/a.img", "2/out/a.img"]);
        assert_eq!(names(&["a.img", "sub/a.img"]), ["a.img", "sub/a.img"]);
        assert_eq!(names(&["../a.img", "b/../a.img"]), ["a.img", "b/a.img"]);
        // One file, named twice.
        assert_eq!(names(&["a.img", "./a.img"]), ["a.img", "a.img"]);
        assert_eq!(names(&[]), Vec::<String>::new());
    }
}
