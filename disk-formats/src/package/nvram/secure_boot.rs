//! Secure boot in a store of EDK II's firmware: whether it is on, which VirtualBox's settings do not say, and its keys.

use std::ops::Range;

use super::variables::{Owner, TIME_BASED_AUTHENTICATED, Variable};

/// EDK II's header of a variable with an authentication, in front of its name.
const HEADER: usize = 60;
/// Its first two bytes, and the state of a variable that was neither replaced nor deleted.
const START: [u8; 2] = [0xaa, 0x55];
const STATE_IN_USE: u8 = 0x3f;
/// In UTF-16, with a zero at its end, as all names.
const NAME: &str = "SecureBootEnable\0";
/// Whose signatures count: the platform's owner, who may change the databases, what may be started, and what not any more.
const KEYS: [(Owner, &str); 4] =
    [(Owner::UEFI, "PK"), (Owner::UEFI, "KEK"), (Owner::IMAGE_SECURITY, "db"), (Owner::IMAGE_SECURITY, "dbx")];

/// Says whether secure boot is on; `None` where the NVRAM does not say it, as before the machine's keys are there.
pub(crate) fn secure_boot(nvram: &[u8]) -> Option<bool> {
    let name: Vec<u8> = NAME.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let is_one = |at: &usize| {
        let field = |range: Range<usize>| &nvram[*at..][range];
        field(0..2) == START
            && field(2..3) == [STATE_IN_USE]
            && field(36..40) == (name.len() as u32).to_le_bytes()
            && field(40..44) == 1u32.to_le_bytes()
            && field(44..HEADER) == Owner::EDK2_SWITCH.0
            && field(HEADER..HEADER + name.len()) == name
    };
    let length = HEADER + name.len() + 1;
    let last = nvram.len().checked_sub(length)?;
    let at = (0..=last).find(is_one)?;
    Some(nvram[at + length - 1] == 1)
}

/// Returns the keys, and the switch in its present place. They are taken as they are, with the time of their signature, so that what may
/// replace them stays the same. Without the platform's owner nobody has enrolled any, and secure boot is off.
pub(super) fn keys(variables: &[Variable]) -> Vec<Variable> {
    let is_key = |variable: &&Variable| {
        KEYS.iter().any(|(owner, name)| variable.is(*owner, name))
            && variable.attributes & TIME_BASED_AUTHENTICATED != 0
            || variable.is(Owner::EDK2_SWITCH, NAME.trim_end_matches('\0'))
    };
    let keys: Vec<Variable> = variables.iter().filter(is_key).cloned().collect();
    let has_owner = keys.iter().any(|variable| variable.is(Owner::UEFI, "PK"));
    if has_owner { keys } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As VirtualBox 7.2 writes it.
    fn variable(state: u8, value: u8) -> Vec<u8> {
        let mut bytes = vec![0xaa, 0x55, state, 0, 7, 0, 0, 0];
        bytes.resize(36, 0);
        bytes.extend([0x22, 0, 0, 0, 1, 0, 0, 0]);
        bytes.extend(Owner::EDK2_SWITCH.0);
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
