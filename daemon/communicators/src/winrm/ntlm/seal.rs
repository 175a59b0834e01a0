//! Sealing and unsealing messages of a session (MS-NLMP §3.4): RC4, and a signature with a number, so that none is changed, repeated or left
//! out unseen.

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::error::NtlmError;
use super::keys::{Way, seal_key, sign_key};
use super::mac::hmac;
use super::rc4::Rc4;

/// Length of a signature.
pub(crate) const SIGNATURE: usize = 16;

/// Both ways of one connection.
pub(crate) struct Sealing {
    out: Direction,
    back: Direction,
}

struct Direction {
    key: [u8; 16],
    stream: Rc4,
    number: u32,
}

impl Direction {
    fn new(session: &[u8; 16], way: Way) -> Self {
        Self { key: sign_key(session, way), stream: Rc4::new(&seal_key(session, way)), number: 0 }
    }

    fn signature(&mut self, message: &[u8]) -> [u8; SIGNATURE] {
        let number = self.number.to_le_bytes();
        let code = hmac(&self.key, &[&number, message]);
        let mut short = [0; 8];
        short.copy_from_slice(&code[..8]);
        self.stream.apply(&mut short);
        self.number = self.number.wrapping_add(1);
        let mut signature = [0; SIGNATURE];
        signature[0] = 1;
        signature[4..12].copy_from_slice(&short);
        signature[12..].copy_from_slice(&number);
        signature
    }
}

impl Sealing {
    pub(super) fn new(session: &[u8; 16]) -> Self {
        Self { out: Direction::new(session, Way::ToServer), back: Direction::new(session, Way::ToClient) }
    }

    /// Seals a message in place and returns its signature.
    pub(crate) fn seal(&mut self, message: &mut [u8]) -> [u8; SIGNATURE] {
        // The stream gives the message its bytes before the signature.
        let plain = message.to_vec();
        self.out.stream.apply(message);
        self.out.signature(&plain)
    }

    /// Unseals a message in place; what is not the server's next one is refused.
    pub(crate) fn unseal(&mut self, message: &mut [u8], signature: &[u8]) -> Result<(), NtlmError> {
        self.back.stream.apply(message);
        let expected = self.back.signature(message);
        verify_slices_are_equal(&expected, signature).map_err(|_| NtlmError::Signature)
    }
}

/// The server's side and the client's.
#[cfg(test)]
pub(super) fn both_sides(session: &[u8; 16]) -> (Sealing, Sealing) {
    let server = Sealing { out: Direction::new(session, Way::ToClient), back: Direction::new(session, Way::ToServer) };
    (server, Sealing::new(session))
}

#[cfg(test)]
mod tests {
    use super::super::hex::hex;
    use super::super::keys::utf16;
    use super::*;

    #[test]
    fn a_message_is_sealed_as_in_ms_nlmp_4_2_4_4() {
        let mut sealing = Sealing::new(&[0x55; 16]);
        let mut message = utf16("Plaintext");
        let signature = sealing.seal(&mut message);
        assert_eq!(hex(&message), "54e50165bf1936dc996020c1811b0f06fb5f");
        assert_eq!(hex(&signature), "010000007fb38ec5c55d497600000000");
    }

    #[test]
    fn what_was_changed_repeated_or_left_out_is_refused() {
        let session = [9; 16];
        let sent = || {
            let (mut server, _) = both_sides(&session);
            ["one", "two"].map(|text| {
                let mut message = text.as_bytes().to_vec();
                let signature = server.seal(&mut message);
                (message, signature)
            })
        };
        let mut client = Sealing::new(&session);
        for (mut message, signature) in sent() {
            client.unseal(&mut message, &signature).unwrap();
        }
        let [(first, signature), (second, last)] = sent();
        // Whether the last of them is refused.
        let refused = |messages: &[(&[u8], &[u8])]| {
            let mut client = Sealing::new(&session);
            let read = messages.iter().map(|(message, signature)| client.unseal(&mut message.to_vec(), signature));
            read.fold(false, |_, read| read.is_err())
        };
        assert!(refused(&[(&second, &last)]), "the first one was left out");
        assert!(refused(&[(&first, &signature), (&first, &signature)]), "it was repeated");
        let mut changed = first.clone();
        changed[0] ^= 1;
        assert!(refused(&[(&changed, &signature)]), "it was changed");
        assert!(refused(&[(&first, &signature[..15])]), "the signature is cut");
    }
}
