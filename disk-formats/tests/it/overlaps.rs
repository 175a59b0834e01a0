//! Images whose tables give one place to two things: refused by a conversion before it writes, and only they.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use kiln_disk_formats::{
    ConvertOptions, DiskAdapter, Error, ErrorKind, NoProgress, Output, OutputKind, VhdVariant, VmdkOptions,
    VmdkSubformat, check_with, convert, open,
};

use crate::qemu_img::{ok, present, text};
use crate::sample::{Bench, Noise, names};

const MIB: u64 = 1 << 20;

/// A disk whose first 9 MiB are noise, in part compressible.
fn bench() -> Bench {
    let bench = Bench::new(9 * MIB, 0, 0);
    let mut bytes = Noise(3).bytes(9 << 20);
    bytes.chunks_mut(4096).for_each(|block| block[..1500].fill(b'k'));
    std::fs::write(&bench.raw, bytes).unwrap();
    bench
}

fn edit(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

fn number<const N: usize>(file: &File, offset: u64) -> u64 {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, offset).unwrap();
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn copy(file: &File, from: u64, to: u64, len: usize) {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, from).unwrap();
    file.write_all_at(&bytes, to).unwrap();
}

/// Converts the image; nothing may be left when that fails.
fn try_convert(bench: &Bench, path: &Path) -> Result<(), Error> {
    let reader = open(path, None, &bench.policy()).unwrap();
    let target = bench.path("converted.raw");
    let converted =
        convert(&*reader, &[Output::new(&target, OutputKind::Raw)], &ConvertOptions::default(), &NoProgress);
    let written = names(bench.directory.path()).contains(&"converted.raw".to_owned());
    assert_eq!(written, converted.is_ok());
    std::fs::remove_file(&target).ok();
    converted.map(|_| ())
}

fn assert_refused(bench: &Bench, path: &Path, rule: &str, offset: u64) {
    let error = try_convert(bench, path).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Corrupt, Some(offset)), "{rule}: {error}");
    assert_eq!(error.path().unwrap().file_name(), path.file_name(), "{error}");
    assert!(error.to_string().contains(rule), "{rule}: {error}");
    let report = check_with(path, None, &bench.policy()).unwrap();
    assert!(report.corruptions > 0, "a check notices what a conversion refuses: {rule}");
}

/// Returns the offsets of the L1 table and of its first L2 table.
fn qcow2_tables(file: &File) -> (u64, u64) {
    let l1 = number::<8>(file, 40);
    (l1, number::<8>(file, l1) & 0x00ff_ffff_ffff_fe00)
}

#[test]
fn qcow2_clusters_of_two_places_are_refused_unless_their_count_says_so() {
    let bench = bench();
    let (path, _) = bench.convert("a.qcow2", OutputKind::qcow2());
    let file = edit(&path);
    let (l1, l2) = qcow2_tables(&file);
    copy(&file, l2, l2 + 5 * 8, 8);
    assert_refused(&bench, &path, "that of guest offset 0x50000, lies on that of another guest offset", l2 + 40);
    // A count of two, and no flag of a single use: what a deduplicating tool writes, and QEMU reads.
    let shared = number::<8>(&file, l2) & !(1 << 63);
    for entry in [l2, l2 + 40] {
        file.write_all_at(&shared.to_be_bytes(), entry).unwrap();
    }
    let block = number::<8>(&file, number::<8>(&file, 48));
    file.write_all_at(&2u16.to_be_bytes(), block + shared / 65536 * 2).unwrap();
    try_convert(&bench, &path).unwrap();
    // Data on a table is never meant, whatever the counts.
    for (place, what) in [(l2, "the image's tables"), (block, "the image's tables"), (0x200, "")] {
        file.write_all_at(&(1 << 63 | place).to_be_bytes(), l2 + 40).unwrap();
        match what {
            "" => assert!(try_convert(&bench, &path).is_err()),
            what => assert_refused(&bench, &path, what, l2 + 40),
        }
    }
    let (path, _) = bench.convert("b.qcow2", OutputKind::qcow2());
    let file = edit(&path);
    file.write_all_at(&(1 << 63 | l1).to_be_bytes(), l1).unwrap();
    assert_refused(&bench, &path, "an l2 table lies on another table", l1);
}

#[test]
fn packed_qcow2_clusters_may_share_sectors_at_their_edges_only() {
    let bench = bench();
    let (path, _) = bench.convert("a.qcow2", OutputKind::qcow2_compressed());
    try_convert(&bench, &path).unwrap();
    let file = edit(&path);
    let (_, l2) = qcow2_tables(&file);
    let (first, second) = (number::<8>(&file, l2), number::<8>(&file, l2 + 8));
    assert!(first & second & 1 << 62 != 0);
    file.write_all_at(&(first + 1024).to_be_bytes(), l2 + 8).unwrap();
    assert_refused(&bench, &path, "a compressed cluster, that of guest offset 0x10000, lies on another one", l2 + 8);
    // A plain cluster on compressed data.
    let plain = (1 << 63) | ((first & ((1 << 54) - 1)) / 65536 * 65536);
    file.write_all_at(&plain.to_be_bytes(), l2 + 8).unwrap();
    assert_refused(&bench, &path, "a data cluster, that of guest offset 0x10000, lies on", l2 + 8);
}

#[test]
fn what_lies_below_is_looked_at_too() {
    if !present() {
        return;
    }
    let bench = bench();
    let (base, _) = bench.convert("base.qcow2", OutputKind::qcow2());
    let top = bench.path("top.qcow2");
    ok(&["create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", text(&top)]);
    try_convert(&bench, &top).unwrap();
    let file = edit(&base);
    let (_, l2) = qcow2_tables(&file);
    copy(&file, l2, l2 + 8, 8);
    let error = try_convert(&bench, &top).unwrap_err();
    assert!(error.path().unwrap().ends_with("base.qcow2"), "{error}");
}

#[test]
fn internal_snapshots_share_with_the_disk() {
    if !present() {
        return;
    }
    let bench = bench();
    let (path, _) = bench.convert("a.qcow2", OutputKind::qcow2());
    ok(&["snapshot", "-c", "one", text(&path)]);
    try_convert(&bench, &path).unwrap();
}

#[test]
fn vmdk_grains_of_two_places_are_refused() {
    let bench = bench();
    let adapter = DiskAdapter::LsiLogic;
    let little = |file: &File, offset| {
        u64::from(u32::from_be_bytes((number::<4>(file, offset) as u32).to_be_bytes()).swap_bytes())
    };
    let (path, _) = bench.convert("a.vmdk", OutputKind::vmdk_monolithic_sparse(adapter));
    let file = edit(&path);
    let directory = little(&file, 56) * 512;
    let table = little(&file, directory) * 512;
    copy(&file, table, table + 12, 4);
    assert_refused(&bench, &path, "the grain lies on another grain", table + 12);
    file.write_all_at(&(table as u32 / 512).to_le_bytes(), table + 12).unwrap();
    assert_refused(&bench, &path, "on a table", table + 12);
    // The redundant directory is not read: what is wrong with it alone keeps nobody from reading.
    let (path, _) = bench.convert("b.vmdk", OutputKind::vmdk_monolithic_sparse(adapter));
    let file = edit(&path);
    copy(&file, directory, little(&file, 48) * 512, 4);
    try_convert(&bench, &path).unwrap();
    let (path, _) = bench.convert("c.vmdk", OutputKind::vmdk_stream_optimized(adapter));
    let file = edit(&path);
    let end = file.metadata().unwrap().len();
    let directory = little(&file, end - 1024 + 56) * 512;
    let table = little(&file, directory) * 512;
    copy(&file, table, table + 12, 4);
    assert_refused(&bench, &path, "the grain lies on another grain", table + 12);
}

#[test]
fn vmdk_extents_that_are_one_are_refused() {
    let bench = Bench::new(2100 * MIB, 3, 9);
    let options = VmdkOptions { subformat: VmdkSubformat::TwoGbMaxExtentFlat, ..VmdkOptions::default() };
    let (path, _) = bench.convert("a.vmdk", OutputKind::Vmdk(options));
    try_convert(&bench, &path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("a-f002", "a-f001")).unwrap();
    let error = try_convert(&bench, &path).unwrap_err();
    assert!(error.to_string().contains("two extents share"), "{error}");
}

#[test]
fn blocks_of_two_places_are_refused() {
    let bench = bench();
    let (path, _) = bench.convert("a.vdi", OutputKind::Vdi);
    let file = edit(&path);
    let map = u64::from((number::<4>(&file, 0x154) as u32).swap_bytes());
    copy(&file, map, map + 8, 4);
    assert_refused(&bench, &path, "is used twice, at guest offset 0x200000", map + 8);
    let (path, _) = bench.convert("a.vhd", OutputKind::Vhd(VhdVariant::Dynamic));
    let file = edit(&path);
    let table = number::<8>(&file, 512 + 16);
    copy(&file, table, table + 8, 4);
    assert_refused(&bench, &path, "the block lies on another block", table + 8);
    let (path, _) = bench.convert("a.vhdx", OutputKind::Vhdx);
    let file = edit(&path);
    // Our writer's block table is at 3 MiB.
    copy(&file, 3 * MIB, 3 * MIB + 16, 8);
    assert_refused(&bench, &path, "the block lies on another block", 3 * MIB + 16);
}

/// A seSparse extent of 1 MiB with grains at guest sectors 8 and 16 (offsets and sizes in sectors).
fn se_sparse(path: &Path) {
    let file = File::create(path).unwrap();
    let words: [u64; 26] =
        [0xcafe_babe, 0x2_0000_0001, 2048, 8, 64, 0, 0, 0, 0, 0, 1, 1, 2, 1, 3, 1, 4, 8, 16, 64, 80, 8, 88, 8, 96, 64];
    file.write_all_at(&words.map(u64::to_le_bytes).concat(), 0).unwrap();
    file.write_all_at(&0xcafe_cafeu64.to_le_bytes(), 512).unwrap();
    file.write_all_at(&0x1000_0000_0000_0000u64.to_le_bytes(), 4 * 512).unwrap();
    file.write_all_at(&0x3000_0000_0000_0000u64.to_le_bytes(), 16 * 512 + 8).unwrap();
    file.write_all_at(&0x3001_0000_0000_0000u64.to_le_bytes(), 16 * 512 + 16).unwrap();
    file.write_all_at(&[7; 8192], 96 * 512).unwrap();
    file.set_len(160 * 512).unwrap();
}

#[test]
fn se_sparse_extents_are_checked() {
    let bench = Bench::new(MIB, 0, 0);
    let path = bench.path("a.vmdk");
    se_sparse(&path);
    let report = check_with(&path, None, &bench.policy()).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.total_clusters, report.allocated_clusters), (256, 2));
    try_convert(&bench, &path).unwrap();
    let file = edit(&path);
    copy(&file, 16 * 512 + 8, 16 * 512 + 16, 8);
    assert_refused(&bench, &path, "the grain is used twice, at guest offset 0x2000", 16 * 512 + 16);
    let cases: [(u64, u64, &str); 5] = [
        (16 * 512 + 16, 0x3fff_0000_0000_0000, "behind the end of the grains"),
        (16 * 512 + 16, 0x7000_0000_0000_0000, "a grain table entry has an unknown kind"),
        (4 * 512, 0x1000_0000_0000_0009, "the grain table lies behind the last one"),
        (4 * 512, 0x2000_0000_0000_0000, "a grain directory entry has an unknown kind"),
        (192, 90, "the back map lies on another region"),
    ];
    for (offset, word, rule) in cases {
        se_sparse(&path);
        edit(&path).write_all_at(&word.to_le_bytes(), offset).unwrap();
        let report = check_with(&path, None, &bench.policy()).unwrap();
        let found = report.findings.iter().find(|finding| finding.rule.contains(rule));
        let at = if offset == 192 { 88 * 512 } else { offset };
        assert_eq!(found.unwrap_or_else(|| panic!("{rule}: {report:?}")).offset, at, "{rule}");
    }
}
