//! L2 entries: what one cluster of the guest disk is.

/// Bits 9 to 55 of an L1 or L2 entry: an offset in the file (spec).
pub(crate) const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
/// Set when the cluster's reference count is exactly one (spec).
pub(crate) const COPIED: u64 = 1 << 63;
/// Set in an L2 entry whose cluster is compressed (spec).
pub(crate) const COMPRESSED: u64 = 1 << 62;
/// Set in a standard L2 entry whose cluster reads as zeroes (spec, version 3).
pub(super) const ZERO: u64 = 1;
/// Unit of the length in a compressed entry in bytes (spec).
const SECTOR: u64 = 512;

/// What the guest finds in a cluster or sub-cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// Nothing here: the backing file decides, or it is zero.
    Unallocated,
    /// Zeroes.
    Zero,
    /// Bytes at this offset of the file.
    Data(u64),
    /// A compressed cluster that starts at `offset` and takes at most `length` bytes.
    Compressed {
        /// Offset of its first byte.
        offset: u64,
        /// Upper bound of its length in bytes.
        length: u64,
    },
}

/// Translates a standard L2 entry.
pub(crate) fn standard(entry: u64, cluster_bits: u32, version: u32) -> Mapping {
    if entry & COMPRESSED != 0 {
        return compressed(entry, cluster_bits);
    }
    let offset = entry & OFFSET_MASK;
    match (offset, entry & ZERO != 0 && version >= 3) {
        (_, true) => Mapping::Zero,
        (0, false) => Mapping::Unallocated,
        (offset, false) => Mapping::Data(offset),
    }
}

/// Translates one of the 32 sub-clusters of an extended L2 entry. `None`: both bits are set, which is forbidden.
pub(crate) fn extended(entry: u64, bitmap: u64, subcluster: u32, cluster_bits: u32) -> Option<Mapping> {
    if entry & COMPRESSED != 0 {
        return Some(compressed(entry, cluster_bits));
    }
    let (allocated, zero) = (bitmap >> subcluster & 1 == 1, bitmap >> (subcluster + 32) & 1 == 1);
    let offset = entry & OFFSET_MASK;
    match (allocated, zero) {
        (true, true) => None,
        (false, true) => Some(Mapping::Zero),
        (false, false) => Some(Mapping::Unallocated),
        (true, false) if offset == 0 => None,
        (true, false) => Some(Mapping::Data(offset + (u64::from(subcluster) << (cluster_bits - 5)))),
    }
}

fn compressed(entry: u64, cluster_bits: u32) -> Mapping {
    let offset_bits = offset_bits(cluster_bits);
    let offset = entry & ((1 << offset_bits) - 1);
    let further_sectors = (entry & !(COPIED | COMPRESSED)) >> offset_bits;
    Mapping::Compressed { offset, length: (further_sectors + 1) * SECTOR - offset % SECTOR }
}

/// Makes the entry of a compressed cluster; `None` when the offset does not fit.
pub(crate) fn make_compressed(offset: u64, length: u64, cluster_bits: u32) -> Option<u64> {
    let offset_bits = offset_bits(cluster_bits);
    let further_sectors = (offset + length - 1) / SECTOR - offset / SECTOR;
    (offset >> offset_bits == 0).then_some(COMPRESSED | further_sectors << offset_bits | offset)
}

/// Bits of a compressed entry that hold the offset (spec).
fn offset_bits(cluster_bits: u32) -> u32 {
    62 - (cluster_bits - 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_entries_round_trip_to_a_bound_that_covers_them() {
        for (offset, length) in [(0x50000, 1), (0x501ff, 2), (0x50001, 511), (0x50001, 512), (0x5_0000_1234, 65000)] {
            let entry = make_compressed(offset, length, 16).unwrap();
            let Mapping::Compressed { offset: found, length: bound } = standard(entry, 16, 3) else { panic!() };
            assert_eq!(found, offset);
            assert!(bound >= length && bound < length + SECTOR);
            assert_eq!((offset + bound) % SECTOR, 0);
        }
    }

    #[test]
    fn zero_flags_count_from_version_3_on() {
        assert_eq!(standard(1, 16, 3), Mapping::Zero);
        assert_eq!(standard(0x10001, 16, 3), Mapping::Zero);
        assert_eq!(standard(0x10001, 16, 2), Mapping::Data(0x10000));
        assert_eq!(standard(0, 16, 3), Mapping::Unallocated);
    }

    #[test]
    fn subclusters_have_their_own_state() {
        let bitmap = 0b01 | 0b10 << 32;
        assert_eq!(extended(0x10000, bitmap, 0, 16), Some(Mapping::Data(0x10000)));
        assert_eq!(extended(0x10000, bitmap, 1, 16), Some(Mapping::Zero));
        assert_eq!(extended(0x10000, bitmap, 2, 16), Some(Mapping::Unallocated));
        assert_eq!(extended(0x10000, bitmap | 1 << 32, 0, 16), None);
    }
}
