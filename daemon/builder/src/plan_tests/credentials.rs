//! Keys and certificates that a login would fail with are told of before anything starts.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::certificate::{Builder, CertType};

use super::component::{Body, complaints, running};

/// A directory with keys and certificates.
struct Keys {
    directory: tempfile::TempDir,
    key: PrivateKey,
}

impl Keys {
    fn new() -> Self {
        let (directory, key) = (tempfile::tempdir().unwrap(), new_key());
        let keys = Self { directory, key };
        keys.write("key", &keys.key.to_openssh(LineEnding::LF).unwrap());
        keys.write("public", &keys.key.public_key().to_openssh().unwrap());
        let encrypted = keys.key.encrypt(&mut russh::keys::key::safe_rng(), "secret").unwrap();
        keys.write("encrypted", &encrypted.to_openssh(LineEnding::LF).unwrap());
        keys.certify("good", &keys.key, CertType::User, 3600);
        keys.certify("expired", &keys.key, CertType::User, -3600);
        keys.certify("host", &keys.key, CertType::Host, 3600);
        keys.certify("other", &new_key(), CertType::User, 3600);
        keys
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// A certificate of `key`, valid until so many seconds from now.
    fn certify(&self, name: &str, key: &PrivateKey, kind: CertType, until: i64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let rng = &mut russh::keys::key::safe_rng();
        let before = now.checked_add_signed(until).unwrap();
        let mut builder = Builder::new_with_random_nonce(rng, key.public_key(), 1, before).unwrap();
        builder.cert_type(kind).unwrap().all_principals_valid().unwrap();
        self.write(name, &builder.sign(&new_key()).unwrap().to_openssh().unwrap());
    }
}

fn new_key() -> PrivateKey {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), russh::keys::Algorithm::Ed25519).unwrap()
}

fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_str().unwrap())
}

#[test]
fn keys_and_certificates_that_cannot_log_in_are_told() {
    let keys = Keys::new();
    let ssh = ["ssh_private_key_file", "ssh_certificate_file"];
    let bastion = ["ssh_bastion_private_key_file", "ssh_bastion_certificate_file"];
    for definition in running().filter(|definition| definition.schema.spec("ssh_host").is_some()) {
        for [key_option, certificate_option] in [ssh, bastion] {
            for (key, certificate, told) in [
                ("key", None, None),
                ("public", None, Some("Unusable private key")),
                ("encrypted", None, Some("Unusable private key")),
                ("good", None, Some("Unusable private key")),
                ("nowhere", None, Some("No such file")),
                ("key", Some("good"), None),
                ("key", Some("public"), Some("Unusable certificate")),
                ("key", Some("expired"), Some("Unusable certificate")),
                ("key", Some("host"), Some("Unusable certificate")),
                ("key", Some("other"), Some("Unusable certificate")),
                ("key", Some("nowhere"), Some("No such file")),
            ] {
                let mut options =
                    Body::from([("ssh_username", "\"u\"".to_owned()), ("ssh_bastion_host", "\"b\"".to_owned())]);
                options.insert(ssh[0], quoted(&keys.path("key")));
                options.insert(key_option, quoted(&keys.path(key)));
                if let Some(certificate) = certificate {
                    options.insert(certificate_option, quoted(&keys.path(certificate)));
                }
                let found = complaints(definition, &options, |reader| definition.check(reader));
                let kind = definition.schema.kind;
                for summary in ["Unusable private key", "Unusable certificate", "No such file"] {
                    let is_error = (told == Some(summary)).then_some(true);
                    assert_eq!(
                        found.get(summary).copied(),
                        is_error,
                        "{kind} {key_option}: {key} {certificate:?} {found:?}"
                    );
                }
            }
        }
    }
}
