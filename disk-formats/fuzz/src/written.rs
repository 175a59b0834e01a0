//! Inputs of the second kind: a disk described by some bytes, what our writer makes of it, and damage done to that.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use kiln_disk_formats::{
    ConvertOptions, DiskReader, Extent, ExtentKind, Format, ImageInfo, NoProgress, Output, OutputKind, Result, convert,
};

use crate::playground::{NAMES, Playground};
use crate::sparse_file::SparseFile;

/// Images that are kept, since most inputs damage the same few in many ways.
const KEPT: usize = 32;

/// What a stretch of the disk is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Arbitrary)]
enum Filling {
    Zeroes,
    Byte(u8),
    Noise(u8),
    Text,
}

/// A stretch of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Arbitrary)]
struct Stretch {
    start: u32,
    len: u16,
    /// Multiplies `len`.
    times: u8,
    filling: Filling,
}

/// A disk in memory that knows its content at each offset.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Disk {
    size: u64,
    stretches: Vec<Stretch>,
}

/// A piece of damage.
#[derive(Debug, Clone, Arbitrary)]
pub enum Damage {
    /// Changes bytes that were not zero, counted over all of the file's.
    Content { file: u8, at: u32, bytes: [u8; 4], len: u8 },
    /// Changes bytes anywhere, most often near the front.
    Anywhere { file: u8, at: u32, unit: u8, bytes: [u8; 8], len: u8 },
    /// Changes the file's length.
    Cut { file: u8, at: u32 },
    /// Copies a part of the file onto another.
    Copy { file: u8, from: u32, to: u32, len: u16 },
}

/// A disk, the kind of image to be made of it, and what then happens to that.
#[derive(Debug)]
pub struct Plan {
    pub disk: Disk,
    pub kind: usize,
    pub damage: Vec<Damage>,
}

impl Plan {
    /// Reads a plan from an input for one of `kinds` kinds of images.
    pub fn arbitrary(input: &[u8], kinds: usize) -> arbitrary::Result<Self> {
        let mut u = Unstructured::new(input);
        let kind = u.choose_index(kinds)?;
        let size = match u.int_in_range(0..=3u8)? {
            0 => u64::from(u8::arbitrary(&mut u)?) * 512,
            1 => u64::from(u32::arbitrary(&mut u)? % (4 << 20)),
            2 => u64::from(u8::arbitrary(&mut u)?) * 65536 + u64::from(u8::arbitrary(&mut u)?) * 512,
            // Large and nearly empty.
            _ => (1 << (20 + u.int_in_range(0..=11u8)?)) + u64::from(u8::arbitrary(&mut u)?) * 512,
        };
        let mut stretches = Vec::new();
        for _ in 0..u.int_in_range(0..=6u8)? {
            stretches.push(Stretch::arbitrary(&mut u)?);
        }
        let mut damage = Vec::new();
        while !u.is_empty() && damage.len() < 12 {
            damage.push(Damage::arbitrary(&mut u)?);
        }
        Ok(Self { disk: Disk { size, stretches }, kind, damage })
    }
}

impl Stretch {
    fn range(&self, size: u64) -> Range<u64> {
        let start = u64::from(self.start) * 64 % size.max(1);
        let len = u64::from(self.len) * (u64::from(self.times) % 16 + 1);
        start..start.saturating_add(len).min(size)
    }

    fn fill(&self, offset: u64, buf: &mut [u8]) {
        match self.filling {
            Filling::Zeroes => buf.fill(0),
            Filling::Byte(byte) => buf.fill(byte),
            Filling::Text => {
                for (at, byte) in (offset..).zip(buf) {
                    *byte = b"All work and no play makes Jack a dull boy.\n"[(at % 44) as usize];
                }
            }
            Filling::Noise(seed) => {
                for (at, byte) in (offset..).zip(buf) {
                    let x = (at ^ u64::from(seed) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    *byte = (x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes()[1];
                }
            }
        }
    }
}

impl DiskReader for Disk {
    fn virtual_size(&self) -> u64 {
        self.size
    }

    fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        let range = range.start..range.end.min(self.size);
        let mut edges: Vec<u64> =
            self.stretches.iter().map(|stretch| stretch.range(self.size)).flat_map(|r| [r.start, r.end]).collect();
        edges.extend([range.start, range.end]);
        edges.retain(|edge| range.contains(edge) || *edge == range.end);
        edges.sort_unstable();
        edges.dedup();
        let kind = |offset| match self.stretches.iter().any(|stretch| stretch.range(self.size).contains(&offset)) {
            true => ExtentKind::Data,
            false => ExtentKind::Hole,
        };
        let pairs = edges.windows(2).filter(|_| range.start < range.end);
        Ok(pairs.map(|pair| Extent { offset: pair[0], len: pair[1] - pair[0], kind: kind(pair[0]) }).collect())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        buf.fill(0);
        let wanted = offset..offset + buf.len() as u64;
        for stretch in &self.stretches {
            let range = stretch.range(self.size);
            let (from, to) = (range.start.max(wanted.start), range.end.min(wanted.end));
            if from < to {
                stretch.fill(from, &mut buf[(from - offset) as usize..(to - offset) as usize]);
            }
        }
        Ok(())
    }

    fn info(&self) -> ImageInfo {
        ImageInfo::new(Format::Raw, self.size)
    }
}

/// The files of one image, main file first, by name.
pub type Files = Vec<(String, SparseFile)>;

/// Images that our writers made, by disk and kind.
#[derive(Default)]
pub struct Images {
    known: HashMap<(Disk, usize), Option<Arc<Files>>>,
}

impl Images {
    /// Returns the image of a disk; `None` when its format cannot hold it.
    pub fn write(
        &mut self,
        playground: &Playground,
        disk: &Disk,
        index: usize,
        kind: &OutputKind,
    ) -> Option<Arc<Files>> {
        if let Some(known) = self.known.get(&(disk.clone(), index)) {
            return known.clone();
        }
        if self.known.len() >= KEPT {
            self.known.clear();
        }
        let files = write(playground, disk, kind).map(Arc::new);
        self.known.insert((disk.clone(), index), files.clone());
        files
    }
}

fn write(playground: &Playground, disk: &Disk, kind: &OutputKind) -> Option<Files> {
    let directory = playground.written();
    let mut options = ConvertOptions::without_digests();
    options.threads = Some(1);
    options.durable = false;
    let output = Output::new(directory.join(NAMES[0]), kind.clone());
    let report = match convert(disk, &[output], &options, &NoProgress) {
        Ok(report) => report,
        Err(error) => {
            let refused = [kiln_disk_formats::ErrorKind::TooLarge, kiln_disk_formats::ErrorKind::InvalidInput];
            assert!(refused.contains(&error.kind()), "{error:?} for {disk:?}");
            return None;
        }
    };
    let read = |path: &std::path::Path| {
        let name = path.file_name().and_then(|name| name.to_str()).expect("names are plain").to_owned();
        let file = SparseFile::read(path).expect("what was written can be read");
        std::fs::remove_file(path).expect("files can be removed");
        (name, file)
    };
    Some(report.files.iter().map(|file| read(&file.path)).collect())
}

impl Damage {
    /// Damages the files of an image.
    pub fn apply(&self, files: &mut Files) {
        let count = files.len();
        let file = |index: u8| usize::from(index) % count;
        match self {
            Self::Content { file: index, at, bytes, len } => {
                let target = &mut files[file(*index)].1;
                let total: u64 = target.pieces.iter().map(|(_, bytes)| bytes.len() as u64).sum();
                let mut at = u64::from(*at) % total.max(1);
                let bytes = &bytes[..usize::from(len % 4) + 1];
                for (offset, piece) in &target.pieces {
                    if at < piece.len() as u64 {
                        let offset = offset + at;
                        target.pieces.push((offset, bytes.to_vec()));
                        return;
                    }
                    at -= piece.len() as u64;
                }
            }
            Self::Anywhere { file: index, at, unit, bytes, len } => {
                let target = &mut files[file(*index)].1;
                let unit = [1, 8, 512, 4096, 65536, 1 << 20][usize::from(unit % 6)];
                let offset = u64::from(*at).wrapping_mul(unit) % target.len.max(1);
                target.pieces.push((offset, bytes[..usize::from(len % 8) + 1].to_vec()));
            }
            Self::Cut { file: index, at } => {
                let target = &mut files[file(*index)].1;
                target.len = u64::from(*at) % (target.len + 4096);
            }
            Self::Copy { file: index, from, to, len } => {
                let target = &mut files[file(*index)].1;
                let mut bytes = vec![0; usize::from(*len)];
                target.fill(u64::from(*from) % target.len.max(1), &mut bytes);
                target.pieces.push((u64::from(*to) % target.len.max(1), bytes));
            }
        }
    }
}
