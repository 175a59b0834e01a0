//! Growing an image in place, cut off after each operation: the disk is the old one or the new one, and never damaged.

use std::cell::RefCell;
use std::io;
use std::path::Path;

use super::header::CheckedHeader;
use super::medium::Medium;
use super::resize::grow;
use crate::ConvertOptions;
use crate::Format;
use crate::NoProgress;
use crate::OpenPolicy;
use crate::Output;
use crate::OutputKind;
use crate::Qcow2Options;
use crate::check;
use crate::convert;
use crate::open;
use crate::reading::source_file::SourceFile;

/// A file in memory that remembers what was done to it.
#[derive(Default)]
struct Recorded {
    bytes: RefCell<Vec<u8>>,
    steps: RefCell<Vec<Step>>,
}

enum Step {
    Write(u64, Vec<u8>),
    Sync,
}

fn write(bytes: &mut Vec<u8>, offset: u64, written: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + written.len());
    bytes.resize(bytes.len().max(end), 0);
    bytes[start..end].copy_from_slice(written);
}

impl Medium for Recorded {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.bytes.borrow();
        let found = bytes.get(offset as usize..offset as usize + buf.len());
        buf.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        write(&mut self.bytes.borrow_mut(), offset, bytes);
        self.steps.borrow_mut().push(Step::Write(offset, bytes.to_vec()));
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.steps.borrow_mut().push(Step::Sync);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.bytes.borrow().len() as u64)
    }
}

/// What may be on the disk: of the pending writes none, all, one, or all but one.
fn possible(durable: &[u8], pending: &[(u64, Vec<u8>)]) -> Vec<Vec<u8>> {
    let with = |survives: &dyn Fn(usize) -> bool| {
        let mut bytes = durable.to_vec();
        let survivors = pending.iter().enumerate().filter(|(index, _)| survives(*index));
        survivors.for_each(|(_, (offset, written))| write(&mut bytes, *offset, written));
        bytes
    };
    let mut contents = vec![with(&|_| false), with(&|_| true)];
    for one in 0..pending.len() {
        contents.push(with(&|index| index == one));
        contents.push(with(&|index| index != one));
    }
    contents
}

fn source(len: usize) -> Vec<u8> {
    let noise = |n: u64| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8 | 1;
    (0..len as u64).map(noise).collect()
}

/// Makes an image of `size` bytes with data in front.
fn image(directory: &Path, data: &[u8], size: u64, cluster_size: u32) -> Vec<u8> {
    let (raw, path) = (directory.join("source.raw"), directory.join("made.qcow2"));
    std::fs::write(&raw, data).unwrap();
    std::fs::File::options().write(true).open(&raw).unwrap().set_len(size).unwrap();
    let reader = open(&raw, Some(Format::Raw), &OpenPolicy::deny()).unwrap();
    let kind = OutputKind::Qcow2(Qcow2Options { cluster_size, ..Qcow2Options::default() });
    let options = ConvertOptions { overwrite: true, durable: false, ..ConvertOptions::without_digests() };
    convert(&*reader, &[Output::new(&path, kind)], &options, &NoProgress).unwrap();
    std::fs::read(path).unwrap()
}

/// Grows an image and looks at it after a power loss behind each step; returns how many states there were.
fn check_every_power_loss(data: &[u8], old: u64, new: u64, cluster_size: u32) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let before = image(directory.path(), data, old, cluster_size);
    let path = directory.path().join("a.qcow2");
    std::fs::write(&path, &before).unwrap();
    let header = CheckedHeader::read(&SourceFile::open(&path).unwrap()).unwrap();
    let recorded = Recorded { bytes: before.clone().into(), ..Recorded::default() };
    grow(&recorded, &header, new).unwrap();
    let (mut durable, mut pending, mut states) = (before, Vec::new(), 0);
    for step in recorded.steps.borrow().iter() {
        match step {
            Step::Write(offset, written) => pending.push((*offset, written.clone())),
            Step::Sync => {
                for (offset, written) in std::mem::take(&mut pending) {
                    write(&mut durable, offset, &written);
                }
            }
        }
        for state in possible(&durable, &pending) {
            states += 1;
            std::fs::write(&path, &state).unwrap();
            let report = check(&path, Some(Format::Qcow2)).unwrap();
            assert_eq!(report.corruptions, 0, "{report:?}");
            let reader = open(&path, Some(Format::Qcow2), &OpenPolicy::deny()).unwrap();
            assert!([old, new].contains(&reader.virtual_size()));
            let mut found = vec![0; data.len() + 4096];
            reader.read_at(0, &mut found).unwrap();
            assert!(found[..data.len()] == *data && found[data.len()..].iter().all(|byte| *byte == 0));
        }
    }
    assert!(pending.is_empty(), "what was changed last is not durable");
    let report = check(&path, Some(Format::Qcow2)).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(open(&path, None, &OpenPolicy::deny()).unwrap().virtual_size(), new);
    states
}

#[test]
fn a_table_with_room_grows_in_its_place() {
    assert!(check_every_power_loss(&source(200_000), 16 << 20, 40 << 30, 65536) > 8);
}

/// Counts of 512-byte clusters fill a block every 128 KiB of the file: the new table, and what counts it, fall on both sides.
#[test]
fn a_table_without_room_moves_wherever_the_file_ends() {
    let mut states = 0;
    for clusters in 180..256 {
        states += check_every_power_loss(&source(clusters * 512), 2 << 20, 5 << 20, 512);
    }
    assert!(states > 1000, "{states}");
}

/// With 512-byte clusters a table of reference counts of one cluster is full at 8 MiB of the file.
#[test]
fn a_table_of_counts_without_room_moves_too() {
    let mut moved = 0;
    for clusters in [15_740, 15_790, 15_800] {
        moved += check_every_power_loss(&source(clusters * 512), 9 << 20, 12 << 20, 512);
    }
    assert!(moved > 30, "{moved}");
}
