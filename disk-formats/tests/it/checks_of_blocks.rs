//! Structure checks of VHD, VHDX and VMDK: whole images of all writers are clean, damage is found where it is.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use kiln_disk_formats::{
    CheckReport, DiskAdapter, ErrorKind, Format, OutputKind, VhdVariant, VmdkOptions, VmdkSubformat, check, check_with,
};
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

/// Returns the CRC-32C, bit by bit (RFC 3720, appendix B.4).
fn crc32c(bytes: &[u8]) -> u32 {
    let next = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| next(crc)))
}

/// Fills in the checksum at bytes 4 to 7.
fn seal(bytes: &mut [u8]) {
    bytes[4..8].fill(0);
    let sum = crc32c(bytes);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn a_vhdx_is_checked_as_it_is_after_replaying_its_log() {
    let bench = bench();
    std::fs::write(&bench.raw, vec![7; 9 << 20]).unwrap();
    let (path, _) = bench.convert("a.vhdx", OutputKind::Vhdx);
    let file = edit(&path);
    // The log puts the block table's first sector there anew, with block 1 on block 0.
    let mut sector: [u8; 4096] = bytes_at(&file, 3 << 20);
    sector.copy_within(0..8, 8);
    let (sequence, guid) = (1u64, [5; 16]);
    let mut entry = vec![0; 8192];
    entry[..4].copy_from_slice(b"loge");
    entry[8..12].copy_from_slice(&8192u32.to_le_bytes());
    entry[16..24].copy_from_slice(&sequence.to_le_bytes());
    entry[24..28].copy_from_slice(&1u32.to_le_bytes());
    entry[32..48].copy_from_slice(&guid);
    entry[64..68].copy_from_slice(b"desc");
    entry[68..72].copy_from_slice(&sector[4092..]);
    entry[72..80].copy_from_slice(&sector[..8]);
    entry[80..88].copy_from_slice(&(3u64 << 20).to_le_bytes());
    entry[88..96].copy_from_slice(&sequence.to_le_bytes());
    entry[4096..].copy_from_slice(&sector);
    entry[4096..4100].copy_from_slice(b"data");
    entry[4100..4104].fill(0);
    entry[8188..].copy_from_slice(&(sequence as u32).to_le_bytes());
    seal(&mut entry);
    file.write_all_at(&entry, 1 << 20).unwrap();
    // The second header counts, as its sequence number is the higher one.
    let mut header: [u8; 4096] = bytes_at(&file, 128 << 10);
    header[48..64].copy_from_slice(&guid);
    seal(&mut header);
    file.write_all_at(&header, 128 << 10).unwrap();
    let report = check(&path, None).unwrap();
    assert_eq!(report.corruptions, 2, "{report:?}");
    assert!(report.findings[0].rule.contains("not closed cleanly"), "{report:?}");
    assert_eq!(report.findings[0].offset, 1 << 20);
    assert!(report.findings[1].rule.contains("on another block"), "{report:?}");
    assert_eq!((report.findings[1].offset, report.findings[1].guest_offset), ((3 << 20) + 8, Some(2 << 20)));
}

#[test]
fn a_differencing_vhd_is_checked_without_its_parent() {
    let bench = bench();
    let (path, _) = bench.convert("a.vhd", OutputKind::Vhd(VhdVariant::Dynamic));
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len() - 512;
    let seal = |bytes: &mut [u8], sum_at: usize| {
        bytes[sum_at..sum_at + 4].fill(0);
        let sum = !bytes.iter().fold(0u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        bytes[sum_at..sum_at + 4].copy_from_slice(&sum.to_be_bytes());
    };
    for footer in [0, end] {
        bytes[footer + 63] = 4;
        seal(&mut bytes[footer..footer + 512], 64);
    }
    std::fs::write(&path, &bytes).unwrap();
    assert_clean(&path, Format::Vhd);
    // The first locator: platform, space, length, reserved, offset.
    let header = &mut bytes[512..1536];
    header[576..580].copy_from_slice(b"W2ru");
    header[587] = 20;
    header[592..600].copy_from_slice(&(1u64 << 40).to_be_bytes());
    seal(header, 36);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(only_finding(&path, "a path of the parent"), (1 << 40, None));
}

#[test]
fn whole_vmdks_are_clean() {
    let bench = bench();
    let adapter = DiskAdapter::LsiLogic;
    let kinds = [OutputKind::vmdk_monolithic_sparse(adapter), OutputKind::vmdk_stream_optimized(adapter)];
    for kind in kinds {
        let (path, _) = bench.convert("a.vmdk", kind);
        let report = assert_clean(&path, Format::Vmdk);
        assert_eq!(report.total_clusters, 144);
        assert!((1..=144).contains(&report.allocated_clusters));
        std::fs::remove_file(path).unwrap();
    }
    for subformat in [VmdkSubformat::TwoGbMaxExtentSparse, VmdkSubformat::MonolithicFlat] {
        let options = VmdkOptions { subformat, ..VmdkOptions::default() };
        let (path, _) = bench.convert("a.vmdk", OutputKind::Vmdk(options));
        assert_eq!(check(&path, None).unwrap_err().kind(), ErrorKind::Refused);
        let report = check_with(&path, None, &bench.policy()).unwrap();
        assert!(report.is_clean(), "{report:?}");
        std::fs::remove_file(path).unwrap();
    }
    if present() {
        for subformat in
            ["monolithicSparse", "streamOptimized", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "monolithicFlat"]
        {
            let path = bench.path(&format!("{subformat}.vmdk"));
            let options = format!("subformat={subformat}");
            ok(&["convert", "-f", "raw", "-O", "vmdk", "-o", &options, text(&bench.raw), text(&path)]);
            let report = check_with(&path, None, &bench.policy()).unwrap();
            assert!(report.is_clean(), "{subformat}: {report:?}");
        }
    }
}

/// Reads a sector number at `offset` as an offset in bytes.
fn sector_at(file: &File, offset: u64) -> u64 {
    u64::from(u32::from_le_bytes(bytes_at(file, offset))) * 512
}

#[test]
fn damage_of_a_sparse_vmdk_is_found() {
    let bench = bench();
    std::fs::write(&bench.raw, vec![7; 9 << 20]).unwrap();
    let path = bench.path("a.vmdk");
    // Returns the file, its two directories, and their first tables.
    let fresh = || {
        std::fs::remove_file(&path).ok();
        bench.convert("a.vmdk", OutputKind::vmdk_monolithic_sparse(DiskAdapter::LsiLogic));
        let file = edit(&path);
        let [redundant, primary] = [48, 56].map(|at| u64::from_le_bytes(bytes_at(&file, at)) * 512);
        let tables = [sector_at(&file, redundant), sector_at(&file, primary)];
        (file, [redundant, primary], tables)
    };
    let cases: [(u64, &str); 4] = [
        (0, "on another grain"),
        (1, "on a table, or on the header"),
        (30, "on a table, or on the header"),
        (u64::from(u32::MAX), "past the end"),
    ];
    for (sector, rule) in cases {
        let (file, _, tables) = fresh();
        let sector = if sector == 0 { sector_at(&file, tables[1]) / 512 } else { sector };
        for table in tables {
            file.write_all_at(&(sector as u32).to_le_bytes(), table + 5 * 4).unwrap();
        }
        let report = check(&path, None).unwrap();
        let finding = &report.findings[0];
        assert!(report.corruptions == 1 && finding.rule.contains(rule), "{rule}: {report:?}");
        assert_eq!((finding.offset, finding.guest_offset), (tables[1] + 20, Some(5 * 65536)));
    }
    let (file, _, tables) = fresh();
    file.write_all_at(&[0; 4], tables[0]).unwrap();
    assert_eq!(only_finding(&path, "redundant grain table differs"), (tables[0], Some(0)));
    let (file, [redundant, _], _) = fresh();
    file.write_all_at(&[0; 4], redundant).unwrap();
    assert_eq!(only_finding(&path, "only one of the two"), (redundant, Some(0)));
    let (file, directories, _) = fresh();
    file.write_all_at(&u32::MAX.to_le_bytes(), directories[1]).unwrap();
    let report = check(&path, None).unwrap();
    assert_eq!((report.corruptions, report.findings[0].offset), (2, directories[1]), "{report:?}");
    // VirtualBox refuses a file whose directories share a table.
    let (file, directories, tables) = fresh();
    file.write_all_at(&((tables[1] / 512) as u32).to_le_bytes(), directories[0]).unwrap();
    assert_eq!(only_finding(&path, "lies on another table"), (directories[0], Some(0)));
    let (file, _, tables) = fresh();
    file.set_len(file.metadata().unwrap().len() - 512).unwrap();
    assert_eq!(only_finding(&path, "past the end"), (tables[1] + 143 * 4, Some(143 * 65536)));
}

#[test]
fn damage_of_a_stream_optimized_vmdk_is_found() {
    let bench = bench();
    std::fs::write(&bench.raw, vec![7; 9 << 20]).unwrap();
    let path = bench.path("a.vmdk");
    // Returns the file, its length, and the offset of the first table.
    let fresh = || {
        std::fs::remove_file(&path).ok();
        bench.convert("a.vmdk", OutputKind::vmdk_stream_optimized(DiskAdapter::LsiLogic));
        let file = edit(&path);
        let len = file.metadata().unwrap().len();
        let directory = u64::from_le_bytes(bytes_at(&file, len - 1024 + 56)) * 512;
        let table = sector_at(&file, directory);
        (file, len, table)
    };
    let (file, _, table) = fresh();
    let grain = sector_at(&file, table + 4);
    file.write_all_at(&bytes_at::<4>(&file, table), table + 4).unwrap();
    assert_eq!(only_finding(&path, "names another place"), (table + 4, Some(65536)));
    let (file, _, table) = fresh();
    file.write_all_at(&[0; 4], grain + 8).unwrap();
    assert_eq!(only_finding(&path, "size is zero or absurd"), (table + 4, Some(65536)));
    let (file, _, table) = fresh();
    file.write_all_at(&[0xff; 2], grain + 8).unwrap();
    let report = check(&path, None).unwrap();
    assert!(report.corruptions > 1 && report.findings[0].rule.contains("on another grain"), "{report:?}");
    let (file, _, _) = fresh();
    file.write_all_at(&[9], table - 512 + 12).unwrap();
    assert_eq!(only_finding(&path, "a grain table has no marker"), (table, Some(0)));
    let (file, len, _) = fresh();
    file.write_all_at(&[9], len - 512 + 12).unwrap();
    assert_eq!(only_finding(&path, "does not end with an end marker"), (len - 512, None));
    let (file, len, _) = fresh();
    file.write_all_at(&[9], len - 1536 + 12).unwrap();
    assert_eq!(only_finding(&path, "the footer has no marker"), (len - 1536, None));
    let (file, len, _) = fresh();
    file.write_all_at(&[1], len - 1024 + 12).unwrap();
    assert_eq!(only_finding(&path, "the footer contradicts the header"), (len - 1024, None));
    let (file, len, _) = fresh();
    file.set_len(len - 512).unwrap();
    assert_eq!(check(&path, None).unwrap_err().kind(), ErrorKind::Truncated);
}

#[test]
fn damage_of_split_vmdks_is_found_and_names_the_file() {
    let bench = bench();
    let (path, _) = bench.convert(
        "a.vmdk",
        OutputKind::Vmdk(VmdkOptions { subformat: VmdkSubformat::MonolithicFlat, ..VmdkOptions::default() }),
    );
    let file = edit(&bench.path("a-flat.vmdk"));
    file.set_len(8 << 20).unwrap();
    let report = check_with(&path, None, &bench.policy()).unwrap();
    assert_eq!(report.corruptions, 1, "{report:?}");
    assert_eq!(report.findings[0].rule, "a-flat.vmdk: the file is shorter than its extent");
    assert_eq!((report.findings[0].offset, report.findings[0].guest_offset), (8 << 20, Some(8 << 20)));
    file.set_len(9 << 20).unwrap();
    let descriptor = std::fs::read_to_string(&path).unwrap();
    let line = descriptor.lines().find(|line| line.starts_with("RW ")).unwrap();
    std::fs::write(&path, descriptor.replace(line, &format!("{line}\n{line}"))).unwrap();
    let report = check_with(&path, None, &bench.policy()).unwrap();
    assert_eq!(report.findings[0].rule, "a-flat.vmdk: two extents share a part of the file", "{report:?}");
    assert_eq!(report.findings[0].guest_offset, Some(9 << 20));
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
        which in 0usize..5,
        damage in prop::collection::vec((0usize..400_000, any::<u8>()), 1..12),
    ) {
        let kinds = [
            OutputKind::Vhd(VhdVariant::Dynamic),
            OutputKind::Vhd(VhdVariant::Fixed),
            OutputKind::Vhdx,
            OutputKind::vmdk_monolithic_sparse(DiskAdapter::LsiLogic),
            OutputKind::vmdk_stream_optimized(DiskAdapter::LsiLogic),
        ];
        check_damaged(&kinds[which], &damage)?;
    }
}
