//! Every row of the table of formats: what it promises is written, read back, and judged by qemu-img where that knows the format.

use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use kiln_disk_formats::package::MachineDescription;
use kiln_disk_formats::{
    ConvertOptions, DiskAdapter, DiskReader, ErrorKind, Extent, ExtentKind, FORMATS, Format, FormatFacts,
    FormatOptions, FormatRow, ImageInfo, NoProgress, OpenPolicy, Output, OutputKind, OutputWishes, Result, check,
    convert, image_info, open,
};

use crate::qemu_img;
use crate::sample::{Bench, digest, names};

type Choices = Vec<(&'static str, &'static str)>;

/// A value for each kind that stands in capitals in the table.
fn values(words: &'static str) -> Vec<&'static str> {
    match words {
        "SIZE" => vec!["4k"],
        "NUMBER" => vec!["14"],
        words => words.split('|').collect(),
    }
}

/// Nothing chosen, and each value of each option.
fn choices(row: &FormatRow) -> Vec<Choices> {
    let each =
        row.options.iter().flat_map(|option| values(option.values).into_iter().map(|value| vec![(option.name, value)]));
    std::iter::once(Vec::new()).chain(each).collect()
}

fn kind(row: &FormatRow, presets: &'static [(&'static str, &'static str)], chosen: &Choices, name: &str) -> OutputKind {
    let machine = MachineDescription { name: name.to_owned(), ..MachineDescription::default() };
    let wishes = OutputWishes { machine: &machine, adapter: DiskAdapter::default(), compress: false };
    let mut options = FormatOptions::new(chosen.iter().copied());
    let kind = row.kind(name, presets, &mut options, &wishes).unwrap();
    assert_eq!(options.unused(&[(name, row)]), [], "{}: {chosen:?}", row.name());
    kind
}

/// Says whether a value was heeded, as what was written shows it: `main` is the output's main file, `disk` its disk.
fn is_heeded(row: &FormatRow, option: &str, value: &str, main: &Path, disk: &Path, info: &ImageInfo) -> bool {
    let compressed = || check(disk, Some(Format::Qcow2)).unwrap().compressed_clusters > 0;
    let holds = |path: &Path, text: &str| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    match (row.name(), option) {
        ("qcow2", "cluster_size") => info.cluster_size == Some(4096),
        ("qcow2", "compression") => compressed() == (value != "none"),
        // Recorded where something is compressed.
        ("qcow2", "compression_type") => {
            let Some(FormatFacts::Qcow2(facts)) = &info.specific else { return false };
            facts.compression_type == if compressed() { value } else { "zlib" }
        }
        ("qcow2", "compat") => info.variant == "v3",
        ("vmdk" | "vhd", "subformat") => info.variant == value,
        ("vmdk", "adapter_type") => holds(disk, &format!("ddb.adapterType = \"{value}\"")),
        ("vmdk", "hwversion") => holds(disk, &format!("ddb.virtualHWVersion = \"{value}\"")),
        // The manifest is a file beside the descriptor, or a member of the archive.
        ("ovf", "manifest") => holds(&main.with_extension("mf"), &format!("{}(", value.to_uppercase())),
        ("ova", "manifest") => holds(main, &format!("{}(", value.to_uppercase())),
        // How hard is seen in the size alone, and which is larger depends on the content.
        ("vmdk" | "ovf" | "ova", "compression") | ("vhd", "force_size") => true,
        (format, option) => panic!("{option} of {format}: say here what shows that it was heeded"),
    }
}

#[test]
fn every_choice_of_every_row_is_heeded_and_read_back() {
    let has_qemu = qemu_img::present();
    let bench = Bench::new((3 << 20) + 512, 30, 7);
    let wanted = bench.digest();
    let mut count = 0;
    for row in FORMATS {
        for export in row.exports {
            for chosen in choices(row) {
                count += 1;
                let name = format!("{}-{count}", export.word);
                let path = bench.path(&format!("{name}{}", export.ending));
                let output = Output::new(&path, kind(row, export.presets, &chosen, &name));
                let report =
                    convert(&*bench.reader(), std::slice::from_ref(&output), &ConvertOptions::default(), &NoProgress);
                let mut made: Vec<PathBuf> = report.unwrap().files.into_iter().map(|file| file.path).collect();
                let mut told = output.files(&[(3 << 20) + 512]);
                assert_eq!(made[0], told[0], "the main file is the first");
                made.sort();
                told.sort();
                assert_eq!(made, told, "{name}: {chosen:?}");
                // A machine's file is none of a disk, an archive is opened as its disk.
                let disk = match row.is_package && made.len() > 1 {
                    true => made.into_iter().find(|file| file.extension().unwrap() == row.disks.name()).unwrap(),
                    false => path.clone(),
                };
                let reader = open(&disk, Some(row.disks), &bench.policy()).unwrap();
                assert_eq!(digest(&*reader), wanted, "{name}: {chosen:?}");
                let info = image_info(&disk, Some(row.disks), &bench.policy()).unwrap();
                let preset = export.presets.iter().filter(|(preset, _)| chosen.iter().all(|(name, _)| name != preset));
                for (option, value) in chosen.iter().chain(preset) {
                    assert!(is_heeded(row, option, value, &path, &disk, &info), "{name}: {option}={value}: {info:?}");
                }
                if let (Some(qemu), true) = (row.qemu_name, has_qemu) {
                    qemu_img::assert_same("raw", &bench.raw, qemu, &disk);
                }
            }
        }
    }
    assert!(count > 40, "{count} choices");
    assert!(names(bench.directory.path()).len() > count);
}

#[test]
fn every_row_recognises_what_it_writes() {
    let bench = Bench::new(1 << 20, 10, 3);
    for row in FORMATS.into_iter().filter(|row| !row.is_package) {
        let (path, _) = bench.convert(&format!("of-{}", row.name()), kind(row, &[], &Vec::new(), "m"));
        let reader = open(&path, None, &OpenPolicy::deny()).unwrap();
        assert_eq!((reader.info().format, kiln_disk_formats::detect(&path).unwrap()), (row.disks, row.disks));
    }
}

#[test]
fn values_that_a_format_does_not_take_are_refused_by_name() {
    for row in FORMATS {
        for option in row.options {
            for wrong in ["", "no such value", "-1", "999999999999999999999"] {
                let mut options = FormatOptions::new([(option.name, wrong)]);
                let machine = MachineDescription::default();
                let wishes = OutputWishes { machine: &machine, adapter: DiskAdapter::Ide, compress: false };
                let error = row.kind("x", &[], &mut options, &wishes).unwrap_err();
                assert!(error.text.contains(option.name) && error.text.contains(wrong), "{}: {error}", row.name());
                assert!(
                    error.hint.is_some() || error.unknown.is_some() || option.values == "on",
                    "{}: {error}",
                    row.name()
                );
            }
        }
    }
}

/// A disk of any size that holds nothing and is never read.
struct Empty(u64);

impl DiskReader for Empty {
    fn virtual_size(&self) -> u64 {
        self.0
    }

    fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        Ok(vec![Extent { offset: range.start, len: range.end - range.start, kind: ExtentKind::Hole }])
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> Result<()> {
        buf.fill(0);
        Ok(())
    }

    fn info(&self) -> ImageInfo {
        ImageInfo::new(Format::Raw, self.0)
    }
}

#[test]
fn the_largest_disks_are_those_of_the_table() {
    for row in FORMATS {
        for limit in row.limits {
            let bench = Bench::new(512, 0, 0);
            let kind = kind(row, &[], &limit.options.to_vec(), "large");
            let output = Output::new(bench.path("large"), kind);
            let options = ConvertOptions::without_digests();
            let one_larger = Empty(limit.largest + 1);
            let error = convert(&one_larger, std::slice::from_ref(&output), &options, &NoProgress).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge, "{} {:?}: {error}", row.name(), limit.options);
            assert_eq!(names(bench.directory.path()), ["source.raw"], "nothing is left");
            // Of thousands of files none is opened here for nothing.
            if output.files(&[limit.largest]).len() < 5 {
                let stop = |_, _| ControlFlow::Break(());
                let error = convert(&Empty(limit.largest), &[output], &options, &stop).unwrap_err();
                assert_ne!(error.kind(), ErrorKind::TooLarge, "{} {:?}: {error}", row.name(), limit.options);
            }
        }
    }
}
