//! Rules about the source tree itself: who may depend on whom, which way imports run, and what each file opens with.

mod circles;
mod graph;
mod imports;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Every crate with the crates of ours that it may depend on (not for its tests).
const MAY_DEPEND_ON: [(&str, &[&str]); 10] = [
    ("kiln-protocol", &[]),
    ("kiln-template", &[]),
    ("kiln-communicators", &[]),
    ("kiln-disk-formats", &[]),
    ("kiln-systemd", &[]),
    ("kiln-hypervisors", &["kiln-disk-formats"]),
    ("kiln-builder", &["kiln-template", "kiln-communicators", "kiln-hypervisors", "kiln-disk-formats"]),
    ("kiln-daemon", &["kiln-builder", "kiln-disk-formats", "kiln-template", "kiln-protocol", "kiln-systemd"]),
    ("kiln-client", &["kiln-protocol", "kiln-template"]),
    (
        "kiln-tests",
        &[
            "kiln-client",
            "kiln-daemon",
            "kiln-builder",
            "kiln-communicators",
            "kiln-disk-formats",
            "kiln-hypervisors",
            "kiln-protocol",
            "kiln-template",
        ],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The crates of the workspace.
fn packages() -> Vec<cargo_metadata::Package> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned(), "--locked".to_owned()])
        .exec()
        .unwrap();
    metadata.packages
}

#[test]
fn crates_depend_in_one_direction_only() {
    let packages = packages();
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        MAY_DEPEND_ON.iter().map(|(name, others)| (*name, others.iter().copied().collect())).collect();
    let ours: BTreeSet<String> = packages.iter().map(|package| package.name.to_string()).collect();
    assert_eq!(ours, allowed.keys().map(|&name| name.to_owned()).collect(), "every crate has its line above");
    for package in &packages {
        for dependency in &package.dependencies {
            let normal = dependency.kind == cargo_metadata::DependencyKind::Normal;
            if normal && ours.contains(&dependency.name) {
                assert!(
                    allowed[package.name.as_str()].contains(dependency.name.as_str()),
                    "{} must not depend on {}",
                    package.name,
                    dependency.name
                );
            }
        }
    }
}

#[test]
fn every_source_file_says_what_it_owns() {
    let files = all_rust_files();
    assert!(files.len() > 100);
    let silent: Vec<_> = files
        .iter()
        .filter(|file| !std::fs::read_to_string(file).unwrap().lines().next().unwrap_or("").starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "these do not open with //!: {silent:#?}");
}

/// A file that no other names as its module is not compiled, and its tests do not run.
#[test]
fn no_source_file_is_forgotten() {
    let packages = packages();
    let targets = packages.iter().flat_map(|package| &package.targets);
    let roots: BTreeSet<PathBuf> = targets.map(|target| target.src_path.clone().into_std_path_buf()).collect();
    let forgotten: Vec<_> = all_rust_files()
        .into_iter()
        // Fuzz targets are no members of the workspace.
        .filter(|file| !roots.contains(file) && !file.components().any(|part| part.as_os_str() == "fuzz"))
        .filter(|file| !is_named_by(&possible_parents(file, &roots), module_name(file)))
        .collect();
    assert!(forgotten.is_empty(), "nothing compiles these, for want of a `mod NAME;`: {forgotten:#?}");
}

fn is_named_by(parents: &[PathBuf], module: &str) -> bool {
    let line = format!("mod {module};");
    parents.iter().any(|parent| std::fs::read_to_string(parent).is_ok_and(|text| text.contains(&line)))
}

/// The folder whose module a file is, and the file's name as a module.
fn place(file: &Path) -> (&Path, &Path) {
    let folder = file.parent().unwrap();
    if file.ends_with("mod.rs") { (folder.parent().unwrap(), folder) } else { (folder, file) }
}

fn module_name(file: &Path) -> &str {
    place(file).1.file_stem().unwrap().to_str().unwrap()
}

/// The files that could name `file` as their module.
fn possible_parents(file: &Path, roots: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let (folder, _) = place(file);
    let beside = roots.iter().filter(|root| root.parent() == Some(folder)).cloned();
    beside.chain([folder.join("mod.rs"), folder.with_extension("rs")]).collect()
}

fn all_rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["client", "daemon", "disk-formats", "hypervisors", "tests"] {
        rust_files(&root().join(folder), &mut files);
    }
    files
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
