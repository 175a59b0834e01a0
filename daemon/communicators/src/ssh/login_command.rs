//! The command by which a person gets into the guest.

use std::path::Path;

use crate::secret::Secret;
use crate::ssh::algorithms::offered_ciphers;
use crate::ssh::config::{Bastion, PrivateKeySource, Proxy, ProxyKind, SshConfig, address};

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
        let way = self.way_words();
        let target = shell_word(&format!("{}@{}", self.username, self.host));
        let password = match (&self.password, key.is_empty()) {
            (Some(_), true) => " (with ssh_password)",
            (Some(_), false) => " (ssh_password opens it, too)",
            (None, _) => "",
        };
        let bastion = match self.bastion.as_ref().map(|bastion| (&bastion.password, bastion.private_keys.is_empty())) {
            Some((Some(_), true)) => " (the bastion with ssh_bastion_password)",
            Some((Some(_), false)) => " (ssh_bastion_password opens the bastion, too)",
            _ => "",
        };
        format!("ssh -p {}{key} {STRANGERS}{way} {target}{password}{bastion}", self.port)
    }

    /// What else the command needs: a certificate, algorithms that are offered only when they are named, and what leads through a bastion or a
    /// proxy.
    fn way_words(&self) -> String {
        let mut options = Vec::new();
        if let Some(path) = &self.certificate {
            options.push(format!("CertificateFile={}", path.display()));
        }
        // OpenSSH refuses a list with one that it does not know, as the obsolete ones of Packer's are.
        let ciphers = offered_ciphers(&self.ciphers);
        for (name, algorithms) in [("Ciphers", &ciphers), ("KexAlgorithms", &self.key_exchange_algorithms)] {
            if !algorithms.is_empty() {
                options.push(format!("{name}={}", algorithms.join(",")));
            }
        }
        let through = self.bastion.as_ref().map(through_bastion).or_else(|| self.proxy.as_ref().map(through_proxy));
        options.extend(through.map(|command| format!("ProxyCommand={command}")));
        options.iter().map(|option| format!(" -o {}", shell_word(option))).collect()
    }
}

/// The guest of tomorrow has another key at the same address.
const STRANGERS: &str = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null";

fn through_bastion(bastion: &Bastion) -> String {
    let key = match bastion.private_keys.first() {
        Some(PrivateKeySource::File(path)) => format!(" -i {}", command_word(&path.to_string_lossy())),
        _ => String::new(),
    };
    let certificate = bastion.certificate.as_ref().map_or_else(String::new, |path| {
        format!(" -o {}", command_word(&format!("CertificateFile={}", path.display())))
    });
    let target = command_word(&format!("{}@{}", bastion.username, bastion.host));
    format!("ssh -p {}{key} {STRANGERS}{certificate} -W %h:%p {target}", bastion.port)
}

fn through_proxy(proxy: &Proxy) -> String {
    let (protocol, user) = match (proxy.kind, &proxy.credentials) {
        (ProxyKind::Socks5, _) => ("5", String::new()),
        (ProxyKind::Http, None) => ("connect", String::new()),
        (ProxyKind::Http, Some((user, _))) => ("connect", format!(" -P {}", command_word(user))),
    };
    format!("nc -X {protocol}{user} -x {} %h %p", command_word(&address(&proxy.host, proxy.port)))
}

/// A word of a `ProxyCommand`, in which ssh replaces what stands behind a percent sign.
fn command_word(text: &str) -> String {
    shell_word(&text.replace('%', "%%"))
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

    #[test]
    fn the_command_goes_the_way_that_the_build_goes() {
        let mut config = SshConfig::new("guest", "root");
        config.private_keys = vec![PrivateKeySource::File("/k".into())];
        config.certificate = Some("/k-cert.pub".into());
        config.ciphers = vec!["arcfour256".to_owned(), "aes128-cbc".to_owned()];
        config.key_exchange_algorithms = vec!["diffie-hellman-group1-sha1".to_owned(), "curve25519-sha256".to_owned()];
        assert_eq!(
            config.login_command(None),
            format!(
                "ssh -p 22 -i /k {STRANGERS} -o CertificateFile=/k-cert.pub -o Ciphers=aes128-cbc \
                 -o KexAlgorithms=diffie-hellman-group1-sha1,curve25519-sha256 root@guest"
            )
        );
        let mut config = SshConfig::new("guest", "root");
        config.bastion = Some(Bastion {
            host: "hop".to_owned(),
            port: 23,
            username: "me".to_owned(),
            password: Some(Secret::from("hunter2")),
            keyboard_interactive_first: false,
            private_keys: vec![PrivateKeySource::File("/a 100%".into())],
            certificate: Some("/a-cert.pub".into()),
            agent_auth: false,
        });
        assert_eq!(
            config.login_command(None),
            format!(
                "ssh -p 22 {STRANGERS} -o 'ProxyCommand=ssh -p 23 -i '\\''/a 100%%'\\'' {STRANGERS} \
                 -o CertificateFile=/a-cert.pub -W %h:%p me@hop' root@guest (ssh_bastion_password opens the bastion, too)"
            )
        );
        config.bastion.as_mut().unwrap().private_keys.clear();
        assert!(config.login_command(None).ends_with(" root@guest (the bastion with ssh_bastion_password)"));
        config.bastion = None;
        for (kind, words) in
            [(ProxyKind::Socks5, "nc -X 5 -x p:1080"), (ProxyKind::Http, "nc -X connect -P u -x p:1080")]
        {
            let credentials = Some(("u".to_owned(), Secret::from("hunter2")));
            config.proxy = Some(Proxy { kind, host: "p".to_owned(), port: 1080, credentials });
            let command = config.login_command(None);
            assert_eq!(command, format!("ssh -p 22 {STRANGERS} -o 'ProxyCommand={words} %h %p' root@guest"));
        }
    }
}
