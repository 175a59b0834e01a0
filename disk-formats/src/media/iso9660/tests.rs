//! CDs read back: by a small reader of our own in both hierarchies, and by xorriso, isoinfo, 7z and blkid.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::super::source::MediaSource;
use super::super::test_tools::{run, skip, tool_present};
use super::*;

/// A file's content and mode (zero in Joliet), or `None` for a directory.
type Found = BTreeMap<String, Option<(Vec<u8>, u32)>>;

fn options(label: &str) -> IsoOptions {
    IsoOptions { label: label.to_owned(), time: MediaTime::from_unix_seconds(1_700_000_001) }
}

fn tree(files: &[(&str, &[u8])]) -> MediaTree {
    let mut tree = MediaTree::new();
    for (path, bytes) in files {
        tree.add_file(path, MediaSource::Bytes(bytes.to_vec())).unwrap();
    }
    tree
}

fn image_with_sections(tree: &MediaTree, section_bytes: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_with_sections(tree, &options("cidata"), section_bytes, &mut bytes).unwrap();
    bytes
}

fn image(tree: &MediaTree) -> Vec<u8> {
    image_with_sections(tree, MAX_SECTION_BYTES)
}

fn number(bytes: &[u8], offset: usize) -> usize {
    let little = u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap());
    let big = u32::from_be_bytes(bytes[offset + 4..offset + 8].try_into().unwrap());
    assert_eq!(little, big, "both byte orders agree");
    little as usize
}

/// Reads one hierarchy, whose descriptor is in `sector`.
fn read_back(image: &[u8], sector: usize) -> Found {
    let descriptor = &image[sector * 2048..][..2048];
    assert_eq!(&descriptor[1..6], b"CD001");
    assert_eq!(number(descriptor, 80) * 2048, image.len());
    let (table_sector, table_bytes) =
        (u32::from_le_bytes(descriptor[140..144].try_into().unwrap()) as usize, number(descriptor, 132));
    let mut found = Found::new();
    let mut directories = 1;
    read_directory(image, &descriptor[156..190], sector == 17, "", &mut found, &mut directories);
    assert_eq!(check_path_table(&image[table_sector * 2048..][..table_bytes]), directories);
    found
}

/// Checks the order that ECMA-119 §6.9.1 asks for, and returns the number of entries.
fn check_path_table(table: &[u8]) -> usize {
    let mut entries: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut offset = 0;
    while offset < table.len() {
        let length = usize::from(table[offset]);
        let parent = usize::from(u16::from_le_bytes([table[offset + 6], table[offset + 7]]));
        entries.push((parent, table[offset + 8..offset + 8 + length].to_vec()));
        offset += (8 + length).next_multiple_of(2);
    }
    assert!(entries[1..].is_sorted(), "by parent, then by identifier");
    assert!(entries.iter().enumerate().all(|(index, (parent, _))| *parent <= index.max(1)));
    entries.len()
}

/// Collects the system use entries of a record, following continuations.
fn system_use(image: &[u8], mut area: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = Vec::new();
    let mut next = None;
    while area.len() >= 4 {
        let length = usize::from(area[2]);
        let (entry, rest) = area.split_at(length);
        area = rest;
        if &entry[..2] == b"CE" {
            let (sector, offset, length) = (number(entry, 4), number(entry, 12), number(entry, 20));
            assert!(offset + length <= 2048, "continuations stay within a sector");
            next = Some(&image[sector * 2048 + offset..][..length]);
        } else {
            entries.push((entry[..2].to_vec(), entry[4..].to_vec()));
        }
    }
    if let Some(area) = next {
        entries.extend(system_use(image, area));
    }
    entries
}

fn read_directory(image: &[u8], record: &[u8], joliet: bool, parent: &str, found: &mut Found, count: &mut usize) {
    let (sector, length) = (number(record, 2), number(record, 10));
    let bytes = &image[sector * 2048..][..length];
    let mut offset = 0;
    let mut pending: Vec<u8> = Vec::new();
    let mut previous: Vec<u8> = Vec::new();
    while offset < bytes.len() {
        let record_length = usize::from(bytes[offset]);
        if record_length == 0 {
            offset = (offset + 1).next_multiple_of(2048);
            continue;
        }
        assert!(offset % 2048 + record_length <= 2048);
        let record = &bytes[offset..offset + record_length];
        offset += record_length;
        let identifier = &record[33..33 + usize::from(record[32])];
        let entries = system_use(image, &record[(33 + identifier.len()).next_multiple_of(2)..]);
        if identifier == [0] || identifier == [1] {
            let is_root = parent.is_empty() && identifier == [0];
            assert_eq!(!joliet && is_root, entries.iter().any(|(kind, _)| kind == b"ER"));
            continue;
        }
        assert!(identifier >= &previous[..], "sorted by identifier");
        previous = identifier.to_vec();
        let mut mode = 0;
        let name = if joliet {
            let units: Vec<u16> = identifier.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).unwrap()
        } else {
            assert!(
                identifier
                    .iter()
                    .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"_.;".contains(byte))
            );
            let names = entries.iter().filter(|(kind, _)| kind == b"NM").flat_map(|(_, data)| &data[1..]);
            let attributes = entries.iter().find(|(kind, _)| kind == b"PX").unwrap();
            mode = number(&attributes.1, 0) as u32;
            String::from_utf8(names.copied().collect()).unwrap()
        };
        let name = if joliet { name.strip_suffix(";1").unwrap_or(&name).to_owned() } else { name };
        let path = if parent.is_empty() { name } else { format!("{parent}/{name}") };
        if record[25] & 2 != 0 {
            *count += 1;
            found.insert(path.clone(), None);
            read_directory(image, record, joliet, &path, found, count);
            continue;
        }
        let (sector, length) = (number(record, 2), number(record, 10));
        pending.extend_from_slice(&image[sector * 2048..][..length]);
        if record[25] & 0x80 == 0 {
            found.insert(path, Some((std::mem::take(&mut pending), mode)));
        }
    }
}

#[test]
fn reads_back_in_both_hierarchies() {
    let long = "l".repeat(251) + ".txt";
    let mut tree = tree(&[
        ("user-data", b"#cloud-config\n"),
        ("meta-data", b""),
        ("Dir/Größe.txt", &[9; 5000]),
        ("Dir/dir/😀", b"smile"),
        (&long, b"long"),
        ("a", b"lower"),
        ("A", b"upper"),
    ]);
    tree.add_dir("empty dir").unwrap();
    let image = image(&tree);
    let primary = read_back(&image, 16);
    let joliet = read_back(&image, 17);
    assert_eq!(primary["user-data"], Some((b"#cloud-config\n".to_vec(), 0o100_644)));
    assert_eq!(primary["Dir/Größe.txt"], Some((vec![9; 5000], 0o100_644)));
    assert_eq!(primary[&long], Some((b"long".to_vec(), 0o100_644)));
    assert_eq!(
        (&primary["a"], &primary["A"]),
        (&Some((b"lower".to_vec(), 0o100_644)), &Some((b"upper".to_vec(), 0o100_644)))
    );
    assert_eq!(primary["empty dir"], None);
    assert_eq!(joliet["Dir/dir/😀"], Some((b"smile".to_vec(), 0)));
    assert_eq!(joliet[&format!("{}.txt", "l".repeat(99))], Some((b"long".to_vec(), 0)));
    assert_eq!((primary.len(), joliet.len()), (10, 10));
    assert_eq!(&image[16 * 2048 + 40..16 * 2048 + 47], b"cidata ");
}

#[test]
fn modes_come_from_files_and_content_from_disk() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.sh");
    std::fs::write(&path, vec![b'#'; 300_000]).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o775)).unwrap();
    let mut tree = MediaTree::new();
    tree.add_file("run.sh", MediaSource::Path(path.clone())).unwrap();
    assert_eq!(read_back(&image(&tree), 16)["run.sh"], Some((vec![b'#'; 300_000], 0o100_755)));
    std::fs::remove_file(path).unwrap();
    let error = write_iso9660(&tree, &options("x"), &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "cannot put `run.sh` on the CD");
}

#[test]
fn is_deterministic() {
    let first = tree(&[("a/b", b"1"), ("c", b"2")]);
    let second = tree(&[("c", b"2"), ("a/b", b"1")]);
    assert_eq!(image(&first), image(&second));
}

#[test]
fn refuses_labels_that_do_not_fit() {
    for label in [&"x".repeat(33), "ümlaut", "tab\t"] {
        let result = write_iso9660(&tree(&[]), &options(label), &mut Vec::new());
        assert!(matches!(result, Err(IsoError::Label { .. })), "{label}");
    }
}

#[test]
fn an_output_that_fails_is_reported() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let result = write_iso9660(&tree(&[("a", b"1")]), &options("x"), &mut Full);
    assert!(matches!(result, Err(IsoError::Write(_))));
}

#[test]
fn very_large_files_take_several_extents() {
    const BYTES: u64 = (4 << 30) + 5;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sparse");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(BYTES).unwrap();
    let mut tree = MediaTree::new();
    tree.add_file("install.wim", MediaSource::Path(path)).unwrap();
    let mut content = Content::new(&tree, MAX_SECTION_BYTES).unwrap();
    let mut sector = 30;
    content.place_files(&mut sector);
    let sections: Vec<_> = content.sections(0).map(|part| (part.first_sector, part.bytes, part.more)).collect();
    assert_eq!(sections, [(30, 0xFFFF_F800, true), (30 + 0x001F_FFFF, 2053, false)]);
    assert_eq!(sector, 30 + BYTES.div_ceil(2048));
    file.set_len(9 << 40).unwrap();
    let error = write_iso9660(&tree, &options("x"), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, IsoError::TooLarge { .. }), "{error}");
}

/// Makes a tree with everything that readers stumble over.
fn difficult_tree() -> MediaTree {
    let long_one = format!("{}-1", "n".repeat(253));
    let long_two = format!("{}-2", "n".repeat(253));
    let mut tree = tree(&[
        ("user-data", b"#cloud-config\n"),
        ("meta-data", b"instance-id: x\n"),
        ("empty", b""),
        ("a/A.txt", b"1"),
        ("a/a.txt", b"2"),
        ("sections.bin", &(0..20_000_u32).map(|number| (number % 253) as u8).collect::<Vec<_>>()),
        ("1/2/3/4/5/6/7/8/9/10/11/12/deep.txt", b"deep"),
        ("Ünïcödé 日本語/😀.txt", b"smile"),
        (&long_one, b"one"),
        (&long_two, b"two"),
    ]);
    for number in 0..300 {
        let path = format!("many/a rather long file name with a number in it {number:04}.inf");
        tree.add_file(&path, MediaSource::Bytes(path.clone().into_bytes())).unwrap();
        tree.add_dir(&format!("dirs/directory {number:04}")).unwrap();
    }
    tree
}

fn content_of(tree: &MediaTree, path: &str) -> Vec<u8> {
    match tree.file_source(path) {
        Some(MediaSource::Bytes(bytes)) => bytes.clone(),
        other => panic!("{path}: {other:?}"),
    }
}

fn same_files(tree: &MediaTree, directory: &Path) {
    for path in tree.file_paths() {
        assert_eq!(std::fs::read(directory.join(&path)).unwrap(), content_of(tree, &path), "{path}");
    }
}

#[test]
fn xorriso_reads_the_same_through_rock_ridge() {
    if !tool_present("xorriso") {
        return skip("xorriso");
    }
    let directory = tempfile::tempdir().unwrap();
    let tree = difficult_tree();
    std::fs::write(directory.path().join("cd.iso"), image_with_sections(&tree, 4096)).unwrap();
    let arguments = ["-abort_on", "WARNING", "-osirrox", "on", "-indev", "cd.iso", "-extract", "/", "out"];
    let report = run("xorriso", &arguments, directory.path());
    assert!(report.contains("Volume id    : 'cidata'"), "{report}");
    same_files(&tree, &directory.path().join("out"));
    assert!(directory.path().join("out/dirs/directory 0299").is_dir());
}

#[test]
fn isoinfo_and_blkid_agree() {
    for tool in ["isoinfo", "blkid"] {
        if !tool_present(tool) {
            return skip(tool);
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let tree = difficult_tree();
    std::fs::write(directory.path().join("cd.iso"), image(&tree)).unwrap();
    let facts = run("isoinfo", &["-d", "-i", "cd.iso"], directory.path());
    for fact in ["Volume id: cidata", "Joliet with UCS level 3 found", "Rock Ridge signatures version 1 found"] {
        assert!(facts.contains(fact), "{fact} in\n{facts}");
    }
    let rock_ridge = run("isoinfo", &["-R", "-l", "-i", "cd.iso"], directory.path());
    assert!(rock_ridge.contains("-rw-r--r--") && rock_ridge.contains(" user-data") && rock_ridge.contains("deep.txt"));
    assert!(rock_ridge.contains("Nov 14 2023"), "{rock_ridge}");
    let joliet = run("isoinfo", &["-J", "-f", "-i", "cd.iso"], directory.path());
    assert!(joliet.contains("/a/A.txt") && joliet.contains("number in it 0299.inf"), "{joliet}");
    let content = run("isoinfo", &["-R", "-x", "/user-data", "-i", "cd.iso"], directory.path());
    assert_eq!(content, "#cloud-config\n");
    let blkid = run("blkid", &["-p", "cd.iso"], directory.path());
    assert!(blkid.contains("TYPE=\"iso9660\"") && blkid.contains("LABEL=\"cidata\""), "{blkid}");
}

#[test]
fn seven_zip_reads_the_same_through_joliet() {
    if !tool_present("7z") {
        return skip("7z");
    }
    let directory = tempfile::tempdir().unwrap();
    let mut tree = tree(&[
        ("user-data", b"#cloud-config\n"),
        ("1/2/3/4/5/6/7/8/9/10/11/12/deep.txt", b"deep"),
        ("Ünïcödé 日本語/x.txt", b"unicode"),
        ("empty", b""),
        ("sections.bin", &(0..20_000_u32).map(|number| (number % 253) as u8).collect::<Vec<_>>()),
    ]);
    for number in 0..100 {
        let path = format!("many/a rather long file name with a number in it {number:04}.inf");
        tree.add_file(&path, MediaSource::Bytes(path.clone().into_bytes())).unwrap();
    }
    std::fs::write(directory.path().join("cd.iso"), image_with_sections(&tree, 8192)).unwrap();
    run("7z", &["x", "-y", "-oout", "cd.iso"], directory.path());
    same_files(&tree, &directory.path().join("out"));
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,9}(\\.[a-z]{1,4})?",
        "[aA.]{1,4}",
        "\\PC{1,30}",
        "[a-b]{28,34}",
        "[x😀]{50,70}\\.t?",
        "[a-z]{180,255}"
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_trees_survive(files in proptest::collection::vec(
        (proptest::collection::vec(name(), 1..5), proptest::collection::vec(any::<u8>(), 0..7000)), 0..40)) {
        let mut tree = MediaTree::new();
        let mut expected = BTreeMap::new();
        for (components, bytes) in files {
            let path = components.join("/");
            if tree.add_file(&path, MediaSource::Bytes(bytes.clone())).is_ok() {
                let normal = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect::<Vec<_>>().join("/");
                expected.insert(normal, bytes);
            }
        }
        let image = image_with_sections(&tree, 2048);
        let primary = read_back(&image, 16);
        let joliet = read_back(&image, 17);
        prop_assert_eq!(primary.len(), tree.len());
        prop_assert_eq!(joliet.len(), tree.len());
        let mut contents: Vec<Vec<u8>> = expected.values().cloned().collect();
        let files: BTreeMap<_, _> =
            primary.into_iter().filter_map(|(path, file)| Some((path, file?.0))).collect();
        prop_assert_eq!(files, expected);
        // Joliet may shorten names, but no content may be lost.
        let mut found: Vec<Vec<u8>> = joliet.into_values().flatten().map(|(content, _)| content).collect();
        contents.sort();
        found.sort();
        prop_assert_eq!(found, contents);
    }
}
