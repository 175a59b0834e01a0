//! Which of a firmware's variables mean the same to another maker's: boot entries that name a file on a partition, and their order.

use std::collections::HashSet;

use super::variables::{BOOT_SERVICE, NON_VOLATILE, Owner, RUNTIME, Variable, name_of};

/// The order in which entries are tried, as their numbers.
const ORDER: &str = "BootOrder";
const ATTRIBUTES: u32 = NON_VOLATILE | BOOT_SERVICE | RUNTIME;
/// Most entries that travel, and most that are named; an installed system makes one.
const MAX_ENTRIES: usize = 64;
/// Most numbers of the order that are looked at: each is looked for among all variables.
const MAX_ORDER: usize = 1024;
/// Longest entry, in bytes. One with a kernel's command line has some thousands.
const MAX_LENGTH: usize = 16 << 10;

/// Kinds of a device path's nodes: something on a disk, and the end.
const MEDIA: u8 = 4;
const HARD_DRIVE: u8 = 1;
const FILE: u8 = 4;
const END: u8 = 0x7f;
/// The length of the node of a partition, and where it says how the disk is told apart: by its MBR's signature, or by the partition's GUID.
const PARTITION_LENGTH: usize = 42;
const SIGNATURE_KIND: usize = 41;

/// What a boot entry leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Leads {
    /// A file on a partition, wherever that is in the machine. With the entry that says so: where its path has led through devices of one maker's
    /// machine, it is the short form of that, which begins with the partition (UEFI 2.10, 3.1.2).
    ToPartition(Vec<u8>),
    /// A file on something that is named only by its place in this maker's machine.
    ThroughMachine,
    /// What the firmware finds itself: a disk, a drive, a network card, its own menu. Each firmware makes such entries anew.
    Elsewhere,
}

/// Boot entries taken out of a store.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct BootEntries {
    /// Those that travel, behind their order.
    pub(super) variables: Vec<Variable>,
    /// The titles of those that name a file, but by a way that only one maker's machine has.
    pub(super) left_out: Vec<String>,
    /// How many more of those there are.
    pub(super) unnamed: usize,
}

/// Takes the boot entries that fit any maker's machine out of a store.
pub(super) fn take(variables: &[Variable]) -> BootEntries {
    let mut taken = BootEntries::default();
    let order = variables.iter().find(|variable| variable.is(Owner::UEFI, ORDER));
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    let numbers = order.iter().flat_map(|order| order.data.chunks_exact(2)).take(MAX_ORDER);
    for number in numbers.map(|two| u16::from_le_bytes([two[0], two[1]])) {
        if !seen.insert(number) {
            continue;
        }
        // What is in no order is started by nobody.
        let name = format!("Boot{number:04X}");
        let Some(entry) = variables.iter().find(|variable| variable.is(Owner::UEFI, &name)) else { continue };
        if entry.data.len() > MAX_LENGTH || kept.len() == MAX_ENTRIES {
            continue;
        }
        let Some((title, leads)) = read(&entry.data) else { continue };
        match leads {
            Leads::ToPartition(data) => kept.push((number, uefi(&name, data))),
            Leads::ThroughMachine if taken.left_out.len() == MAX_ENTRIES => taken.unnamed += 1,
            Leads::ThroughMachine => taken.left_out.push(title),
            Leads::Elsewhere => {}
        }
    }
    if !kept.is_empty() {
        let order = kept.iter().flat_map(|(number, _)| number.to_le_bytes()).collect();
        taken.variables.push(uefi(ORDER, order));
        taken.variables.extend(kept.into_iter().map(|(_, entry)| entry));
    }
    taken
}

fn uefi(name: &str, data: Vec<u8>) -> Variable {
    Variable { name: name.to_owned(), owner: Owner::UEFI, attributes: ATTRIBUTES, signed_at: [0; 16], data }
}

/// Reads an entry's title and where it leads: its attributes, the length of its device path, the title, the path, and what the loader gets.
fn read(entry: &[u8]) -> Option<(String, Leads)> {
    let path_length = usize::from(u16::from_le_bytes([*entry.get(4)?, *entry.get(5)?]));
    let title = entry.get(6..)?;
    let end = title.chunks_exact(2).position(|unit| unit == [0, 0])?;
    let path = title.get(end * 2 + 2..)?.get(..path_length)?;
    let nodes = nodes(path)?;
    let is_partition = |node: &[u8]| {
        node[..2] == [MEDIA, HARD_DRIVE] && node.len() == PARTITION_LENGTH && matches!(node[SIGNATURE_KIND], 1 | 2)
    };
    let files = nodes.iter().rev().take_while(|node| node[..2] == [MEDIA, FILE]).count();
    let holder = nodes.len() - files;
    let leads = match holder.checked_sub(1).filter(|_| files > 0).map(|last| &nodes[last]) {
        Some(node) if is_partition(node) => {
            let before: usize = nodes[..holder - 1].iter().map(|node| node.len()).sum();
            Leads::ToPartition(shortened(entry, end * 2 + 8, before)?)
        }
        Some(_) => Leads::ThroughMachine,
        None => Leads::Elsewhere,
    };
    Some((name_of(&title[..end * 2]).unwrap_or_default(), leads))
}

/// Takes so many bytes from the beginning of an entry's path, which is at `path`.
fn shortened(entry: &[u8], path: usize, bytes: usize) -> Option<Vec<u8>> {
    let length = u16::from_le_bytes([entry[4], entry[5]]).checked_sub(u16::try_from(bytes).ok()?)?;
    Some([&entry[..4], &length.to_le_bytes(), &entry[6..path], entry.get(path + bytes..)?].concat())
}

/// Splits a device path up to its end; `None` when it has none, or several, of which firmware tries one after the other.
fn nodes(mut path: &[u8]) -> Option<Vec<&[u8]>> {
    let mut nodes = Vec::new();
    loop {
        let header = path.get(..4)?;
        let length = usize::from(u16::from_le_bytes([header[2], header[3]]));
        if length < 4 {
            return None;
        }
        let (node, rest) = path.split_at_checked(length)?;
        if node[0] == END {
            return rest.is_empty().then_some(nodes);
        }
        nodes.push(node);
        path = rest;
    }
}
