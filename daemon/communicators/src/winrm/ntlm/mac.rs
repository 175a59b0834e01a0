//! MD5 and HMAC-MD5 (RFC 2104), of which NTLM makes its keys and signatures.

use md5::{Digest as _, Md5};

const BLOCK: usize = 64;

/// Returns the MD5 of the parts one after the other.
pub(super) fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut state = Md5::new();
    for part in parts {
        state.update(part);
    }
    state.finalize().into()
}

/// Returns the HMAC-MD5 of the parts one after the other.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut padded = [0; BLOCK];
    if key.len() > BLOCK {
        padded[..16].copy_from_slice(&md5(&[key]));
    } else {
        padded[..key.len()].copy_from_slice(key);
    }
    let inner = padded.map(|byte| byte ^ 0x36);
    let outer = padded.map(|byte| byte ^ 0x5c);
    let mut all: Vec<&[u8]> = vec![&inner];
    all.extend_from_slice(parts);
    md5(&[&outer, &md5(&all)])
}

#[cfg(test)]
mod tests {
    use super::super::hex::hex;
    use super::hmac;

    #[test]
    fn codes_are_those_of_rfc_2202() {
        let code = |key: &[u8], text: &[u8]| hex(&hmac(key, &[text]));
        assert_eq!(code(&[0x0b; 16], b"Hi There"), "9294727a3638bb1c13f48ef8158bfc9d");
        assert_eq!(code(b"Jefe", b"what do ya want for nothing?"), "750c783e6ab0b503eaa86e310a5db738");
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(code(&[0xaa; 80], long), "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }
}
