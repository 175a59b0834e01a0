//! Structure checks of VHD, VHDX and VMDK: whole images of all writers are clean, damage is found where it is.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use kiln_disk_formats::{CheckReport, Format, OutputKind, VhdVariant, check};
use proptest::prelude::*;

use crate::qemu_img::{ok, present, text};
use crate::sample::Bench;

fn bench() -> Bench {
    Bench::new(9 << 20, 12, 7)
}

fn edit(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

fn bytes_at<const N: usize>(file: &File, offset: u64) -> [u8; N] {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, offset).unwrap();
    bytes
}

/// Checks that there is exactly one finding, and returns its file and guest offset.
fn only_finding(path: &Path, rule: &str) -> (u64, Option<u64>) {
    let report = check(path, None).unwrap();
    assert_eq!((report.corruptions, report.leaks), (1, 0), "{rule}: {report:?}");
    assert!(report.findings[0].rule.contains(rule), "{rule}: {report:?}");
    (report.findings[0].offset, report.findings[0].guest_offset)
}

fn assert_clean(path: &Path, format: Format) -> CheckReport {
    let report = check(path, None).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.format, format);
    report
}

#[test]
fn whole_vhds_are_clean() {
    let bench = bench();
    let (dynamic, _) = bench.convert("dynamic.vhd", OutputKind::Vhd(VhdVariant::Dynamic));
    let report = assert_clean(&dynamic, Format::Vhd);
    assert_eq!(report.total_clusters, 5);
    assert!((1..=5).contains(&report.allocated_clusters));
    let (fixed, _) = bench.convert("fixed.vhd", OutputKind::Vhd(VhdVariant::Fixed));
    assert_clean(&fixed, Format::Vhd);
    if present() {
        for options in ["subformat=dynamic", "subformat=fixed", "subformat=dynamic,force_size=on"] {
            ok(&["convert", "-f", "raw", "-O", "vpc", "-o", options, text(&bench.raw), text(&dynamic)]);
            assert_clean(&dynamic, Format::Vhd);
        }
    }
}

#[test]
fn damage_of_a_vhd_is_found() {
    let bench = bench();
    let path = bench.path("a.vhd");
    // Block 0 and the last one have data.
    std::fs::write(&bench.raw, vec![7; 9 << 20]).unwrap();
    let fresh = || {
        std::fs::remove_file(&path).ok();
        bench.convert("a.vhd", OutputKind::Vhd(VhdVariant::Dynamic));
        let file = edit(&path);
        let table = u64::from_be_bytes(bytes_at(&file, 512 + 16));
        (file, table)
    };
    let (file, table) = fresh();
    file.write_all_at(&bytes_at::<4>(&file, table), table + 3 * 4).unwrap();
    assert_eq!(only_finding(&path, "lies on another block"), (table + 12, Some(6 << 20)));
    file.write_all_at(&2u32.to_be_bytes(), table + 3 * 4).unwrap();
    assert_eq!(only_finding(&path, "on the block table"), (table + 12, Some(6 << 20)));
    file.write_all_at(&0x7fff_ffffu32.to_be_bytes(), table + 3 * 4).unwrap();
    assert_eq!(only_finding(&path, "past the end"), (table + 12, Some(6 << 20)));
    let (file, _) = fresh();
    file.write_all_at(b"x", 100).unwrap();
    assert_eq!(only_finding(&path, "copy in front is missing or damaged"), (0, None));
    let (file, _) = fresh();
    let end = file.metadata().unwrap().len() - 512;
    file.write_all_at(b"x", end + 100).unwrap();
    assert_eq!(only_finding(&path, "the footer is missing or damaged"), (end, None));
    // A last block that was cut short, the footer with it.
    let (file, table) = fresh();
    file.set_len(end - 4096).unwrap();
    let report = check(&path, None).unwrap();
    assert_eq!(report.corruptions, 2, "{report:?}");
    assert_eq!((report.findings[1].offset, report.findings[1].guest_offset), (table + 16, Some(8 << 20)));
    let (fixed, _) = bench.convert("fixed.vhd", OutputKind::Vhd(VhdVariant::Fixed));
    let file = edit(&fixed);
    let footer: [u8; 512] = bytes_at(&file, 9 << 20);
    file.set_len(8 << 20).unwrap();
    file.write_all_at(&footer, 8 << 20).unwrap();
    only_finding(&fixed, "too short");
}

#[test]
fn whole_vhdxs_are_clean() {
    let bench = bench();
    let (path, _) = bench.convert("a.vhdx", OutputKind::Vhdx);
    let report = assert_clean(&path, Format::Vhdx);
    assert_eq!(report.total_clusters, 5);
    assert!((1..=5).contains(&report.allocated_clusters));
    if present() {
        for options in ["subformat=dynamic", "subformat=fixed", "subformat=dynamic,block_size=1048576"] {
            ok(&["convert", "-f", "raw", "-O", "vhdx", "-o", options, text(&bench.raw), text(&path)]);
            ok(&["check", "-f", "vhdx", text(&path)]);
            assert_clean(&path, Format::Vhdx);
        }
    }
}

#[test]
fn damage_of_a_vhdx_is_found() {
    let bench = bench();
    std::fs::write(&bench.raw, vec![7; 9 << 20]).unwrap();
    let path = bench.path("a.vhdx");
    // Our writer's block table is at 3 MiB, its blocks have 2 MiB.
    let table = 3 << 20;
    let fresh = || {
        std::fs::remove_file(&path).ok();
        bench.convert("a.vhdx", OutputKind::Vhdx);
        edit(&path)
    };
    let cases: [(u64, &str); 6] = [
        (4 << 20 | 6, "on another block"),
        (2 << 20 | 6, "on a region"),
        (1 << 40 | 6, "past the end"),
        (6 << 20 | 5, "the unknown state 5"),
        (6 << 20 | 7, "without parent"),
        (6 << 20 | 1 << 10 | 6, "reserved bits"),
    ];
    for (entry, rule) in cases {
        fresh().write_all_at(&entry.to_le_bytes(), table + 8).unwrap();
        assert_eq!(only_finding(&path, rule), (table + 8, Some(2 << 20)));
    }
    fresh().write_all_at(b"x", (128 << 10) + 20).unwrap();
    assert_eq!(only_finding(&path, "a header is damaged"), (128 << 10, None));
    fresh().write_all_at(b"x", (192 << 10) + 2000).unwrap();
    assert_eq!(only_finding(&path, "a region table is damaged"), (192 << 10, None));
    let file = fresh();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    assert_eq!(only_finding(&path, "past the end"), (table + 32, Some(8 << 20)));
}

/// Damages an image at places where tables and headers are, and checks it.
fn check_damaged(kind: &OutputKind, damage: &[(usize, u8)]) -> Result<(), TestCaseError> {
    let bench = Bench::new(3 << 20, 6, 1);
    let (path, _) = bench.convert("a.image", kind.clone());
    let mut bytes = std::fs::read(&path).unwrap();
    for (place, value) in damage {
        let len = bytes.len();
        let offset = match place % 4 {
            0 => place / 4,
            1 => len - 1 - place / 4 % len,
            2 => (place % 64) * 65536 + place / 64 % 64,
            _ => place / 4 % 2048,
        };
        bytes[offset % len] = *value;
    }
    std::fs::write(&path, bytes).unwrap();
    match check(&path, Some(kind.disk_format())) {
        Ok(report) => prop_assert!(report.findings.len() <= 1000),
        Err(error) => prop_assert!(error.path().is_some()),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn damaged_blocks_end_in_a_report_or_an_error(
        which in 0usize..3,
        damage in prop::collection::vec((0usize..400_000, any::<u8>()), 1..12),
    ) {
        let kinds = [OutputKind::Vhd(VhdVariant::Dynamic), OutputKind::Vhd(VhdVariant::Fixed), OutputKind::Vhdx];
        check_damaged(&kinds[which], &damage)?;
    }
}
