//! Keys in PEM files, as OpenSSL writes them: which kind one is, signing and verifying.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use sha2::{Digest as _, Sha256};

use super::files::read_small;

/// A larger file is no key.
const MAX_KEY: u64 = 1 << 20;

/// Length of a line of PEM.
const PEM_LINE: usize = 64;

/// What a public key may verify by.
static VERIFIERS: [&dyn VerificationAlgorithm; 5] = [
    &signature::ECDSA_P256_SHA256_ASN1,
    &signature::ED25519,
    &signature::RSA_PKCS1_2048_8192_SHA256,
    &signature::ECDSA_P384_SHA256_ASN1,
    &signature::ECDSA_P521_SHA256_ASN1,
];

/// A private key.
pub struct SigningKey {
    pair: Pair,
    verifying: VerifyingKey,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(rsa::KeyPair),
}

/// A public key.
pub struct VerifyingKey {
    key: ParsedPublicKey,
    /// SHA-256 of its PEM text, as Packer names keys.
    keyid: String,
}

/// Why there is no key, or no signature.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the key {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no key that is known.
    #[error("{} is no key for this: {why}", path.display())]
    NotOne {
        /// The file.
        path: PathBuf,
        /// What it is.
        why: &'static str,
    },
    /// It does not sign.
    #[error("the key does not sign")]
    Sign,
}

impl KeyError {
    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        matches!(self, Self::NotOne { .. })
            .then_some("`openssl genpkey -algorithm ed25519 -out key.pem` makes a key, `openssl pkey -in key.pem -pubout` its public half")
    }
}

impl SigningKey {
    /// Reads a PEM file: PKCS #8, PKCS #1 (`RSA PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`), not encrypted.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no such key.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = read(path)?;
        Self::from_pem(&text).map_err(|why| KeyError::NotOne { path: path.to_owned(), why })
    }

    fn from_pem(text: &[u8]) -> Result<Self, &'static str> {
        let (kind, der) = section(text)?;
        let pair = match kind {
            SectionKind::RsaPrivateKey => Pair::Rsa(
                rsa::KeyPair::from_der(&der).map_err(|_| "its RSA key is damaged or not of 2048 to 8192 bits")?,
            ),
            SectionKind::EcPrivateKey => Pair::Ecdsa(ecdsa(&der).ok_or("its curve is neither P-256 nor P-521")?),
            SectionKind::PrivateKey => any_pair(&der)?,
            SectionKind::PublicKey => return Err("it is a public key, which signs nothing"),
            SectionKind::Certificate => return Err("it is a certificate, which signs nothing"),
            _ => return Err("it holds no private key"),
        };
        let public = match &pair {
            Pair::Ecdsa(pair) => AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()),
            Pair::Ed25519(pair) => AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()),
            Pair::Rsa(pair) => AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()),
        };
        let public = public.map_err(|_| "its public half cannot be told")?;
        let verifying = VerifyingKey::from_der(public.as_ref()).ok_or("its public half verifies nothing")?;
        Ok(Self { pair, verifying })
    }

    /// Its public half.
    #[must_use]
    pub fn verifying(&self) -> &VerifyingKey {
        &self.verifying
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => {
                let signed = pair.sign(&random, message).map_err(|_| KeyError::Sign)?;
                Ok(signed.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signed = vec![0; pair.public_modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut signed).map_err(|_| KeyError::Sign)?;
                Ok(signed)
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifying.keyid)
    }
}

impl VerifyingKey {
    /// Reads a PEM file: a public key (`PUBLIC KEY`), or the private one that it belongs to.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no such key.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = read(path)?;
        let wrong = |why| KeyError::NotOne { path: path.to_owned(), why };
        match section(&text).map_err(wrong)? {
            (SectionKind::PublicKey, der) => {
                Self::from_der(&der).ok_or_else(|| wrong("it is neither ECDSA, Ed25519 nor RSA of 2048 to 8192 bits"))
            }
            (SectionKind::Certificate, _) => {
                Err(wrong("it is a certificate; `openssl x509 -in FILE -noout -pubkey` writes its public key"))
            }
            _ => SigningKey::from_pem(&text).map(|key| key.verifying).map_err(wrong),
        }
    }

    fn from_der(der: &[u8]) -> Option<Self> {
        let key = VERIFIERS.iter().find_map(|algorithm| ParsedPublicKey::new(*algorithm, der).ok())?;
        Some(Self { key, keyid: hex(&Sha256::digest(pem("PUBLIC KEY", der))) })
    }

    /// What names it in envelopes.
    #[must_use]
    pub fn keyid(&self) -> &str {
        &self.keyid
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.keyid)
    }
}

fn ecdsa(der: &[u8]) -> Option<EcdsaKeyPair> {
    let curves = [&signature::ECDSA_P256_SHA256_ASN1_SIGNING, &signature::ECDSA_P521_SHA256_ASN1_SIGNING];
    curves.into_iter().find_map(|curve| EcdsaKeyPair::from_private_key_der(curve, der).ok())
}

fn any_pair(der: &[u8]) -> Result<Pair, &'static str> {
    if let Some(pair) = ecdsa(der) {
        return Ok(Pair::Ecdsa(pair));
    }
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
        return Ok(Pair::Ed25519(pair));
    }
    rsa::KeyPair::from_pkcs8(der)
        .map(Pair::Rsa)
        .map_err(|_| "it is neither ECDSA on P-256 or P-521, Ed25519 nor RSA of 2048 to 8192 bits")
}

fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    // A key may be a link, or come from a pipe that a secret store fills.
    read_small(path, MAX_KEY).map_err(|source| KeyError::Read { path: path.to_owned(), source })
}

/// The first key of a PEM text.
fn section(text: &[u8]) -> Result<(SectionKind, Vec<u8>), &'static str> {
    let has = |words: &str| text.windows(words.len()).any(|window| window == words.as_bytes());
    if has("BEGIN ENCRYPTED PRIVATE KEY") || has("Proc-Type: 4,ENCRYPTED") {
        return Err("it is encrypted, and nobody can be asked; `openssl pkey -in FILE` decrypts it");
    }
    if has("BEGIN OPENSSH PRIVATE KEY") {
        return Err("it is a key of OpenSSH; `ssh-keygen -p -m PKCS8 -f FILE` rewrites it");
    }
    <(SectionKind, Vec<u8>)>::from_pem_slice(text).map_err(|_| "it is not PEM")
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let body = STANDARD.encode(der);
    for line in body.as_bytes().chunks(PEM_LINE) {
        text.extend(line.iter().map(|&byte| char::from(byte)));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const P256: &str = "P-256";
    pub(in super::super) const P521: &str = "P-521";
    pub(in super::super) const ED25519: &str = "Ed25519";
    pub(in super::super) const RSA: &str = "RSA";

    /// The PEM text of a new key, as `openssl genpkey` writes it.
    pub(in super::super) fn new_pem(kind: &str) -> String {
        let random = SystemRandom::new();
        let der = match kind {
            P256 => EcdsaKeyPair::generate_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, &random)
                .unwrap()
                .as_ref()
                .to_vec(),
            P521 => EcdsaKeyPair::generate_pkcs8(&signature::ECDSA_P521_SHA256_ASN1_SIGNING, &random)
                .unwrap()
                .as_ref()
                .to_vec(),
            ED25519 => Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref().to_vec(),
            _ => {
                let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
                AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref().to_vec()
            }
        };
        pem("PRIVATE KEY", &der)
    }

    pub(in super::super) fn key(kind: &str) -> SigningKey {
        SigningKey::from_pem(new_pem(kind).as_bytes()).unwrap()
    }

    #[test]
    fn each_kind_of_key_verifies_what_it_has_signed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        for kind in [P256, P521, ED25519, RSA] {
            let path = directory.path().join(kind);
            std::fs::write(&path, new_pem(kind)).unwrap();
            let signer = SigningKey::load(&path).unwrap();
            let signed = signer.sign(b"message").unwrap();
            // The private key's file serves to verify too.
            let verifier = VerifyingKey::load(&path).unwrap();
            assert_eq!(verifier.keyid(), signer.verifying().keyid());
            assert!(verifier.has_signed(b"message", &signed), "{kind}");
            assert!(!verifier.has_signed(b"massage", &signed), "{kind}");
            assert!(!key(kind).verifying().has_signed(b"message", &signed), "{kind}");
            assert!(!verifier.has_signed(b"message", b""), "{kind}");
        }
    }

    #[test]
    fn what_is_no_key_is_named_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let told = |text: &str| {
            let path = directory.path().join("key.pem");
            std::fs::write(&path, text).unwrap();
            let error = SigningKey::load(&path).unwrap_err();
            assert!(error.hint().is_some());
            error.to_string()
        };
        assert!(told("").contains("not PEM"));
        assert!(
            told("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
                .contains("encrypted")
        );
        assert!(
            told("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n").contains("OpenSSH")
        );
        assert!(told(&pem("PRIVATE KEY", b"rubbish")).contains("neither ECDSA"));
        assert!(told(&pem("PUBLIC KEY", b"rubbish")).contains("signs nothing"));
        assert!(told(&pem("CERTIFICATE", b"rubbish")).contains("signs nothing"));
        assert!(told(&pem("RSA PRIVATE KEY", b"rubbish")).contains("RSA key"));
        assert!(told(&pem("EC PRIVATE KEY", b"rubbish")).contains("curve"));
        let error = VerifyingKey::load(&directory.path().join("none")).unwrap_err();
        assert!(error.to_string().contains("cannot read the key"), "{error}");
        let path = directory.path().join("certificate.pem");
        std::fs::write(&path, pem("CERTIFICATE", b"rubbish")).unwrap();
        assert!(VerifyingKey::load(&path).unwrap_err().to_string().contains("openssl x509"));
        std::fs::write(&path, pem("PUBLIC KEY", b"rubbish")).unwrap();
        assert!(VerifyingKey::load(&path).unwrap_err().to_string().contains("neither ECDSA"));
    }

    #[test]
    fn a_key_is_not_shown() {
        let text = format!("{:?}", key(ED25519));
        assert!(text.len() == "SigningKey()".len() + 64, "{text}");
    }
}
