//! Turns names of algorithms into what russh offers to the server, and says what a server has that is not among it.

use std::borrow::Cow;

use russh::{Preferred, cipher, compression, kex, mac};

use crate::ssh::config::SshConfig;
use crate::ssh::error::{ConnectFailure, Stage};
use crate::ssh::mismatch::{AlgorithmKind, Mismatch};

/// AES-GCM before ChaCha20: 1.6 times as fast wherever the processor has AES instructions. russh's own order is the
/// other way round.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_128_CTR,
    cipher::AES_192_CTR,
    cipher::AES_256_CTR,
];

/// Go's list, which Packer takes, and the larger groups. Group 14 with SHA-1 stays at the end for CentOS 6's sake.
const KEY_EXCHANGES: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_G14_SHA256,
    kex::DH_G16_SHA512,
    kex::DH_G18_SHA512,
    kex::DH_GEX_SHA256,
    kex::DH_G14_SHA1,
];

/// Not algorithms but flags that travel in the same list; russh sends those of its role.
const KEY_EXCHANGE_FLAGS: &[kex::Name] = &[
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// SHA-1 at the end, for servers before OpenSSH 5.9.
const MACS: &[mac::Name] = &[
    mac::HMAC_SHA256_ETM,
    mac::HMAC_SHA512_ETM,
    mac::HMAC_SHA256,
    mac::HMAC_SHA512,
    mac::HMAC_SHA1_ETM,
    mac::HMAC_SHA1,
];

/// Names the user could have meant that encrypt or agree on nothing.
const NEVER: [&str; 2] = ["none", "clear"];

/// Ciphers that Packer has and Kiln has not, for they are broken or nearly so. They are left out where others are named beside them.
const OBSOLETE_CIPHERS: [&str; 4] = ["arcfour256", "arcfour128", "arcfour", "3des-cbc"];

const CIPHER: &str = "cipher";
const KEY_EXCHANGE: &str = "key exchange algorithm";

/// Returns an error that names those there are unless `name` is a cipher that can be offered.
///
/// # Errors
///
/// [`ConnectFailure::UnknownAlgorithm`].
pub fn check_cipher(name: &str) -> Result<(), ConnectFailure> {
    cipher_named(name).map(|_| ())
}

/// Returns an error that names those there are unless `name` is a key exchange algorithm that can be offered.
///
/// # Errors
///
/// [`ConnectFailure::UnknownAlgorithm`].
pub fn check_key_exchange(name: &str) -> Result<(), ConnectFailure> {
    key_exchange_named(name).map(|_| ())
}

/// Returns true for a cipher of Packer's that is left out where others are named beside it.
#[must_use]
pub fn is_obsolete_cipher(name: &str) -> bool {
    OBSOLETE_CIPHERS.contains(&name.trim())
}

/// Those of a list of ciphers that are offered.
pub(crate) fn offered_ciphers(named: &[String]) -> Vec<String> {
    let mut offered = named.to_vec();
    if offered.iter().any(|name| !is_obsolete_cipher(name)) {
        offered.retain(|name| !is_obsolete_cipher(name));
    }
    offered
}

pub(crate) fn preferred(config: &SshConfig) -> Result<Preferred, ConnectFailure> {
    let ciphers = wanted(&offered_ciphers(&config.ciphers), CIPHERS, cipher_named)?;
    let mut exchanges = wanted(&config.key_exchange_algorithms, KEY_EXCHANGES, key_exchange_named)?;
    exchanges.extend_from_slice(KEY_EXCHANGE_FLAGS);
    Ok(Preferred {
        kex: Cow::Owned(exchanges),
        cipher: Cow::Owned(ciphers),
        mac: Cow::Borrowed(MACS),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    })
}

/// How far a connection has come that failed while keys were agreed on.
pub(crate) fn stage_of(error: &russh::Error) -> Stage {
    match error {
        russh::Error::NoCommonAlgo { kind, ours, theirs } => {
            let (kind, known): (_, fn(&str) -> bool) = match kind {
                russh::AlgorithmKind::Kex => (AlgorithmKind::KeyExchange, |name| check_key_exchange(name).is_ok()),
                russh::AlgorithmKind::Cipher => (AlgorithmKind::Cipher, |name| check_cipher(name).is_ok()),
                russh::AlgorithmKind::Key => (AlgorithmKind::HostKey, |_| false),
                russh::AlgorithmKind::Mac => (AlgorithmKind::Mac, |_| false),
                russh::AlgorithmKind::Compression => (AlgorithmKind::Compression, |_| false),
            };
            Stage::Algorithms(Mismatch::new(kind, ours, theirs, known))
        }
        russh::Error::WrongServerSig
        | russh::Error::UnknownKey
        | russh::Error::CouldNotReadKey
        | russh::Error::Keys(_)
        | russh::Error::SshKey(_)
        | russh::Error::Signature(_) => Stage::HostKey,
        _ => Stage::KeyExchange,
    }
}

fn wanted<N: Copy>(
    names: &[String],
    default: &[N],
    named: impl Fn(&str) -> Result<N, ConnectFailure>,
) -> Result<Vec<N>, ConnectFailure> {
    if names.is_empty() { Ok(default.to_vec()) } else { names.iter().map(|name| named(name)).collect() }
}

fn cipher_named(name: &str) -> Result<cipher::Name, ConnectFailure> {
    let all = || cipher::ALL_CIPHERS.iter().map(|name| name.as_ref());
    known(name, CIPHER, all).and_then(|known| cipher::Name::try_from(known).map_err(|()| unknown(name, CIPHER, all)))
}

fn key_exchange_named(name: &str) -> Result<kex::Name, ConnectFailure> {
    // Flags stand among them, too.
    let flags: Vec<&str> = KEY_EXCHANGE_FLAGS.iter().map(|name| name.as_ref()).collect();
    let all = || kex::ALL_KEX_ALGORITHMS.iter().map(|name| name.as_ref()).filter(|name| !flags.contains(name));
    known(name, KEY_EXCHANGE, all)
        .and_then(|known| kex::Name::try_from(known).map_err(|()| unknown(name, KEY_EXCHANGE, all)))
}

/// Returns the name as it is known.
fn known<'n, I: Iterator<Item = &'n str>>(
    name: &str,
    kind: &'static str,
    all: impl Fn() -> I,
) -> Result<&'n str, ConnectFailure> {
    let found = all().find(|known| *known == name.trim() && !NEVER.contains(known));
    found.ok_or_else(|| unknown(name, kind, all))
}

fn unknown<'n, I: Iterator<Item = &'n str>>(name: &str, kind: &'static str, all: impl Fn() -> I) -> ConnectFailure {
    let known = all().filter(|name| !NEVER.contains(name)).collect::<Vec<_>>().join(", ");
    ConnectFailure::UnknownAlgorithm { kind, name: name.to_owned(), known }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_in_the_given_order() {
        let mut config = SshConfig::new("h", "u");
        config.ciphers = vec!["aes256-ctr".into(), "aes128-ctr".into()];
        let preferred = preferred(&config).unwrap();
        assert_eq!(*preferred.cipher, [cipher::AES_256_CTR, cipher::AES_128_CTR]);
        assert!(preferred.kex.contains(&kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT));
    }

    #[test]
    fn obsolete_ciphers_are_left_out_beside_others() {
        let mut config = SshConfig::new("h", "u");
        config.ciphers = vec!["arcfour256".into(), "aes128-ctr".into(), "3des-cbc".into()];
        assert_eq!(*preferred(&config).unwrap().cipher, [cipher::AES_128_CTR]);
        config.ciphers = vec!["arcfour256".into()];
        assert!(preferred(&config).is_err(), "nothing is left");
    }

    #[test]
    fn unknown_names_and_none_are_refused_with_the_known_ones() {
        for name in ["arcfour", "none"] {
            let mut config = SshConfig::new("h", "u");
            config.ciphers = vec![name.into()];
            let error = preferred(&config).unwrap_err().to_string();
            assert!(error.contains("aes128-gcm@openssh.com") && !error.contains("clear"), "{error}");
        }
        for name in ["none", "ext-info-c", "curve25519"] {
            let error = check_key_exchange(name).unwrap_err().to_string();
            assert!(error.contains("curve25519-sha256") && !error.contains("ext-info-s"), "{error}");
        }
    }

    #[test]
    fn whatever_is_said_to_be_known_can_be_named() {
        for (refused, check) in [
            (check_cipher("x"), check_cipher as fn(&str) -> Result<(), ConnectFailure>),
            (check_key_exchange("x"), check_key_exchange),
        ] {
            let Err(ConnectFailure::UnknownAlgorithm { known, .. }) = refused else { panic!("x is no algorithm") };
            assert!(known.split(", ").count() > 5, "{known}");
            known.split(", ").for_each(|name| check(name).unwrap());
        }
    }

    #[test]
    fn what_failed_in_the_key_exchange_is_told_apart() {
        let none = |kind| russh::Error::NoCommonAlgo {
            kind,
            ours: vec!["aes128-ctr".to_owned()],
            theirs: vec!["aes256-cbc".to_owned(), "arcfour".to_owned()],
        };
        let Stage::Algorithms(mismatch) = stage_of(&none(russh::AlgorithmKind::Cipher)) else { panic!() };
        assert_eq!((mismatch.kind, mismatch.on_request), (AlgorithmKind::Cipher, vec!["aes256-cbc".to_owned()]));
        for kind in [russh::AlgorithmKind::Key, russh::AlgorithmKind::Mac] {
            let Stage::Algorithms(mismatch) = stage_of(&none(kind)) else { panic!() };
            assert_eq!(mismatch.on_request, Vec::<String>::new(), "no option names these");
        }
        assert_eq!(stage_of(&russh::Error::WrongServerSig), Stage::HostKey);
        assert_eq!(stage_of(&russh::Error::HUP), Stage::KeyExchange);
    }
}
