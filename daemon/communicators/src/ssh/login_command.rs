//! The command by which a person gets into the guest.

use std::path::Path;

use crate::secret::Secret;
use crate::ssh::config::{PrivateKeySource, SshConfig};

impl SshConfig {
    /// The key that is offered first, when it is in no file.
    pub(crate) fn key_without_file(&self) -> Option<&Secret> {
        match self.private_keys.first() {
            Some(PrivateKeySource::Pem(key)) => Some(key),
            _ => None,
        }
    }

    /// The command that leads into the guest; `key_file` holds [`Self::key_without_file`].
    pub(crate) fn login_command(&self, key_file: Option<&Path>) -> String {
        let key = match self.private_keys.first() {
            Some(PrivateKeySource::File(path)) => Some(path.as_path()),
            Some(PrivateKeySource::Pem(_)) => key_file,
            None => None,
        };
        let key = key.map_or_else(String::new, |path| format!(" -i {}", shell_word(&path.to_string_lossy())));
        // The guest of tomorrow has another key at the same address.
        let strangers = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null";
        let target = shell_word(&format!("{}@{}", self.username, self.host));
        let password = match (&self.password, key.is_empty()) {
            (Some(_), true) => " (with ssh_password)",
            (Some(_), false) => " (ssh_password opens it, too)",
            (None, _) => "",
        };
        format!("ssh -p {}{key} {strangers} {target}{password}", self.port)
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
    use super::*;

    #[test]
    fn the_command_can_be_pasted_and_tells_no_secret() {
        let options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null";
        let mut config = SshConfig::new("127.0.0.1", "root");
        config.port = 2222;
        config.password = Some(Secret::from("hunter2"));
        assert!(config.key_without_file().is_none());
        assert_eq!(config.login_command(None), format!("ssh -p 2222 {options} root@127.0.0.1 (with ssh_password)"));

        config.private_keys = vec![PrivateKeySource::File("/k y".into()), PrivateKeySource::Pem(Secret::from("PEM"))];
        assert!(config.key_without_file().is_none());
        let command = config.login_command(Some(Path::new("/unused")));
        assert_eq!(command, format!("ssh -p 2222 -i '/k y' {options} root@127.0.0.1 (ssh_password opens it, too)"));

        config.password = None;
        config.username = "it's me".to_owned();
        config.private_keys.remove(0);
        assert_eq!(config.key_without_file().unwrap().expose(), "PEM");
        let command = config.login_command(Some(Path::new("/job/a.key")));
        assert_eq!(command, format!("ssh -p 2222 -i /job/a.key {options} 'it'\\''s me@127.0.0.1'"));
    }
}
