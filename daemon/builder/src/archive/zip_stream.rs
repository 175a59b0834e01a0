//! A ZIP archive (APPNOTE 6.3): members packed on all processors, ZIP64 where a number needs it.

use std::fs::{File, Metadata};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::chunk::Level;
use super::codec::Codec;
use super::pipeline::{Totals, pack};
use super::tar_stream::Member;
use super::work::{Work, about};

/// Numbers from here on stand in ZIP64's fields.
const LIMIT: u64 = u32::MAX as u64;

/// A member from here on has ZIP64's fields from the start: packed, it may be a little longer than plain.
const MAYBE_LONG: u64 = LIMIT - (LIMIT >> 8);

/// Name and version are UTF-8.
const UTF8: u16 = 1 << 11;

const DEFLATE: u16 = 8;

/// A member that is written.
struct Written {
    name: Vec<u8>,
    is_utf8: bool,
    at: u64,
    totals: Totals,
    mode: u32,
    time: [u16; 2],
    is_long: bool,
}

/// Writes `members` and the directory of the archive into `output`, which is empty.
///
/// # Errors
///
/// A file cannot be read, or the archive cannot be written.
pub(crate) fn write_zip(members: &[Member], level: Level, work: &mut Work<'_>, output: &mut File) -> io::Result<()> {
    let mut all = Vec::new();
    for member in members {
        let metadata = member.file.metadata().map_err(|error| about(&member.file, &error))?;
        let mut written = Written::new(member, &metadata, output.stream_position()?);
        output.write_all(&written.local_header())?;
        let mut feed = |to: &mut dyn io::Write| work.copy(&member.file, to).map(drop);
        written.totals = pack(Codec::Deflate(level), output, &mut feed)?;
        let end = output.stream_position()?;
        if !written.is_long && (written.totals.plain > LIMIT || written.totals.packed > LIMIT) {
            let words = format!("{}: it has grown while it was read", member.file.display());
            return Err(io::Error::other(words));
        }
        output.seek(SeekFrom::Start(written.at))?;
        output.write_all(&written.local_header())?;
        output.seek(SeekFrom::Start(end))?;
        all.push(written);
    }
    let begin = output.stream_position()?;
    for written in &all {
        output.write_all(&written.directory_header())?;
    }
    let end = output.stream_position()?;
    output.write_all(&ending(all.len() as u64, begin, end))
}

impl Written {
    fn new(member: &Member, metadata: &Metadata, at: u64) -> Self {
        let name = member.name.as_encoded_bytes().to_vec();
        let is_utf8 = std::str::from_utf8(&name).is_ok();
        let totals = Totals { plain: 0, packed: 0, crc: 0 };
        let is_long = metadata.len() > MAYBE_LONG;
        Self { name, is_utf8, at, totals, mode: metadata.mode(), time: dos_time(metadata.mtime()), is_long }
    }

    /// What both headers have in the middle.
    fn middle(&self, version: u16, sizes: [u32; 2], extra: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let flags = if self.is_utf8 { UTF8 } else { 0 };
        for word in [version, flags, DEFLATE, self.time[1], self.time[0]] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        for word in [self.totals.crc, sizes[0], sizes[1]] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        // Names come from file names, of which none is longer.
        for length in [self.name.len() as u16, extra.len() as u16] {
            bytes.extend_from_slice(&length.to_le_bytes());
        }
        bytes
    }

    fn local_header(&self) -> Vec<u8> {
        let totals = self.totals;
        let long = [totals.plain, totals.packed];
        let extra = if self.is_long { zip64(&long) } else { Vec::new() };
        let sizes = if self.is_long { [u32::MAX; 2] } else { [totals.packed as u32, totals.plain as u32] };
        let mut bytes = b"PK\x03\x04".to_vec();
        bytes.extend(self.middle(if self.is_long { 45 } else { 20 }, sizes, &extra));
        bytes.extend_from_slice(&self.name);
        bytes.extend(extra);
        bytes
    }

    fn directory_header(&self) -> Vec<u8> {
        let totals = self.totals;
        let mut long = Vec::new();
        let mut short = |number: u64| {
            if number >= LIMIT {
                long.push(number);
                u32::MAX
            } else {
                number as u32
            }
        };
        let (plain, packed, at) = (short(totals.plain), short(totals.packed), short(self.at));
        let extra = if long.is_empty() { Vec::new() } else { zip64(&long) };
        let version = if self.is_long || !extra.is_empty() { 45 } else { 20 };
        let mut bytes = b"PK\x01\x02".to_vec();
        // Made on Unix (3), whose modes stand in the upper half of the attributes.
        bytes.extend_from_slice(&(3_u16 << 8 | version).to_le_bytes());
        bytes.extend(self.middle(version, [packed, plain], &extra));
        // No comment, on the first disk, no attributes of DOS.
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(&(self.mode << 16).to_le_bytes());
        bytes.extend_from_slice(&at.to_le_bytes());
        bytes.extend_from_slice(&self.name);
        bytes.extend(extra);
        bytes
    }
}

fn zip64(numbers: &[u64]) -> Vec<u8> {
    let mut bytes = vec![1, 0];
    bytes.extend_from_slice(&((numbers.len() * 8) as u16).to_le_bytes());
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    bytes
}

/// What ends an archive with `count` members, whose directory lies from `begin` to `end`.
fn ending(count: u64, begin: u64, end: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if count >= u64::from(u16::MAX) || begin >= LIMIT || end - begin >= LIMIT {
        bytes.extend_from_slice(b"PK\x06\x06");
        bytes.extend_from_slice(&44_u64.to_le_bytes());
        bytes.extend_from_slice(&(3_u16 << 8 | 45).to_le_bytes());
        bytes.extend_from_slice(&45_u16.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        [count, count, end - begin, begin].iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        bytes.extend_from_slice(b"PK\x06\x07\0\0\0\0");
        bytes.extend_from_slice(&end.to_le_bytes());
        bytes.extend_from_slice(&1_u32.to_le_bytes());
    }
    bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    let few = u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes();
    bytes.extend_from_slice(&[few, few].concat());
    for number in [end - begin, begin] {
        bytes.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    }
    bytes.extend_from_slice(&[0; 2]);
    bytes
}

/// Date and time as DOS counts them, in UTC: the same bytes wherever it is written.
fn dos_time(seconds: i64) -> [u16; 2] {
    let time = Timestamp::from_second(seconds).unwrap_or_default().to_zoned(TimeZone::UTC);
    let Ok(years) = u16::try_from(time.year() - 1980) else { return [1 << 5 | 1, 0] };
    if years > 127 {
        return [127 << 9 | 12 << 5 | 31, 23 << 11 | 59 << 5 | 29];
    }
    let number = |value: i8| u16::from(value.unsigned_abs());
    let date = years << 9 | number(time.month()) << 5 | number(time.day());
    [date, number(time.hour()) << 11 | number(time.minute()) << 5 | (number(time.second()) / 2)]
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn unzip_finds_nothing_wrong_with_it() {
        if !super::super::test_tools::has("unzip") {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut members = Vec::new();
        for (name, length) in [("empty", 0), ("in/a/folder", 70_000), ("large ü", 3 << 20)] {
            let file = directory.path().join(name.replace('/', "-"));
            std::fs::write(&file, vec![b'x'; length]).unwrap();
            members.push(Member { name: name.into(), file });
        }
        let archive = directory.path().join("archive.zip");
        let mut output = File::create(&archive).unwrap();
        let abandoned = AtomicBool::new(false);
        write_zip(&members, None, &mut Work::new(&abandoned, &|_| {}), &mut output).unwrap();
        let unpacked = directory.path().join("unpacked");
        let mut unzip = Command::new("unzip");
        unzip.arg("-q").arg(&archive).arg("-d").arg(&unpacked).env("LC_ALL", "C.UTF-8");
        assert!(unzip.status().unwrap().success());
        for member in &members {
            let copy = std::fs::read(unpacked.join(&member.name)).unwrap();
            assert!(copy == std::fs::read(&member.file).unwrap(), "{member:?}");
        }
    }

    #[test]
    fn times_before_and_after_dos_are_its_first_and_last() {
        assert_eq!(dos_time(0), [33, 0]);
        assert_eq!(dos_time(1_796_000_000), [46 << 9 | 11 << 5 | 30, 53 << 5 | 10]);
        assert_eq!(dos_time(9_000_000_000)[0], 127 << 9 | 12 << 5 | 31);
    }

    #[test]
    fn numbers_that_need_more_room_have_it() {
        let totals = Totals { plain: 5 << 30, packed: 4 << 30, crc: 1 };
        let written = Written {
            name: b"a".to_vec(),
            is_utf8: true,
            at: 6 << 30,
            totals,
            mode: 0o100_644,
            time: [33, 0],
            is_long: true,
        };
        let header = written.directory_header();
        assert_eq!(header[20..28], [255; 8]);
        let extra = &header[47..];
        assert_eq!(extra[..4], [1, 0, 24, 0]);
        assert_eq!(extra[4..12], (5_u64 << 30).to_le_bytes());
        assert_eq!(extra[20..28], (6_u64 << 30).to_le_bytes());
        assert_eq!(ending(1, 6 << 30, (6 << 30) + 75).len(), 56 + 20 + 22);
        assert_eq!(ending(1, 100, 175).len(), 22);
    }
}
