//! VNC's password: the server's challenge, encrypted with it by DES (RFC 6143, 7.2.2).

use des::Des;
use des::cipher::{Block, BlockCipherEncrypt as _, KeyInit as _};

/// Bytes of a challenge and of its answer.
pub(super) const CHALLENGE_BYTES: usize = 16;

/// Bytes of a password that count.
const KEY_BYTES: usize = 8;

/// What is sent back for `challenge`.
pub(super) fn response(challenge: [u8; CHALLENGE_BYTES], password: &str) -> [u8; CHALLENGE_BYTES] {
    let mut key = [0; KEY_BYTES];
    for (place, byte) in key.iter_mut().zip(password.bytes()) {
        // VNC numbers the bits of a key from the other end than DES.
        *place = byte.reverse_bits();
    }
    let cipher = Des::new(&key.into());
    let mut answer = challenge;
    for half in answer.chunks_exact_mut(KEY_BYTES) {
        let mut block = Block::<Des>::default();
        block.copy_from_slice(half);
        cipher.encrypt_block(&mut block);
        half.copy_from_slice(&block);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `python3` with OpenSSL: `openssl enc -des-ecb -nopad -K <password's bytes with their bits reversed>` of the challenge.
    #[test]
    fn a_challenge_is_encrypted_with_the_password() {
        // With a key of zeroes DES makes 8ca64de9c1b123a7 of eight zeroes (NIST SP 800-17, the variable plaintext test's neighbour).
        let zeroes = response([0; CHALLENGE_BYTES], "");
        assert_eq!(zeroes[..8], [0x8c, 0xa6, 0x4d, 0xe9, 0xc1, 0xb1, 0x23, 0xa7]);
        assert_eq!(zeroes[8..], zeroes[..8]);
        assert_eq!(response([7; 16], "password"), response([7; 16], "passwordX"), "eight characters count");
        assert_ne!(response([7; 16], "password"), response([7; 16], "passwore"));
    }
}
