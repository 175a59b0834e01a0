//! What is read of an NVRAM that VirtualBox's firmware wrote: whether secure boot is on, which its settings do not say.

use std::ops::Range;

/// EDK II's header of a variable with an authentication, in front of its name.
const HEADER: usize = 60;
/// Its first two bytes, and the state of a variable that was neither replaced nor deleted.
const START: [u8; 2] = [0xaa, 0x55];
const STATE_IN_USE: u8 = 0x3f;
/// `f0a30bc7-af08-4556-99c4-001009c93a44`, whose variables are those of EDK II's secure boot.
const OWNER: [u8; 16] =
    [0xc7, 0x0b, 0xa3, 0xf0, 0x08, 0xaf, 0x56, 0x45, 0x99, 0xc4, 0x00, 0x10, 0x09, 0xc9, 0x3a, 0x44];
/// In UTF-16, with a zero at its end, as all names.
const NAME: &str = "SecureBootEnable\0";

/// Says whether secure boot is on; `None` where the NVRAM does not say it, as before the machine's keys are there.
pub(crate) fn secure_boot(nvram: &[u8]) -> Option<bool> {
    let name: Vec<u8> = NAME.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let is_one = |at: &usize| {
        let field = |range: Range<usize>| &nvram[*at..][range];
        field(0..2) == START
            && field(2..3) == [STATE_IN_USE]
            && field(36..40) == (name.len() as u32).to_le_bytes()
            && field(40..44) == 1u32.to_le_bytes()
            && field(44..HEADER) == OWNER
            && field(HEADER..HEADER + name.len()) == name
    };
    let length = HEADER + name.len() + 1;
    let last = nvram.len().checked_sub(length)?;
    let at = (0..=last).find(is_one)?;
    Some(nvram[at + length - 1] == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As VirtualBox 7.2 writes it.
    fn variable(state: u8, value: u8) -> Vec<u8> {
        let mut bytes = vec![0xaa, 0x55, state, 0, 7, 0, 0, 0];
        bytes.resize(36, 0);
        bytes.extend([0x22, 0, 0, 0, 1, 0, 0, 0]);
        bytes.extend(OWNER);
        bytes.extend("SecureBootEnable\0".encode_utf16().flat_map(u16::to_le_bytes));
        bytes.push(value);
        bytes
    }

    #[test]
    fn the_variable_that_is_in_use_is_read() {
        let around = |variables: &[Vec<u8>]| [&[0xff; 77][..], &variables.concat(), &[0xff; 9]].concat();
        assert_eq!(secure_boot(&around(&[variable(0x3f, 1)])), Some(true));
        assert_eq!(secure_boot(&around(&[variable(0x3f, 0)])), Some(false));
        assert_eq!(secure_boot(&around(&[variable(0x3c, 1), variable(0x3f, 0)])), Some(false));
        assert_eq!(secure_boot(&around(&[variable(0x3c, 1)])), None);
        assert_eq!(secure_boot(&variable(0x3f, 1)), Some(true));
    }

    #[test]
    fn what_is_none_or_cut_off_says_nothing() {
        let whole = variable(0x3f, 1);
        for length in 0..whole.len() {
            assert_eq!(secure_boot(&whole[..length]), None, "{length}");
        }
        for at in [0, 2, 36, 40, 44, 60] {
            let mut broken = whole.clone();
            broken[at] ^= 0x80;
            assert_eq!(secure_boot(&broken), None, "{at}");
        }
    }
}
