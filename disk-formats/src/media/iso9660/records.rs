//! The numbers, times and directory records of ISO 9660 (ECMA-119 §7.2, §7.3, §8.4.26, §9.1).

use zerocopy::{BigEndian, Immutable, IntoBytes, LittleEndian, U16, U32, Unaligned};

use super::super::time::MediaTime;

/// A 16-bit number stored twice, least significant byte first and most significant byte first (§7.2.3).
#[derive(Clone, Copy, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Both16 {
    little: U16<LittleEndian>,
    big: U16<BigEndian>,
}

/// A 32-bit number stored twice (§7.3.3).
#[derive(Clone, Copy, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Both32 {
    little: U32<LittleEndian>,
    big: U32<BigEndian>,
}

/// A time in a directory record (§9.1.5).
#[derive(Clone, Copy, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RecordTime {
    years_since_1900: u8,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    /// Offset from UTC in quarters of an hour: always zero here.
    offset: u8,
}

/// A time in a volume descriptor (§8.4.26.1): 16 digits down to hundredths of a second, and the offset from UTC.
#[derive(Clone, Copy, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct DescriptorTime {
    digits: [u8; 16],
    offset: u8,
}

/// The part of a directory record that always has the same length; identifier and system use follow.
#[derive(Clone, Copy, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RecordHeader {
    /// Bytes of the whole record; always even.
    pub(super) length: u8,
    extended_attribute_sectors: u8,
    first_sector: Both32,
    bytes: Both32,
    time: RecordTime,
    flags: u8,
    unit_sectors: u8,
    gap_sectors: u8,
    volume: Both16,
    identifier_bytes: u8,
}

/// Bytes of [`RecordHeader`].
pub(super) const HEADER_BYTES: usize = 33;
/// Longest record: lengths are one byte, and even.
pub(super) const MAX_RECORD_BYTES: usize = 254;
/// The record describes a directory.
pub(super) const FLAG_DIRECTORY: u8 = 0x02;
/// Another record of the same file follows.
pub(super) const FLAG_MORE_SECTIONS: u8 = 0x80;
/// Identifier of the directory itself.
pub(super) const THIS_DIRECTORY: &[u8] = &[0];
/// Identifier of the directory above.
pub(super) const PARENT_DIRECTORY: &[u8] = &[1];

const _: () = assert!(size_of::<RecordHeader>() == HEADER_BYTES);

/// What a directory record says about its target.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) first_sector: u32,
    pub(super) bytes: u32,
    pub(super) flags: u8,
}

impl Both16 {
    pub(super) const fn new(value: u16) -> Self {
        Self { little: U16::new(value), big: U16::new(value) }
    }
}

impl Both32 {
    pub(super) const fn new(value: u32) -> Self {
        Self { little: U32::new(value), big: U32::new(value) }
    }
}

impl RecordTime {
    pub(super) const fn new(time: MediaTime) -> Self {
        let civil = time.civil();
        Self {
            // 1980 to 2107: 80 to 207.
            years_since_1900: (civil.year - 1900) as u8,
            month: civil.month,
            day: civil.day,
            hour: civil.hour,
            minute: civil.minute,
            second: civil.second,
            offset: 0,
        }
    }
}

impl DescriptorTime {
    /// Says that there is no such time.
    pub(super) const UNSET: Self = Self { digits: [b'0'; 16], offset: 0 };

    pub(super) fn new(time: MediaTime) -> Self {
        let civil = time.civil();
        let text = format!(
            "{:04}{:02}{:02}{:02}{:02}{:02}00",
            civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second
        );
        let mut digits = [b'0'; 16];
        digits.copy_from_slice(text.as_bytes());
        Self { digits, offset: 0 }
    }
}

impl RecordHeader {
    pub(super) const fn new(extent: Extent, time: MediaTime, length: u8, identifier_bytes: u8) -> Self {
        Self {
            length,
            extended_attribute_sectors: 0,
            first_sector: Both32::new(extent.first_sector),
            bytes: Both32::new(extent.bytes),
            time: RecordTime::new(time),
            flags: extent.flags,
            unit_sectors: 0,
            gap_sectors: 0,
            volume: Both16::new(1),
            identifier_bytes,
        }
    }
}

/// Returns the bytes of header and identifier: what comes before the system use, which starts at an even offset.
pub(super) const fn record_prefix_bytes(identifier: &[u8]) -> usize {
    (HEADER_BYTES + identifier.len()).next_multiple_of(2)
}

/// Returns the bytes of a whole record.
pub(super) const fn record_bytes(identifier: &[u8], system_use_bytes: usize) -> usize {
    (record_prefix_bytes(identifier) + system_use_bytes).next_multiple_of(2)
}

/// Appends a whole record.
pub(super) fn append_record(
    bytes: &mut Vec<u8>,
    identifier: &[u8],
    extent: Extent,
    time: MediaTime,
    system_use: &[u8],
) {
    let length = record_bytes(identifier, system_use.len());
    assert!(length <= MAX_RECORD_BYTES, "names and system use are cut to fit a record");
    let start = bytes.len();
    bytes.extend_from_slice(RecordHeader::new(extent, time, length as u8, identifier.len() as u8).as_bytes());
    bytes.extend_from_slice(identifier);
    bytes.resize(start + record_prefix_bytes(identifier), 0);
    bytes.extend_from_slice(system_use);
    bytes.resize(start + length, 0);
}
