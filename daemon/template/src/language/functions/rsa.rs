//! Owns `rsadecrypt`: RSA with PKCS #1 v1.5 padding and keys in PEM. What is decrypted is the caller's own, on the caller's
//! own machine, so how long it takes tells nobody anything.
//!
//! By hand, because aws-lc-rs, which the daemon links, does not serve: it refuses keys of less than 2048 bits, which Packer
//! takes, reads a key to decrypt with only in PKCS #8, and would bring its C library into the client, which evaluates
//! expressions too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dashu_int::UBig;
use dashu_int::fast_div::ConstDivisor;

use super::table::{Answer, Call, Failure};

/// Bytes of the largest modulus: 16384 bits.
const MAX_MODULUS: usize = 2048;

/// Modulus and private exponent.
struct Key {
    modulus: UBig,
    exponent: UBig,
}

pub(super) fn decrypt(call: &Call<'_>) -> Answer {
    let ciphertext = STANDARD
        .decode(call.text(0).trim())
        .map_err(|error| Failure::at(0, format!("failed to decode input: {error}")))?;
    let key = parse(call.text(1)).map_err(|reason| Failure::at(1, reason))?;
    let size = key.modulus.to_be_bytes().len();
    let number = UBig::from_be_bytes(&ciphertext);
    if ciphertext.len() > size || number >= key.modulus {
        return Err(Failure::at(0, "decryption failed: the message is longer than the key"));
    }
    let ring = ConstDivisor::new(key.modulus);
    let message = ring.reduce(number).pow(&key.exponent).residue().to_be_bytes();
    let plain = unpad(&message, size).ok_or_else(|| {
        Failure::at(0, "decryption failed: the message was not encrypted for this key, or not with PKCS #1 v1.5")
    })?;
    match std::str::from_utf8(plain) {
        Ok(text) => Ok(text.into()),
        Err(_) => Err(Failure::at(0, "the decrypted message is not text")),
    }
}

/// Takes off `00 02 (8 bytes or more, none 0) 00`; the first byte of a number is never 0.
fn unpad(message: &[u8], size: usize) -> Option<&[u8]> {
    let padded = message.strip_prefix(&[2]).filter(|_| message.len() + 1 == size)?;
    let end = padded.iter().position(|byte| *byte == 0).filter(|end| *end >= 8)?;
    padded.get(end + 1..)
}

/// Reads a private key: PKCS #1 (`RSA PRIVATE KEY`) or PKCS #8 (`PRIVATE KEY`).
fn parse(pem: &str) -> Result<Key, String> {
    let wrong = |reason: &str| format!("failed to parse key: {reason}");
    let (_, rest) = pem.split_once("-----BEGIN ").ok_or_else(|| wrong("no PEM block was found"))?;
    let (kind, rest) = rest.split_once("-----").ok_or_else(|| wrong("the PEM header has no end"))?;
    let end = format!("-----END {kind}-----");
    let (body, _) = rest.split_once(&end).ok_or_else(|| wrong("the PEM block has no end"))?;
    if body.contains("ENCRYPTED") || kind.contains("ENCRYPTED") {
        return Err(wrong("the key is protected with a passphrase"));
    }
    let text: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    let der = STANDARD.decode(text).map_err(|_| wrong("the PEM block is not Base64"))?;
    let key = match kind {
        "RSA PRIVATE KEY" => pkcs1(&der),
        "PRIVATE KEY" => pkcs8(&der),
        "OPENSSH PRIVATE KEY" => {
            return Err(wrong("the key is in OpenSSH's own format; `ssh-keygen -p -m PEM -f FILE` converts it"));
        }
        other => return Err(wrong(&format!("{other:?} is no kind of RSA private key"))),
    };
    let key = key.ok_or_else(|| wrong("it is no RSA private key"))?;
    let bytes = key.modulus.to_be_bytes().len();
    if bytes > MAX_MODULUS || key.exponent.to_be_bytes().len() > bytes || bytes < 16 {
        return Err(wrong("its size is not between 128 and 16384 bits"));
    }
    Ok(key)
}

/// `SEQUENCE { version, modulus, public exponent, private exponent, … }`
fn pkcs1(der: &[u8]) -> Option<Key> {
    let (mut fields, _) = element(der, SEQUENCE)?;
    let mut number = || {
        let (bytes, rest) = element(fields, INTEGER)?;
        fields = rest;
        Some(UBig::from_be_bytes(bytes))
    };
    number()?;
    let modulus = number()?;
    number()?;
    Some(Key { modulus, exponent: number()? })
}

/// `SEQUENCE { version, algorithm, OCTET STRING of PKCS #1 }`
fn pkcs8(der: &[u8]) -> Option<Key> {
    let (fields, _) = element(der, SEQUENCE)?;
    let (_, fields) = element(fields, INTEGER)?;
    let (_, fields) = element(fields, SEQUENCE)?;
    let (inner, _) = element(fields, OCTET_STRING)?;
    pkcs1(inner)
}

const INTEGER: u8 = 2;
const OCTET_STRING: u8 = 4;
const SEQUENCE: u8 = 0x30;

/// Returns the content of a DER element with this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        let (bytes, rest) = rest.split_at_checked(count).filter(|_| (1..=4).contains(&count))?;
        (bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest)
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of 512 bits, good for nothing else, in PKCS #1 and PKCS #8, and a message that OpenSSL encrypted for it:
    /// `openssl pkeyutl -encrypt -pkeyopt rsa_padding_mode:pkcs1`.
    const PKCS1: &str = "MIIBOQIBAAJBAPAul3vOEAXAdLBc/hHSVv0qFAVXb3xBSdrINHi1AHWak6SvRs3Xiw6VWajJpquCti4oyQ927bYnJKanc/jdwuEC\
        AwEAAQJAQQDLHMW7TmM08ZppZNdhlajyvDNax+0/mMfAc77A/hKug5HDyu3kzEKJLjMsvQ/WtEYdt+YXCflt1l3fsbcP5QIhAP/P\
        DB3vSM4ElWMHd4ZcPK6g4pPNReLIKK6QDPlWU/yPAiEA8FyN0oGOHyrjWcKzD1GH/f7Z2CoxLGnd2F3DR9Jm4Y8CIFmvfJ8OIqdg\
        QgPLPWOU+Q18iJOrN2JQLLsu8+2DD8UPAiBBu94hWsMGbRE+JAwaPV7mrMLg5jEKh21fVc0pIDZ4qwIgHtP5xyg3EWzfNzUV0gPH\
        T64hwYnRWI8nCda3kNs0+Zw=";
    const PKCS8: &str = "MIIBUwIBADANBgkqhkiG9w0BAQEFAASCAT0wggE5AgEAAkEA8C6Xe84QBcB0sFz+EdJW/SoUBVdvfEFJ2sg0eLUAdZqTpK9GzdeL\
        DpVZqMmmq4K2LijJD3bttickpqdz+N3C4QIDAQABAkBBAMscxbtOYzTxmmlk12GVqPK8M1rH7T+Yx8BzvsD+Eq6DkcPK7eTMQoku\
        Myy9D9a0Rh235hcJ+W3WXd+xtw/lAiEA/88MHe9IzgSVYwd3hlw8rqDik81F4sgorpAM+VZT/I8CIQDwXI3SgY4fKuNZwrMPUYf9\
        /tnYKjEsad3YXcNH0mbhjwIgWa98nw4ip2BCA8s9Y5T5DXyIk6s3YlAsuy7z7YMPxQ8CIEG73iFawwZtET4kDBo9XuaswuDmMQqH\
        bV9VzSkgNnirAiAe0/nHKDcRbN83NRXSA8dPriHBidFYjycJ1reQ2zT5nA==";
    const MESSAGE: &str = "CdmBPrhAGskDIhFiiJqCaTC4mK0YhgBmhowABGWbhNFgMFGak7vbZR9kw7yDeEgbH60qj5esyDu01h6ag8bDew==";

    fn pem(kind: &str, body: &str) -> String {
        format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n")
    }

    fn decrypted(message: &str, key: &str) -> String {
        crate::language::eval::tests::evaluated(&format!("rsadecrypt(\"{message}\", {key:?})"))
    }

    #[test]
    fn what_openssl_encrypted_is_decrypted() {
        for key in [pem("RSA PRIVATE KEY", PKCS1), pem("PRIVATE KEY", PKCS8)] {
            assert_eq!(decrypted(MESSAGE, &key), "\"message\" string");
        }
        let key = pem("PRIVATE KEY", PKCS8);
        assert_eq!(decrypted("AAAA", &key), "ERR Invalid function argument");
        assert_eq!(decrypted("!", &key), "ERR Invalid function argument");
        assert_eq!(decrypted(&format!("{MESSAGE}{MESSAGE}"), &key), "ERR Invalid function argument");
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        for (pem, reason) in [
            ("", "no PEM block"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMIIB", "no end"),
            ("-----BEGIN RSA PRIVATE KEY-----\n!\n-----END RSA PRIVATE KEY-----", "not Base64"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----", "no RSA private key"),
            ("-----BEGIN EC PRIVATE KEY-----\nMIIB\n-----END EC PRIVATE KEY-----", "no kind of RSA"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nMIIB\n-----END OPENSSH PRIVATE KEY-----", "ssh-keygen"),
        ] {
            let error = parse(pem).map(|_| ()).unwrap_err();
            assert!(error.contains(reason), "{pem}: {error}");
        }
        // Every cut through a good key is refused or read, never a panic.
        for end in 0..PKCS1.len() {
            let _ = parse(&pem("RSA PRIVATE KEY", &PKCS1[..end]));
            let _ = parse(&pem("PRIVATE KEY", &PKCS8[..end]));
        }
    }
}
