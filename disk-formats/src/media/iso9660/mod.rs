//! CD images: ISO 9660 with Rock Ridge (POSIX names and modes) and Joliet (Unicode names for Windows).
//!
//! Everything is laid out first, then written from front to back; the content of files is copied from disk to the image in
//! pieces. Layout of an image, in sectors of 2048 bytes:
//!
//! ```text
//! 0   system area, zero                          19  path tables of both hierarchies
//! 16  primary volume descriptor                  ..  directories with Rock Ridge names, their continuation area
//! 17  supplementary volume descriptor (Joliet)   ..  directories with Joliet names
//! 18  end of descriptors                         ..  content of files, shared by both
//! ```
//!
//! Departures from ECMA-119, the same as those of other writers and understood by all readers in use: the label may hold any
//! printable ASCII (cloud-init needs `cidata`), and directories may be more than eight levels deep. Names of 254 and 255 bytes
//! are stored whole, but Linux shows only their first 250 bytes.

mod content;
mod descriptors;
mod error;
mod hierarchy;
mod joliet;
mod layout;
mod primary_names;
mod records;
mod rock_ridge;
#[cfg(test)]
mod tests;
mod unique_names;

use std::io::{self, Write};

use zerocopy::IntoBytes;

use self::content::Content;
use self::descriptors::{VolumeDescriptor, VolumeFacts, terminator};
pub use self::error::IsoError;
use self::hierarchy::{Flavour, Hierarchy};
use self::layout::{LABEL_BYTES, MAX_DIRECTORIES, SECTOR_BYTES};
use super::source::CopyError;
use super::time::MediaTime;
use super::tree::MediaTree;

/// First sector after the system area.
const FIRST_DESCRIPTOR_SECTOR: u64 = 16;
/// Descriptors: primary, Joliet, end.
const DESCRIPTORS: u64 = 3;
/// Longest part of a file that one directory record can describe: 4 GiB less one sector.
const MAX_SECTION_BYTES: u64 = 0xFFFF_F800;

/// What a CD has besides files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsoOptions {
    /// Volume label: at most 32 printable ASCII characters, stored as given. Joliet keeps the first 16.
    pub label: String,
    /// Time of the volume and of every file and directory.
    pub time: MediaTime,
}

impl Default for IsoOptions {
    /// Returns Packer's default label and the earliest time that FAT can hold.
    fn default() -> Self {
        Self { label: "packer".to_owned(), time: MediaTime::default() }
    }
}

/// Writes a CD image.
///
/// # Errors
///
/// Fails, before anything is written, when the label is not possible or a file cannot be found; and in the middle when a file
/// cannot be read or has changed, or `out` fails. Files of any length are possible (those above 4 GiB take several extents).
pub fn write_iso9660(tree: &MediaTree, options: &IsoOptions, out: &mut impl Write) -> Result<(), IsoError> {
    write_with_sections(tree, options, MAX_SECTION_BYTES, out)
}

fn write_with_sections(
    tree: &MediaTree,
    options: &IsoOptions,
    section_bytes: u64,
    out: &mut impl Write,
) -> Result<(), IsoError> {
    check_label(&options.label)?;
    let mut content = Content::new(tree, section_bytes)?;
    if content.directories.len() > MAX_DIRECTORIES {
        return Err(IsoError::TooManyDirectories { count: content.directories.len() });
    }
    let mut primary = Hierarchy::new(&content, Flavour::PrimaryWithRockRidge, options.time);
    let mut joliet = Hierarchy::new(&content, Flavour::Joliet, options.time);
    let mut sector = FIRST_DESCRIPTOR_SECTOR + DESCRIPTORS;
    for hierarchy in [&mut primary, &mut joliet] {
        hierarchy.place_path_tables(&mut sector);
    }
    for hierarchy in [&mut primary, &mut joliet] {
        hierarchy.place_directories(&mut sector);
    }
    content.place_files(&mut sector);
    let Ok(total_sectors) = u32::try_from(sector) else {
        return Err(IsoError::TooLarge { bytes: sector.saturating_mul(SECTOR_BYTES as u64) });
    };

    let mut writer = SectorWriter { out, position: 0 };
    writer.put(&vec![0; FIRST_DESCRIPTOR_SECTOR as usize * SECTOR_BYTES])?;
    for hierarchy in [&primary, &joliet] {
        let facts = VolumeFacts { label: &options.label, time: options.time, total_sectors };
        writer.put(VolumeDescriptor::new(&facts, hierarchy).as_bytes())?;
    }
    writer.put(&terminator())?;
    for hierarchy in [&primary, &joliet] {
        writer.put(&hierarchy.path_table(u32::to_le_bytes, u16::to_le_bytes))?;
        writer.put(&hierarchy.path_table(u32::to_be_bytes, u16::to_be_bytes))?;
    }
    for hierarchy in [&primary, &joliet] {
        for index in 0..content.directories.len() {
            writer.put(&hierarchy.directory(index, &content))?;
        }
        writer.put(hierarchy.continuation())?;
    }
    for file in &content.files {
        if file.bytes == 0 {
            continue;
        }
        assert_eq!(writer.position, u64::from(file.first_sector()) * SECTOR_BYTES as u64, "files follow their layout");
        file.source.copy_to(file.bytes, &mut writer).map_err(|error| match error {
            CopyError::Source(source) => IsoError::Source { path: file.path.clone(), source },
            CopyError::Write(error) => IsoError::Write(error),
        })?;
        writer.fill_sector()?;
    }
    assert_eq!(writer.position, sector * SECTOR_BYTES as u64, "the image is as long as its layout");
    writer.out.flush().map_err(IsoError::Write)
}

fn check_label(label: &str) -> Result<(), IsoError> {
    let refuse = |reason| Err(IsoError::Label { label: label.to_owned(), reason });
    if !label.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return refuse("only printable ASCII characters are possible");
    }
    if label.len() > LABEL_BYTES {
        return refuse("it is longer than 32 characters");
    }
    Ok(())
}

/// Writes whole sectors and knows where it is.
struct SectorWriter<'a, W> {
    out: &'a mut W,
    /// Bytes written so far.
    position: u64,
}

impl<W: Write> SectorWriter<'_, W> {
    /// Writes bytes and fills up the sector.
    fn put(&mut self, bytes: &[u8]) -> Result<(), IsoError> {
        self.write_all(bytes).map_err(IsoError::Write)?;
        self.fill_sector()
    }

    fn fill_sector(&mut self) -> Result<(), IsoError> {
        let rest = self.position.next_multiple_of(SECTOR_BYTES as u64) - self.position;
        self.write_all(&[0; SECTOR_BYTES][..rest as usize]).map_err(IsoError::Write)
    }
}

impl<W: Write> Write for SectorWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
