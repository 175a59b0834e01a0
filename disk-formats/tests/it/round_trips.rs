//! Random disks through every writer and back, and the promises about bytes.

use std::fs;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;

use kiln_disk_formats::package::MachineDescription;
use kiln_disk_formats::{
    Compression, ConvertOptions, DiskAdapter, DiskReader, Extent, ExtentKind, Format, ImageInfo, NoProgress,
    OpenPolicy, Output, OutputKind, Qcow2Method, Qcow2Options, Result, Sha256Digest, VhdVariant, VmdkOptions,
    VmdkSubformat, compare, convert, open,
};
use proptest::prelude::*;

use crate::sample::{Bench, digest};

fn vmdk(subformat: VmdkSubformat) -> OutputKind {
    OutputKind::Vmdk(VmdkOptions { subformat, ..VmdkOptions::default() })
}

fn zstd() -> Qcow2Options {
    Qcow2Options { compression: Some(Compression::Default), method: Qcow2Method::Zstd, ..Qcow2Options::default() }
}

/// Writers whose output is read back here.
fn kinds() -> Vec<(&'static str, OutputKind)> {
    let qcow2 = |compression, cluster_size| {
        OutputKind::Qcow2(Qcow2Options { compression, cluster_size, ..Qcow2Options::default() })
    };
    vec![
        ("a.raw", OutputKind::Raw),
        ("a.qcow2", OutputKind::qcow2()),
        ("b.qcow2", OutputKind::qcow2_compressed()),
        ("c.qcow2", qcow2(None, 4096)),
        ("d.qcow2", qcow2(Some(Compression::Fast), 512)),
        ("e.qcow2", qcow2(Some(Compression::Fast), 2 << 20)),
        ("f.qcow2", OutputKind::Qcow2(zstd())),
        ("a.vmdk", OutputKind::vmdk_stream_optimized(DiskAdapter::LsiLogic)),
        ("b.vmdk", OutputKind::vmdk_monolithic_sparse(DiskAdapter::LsiLogic)),
        ("c.vmdk", vmdk(VmdkSubformat::MonolithicFlat)),
        ("d.vmdk", vmdk(VmdkSubformat::TwoGbMaxExtentSparse)),
        ("e.vmdk", vmdk(VmdkSubformat::TwoGbMaxExtentFlat)),
        ("f.vmdk", vmdk(VmdkSubformat::VmfsFlat)),
        ("a.vdi", OutputKind::Vdi),
        ("a.vhd", OutputKind::Vhd(VhdVariant::Dynamic)),
        ("b.vhd", OutputKind::Vhd(VhdVariant::Fixed)),
        ("a.vhdx", OutputKind::Vhdx),
        ("a.ova", OutputKind::ova(MachineDescription::default())),
    ]
}

fn all_kinds() -> Vec<(&'static str, OutputKind)> {
    let mut kinds = kinds();
    let vmx = MachineDescription { name: "vmx".to_owned(), ..MachineDescription::default() };
    kinds.push(("a.vmx", OutputKind::vmx(vmx)));
    kinds.push(("a.ovf", OutputKind::ovf(MachineDescription::default())));
    kinds
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_writer_keeps_every_byte(sectors in 1u64..12_000, pieces in 0usize..40, seed: u64) {
        let size = sectors * 512;
        let bench = Bench::new(size, pieces, seed);
        let wanted = bench.digest();
        let outputs: Vec<_> = kinds().into_iter().map(|(name, kind)| Output::new(bench.path(name), kind)).collect();
        let report = convert(&*bench.reader(), &outputs, &ConvertOptions::default(), &NoProgress).unwrap();
        prop_assert_eq!(report.content_digest, Some(wanted));
        for output in &outputs {
            let reader = open(&output.path, Some(output.kind.disk_format()), &bench.policy()).unwrap();
            prop_assert_eq!(reader.virtual_size(), size);
            prop_assert_eq!(digest(&*reader), wanted, "{:?}", output.kind);
        }
    }

    #[test]
    fn small_reads_at_any_place_agree_with_the_raw_disk(seed: u64, reads in prop::collection::vec((0u64..3_100_000, 1usize..200_000), 20)) {
        let bench = Bench::new(3_000_320, 30, seed);
        let raw = bench.reader();
        for (name, kind) in kinds() {
            let format = kind.disk_format();
            let (path, _) = bench.convert(name, kind);
            let reader = open(&path, Some(format), &bench.policy()).unwrap();
            for (offset, len) in &reads {
                let (mut wanted, mut found) = (vec![1; *len], vec![2; *len]);
                raw.read_at(*offset, &mut wanted).unwrap();
                reader.read_at(*offset, &mut found).unwrap();
                prop_assert!(wanted == found, "{name}: {len} bytes at {offset}");
            }
        }
    }
}

#[test]
fn extents_cover_the_disk_and_zero_runs_are_zero() {
    let bench = Bench::new(5_000_192, 20, 8);
    for (name, kind) in kinds() {
        let format = kind.disk_format();
        let (path, _) = bench.convert(name, kind);
        let reader = open(&path, Some(format), &bench.policy()).unwrap();
        let size = reader.virtual_size();
        let mut position = 0;
        while position < size {
            for extent in reader.extents(position..size).unwrap() {
                assert_eq!(extent.offset, position, "{name}");
                assert!(extent.len > 0);
                if extent.kind != ExtentKind::Data {
                    let mut bytes = vec![1; extent.len as usize];
                    reader.read_at(extent.offset, &mut bytes).unwrap();
                    assert!(bytes.iter().all(|byte| *byte == 0), "{name}");
                }
                position = extent.end();
            }
        }
        assert_eq!(position, size);
        assert!(reader.extents(size..size + 10).unwrap().is_empty());
    }
}

#[test]
fn bytes_do_not_depend_on_the_number_of_threads_or_the_other_outputs() {
    let bench = Bench::new(40 << 20, 80, 3);
    let mut digests: Vec<Vec<Option<Sha256Digest>>> = Vec::new();
    for threads in [1, 2, 7] {
        fs::create_dir(bench.path(&threads.to_string())).unwrap();
        let directory = bench.path(&threads.to_string());
        let outputs: Vec<_> =
            all_kinds().into_iter().map(|(name, kind)| Output::new(directory.join(name), kind)).collect();
        let mut options = ConvertOptions::default();
        options.threads = Some(threads);
        let report = convert(&*bench.reader(), &outputs, &options, &NoProgress).unwrap();
        for file in &report.files {
            assert_eq!(file.sha256, Some(Sha256Digest::of(&fs::read(&file.path).unwrap())), "{:?}", file.path);
            assert_eq!(file.size, file.path.metadata().unwrap().len());
        }
        digests.push(report.files.iter().map(|file| file.sha256).collect());
    }
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], digests[2]);
    for (name, mut kind) in all_kinds() {
        fs::create_dir(bench.path(&format!("alone-{name}"))).unwrap();
        // "auto" is the one thing that looks at other outputs; beside streams of the default level it is that.
        if let OutputKind::Qcow2(options) = &mut kind
            && options.compression == Some(Compression::Auto)
        {
            options.compression = Some(Compression::Default);
        }
        let (_, report) = bench.convert(&format!("alone-{name}/{name}"), kind);
        for file in &report.files {
            let together = bench.path("1").join(file.path.file_name().unwrap());
            assert_eq!(file.sha256, Some(Sha256Digest::of(&fs::read(&together).unwrap())), "{together:?}");
        }
    }
}

#[test]
fn progress_ends_at_the_disks_size() {
    let bench = Bench::new(9_000_000, 30, 4);
    let last = std::sync::Mutex::new((0, 0));
    let progress = |done: u64, total: u64| {
        let mut last = last.lock().unwrap();
        assert!(done >= last.0 && done <= total);
        *last = (done, total);
        ControlFlow::Continue(())
    };
    let outputs = [Output::new(bench.path("a.qcow2"), OutputKind::qcow2())];
    convert(&*bench.reader(), &outputs, &ConvertOptions::default(), &progress).unwrap();
    assert_eq!(*last.lock().unwrap(), (9_000_000, 9_000_000));
}

/// 60 TiB with one byte in each of three places; larger than this file system's files.
struct Huge;

const HUGE: u64 = 60 << 40;
const PLACES: [u64; 3] = [5, 31 << 40, HUGE - 1];

impl DiskReader for Huge {
    fn virtual_size(&self) -> u64 {
        HUGE
    }

    fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        let mut extents = Vec::new();
        let mut position = range.start;
        for place in PLACES.into_iter().filter(|place| range.contains(place)) {
            extents.push(Extent { offset: position, len: place - position, kind: ExtentKind::Hole });
            extents.push(Extent { offset: place, len: 1, kind: ExtentKind::Data });
            position = place + 1;
        }
        extents.push(Extent { offset: position, len: range.end - position, kind: ExtentKind::Hole });
        extents.retain(|extent| extent.len > 0);
        Ok(extents)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        buf.fill(0);
        let range = offset..offset + buf.len() as u64;
        for place in PLACES.into_iter().filter(|place| range.contains(place)) {
            buf[(place - offset) as usize] = 7;
        }
        Ok(())
    }

    fn info(&self) -> ImageInfo {
        ImageInfo::new(Format::Raw, HUGE)
    }
}

#[test]
fn a_disk_of_60_tib_takes_no_time() {
    let directory = tempfile::tempdir().unwrap();
    let (qcow2, vmdk) = (directory.path().join("a.qcow2"), directory.path().join("a.vmdk"));
    let vhdx = directory.path().join("a.vhdx");
    let outputs = [
        Output::new(&qcow2, OutputKind::qcow2()),
        Output::new(&vmdk, OutputKind::vmdk_stream_optimized(DiskAdapter::LsiLogic)),
        Output::new(&vhdx, OutputKind::Vhdx),
    ];
    let report = convert(&Huge, &outputs, &ConvertOptions::default(), &NoProgress).unwrap();
    assert_eq!(report.data_bytes, 3 * 65536);
    assert!(report.files[..2].iter().all(|file| file.size < 64 << 20));
    assert!(report.files[2].size < 1 << 30);
    for path in [qcow2, vmdk, vhdx] {
        let reader = open(&path, None, &OpenPolicy::deny()).unwrap();
        assert_eq!(reader.virtual_size(), HUGE);
        assert_eq!(Some(digest(&*reader)), report.content_digest);
    }
}

#[test]
fn comparing_finds_the_first_difference() {
    let bench = Bench::new(5 << 20, 20, 12);
    let (path, _) = bench.convert("a.vmdk", OutputKind::vmdk_stream_optimized(DiskAdapter::Ide));
    let ours = open(&path, None, &OpenPolicy::deny()).unwrap();
    assert!(compare(&*bench.reader(), &*ours, &NoProgress).unwrap().is_identical());
    let other = bench.path("other.raw");
    fs::copy(&bench.raw, &other).unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(&other).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 3_000_001).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 3_000_001).unwrap();
    file.set_len(6 << 20).unwrap();
    let other = open(&other, Some(Format::Raw), &OpenPolicy::deny()).unwrap();
    let found = compare(&*other, &*ours, &NoProgress).unwrap();
    assert_eq!((found.first_difference, found.same_size), (Some(3_000_001), false));
}
