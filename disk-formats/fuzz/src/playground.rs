//! The directory in which images are opened: the image and three files it may name, and decoys that it must not reach.

use std::path::{Path, PathBuf};

use crate::opened_paths::{Decoys, record};
use crate::sparse_file::SparseFile;

/// Names of the files in [`Playground::images`]; the first is the image that is opened.
pub const NAMES: [&str; 4] = ["disk.img", "a", "b", "c"];

/// A private directory in memory.
pub struct Playground {
    images: PathBuf,
    written: PathBuf,
    decoys: Decoys,
}

impl Playground {
    /// Makes the directory below `$KILN_FUZZ_DIR`, whose owner removes it: a fuzzer never ends in good order.
    pub fn new() -> Self {
        let root = std::env::var_os("KILN_FUZZ_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let root = root.canonicalize().expect("the directory exists").join(std::process::id().to_string());
        let (images, written, outside) = (root.join("images"), root.join("written"), root.join("outside"));
        for directory in [&images, &written, &outside] {
            std::fs::create_dir_all(directory).expect("directories can be made");
        }
        // A decoy that any format would accept as a raw disk, by a plain path and by a link from inside.
        std::fs::write(outside.join("decoy"), vec![0xdd; 1 << 16]).expect("decoys can be written");
        let link = images.join("link");
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink("../outside/decoy", link).expect("links can be made");
        let decoys = Decoys::watch(&outside);
        Self { images, written, decoys }
    }

    /// Where images are opened, and the only directory that a policy ever allows.
    pub fn images(&self) -> &Path {
        &self.images
    }

    /// Where our writers write.
    pub fn written(&self) -> &Path {
        &self.written
    }

    /// The image that is opened.
    pub fn image(&self) -> PathBuf {
        self.images.join(NAMES[0])
    }

    /// Replaces all files by these.
    pub fn lay_out<'a>(&self, files: impl IntoIterator<Item = (&'a str, &'a SparseFile)>) {
        for entry in std::fs::read_dir(&self.images).expect("the directory can be listed").flatten() {
            if entry.file_name() != "link" {
                std::fs::remove_file(entry.path()).expect("files can be removed");
            }
        }
        for (name, file) in files {
            file.write(&self.images.join(name)).expect("files can be written");
        }
    }

    /// Runs `work`, which opens the image, and fails when it opened a file that it must not.
    ///
    /// `others`: files that the image names may be opened if they lie in [`Playground::images`].
    pub fn watched<T>(&self, others: bool, work: impl FnOnce() -> T) -> T {
        let (answer, opened) = record(work);
        let image = self.image();
        for path in opened {
            let inside = path.canonicalize().unwrap_or_else(|_| path.clone()).starts_with(&self.images);
            assert!(path == image || (others && inside), "{} was opened against the policy", path.display());
        }
        assert!(!self.decoys.touched(), "a decoy was opened against the policy");
        answer
    }
}

impl Default for Playground {
    fn default() -> Self {
        Self::new()
    }
}
