//! Floppy images: 1440 KiB, FAT12 without a partition table, long names as Windows 95 and later store them.

mod directory;
mod error;
mod layout;
mod plan;
mod short_name;
#[cfg(test)]
mod tests;

use std::io::Write;

use sha2::{Digest, Sha256};
use zerocopy::IntoBytes;

use self::directory::VolumeLabel;
pub use self::error::FloppyError;
use self::layout::{
    BootSector, CLUSTER_BYTES, DATA_FIRST_SECTOR, FAT_COPIES, FAT_FIRST_SECTOR, FAT_SECTORS, MEDIA_TYPE,
    ROOT_FIRST_SECTOR, SECTOR_BYTES, TOTAL_SECTORS,
};
use self::plan::{Plan, Target};
use super::source::CopyError;
use super::time::MediaTime;
use super::tree::MediaTree;

/// Length of every floppy image in bytes (1440 KiB).
pub const FLOPPY_BYTES: usize = TOTAL_SECTORS * SECTOR_BYTES;

/// What a floppy has besides files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FloppyOptions {
    /// Volume label: at most 11 printable ASCII characters, stored as given.
    pub label: String,
    /// Time in every directory entry.
    pub time: MediaTime,
}

impl Default for FloppyOptions {
    /// Returns Packer's default label and the earliest time that FAT can hold.
    fn default() -> Self {
        Self { label: "packer".to_owned(), time: MediaTime::default() }
    }
}

/// Writes a floppy image of [`FLOPPY_BYTES`] bytes.
///
/// # Errors
///
/// Fails, before anything is written, when the content does not fit or FAT cannot store a name or the label, and when a
/// file cannot be read or has changed.
pub fn write_floppy(tree: &MediaTree, options: &FloppyOptions, out: &mut impl Write) -> Result<(), FloppyError> {
    let label = VolumeLabel::new(&options.label)?;
    let plan = Plan::new(tree)?;
    let mut image = vec![0_u8; FLOPPY_BYTES];
    write_root(&plan, &label, options.time, &mut image);
    write_data(&plan, options.time, &mut image)?;
    write_allocation_tables(&plan, &mut image);
    // A serial number made from the content: stable, and different for different floppies, as guests expect.
    let digest = Sha256::digest(&image);
    let serial = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);
    image[..SECTOR_BYTES].copy_from_slice(BootSector::new(serial, *label.bytes()).as_bytes());
    out.write_all(&image).map_err(FloppyError::Write)
}

fn write_root(plan: &Plan<'_>, label: &VolumeLabel, time: MediaTime, image: &mut [u8]) {
    let mut bytes = label.entry(time).as_bytes().to_vec();
    plan.append_entries(plan.root(), time, &mut bytes);
    let start = ROOT_FIRST_SECTOR * SECTOR_BYTES;
    image[start..start + bytes.len()].copy_from_slice(&bytes);
}

fn write_data(plan: &Plan<'_>, time: MediaTime, image: &mut [u8]) -> Result<(), FloppyError> {
    for (index, directory) in plan.directories().iter().enumerate().skip(1) {
        let bytes = plan.directory_bytes(index, time);
        let start = cluster_offset(directory.first_cluster);
        image[start..start + bytes.len()].copy_from_slice(&bytes);
    }
    for entry in plan.directories().iter().flat_map(|directory| &directory.entries) {
        let Target::File { source, bytes } = &entry.target else { continue };
        if *bytes == 0 {
            continue;
        }
        let start = cluster_offset(entry.first_cluster);
        // The plan has checked that everything fits, so the slice is never shorter than the file.
        let mut place = &mut image[start..start + *bytes as usize];
        source.copy_to(*bytes, &mut place).map_err(|error| match error {
            CopyError::Source(source) => FloppyError::Source { path: entry.path.clone(), source },
            CopyError::Write(error) => FloppyError::Write(error),
        })?;
    }
    Ok(())
}

fn write_allocation_tables(plan: &Plan<'_>, image: &mut [u8]) {
    let mut table = vec![0_u8; FAT_SECTORS * SECTOR_BYTES];
    // The first two places belong to no cluster: the media type, and an end-of-chain mark.
    set_cluster(&mut table, 0, 0xF00 | u16::from(MEDIA_TYPE));
    set_cluster(&mut table, 1, layout::END_OF_CHAIN);
    for chain in plan.chains() {
        let last = chain.end - 1;
        for cluster in chain {
            set_cluster(&mut table, cluster, if cluster == last { layout::END_OF_CHAIN } else { cluster + 1 });
        }
    }
    for copy in 0..FAT_COPIES {
        let start = (FAT_FIRST_SECTOR + copy * FAT_SECTORS) * SECTOR_BYTES;
        image[start..start + table.len()].copy_from_slice(&table);
    }
}

/// Stores a 12-bit entry: two entries share three bytes.
fn set_cluster(table: &mut [u8], cluster: u16, value: u16) {
    let offset = usize::from(cluster) * 3 / 2;
    let old = u16::from_le_bytes([table[offset], table[offset + 1]]);
    let new = if cluster.is_multiple_of(2) { (old & 0xF000) | value } else { (old & 0x000F) | (value << 4) };
    table[offset..offset + 2].copy_from_slice(&new.to_le_bytes());
}

/// Returns where a cluster starts in the image, in bytes. The first cluster has number 2.
fn cluster_offset(cluster: u16) -> usize {
    DATA_FIRST_SECTOR * SECTOR_BYTES + (usize::from(cluster) - 2) * CLUSTER_BYTES
}
