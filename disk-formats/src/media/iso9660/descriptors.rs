//! Volume descriptors (ECMA-119 §8): the entry points of a CD.

use zerocopy::{BigEndian, Immutable, IntoBytes, LittleEndian, U32, Unaligned};

use super::super::time::MediaTime;
use super::hierarchy::{Flavour, Hierarchy};
use super::layout::{LABEL_BYTES, SECTOR_BYTES};
use super::records::{Both16, Both32, DescriptorTime, Extent, FLAG_DIRECTORY, HEADER_BYTES, RecordHeader};

/// Identifier of every descriptor.
const STANDARD: [u8; 5] = *b"CD001";
const KIND_PRIMARY: u8 = 1;
const KIND_SUPPLEMENTARY: u8 = 2;
const KIND_TERMINATOR: u8 = 255;
/// Announces UCS-2 level 3 names: this is what makes a supplementary descriptor Joliet (Joliet Specification 1.0).
const JOLIET_ESCAPE: &[u8] = b"%/E";
/// Who made the image.
const APPLICATION: &str = "KILN";

/// What both descriptors say.
pub(super) struct VolumeFacts<'a> {
    pub(super) label: &'a str,
    pub(super) time: MediaTime,
    pub(super) total_sectors: u32,
}

/// A primary or supplementary volume descriptor (§8.4, §8.5).
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct VolumeDescriptor {
    kind: u8,
    standard: [u8; 5],
    version: u8,
    flags: u8,
    system: [u8; 32],
    label: [u8; LABEL_BYTES],
    unused_1: [u8; 8],
    total_sectors: Both32,
    /// Announces the character set of a supplementary descriptor; zero in a primary one.
    escape_sequences: [u8; 32],
    set_size: Both16,
    sequence_number: Both16,
    sector_bytes: Both16,
    path_table_bytes: Both32,
    little_path_table: U32<LittleEndian>,
    optional_little_path_table: U32<LittleEndian>,
    big_path_table: U32<BigEndian>,
    optional_big_path_table: U32<BigEndian>,
    root: RecordHeader,
    root_identifier: u8,
    volume_set: [u8; 128],
    publisher: [u8; 128],
    preparer: [u8; 128],
    application: [u8; 128],
    copyright_file: [u8; 37],
    abstract_file: [u8; 37],
    bibliographic_file: [u8; 37],
    created: DescriptorTime,
    modified: DescriptorTime,
    expires: DescriptorTime,
    effective: DescriptorTime,
    structure_version: u8,
    reserved_1: u8,
    application_use: [u8; 512],
    reserved_2: [u8; 653],
}

const _: () = assert!(size_of::<VolumeDescriptor>() == SECTOR_BYTES);

impl VolumeDescriptor {
    /// Describes a hierarchy that has been placed.
    pub(super) fn new(facts: &VolumeFacts<'_>, hierarchy: &Hierarchy) -> Self {
        let flavour = hierarchy.flavour();
        let (little_path_table, big_path_table) = hierarchy.path_table_sectors();
        let (first_sector, bytes) = hierarchy.root_extent();
        let root = Extent { first_sector, bytes, flags: FLAG_DIRECTORY };
        let mut escape_sequences = [0; 32];
        if flavour == Flavour::Joliet {
            escape_sequences[..JOLIET_ESCAPE.len()].copy_from_slice(JOLIET_ESCAPE);
        }
        Self {
            kind: if flavour == Flavour::Joliet { KIND_SUPPLEMENTARY } else { KIND_PRIMARY },
            standard: STANDARD,
            version: 1,
            flags: 0,
            system: text(flavour, ""),
            label: text(flavour, facts.label),
            unused_1: [0; 8],
            total_sectors: Both32::new(facts.total_sectors),
            escape_sequences,
            set_size: Both16::new(1),
            sequence_number: Both16::new(1),
            sector_bytes: Both16::new(SECTOR_BYTES as u16),
            path_table_bytes: Both32::new(hierarchy.path_table_bytes()),
            little_path_table: U32::new(little_path_table),
            optional_little_path_table: U32::ZERO,
            big_path_table: U32::new(big_path_table),
            optional_big_path_table: U32::ZERO,
            root: RecordHeader::new(root, facts.time, HEADER_BYTES as u8 + 1, 1),
            root_identifier: 0,
            volume_set: text(flavour, ""),
            publisher: text(flavour, ""),
            preparer: text(flavour, ""),
            application: text(flavour, APPLICATION),
            copyright_file: text(flavour, ""),
            abstract_file: text(flavour, ""),
            bibliographic_file: text(flavour, ""),
            created: DescriptorTime::new(facts.time),
            modified: DescriptorTime::new(facts.time),
            expires: DescriptorTime::UNSET,
            effective: DescriptorTime::UNSET,
            structure_version: 1,
            reserved_1: 0,
            application_use: [0; 512],
            reserved_2: [0; 653],
        }
    }
}

/// Returns the sector that ends the list of descriptors (§8.3).
pub(super) fn terminator() -> Vec<u8> {
    let mut bytes = vec![0; SECTOR_BYTES];
    bytes[0] = KIND_TERMINATOR;
    bytes[1..6].copy_from_slice(&STANDARD);
    bytes[6] = 1;
    bytes
}

/// Stores ASCII text in a field, padded with spaces; Joliet has two bytes per character and so may cut it.
fn text<const N: usize>(flavour: Flavour, value: &str) -> [u8; N] {
    let mut field = [b' '; N];
    match flavour {
        Flavour::PrimaryWithRockRidge => {
            for (place, byte) in field.iter_mut().zip(value.bytes()) {
                *place = byte;
            }
        }
        Flavour::Joliet => {
            let characters = value.bytes().chain(std::iter::repeat(b' '));
            for (place, byte) in field.chunks_exact_mut(2).zip(characters) {
                place.copy_from_slice(&[0, byte]);
            }
            // A field of odd length ends with a byte that belongs to no character.
            if N % 2 == 1 {
                field[N - 1] = 0;
            }
        }
    }
    field
}
