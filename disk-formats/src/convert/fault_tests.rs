//! A full disk and other failures, at every point of a conversion: a typed error, and nothing left behind.

use std::os::unix::fs::FileExt;
use std::path::Path;

use super::outputs::convert_to;
use crate::DiskAdapter;
use crate::DiskReader;
use crate::ErrorKind;
use crate::Format;
use crate::OpenPolicy;
use crate::Output;
use crate::OutputKind;
use crate::Result;
use crate::machine::MachineDescription;
use crate::open;
use crate::writing::convert_options::ConvertOptions;
use crate::writing::progress::NoProgress;
use crate::writing::testing::{Fault, FaultyFiles};

fn outputs(directory: &Path) -> Vec<Output> {
    let kinds = [
        ("a.raw", OutputKind::Raw),
        ("a.qcow2", OutputKind::qcow2()),
        ("b.qcow2", OutputKind::qcow2_compressed()),
        ("a.vmdk", OutputKind::vmdk_stream_optimized(DiskAdapter::Ide)),
        ("b.vmdk", OutputKind::vmdk_monolithic_sparse(DiskAdapter::Ide)),
        ("a.ovf", OutputKind::ovf(MachineDescription::default())),
        ("a.ova", OutputKind::ova(MachineDescription::default())),
    ];
    kinds.into_iter().map(|(name, kind)| Output::new(directory.join(name), kind)).collect()
}

/// Converts a small disk into every format with a fault; returns the result and how many files there are afterwards.
fn convert_with(fault: Fault, pick: impl Fn(usize) -> bool) -> (Result<()>, usize) {
    let source = tempfile::NamedTempFile::new().unwrap();
    source.as_file().set_len(6 << 20).unwrap();
    for index in 0..20u64 {
        let bytes: Vec<u8> = (0..200_000u64).map(|at| (at * (index + 7) % 251) as u8).collect();
        source.as_file().write_all_at(&bytes, index * 300_000).unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let reader = open(source.path(), Some(Format::Raw), &OpenPolicy::deny()).unwrap();
    let mut outputs = outputs(directory.path());
    let mut index = 0..;
    outputs.retain(|_| index.next().is_some_and(&pick));
    let files = FaultyFiles::new(fault);
    let result = convert_to(&[&*reader], &outputs, &ConvertOptions::default(), &NoProgress, &files);
    (result.map(|_| ()), std::fs::read_dir(directory.path()).unwrap().count())
}

#[test]
fn a_full_disk_at_any_point_leaves_nothing() {
    for output in 0..7 {
        let mut limit = 0;
        loop {
            let (result, left) = convert_with(Fault::FullAfter(limit), |index| index == output);
            match result {
                Ok(()) => break,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                    assert!(error.path().is_some() && error.hint().is_some());
                    assert_eq!(left, 0, "output {output}, {limit} bytes");
                }
            }
            limit = limit * 3 / 2 + 100;
        }
        assert!(limit > 10_000, "output {output} never met the full disk");
    }
}

#[test]
fn one_full_output_takes_the_others_with_it() {
    for limit in [0, 1_000_000, 5_000_000] {
        let (result, left) = convert_with(Fault::FullAfter(limit), |_| true);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(left, 0);
    }
}

#[test]
fn failing_to_create_to_sync_or_to_name_a_file_leaves_nothing() {
    let faults = (0..9).flat_map(|index| [Fault::Create(index), Fault::Publish(index)]).chain([Fault::Sync]);
    for fault in faults {
        let (result, left) = convert_with(fault, |_| true);
        assert!(matches!(result.unwrap_err().kind(), ErrorKind::PermissionDenied | ErrorKind::Io));
        assert_eq!(left, 0, "{fault:?}");
    }
}

/// A disk whose reader is broken in a way that nobody foresaw.
struct Panicking;

impl DiskReader for Panicking {
    fn virtual_size(&self) -> u64 {
        64 << 20
    }

    fn extents(&self, range: std::ops::Range<u64>) -> Result<Vec<crate::Extent>> {
        Ok(vec![crate::Extent { offset: range.start, len: range.end - range.start, kind: crate::ExtentKind::Data }])
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        assert!(offset < 16 << 20, "the reader breaks");
        buf.fill(1);
        Ok(())
    }

    fn info(&self) -> crate::ImageInfo {
        crate::ImageInfo::new(Format::Raw, self.virtual_size())
    }
}

#[test]
fn a_panic_of_a_reader_ends_the_pass() {
    let directory = tempfile::tempdir().unwrap();
    let outputs = [
        Output::new(directory.path().join("a.raw"), OutputKind::Raw),
        Output::new(directory.path().join("b.qcow2"), OutputKind::qcow2()),
    ];
    for outputs in [&outputs[..1], &outputs[..]] {
        let convert = || crate::convert(&Panicking, outputs, &ConvertOptions::default(), &NoProgress);
        assert!(std::panic::catch_unwind(convert).is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
