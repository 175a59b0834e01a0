//! VMware's NVRAM: a list of named sections, one of which holds UEFI's variables.
//!
//! ```text
//! "MRVN" │ version 1 │ name 8, length 4, content │ name, length, content │ …
//! content of "EFI_NV": "VMWNVRAM" │ 0 │ length with these 16 bytes │ variable │ variable │ … │ ff ff …
//! variable: owner 16 │ attributes 4 │ length of name and data 4 │ length of name 4 │ name │ data
//! ```
//! No document of VMware's describes it; this is what programs that read such files agree on. The other sections, of which BIOS's CMOS is one,
//! are the machine's state, and VMware makes those that are missing.

use super::variables::{
    MAX_VARIABLES, Owner, TIME_BASED_AUTHENTICATED, Variable, length, name_of, number, put, sixteen,
};

const MAGIC: &[u8] = b"MRVN";
const VERSION: u32 = 1;
const SECTION_HEADER: usize = 12;
/// Most sections that are looked through; files have about a dozen.
const MAX_SECTIONS: usize = 1024;
const VARIABLES: &[u8; 8] = b"EFI_NV\0\0";
const STORE_MAGIC: &[u8] = b"VMWNVRAM";
const STORE_HEADER: usize = 16;
/// The length of the section in every file that is known.
const STORE_LENGTH: usize = 0x40000;
const VARIABLE_HEADER: usize = 28;
/// What stands in front of the data of an authenticated variable: whose signature it was, and when.
const AUTHENTICATION: usize = 40;

/// Reads the variables; `None` when there is no such store.
pub(super) fn read(bytes: &[u8]) -> Option<Vec<Variable>> {
    let section = section(bytes)?;
    let store = &section[..length(section, 12)?.min(section.len())];
    let mut variables = Vec::new();
    let mut at = STORE_HEADER;
    for _ in 0..MAX_VARIABLES {
        let Some((variable, next)) = variable(store, at) else { break };
        if let Some(variable) = variable {
            // It is a log: the last one of a name holds.
            put(&mut variables, variable);
        }
        at = next;
    }
    Some(variables)
}

/// Returns the content of the section with the variables. Where the sections do not follow each other as they should, as in files with a stray byte
/// between them, it is searched for.
fn section(bytes: &[u8]) -> Option<&[u8]> {
    let sections = bytes.strip_prefix(MAGIC)?.get(4..)?;
    let is_section = |window: &[u8]| window.starts_with(VARIABLES) && window.ends_with(STORE_MAGIC);
    walked(sections).filter(|content| content.starts_with(STORE_MAGIC)).or_else(|| {
        let at = sections.windows(SECTION_HEADER + STORE_MAGIC.len()).position(is_section)?;
        content(sections.get(at..)?)
    })
}

fn walked(mut rest: &[u8]) -> Option<&[u8]> {
    for _ in 0..MAX_SECTIONS {
        if rest.starts_with(VARIABLES) {
            return content(rest);
        }
        rest = rest.get(SECTION_HEADER.checked_add(length(rest, 8)?)?..)?;
    }
    None
}

/// Returns what is in the section that begins here. What is cut off of it is free space, mostly.
fn content(section: &[u8]) -> Option<&[u8]> {
    let end = SECTION_HEADER.checked_add(length(section, 8)?)?;
    section.get(SECTION_HEADER..end.min(section.len()))
}

/// Reads what begins at `at`, and where the next one does; `None` at the end. It is no variable when its name is none.
fn variable(store: &[u8], at: usize) -> Option<(Option<Variable>, usize)> {
    let attributes = number(store, at.checked_add(16)?)?;
    let (both, name_length) = (length(store, at + 20)?, length(store, at + 24)?);
    let name = at + VARIABLE_HEADER;
    let (data, end) = (name.checked_add(name_length)?, name.checked_add(both)?);
    let content = store.get(data..end)?;
    let content = match attributes & TIME_BASED_AUTHENTICATED {
        0 => content,
        _ => content.get(AUTHENTICATION..).unwrap_or_default(),
    };
    let variable = name_of(&store[name..data]).map(|name| {
        let owner = Owner(sixteen(store, at)?);
        Some(Variable { name, owner, attributes, signed_at: [0; 16], data: content.to_vec() })
    });
    Some((variable.flatten(), end))
}

/// Writes a file with these variables, none of which is authenticated; `None` when the store has not the room.
pub(super) fn write(variables: &[Variable]) -> Option<Vec<u8>> {
    let mut store = [STORE_MAGIC, &[0; 8]].concat();
    for variable in variables {
        let name = variable.name_on_disk();
        store.extend(variable.owner.0);
        store.extend(variable.attributes.to_le_bytes());
        for length in [name.len().checked_add(variable.data.len())?, name.len()] {
            store.extend(u32::try_from(length).ok()?.to_le_bytes());
        }
        store.extend(&name);
        store.extend(&variable.data);
        if store.len() > STORE_LENGTH {
            return None;
        }
    }
    let used = u32::try_from(store.len()).ok()?;
    store[12..STORE_HEADER].copy_from_slice(&used.to_le_bytes());
    store.resize(STORE_LENGTH, 0xff);
    let mut file = [MAGIC, &VERSION.to_le_bytes(), &VARIABLES[..], &(STORE_LENGTH as u32).to_le_bytes()].concat();
    file.extend(store);
    Some(file)
}
