//! Floppies read back: by a small reader of our own, and by fsck.fat, mtools and blkid.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::source::MediaSource;
use super::super::test_tools::{run, skip, tool_present};
use super::*;

fn options(label: &str) -> FloppyOptions {
    FloppyOptions { label: label.to_owned(), time: MediaTime::from_unix_seconds(1_700_000_001) }
}

fn tree(files: &[(&str, &[u8])]) -> MediaTree {
    let mut tree = MediaTree::new();
    for (path, bytes) in files {
        tree.add_file(path, MediaSource::Bytes(bytes.to_vec())).unwrap();
    }
    tree
}

fn image(tree: &MediaTree) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_floppy(tree, &options("packer"), &mut bytes).unwrap();
    assert_eq!(bytes.len(), FLOPPY_BYTES);
    bytes
}

/// Reads all files and (as `None`) directories of an image, following allocation chains.
fn read_back(image: &[u8]) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    read_directory(image, &image[19 * 512..33 * 512], "", &mut found);
    found
}

fn chain(image: &[u8], first: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut cluster = usize::from(first);
    while (2..0xFF0).contains(&cluster) {
        let start = (33 + cluster - 2) * 512;
        bytes.extend_from_slice(&image[start..start + 512]);
        let offset = 512 + cluster * 3 / 2;
        let pair = usize::from(u16::from_le_bytes([image[offset], image[offset + 1]]));
        cluster = if cluster.is_multiple_of(2) { pair & 0xFFF } else { pair >> 4 };
    }
    assert_eq!(cluster, 0xFFF, "a chain ends with the end mark");
    bytes
}

fn read_directory(image: &[u8], bytes: &[u8], parent: &str, found: &mut BTreeMap<String, Option<Vec<u8>>>) {
    let mut long: Vec<u16> = Vec::new();
    let mut expected_order = 0;
    let mut long_checksum = 0;
    for entry in bytes.chunks(32).take_while(|entry| entry[0] != 0) {
        if entry[11] == 0x0F {
            if entry[0] & 0x40 != 0 {
                expected_order = entry[0] & 0x3F;
                long.clear();
                long_checksum = entry[13];
            }
            assert_eq!(entry[0] & 0x3F, expected_order);
            assert_eq!(entry[13], long_checksum);
            expected_order -= 1;
            let places = [1..11, 14..26, 28..32].into_iter().flatten().collect::<Vec<_>>();
            let units = places.chunks(2).map(|pair| u16::from_le_bytes([entry[pair[0]], entry[pair[1]]]));
            let part: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
            long.splice(0..0, part);
            continue;
        }
        if entry[11] & 0x08 != 0 || entry[0] == b'.' {
            continue;
        }
        let trimmed = |range| String::from_utf8_lossy(&entry[range]).trim_end().to_owned();
        let (base, extension) = (trimmed(0..8), trimmed(8..11));
        let mut name = if extension.is_empty() { base } else { format!("{base}.{extension}") };
        if !long.is_empty() {
            assert_eq!(expected_order, 0);
            let sum = entry[..11].iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
            assert_eq!(sum, long_checksum);
            name = String::from_utf16(&long).unwrap();
            long.clear();
        }
        let path = if parent.is_empty() { name } else { format!("{parent}/{name}") };
        let cluster = u16::from_le_bytes([entry[26], entry[27]]);
        if entry[11] & 0x10 != 0 {
            found.insert(path.clone(), None);
            read_directory(image, &chain(image, cluster), &path, found);
            continue;
        }
        let length = u32::from_le_bytes([entry[28], entry[29], entry[30], entry[31]]) as usize;
        let mut content = if length == 0 { Vec::new() } else { chain(image, cluster) };
        content.truncate(length);
        assert_eq!(content.len(), length);
        found.insert(path, Some(content));
    }
}

#[test]
fn has_the_parameters_of_a_floppy() {
    let image = image(&tree(&[]));
    assert_eq!(image[510..512], [0x55, 0xAA]);
    assert_eq!(image[11..24], [0, 2, 1, 1, 0, 2, 224, 0, 0x40, 0x0B, 0xF0, 9, 0]);
    assert_eq!(image[24..28], [18, 0, 2, 0]);
    assert_eq!(image[512..515], [0xF0, 0xFF, 0xFF]);
    assert_eq!(&image[43..54], b"packer     ");
    assert_eq!(&image[19 * 512..19 * 512 + 12], b"packer     \x08");
}

#[test]
fn reads_back_what_was_written() {
    let long = "x".repeat(251) + ".txt";
    let big = vec![7_u8; 100_000];
    let mut tree = tree(&[
        ("Autounattend.xml", b"<unattend/>"),
        ("KS.CFG", b"install"),
        ("empty", b""),
        ("dir/inner dir/däta.bin", &big),
        (&long, b"long"),
        ("thirteenunits", b"13"),
        ("😀.txt", b"smile"),
    ]);
    tree.add_dir("drivers").unwrap();
    let image = image(&tree);
    let found = read_back(&image);
    assert_eq!(found["Autounattend.xml"], Some(b"<unattend/>".to_vec()));
    assert_eq!(found["KS.CFG"], Some(b"install".to_vec()));
    assert_eq!(found["empty"], Some(Vec::new()));
    assert_eq!(found["drivers"], None);
    assert_eq!(found["dir/inner dir/däta.bin"], Some(big));
    assert_eq!(found[&long], Some(b"long".to_vec()));
    assert_eq!(found["thirteenunits"], Some(b"13".to_vec()));
    assert_eq!(found["😀.txt"], Some(b"smile".to_vec()));
    assert_eq!(found.len(), 10);
}

#[test]
fn is_deterministic() {
    let first = tree(&[("a", b"1"), ("b", b"2")]);
    let second = tree(&[("b", b"2"), ("a", b"1")]);
    assert_eq!(image(&first), image(&second));
    assert_ne!(image(&first)[39..43], image(&tree(&[]))[39..43], "serial numbers differ with content");
}

#[test]
fn fills_the_disk_and_says_by_how_much_it_is_too_small() {
    let capacity = 2847 * 512;
    let full = vec![1; capacity];
    let directory_and_more = vec![1; capacity];
    assert_eq!(read_back(&image(&tree(&[("full", &full)])))["full"].as_ref().unwrap().len(), capacity);
    let error = write_floppy(
        &tree(&[("a", b"x"), ("d/big.iso", &directory_and_more), ("z", b"x")]),
        &options("packer"),
        &mut Vec::new(),
    )
    .unwrap_err();
    let FloppyError::Full { path, excess, capacity: room } = &error else { panic!("{error}") };
    assert_eq!((path.as_str(), *excess, *room), ("d/big.iso", 3 * 512, capacity as u64));
    assert!(error.to_string().contains("1536 bytes") && error.hint().is_some());
}

#[test]
fn says_when_the_root_is_full() {
    let mut tree = MediaTree::new();
    for number in 0..112 {
        tree.add_file(&format!("file {number}"), MediaSource::Bytes(Vec::new())).unwrap();
    }
    let error = write_floppy(&tree, &options("packer"), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, FloppyError::RootFull { needed: 225, available: 224 }), "{error}");
}

#[test]
fn refuses_names_and_labels_that_fat_cannot_store() {
    for name in ["a:b", "a\\b", "dot.", "space ", "new\nline", "con|", &"ü".repeat(127), "a*"] {
        let result = write_floppy(&tree(&[(name, b"")]), &options("packer"), &mut Vec::new());
        let fits = name.starts_with('ü');
        assert_eq!(matches!(result, Err(FloppyError::Name { .. })), !fits, "{name:?} {result:?}");
    }
    let collision = write_floppy(&tree(&[("d/A.txt", b""), ("d/a.TXT", b"")]), &options("x"), &mut Vec::new());
    assert!(matches!(collision, Err(FloppyError::CaseCollision { .. })));
    for label in ["twelve chars", "a.b", "ä", " x", "tab\t"] {
        let result = write_floppy(&tree(&[]), &options(label), &mut Vec::new());
        assert!(matches!(result, Err(FloppyError::Label { .. })), "{label}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let mut tree = MediaTree::new();
    tree.add_file("x", MediaSource::Path("/nonexistent/x".into())).unwrap();
    let error = write_floppy(&tree, &options("packer"), &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "cannot put `x` on the floppy");
}

#[test]
fn foreign_tools_agree() {
    for tool in ["fsck.fat", "mdir", "mtype", "blkid"] {
        if !tool_present(tool) {
            return skip(tool);
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let big: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
    let names: Vec<String> = (0..60).map(|number| format!("dir/long file name number {number}.ps1")).collect();
    let mut tree = tree(&[
        ("Autounattend.xml", b"<unattend/>\n"),
        ("KS.CFG", b"install\n"),
        ("empty", b""),
        ("dir/inner/big.bin", &big),
        ("Überraschung.txt", b"unicode\n"),
    ]);
    tree.add_dir("drivers/empty").unwrap();
    for name in &names {
        tree.add_file(name, MediaSource::Bytes(name.as_bytes().to_vec())).unwrap();
    }
    let place = directory.path();
    std::fs::write(place.join("floppy.img"), image(&tree)).unwrap();

    let report = run("fsck.fat", &["-n", "-v", "floppy.img"], place);
    println!("{report}");
    assert!(report.contains("12 bit entries") && !report.contains("differ"), "{report}");
    let listing = run("mdir", &["-i", "floppy.img", "-/", "-b"], place);
    assert!(listing.contains("::/Autounattend.xml") && listing.contains("::/dir/long file name number 59.ps1"));
    assert_eq!(run("mtype", &["-i", "floppy.img", "::/Autounattend.xml"], place), "<unattend/>\n");
    assert_eq!(run("mtype", &["-i", "floppy.img", "::/KS.CFG"], place), "install\n");
    run("mcopy", &["-i", "floppy.img", "::/dir/inner/big.bin", "big.bin"], place);
    assert_eq!(std::fs::read(place.join("big.bin")).unwrap(), big);
    run("mcopy", &["-i", "floppy.img", "::/Überraschung.txt", "unicode"], place);
    assert_eq!(std::fs::read(place.join("unicode")).unwrap(), b"unicode\n");
    let blkid = run("blkid", &["-p", "floppy.img"], place);
    assert!(blkid.contains("TYPE=\"vfat\"") && blkid.contains("LABEL=\"packer\""), "{blkid}");
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,9}(\\.[a-z]{1,4})?",
        "[A-Z0-9_]{1,8}(\\.[A-Z]{1,3})?",
        "[a-c ~.+]{1,6}x",
        "\\PC{1,20}",
        "(longname|LONGNA~|longna)[0-9]{1,2}\\.txt",
        "[a-z]{80,255}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_trees_survive(files in proptest::collection::vec(
        (proptest::collection::vec(name(), 1..4), proptest::collection::vec(any::<u8>(), 0..1500)), 0..40)) {
        let mut tree = MediaTree::new();
        let mut expected = BTreeMap::new();
        for (components, bytes) in files {
            let path = components.join("/");
            if tree.add_file(&path, MediaSource::Bytes(bytes.clone())).is_ok() {
                let normal = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect::<Vec<_>>().join("/");
                expected.insert(normal, bytes);
            }
        }
        let mut bytes = Vec::new();
        match write_floppy(&tree, &options("packer"), &mut bytes) {
            Ok(()) => {
                let found = read_back(&bytes);
                prop_assert_eq!(found.len(), tree.len());
                let files: BTreeMap<_, _> =
                    found.into_iter().filter_map(|(path, content)| Some((path, content?))).collect();
                prop_assert_eq!(files, expected);
            }
            Err(error) => {
                prop_assert!(bytes.is_empty());
                prop_assert!(!matches!(error, FloppyError::Write(_) | FloppyError::Source { .. }), "{}", error);
            }
        }
    }
}
