//! Structure checks: the counts are qemu-img's, damage is found, and damaged images neither panic nor hang.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use kiln_disk_formats::{CheckReport, ErrorKind, FindingKind, Format, check, snapshots};
use proptest::prelude::*;

use crate::qemu_img::{ok, present, text};

/// Makes a disk of 8 MiB with data in two places.
fn source(directory: &Path) -> std::path::PathBuf {
    let path = directory.join("source.raw");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(8 << 20).unwrap();
    let data: Vec<u8> = (0..300_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    file.write_all_at(&data, 65536).unwrap();
    file.write_all_at(&data, 5 << 20).unwrap();
    path
}

/// Returns a number of qemu-img's report; a field that is left out is 0.
fn field(report: &str, name: &str) -> u64 {
    let Some((_, rest)) = report.split_once(&format!("\"{name}\": ")) else { return 0 };
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// Checks with both and compares all counts. qemu-img's exit code is not 0 for damaged images.
fn check_with_both(path: &Path, format: Format) -> CheckReport {
    let arguments = ["check", "--output=json", "-f", format.name(), text(path)];
    let output = Command::new("qemu-img").args(arguments).output().unwrap();
    let theirs = String::from_utf8(output.stdout).unwrap();
    let ours = check(path, Some(format)).unwrap();
    assert_eq!(ours.corruptions, field(&theirs, "corruptions"), "{theirs} {ours:?}");
    assert_eq!(ours.leaks, field(&theirs, "leaks"), "{theirs} {ours:?}");
    if format == Format::Qcow2 {
        assert_eq!(ours.total_clusters, field(&theirs, "total-clusters"), "{theirs}");
        assert_eq!(ours.allocated_clusters, field(&theirs, "allocated-clusters"), "{theirs}");
        assert_eq!(ours.compressed_clusters, field(&theirs, "compressed-clusters"), "{theirs}");
        assert_eq!(ours.fragmented_clusters, field(&theirs, "fragmented-clusters"), "{theirs}");
        assert_eq!(ours.image_end_offset, Some(field(&theirs, "image-end-offset")), "{theirs}");
    }
    ours
}

#[test]
fn whole_images_count_as_qemu_img_counts_them() {
    if !present() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let source = source(directory.path());
    let path = directory.path().join("a.img");
    let compressed = ["-c", "-o", "compression_type=zstd"];
    let variants: [&[&str]; 8] = [
        &[],
        &["-c"],
        &compressed,
        &["-o", "extended_l2=on"],
        &["-o", "compat=0.10"],
        &["-o", "cluster_size=512"],
        &["-o", "refcount_bits=1"],
        &["-o", "refcount_bits=64"],
    ];
    for options in variants {
        ok(&[&["convert", "-f", "raw", "-O", "qcow2"], options, &[text(&source), text(&path)]].concat());
        assert!(check_with_both(&path, Format::Qcow2).is_clean(), "{options:?}");
    }
    ok(&["convert", "-f", "raw", "-O", "vdi", text(&source), text(&path)]);
    assert!(check_with_both(&path, Format::Vdi).is_clean());
}

#[test]
fn snapshots_are_listed_and_their_tables_counted() {
    if !present() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (source, path) = (source(directory.path()), directory.path().join("a.qcow2"));
    ok(&["convert", "-f", "raw", "-O", "qcow2", text(&source), text(&path)]);
    ok(&["snapshot", "-c", "before update", text(&path)]);
    ok(&["snapshot", "-c", "after", text(&path)]);
    let listed = snapshots(&path, None).unwrap();
    let names: Vec<_> = listed.iter().map(|snapshot| (snapshot.id.as_str(), snapshot.name.as_str())).collect();
    assert_eq!(names, [("1", "before update"), ("2", "after")]);
    assert!(listed.iter().all(|snapshot| snapshot.vm_state_size == 0 && snapshot.date.0 > 0));
    assert!(check_with_both(&path, Format::Qcow2).is_clean());
}

fn read_u64(file: &std::fs::File, offset: u64) -> u64 {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, offset).unwrap();
    u64::from_be_bytes(bytes)
}

#[test]
fn leaks_and_wrong_counts_are_found_as_qemu_img_finds_them() {
    if !present() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (source, path) = (source(directory.path()), directory.path().join("a.qcow2"));
    let fresh = || {
        ok(&["convert", "-f", "raw", "-O", "qcow2", text(&source), text(&path)]);
        let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        let l2 = read_u64(&file, read_u64(&file, 40)) & 0x00ff_ffff_ffff_fe00;
        let block = read_u64(&file, read_u64(&file, 48));
        (file, l2, block)
    };
    // The entry of guest cluster 1 is lost: its cluster leaks.
    let (file, l2, _) = fresh();
    file.write_all_at(&[0; 8], l2 + 8).unwrap();
    let report = check_with_both(&path, Format::Qcow2);
    assert_eq!((report.corruptions, report.leaks), (0, 1));
    assert_eq!(report.findings[0].kind, FindingKind::Leak);
    // Two guest clusters on one: one use too many, and one leak.
    let (file, l2, _) = fresh();
    let first = read_u64(&file, l2 + 8);
    file.write_all_at(&first.to_be_bytes(), l2 + 16).unwrap();
    let report = check_with_both(&path, Format::Qcow2);
    assert!(report.corruptions > 0 && report.leaks == 1, "{report:?}");
    // The count of a data cluster is 0.
    let (file, l2, block) = fresh();
    let index = (read_u64(&file, l2 + 8) & 0x00ff_ffff_ffff_fe00) / 65536;
    file.write_all_at(&[0; 2], block + index * 2).unwrap();
    assert!(check_with_both(&path, Format::Qcow2).corruptions > 0);
    // A cluster outside the file has its place and guest offset named.
    let (file, l2, _) = fresh();
    file.write_all_at(&(1u64 << 63 | 1 << 40).to_be_bytes(), l2 + 8).unwrap();
    let report = check(&path, None).unwrap();
    let outside = report.findings.iter().find(|finding| finding.offset == 1 << 40).unwrap();
    assert_eq!((outside.kind, outside.guest_offset), (FindingKind::Corruption, Some(65536)));
}

#[test]
fn reserved_bits_of_tables_are_found_as_qemu_img_finds_them() {
    if !present() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (source, path) = (source(directory.path()), directory.path().join("a.qcow2"));
    for (header_field, table, bit) in [(40, "l1", 1u64 << 60), (40, "l2", 1 << 60), (48, "reference count", 1)] {
        ok(&["convert", "-f", "raw", "-O", "qcow2", text(&source), text(&path)]);
        let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        let mut at = read_u64(&file, header_field);
        if table == "l2" {
            at = read_u64(&file, at) & 0x00ff_ffff_ffff_fe00;
        }
        file.write_all_at(&(read_u64(&file, at) | bit).to_be_bytes(), at).unwrap();
        let theirs = Command::new("qemu-img").args(["check", "-f", "qcow2", text(&path)]).output().unwrap();
        assert_eq!(theirs.status.code(), Some(2), "{table}");
        let report = check(&path, None).unwrap();
        let found = report.findings.iter().find(|finding| finding.offset == at);
        assert!(found.is_some_and(|found| found.rule.contains("reserved bits")), "{table}: {report:?}");
    }
}

#[test]
fn vdi_blocks_used_twice_or_outside_are_found() {
    if !present() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (source, path) = (source(directory.path()), directory.path().join("a.vdi"));
    ok(&["convert", "-f", "raw", "-O", "vdi", text(&source), text(&path)]);
    let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let mut map = [0; 4];
    file.read_exact_at(&mut map, 0x154).unwrap();
    let map = u64::from(u32::from_le_bytes(map));
    file.write_all_at(&0u32.to_le_bytes(), map + 5 * 4).unwrap();
    let report = check(&path, None).unwrap();
    assert_eq!(report.corruptions, 1);
    assert_eq!((report.findings[0].offset, report.findings[0].guest_offset), (map + 20, Some(5 << 20)));
    file.write_all_at(&1000u32.to_le_bytes(), map + 5 * 4).unwrap();
    assert_eq!(check(&path, None).unwrap().corruptions, 2, "a block outside, and the number of allocated ones");
}

#[test]
fn formats_that_cannot_be_checked_say_so() {
    let directory = tempfile::tempdir().unwrap();
    let error = check(&source(directory.path()), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().ends_with("source.raw: the structure of raw images cannot be checked"), "{error}");
}

/// The packing's own sums count, and the image inside is checked as if it were not packed.
#[test]
fn packed_images_are_checked_inside_and_outside() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("a.qcow2");
    kiln_disk_formats::create_qcow2(&image, 1 << 20).unwrap();
    let mut leaking = std::fs::read(&image).unwrap();
    leaking.resize(leaking.len() + 65536, 7);
    let block = u64::from_be_bytes(leaking[48..56].try_into().unwrap()) as usize;
    let block = u64::from_be_bytes(leaking[block..block + 8].try_into().unwrap()) as usize;
    let last = leaking.len() / 65536 - 1;
    leaking[block + last * 2 + 1] = 1;
    let packed = directory.path().join("a.qcow2.gz");
    let pack = |bytes: &[u8]| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packer, bytes).unwrap();
        packer.finish().unwrap()
    };
    std::fs::write(&packed, pack(&std::fs::read(&image).unwrap())).unwrap();
    assert!(check(&packed, None).unwrap().is_clean());
    let whole = pack(&leaking);
    std::fs::write(&packed, &whole).unwrap();
    let report = check(&packed, None).unwrap();
    assert_eq!((report.format, report.leaks, report.corruptions), (Format::Qcow2, 1, 0));
    let mut wrong = whole;
    let sum = wrong.len() - 8;
    wrong[sum] ^= 1;
    std::fs::write(&packed, &wrong).unwrap();
    let error = check(&packed, None).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.offset().is_some(), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn damaged_tables_end_in_a_report_or_an_error(damage in prop::collection::vec((0usize..0x60000, any::<u64>()), 1..8)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.qcow2");
        kiln_disk_formats::create_qcow2(&path, 64 << 20).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        for (offset, value) in damage {
            // Half of the damage goes to the header, which decides most.
            let offset = if offset % 2 == 0 { offset % 112 } else { offset };
            file.write_all_at(&value.to_be_bytes(), offset as u64).unwrap();
        }
        // The header is left recognisable.
        file.write_all_at(b"QFI\xfb\0\0\0\x03", 0).unwrap();
        match check(&path, Some(Format::Qcow2)) {
            Ok(report) => prop_assert!(report.findings.len() <= 1000),
            Err(error) => prop_assert!(error.path().is_some()),
        }
    }
}
