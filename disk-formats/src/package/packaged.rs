//! What a package says of its machines and disks.

use super::host_reach::saying::HostReach;
use super::made_nvram::made_name;
use crate::machine::{MachineDescription, NvramMaker};

/// A package of machines, as its descriptor describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PackageFacts {
    /// The machines, in the order of the descriptor.
    pub machines: Vec<PackagedMachine>,
    /// The disks, in the order of the descriptor.
    pub disks: Vec<PackagedDiskFacts>,
    /// What else in an archive another program could take for the descriptor.
    pub other_descriptors: Vec<String>,
    /// Whether the descriptor is an OVF.
    pub is_ovf: bool,
}

/// A machine of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PackagedMachine {
    /// Its name, else its identifier.
    pub name: Option<String>,
    /// Virtual processors.
    pub cpus: Option<u64>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// The guest's operating system, in the descriptor's words.
    pub guest_os: Option<String>,
    /// `bios` or `efi`, where the descriptor says it.
    pub firmware: Option<String>,
    /// The networks that its cards are connected to, one for each card.
    pub networks: Vec<String>,
    /// The machine, with defaults for what is not said. Its disks have no file names: whoever writes it gives them some.
    pub description: MachineDescription,
    /// The names by which [`crate::OpenPolicy::archived_disk`] chooses the disks, in the order of the description's.
    pub disks: Vec<String>,
    /// The file with what the firmware keeps, and whose firmware wrote it.
    pub nvram: Option<(NvramMaker, String)>,
    /// What it has, or asks for, that the description does not hold; in words.
    pub left_out: Vec<String>,
    /// What of the importing host VirtualBox would let it use, where its own description is in the package.
    pub reaches: Vec<HostReach>,
}

/// A disk of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PackagedDiskFacts {
    /// Its identifier in the descriptor.
    pub id: String,
    /// Its file; `None` for a disk that begins empty.
    pub file: Option<String>,
    /// The guest's disk in bytes, when the descriptor says it as a number.
    pub capacity: Option<u64>,
}

/// Most things left out that are named one by one.
const MAX_LEFT_OUT: usize = 64;
/// Longest name of one, in characters.
const MAX_LENGTH: usize = 240;
/// Most characters of a package's own words in it.
const MAX_QUOTED: usize = 60;

/// Quotes a word of the package: what is too long to be read is cut.
pub(super) fn quoted(word: &str) -> String {
    match word.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{:?}…", &word[..end]),
        None => format!("{word:?}"),
    }
}

/// Spells a setting with its value, or without it where the value could be a secret.
pub(super) fn setting(key: &str, value: &str) -> String {
    const SECRET: [&str; 8] = ["cert", "crt", "encryption", "keysafe", "passphrase", "password", "secret", "token"];
    let short = match key.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", &key[..end]),
        None => key.to_owned(),
    };
    let lower = short.to_ascii_lowercase();
    if SECRET.iter().any(|word| lower.contains(word)) { short } else { format!("{short} = {}", quoted(value)) }
}

impl PackagedMachine {
    /// Notes an NVRAM of the package. Of two the one is taken that the other was made of, else the first.
    pub(super) fn found_nvram(&mut self, maker: NvramMaker, name: String) {
        if self.nvram.as_ref().is_none_or(|(reader, first)| *first == made_name(*reader, &name)) {
            self.nvram = Some((maker, name));
        }
    }

    /// Notes something that is left out, once. However long or many they are, what is kept of them is short.
    pub(crate) fn leave_out(&mut self, mut what: String) {
        if let Some((end, _)) = what.char_indices().nth(MAX_LENGTH) {
            what.truncate(end);
            what.push('…');
        }
        if self.left_out.len() < MAX_LEFT_OUT && !self.left_out.contains(&what) {
            self.left_out.push(what);
        } else if self.left_out.len() == MAX_LEFT_OUT && !self.left_out.contains(&what) {
            self.left_out.push("and more".to_owned());
        }
    }

    /// Takes numbers over that a description can hold.
    pub(super) fn describe_size(&mut self) {
        const MIB: u64 = 1 << 20;
        if let Some(cpus) = self.cpus {
            match u32::try_from(cpus).ok().filter(|cpus| (1..=MAX_CPUS).contains(cpus)) {
                Some(cpus) => self.description.cpus = cpus,
                None => self.leave_out(format!("{cpus} processors")),
            }
        }
        if let Some(memory) = self.memory {
            match memory.div_ceil(MIB) {
                mib @ 4..=MAX_MEMORY_MIB => self.description.memory_mib = mib,
                _ => self.leave_out(format!("{memory} bytes of memory")),
            }
        }
    }
}

/// Most processors that a machine is given; VMware's and VirtualBox's limits are below.
const MAX_CPUS: u32 = 1024;
/// Most memory that a machine is given, in MiB: 64 TiB.
const MAX_MEMORY_MIB: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_no_machine_has_are_left_out() {
        let mut machine = PackagedMachine { cpus: Some(1 << 40), memory: Some(u64::MAX), ..PackagedMachine::default() };
        machine.describe_size();
        assert_eq!(machine.description, MachineDescription::default());
        assert_eq!(machine.left_out.len(), 2);
        (machine.cpus, machine.memory) = (Some(3), Some((5 << 20) + 1));
        machine.describe_size();
        assert_eq!((machine.description.cpus, machine.description.memory_mib), (3, 6));
    }

    #[test]
    fn what_is_left_out_is_named_once_and_not_without_end() {
        let mut machine = PackagedMachine::default();
        for number in 0..200 {
            machine.leave_out(format!("thing {}", number / 2));
        }
        assert_eq!(machine.left_out.len(), MAX_LEFT_OUT + 1);
    }

    #[test]
    fn what_is_too_long_to_be_read_is_cut() {
        let long = "\u{1}ä".repeat(100_000);
        let mut machine = PackagedMachine::default();
        machine.leave_out(setting(&long, &long));
        machine.leave_out(long.clone());
        assert!(machine.left_out.iter().all(|what| what.chars().count() <= MAX_LENGTH + 1), "{machine:?}");
        assert_eq!(quoted(&"x".repeat(61)), format!("\"{}\"…", "x".repeat(60)));
        assert_eq!(setting("a.b", "c\n"), "a.b = \"c\\n\"");
        assert_eq!(setting("RemoteDisplay.vnc.Password", "hunter22"), "RemoteDisplay.vnc.Password");
    }
}
