//! Differencing VHDXs, which no other tool at hand reads or writes: made by hand after MS-VHDX, from two of ours. And VDIs and VMDKs as
//! VirtualBox has them, which do not say in which file their parent is.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kiln_disk_formats::{
    ErrorKind, Format, OpenPolicy, OutputKind, VmdkOptions, VmdkSubformat, check, image_info, open,
};

use crate::sample::{Bench, Noise};

const MIB: u64 = 1 << 20;
/// Our writer's places and sizes.
const METADATA: u64 = 2 * MIB;
const BAT: u64 = 3 * MIB;
const BLOCK: u64 = 2 * MIB;
const RATIO: u64 = (1 << 23) * 512 / BLOCK;
/// Offset of a list about the parent in the metadata region.
const LOCATOR: u32 = 96 << 10;

fn bytes_at<const N: usize>(file: &File, offset: u64) -> [u8; N] {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, offset).unwrap();
    bytes
}

/// Writes a UUID from mixed-endian bytes.
fn text(id: &[u8; 16]) -> String {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let hex: String = order.iter().map(|at| format!("{:02x}", id[*at])).collect();
    format!("{{{}-{}-{}-{}-{}}}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn locator(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes =
        vec![0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13, 0, 0];
    bytes.extend((entries.len() as u16).to_le_bytes());
    let mut texts: Vec<u8> = Vec::new();
    for (key, value) in entries {
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let (key, value) = (utf16(key), utf16(value));
        let at = (20 + entries.len() * 12 + texts.len()) as u32;
        bytes.extend(at.to_le_bytes());
        bytes.extend((at + key.len() as u32).to_le_bytes());
        bytes.extend((key.len() as u16).to_le_bytes());
        bytes.extend((value.len() as u16).to_le_bytes());
        texts.extend([key, value].concat());
    }
    [bytes, texts].concat()
}

/// Makes the image one that differs from `parent`: block 0 is not here, block 2 in sectors whose number divides by 3.
fn differ(path: &Path, parent: &Path) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let id: [u8; 16] = bytes_at(&File::open(parent).unwrap(), (64 << 10) + 32);
    let list = locator(&[("parent_linkage", &text(&id)), ("relative_path", ".\\base.vhdx")]);
    let count = u16::from_le_bytes(bytes_at(&file, METADATA + 10));
    let parameters = (0..u64::from(count))
        .map(|index| METADATA + 32 + index * 32)
        .find(|at| bytes_at::<4>(&file, *at) == [0x37, 0x67, 0xa1, 0xca])
        .unwrap();
    let item = METADATA + u64::from(u32::from_le_bytes(bytes_at(&file, parameters + 16)));
    file.write_all_at(&2u32.to_le_bytes(), item + 4).unwrap();
    let mut entry =
        vec![0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c];
    [LOCATOR, list.len() as u32, 4, 0].iter().for_each(|number| entry.extend(number.to_le_bytes()));
    file.write_all_at(&entry, METADATA + 32 + u64::from(count) * 32).unwrap();
    file.write_all_at(&(count + 1).to_le_bytes(), METADATA + 10).unwrap();
    file.write_all_at(&list, METADATA + u64::from(LOCATOR)).unwrap();
    file.write_all_at(&[0; 8], BAT).unwrap();
    let partial = u64::from_le_bytes(bytes_at(&file, BAT + 16)) | 7;
    file.write_all_at(&partial.to_le_bytes(), BAT + 16).unwrap();
    let end = file.metadata().unwrap().len();
    file.set_len(end + MIB).unwrap();
    file.write_all_at(&(end | 6).to_le_bytes(), BAT + RATIO * 8).unwrap();
    let mut bitmap = [0; 512];
    (0..4096).filter(|sector| sector % 3 == 0).for_each(|sector| bitmap[sector / 8] |= 1 << (sector % 8));
    file.write_all_at(&bitmap, end + 2 * 512).unwrap();
}

#[test]
fn a_vhdx_that_differs_from_its_parent_is_read_through_it() {
    let bench = Bench::new(9 * MIB, 0, 0);
    let contents = [1, 2].map(|seed| Noise(seed).bytes(9 << 20));
    std::fs::write(&bench.raw, &contents[0]).unwrap();
    let (base, _) = bench.convert("base.vhdx", OutputKind::Vhdx);
    std::fs::write(&bench.raw, &contents[1]).unwrap();
    let (path, _) = bench.convert("a.vhdx", OutputKind::Vhdx);
    differ(&path, &base);

    let reader = open(&path, None, &bench.policy()).unwrap();
    let mut found = vec![0; 9 << 20];
    reader.read_at(0, &mut found).unwrap();
    for (sector, bytes) in found.chunks(512).enumerate() {
        let block = sector as u64 * 512 / BLOCK;
        let from_parent = block == 0 || block == 2 && sector % 4096 % 3 != 0;
        let wanted = &contents[usize::from(!from_parent)][sector * 512..][..512];
        assert!(bytes == wanted, "sector {sector}");
    }
    let info = reader.info();
    assert_eq!((info.variant.as_str(), info.files.len()), ("differencing", 2));
    assert!(check(&path, None).unwrap().is_clean());

    // Its facts need no parent; nothing else is opened without being allowed, or when it is not the parent any more.
    let alone = image_info(&path, None, &OpenPolicy::deny()).unwrap();
    assert_eq!(alone.backing_file.as_deref(), Some("./base.vhdx"));
    let error = open(&path, None, &OpenPolicy::deny()).err().unwrap();
    assert!(error.kind() == ErrorKind::Refused && error.to_string().contains("./base.vhdx"), "{error}");
    bench.convert("other.vhdx", OutputKind::Vhdx);
    std::fs::rename(bench.path("other.vhdx"), &base).unwrap();
    let error = open(&path, None, &bench.policy()).err().unwrap();
    assert!(error.kind() == ErrorKind::Corrupt && error.offset() == Some(METADATA), "{error}");
}

/// Makes a VDI one that differs from `parent`: block 0 is not here, block 1 is zeroes.
fn differ_vdi(path: &Path, parent: &Path) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let uuid: [u8; 16] = bytes_at(&File::open(parent).unwrap(), 0x188);
    file.write_all_at(&uuid, 0x1a8).unwrap();
    file.write_all_at(&4u32.to_le_bytes(), 0x4c).unwrap();
    let map = u64::from(u32::from_le_bytes(bytes_at(&file, 0x154)));
    file.write_all_at(&u32::MAX.to_le_bytes(), map).unwrap();
    file.write_all_at(&(u32::MAX - 1).to_le_bytes(), map + 4).unwrap();
}

#[test]
fn a_chain_of_vdis_is_read_when_its_images_are_told() {
    let bench = Bench::new(4 * MIB, 0, 0);
    let contents = [1, 2, 3].map(|seed| Noise(seed).bytes(4 << 20));
    let paths = ["a.vdi", "b.vdi", "c.vdi"].map(|name| bench.path(name));
    for (name, content) in ["a.vdi", "b.vdi", "c.vdi"].iter().zip(&contents) {
        std::fs::write(&bench.raw, content).unwrap();
        bench.convert(name, OutputKind::Vdi);
    }
    let [base, middle, top] = &paths;
    differ_vdi(middle, base);
    differ_vdi(top, middle);
    let told = |parents: &[&PathBuf]| {
        let mut policy = OpenPolicy::deny();
        policy.parents = parents.iter().map(|path| ((*path).clone(), Format::Vdi)).collect();
        open(top, Some(Format::Vdi), &policy)
    };
    let reader = told(&[middle, base]).unwrap();
    let mut found = vec![0; 4 << 20];
    reader.read_at(0, &mut found).unwrap();
    let mib = 1 << 20;
    let wanted = [&contents[0][..mib], &vec![0; mib], &contents[2][2 * mib..]].concat();
    assert!(found == wanted, "block 0 is two below, block 1 is zeroes, the rest is here");
    assert_eq!((reader.info().variant.as_str(), reader.info().files.len()), ("differencing", 3));
    for (parents, words) in [
        (vec![], "needs VirtualBox to find its parent"),
        (vec![middle], "needs VirtualBox to find its parent"),
        (vec![base, middle], "is not the parent of this disk"),
        (vec![middle, top], "comes back to"),
    ] {
        let error = told(&parents).err().unwrap().to_string();
        assert!(error.contains(words), "{parents:?}: {error}");
    }
}

#[test]
fn a_vmdk_that_does_not_name_its_parent_is_read_when_it_is_told() {
    let bench = Bench::new(2 * MIB, 0, 0);
    let contents = Noise(1).bytes(2 << 20);
    let kind =
        || OutputKind::Vmdk(VmdkOptions { subformat: VmdkSubformat::MonolithicSparse, ..VmdkOptions::default() });
    std::fs::write(&bench.raw, &contents).unwrap();
    let (base, _) = bench.convert("base.vmdk", kind());
    let mut half = contents.clone();
    half[..1 << 20].fill(0);
    half[1 << 20..].reverse();
    std::fs::write(&bench.raw, &half).unwrap();
    let (top, _) = bench.convert("top.vmdk", kind());
    let id = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        let at = bytes.windows(5).position(|part| part == b"\nCID=").unwrap() + 5;
        String::from_utf8(bytes[at..at + 8].to_vec()).unwrap()
    };
    let mut bytes = std::fs::read(&top).unwrap();
    let at = bytes.windows(18).position(|part| part == b"parentCID=ffffffff").unwrap();
    bytes[at + 10..at + 18].copy_from_slice(id(&base).as_bytes());
    std::fs::write(&top, bytes).unwrap();
    let error = open(&top, None, &OpenPolicy::allow_any()).err().unwrap().to_string();
    assert!(error.contains("does not name it"), "{error}");
    let mut policy = OpenPolicy::deny();
    policy.parents = vec![(base.clone(), Format::Vmdk)];
    let mut found = vec![0; 2 << 20];
    open(&top, None, &policy).unwrap().read_at(0, &mut found).unwrap();
    assert!(found[..1 << 20] == contents[..1 << 20] && found[1 << 20..] == half[1 << 20..]);
    policy.parents = vec![(base, Format::Vdi)];
    let error = open(&top, None, &policy).err().unwrap().to_string();
    assert!(error.contains("a vmdk that lies on a vdi"), "{error}");
}

/// VirtualBox says by a UUID that there is a parent; its `parentCID` is that of a disk without.
#[test]
fn a_vmdk_of_virtualbox_is_never_read_without_its_parent() {
    let bench = Bench::new(2 * MIB, 0, 0);
    let contents = Noise(1).bytes(2 << 20);
    let kind =
        || OutputKind::Vmdk(VmdkOptions { subformat: VmdkSubformat::MonolithicSparse, ..VmdkOptions::default() });
    std::fs::write(&bench.raw, &contents).unwrap();
    let (base, _) = bench.convert("base.vmdk", kind());
    let other = bench.convert("other.vmdk", kind()).0;
    std::fs::write(&bench.raw, vec![0; 2 << 20]).unwrap();
    let (top, _) = bench.convert("top.vmdk", kind());
    let patch = |path: &Path, key: &str, uuid: &str| {
        let mut bytes = std::fs::read(path).unwrap();
        let line = format!("ddb.uuid.{key} = \"");
        let at = bytes.windows(line.len()).position(|part| part == line.as_bytes()).unwrap() + line.len();
        bytes[at..at + uuid.len()].copy_from_slice(uuid.as_bytes());
        std::fs::write(path, bytes).unwrap();
    };
    let uuid = "8a7c1d2e-0b3f-4c5d-9e6f-112233445566";
    patch(&base, "image", uuid);
    patch(&other, "image", "8a7c1d2e-0b3f-4c5d-9e6f-112233445567");
    patch(&top, "parent", uuid);
    let told = |parents: Vec<PathBuf>| {
        let mut policy = OpenPolicy::deny();
        policy.parents = parents.into_iter().map(|parent| (parent, Format::Vmdk)).collect();
        open(&top, None, &policy)
    };
    let error = told(vec![]).err().unwrap().to_string();
    assert!(error.contains("needs VirtualBox to find its parent"), "{error}");
    let error = told(vec![other]).err().unwrap().to_string();
    assert!(error.contains("was changed after"), "{error}");
    let mut found = vec![0; 2 << 20];
    told(vec![base]).unwrap().read_at(0, &mut found).unwrap();
    assert!(found == contents);
}
