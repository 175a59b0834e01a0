//! TLS to the guest: whom to believe, and the hash by which NTLM binds itself to the connection.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::config::TlsTrust;
use super::error::{Attempt, Failure, Stage};
use crate::unverified::Anybody;

/// How long the handshake may take; an emulated guest signs slowly.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest file of authorities.
const MAX_AUTHORITIES: u64 = 16 << 20;

/// Reads what is trusted.
pub(crate) async fn load(trust: &TlsTrust) -> Result<Arc<ClientConfig>, Attempt> {
    let trust = trust.clone();
    let loading = tokio::task::spawn_blocking(move || settings(&trust).map(Arc::new));
    let failure = match loading.await {
        Ok(Ok(settings)) => return Ok(settings),
        Ok(Err(failure)) => failure,
        Err(error) => Failure::Trust(io::Error::other(error)),
    };
    Err(Attempt::final_at(Stage::Configuration, failure))
}

fn settings(trust: &TlsTrust) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        TlsTrust::Anybody => Arc::new(Anybody::new(Arc::clone(&provider))),
        TlsTrust::System => {
            let found = rustls_native_certs::load_native_certs();
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            verifier(roots, &provider)
                .map_err(|error| Failure::Trust(found.errors.into_iter().next().map_or(error, io::Error::other)))?
        }
        TlsTrust::Authorities(path) => {
            let failed = |source| Failure::Authorities { path: path.clone(), source };
            let roots = read_authorities(path).map_err(failed)?;
            verifier(roots, &provider).map_err(failed)?
        }
    };
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Failure::Trust(io::Error::other(error)))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn verifier(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> io::Result<Arc<WebPkiServerVerifier>> {
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    builder.build().map_err(io::Error::other)
}

fn read_authorities(path: &Path) -> io::Result<RootCertStore> {
    if fs::metadata(path)?.len() > MAX_AUTHORITIES {
        return Err(io::Error::other("the file is too large to hold certificates"));
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&fs::read(path)?) {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    Ok(roots)
}

/// Agrees on TLS over a stream.
pub(crate) async fn agree(
    settings: Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Attempt> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| Attempt::final_at(Stage::Configuration, Failure::Tls(io::Error::other(error))))?;
    match timeout(HANDSHAKE_TIMEOUT, TlsConnector::from(settings).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => {
            let failure = Failure::TimedOut { what: "the TLS handshake", after: HANDSHAKE_TIMEOUT };
            Err(Attempt::new(Stage::Silent, failure))
        }
    }
}

fn failed(error: io::Error) -> Attempt {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(why)) => {
            use rustls::CertificateError as Why;
            // Clocks of guests go wrong and are set right; the rest stays as it is.
            let passes = matches!(
                why,
                Why::Expired | Why::ExpiredContext { .. } | Why::NotValidYet | Why::NotValidYetContext { .. }
            );
            let failure = Failure::Certificate { source: error };
            if passes { Attempt::new(Stage::Tls, failure) } else { Attempt::final_at(Stage::Tls, failure) }
        }
        Some(_) => Attempt::new(Stage::Tls, Failure::Tls(error)),
        // The stream below ended or failed.
        None => Attempt::new(Stage::ClosedAtOnce, Failure::Transport(error)),
    }
}

/// `tls-server-end-point` (RFC 5929): the hash of the certificate by the function it is signed with; by SHA-256 for MD5 and SHA-1.
pub(crate) fn end_point(stream: &TlsStream<TcpStream>) -> Option<Vec<u8>> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    let algorithm = match signed_with(certificate) {
        Some(Hash::Sha384) => &aws_lc_rs::digest::SHA384,
        Some(Hash::Sha512) => &aws_lc_rs::digest::SHA512,
        _ => &aws_lc_rs::digest::SHA256,
    };
    Some(aws_lc_rs::digest::digest(algorithm, certificate).as_ref().to_vec())
}

#[derive(Debug, PartialEq, Eq)]
enum Hash {
    Sha384,
    Sha512,
}

/// Which of the long hashes a certificate is signed with. Its second part begins with the OID of the algorithm (RFC 5280 §4.1).
fn signed_with(certificate: &[u8]) -> Option<Hash> {
    // 1.2.840.113549.1.1.{12,13} for RSA, 1.2.840.10045.4.3.{3,4} for ECDSA.
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
    let (whole, _) = der(certificate)?;
    let (_, rest) = der(whole)?;
    let (algorithm, _) = der(rest)?;
    let (id, _) = der(algorithm)?;
    let (last, family) = id.split_last()?;
    match (family, last) {
        (RSA, 12) | (ECDSA, 3) => Some(Hash::Sha384),
        (RSA, 13) | (ECDSA, 4) => Some(Hash::Sha512),
        _ => None,
    }
}

/// Takes one value of DER off the front: its content, and what follows it.
fn der(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.get(1..)?.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        let digits = rest.get(..count).filter(|_| (1..=4).contains(&count))?;
        (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), &rest[count..])
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEQUENCE { SEQUENCE {}, SEQUENCE { OID }, BIT STRING }.
    fn certificate(id: &[u8]) -> Vec<u8> {
        let mut algorithm = vec![0x06, id.len() as u8];
        algorithm.extend_from_slice(id);
        let mut content = vec![0x30, 0, 0x30, algorithm.len() as u8];
        content.extend_from_slice(&algorithm);
        content.extend_from_slice(&[0x03, 1, 0]);
        let mut whole = vec![0x30, 0x81, content.len() as u8];
        whole.extend_from_slice(&content);
        whole
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        for (last, hash) in [(11, None), (12, Some(Hash::Sha384)), (13, Some(Hash::Sha512)), (5, None)] {
            let whole = certificate(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last]);
            assert_eq!(signed_with(&whole), hash);
            for length in 0..whole.len() {
                assert_eq!(signed_with(&whole[..length]), None, "{length} bytes of it");
            }
        }
        assert_eq!(signed_with(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
