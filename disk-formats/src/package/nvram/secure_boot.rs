//! Secure boot in a store of EDK II's firmware: whether it is on, which VirtualBox's settings do not say, and its keys.

use super::edk2;
use super::variables::{MAX_STORE, Owner, TIME_BASED_AUTHENTICATED, Variable};

/// The switch, whose one byte is 1 where it is on.
const SWITCH: &str = "SecureBootEnable";
/// Whose signatures count: the platform's owner, who may change the databases, what may be started, and what not any more.
const KEYS: [(Owner, &str); 4] =
    [(Owner::UEFI, "PK"), (Owner::UEFI, "KEK"), (Owner::IMAGE_SECURITY, "db"), (Owner::IMAGE_SECURITY, "dbx")];

/// Says whether secure boot is on; `None` where the NVRAM does not say it, as before the machine's keys are there.
pub(crate) fn secure_boot(nvram: &[u8]) -> Option<bool> {
    let variables = edk2::read(&nvram[..nvram.len().min(MAX_STORE)])?;
    match variables.iter().find(|variable| variable.is(Owner::EDK2_SWITCH, SWITCH))?.data[..] {
        [value] => Some(value == 1),
        _ => None,
    }
}

/// Returns the keys, and the switch in its present place. They are taken as they are, with the time of their signature, so that what may
/// replace them stays the same. Without the platform's owner nobody has enrolled any, and secure boot is off.
pub(super) fn keys(variables: &[Variable]) -> Vec<Variable> {
    let is_key = |variable: &&Variable| {
        KEYS.iter().any(|(owner, name)| variable.is(*owner, name))
            && variable.attributes & TIME_BASED_AUTHENTICATED != 0
            || variable.is(Owner::EDK2_SWITCH, SWITCH)
    };
    let keys: Vec<Variable> = variables.iter().filter(is_key).cloned().collect();
    let has_owner = keys.iter().any(|variable| variable.is(Owner::UEFI, "PK"));
    if has_owner { keys } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(values: &[(u8, &[u8])]) -> Vec<u8> {
        let variable = |data: &[u8]| Variable {
            name: SWITCH.to_owned(),
            owner: Owner::EDK2_SWITCH,
            attributes: 3,
            signed_at: [0; 16],
            data: data.to_vec(),
        };
        let all: Vec<Variable> = values.iter().map(|(_, data)| variable(data)).collect();
        let mut store = edk2::write(&all).unwrap();
        // Behind the headers of volume and store; each is 60 bytes, 34 of the name, and one byte of data, padded.
        for (number, (state, _)) in values.iter().enumerate() {
            store[72 + 28 + number * 96 + 2] = *state;
        }
        store
    }

    #[test]
    fn the_switch_that_is_in_use_is_read() {
        assert_eq!(secure_boot(&store(&[(0x3f, &[1])])), Some(true));
        assert_eq!(secure_boot(&store(&[(0x3f, &[0])])), Some(false));
        assert_eq!(secure_boot(&store(&[(0x3c, &[1]), (0x3f, &[0])])), Some(false));
        assert_eq!(secure_boot(&store(&[(0x3c, &[1])])), None);
        // The power went away before another was there; and one took the place of the other.
        assert_eq!(secure_boot(&store(&[(0x3e, &[1])])), Some(true));
        assert_eq!(secure_boot(&store(&[(0x3e, &[1]), (0x3f, &[0])])), Some(false));
    }

    #[test]
    fn what_is_none_says_nothing() {
        for nvram in [vec![], vec![0; 9000], store(&[]), store(&[(0x3f, &[])])] {
            assert_eq!(secure_boot(&nvram), None);
        }
    }
}
