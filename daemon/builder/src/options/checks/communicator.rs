//! Rules of reaching the guest.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::home::expand_home;
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
    let private_key_file = existing_file(reader, "ssh_private_key_file");
    private_key(reader, private_key_file.as_deref());
    if existing_file(reader, "ssh_certificate_file").is_some() && private_key_file.is_none() {
        reader.error(
            "ssh_certificate_file",
            "Missing ssh_private_key_file",
            "A certificate is of use only with its private key: set ssh_private_key_file too.",
        );
    }
    bastion(reader);
    tunnels(reader, "ssh_local_tunnels");
    tunnels(reader, "ssh_remote_tunnels");
}

fn bastion(reader: &mut PlanReader<'_>) {
    if reader.text("ssh_bastion_host").is_none() {
        return;
    }
    let own_key = existing_file(reader, "ssh_bastion_private_key_file");
    let key = own_key.or_else(|| reader.text("ssh_private_key_file").map(PathBuf::from));
    existing_file(reader, "ssh_bastion_certificate_file");
    if reader.text("ssh_bastion_password").is_none() && key.is_none() && !reader.flag("ssh_bastion_agent_auth") {
        reader.error(
            "ssh_bastion_host",
            "No way to log in to the bastion",
            "Set ssh_bastion_password, ssh_bastion_private_key_file or ssh_bastion_agent_auth.",
        );
    }
    if reader.flag("ssh_bastion_interactive") && reader.text("ssh_bastion_password").is_none() {
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

fn tunnels(reader: &mut PlanReader<'_>, name: &str) {
    for tunnel in reader.texts(name) {
        let parts: Vec<_> = tunnel.split(':').collect();
        let port = |text: &str| text.parse::<u16>().is_ok();
        if parts.len() != 3 || !port(parts[0]) || parts[1].is_empty() || !port(parts[2]) {
            reader.error(name, "Invalid tunnel", format!("{tunnel:?} must have the form PORT:HOST:PORT."));
        }
    }
}

/// The largest private key that is looked at, in bytes; one of RSA with 16384 bits has 13 KB.
const MAX_KEY_BYTES: u64 = 1 << 20;

/// A key that can be read must be one, and need no passphrase, for which nobody could be asked.
fn private_key(reader: &mut PlanReader<'_>, path: Option<&Path>) {
    // What is no file has been told; to read it could take for ever.
    let Some(path) = path.filter(|path| path.is_file()) else { return };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_KEY_BYTES).read_to_string(&mut text));
    if read.is_err() {
        return;
    }
    let detail = match russh::keys::decode_secret_key(&text, None) {
        Ok(_) => return,
        Err(russh::keys::Error::KeyIsEncrypted) => "has a passphrase: log in with ssh_agent_auth instead.".to_owned(),
        Err(error) => format!("is not a private key: {error}."),
    };
    let detail = format!("The file of ssh_private_key_file {detail}");
    reader.error("ssh_private_key_file", "Unusable private key", detail);
}

fn existing_file(reader: &mut PlanReader<'_>, name: &str) -> Option<PathBuf> {
    let path = expand_home(&reader.text(name)?);
    if !path.is_file() {
        reader.error(name, "No such file", format!("{name} is {}, which is not a file.", path.display()));
    }
    Some(path)
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
