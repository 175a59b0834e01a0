//! Negotiation flags (MS-NLMP §2.2.2.5).

pub(super) const UNICODE: u32 = 1;
pub(super) const REQUEST_TARGET: u32 = 4;
pub(super) const SIGN: u32 = 0x10;
pub(super) const SEAL: u32 = 0x20;
pub(super) const NTLM: u32 = 0x200;
pub(super) const ALWAYS_SIGN: u32 = 0x8000;
pub(super) const EXTENDED_SESSION_SECURITY: u32 = 0x8_0000;
pub(super) const TARGET_INFO: u32 = 0x80_0000;
pub(super) const VERSION: u32 = 0x200_0000;
pub(super) const KEYS_OF_128_BITS: u32 = 0x2000_0000;
pub(super) const KEY_EXCHANGE: u32 = 0x4000_0000;
