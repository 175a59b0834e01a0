//! Reads the `ssh_*` options.

use std::path::PathBuf;
use std::time::Duration;

use kiln_communicators::Secret;

use crate::home::expand_home;
use crate::option_values::OptionValues;
use crate::plan::{BastionPlan, ProxyPlan, SshPlan, TemporaryKeyPlan};

/// Whether a builder makes a temporary key when the template names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TemporaryKey {
    /// Unless a private key file is given.
    Made {
        /// The template mentions it somewhere.
        mentioned: bool,
        /// It is taken out of the guest whether the template asks for that or not.
        always_cleared: bool,
    },
    /// null and virtualbox-vm: never.
    NotMade,
}

/// Reads a whole SSH connection.
pub(crate) fn read(options: OptionValues<'_>, key: TemporaryKey) -> SshPlan {
    let (timeout, handshake_attempts) = patience(options);
    SshPlan {
        host: options.text("ssh_host"),
        port: options.port("ssh_port"),
        username: options.text("ssh_username").unwrap_or_default(),
        password: options.text("ssh_password").map(Secret::new),
        private_key_file: file(options, "ssh_private_key_file"),
        certificate_file: file(options, "ssh_certificate_file"),
        temporary_key: temporary_key(options, key),
        agent: options.flag("ssh_agent_auth"),
        agent_forwarding: !options.flag("ssh_disable_agent_forwarding") && options.flag("ssh_agent_auth"),
        pty: options.flag("ssh_pty"),
        timeout,
        handshake_attempts,
        sftp: options.text("ssh_file_transfer_method").as_deref() == Some("sftp"),
        keep_alive: options.duration_or_never("ssh_keep_alive_interval"),
        read_write_timeout: Some(options.duration("ssh_read_write_timeout")).filter(|timeout| !timeout.is_zero()),
        ciphers: options.texts("ssh_ciphers"),
        key_exchanges: options.texts("ssh_key_exchange_algorithms"),
        pause_before_connecting: options.duration("pause_before_connecting"),
        bastion: read_bastion(options),
        proxy: read_proxy(options),
        local_tunnels: options.texts("ssh_local_tunnels"),
        remote_tunnels: options.texts("ssh_remote_tunnels"),
    }
}

/// The key reaches the guest only through the template's own words (packer.md 4.0.8); without them, making 4096 bits of RSA
/// would only cost seconds.
fn temporary_key(options: OptionValues<'_>, key: TemporaryKey) -> Option<TemporaryKeyPlan> {
    let TemporaryKey::Made { mentioned, always_cleared } = key else { return None };
    let useful = mentioned || options.text("ssh_password").is_none();
    (useful && options.text("ssh_private_key_file").is_none()).then(|| TemporaryKeyPlan {
        kind: options.text("temporary_key_pair_type").unwrap_or_default(),
        bits: options.given_number("temporary_key_pair_bits").and_then(|bits| u32::try_from(bits).ok()),
        name: options.text("temporary_key_pair_name"),
        cleared: always_cleared || options.flag("ssh_clear_authorized_keys"),
    })
}

/// `ssh_timeout` and `ssh_handshake_attempts` have defaults only when neither is set (packer.md 4.0.8).
fn patience(options: OptionValues<'_>) -> (Option<Duration>, Option<u32>) {
    let positive = |name: &str| options.given_duration(name).filter(|timeout| !timeout.is_zero());
    let attempts = |number: i64| u32::try_from(number).ok().filter(|&number| number != 0);
    let timeout = positive("ssh_wait_timeout").or_else(|| positive("ssh_timeout"));
    let given = options.given_number("ssh_handshake_attempts").and_then(attempts);
    match (timeout, given) {
        (None, None) => {
            (Some(options.positive_duration("ssh_timeout")), attempts(options.default_number("ssh_handshake_attempts")))
        }
        given => given,
    }
}

fn read_bastion(options: OptionValues<'_>) -> Option<BastionPlan> {
    Some(BastionPlan {
        host: options.text("ssh_bastion_host")?,
        port: options.port("ssh_bastion_port"),
        username: options.text("ssh_bastion_username").unwrap_or_default(),
        password: options.text("ssh_bastion_password").map(Secret::new),
        interactive: options.flag("ssh_bastion_interactive"),
        private_key_file: file(options, "ssh_bastion_private_key_file")
            .or_else(|| file(options, "ssh_private_key_file")),
        certificate_file: file(options, "ssh_bastion_certificate_file")
            .or_else(|| file(options, "ssh_certificate_file")),
        agent: options.flag("ssh_bastion_agent_auth"),
    })
}

/// Where an HTTP proxy listens that nothing else is said of: Squid's.
const HTTP_PROXY_PORT: u16 = 3128;

fn read_proxy(options: OptionValues<'_>) -> Option<ProxyPlan> {
    let http = options.text("ssh_proxy_type").as_deref() == Some("http");
    let port = match options.given_number("ssh_proxy_port") {
        None if http => HTTP_PROXY_PORT,
        _ => options.port("ssh_proxy_port"),
    };
    Some(ProxyPlan {
        http,
        host: options.text("ssh_proxy_host")?,
        port,
        username: options.text("ssh_proxy_username"),
        password: options.text("ssh_proxy_password").map(Secret::new),
    })
}

fn file(options: OptionValues<'_>, name: &str) -> Option<PathBuf> {
    options.text(name).map(|path| expand_home(&path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{CommunicatorPlan, SourcePlan};
    use crate::plan_tests::component::{Body, running, source};

    fn plan(options: &[(&'static str, &str)]) -> SshPlan {
        let null = running().find(|definition| definition.schema.kind == "null").unwrap();
        let options: Body = options.iter().map(|&(name, value)| (name, value.to_owned())).collect();
        let SourcePlan::Null(plan) = source(null, &options) else { panic!("null is not null") };
        let CommunicatorPlan::Ssh(plan) = plan.communicator else { panic!("{:?}", plan.communicator) };
        *plan
    }

    #[test]
    fn each_option_becomes_what_its_name_says() {
        let plan = plan(&[
            ("ssh_host", "\"h\""),
            ("ssh_port", "23"),
            ("ssh_username", "\"u\""),
            ("ssh_pty", "true"),
            ("ssh_ciphers", "[\"aes256-ctr\", \"aes128-ctr\"]"),
            ("ssh_key_exchange_algorithms", "[\"curve25519-sha256\"]"),
            ("ssh_keep_alive_interval", "\"7s\""),
            ("ssh_read_write_timeout", "\"8s\""),
            ("ssh_file_transfer_method", "\"sftp\""),
            ("ssh_local_tunnels", "[\"1:a:2\"]"),
            ("ssh_remote_tunnels", "[\"3:b:4\"]"),
            ("ssh_bastion_host", "\"b\""),
            ("ssh_bastion_port", "24"),
            ("ssh_bastion_username", "\"bu\""),
            ("ssh_bastion_password", "\"bp\""),
            ("ssh_bastion_interactive", "true"),
            ("ssh_bastion_agent_auth", "true"),
            ("ssh_bastion_private_key_file", "\"/bk\""),
            ("ssh_bastion_certificate_file", "\"/bc\""),
            ("ssh_proxy_host", "\"p\""),
            ("ssh_proxy_port", "25"),
            ("ssh_proxy_type", "\"http\""),
            ("ssh_proxy_username", "\"pu\""),
            ("ssh_proxy_password", "\"pp\""),
        ]);
        assert_eq!((plan.host.as_deref(), plan.port, plan.username.as_str()), (Some("h"), 23, "u"));
        assert!(plan.pty && plan.sftp && !plan.agent && !plan.agent_forwarding);
        assert_eq!(plan.ciphers, ["aes256-ctr", "aes128-ctr"]);
        assert_eq!(plan.key_exchanges, ["curve25519-sha256"]);
        assert_eq!(plan.keep_alive, Some(Duration::from_secs(7)));
        assert_eq!(plan.read_write_timeout, Some(Duration::from_secs(8)));
        assert_eq!(
            (&plan.local_tunnels[..], &plan.remote_tunnels[..]),
            (&["1:a:2".to_owned()][..], &["3:b:4".to_owned()][..])
        );
        let bastion = plan.bastion.unwrap();
        assert_eq!((bastion.host.as_str(), bastion.port, bastion.username.as_str()), ("b", 24, "bu"));
        assert_eq!(bastion.password, Some(Secret::from("bp")));
        assert!(bastion.interactive && bastion.agent);
        assert_eq!(bastion.private_key_file, Some(PathBuf::from("/bk")));
        assert_eq!(bastion.certificate_file, Some(PathBuf::from("/bc")));
        let proxy = plan.proxy.unwrap();
        assert_eq!((proxy.http, proxy.host.as_str(), proxy.port), (true, "p", 25));
        assert_eq!((proxy.username.as_deref(), proxy.password), (Some("pu"), Some(Secret::from("pp"))));
    }

    #[test]
    fn what_is_unset_is_packers_default() {
        let plan = plan(&[
            ("ssh_username", "\"u\""),
            ("ssh_private_key_file", "\"/k\""),
            ("ssh_certificate_file", "\"/c\""),
            ("ssh_bastion_host", "\"b\""),
            ("ssh_proxy_host", "\"p\""),
        ]);
        assert!(!plan.pty && !plan.sftp && plan.ciphers.is_empty() && plan.key_exchanges.is_empty());
        assert_eq!((plan.port, plan.keep_alive, plan.read_write_timeout), (22, Some(Duration::from_secs(5)), None));
        let bastion = plan.bastion.unwrap();
        assert_eq!((bastion.port, bastion.interactive, bastion.agent), (22, false, false));
        // The guest's own, where the bastion has none.
        assert_eq!(bastion.private_key_file, Some(PathBuf::from("/k")));
        assert_eq!(bastion.certificate_file, Some(PathBuf::from("/c")));
        let proxy = plan.proxy.unwrap();
        assert_eq!((proxy.http, proxy.port, proxy.username), (false, 1080, None));
        let http = [("ssh_username", "\"u\""), ("ssh_proxy_host", "\"p\""), ("ssh_proxy_type", "\"http\"")];
        assert_eq!(self::plan(&http).proxy.unwrap().port, 3128, "no HTTP proxy is at SOCKS's port");
    }
}
