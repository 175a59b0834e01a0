//! Turns names of algorithms into what russh offers to the server.

use std::borrow::Cow;

use russh::{Preferred, cipher, compression, kex, mac};

use crate::ssh::config::SshConfig;
use crate::ssh::error::ConnectFailure;

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

const LEGACY_CIPHERS: &[cipher::Name] = &[cipher::AES_128_CBC, cipher::AES_192_CBC, cipher::AES_256_CBC];

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

const LEGACY_KEY_EXCHANGES: &[kex::Name] = &[kex::DH_GEX_SHA1, kex::DH_G1_SHA1];

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

pub(crate) fn preferred(config: &SshConfig) -> Result<Preferred, ConnectFailure> {
    let mut ciphers = named(&config.ciphers, "cipher", CIPHERS, || cipher::ALL_CIPHERS.iter().map(|n| n.as_ref()))?;
    let mut exchanges = named(&config.key_exchange_algorithms, "key exchange algorithm", KEY_EXCHANGES, || {
        kex::ALL_KEX_ALGORITHMS.iter().map(|n| n.as_ref())
    })?;
    if config.legacy_algorithms {
        ciphers.extend_from_slice(LEGACY_CIPHERS);
        exchanges.extend_from_slice(LEGACY_KEY_EXCHANGES);
    }
    exchanges.extend_from_slice(KEY_EXCHANGE_FLAGS);
    Ok(Preferred {
        kex: Cow::Owned(exchanges),
        cipher: Cow::Owned(ciphers),
        mac: Cow::Borrowed(MACS),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    })
}

fn named<'n, N, I>(
    wanted: &[String],
    kind: &'static str,
    default: &[N],
    all: impl Fn() -> I,
) -> Result<Vec<N>, ConnectFailure>
where
    N: for<'s> TryFrom<&'s str> + Copy,
    I: Iterator<Item = &'n str>,
{
    if wanted.is_empty() {
        return Ok(default.to_vec());
    }
    let read = |name: &String| {
        let known = !NEVER.contains(&name.as_str());
        known.then(|| N::try_from(name.trim()).ok()).flatten().ok_or_else(|| ConnectFailure::UnknownAlgorithm {
            kind,
            name: name.clone(),
            known: all().filter(|name| !NEVER.contains(name)).collect::<Vec<_>>().join(", "),
        })
    };
    wanted.iter().map(read).collect()
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
    fn unknown_names_and_none_are_refused_with_the_known_ones() {
        for name in ["arcfour", "none"] {
            let mut config = SshConfig::new("h", "u");
            config.ciphers = vec![name.into()];
            let error = preferred(&config).unwrap_err().to_string();
            assert!(error.contains("aes128-gcm@openssh.com") && !error.contains("clear"), "{error}");
        }
    }
}
