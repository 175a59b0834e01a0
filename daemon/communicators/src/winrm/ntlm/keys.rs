//! The keys of NTLMv2 (MS-NLMP §3.3.2, §3.4.5).

use super::mac::{hmac, md5};
use super::md4;

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    ToClient,
}

/// Text as NTLM has it.
pub(super) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A user's name in capitals, as Windows has them: letter by letter, so one that has no single capital stays.
fn upper(user: &str) -> String {
    let capital = |letter: char| {
        let mut capitals = letter.to_uppercase();
        match (capitals.next(), capitals.next()) {
            (Some(capital), None) => capital,
            _ => letter,
        }
    };
    user.chars().map(capital).collect()
}

/// `NTOWFv2`: what a server keeps of a user and the password.
pub(super) fn owner_key(user: &str, domain: &str, password: &str) -> [u8; 16] {
    let secret = md4::digest(&utf16(password));
    hmac(&secret, &[&utf16(&upper(user)), &utf16(domain)])
}

/// `SIGNKEY`.
pub(super) fn sign_key(session: &[u8; 16], way: Way) -> [u8; 16] {
    let magic: &[u8] = match way {
        Way::ToServer => b"session key to client-to-server signing key magic constant\0",
        Way::ToClient => b"session key to server-to-client signing key magic constant\0",
    };
    md5(&[session, magic])
}

/// `SEALKEY` of 128 bits.
pub(super) fn seal_key(session: &[u8; 16], way: Way) -> [u8; 16] {
    let magic: &[u8] = match way {
        Way::ToServer => b"session key to client-to-server sealing key magic constant\0",
        Way::ToClient => b"session key to server-to-client sealing key magic constant\0",
    };
    md5(&[session, magic])
}

#[cfg(test)]
mod tests {
    use super::super::hex::hex;
    use super::*;

    #[test]
    fn capitals_are_letters_for_letters() {
        assert_eq!(upper("gro\u{df} \u{fc}ser \u{fb01}x"), "GRO\u{df} \u{dc}SER \u{fb01}X");
        assert_ne!(owner_key("gro\u{df}", "", "x"), owner_key("gross", "", "x"));
    }

    #[test]
    fn keys_are_those_of_ms_nlmp_4_2_4() {
        assert_eq!(hex(&owner_key("User", "Domain", "Password")), "0c868a403bfd7a93a3001ef22ef02e3f");
        let session = [0x55; 16];
        assert_eq!(hex(&sign_key(&session, Way::ToServer)), "4788dc861b4782f35d43fd98fe1a2d39");
        assert_eq!(hex(&seal_key(&session, Way::ToServer)), "59f600973cc4960a25480a7c196e4c58");
    }
}
