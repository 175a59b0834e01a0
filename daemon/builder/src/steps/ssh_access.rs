//! What gets a build into its guest by SSH: the temporary key, the settings, and what provisioners are told of them.

use std::path::{Path, PathBuf};

use kiln_communicators::ssh::{
    Bastion, EcdsaBits, KeyKind, KeyPair, PrivateKeySource, Proxy, ProxyKind, SshConfig, TransferMethod, Tunnel,
    generate_key_pair,
};
use kiln_communicators::{ConnectConfig, Secret};

use crate::atomic_file;
use crate::blocking::blocking;
use crate::build_data::{SshConnection, SshLogin};
use crate::context::BuildContext;
use crate::error::StepError;
use crate::plan::{SshPlan, TemporaryKeyPlan};
use crate::records::Output;

/// The largest RSA key that is made; OpenSSH's own limit.
const MAX_RSA_BITS: u32 = 16384;

/// A plan with the key that was made for it.
#[derive(Debug)]
pub(crate) struct SshAccess {
    pub(crate) plan: SshPlan,
    key: Option<KeyPair>,
    /// Where the key is kept.
    key_file: Option<PathBuf>,
}

impl SshAccess {
    /// Makes the temporary key pair that the plan asks for, and keeps it in `directory`. A build that goes on has its key from
    /// there: the guest knows no other.
    pub(crate) async fn prepare(plan: &SshPlan, directory: &Path, context: &BuildContext) -> Result<Self, StepError> {
        let plan = plan.clone();
        let Some(wanted) = &plan.temporary_key else { return Ok(Self { plan, key: None, key_file: None }) };
        if let Some(Output::Key { path }) = context.chain.left_by("key") {
            let key = read_key(path, context)?;
            return Ok(Self { plan, key: Some(key), key_file: Some(path.clone()) });
        }
        let key = make_key(wanted, context).await?;
        let key_file = directory.join("key");
        keep_key(&key, &key_file)?;
        Ok(Self { plan, key: Some(key), key_file: Some(key_file) })
    }

    /// The file that holds the private half of the temporary key.
    pub(crate) fn key_file(&self) -> Option<&Path> {
        self.key_file.as_deref()
    }

    /// The plan as it is.
    pub(crate) fn without_key(plan: &SshPlan) -> Self {
        Self { plan: plan.clone(), key: None, key_file: None }
    }

    /// The public half of the temporary key, as a line of `authorized_keys`.
    pub(crate) fn public_key(&self) -> Option<&str> {
        self.key.as_ref().map(|key| key.public_authorized_keys.trim())
    }

    /// The comment of the temporary key, where that is to be taken out of the guest.
    pub(crate) fn key_to_clear(&self) -> Option<&str> {
        self.plan.temporary_key.as_ref().filter(|key| key.cleared)?;
        // Behind its kind and its bytes.
        self.public_key()?.splitn(3, ' ').nth(2)
    }

    /// The settings for a guest at `host`:`port`, unless the template says where it is.
    pub(crate) fn config(&self, host: &str, port: u16) -> Result<ConnectConfig, StepError> {
        let plan = &self.plan;
        let keys_of = |file: &Option<PathBuf>| -> Vec<_> { file.iter().cloned().map(PrivateKeySource::File).collect() };
        let mut config = SshConfig::new(plan.host.as_deref().unwrap_or(host), &plan.username);
        config.port = if plan.host.is_some() { plan.port } else { port };
        config.password.clone_from(&plan.password);
        config.private_keys = keys_of(&plan.private_key_file);
        config.private_keys.extend(self.key.iter().map(|pair| PrivateKeySource::Pem(pair.private_openssh.clone())));
        config.certificate.clone_from(&plan.certificate_file);
        config.agent_socket = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
        config.agent_auth = plan.agent;
        config.agent_forwarding = plan.agent_forwarding;
        config.pty = plan.pty;
        config.keep_alive_interval = plan.keep_alive;
        config.read_write_timeout = plan.read_write_timeout;
        config.handshake_attempts = plan.handshake_attempts;
        config.timeout = plan.timeout;
        config.transfer = if plan.sftp { TransferMethod::Sftp } else { TransferMethod::Scp };
        config.ciphers.clone_from(&plan.ciphers);
        config.key_exchange_algorithms.clone_from(&plan.key_exchanges);
        config.bastion = plan.bastion.as_ref().map(|bastion| Bastion {
            host: bastion.host.clone(),
            port: bastion.port,
            username: bastion.username.clone(),
            password: bastion.password.clone(),
            keyboard_interactive_first: bastion.interactive,
            private_keys: keys_of(&bastion.private_key_file),
            certificate: bastion.certificate_file.clone(),
            agent_auth: bastion.agent,
        });
        config.proxy = plan.proxy.as_ref().map(|proxy| Proxy {
            kind: if proxy.http { ProxyKind::Http } else { ProxyKind::Socks5 },
            host: proxy.host.clone(),
            port: proxy.port,
            credentials: proxy
                .username
                .clone()
                .map(|user| (user, proxy.password.clone().unwrap_or_else(|| Secret::from("")))),
        });
        config.local_tunnels = tunnels(&plan.local_tunnels)?;
        config.remote_tunnels = tunnels(&plan.remote_tunnels)?;
        Ok(ConnectConfig::Ssh(Box::new(config)))
    }

    /// What provisioners are told of a connection to `host`:`port`.
    pub(crate) fn connection(&self, host: &str, port: u16) -> SshConnection {
        let plan = &self.plan;
        let login = SshLogin {
            password: plan.password.clone(),
            agent: plan.agent,
            private_key_file: plan.private_key_file.as_ref().map(|path| path.display().to_string()),
            public_key: self.key.as_ref().map(|key| key.public_authorized_keys.clone()),
            private_key: self.key.as_ref().map(|key| key.private_openssh.clone()),
        };
        SshConnection { host: host.to_owned(), port, user: plan.username.clone(), login }
    }
}

fn key_kind(kind: &str, bits: Option<u32>) -> KeyKind {
    match (kind, bits) {
        ("ed25519", _) => KeyKind::Ed25519,
        ("ecdsa", Some(256)) => KeyKind::Ecdsa(EcdsaBits::P256),
        ("ecdsa", Some(384)) => KeyKind::Ecdsa(EcdsaBits::P384),
        ("ecdsa", _) => KeyKind::Ecdsa(EcdsaBits::P521),
        (_, bits) => KeyKind::Rsa(bits.unwrap_or(4096).clamp(1024, MAX_RSA_BITS)),
    }
}

async fn make_key(wanted: &TemporaryKeyPlan, context: &BuildContext) -> Result<KeyPair, StepError> {
    let kind = key_kind(&wanted.kind, wanted.bits);
    let comment = wanted.name.clone().unwrap_or_else(|| format!("kiln_{}", context.settings.run_uuid));
    let making =
        blocking("making the temporary key", move |_| generate_key_pair(kind, &comment).map_err(StepError::wrap));
    let pair = making.await?;
    context.redactor.add(pair.private_openssh.expose());
    Ok(pair)
}

/// Writes both halves of a key, each whole.
fn keep_key(key: &KeyPair, path: &Path) -> Result<(), StepError> {
    let halves = [(path.to_owned(), key.private_openssh.expose()), (public_half(path), &key.public_authorized_keys)];
    for (path, text) in halves {
        atomic_file::write(&path, text.as_bytes(), 0o600).map_err(|error| {
            StepError::new(format!("cannot keep the temporary key in {}", path.display())).with_source(error)
        })?;
    }
    Ok(())
}

fn read_key(path: &Path, context: &BuildContext) -> Result<KeyPair, StepError> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| {
            StepError::new(format!("cannot read the temporary key in {}", path.display()))
                .with_source(error)
                .with_hint("without it nobody gets into the guest: build again from the start")
        })
    };
    let private_openssh = Secret::from(read(path)?);
    context.redactor.add(private_openssh.expose());
    Ok(KeyPair { private_openssh, public_authorized_keys: read(&public_half(path))? })
}

fn public_half(path: &Path) -> PathBuf {
    path.with_extension("pub")
}

fn tunnels(list: &[String]) -> Result<Vec<Tunnel>, StepError> {
    list.iter().map(|tunnel| tunnel.parse().map_err(StepError::wrap)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{BastionPlan, ProxyPlan};

    fn plan() -> SshPlan {
        SshPlan {
            host: None,
            port: 22,
            username: "root".to_owned(),
            password: Some(Secret::from("hunter2")),
            private_key_file: Some("/id".into()),
            certificate_file: None,
            temporary_key: None,
            agent: true,
            agent_forwarding: false,
            pty: true,
            timeout: Some(std::time::Duration::from_secs(9)),
            handshake_attempts: Some(3),
            sftp: true,
            keep_alive: None,
            read_write_timeout: Some(std::time::Duration::from_secs(8)),
            ciphers: vec!["aes256-ctr".to_owned()],
            key_exchanges: vec!["curve25519-sha256".to_owned()],
            pause_before_connecting: std::time::Duration::ZERO,
            bastion: None,
            proxy: Some(ProxyPlan {
                http: true,
                host: "p".to_owned(),
                port: 1080,
                username: Some("u".to_owned()),
                password: None,
            }),
            local_tunnels: vec!["8080:h:80".to_owned()],
            remote_tunnels: Vec::new(),
        }
    }

    fn ssh(config: ConnectConfig) -> SshConfig {
        let ConnectConfig::Ssh(config) = config else { panic!("{config:?}") };
        *config
    }

    #[test]
    fn the_plan_becomes_the_settings() {
        let pair = generate_key_pair(KeyKind::Ed25519, "c").unwrap();
        let access = SshAccess { plan: plan(), key: Some(pair.clone()), key_file: None };
        let config = ssh(access.config("127.0.0.1", 4022).unwrap());
        assert_eq!((config.host.as_str(), config.port, config.username.as_str()), ("127.0.0.1", 4022, "root"));
        assert_eq!(config.password, Some(Secret::from("hunter2")));
        assert!(config.agent_auth && config.pty && config.transfer == TransferMethod::Sftp);
        assert_eq!((config.handshake_attempts, config.keep_alive_interval), (Some(3), None));
        assert_eq!(config.read_write_timeout, Some(std::time::Duration::from_secs(8)));
        assert_eq!(
            (&config.ciphers[..], &config.key_exchange_algorithms[..]),
            (&["aes256-ctr".to_owned()][..], &["curve25519-sha256".to_owned()][..])
        );
        let [PrivateKeySource::File(file), PrivateKeySource::Pem(key)] = &config.private_keys[..] else { panic!() };
        assert_eq!((file.to_str(), key), (Some("/id"), &pair.private_openssh), "the user's key comes first");
        assert_eq!(config.local_tunnels[0].target_port, 80);
        let proxy = config.proxy.unwrap();
        assert_eq!((proxy.kind, proxy.host.as_str(), proxy.port), (ProxyKind::Http, "p", 1080));
        assert_eq!(proxy.credentials, Some(("u".to_owned(), Secret::from(""))));
        assert_eq!(access.public_key(), Some(pair.public_authorized_keys.as_str()));
        assert_eq!(access.key_to_clear(), None, "nobody has asked for that");
    }

    #[test]
    fn a_key_is_cleared_by_the_name_that_it_has() {
        let pair = generate_key_pair(KeyKind::Ed25519, "my own\n key").unwrap();
        let mut access = SshAccess { plan: plan(), key: Some(pair), key_file: None };
        for (cleared, name) in [(true, Some("my own key")), (false, None)] {
            let (kind, name_of) = ("ed25519".to_owned(), None);
            access.plan.temporary_key = Some(TemporaryKeyPlan { kind, bits: None, name: name_of, cleared });
            assert_eq!(access.key_to_clear(), name);
        }
    }

    #[test]
    fn the_template_decides_where_the_guest_is() {
        let mut plan = plan();
        (plan.host, plan.port) = (Some("elsewhere".to_owned()), 2222);
        plan.bastion = Some(BastionPlan {
            host: "b".to_owned(),
            port: 23,
            username: "hop".to_owned(),
            password: Some(Secret::from("hopper")),
            private_key_file: Some("/hop".into()),
            certificate_file: Some("/hop-cert".into()),
            agent: true,
            interactive: true,
        });
        let config =
            ssh(SshAccess { plan: plan.clone(), key: None, key_file: None }.config("127.0.0.1", 4022).unwrap());
        assert_eq!((config.host.as_str(), config.port), ("elsewhere", 2222));
        let bastion = config.bastion.unwrap();
        assert_eq!((bastion.host.as_str(), bastion.port, bastion.private_keys.len()), ("b", 23, 1));
        assert!(bastion.keyboard_interactive_first && bastion.agent_auth);
        assert_eq!((bastion.username.as_str(), bastion.password), ("hop", Some(Secret::from("hopper"))));
        assert_eq!(bastion.certificate, Some("/hop-cert".into()));
        plan.local_tunnels = vec!["nonsense".to_owned()];
        let error = SshAccess { plan, key: None, key_file: None }.config("127.0.0.1", 4022).unwrap_err();
        assert!(error.to_string().contains("nonsense"), "{error}");
    }

    #[test]
    fn provisioners_are_told_how_the_guest_lets_us_in() {
        let access = SshAccess { plan: plan(), key: None, key_file: None };
        let login = access.connection("h", 22).login;
        assert_eq!(login.password, Some(Secret::from("hunter2")));
        assert_eq!((login.agent, login.private_key_file.as_deref(), login.public_key), (true, Some("/id"), None));
    }

    #[test]
    fn keys_are_of_the_kind_and_size_that_was_asked_for() {
        for (kind, bits, expected) in [
            ("ed25519", Some(1), KeyKind::Ed25519),
            ("ecdsa", Some(256), KeyKind::Ecdsa(EcdsaBits::P256)),
            ("ecdsa", Some(384), KeyKind::Ecdsa(EcdsaBits::P384)),
            ("ecdsa", None, KeyKind::Ecdsa(EcdsaBits::P521)),
            ("rsa", None, KeyKind::Rsa(4096)),
            ("rsa", Some(99_999), KeyKind::Rsa(MAX_RSA_BITS)),
        ] {
            assert_eq!(key_kind(kind, bits), expected, "{kind} {bits:?}");
        }
    }
}
