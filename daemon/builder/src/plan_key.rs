//! The key of plan digests: a file in the state directory that is made once and read by every worker.
//!
//! A digest covers the plan's passwords. Without the key, which only the user can read, nobody can try passwords against it.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

use crate::regular_file;

/// The key's file name in the state directory.
const FILE_NAME: &str = "plan.key";

/// Length of the key in bytes.
const LENGTH: usize = 32;

/// The key.
#[derive(Clone)]
pub(crate) struct PlanKey(hmac::Key);

/// Says why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanKeyError {
    /// The file cannot be read or made.
    #[error("cannot read or make the key of plan digests, {}", .path.display())]
    Io {
        /// The key's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is there is no key.
    #[error(
        "{} is not the key of plan digests that Kiln made: it has {length} bytes, not {LENGTH}; remove it, and a new one is \
         made (builds that were interrupted before then start anew)", .path.display()
    )]
    Damaged {
        /// The key's file.
        path: PathBuf,
        /// How many bytes it has; one more than a key's stands for all above.
        length: usize,
    },
}

impl PlanKey {
    /// Reads the key in `state_dir`, which is made when there is none, as is the directory. Several processes may do so at
    /// once: all get the same key.
    ///
    /// # Errors
    ///
    /// The file cannot be read or made, or is not a key.
    pub(crate) fn load(state_dir: &Path) -> Result<Self, PlanKeyError> {
        let path = state_dir.join(FILE_NAME);
        let failed = |source| PlanKeyError::Io { path: path.clone(), source };
        loop {
            match read(&path) {
                Ok(bytes) if bytes.len() == LENGTH => return Ok(Self::new(&bytes)),
                Ok(bytes) => return Err(PlanKeyError::Damaged { path, length: bytes.len() }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => make(&path).map_err(failed)?,
                Err(error) => return Err(failed(error)),
            }
        }
    }

    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Begins a digest.
    pub(crate) fn context(&self) -> hmac::Context {
        hmac::Context::with_key(&self.0)
    }
}

impl fmt::Debug for PlanKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlanKey(***)")
    }
}

/// Reads the key, or one byte more of what is longer; takes back rights that others have on it.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = regular_file::open_to_read(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the key of plan digests was open to others");
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    let mut bytes = Vec::with_capacity(LENGTH + 1);
    file.take(LENGTH as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes a key that appears under its name whole, unless another process was faster.
fn make(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut bytes = [0; LENGTH];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let permissions = fs::Permissions::from_mode(0o600);
    let mut file = tempfile::Builder::new().prefix(".kiln-").permissions(permissions).tempfile_in(directory)?;
    file.write_all(&bytes)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => File::open(directory)?.sync_all(),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &PlanKey) -> Vec<u8> {
        let mut context = key.context();
        context.update(b"plan");
        context.sign().as_ref().to_vec()
    }

    #[test]
    fn is_made_once_whole_and_for_the_user_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let state = scratch.path().join("state/kiln");
        let tags: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..8).map(|_| scope.spawn(|| tag(&PlanKey::load(&state).unwrap()))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        assert!(tags.iter().all(|other| *other == tags[0]), "all have the same key");
        let path = state.join(FILE_NAME);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(path.metadata().unwrap().len(), LENGTH as u64);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "nothing lies beside it");

        let other = scratch.path().join("other");
        assert_ne!(tag(&PlanKey::load(&other).unwrap()), tags[0], "another user has another");
        assert_eq!(format!("{:?}", PlanKey::load(&other).unwrap()), "PlanKey(***)");
    }

    #[test]
    fn rights_of_others_are_taken_back() {
        let scratch = tempfile::tempdir().unwrap();
        let key = tag(&PlanKey::load(scratch.path()).unwrap());
        let path = scratch.path().join(FILE_NAME);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(tag(&PlanKey::load(scratch.path()).unwrap()), key);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_next_step_and_stays() {
        for (content, length) in [(vec![], 0), (vec![1; LENGTH - 1], LENGTH - 1), (vec![1; 1 << 20], LENGTH + 1)] {
            let scratch = tempfile::tempdir().unwrap();
            let path = scratch.path().join(FILE_NAME);
            fs::write(&path, &content).unwrap();
            let error = PlanKey::load(scratch.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("{} is not the key", path.display())), "{error}");
            assert!(error.contains(&format!("it has {length} bytes")) && error.contains("remove it"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), content);
        }
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join(FILE_NAME)).unwrap();
        let error = PlanKey::load(scratch.path()).unwrap_err().to_string();
        assert!(error.starts_with("cannot read or make the key of plan digests, /"), "{error}");
    }
}
