//! NTLMv2 (MS-NLMP): logging in over three messages, and a session whose messages are sealed.
//!
//! Only what a Windows of this century does: NTLMv2 with extended session security, keys of 128 bits, a key exchange. A server that wants
//! less is refused, for it could be somebody who wants the password.

mod authenticate;
mod challenge;
mod error;
mod flags;
#[cfg(test)]
mod hex;
mod keys;
mod mac;
mod md4;
mod rc4;
mod seal;

pub(crate) use authenticate::{Account, Exchange};
pub(crate) use error::NtlmError;
pub(crate) use seal::{SIGNATURE, Sealing};

/// Both sides of a session: the server's and the client's.
#[cfg(test)]
pub(crate) fn tests_session() -> (Sealing, Sealing) {
    seal::both_sides(&[3; 16])
}
