//! The client's two messages (MS-NLMP §2.2.1.1, §2.2.1.3) and what they are made of.

use std::time::{SystemTime, UNIX_EPOCH};

use super::challenge::{Challenge, TIME};
use super::error::NtlmError;
use super::flags;
use super::keys::{owner_key, utf16};
use super::mac::{hmac, md5};
use super::rc4::Rc4;
use super::seal::Sealing;
use crate::secret::Secret;

/// What is asked for.
const WANTED: u32 = flags::UNICODE
    | flags::REQUEST_TARGET
    | flags::SIGN
    | flags::SEAL
    | flags::NTLM
    | flags::ALWAYS_SIGN
    | flags::EXTENDED_SESSION_SECURITY
    | flags::TARGET_INFO
    | flags::VERSION
    | flags::KEYS_OF_128_BITS
    | flags::KEY_EXCHANGE;

/// What there is no session without.
const NEEDED: [(u32, &str); 6] = [
    (flags::UNICODE, "Unicode"),
    (flags::SIGN, "signatures"),
    (flags::SEAL, "sealing"),
    (flags::EXTENDED_SESSION_SECURITY, "extended session security"),
    (flags::KEYS_OF_128_BITS, "keys of 128 bits"),
    (flags::KEY_EXCHANGE, "a key exchange"),
];

/// Windows 10, NTLM revision 15; servers show it in their logs only.
const VERSION: [u8; 8] = [10, 0, 0x61, 0x4a, 0, 0, 0, 15];

/// Where an authenticate message has its MIC, and where its fields end.
const MIC: std::ops::Range<usize> = 72..88;

/// `MsvAvFlags`, `MsvAvTargetName`, `MsvChannelBindings`.
const ATTRIBUTE_FLAGS: u16 = 6;
const TARGET_NAME: u16 = 9;
const CHANNEL_BINDINGS: u16 = 10;

/// `MsvAvFlags`: the message has a MIC.
const HAS_MIC: u32 = 2;

/// From 1601, where Windows' time begins, to 1970, in seconds.
const EPOCHS_APART: u64 = 11_644_473_600;

/// Who logs in.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) domain: String,
    pub(crate) password: Secret,
}

impl Account {
    /// `DOMAIN\user`, `user@domain`, or a user of the guest's own.
    pub(crate) fn new(name: &str, password: &Secret) -> Self {
        let (domain, user) = name.split_once('\\').unwrap_or(("", name));
        Self { user: user.to_owned(), domain: domain.to_owned(), password: password.clone() }
    }
}

/// A login under way.
pub(crate) struct Exchange {
    negotiate: Vec<u8>,
}

/// What is drawn anew for each login.
struct Drawn {
    nonce: [u8; 8],
    session: [u8; 16],
    now: [u8; 8],
}

impl Exchange {
    /// Begins one.
    pub(crate) fn begin() -> Self {
        let mut negotiate = b"NTLMSSP\0\x01\0\0\0".to_vec();
        negotiate.extend_from_slice(&WANTED.to_le_bytes());
        negotiate.extend_from_slice(&[0; 16]);
        negotiate.extend_from_slice(&VERSION);
        Self { negotiate }
    }

    /// The first message.
    pub(crate) fn negotiate(&self) -> &[u8] {
        &self.negotiate
    }

    /// Answers the server's challenge. `certificate` is the hash of the certificate of the TLS connection that this goes through, so that
    /// nobody can pass the login on to another server.
    pub(crate) fn answer(
        self,
        challenge: &[u8],
        account: &Account,
        target: &str,
        certificate: Option<&[u8]>,
    ) -> Result<(Vec<u8>, Sealing), NtlmError> {
        let mut drawn = Drawn { nonce: [0; 8], session: [0; 16], now: windows_time() };
        aws_lc_rs::rand::fill(&mut drawn.nonce).map_err(|_| NtlmError::Random)?;
        aws_lc_rs::rand::fill(&mut drawn.session).map_err(|_| NtlmError::Random)?;
        let read = Challenge::read(challenge)?;
        if let Some((_, what)) = NEEDED.into_iter().find(|(flag, _)| read.flags & flag == 0) {
            return Err(NtlmError::Weak { what });
        }
        let mut read = read;
        let has_time = read.time().is_some();
        read.attributes.retain(|(id, _)| ![ATTRIBUTE_FLAGS, TARGET_NAME, CHANNEL_BINDINGS].contains(id));
        if has_time {
            read.attributes.push((ATTRIBUTE_FLAGS, HAS_MIC.to_le_bytes().to_vec()));
        }
        read.attributes.push((CHANNEL_BINDINGS, channel_bindings(certificate).to_vec()));
        read.attributes.push((TARGET_NAME, utf16(target)));
        let mut message = message(&read, account, &drawn);
        if has_time {
            let code = hmac(&drawn.session, &[&self.negotiate, challenge, &message]);
            message[MIC].copy_from_slice(&code);
        }
        Ok((message, Sealing::new(&drawn.session)))
    }
}

/// The NTLMv2 response, and the key that the session's key is hidden with (MS-NLMP §3.3.2).
fn response(challenge: &Challenge, owner: &[u8; 16], drawn: &Drawn) -> (Vec<u8>, [u8; 16]) {
    let mut blob = vec![1, 1, 0, 0, 0, 0, 0, 0];
    blob.extend_from_slice(&challenge.time().unwrap_or(drawn.now));
    blob.extend_from_slice(&drawn.nonce);
    blob.extend_from_slice(&[0; 4]);
    for (id, value) in &challenge.attributes {
        blob.extend_from_slice(&id.to_le_bytes());
        blob.extend_from_slice(&(value.len() as u16).to_le_bytes());
        blob.extend_from_slice(value);
    }
    blob.extend_from_slice(&[0; 8]);
    let proof = hmac(owner, &[&challenge.nonce, &blob]);
    let key = hmac(owner, &[&proof]);
    ([proof.as_slice(), &blob].concat(), key)
}

/// The authenticate message, without its MIC.
fn message(challenge: &Challenge, account: &Account, drawn: &Drawn) -> Vec<u8> {
    let owner = owner_key(&account.user, &account.domain, account.password.expose());
    let (nt, key) = response(challenge, &owner, drawn);
    let lm = match challenge.attributes.iter().any(|(id, _)| *id == TIME) {
        // Whoever tells the time wants none.
        true => vec![0; 24],
        false => [hmac(&owner, &[&challenge.nonce, &drawn.nonce]).as_slice(), &drawn.nonce].concat(),
    };
    let mut session = drawn.session;
    Rc4::new(&key).apply(&mut session);
    let (domain, user) = (utf16(&account.domain), utf16(&account.user));
    // In the order of their fields; the workstation stays empty.
    let parts: [&[u8]; 6] = [&lm, &nt, &domain, &user, &[], &session];
    let mut head = b"NTLMSSP\0\x03\0\0\0".to_vec();
    let mut payload = Vec::new();
    for part in parts {
        let (length, offset) = (part.len() as u16, (MIC.end + payload.len()) as u32);
        head.extend_from_slice(&length.to_le_bytes());
        head.extend_from_slice(&length.to_le_bytes());
        head.extend_from_slice(&offset.to_le_bytes());
        payload.extend_from_slice(part);
    }
    head.extend_from_slice(&(challenge.flags & WANTED).to_le_bytes());
    head.extend_from_slice(&VERSION);
    head.extend_from_slice(&[0; 16]);
    head.extend_from_slice(&payload);
    head
}

/// The MD5 of a `gss_channel_bindings_struct` with the binding `tls-server-end-point` (RFC 5929); zeros without one.
fn channel_bindings(certificate: Option<&[u8]>) -> [u8; 16] {
    let Some(hash) = certificate else { return [0; 16] };
    let data = [b"tls-server-end-point:", hash].concat();
    md5(&[&[0; 16], &(data.len() as u32).to_le_bytes(), &data])
}

/// Now, in units of 100 ns since 1601.
fn windows_time() -> [u8; 8] {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ticks = (since.as_secs().saturating_add(EPOCHS_APART)).saturating_mul(10_000_000);
    ticks.saturating_add(u64::from(since.subsec_nanos() / 100)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::hex::hex;
    use super::*;

    fn account() -> Account {
        Account { user: "User".to_owned(), domain: "Domain".to_owned(), password: "Password".into() }
    }

    fn drawn() -> Drawn {
        Drawn { nonce: [0xaa; 8], session: [0x55; 16], now: [0; 8] }
    }

    fn challenge() -> Challenge {
        let attributes = vec![(2, utf16("Domain")), (1, utf16("Server"))];
        Challenge { flags: WANTED, nonce: [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef], attributes }
    }

    #[test]
    fn the_answer_is_that_of_ms_nlmp_4_2_4() {
        let owner = owner_key("User", "Domain", "Password");
        let (nt, key) = response(&challenge(), &owner, &drawn());
        assert_eq!(hex(&nt[..16]), "68cd0ab851e51c96aabc927bebef6a1c");
        assert_eq!(hex(&key), "8de40ccadbc14a82f15cb0ad0de95ca3");
        let message = message(&challenge(), &account(), &drawn());
        let field = |at: usize| {
            let length = usize::from(u16::from_le_bytes([message[at], message[at + 1]]));
            let start = u32::from_le_bytes(message[at + 4..at + 8].try_into().unwrap()) as usize;
            &message[start..start + length]
        };
        assert_eq!(hex(field(12)), "86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa");
        assert_eq!((field(28), field(36), field(44)), (&utf16("Domain")[..], &utf16("User")[..], &[][..]));
        assert_eq!(hex(field(52)), "c5dad2544fc9799094ce1ce90bc9d03e");
    }

    #[test]
    fn a_server_that_wants_less_is_refused() {
        let bytes = |flags: u32| {
            let mut bytes = b"NTLMSSP\0\x02\0\0\0\0\0\0\0\x38\0\0\0".to_vec();
            bytes.extend_from_slice(&flags.to_le_bytes());
            bytes.extend_from_slice(&[7; 16]);
            bytes.extend_from_slice(&[4, 0, 4, 0, 48, 0, 0, 0, 0, 0, 0, 0]);
            bytes
        };
        let answer = |flags| Exchange::begin().answer(&bytes(flags), &account(), "HTTP/guest", None);
        assert!(answer(WANTED).is_ok());
        for (flag, what) in NEEDED {
            let Err(error) = answer(WANTED & !flag) else { panic!("without {what}") };
            assert!(error.to_string().contains(what), "{error}");
        }
    }

    #[test]
    fn names_say_where_a_user_is_known() {
        let split = |name| {
            let account = Account::new(name, &"x".into());
            (account.domain, account.user)
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(split("packer"), pair("", "packer"));
        assert_eq!(split("CORP\\packer"), pair("CORP", "packer"));
        assert_eq!(split("packer@corp.example"), pair("", "packer@corp.example"));
    }
}
