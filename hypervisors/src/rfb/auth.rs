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

    /// What `openssl enc -des-ecb -nopad -K 16ae762ea64e4c4c` (the password's bytes, bits reversed) makes of the challenge.
    #[test]
    fn a_challenge_is_encrypted_with_the_password() {
        let challenge: [u8; CHALLENGE_BYTES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let expected = [0x4d, 0x01, 0xd5, 0xe1, 0x34, 0x3a, 0xa3, 0xc3, 0x2c, 0x3e, 0x64, 0xa2, 0x4d, 0x5b, 0xed, 0x91];
        assert_eq!(response(challenge, "hunter22"), expected);
        assert_eq!(response([7; 16], "password"), response([7; 16], "passwordX"), "eight characters count");
        assert_ne!(response([7; 16], "password"), response([7; 16], "passwore"));
    }
}
