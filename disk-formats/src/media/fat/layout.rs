//! The bytes of a 1440 KiB FAT12 floppy: geometry, boot sector, directory entries.
//!
//! Values are those of the "3.5-inch, 2-sided, 18-sector" row of Microsoft's FAT specification (FAT: General Overview of
//! On-Disk Format, 1.03), which is what every BIOS, DOS, Windows and Linux expects of such a disk.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{Immutable, IntoBytes, Unaligned};

use super::super::time::MediaTime;

/// Bytes in a sector.
pub(super) const SECTOR_BYTES: usize = 512;
/// Sectors of the disk: 80 cylinders × 2 heads × 18 sectors.
pub(super) const TOTAL_SECTORS: usize = 2880;
const SECTORS_PER_TRACK: u16 = 18;
const HEADS: u16 = 2;
/// Marks a 1440 KiB disk in the boot sector and in the first FAT entry.
pub(super) const MEDIA_TYPE: u8 = 0xF0;

/// Sector of the first allocation table; sector 0 is the boot sector.
pub(super) const FAT_FIRST_SECTOR: usize = 1;
/// Equal allocation tables behind each other.
pub(super) const FAT_COPIES: usize = 2;
/// Sectors of one allocation table.
pub(super) const FAT_SECTORS: usize = 9;
/// Sector of the root directory.
pub(super) const ROOT_FIRST_SECTOR: usize = FAT_FIRST_SECTOR + FAT_COPIES * FAT_SECTORS;
/// Entries of the root directory, which cannot grow.
pub(super) const ROOT_ENTRIES: usize = 224;
/// Sector of the first cluster.
pub(super) const DATA_FIRST_SECTOR: usize = ROOT_FIRST_SECTOR + ROOT_ENTRIES * ENTRY_BYTES / SECTOR_BYTES;
/// Bytes in a cluster: one sector.
pub(super) const CLUSTER_BYTES: usize = SECTOR_BYTES;
/// Clusters there are (2847).
pub(super) const CLUSTERS: usize = TOTAL_SECTORS - DATA_FIRST_SECTOR;
/// FAT entry of the last cluster of a file.
pub(super) const END_OF_CHAIN: u16 = 0xFFF;

/// Bytes of a directory entry.
pub(super) const ENTRY_BYTES: usize = 32;
/// Attribute of an ordinary file that has not been backed up, as every writer sets it.
pub(super) const ATTRIBUTE_ARCHIVE: u8 = 0x20;
/// Attribute of a directory.
pub(super) const ATTRIBUTE_DIRECTORY: u8 = 0x10;
/// Attribute of the volume label.
pub(super) const ATTRIBUTE_LABEL: u8 = 0x08;
/// Attributes of a part of a long name: read-only, hidden, system and label, which old systems skip.
pub(super) const ATTRIBUTE_LONG_NAME: u8 = 0x0F;
/// Set in the order number of the part of a long name that is stored first, which is its end.
pub(super) const LAST_LONG_ENTRY: u8 = 0x40;
/// UTF-16 units in one part of a long name.
pub(super) const LONG_ENTRY_UNITS: usize = 13;

const BOOT_CODE_BYTES: usize = 448;

/// The first sector.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct BootSector {
    /// Jumps over the parameters to `boot_code`.
    jump: [u8; 3],
    /// The name that Microsoft's specification recommends, because some systems judge by it.
    system: [u8; 8],
    bytes_per_sector: U16,
    sectors_per_cluster: u8,
    reserved_sectors: U16,
    allocation_tables: u8,
    root_entries: U16,
    total_sectors: U16,
    media_type: u8,
    sectors_per_allocation_table: U16,
    sectors_per_track: U16,
    heads: U16,
    hidden_sectors: U32,
    /// Used instead of `total_sectors` by disks of 32 MiB and more.
    total_sectors_large: U32,
    /// BIOS drive number: 0 is the first floppy.
    drive: u8,
    reserved: u8,
    /// 0x29: the next three fields are there.
    extended_signature: u8,
    serial: U32,
    label: [u8; 11],
    file_system: [u8; 8],
    boot_code: [u8; BOOT_CODE_BYTES],
    /// 55 AA
    signature: [u8; 2],
}

const _: () = assert!(size_of::<BootSector>() == SECTOR_BYTES);
const _: () = assert!(DATA_FIRST_SECTOR == 33 && CLUSTERS == 2847);

impl BootSector {
    /// Makes the boot sector of a disk that cannot be booted.
    pub(super) fn new(serial: u32, label: [u8; 11]) -> Self {
        let mut boot_code = [0; BOOT_CODE_BYTES];
        // int 18h tells the BIOS to try the next device; if that returns: hlt, and jump back to it.
        boot_code[..5].copy_from_slice(&[0xCD, 0x18, 0xF4, 0xEB, 0xFD]);
        Self {
            jump: [0xEB, 0x3C, 0x90],
            system: *b"MSWIN4.1",
            bytes_per_sector: U16::new(SECTOR_BYTES as u16),
            sectors_per_cluster: 1,
            reserved_sectors: U16::new(FAT_FIRST_SECTOR as u16),
            allocation_tables: FAT_COPIES as u8,
            root_entries: U16::new(ROOT_ENTRIES as u16),
            total_sectors: U16::new(TOTAL_SECTORS as u16),
            media_type: MEDIA_TYPE,
            sectors_per_allocation_table: U16::new(FAT_SECTORS as u16),
            sectors_per_track: U16::new(SECTORS_PER_TRACK),
            heads: U16::new(HEADS),
            hidden_sectors: U32::ZERO,
            total_sectors_large: U32::ZERO,
            drive: 0,
            reserved: 0,
            extended_signature: 0x29,
            serial: U32::new(serial),
            label,
            file_system: *b"FAT12   ",
            boot_code,
            signature: [0x55, 0xAA],
        }
    }
}

/// A directory entry with a short name.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct ShortEntry {
    pub(super) name: [u8; 11],
    pub(super) attributes: u8,
    /// Windows NT keeps the case of short names here; zero, because a long name says it for everyone.
    case_flags: u8,
    /// Hundredths of a second, 0 to 199, to add to `creation_time`.
    creation_hundredths: u8,
    creation_time: U16,
    creation_date: U16,
    access_date: U16,
    /// Upper half of the cluster number; always zero in FAT12.
    first_cluster_high: U16,
    write_time: U16,
    write_date: U16,
    /// First cluster of the content; zero for empty files and for the root directory.
    first_cluster: U16,
    /// Length of a file in bytes; zero for directories.
    bytes: U32,
}

impl ShortEntry {
    pub(super) fn new(name: [u8; 11], attributes: u8, time: MediaTime, first_cluster: u16, bytes: u32) -> Self {
        let civil = time.civil();
        let date = ((civil.year - 1980) << 9) | (u16::from(civil.month) << 5) | u16::from(civil.day);
        let clock = (u16::from(civil.hour) << 11) | (u16::from(civil.minute) << 5) | u16::from(civil.second / 2);
        Self {
            name,
            attributes,
            case_flags: 0,
            creation_hundredths: civil.second % 2 * 100,
            creation_time: U16::new(clock),
            creation_date: U16::new(date),
            access_date: U16::new(date),
            first_cluster_high: U16::ZERO,
            write_time: U16::new(clock),
            write_date: U16::new(date),
            first_cluster: U16::new(first_cluster),
            bytes: U32::new(bytes),
        }
    }
}

/// One part of a long name. The parts stand before the short entry, the end of the name first.
#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct LongEntry {
    order: u8,
    units_1_to_5: [U16; 5],
    attributes: u8,
    kind: u8,
    checksum: u8,
    units_6_to_11: [U16; 6],
    first_cluster: U16,
    units_12_to_13: [U16; 2],
}

const _: () = assert!(size_of::<ShortEntry>() == ENTRY_BYTES && size_of::<LongEntry>() == ENTRY_BYTES);

impl LongEntry {
    pub(super) fn new(order: u8, checksum: u8, units: [u16; LONG_ENTRY_UNITS]) -> Self {
        let unit = |index: usize| U16::new(units[index]);
        Self {
            order,
            units_1_to_5: std::array::from_fn(unit),
            attributes: ATTRIBUTE_LONG_NAME,
            kind: 0,
            checksum,
            units_6_to_11: std::array::from_fn(|index| unit(index + 5)),
            first_cluster: U16::ZERO,
            units_12_to_13: std::array::from_fn(|index| unit(index + 11)),
        }
    }
}
