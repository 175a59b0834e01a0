//! A tar archive as a stream: members in the order they are given, with the mode and the time of their files.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use tar::{EntryType, Header};

use super::work::{Work, about};

/// Unit of an archive in bytes.
const BLOCK: usize = 512;

/// Longer names have a member of their own in front (GNU's way, which every reader knows).
const NAME: usize = 100;

/// A file, and what it is called in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: OsString,
    pub(crate) file: PathBuf,
}

/// Writes `members`, and the end of the archive.
///
/// # Errors
///
/// A file cannot be read, or is no longer as long as it was when its turn came.
pub(crate) fn write_tar(members: &[Member], work: &mut Work<'_>, output: &mut dyn Write) -> io::Result<()> {
    for member in members {
        let metadata = member.file.metadata().map_err(|error| about(&member.file, &error))?;
        if !metadata.is_file() {
            return Err(io::Error::other(format!("{}: it is no file", member.file.display())));
        }
        write_headers(member.name.as_bytes(), &metadata, output)?;
        let copied = work.copy(&member.file, output)?;
        if copied != metadata.len() {
            let words = format!("{}: it has {copied} bytes, and had {}", member.file.display(), metadata.len());
            return Err(io::Error::other(words));
        }
        pad(copied, output)?;
    }
    output.write_all(&[0; 2 * BLOCK])
}

fn write_headers(name: &[u8], metadata: &Metadata, output: &mut dyn Write) -> io::Result<()> {
    if name.len() > NAME {
        let mut header = Header::new_gnu();
        header.set_path("././@LongLink")?;
        header.set_entry_type(EntryType::GNULongName);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        // With the zero byte behind it.
        header.set_size(name.len() as u64 + 1);
        header.set_cksum();
        output.write_all(header.as_bytes())?;
        output.write_all(name)?;
        output.write_all(&[0])?;
        pad(name.len() as u64 + 1, output)?;
    }
    let mut header = Header::new_gnu();
    let field = &mut header.as_old_mut().name;
    for (to, from) in field.iter_mut().zip(name) {
        *to = *from;
    }
    header.set_entry_type(EntryType::Regular);
    header.set_mode(metadata.mode() & 0o7777);
    // Whoever unpacks it has users of their own.
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    header.set_size(metadata.len());
    header.set_cksum();
    output.write_all(header.as_bytes())
}

fn pad(length: u64, output: &mut dyn Write) -> io::Result<()> {
    let over = usize::try_from(length % BLOCK as u64).map_err(io::Error::other)?;
    if over == 0 { Ok(()) } else { output.write_all(&[0; BLOCK][over..]) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn tar_unpacks_names_of_every_length_and_what_is_in_them() {
        if !super::super::test_tools::has("tar") {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let names = ["a".to_owned(), "n".repeat(100), "m".repeat(101), "l".repeat(250), "ü b".to_owned()];
        let mut members = Vec::new();
        for (name, length) in names.iter().zip([0, 511, 512, 513, 70_000]) {
            let file = directory.path().join(name);
            std::fs::write(&file, vec![b'x'; length]).unwrap();
            members.push(Member { name: name.into(), file });
        }
        let archive = directory.path().join("archive.tar");
        let mut output = std::fs::File::create(&archive).unwrap();
        let (abandoned, told) = (AtomicBool::new(false), std::cell::Cell::new(0));
        let progress = |done| told.set(done);
        write_tar(&members, &mut Work::new(&abandoned, &progress), &mut output).unwrap();
        assert_eq!(told.get(), 511 + 512 + 513 + 70_000);
        let unpacked = directory.path().join("unpacked");
        std::fs::create_dir(&unpacked).unwrap();
        let status = Command::new("tar").arg("-C").arg(&unpacked).arg("-xf").arg(&archive).status().unwrap();
        assert!(status.success());
        for member in &members {
            let copy = unpacked.join(&member.name);
            assert!(std::fs::read(&copy).unwrap() == std::fs::read(&member.file).unwrap(), "{member:?}");
            let times = [&copy, &member.file].map(|file| file.metadata().unwrap().mtime());
            assert_eq!(times[0], times[1]);
        }
        assert_eq!(std::fs::read_dir(&unpacked).unwrap().count(), names.len());
    }

    #[test]
    fn whoever_is_not_waited_for_stops() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a");
        std::fs::write(&file, "abc").unwrap();
        let abandoned = AtomicBool::new(true);
        let members = [Member { name: "a".into(), file }];
        let stopped = write_tar(&members, &mut Work::new(&abandoned, &|_| {}), &mut Vec::new());
        assert_eq!(stopped.unwrap_err().kind(), io::ErrorKind::Interrupted);
    }
}
