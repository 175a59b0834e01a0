//! The keys of the proxy: its own, and the one that opens it. Made for one run, unless the template names files.

use std::path::Path;

use kiln_communicators::ssh::{EcdsaBits, KeyKind, KeyPair, generate_key_pair};
use russh::keys::{PrivateKey, PublicKey, decode_secret_key, parse_public_key_base64};

use crate::blocking::blocking;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::option_values::OptionValues;
use crate::temporary_file::TemporaryFile;

/// Writes a private key to a file for as long as it is used.
pub(super) fn write<'a>(build: &'a BuildContext, key: &str) -> Result<TemporaryFile<'a>, StepError> {
    TemporaryFile::new(build, None, ("ansible-key", ""), 0o600, key.as_bytes())
        .map_err(|error| StepError::new("cannot write the key for Ansible to a temporary file").with_source(error))
}

/// The key by which the proxy is known.
pub(super) async fn host_key(options: OptionValues<'_>) -> Result<PrivateKey, StepError> {
    let (name, text) = match options.given("ssh_host_key_file") {
        Some(path) => (path.to_owned(), read(path).await?),
        None => ("a new key".to_owned(), made(options).await?.private_openssh.expose().to_owned()),
    };
    decode_secret_key(&text, None).map_err(|error| {
        StepError::new(format!("{name} is no host key that can be used"))
            .with_source(error)
            .with_hint("ssh_host_key_file needs a private key without a passphrase")
    })
}

/// The key that opens the proxy; and the file with its private half, unless that is the template's own affair.
pub(super) async fn client_key<'a>(
    build: &'a BuildContext,
    options: OptionValues<'_>,
) -> Result<(PublicKey, Option<TemporaryFile<'a>>), StepError> {
    if let Some(path) = options.given("ssh_authorized_key_file") {
        return Ok((public_key(&read(path).await?, path)?, None));
    }
    let pair = made(options).await?;
    build.redactor.add(pair.private_openssh.expose());
    let file = write(build, pair.private_openssh.expose())?;
    Ok((public_key(&pair.public_authorized_keys, "a new key")?, Some(file)))
}

fn public_key(line: &str, name: &str) -> Result<PublicKey, StepError> {
    // Options may stand before the kind of the key; the key itself follows that.
    let word = line.split_whitespace().find(|word| word.starts_with("AAAA")).unwrap_or_default();
    parse_public_key_base64(word).map_err(|error| {
        StepError::new(format!("{name} is no public key"))
            .with_source(error)
            .with_hint("ssh_authorized_key_file needs one line of authorized_keys")
    })
}

async fn made(options: OptionValues<'_>) -> Result<KeyPair, StepError> {
    let rsa = options.text("ansible_proxy_key_type").as_deref() == Some("RSA");
    let kind = if rsa { KeyKind::Rsa(2048) } else { KeyKind::Ecdsa(EcdsaBits::P521) };
    blocking("making a key", move |_| generate_key_pair(kind, "kiln").map_err(StepError::wrap)).await
}

async fn read(path: &str) -> Result<String, StepError> {
    let text = tokio::fs::read_to_string(Path::new(path)).await;
    text.map_err(|error| StepError::new(format!("cannot read {path}")).with_source(error))
}

/// Who runs this process, as Ansible would take it.
pub(super) fn local_user() -> String {
    let id = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    let from_environment = || ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    named.or_else(from_environment).filter(|name| !name.is_empty()).unwrap_or_else(|| "packer".to_owned())
}
