//! Reads a server's challenge (MS-NLMP §2.2.1.2). It is hostile input: every offset and length is checked.

use super::error::NtlmError;
use super::flags;

/// The longest challenge that is looked at; real ones have some hundreds of bytes.
const MAX_BYTES: usize = 16 << 10;

/// What the server says.
#[derive(Debug)]
pub(super) struct Challenge {
    pub(super) flags: u32,
    pub(super) nonce: [u8; 8],
    /// Attributes of the server, by number, without the end.
    pub(super) attributes: Vec<(u16, Vec<u8>)>,
}

/// `MsvAvEOL`.
const END: u16 = 0;
/// `MsvAvTimestamp`.
pub(super) const TIME: u16 = 7;

impl Challenge {
    /// Reads one.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, NtlmError> {
        let broken = |what| NtlmError::Challenge { what };
        if bytes.len() > MAX_BYTES {
            return Err(broken("it is too long"));
        }
        if !bytes.starts_with(b"NTLMSSP\0") || number(bytes, 8) != Some(2) {
            return Err(broken("it is none"));
        }
        let flags = number(bytes, 20).ok_or(broken("it ends early"))?;
        let nonce = bytes.get(24..32).and_then(|bytes| bytes.try_into().ok()).ok_or(broken("it ends early"))?;
        let mut attributes = Vec::new();
        if flags & flags::TARGET_INFO != 0 {
            let length = short(bytes, 40).ok_or(broken("it ends early"))?;
            let start = number(bytes, 44).and_then(|start| usize::try_from(start).ok());
            let info = start.and_then(|start| bytes.get(start..)?.get(..usize::from(length)));
            attributes = read_attributes(info.ok_or(broken("its target information lies outside"))?)?;
        }
        Ok(Self { flags, nonce, attributes })
    }

    /// The server's clock, when it tells it.
    pub(super) fn time(&self) -> Option<[u8; 8]> {
        let (_, value) = self.attributes.iter().find(|(id, _)| *id == TIME)?;
        value.as_slice().try_into().ok()
    }
}

fn read_attributes(mut rest: &[u8]) -> Result<Vec<(u16, Vec<u8>)>, NtlmError> {
    let broken = NtlmError::Challenge { what: "an attribute ends early" };
    let mut attributes = Vec::new();
    while let (Some(id), Some(length)) = (short(rest, 0), short(rest, 2)) {
        if id == END {
            return Ok(attributes);
        }
        let Some(value) = rest.get(4..4 + usize::from(length)) else { return Err(broken) };
        attributes.push((id, value.to_vec()));
        rest = &rest[4 + value.len()..];
    }
    Err(broken)
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_prefix_of_a_challenge_and_no_wild_offset_is_believed() {
        let mut whole = b"NTLMSSP\0\x02\0\0\0\0\0\0\0\x38\0\0\0".to_vec();
        whole.extend_from_slice(&flags::TARGET_INFO.to_le_bytes());
        whole.extend_from_slice(&[7; 8]);
        whole.extend_from_slice(&[0; 8]);
        whole.extend_from_slice(&[16, 0, 16, 0, 48, 0, 0, 0]);
        whole.extend_from_slice(&[7, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0]);
        let challenge = Challenge::read(&whole).unwrap();
        assert_eq!((challenge.nonce, challenge.time()), ([7; 8], Some([1, 2, 3, 4, 5, 6, 7, 8])));
        for length in 0..whole.len() {
            assert!(Challenge::read(&whole[..length]).is_err(), "{length} bytes of it");
        }
        for (at, value) in [(40, 255), (44, 255), (47, 255), (50, 255), (8, 3)] {
            let mut wrong = whole.clone();
            wrong[at] = value;
            assert!(Challenge::read(&wrong).is_err(), "byte {at}");
        }
    }
}
