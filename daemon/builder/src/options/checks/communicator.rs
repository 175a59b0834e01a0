//! Rules of reaching the guest.

use kiln_communicators::ssh::{ConnectFailure, Tunnel, check_cipher, check_key_exchange, is_obsolete_cipher};
use kiln_template::Generated;

use super::credentials;
use crate::plan_reader::PlanReader;

/// The options that begin with `ssh_` and `winrm_`, by what `communicator` says.
pub(crate) fn communicator(reader: &mut PlanReader<'_>) {
    // Of an unknown one nothing can be asked.
    if reader.options.is_unusable("communicator") {
        return;
    }
    match reader.text("communicator").as_deref() {
        Some("none") => {}
        None | Some("ssh") => ssh(reader),
        Some("winrm") => winrm(reader),
        Some("guest-agent") if reader.schema.spec("guest_agent_timeout").is_some() => {}
        Some("guest-agent") => {
            let detail = format!(
                "A guest's agent is reached through QEMU's machines alone, so by the builder qemu; {} has ssh, winrm and none.",
                reader.schema.kind
            );
            reader.error("communicator", "No guest agent here", detail);
        }
        Some(other) => {
            let detail =
                format!("Communicator type {other} is invalid; it must be ssh, winrm, guest-agent (of qemu) or none.");
            reader.error("communicator", "Unknown communicator", detail);
        }
    }
}

fn winrm(reader: &mut PlanReader<'_>) {
    match reader.text("winrm_username") {
        None => reader.error(
            "winrm_username",
            "Missing winrm_username",
            "A winrm_username must be specified: the user that provisioning logs in as.",
        ),
        Some(name) if name.contains(':') && !reader.flag("winrm_use_ntlm") => reader.error(
            "winrm_username",
            "A colon in winrm_username",
            "HTTP's Basic cannot say a name with a colon; winrm_use_ntlm = true can.",
        ),
        Some(_) => {}
    }
    if reader.flag("winrm_insecure") && !reader.flag("winrm_use_ssl") {
        reader.warning(
            "winrm_insecure",
            "winrm_insecure has no effect",
            "There is no certificate to be checked without winrm_use_ssl.",
        );
    }
}

/// Whether the options that begin with `ssh_` are those that act.
fn by_ssh(reader: &PlanReader<'_>) -> bool {
    !reader.options.is_unusable("communicator") && reader.text("communicator").is_none_or(|kind| kind == "ssh")
}

fn ssh(reader: &mut PlanReader<'_>) {
    if reader.text("ssh_username").is_none() {
        reader.error(
            "ssh_username",
            "Missing ssh_username",
            "An ssh_username must be specified: the user that provisioning logs in as.",
        );
    }
    let key = credentials::private_key(reader, "ssh_private_key_file", "ssh_agent_auth");
    let has_key_file = reader.text("ssh_private_key_file").is_some();
    credentials::certificate(reader, "ssh_certificate_file", key.as_ref().map(|key| ("ssh_private_key_file", key)));
    if reader.text("ssh_certificate_file").is_some() && !has_key_file {
        reader.error(
            "ssh_certificate_file",
            "Missing ssh_private_key_file",
            "A certificate is of use only with its private key: set ssh_private_key_file too.",
        );
    }
    let another = reader.text("ssh_password").is_some() || has_key_file || reader.mentions_key;
    credentials::agent(reader, "ssh_agent_auth", another);
    ciphers(reader);
    algorithms(reader, "ssh_key_exchange_algorithms", "key exchange algorithm", check_key_exchange, |_| false);
    bastion(reader);
    if reader.text("ssh_proxy_type").as_deref() == Some("http")
        && reader.text("ssh_proxy_username").is_some_and(|name| name.contains(':'))
    {
        reader.error(
            "ssh_proxy_username",
            "A colon in ssh_proxy_username",
            "HTTP's Basic, by which the proxy is told the user, cannot say a name with a colon.",
        );
    }
    tunnels(reader, "ssh_local_tunnels");
    tunnels(reader, "ssh_remote_tunnels");
}

/// Those of Packer's that Kiln has not are told and left out, where others are left.
fn ciphers(reader: &mut PlanReader<'_>) {
    let names = reader.texts("ssh_ciphers");
    let others = names.iter().any(|name| !is_obsolete_cipher(name));
    let left_out = |name: &str| others && is_obsolete_cipher(name);
    algorithms(reader, "ssh_ciphers", "cipher", check_cipher, left_out);
    for (index, name) in names.iter().enumerate().filter(|(_, name)| left_out(name)) {
        let detail = format!("{name} is not offered: it is broken, or nearly so, and Kiln does not have it.");
        reader.warning_in("ssh_ciphers", index, "Obsolete cipher", detail, "take it out of the list".to_owned());
    }
}

/// Each name is one that can be offered, or is left out.
fn algorithms(
    reader: &mut PlanReader<'_>,
    option: &str,
    kind: &str,
    check: fn(&str) -> Result<(), ConnectFailure>,
    left_out: impl Fn(&str) -> bool,
) {
    for (index, name) in reader.texts(option).into_iter().enumerate() {
        if name == Generated::UNKNOWN || left_out(&name) {
            continue;
        }
        if let Err(ConnectFailure::UnknownAlgorithm { known, .. }) = check(&name) {
            let detail = format!("{name:?} is no {kind} that Kiln has. There are: {known}.");
            reader.error_in(option, index, format!("Unknown {kind}"), detail);
        }
    }
}

fn bastion(reader: &mut PlanReader<'_>) {
    if reader.text("ssh_bastion_host").is_none() {
        return;
    }
    let own = "ssh_bastion_private_key_file";
    let has_own_key = reader.text(own).is_some();
    let key = credentials::private_key(reader, own, "ssh_bastion_agent_auth");
    // The guest's, which is taken where the bastion has none of its own, has been looked at.
    let key = key.as_ref().filter(|_| has_own_key).map(|key| (own, key));
    credentials::certificate(reader, "ssh_bastion_certificate_file", key);
    let has_key = has_own_key || reader.text("ssh_private_key_file").is_some();
    let has_password = reader.text("ssh_bastion_password").is_some();
    if !has_password && !has_key && !reader.flag("ssh_bastion_agent_auth") {
        reader.error(
            "ssh_bastion_host",
            "No way to log in to the bastion",
            "Set ssh_bastion_password, ssh_bastion_private_key_file or ssh_bastion_agent_auth.",
        );
    }
    credentials::agent(reader, "ssh_bastion_agent_auth", has_password || has_key);
    if reader.flag("ssh_bastion_interactive") && !has_password {
        reader.warning(
            "ssh_bastion_interactive",
            "Nobody answers the bastion",
            "A build has no terminal at which somebody could be asked: what the bastion asks for is answered with ssh_bastion_password, \
             which is not set.",
        );
    }
    if reader.text("ssh_proxy_host").is_some() {
        reader.error("ssh_proxy_host", "Bastion and proxy", "ssh_bastion_host and ssh_proxy_host exclude each other.");
    }
}

/// What is no tunnel would fail only when the guest is logged in to.
fn tunnels(reader: &mut PlanReader<'_>, name: &str) {
    for (index, tunnel) in reader.texts(name).into_iter().enumerate() {
        if tunnel != Generated::UNKNOWN && tunnel.parse::<Tunnel>().is_err() {
            let detail = format!("{tunnel:?} must have the form PORT:HOST:PORT.");
            reader.error_in(name, index, "Invalid tunnel", detail);
        }
    }
}

/// Options that no builder with a guest does anything with, here or in Packer.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("http_interface", "The guest is told this host's address on its own network, or that of http_bind_address."),
    ("ssh_keypair_name", "It is for builders of clouds."),
    ("ssh_public_key", "The temporary key is made by the build; ssh_private_key_file names one that there is."),
    ("ssh_private_key", "The temporary key is made by the build; ssh_private_key_file names one that there is."),
];

/// Options that have no effect.
pub(crate) fn without_effect(reader: &mut PlanReader<'_>) {
    for (name, why) in WITHOUT_EFFECT {
        reader.without_effect(name, why);
    }
}

/// The temporary key, of builders that make one.
pub(crate) fn temporary_key(reader: &mut PlanReader<'_>) {
    if !by_ssh(reader) {
        return;
    }
    bits(reader);
    let made =
        reader.text("ssh_private_key_file").is_none() && (reader.mentions_key || reader.text("ssh_password").is_none());
    if made && reader.text("temporary_key_pair_type").as_deref() == Some("dsa") {
        reader.error(
            "temporary_key_pair_type",
            "DSA keys are not supported",
            "OpenSSH and dropbear refuse DSA keys; use ed25519, ecdsa or rsa.",
        );
    }
}

/// The sizes that Packer's kinds of keys can have (packer.md 4.0.8).
fn bits(reader: &mut PlanReader<'_>) {
    let Some(bits) = reader.options.integer("temporary_key_pair_bits").filter(|&bits| bits != 0) else { return };
    let kind = reader.text("temporary_key_pair_type").unwrap_or_else(|| "rsa".to_owned());
    let (fits, wanted) = match kind.as_str() {
        "rsa" => ((1024..=16384).contains(&bits), "between 1024 and 16384"),
        "ecdsa" => ([256, 384, 521].contains(&bits), "256, 384 or 521"),
        _ => return,
    };
    if !fits {
        let detail =
            format!("temporary_key_pair_bits is {bits}, but the bits of a key of type {kind} must be {wanted}.");
        reader.error("temporary_key_pair_bits", "Value out of range", detail);
    }
}

/// What the null builder needs, which finds nothing out for itself.
pub(crate) fn null(reader: &mut PlanReader<'_>) {
    if !reader.options.is_unusable("communicator") && reader.text("communicator").as_deref() == Some("winrm") {
        return null_by_winrm(reader);
    }
    if !by_ssh(reader) {
        return;
    }
    if reader.text("ssh_host").is_none() {
        reader.error(
            "ssh_host",
            "Missing ssh_host",
            "a Host must be specified, please reference your communicator documentation",
        );
    }
    let ways = [
        reader.flag("ssh_agent_auth"),
        reader.text("ssh_password").is_some(),
        reader.text("ssh_private_key_file").is_some(),
    ];
    match ways.iter().filter(|&&set| set).count() {
        0 => reader.error(
            "ssh_username",
            "No way to log in",
            "one authentication method must be specified: ssh_password, ssh_private_key_file or ssh_agent_auth",
        ),
        1 => {}
        _ => reader.error(
            "ssh_username",
            "More than one way to log in",
            "only one of ssh_agent_auth, ssh_password, and ssh_private_key_file must be specified",
        ),
    }
}

/// The same for WinRM, which logs in by a password alone; without a name it is refused for every builder.
fn null_by_winrm(reader: &mut PlanReader<'_>) {
    for (option, what) in [("winrm_host", "a Host"), ("winrm_password", "a password")] {
        if reader.text(option).is_none() {
            let detail = format!("{what} must be specified, please reference your communicator documentation");
            reader.error(option, format!("Missing {option}"), detail);
        }
    }
}

/// The host ports that are forwarded to the guest, by their new names or their old ones.
pub(crate) fn host_ports(reader: &mut PlanReader<'_>) {
    if reader.options.is_set("ssh_host_port_min") || reader.options.is_set("ssh_host_port_max") {
        reader.port_range("ssh_host_port_min", "ssh_host_port_max");
    } else {
        reader.port_range("host_port_min", "host_port_max");
    }
}
