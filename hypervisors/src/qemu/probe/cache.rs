//! The probes' results, kept from one process to the next until they may have changed.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::findings::Findings;
use crate::process_stat;

/// The file's name in the cache directory. The number changes with the payload or the layout.
const FILE_NAME: &str = "qemu-probe-2.json";

/// The largest file that is read back, in bytes; an entry has some 15,000.
const MAX_BYTES: u64 = 1 << 20;

/// Results of this boot of the host.
#[derive(Debug)]
pub(super) struct Cache {
    path: PathBuf,
    contents: Option<Contents>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Contents {
    boot_id: String,
    entries: BTreeMap<String, Findings>,
}

/// Names one state of one program: another file, or another reason why KVM cannot be used, is another key.
pub(super) fn key(program: &Path, kvm_problem: Option<io::ErrorKind>) -> String {
    let data = std::fs::metadata(program).ok();
    let modified = data.as_ref().and_then(|data| data.modified().ok()?.duration_since(UNIX_EPOCH).ok());
    let modified = modified.map_or(0, |time| time.as_nanos());
    let length = data.map_or(0, |data| data.len());
    format!("{}|{length}|{modified}|kvm={kvm_problem:?}", program.display())
}

impl Cache {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { path: directory.join(FILE_NAME), contents: None }
    }

    pub(super) fn get(&mut self, key: &str) -> Option<Findings> {
        self.contents().entries.get(key).cloned()
    }

    /// Keeps `findings`, here and in the file. A file that cannot be written only costs the next process its own probe.
    pub(super) fn put(&mut self, key: String, findings: Findings) {
        self.contents().entries.insert(key, findings);
        if let Err(error) = self.save() {
            tracing::warn!(%error, path = %self.path.display(), "results of the QEMU probe cannot be kept");
        }
    }

    fn contents(&mut self) -> &mut Contents {
        let path = &self.path;
        self.contents.get_or_insert_with(|| {
            let boot_id = process_stat::boot_id().unwrap_or_default();
            match load(path) {
                Ok(contents) if contents.boot_id == boot_id && !boot_id.is_empty() => contents,
                Ok(_) => Contents { boot_id, entries: BTreeMap::new() },
                Err(error) => {
                    if error.kind() != io::ErrorKind::NotFound {
                        tracing::warn!(%error, path = %path.display(), "results of the QEMU probe cannot be read");
                    }
                    Contents { boot_id, entries: BTreeMap::new() }
                }
            }
        })
    }

    fn save(&self) -> io::Result<()> {
        let Some(directory) = self.path.parent() else { return Ok(()) };
        std::fs::create_dir_all(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(&serde_json::to_vec_pretty(&self.contents)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }
}

fn load(path: &Path) -> io::Result<Contents> {
    use io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::probe::names::Names;

    fn findings() -> Findings {
        Findings {
            version: "7.2.0".to_owned(),
            architecture: "x86_64".to_owned(),
            sandbox: true,
            accelerators: Vec::new(),
            names: Names { machines: vec!["q35".to_owned()], ..Names::default() },
        }
    }

    #[test]
    fn is_read_back_in_the_same_boot_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep");
        Cache::new(path.clone()).put("a".to_owned(), findings());
        assert_eq!(Cache::new(path.clone()).get("a"), Some(findings()));
        assert_eq!(Cache::new(path.clone()).get("b"), None);
        let file = path.join(FILE_NAME);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace(&process_stat::boot_id().unwrap(), "another-boot")).unwrap();
        assert_eq!(Cache::new(path.clone()).get("a"), None);
        std::fs::write(&file, "{ damaged").unwrap();
        assert_eq!(Cache::new(path).get("a"), None);
    }

    #[test]
    fn another_program_or_permission_is_another_key() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("qemu");
        std::fs::write(&program, "one").unwrap();
        let first = key(&program, None);
        assert_ne!(first, key(&program, Some(io::ErrorKind::PermissionDenied)));
        std::fs::write(&program, "another").unwrap();
        assert_ne!(first, key(&program, None));
    }
}
