//! The store of EDK II's firmware: a flash volume with a log of variables. OVMF, AAVMF and VirtualBox keep theirs in it.
//!
//! ```text
//! volume header 72 │ store header 28 │ variable, padded to 4 │ variable │ … │ ff ff … │ write journal │ spare copy
//! ```
//! The layouts are those of EDK II's `VariableFormat.h`, `PiFirmwareVolume.h` and `FaultTolerantWrite.h`.

use super::variables::{MAX_VARIABLES, Owner, Variable, length, name_of, number, put, sixteen};

/// Volumes of files begin at blocks of a flash; inside a tar, where VirtualBox keeps its volume beside a TPM's state, at one of its blocks.
const PLACES: usize = 512;
/// `fff12b8d-7696-4c8b-a985-2747075b4f50`, the kind of a volume with variables.
const VOLUME: [u8; 16] =
    [0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c, 0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50];
const VOLUME_SIGNATURE: &[u8] = b"_FVH";
const VOLUME_HEADER: usize = 72;
/// `aaf32c78-947b-439a-a180-2e144ec37792`: a store whose variables have a place for when they were signed.
const AUTHENTICATED: [u8; 16] =
    [0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92];
/// `ddcf3616-3275-4164-98b6-fe85707ffe7d`: one without.
const PLAIN: [u8; 16] =
    [0x16, 0x36, 0xcf, 0xdd, 0x75, 0x32, 0x64, 0x41, 0x98, 0xb6, 0xfe, 0x85, 0x70, 0x7f, 0xfe, 0x7d];
const STORE_HEADER: usize = 28;
/// Formatted, healthy.
const STORE_STATE: [u8; 2] = [0x5a, 0xfe];

const VARIABLE_START: [u8; 2] = [0xaa, 0x55];
/// The state of a variable in use, and of one that is about to be replaced. Each step of its life clears a bit.
const IN_USE: u8 = 0x3f;
const ABOUT_TO_GO: u8 = 0x3e;

/// The volume that is written, which is that of OVMF's 4 MiB build and of VirtualBox: 132 blocks.
const BLOCK: usize = 0x1000;
const BLOCKS: usize = 0x84;
/// The store with the volume's header in front of it, and where the write journal begins.
const STORE_END: usize = 0x40000;
/// How far it is filled: the firmware has variables of its own to write.
const FILLED: usize = STORE_END / 2;
const JOURNAL: usize = 0x41000;
/// An empty journal: its kind `9e58292b-7c68-497d-a0ce-6500fd9f1b95`, the CRC-32 of this header with that and the state all ones, the
/// state "valid", and the length of what follows.
const JOURNAL_HEADER: [u8; 32] = [
    0x2b, 0x29, 0x58, 0x9e, 0x68, 0x7c, 0x7d, 0x49, 0xa0, 0xce, 0x65, 0x00, 0xfd, 0x9f, 0x1b, 0x95, 0x2c, 0xaf, 0x2c,
    0x64, 0xfe, 0xff, 0xff, 0xff, 0xe0, 0x0f, 0, 0, 0, 0, 0, 0,
];
/// What the volume allows: as OVMF and VirtualBox have it.
const VOLUME_ATTRIBUTES: u32 = 0x0004_feff;

/// Where the fields of a variable's header are.
struct Layout {
    header: usize,
    signed_at: Option<usize>,
    name_length: usize,
    data_length: usize,
    owner: usize,
}

const WITH_AUTHENTICATION: Layout =
    Layout { header: 60, signed_at: Some(16), name_length: 36, data_length: 40, owner: 44 };
const WITHOUT: Layout = Layout { header: 32, signed_at: None, name_length: 8, data_length: 12, owner: 16 };

/// Reads the variables that are in use; `None` when there is no such store.
pub(super) fn read(bytes: &[u8]) -> Option<Vec<Variable>> {
    let is_volume = |at: &usize| {
        bytes.get(at + 16..at + 32) == Some(&VOLUME[..]) && bytes.get(at + 40..at + 44) == Some(VOLUME_SIGNATURE)
    };
    let volume = (0..bytes.len()).step_by(PLACES).find(is_volume)?;
    let header = bytes.get(volume + 48..volume + 50)?;
    let store = volume.checked_add(usize::from(u16::from_le_bytes([header[0], header[1]])))?;
    let layout = match sixteen(bytes, store)? {
        AUTHENTICATED => WITH_AUTHENTICATION,
        PLAIN => WITHOUT,
        _ => return None,
    };
    let end = store.checked_add(length(bytes, store.checked_add(16)?)?)?.min(bytes.len());
    if bytes.get(store + 20..store + 22)? != STORE_STATE {
        return None;
    }
    let store = bytes.get(store..end)?;
    let (mut variables, mut going) = (Vec::new(), Vec::new());
    let mut at = STORE_HEADER;
    for _ in 0..MAX_VARIABLES {
        let Some((variable, next)) = variable(store, at, &layout) else { break };
        match (store[at + 2], variable) {
            (IN_USE, Some(variable)) => put(&mut variables, variable),
            (ABOUT_TO_GO, Some(variable)) => going.push(variable),
            _ => {}
        }
        at = next;
    }
    // The power went away before the new one was whole.
    for variable in going {
        if !variables.iter().any(|other| other.is(variable.owner, &variable.name)) {
            variables.push(variable);
        }
    }
    Some(variables)
}

/// Reads what begins at `at`, and where the next one does; `None` at the end of the log. It is no variable when its name is none.
fn variable(store: &[u8], at: usize, layout: &Layout) -> Option<(Option<Variable>, usize)> {
    let header = store.get(at..at.checked_add(layout.header)?)?;
    if header[..2] != VARIABLE_START {
        return None;
    }
    let name = at + layout.header;
    let data = name.checked_add(length(header, layout.name_length)?)?;
    let end = data.checked_add(length(header, layout.data_length)?)?;
    let (name, content) = (store.get(name..data)?, store.get(data..end)?);
    let variable = name_of(name).map(|name| {
        Some(Variable {
            name,
            owner: Owner(sixteen(header, layout.owner)?),
            attributes: number(header, 4)?,
            signed_at: layout.signed_at.map_or(Some([0; 16]), |at| sixteen(header, at))?,
            data: content.to_vec(),
        })
    });
    Some((variable.flatten(), end.checked_next_multiple_of(4)?))
}

/// Writes a volume with these variables; `None` when it has not the room.
pub(super) fn write(variables: &[Variable]) -> Option<Vec<u8>> {
    let mut volume = vec![0; 16];
    volume.extend(VOLUME);
    volume.extend(((BLOCK * BLOCKS) as u64).to_le_bytes());
    volume.extend(VOLUME_SIGNATURE);
    volume.extend(VOLUME_ATTRIBUTES.to_le_bytes());
    volume.extend((VOLUME_HEADER as u16).to_le_bytes());
    // A checksum, no header behind this one, one reserved byte, the revision.
    volume.extend([0, 0, 0, 0, 0, 2]);
    // A run of blocks, and the end of the runs.
    for number in [BLOCKS as u32, BLOCK as u32, 0, 0] {
        volume.extend(number.to_le_bytes());
    }
    let sum = volume.chunks_exact(2).fold(0_u16, |sum, word| sum.wrapping_add(u16::from_le_bytes([word[0], word[1]])));
    volume[50..52].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    volume.extend(AUTHENTICATED);
    volume.extend(((STORE_END - VOLUME_HEADER) as u32).to_le_bytes());
    volume.extend(STORE_STATE);
    volume.extend([0; 6]);
    for variable in variables {
        let name = variable.name_on_disk();
        volume.extend(VARIABLE_START);
        volume.extend([IN_USE, 0]);
        volume.extend(variable.attributes.to_le_bytes());
        // A count that only an older kind of authentication has.
        volume.extend([0; 8]);
        volume.extend(variable.signed_at);
        // The place of a public key, of that older kind as well.
        volume.extend([0; 4]);
        for length in [name.len(), variable.data.len()] {
            volume.extend(u32::try_from(length).ok()?.to_le_bytes());
        }
        volume.extend(variable.owner.0);
        volume.extend(&name);
        volume.extend(&variable.data);
        // The volume's header is of a length that is itself a multiple.
        volume.resize(volume.len().next_multiple_of(4), 0xff);
        if volume.len() > FILLED {
            return None;
        }
    }
    volume.resize(JOURNAL, 0xff);
    volume.extend(JOURNAL_HEADER);
    volume.resize(BLOCK * BLOCKS, 0xff);
    Some(volume)
}
