//! Differencing VHDXs, which no other tool at hand reads or writes: made by hand after MS-VHDX, from two of ours.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use kiln_disk_formats::{ErrorKind, OpenPolicy, OutputKind, check, image_info, open};

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
