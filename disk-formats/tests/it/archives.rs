//! Archives that are made to be large in memory, or that promise what they do not hold.

use std::path::Path;
use std::process::Command;

use kiln_disk_formats::{ErrorKind, Format, OpenPolicy, archived_disks, image_info, open, package_facts};

use crate::sample::Bench;

/// A member with a right header.
fn member(kind: u8, name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[148..156].fill(b' ');
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut bytes = [&header[..], content].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn write(path: &Path, members: &[Vec<u8>]) {
    std::fs::write(path, [members.concat(), vec![0; 1024]].concat()).unwrap();
}

/// A file with this many runs of one byte, by a pax header and the map before the data (GNU's form 1.0).
fn scattered(name: &str, runs: usize) -> Vec<u8> {
    let record = |key: &str, value: &str| {
        let rest = format!(" GNU.sparse.{key}={value}\n");
        let len = (rest.len() + 1..).find(|len| len.to_string().len() + rest.len() == *len).unwrap();
        format!("{len}{rest}")
    };
    let size = (runs * 2).to_string();
    let pax = [("major", "1"), ("minor", "0"), ("name", name), ("realsize", size.as_str())];
    let pax: String = pax.iter().map(|(key, value)| record(key, value)).collect();
    let mut map = format!("{runs}\n");
    (0..runs).for_each(|run| map += &format!("{}\n1\n", run * 2));
    let mut content = map.into_bytes();
    content.resize(content.len().next_multiple_of(512), 0);
    content.resize(content.len() + runs, 7);
    [member(b'x', "pax", pax.as_bytes()), member(b'0', "x", &content)].concat()
}

#[test]
fn what_an_archive_makes_its_reader_keep_has_a_limit() {
    let bench = Bench::new(1 << 20, 1, 1);
    let path = bench.path("a.tar");
    write(&path, &[scattered("a.raw", 1000)]);
    assert_eq!(open(&path, None, &OpenPolicy::deny()).unwrap().virtual_size(), 2000);
    write(&path, &[scattered("a.raw", 700_000), scattered("b.raw", 700_000)]);
    let error = archived_disks(&path).unwrap_err();
    assert!(error.kind() == ErrorKind::TooLarge && error.to_string().contains("1048576 runs"), "{error}");
    for (len, fits) in [(4096, true), (4097, false)] {
        let name = format!("{}.raw", "n".repeat(len - 4));
        write(&path, &[member(b'L', "././@LongLink", name.as_bytes()), member(b'0', "n", &[7; 512])]);
        let listed = archived_disks(&path).map_err(|error| error.to_string());
        assert_eq!(listed.is_ok(), fits);
        assert!(listed.err().is_none_or(|error| error.contains("longer than 4096 bytes")));
    }
}

#[test]
fn an_empty_disk_of_any_size_costs_nothing_or_is_refused() {
    let bench = Bench::new(1 << 20, 1, 1);
    let path = bench.path("a.ova");
    for (capacity, units, expected) in [
        ("8", "byte * 2^30", Ok(8 << 30)),
        ("8", "byte * 2^60", Err(ErrorKind::TooLarge)),
        ("18446744073709551615", "byte", Err(ErrorKind::TooLarge)),
        ("18446744073709551615", "byte * 2^10", Err(ErrorKind::Corrupt)),
        ("many", "byte", Err(ErrorKind::Corrupt)),
    ] {
        let text = format!(
            "<Envelope><DiskSection><Disk diskId=\"d\" capacity=\"{capacity}\" capacityAllocationUnits=\"{units}\"/></DiskSection></Envelope>"
        );
        write(&path, &[member(b'0', "a.ovf", text.as_bytes())]);
        assert_eq!(package_facts(&path).unwrap().unwrap().disks.len(), 1);
        let opened = open(&path, None, &OpenPolicy::deny()).map(|disk| disk.virtual_size());
        if let Err(error) = &opened {
            assert!(error.to_string().contains("a.ova"), "{error}");
        }
        assert_eq!(opened.map_err(|error| error.kind()), expected, "{capacity} {units}");
    }
}

/// The end of an archive is two blocks of zeroes, and tar writes 10 KiB of them when there is no file.
#[test]
fn an_archive_without_a_file_is_no_disk_of_zeroes() {
    let bench = Bench::new(1 << 20, 1, 1);
    for name in ["a.tar", "b.TAR", "c.ova", "d.raw", "e.img", "f"] {
        std::fs::write(bench.path(name), vec![0; 10 << 10]).unwrap();
    }
    for name in ["a.tar", "d.raw"] {
        let packed = Command::new("gzip").arg("-k").arg(bench.path(name)).status().unwrap();
        assert!(packed.success());
    }
    for name in ["x.tgz", "x.box"] {
        std::fs::copy(bench.path("a.tar.gz"), bench.path(name)).unwrap();
    }
    let deny = OpenPolicy::deny;
    for name in ["a.tar", "b.TAR", "c.ova", "a.tar.gz", "x.tgz", "x.box"] {
        let path = bench.path(name);
        for error in [open(&path, None, &deny()).err().unwrap(), image_info(&path, None, &deny()).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}");
            let text = error.to_string();
            assert!(text.contains(name) && text.contains("a tar archive without a file"), "{text}");
            assert!(error.hint().unwrap().contains("-f raw"), "{name}");
        }
        open(&path, Some(Format::Raw), &deny()).unwrap();
    }
    for name in ["d.raw", "d.raw.gz", "e.img", "f"] {
        assert_eq!(open(&bench.path(name), None, &deny()).unwrap().virtual_size(), 10 << 10, "{name}");
    }
}

#[test]
fn what_is_packed_is_what_its_name_says_before_the_packing() {
    let bench = Bench::new(1 << 20, 1, 1);
    for (name, said) in [("a.tar", "tar"), ("a.vmdk", "vmdk"), ("a.qcow2", "qcow2")] {
        let path = bench.path(name);
        std::fs::write(&path, vec![7; 10 << 10]).unwrap();
        assert!(Command::new("gzip").arg(&path).status().unwrap().success());
        let error = open(&bench.path(&format!("{name}.gz")), None, &OpenPolicy::deny()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}");
        assert!(error.to_string().contains(&format!("the name ends in .{said}, but")), "{error}");
    }
}

#[test]
fn what_another_reader_could_take_for_the_descriptor_is_told() {
    let bench = Bench::new(1 << 20, 1, 1);
    let path = bench.path("a.ova");
    let ovf = b"<Envelope xmlns:ovf='o'><References/><VirtualSystem ovf:id='v'/></Envelope>";
    let others = |members: &[Vec<u8>]| {
        write(&path, members);
        let facts = package_facts(&path).unwrap().unwrap();
        assert!(facts.is_ovf && facts.machines.len() == 1);
        facts.other_descriptors
    };
    let ours = || member(b'0', "b.ovf", ovf);
    assert_eq!(others(&[ours(), member(b'0', "a.txt", b"x"), member(b'5', "ovf/", b"")]), Vec::<String>::new());
    assert_eq!(others(&[member(b'0', "._a.ovf", ovf), ours()]), ["._a.ovf"]);
    assert_eq!(others(&[member(b'0', "__MACOSX/a.OVF", ovf), ours()]), ["__MACOSX/a.OVF"]);
    // Its own header says what the one before it denies.
    let pax = member(b'x', "pax", b"14 path=b.txt\n");
    assert_eq!(others(&[pax, member(b'0', "a.ovf", ovf), ours()]), ["a.ovf"]);
    let long = member(b'L', "././@LongLink", b"b.txt");
    assert_eq!(others(&[long, member(b'0', "a.ovf", ovf), ours()]), ["a.ovf"]);
}
