//! Every writer, cut off after each of its operations, or failing in one: no name without its whole content.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::outputs::convert_to;
use crate::DiskReader;
use crate::ErrorKind;
use crate::Extent;
use crate::ExtentKind;
use crate::Format;
use crate::ImageInfo;
use crate::OpenPolicy;
use crate::Output;
use crate::OutputKind;
use crate::Qcow2Method;
use crate::Qcow2Options;
use crate::Result;
use crate::VhdVariant;
use crate::VmdkOptions;
use crate::VmdkSubformat;
use crate::compare;
use crate::machine::MachineDescription;
use crate::open;
use crate::writing::convert_options::ConvertOptions;
use crate::writing::progress::{NoProgress, Progress};
use crate::writing::testing::{Fault, FaultyFiles, Step};

const SIZE: u64 = 1_100_000 / 512 * 512;
/// System error numbers: no space left, input/output error.
const ERRORS: [i32; 2] = [28, 5];

/// A disk in memory: noise, text, and a hole.
struct Disk;

impl DiskReader for Disk {
    fn virtual_size(&self) -> u64 {
        SIZE
    }

    fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        let end = range.end.min(SIZE);
        Ok(match range.start < end {
            true => vec![Extent { offset: range.start, len: end - range.start, kind: ExtentKind::Data }],
            false => Vec::new(),
        })
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        for (at, byte) in (offset..).zip(buf) {
            *byte = match at / 100_000 % 5 {
                _ if at >= SIZE => 0,
                0 => (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8,
                1 => b"All work and no play.\n"[(at % 22) as usize],
                _ => 0,
            };
        }
        Ok(())
    }

    fn info(&self) -> ImageInfo {
        ImageInfo::new(Format::Raw, SIZE)
    }
}

/// Every kind of output, by the name of its main file.
fn kinds() -> Vec<(&'static str, OutputKind)> {
    let machine = MachineDescription::default;
    let zstd = Qcow2Options {
        compression: Some(crate::Compression::Fast),
        method: Qcow2Method::Zstd,
        ..Qcow2Options::default()
    };
    let mut kinds = vec![
        ("a.raw", OutputKind::Raw),
        ("a.qcow2", OutputKind::qcow2()),
        ("a.qcow2", OutputKind::qcow2_compressed()),
        ("a.qcow2", OutputKind::Qcow2(zstd)),
        ("a.vdi", OutputKind::Vdi),
        ("a.vhd", OutputKind::Vhd(VhdVariant::Dynamic)),
        ("a.vhd", OutputKind::Vhd(VhdVariant::Fixed)),
        ("a.vhdx", OutputKind::Vhdx),
        ("a.ovf", OutputKind::ovf(machine())),
        ("a.ova", OutputKind::ova(machine())),
        ("a.vmx", OutputKind::vmx(machine())),
    ];
    for subformat in VmdkSubformat::ALL {
        kinds.push(("a.vmdk", OutputKind::Vmdk(VmdkOptions { subformat, ..VmdkOptions::default() })));
    }
    kinds
}

fn run(path: &Path, kind: &OutputKind, files: &FaultyFiles, progress: &dyn Progress, overwrite: bool) -> Result<()> {
    let options = ConvertOptions { threads: Some(1), overwrite, ..ConvertOptions::default() };
    convert_to(&[&Disk], &[Output::new(path, kind.clone())], &options, progress, files).map(|_| ())
}

fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

/// A file as a disk may have it: what was synced for sure, of the rest what happened to be written.
#[derive(Default, Clone)]
struct Surviving {
    durable: Vec<u8>,
    pending: Vec<Step>,
}

impl Surviving {
    fn apply(bytes: &mut Vec<u8>, step: &Step) {
        match step {
            Step::Write(_, offset, written) => {
                let (start, end) = (*offset as usize, *offset as usize + written.len());
                bytes.resize(bytes.len().max(end), 0);
                bytes[start..end].copy_from_slice(written);
            }
            Step::SetLen(_, len) => bytes.resize(*len as usize, 0),
            _ => {}
        }
    }

    fn sync(&mut self) {
        for step in std::mem::take(&mut self.pending) {
            Self::apply(&mut self.durable, &step);
        }
    }

    /// The contents that are possible after a power loss: nothing of what is pending, all, all but one, only one, the reverse order.
    fn possible(&self) -> Vec<Vec<u8>> {
        let with = |steps: &mut dyn Iterator<Item = &Step>| {
            let mut bytes = self.durable.clone();
            steps.for_each(|step| Self::apply(&mut bytes, step));
            bytes
        };
        let mut contents = vec![with(&mut std::iter::empty())];
        if !self.pending.is_empty() {
            contents.push(with(&mut self.pending.iter()));
            contents.push(with(&mut self.pending.iter().rev()));
            for index in 0..self.pending.len() {
                contents.push(with(&mut self.pending[index..=index].iter()));
                contents.push(with(
                    &mut self.pending.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, step)| step),
                ));
            }
        }
        contents
    }
}

/// Goes through what was done and looks at the disk after a power loss behind each step; returns how many there were.
fn check_every_power_loss(steps: &[Step], whole: &BTreeMap<PathBuf, Vec<u8>>, main: &Path) -> usize {
    let mut files: BTreeMap<usize, (PathBuf, Surviving)> = BTreeMap::new();
    let mut named: Vec<usize> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        match step {
            Step::Create(number, path) => {
                files.insert(*number, (path.clone(), Surviving::default()));
            }
            Step::Write(number, ..) | Step::SetLen(number, _) => {
                assert!(!named.contains(number), "step {index} changes a file that has its name");
                files.get_mut(number).unwrap().1.pending.push(step.clone());
            }
            Step::Sync(number) => files.get_mut(number).unwrap().1.sync(),
            // The power may fail before or after the name is on the disk; with it is the interesting case.
            Step::Publish(number) => named.push(*number),
        }
        for number in &named {
            let (path, surviving) = &files[number];
            for content in surviving.possible() {
                assert!(content == whole[path], "step {index}: {} is not whole", path.display());
            }
        }
        let has_name = |path: &Path| named.iter().any(|number| files[number].0 == path);
        if has_name(main) {
            assert!(
                whole.keys().all(|path| has_name(path)),
                "step {index}: the main file has its name before its parts"
            );
        }
    }
    assert_eq!(named.len(), whole.len());
    steps.len()
}

#[test]
fn a_power_loss_at_any_point_leaves_whole_files_or_none() {
    let mut looked_at = 0;
    for (name, kind) in kinds() {
        let directory = tempfile::tempdir().unwrap();
        let main = directory.path().join(name);
        let files = FaultyFiles::new(Fault::Never);
        run(&main, &kind, &files, &NoProgress, false).unwrap();
        let whole = contents(directory.path());
        looked_at += check_every_power_loss(&files.steps(), &whole, &main);
        // Whole is what opens as the disk that was written.
        if !matches!(kind, OutputKind::Ovf(_) | OutputKind::Vmx(_)) {
            let policy = OpenPolicy::allow_below(vec![directory.path().into()]);
            let reader = open(&main, None, &policy).unwrap();
            assert!(compare(&*reader, &Disk, &NoProgress).unwrap().first_difference.is_none(), "{kind:?}");
        }
    }
    assert!(looked_at > 200, "{looked_at} steps");
}

#[test]
fn a_failure_of_any_operation_leaves_nothing_and_says_why() {
    for (name, kind) in kinds() {
        let mut failed = 0;
        for nth in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let files = FaultyFiles::new(Fault::Nth(nth, ERRORS[nth as usize % 2]));
            let Err(error) = run(&directory.path().join(name), &kind, &files, &NoProgress, false) else { break };
            let wanted = [ErrorKind::NoSpace, ErrorKind::Io][nth as usize % 2];
            assert_eq!(error.kind(), wanted, "{kind:?}, operation {nth}: {error}");
            assert!(error.path().is_some(), "{error}");
            assert!(contents(directory.path()).is_empty(), "{kind:?}, operation {nth}");
            failed += 1;
        }
        assert!(failed >= 5, "{kind:?}: only {failed} operations");
    }
}

#[test]
fn a_failed_overwrite_keeps_the_old_file_or_puts_a_whole_one_in_its_place() {
    let (name, kind) = ("a.qcow2", OutputKind::qcow2());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    for nth in 0.. {
        std::fs::write(&path, b"old").unwrap();
        let result = run(&path, &kind, &FaultyFiles::new(Fault::Nth(nth, ERRORS[0])), &NoProgress, true);
        if result.is_ok() {
            let reader = open(&path, None, &OpenPolicy::deny()).unwrap();
            assert!(compare(&*reader, &Disk, &NoProgress).unwrap().is_identical());
            break;
        }
        assert_eq!(contents(directory.path()), [(path.clone(), b"old".to_vec())].into());
    }
}

#[test]
fn cancelling_at_any_call_leaves_nothing() {
    for (name, kind) in kinds() {
        for stop_at in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let calls = AtomicU64::new(0);
            let progress = |_: u64, _: u64| match calls.fetch_add(1, Ordering::Relaxed) {
                call if call == stop_at => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            };
            let files = FaultyFiles::new(Fault::Nth(u64::MAX, 0));
            match run(&directory.path().join(name), &kind, &files, &progress, false) {
                // Every call was let through.
                Ok(()) if calls.into_inner() <= stop_at => break,
                Ok(()) => panic!("{kind:?} went on after call {stop_at}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
                    assert!(contents(directory.path()).is_empty(), "{kind:?}, call {stop_at}");
                }
            }
        }
    }
}
