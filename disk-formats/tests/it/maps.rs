//! Where guest bytes are, field by field as `qemu-img map --output=json` says it of the same image.

use std::ops::Range;
use std::path::Path;

use kiln_disk_formats::{DiskReader, MapEntry, open};

use crate::qemu_img::{ok, present, text};
use crate::sample::Bench;

/// Returns the map in qemu-img's words, without the field that its old versions lack.
fn ours(reader: &dyn DiskReader, range: Range<u64>) -> Vec<String> {
    let mut entries: Vec<MapEntry> = Vec::new();
    let mut position = range.start;
    while position < range.end {
        for entry in reader.map(position..range.end).unwrap() {
            assert_eq!((entry.start, entry.length > 0), (position, true));
            position = entry.end();
            match entries.last_mut() {
                Some(last) if last.joins(&entry) => last.length += entry.length,
                _ => entries.push(entry),
            }
        }
    }
    let words = |entry: &MapEntry| {
        let offset = entry.offset.map_or(String::new(), |offset| format!(", \"offset\": {offset}"));
        let MapEntry { start, length, depth, present, zero, data, .. } = entry;
        format!(
            "{{ \"start\": {start}, \"length\": {length}, \"depth\": {depth}, \"present\": {present}, \"zero\": {zero}, \
             \"data\": {data}{offset}}}"
        )
    };
    entries.iter().map(words).collect()
}

/// Returns what qemu-img says, in its order of fields, without those that only newer versions know.
fn theirs(format: &str, path: &Path, more: &[&str]) -> Vec<String> {
    let text = ok(&[&["map", "--output=json", "-f", format, text(path)], more].concat());
    let lines = text.trim().trim_start_matches('[').trim_end_matches(']').lines();
    lines
        .map(|line| {
            line.trim_end_matches(',').replace(", \"compressed\": false", "").replace(", \"compressed\": true", "")
        })
        .collect()
}

fn assert_same(bench: &Bench, format: &str, path: &Path) {
    let reader = open(path, None, &bench.policy()).unwrap();
    assert_eq!(ours(&*reader, 0..reader.virtual_size()), theirs(format, path, &[]), "{format}");
    let (start, len) = (1_111_040, 3 << 20);
    let part = ["-s", &start.to_string(), "-l", &len.to_string()].map(str::to_owned);
    let part: Vec<&str> = part.iter().map(String::as_str).collect();
    assert_eq!(ours(&*reader, start..start + len), theirs(format, path, &part), "{format}, a part");
}

#[test]
fn maps_are_qemu_imgs() {
    if !present() {
        return;
    }
    let bench = Bench::new(9 << 20, 9, 44);
    assert_same(&bench, "raw", &bench.raw);
    let variants: [(&str, &[&str]); 14] = [
        ("qcow2", &[]),
        ("qcow2", &["-c"]),
        ("qcow2", &["-o", "compat=0.10"]),
        ("qcow2", &["-o", "cluster_size=4k"]),
        ("qcow2", &["-o", "extended_l2=on"]),
        ("vmdk", &[]),
        ("vmdk", &["-o", "subformat=streamOptimized"]),
        ("vmdk", &["-o", "subformat=monolithicFlat"]),
        ("vmdk", &["-o", "subformat=twoGbMaxExtentSparse"]),
        ("vmdk", &["-o", "zeroed_grain=on"]),
        ("vdi", &[]),
        ("vpc", &["-o", "force_size=on"]),
        ("vpc", &["-o", "subformat=fixed,force_size=on"]),
        ("vpc", &[]),
    ];
    for (index, (format, options)) in variants.iter().enumerate() {
        let path = bench.path(&format!("{index}.{format}"));
        ok(&[&["convert", "-f", "raw", "-O", format], *options, &[text(&bench.raw), text(&path)]].concat());
        assert_same(&bench, format, &path);
    }
}

#[test]
fn maps_of_chains_say_how_deep_it_is() {
    if !present() {
        return;
    }
    let bench = Bench::new(9 << 20, 9, 45);
    let (base, middle, top) = (bench.path("base.qcow2"), bench.path("middle.qcow2"), bench.path("top.qcow2"));
    ok(&["convert", "-c", "-f", "raw", "-O", "qcow2", text(&bench.raw), text(&base)]);
    ok(&[
        "create",
        "-q",
        "-f",
        "qcow2",
        "-o",
        "extended_l2=on",
        "-b",
        "base.qcow2",
        "-F",
        "qcow2",
        text(&middle),
        "12M",
    ]);
    ok(&["create", "-q", "-f", "qcow2", "-b", "middle.qcow2", "-F", "qcow2", text(&top), "20M"]);
    let io = |path: &Path, command: &str| {
        let output = std::process::Command::new("qemu-io").args(["-f", "qcow2", "-c", command, text(path)]).output();
        assert!(output.unwrap().status.success(), "{command}");
    };
    io(&middle, "write -P 7 1M 12k");
    io(&middle, "write -z 2M 68k");
    io(&top, "write -P 9 1028k 64k");
    io(&top, "write -z 3M 128k");
    io(&top, "discard 3M 64k");
    for path in [&middle, &top] {
        assert_same(&bench, "qcow2", path);
    }
    let raw = bench.path("over-raw.qcow2");
    ok(&["create", "-q", "-f", "qcow2", "-b", "source.raw", "-F", "raw", text(&raw), "12M"]);
    assert_same(&bench, "qcow2", &raw);
}

/// qemu-img has no map of a vhdx and says that all of it is data; ours says which blocks are.
#[test]
fn a_vhdx_is_mapped_by_its_blocks() {
    if !present() {
        return;
    }
    let bench = Bench::new(64 << 20, 2, 46);
    let path = bench.path("a.vhdx");
    ok(&["convert", "-f", "raw", "-O", "vhdx", "-o", "block_size=1M", text(&bench.raw), text(&path)]);
    let reader = open(&path, None, &bench.policy()).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let (mut position, mut data) = (0, 0);
    while position < reader.virtual_size() {
        for entry in reader.map(position..reader.virtual_size()).unwrap() {
            position = entry.end();
            let Some(offset) = entry.offset else {
                assert!(entry.zero && !entry.data);
                continue;
            };
            data += entry.length;
            let mut guest = vec![0; entry.length as usize];
            reader.read_at(entry.start, &mut guest).unwrap();
            assert!(guest == bytes[offset as usize..][..guest.len()], "{entry:?}");
        }
    }
    assert!((1 << 20..8 << 20).contains(&data), "{data}");
}
