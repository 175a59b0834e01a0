//! How a person gets into a guest while a build waits for an answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_communicators::ConnectConfig;

use crate::atomic_file;
use crate::ledger::{Ledger, Resource};

/// The way that a build itself takes.
#[derive(Clone)]
pub(crate) struct WayIn(ConnectConfig);

/// A temporary key in a file; the file goes when this is dropped.
pub(crate) struct KeyFile {
    resource: Resource,
    path: PathBuf,
    ledger: Arc<Ledger>,
}

impl WayIn {
    /// The way that leads where `config` does.
    pub(crate) fn of(config: &ConnectConfig) -> Self {
        Self(config.clone())
    }

    /// Puts a key that only this process has into a file (mode 0600) for as long as the returned value lives.
    pub(crate) fn lend_key(
        &self,
        build: &str,
        job_dir: &Path,
        ledger: &Arc<Ledger>,
    ) -> std::io::Result<Option<KeyFile>> {
        let Some(key) = self.0.key_without_file() else { return Ok(None) };
        let plain = |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '_' };
        let path = job_dir.join(format!("{}.key", build.chars().map(plain).collect::<String>()));
        let resource = Resource::File { path: path.clone() };
        ledger.acquired(&resource);
        let file = KeyFile { resource, path, ledger: Arc::clone(ledger) };
        atomic_file::write(&file.path, key.expose().as_bytes(), 0o600)?;
        Ok(Some(file))
    }

    /// The command that leads into the guest, when there is a way at all.
    pub(crate) fn command(&self, key: Option<&KeyFile>) -> Option<String> {
        self.0.login_command(key.map(|file| file.path.as_path()))
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                // It stays in the ledger; a sweep tries again.
                tracing::warn!(path = %self.path.display(), %error, "a key file cannot be removed");
            }
            _ => self.ledger.released(&self.resource),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use kiln_communicators::Secret;
    use kiln_communicators::ssh::{PrivateKeySource, SshConfig};

    use super::*;

    #[test]
    fn the_key_is_lent_to_nobody_else_and_goes_again() {
        let scratch = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::open(scratch.path()).unwrap());
        let mut config = SshConfig::new("127.0.0.1", "root");
        config.password = Some(Secret::from("hunter2"));
        let way = WayIn::of(&ConnectConfig::Ssh(Box::new(config.clone())));
        assert!(way.lend_key("qemu.web", scratch.path(), &ledger).unwrap().is_none());
        assert!(!way.command(None).unwrap().contains("hunter2"));

        config.private_keys = vec![PrivateKeySource::Pem(Secret::from("PEM"))];
        let way = WayIn::of(&ConnectConfig::Ssh(Box::new(config)));
        let lent = way.lend_key("../qemu web", scratch.path(), &ledger).unwrap().unwrap();
        let path = scratch.path().join(".._qemu_web.key");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "PEM");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let command = way.command(Some(&lent)).unwrap();
        assert!(command.contains(&format!("-i {} ", path.display())), "{command}");
        drop(lent);
        assert!(!path.exists());
    }

    #[test]
    fn without_a_communicator_nobody_is_told_a_way() {
        let scratch = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::open(scratch.path()).unwrap());
        let way = WayIn::of(&ConnectConfig::None);
        assert!(way.lend_key("null.x", scratch.path(), &ledger).unwrap().is_none());
        assert_eq!(way.command(None), None);
    }
}
