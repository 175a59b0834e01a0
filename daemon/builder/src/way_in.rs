//! How a person gets into a guest while a build waits for an answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_communicators::Secret;
use kiln_communicators::ssh::{PrivateKeySource, SshConfig};

use crate::atomic_file;
use crate::ledger::{Ledger, Resource};

/// Where a guest's SSH server is, and what opens it.
#[derive(Clone)]
pub(crate) struct WayIn {
    host: String,
    port: u16,
    user: String,
    key: Option<PrivateKeySource>,
    has_password: bool,
}

/// A temporary key in a file; the file goes when this is dropped.
pub(crate) struct KeyFile {
    resource: Resource,
    path: PathBuf,
    ledger: Arc<Ledger>,
}

impl WayIn {
    /// The way that a build itself takes.
    pub(crate) fn of(config: &SshConfig) -> Self {
        Self {
            host: config.host.clone(),
            port: config.port,
            user: config.username.clone(),
            key: config.private_keys.first().cloned(),
            has_password: config.password.is_some(),
        }
    }

    /// Puts a key that only this process has into a file (mode 0600) for as long as the returned value lives.
    pub(crate) fn lend_key(
        &self,
        build: &str,
        job_dir: &Path,
        ledger: &Arc<Ledger>,
    ) -> std::io::Result<Option<KeyFile>> {
        let Some(PrivateKeySource::Pem(key)) = &self.key else { return Ok(None) };
        let plain = |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '_' };
        let path = job_dir.join(format!("{}.key", build.chars().map(plain).collect::<String>()));
        let resource = Resource::File { path: path.clone() };
        ledger.acquired(&resource);
        let file = KeyFile { resource, path, ledger: Arc::clone(ledger) };
        atomic_file::write(&file.path, Secret::expose(key).as_bytes(), 0o600)?;
        Ok(Some(file))
    }

    /// The command that leads into the guest.
    pub(crate) fn command(&self, key: Option<&KeyFile>) -> String {
        let key = match (&self.key, key) {
            (Some(PrivateKeySource::File(path)), _) => Some(path.as_path()),
            (_, Some(file)) => Some(file.path.as_path()),
            _ => None,
        };
        let key = key.map_or_else(String::new, |path| format!(" -i {}", shell_word(&path.to_string_lossy())));
        // The guest of tomorrow has another key at the same address.
        let strangers = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null";
        let target = shell_word(&format!("{}@{}", self.user, self.host));
        let password = if self.has_password { " (ssh_password opens it, too)" } else { "" };
        let password = if key.is_empty() && self.has_password { " (with ssh_password)" } else { password };
        format!("ssh -p {}{key} {strangers} {target}{password}", self.port)
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

fn shell_word(text: &str) -> String {
    if !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "@%+=:,./_-".contains(letter)) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_command_can_be_pasted_and_the_key_goes_again() {
        let scratch = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::open(scratch.path()).unwrap());
        let mut config = SshConfig::new("127.0.0.1", "root");
        config.port = 2222;
        config.password = Some(Secret::from("hunter2"));
        let options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null";
        let way = WayIn::of(&config);
        assert!(way.lend_key("qemu.web", scratch.path(), &ledger).unwrap().is_none());
        assert_eq!(way.command(None), format!("ssh -p 2222 {options} root@127.0.0.1 (with ssh_password)"));

        config.password = None;
        config.username = "it's me".to_owned();
        config.private_keys = vec![PrivateKeySource::Pem(Secret::from("PEM"))];
        let way = WayIn::of(&config);
        let lent = way.lend_key("../qemu web", scratch.path(), &ledger).unwrap().unwrap();
        let path = scratch.path().join(".._qemu_web.key");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "PEM");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let command = way.command(Some(&lent));
        assert_eq!(command, format!("ssh -p 2222 -i {} {options} 'it'\\''s me@127.0.0.1'", path.display()));
        drop(lent);
        assert!(!path.exists());
    }
}
