//! The manifest post-processor: a JSON file that lists what builds left, run after run.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::context::{PostProcessContext, Processed, base_name};
use crate::artifact::Artifact;
use crate::atomic_file;
use crate::blocking::blocking;
use crate::error::StepError;
use crate::option_values::OptionValues;

/// A larger manifest is not ours.
const MAX_BYTES: u64 = 64 << 20;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Manifest {
    builds: Vec<serde_json::Value>,
    #[serde(default)]
    last_run_uuid: String,
}

#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    builder_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_time: Option<i64>,
    files: Option<Vec<FileEntry>>,
    artifact_id: String,
    packer_run_uuid: String,
    custom_data: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Debug, Serialize)]
struct FileEntry {
    name: String,
    size: u64,
}

pub(crate) async fn run(
    context: &PostProcessContext,
    options: OptionValues<'_>,
    input: &Artifact,
) -> Result<Processed, StepError> {
    let output = options.text("output").unwrap_or_default();
    let entry = entry(context, options, input);
    let (path, force) = (output.clone(), context.build.settings.force);
    let run_uuid = context.build.settings.run_uuid.clone();
    let appending = blocking("writing the manifest", move |_| append(Path::new(&path), &entry, &run_uuid, force));
    appending.await.map_err(|error| {
        StepError::new(format!("cannot write the manifest {output}"))
            .with_source(error)
            .with_hint("if it is not a manifest, move it away or choose another `output`")
    })?;
    Ok(Processed { artifact: input.clone(), keep_input: true, force_keep: true })
}

fn entry(context: &PostProcessContext, options: OptionValues<'_>, input: &Artifact) -> Entry {
    let strip_path = options.flag("strip_path");
    let mut files = Vec::new();
    for path in &input.files {
        match std::fs::metadata(path) {
            Ok(metadata) => files.push(FileEntry {
                name: if strip_path { base_name(path) } else { path.display().to_string() },
                size: metadata.len(),
            }),
            Err(error) => context.build.error(format!("Cannot put {} into the manifest: {error}", path.display())),
        }
    }
    let custom_data = options.map("custom_data");
    Entry {
        name: context.source_name.clone(),
        builder_type: context.source_type.clone(),
        build_time: (!options.flag("strip_time")).then(|| jiff::Timestamp::now().as_second()),
        files: (!files.is_empty()).then_some(files),
        artifact_id: input.id.clone(),
        packer_run_uuid: context.build.settings.run_uuid.clone(),
        custom_data: (!custom_data.is_empty())
            .then(|| custom_data.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect()),
    }
}

fn append(path: &Path, entry: &Entry, run_uuid: &str, force: bool) -> std::io::Result<()> {
    let mut lock_name = path.as_os_str().to_owned();
    lock_name.push(".lock");
    let lock_path = Path::new(&lock_name);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let lock = lock(lock_path)?;
    let result = append_locked(path, entry, run_uuid, force);
    // Removed under the lock: whoever waits for the old file sees that its name is gone, and tries again. A file with something in it is
    // somebody's who has the same name for it.
    if lock.metadata().is_ok_and(|metadata| metadata.len() == 0) {
        std::fs::remove_file(lock_path).ok();
    }
    result
}

/// Locks the file at `path`, made if need be. Builds of one job, and other jobs, may write the same manifest.
fn lock(path: &Path) -> std::io::Result<File> {
    loop {
        // No link is followed, and nothing is cut: who knows whose it is.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
        let lock = options.open(path)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
        let mine = lock.metadata()?;
        // The one before may have removed it while we waited; then another one may hold the lock of a new file.
        match std::fs::metadata(path) {
            Ok(named) if (named.dev(), named.ino()) == (mine.dev(), mine.ino()) => return Ok(lock),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
}

fn append_locked(path: &Path, entry: &Entry, run_uuid: &str, force: bool) -> std::io::Result<()> {
    let mut manifest = match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > MAX_BYTES => {
            return Err(std::io::Error::other(format!("it has {} bytes, too many for a manifest", metadata.len())));
        }
        // To read anything else could take for ever.
        Ok(metadata) if !metadata.is_file() => return Err(std::io::Error::other("it is no file")),
        Ok(_) => serde_json::from_slice(&std::fs::read(path)?)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Manifest::default(),
        Err(error) => return Err(error),
    };
    if force && manifest.last_run_uuid != run_uuid {
        manifest.builds.clear();
    }
    manifest.builds.push(serde_json::to_value(entry)?);
    run_uuid.clone_into(&mut manifest.last_run_uuid);
    atomic_file::write(path, serde_json::to_string_pretty(&manifest)?.as_bytes(), 0o666)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str, run: &str) -> Entry {
        Entry {
            name: name.to_owned(),
            builder_type: "file".to_owned(),
            build_time: None,
            files: Some(vec![FileEntry { name: "out.txt".to_owned(), size: 3 }]),
            artifact_id: "File".to_owned(),
            packer_run_uuid: run.to_owned(),
            custom_data: None,
        }
    }

    #[test]
    fn has_packers_shape_and_appends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("manifest.json");
        append(&path, &sample("a", "run-1"), "run-1", false).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\n  \"builds\": [\n    {\n      \"name\": \"a\",\n      \"builder_type\": \"file\",\n      \"files\": [\n        {\n          \
             \"name\": \"out.txt\",\n          \"size\": 3\n        }\n      ],\n      \"artifact_id\": \"File\",\n      \
             \"packer_run_uuid\": \"run-1\",\n      \"custom_data\": null\n    }\n  ],\n  \"last_run_uuid\": \"run-1\"\n}"
        );
        append(&path, &sample("b", "run-2"), "run-2", false).unwrap();
        append(&path, &sample("c", "run-2"), "run-2", true).unwrap();
        let names = |path: &Path| -> Vec<String> {
            let manifest: Manifest = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            manifest.builds.iter().map(|build| build["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&path), ["a", "b", "c"], "the same run adds, even with force");
        append(&path, &sample("d", "run-3"), "run-3", true).unwrap();
        assert_eq!(names(&path), ["d"], "another run with force starts over");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no lock is left");
    }

    #[test]
    fn never_overwrites_what_is_no_manifest() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.txt");
        std::fs::write(&path, "my notes").unwrap();
        assert!(append(&path, &sample("a", "r"), "r", true).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "my notes");
        // It has no end.
        let zeroes = Path::new("/dev/zero");
        let error = append_locked(zeroes, &sample("a", "r"), "r", true).unwrap_err();
        assert_eq!(error.to_string(), "it is no file");
    }

    #[test]
    fn many_writers_lose_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("manifest.json");
        std::thread::scope(|scope| {
            for index in 0..8 {
                let path = &path;
                scope.spawn(move || append(path, &sample(&index.to_string(), "r"), "r", false).unwrap());
            }
        });
        let manifest: Manifest = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(manifest.builds.len(), 8);
    }
}
