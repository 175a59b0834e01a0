//! Makes the temporary key pair of a build.

use russh::keys::ssh_key::private::RsaKeypair;
use russh::keys::ssh_key::{LineEnding, PrivateKey};
use russh::keys::{Algorithm, EcdsaCurve};

use crate::secret::Secret;

/// What kind of key to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA with this many bits, from 1024 to 16384. 2048, 3072, 4096 and 8192 are made fast.
    Rsa(u32),
    /// ECDSA over a NIST curve.
    Ecdsa(EcdsaBits),
    /// Ed25519.
    Ed25519,
}

/// The NIST curves of SSH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EcdsaBits {
    /// nistp256.
    P256,
    /// nistp384.
    P384,
    /// nistp521, Packer's default.
    P521,
}

/// A key pair; the private half prints as stars.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// The private key in OpenSSH's own format (PEM), unencrypted.
    pub private_openssh: Secret,
    /// The public key as a line of `authorized_keys`, without the line's end.
    pub public_authorized_keys: String,
}

/// A key that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateKeyError {
    /// A size nobody should use, or that is not offered.
    #[error("RSA keys of {bits} bits are not offered: use 1024 to 16384, better 4096")]
    RsaSize {
        /// The size asked for.
        bits: u32,
    },
    /// The cryptographic library failed.
    #[error("the cryptographic library could not make an RSA key")]
    Library,
    /// The key could not be written in OpenSSH's format.
    #[error("the key could not be encoded")]
    Encode(#[source] russh::keys::Error),
}

/// Makes a key pair with `comment` on its public half.
///
/// An RSA key of 4096 bits takes a tenth of a second to two seconds of processor time, one of an uncommon size much
/// longer: call it from `spawn_blocking`. The others take microseconds.
///
/// # Errors
///
/// An RSA size that is not offered, or a failing source of randomness.
pub fn generate_key_pair(kind: KeyKind, comment: &str) -> Result<KeyPair, GenerateKeyError> {
    let mut key = match kind {
        KeyKind::Rsa(bits) => generate_rsa(bits)?,
        KeyKind::Ecdsa(bits) => {
            let curve = match bits {
                EcdsaBits::P256 => EcdsaCurve::NistP256,
                EcdsaBits::P384 => EcdsaCurve::NistP384,
                EcdsaBits::P521 => EcdsaCurve::NistP521,
            };
            random(Algorithm::Ecdsa { curve })?
        }
        KeyKind::Ed25519 => random(Algorithm::Ed25519)?,
    };
    // A line break in the comment would make a second line of authorized_keys.
    key.set_comment(comment.chars().filter(|c| !c.is_control()).collect::<String>());
    let private = key.to_openssh(LineEnding::LF).map_err(encode)?;
    let public = key.public_key().to_openssh().map_err(encode)?;
    Ok(KeyPair { private_openssh: Secret::new(private.as_str()), public_authorized_keys: public })
}

fn encode(error: russh::keys::ssh_key::Error) -> GenerateKeyError {
    GenerateKeyError::Encode(error.into())
}

fn random(algorithm: Algorithm) -> Result<PrivateKey, GenerateKeyError> {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), algorithm).map_err(encode)
}

/// The RSA crate below russh needs half a minute for 4096 bits without optimisation; AWS-LC is the backend anyway.
fn generate_rsa(bits: u32) -> Result<PrivateKey, GenerateKeyError> {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::KeySize;
    let size = match bits {
        2048 => KeySize::Rsa2048,
        3072 => KeySize::Rsa3072,
        4096 => KeySize::Rsa4096,
        8192 => KeySize::Rsa8192,
        // OpenSSH takes no other sizes.
        1024..=16384 => {
            let pair = RsaKeypair::random(&mut russh::keys::key::safe_rng(), bits as usize).map_err(encode)?;
            return Ok(pair.into());
        }
        _ => return Err(GenerateKeyError::RsaSize { bits }),
    };
    let pair = aws_lc_rs::rsa::KeyPair::generate(size).map_err(|_| GenerateKeyError::Library)?;
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().map_err(|_| GenerateKeyError::Library)?;
    russh::keys::pkcs8::decode_pkcs8(der.as_ref(), None).map_err(GenerateKeyError::Encode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_can_be_read_back() {
        for (kind, prefix) in [
            (KeyKind::Rsa(2048), "ssh-rsa "),
            (KeyKind::Rsa(1032), "ssh-rsa "),
            (KeyKind::Ecdsa(EcdsaBits::P521), "ecdsa-sha2-nistp521 "),
            (KeyKind::Ed25519, "ssh-ed25519 "),
        ] {
            let pair = generate_key_pair(kind, "packer_\nx").unwrap();
            assert!(pair.public_authorized_keys.starts_with(prefix), "{}", pair.public_authorized_keys);
            assert!(pair.public_authorized_keys.ends_with(" packer_x"));
            let read = russh::keys::decode_secret_key(pair.private_openssh.expose(), None).unwrap();
            let public = read.public_key().to_openssh().unwrap();
            assert_eq!(public.split(' ').nth(1), pair.public_authorized_keys.split(' ').nth(1));
        }
    }

    #[test]
    fn odd_rsa_sizes_are_refused() {
        assert!(matches!(generate_key_pair(KeyKind::Rsa(512), ""), Err(GenerateKeyError::RsaSize { bits: 512 })));
    }
}
