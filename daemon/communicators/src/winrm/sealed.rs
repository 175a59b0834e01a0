//! Sealed messages in HTTP bodies (MS-WSMV §2.2.9.1): two parts of a multipart, of which the second is no text.

use super::ntlm::{SIGNATURE, Sealing};

/// The kind of such a body.
pub(crate) const KIND: &str =
    "multipart/encrypted;protocol=\"application/HTTP-SPNEGO-session-encrypted\";boundary=\"Encrypted Boundary\"";

/// How the kind of such an answer begins.
const KIND_BEGINS: &str = "multipart/encrypted";

const BOUNDARY: &str = "--Encrypted Boundary";
const LENGTH: &[u8] = b"Length=";
const SECOND: &[u8] = b"Content-Type: application/octet-stream\r\n";

/// Whether an answer of this kind is sealed.
pub(crate) fn is_sealed(kind: &str) -> bool {
    kind.get(..KIND_BEGINS.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(KIND_BEGINS))
}

/// Seals an envelope.
pub(crate) fn seal(sealing: &mut Sealing, envelope: String) -> Vec<u8> {
    let mut message = envelope.into_bytes();
    let mut body = format!(
        "{BOUNDARY}\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n\tOriginalContent: \
         type=application/soap+xml;charset=UTF-8;Length={}\r\n{BOUNDARY}\r\n\tContent-Type: application/octet-stream\r\n",
        message.len()
    )
    .into_bytes();
    let signature = sealing.seal(&mut message);
    body.extend_from_slice(&(SIGNATURE as u32).to_le_bytes());
    body.extend_from_slice(&signature);
    body.extend_from_slice(&message);
    body.extend_from_slice(format!("{BOUNDARY}--\r\n").as_bytes());
    body
}

/// Unseals an answer; the error says what is wrong with it.
pub(crate) fn unseal(sealing: &mut Sealing, body: &[u8]) -> Result<Vec<u8>, &'static str> {
    let broken = "its sealed part cannot be found";
    let mut rest = body;
    let mut whole = Vec::new();
    while let Some(at) = find(rest, LENGTH) {
        let digits = &rest[at + LENGTH.len()..];
        let end = digits.iter().position(|byte| !byte.is_ascii_digit()).ok_or(broken)?;
        let length = std::str::from_utf8(&digits[..end]).ok().and_then(|digits| digits.parse::<usize>().ok());
        let length = length.filter(|length| *length <= body.len()).ok_or(broken)?;
        let start = find(digits, SECOND).ok_or(broken)? + SECOND.len();
        let (count, part) = digits.get(start..).and_then(|part| part.split_first_chunk::<4>()).ok_or(broken)?;
        if u32::from_le_bytes(*count) as usize != SIGNATURE {
            return Err("its signature has a length of its own");
        }
        let (signature, part) = part.split_at_checked(SIGNATURE).ok_or(broken)?;
        let (sealed, after) = part.split_at_checked(length).ok_or(broken)?;
        let mut message = sealed.to_vec();
        sealing.unseal(&mut message, signature).map_err(|_| "its signature is wrong")?;
        whole.extend_from_slice(&message);
        rest = after;
    }
    if whole.is_empty() { Err(broken) } else { Ok(whole) }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|part| part == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_bodies_are_refused() {
        let (_, mut sealing) = crate::winrm::ntlm::tests_session();
        for body in [
            &b""[..],
            b"Length=",
            b"Length=99999999999999999999\r\n",
            b"Length=4\r\n",
            b"Length=4\r\nContent-Type: application/octet-stream\r\n\x10\0\0\0",
            b"Length=4\r\nContent-Type: application/octet-stream\r\n\x11\0\0\x000123456789abcdef0data",
            b"Length=4\r\nContent-Type: application/octet-stream\r\n\x10\0\0\x000123456789abcdefdata",
        ] {
            assert!(unseal(&mut sealing, body).is_err(), "{}", String::from_utf8_lossy(body));
        }
        assert!(is_sealed("Multipart/Encrypted;protocol=x") && !is_sealed("multipart") && !is_sealed("text/xml"));
    }

    #[test]
    fn what_is_sealed_is_read_by_the_other_side() {
        let (mut server, mut client) = crate::winrm::ntlm::tests_session();
        let body = seal(&mut client, "<a/>".to_owned());
        assert_eq!(unseal(&mut server, &body), Ok(b"<a/>".to_vec()));
        let body = seal(&mut server, "<b/>".to_owned());
        assert_eq!(unseal(&mut client, &body), Ok(b"<b/>".to_vec()));
    }
}
