//! Tar headers. Written as every OVA reader understands them: plain ustar (POSIX.1-1988), and GNU's binary size for members of 8 GiB
//! and more. Read in all forms; what one header says of the next is [`super::tar_members`]'s.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::{Error, ErrorKind, Operation, Result};

/// Unit of a tar archive in bytes.
pub(crate) const BLOCK: u64 = 512;
/// Zero bytes that end an archive.
pub(crate) const END: [u8; 2 * BLOCK as usize] = [0; 2 * BLOCK as usize];
/// Sizes from here on do not fit into eleven octal digits.
const OCTAL_LIMIT: u64 = 1 << 33;
/// Modification time of members in seconds since 1970: 1980-01-01, the earliest that ZIP-minded tools show.
const FIXED_TIME: u64 = 315_532_800;

/// A member's header (POSIX.1-1988 ustar).
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    name: [u8; 100],
    mode: [u8; 8],
    user: [u8; 8],
    group: [u8; 8],
    size: [u8; 12],
    time: [u8; 12],
    checksum: [u8; 8],
    kind: u8,
    link: [u8; 100],
    magic: [u8; 6],
    version: [u8; 2],
    user_name: [u8; 32],
    group_name: [u8; 32],
    device: [u8; 16],
    prefix: [u8; 155],
    padding: [u8; 12],
}

const _: () = assert!(size_of::<Header>() == BLOCK as usize);

/// Returns the header of a regular file: mode 0644, owned by root, with a fixed time.
pub(crate) fn header(name: &str, size: u64) -> Result<[u8; BLOCK as usize]> {
    let mut header = Header {
        name: [0; 100],
        mode: octal(0o644),
        user: octal(0),
        group: octal(0),
        size: if size < OCTAL_LIMIT { octal(size) } else { binary(size) },
        time: octal(FIXED_TIME),
        checksum: *b"        ",
        kind: b'0',
        link: [0; 100],
        magic: *b"ustar\0",
        version: *b"00",
        user_name: [0; 32],
        group_name: [0; 32],
        device: [0; 16],
        prefix: [0; 155],
        padding: [0; 12],
    };
    let Some(field) = header.name.get_mut(..name.len()) else {
        let rule = "a file name in an ova can have at most 100 bytes";
        return Err(Error::new(ErrorKind::InvalidInput, Operation::Describe, rule));
    };
    field.copy_from_slice(name.as_bytes());
    let sum: u64 = header.as_bytes().iter().map(|byte| u64::from(*byte)).sum();
    header.checksum[..7].copy_from_slice(&octal::<7>(sum));
    let mut bytes = [0; BLOCK as usize];
    bytes.copy_from_slice(header.as_bytes());
    Ok(bytes)
}

/// Writes octal digits followed by a zero byte.
fn octal<const N: usize>(value: u64) -> [u8; N] {
    let mut field = [0; N];
    let mut value = value;
    for digit in field[..N - 1].iter_mut().rev() {
        *digit = b'0' + (value % 8) as u8;
        value /= 8;
    }
    field
}

/// Writes a big-endian number marked by the highest bit (GNU).
fn binary(value: u64) -> [u8; 12] {
    let mut field = [0; 12];
    field[4..].copy_from_slice(&value.to_be_bytes());
    field[0] = 0x80;
    field
}

/// A header that is read; what its names and numbers mean depends on those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawHeader {
    pub(crate) name: String,
    /// Bytes that follow the header.
    pub(crate) size: u64,
    /// `0` for a file, and so on; old archives have a zero byte for a file.
    pub(crate) kind: u8,
}

/// Reads a header; `None` for what is none.
pub(crate) fn read_header(bytes: &[u8]) -> Option<RawHeader> {
    let header = Header::read_from_bytes(bytes).ok()?;
    let mut unsummed = bytes.to_vec();
    let field = std::mem::offset_of!(Header, checksum);
    unsummed[field..field + 8].fill(b' ');
    let sum: u64 = unsummed.iter().map(|byte| u64::from(*byte)).sum();
    if header.name[0] == 0 || number(&header.checksum)? != sum {
        return None;
    }
    let mut name = text(&header.name);
    // GNU's own format has other things in the place of the prefix. (Its magic ends in a blank.)
    if header.magic == *b"ustar\0" && header.prefix[0] != 0 {
        name = format!("{}/{name}", text(&header.prefix));
    }
    Some(RawHeader { name, size: number(&header.size)?, kind: header.kind })
}

/// Returns what stands before the first zero byte.
pub(crate) fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// Reads octal digits, or GNU's binary form.
pub(crate) fn number(field: &[u8]) -> Option<u64> {
    if field.first()? & 0x80 != 0 {
        let (high, low) = field.split_at_checked(field.len().checked_sub(8)?)?;
        let is_plain = high.first() == Some(&0x80) && high[1..].iter().all(|byte| *byte == 0);
        return is_plain.then_some(u64::from_be_bytes(low.try_into().ok()?));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    u64::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_members_are_plain_ustar() {
        let bytes = header("a.ovf", 1000).unwrap();
        assert_eq!(&bytes[..6], b"a.ovf\0");
        assert_eq!(&bytes[124..136], b"00000001750\0");
        assert_eq!(&bytes[257..265], b"ustar\x0000");
        let sum: u64 =
            bytes.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u64::from(*b) }).sum();
        assert_eq!(std::str::from_utf8(&bytes[148..154]).unwrap(), format!("{sum:06o}"));
    }

    #[test]
    fn members_of_8_gib_have_a_binary_size() {
        let bytes = header("a.vmdk", 1 << 33).unwrap();
        assert_eq!(&bytes[124..136], [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn headers_are_read_back() {
        for size in [0, 1000, (1 << 33) - 1, 1 << 33, 1 << 50] {
            let member = read_header(&header("a.vmdk", size).unwrap()).unwrap();
            assert_eq!(member, RawHeader { name: "a.vmdk".to_owned(), size, kind: b'0' });
        }
        let mut damaged = header("a.vmdk", 1).unwrap();
        damaged[0] = b'b';
        assert_eq!(read_header(&damaged), None);
        assert_eq!(read_header(&[0; 512]), None);
    }

    #[test]
    fn long_names_are_refused() {
        assert!(header(&"n".repeat(100), 0).is_ok());
        assert!(header(&"n".repeat(101), 0).is_err());
    }
}
