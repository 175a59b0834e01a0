//! What an image of this machine, which a template names by its path, may lie over.
//!
//! It may be the raw disk of an earlier guest, and a guest writes what it likes to the beginning of its disk: the header of an image that lies
//! over `~/.ssh/id_ed25519`, say. What such a header names is read into the next guest, so it is followed only to other disks beside the image.
//!
//! A disk that a build makes over another is followed to that one, wherever it is: the build notes it in an attribute of the disk's file, which
//! goes with the file. Whoever may write a file may write its attributes, and `cp -a` and tar carry them along; so the note is signed by a key
//! that only this user's builds can read, and holds for that one file.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use aws_lc_rs::{constant_time, hmac};

use kiln_disk_formats::{DiskReader, Format, OpenPolicy, detect, open};
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};

use crate::error::StepError;
use crate::image_registry::ImageRegistry;
use crate::plan_key::PlanKey;
use crate::regular_file;

/// What to do about an image that lies over others elsewhere.
pub(super) const HINT: &str = "the file may be the raw disk of a guest that has written this there. If you know it: \
    `kiln convert --allow-backing DIR IMAGE.qcow2 WHOLE.qcow2` makes one image of it and what is below; or move what is below beside it, and \
    have it say so: `qemu-img rebase -u -F FORMAT -b NAME IMAGE.qcow2`";

/// The attribute of a disk that a build has made over another: the signature, and the path of that one.
const BASE: &str = "user.kiln.base";

/// What is signed, beside what else the key signs.
const SIGNED: &[u8] = b"kiln disk over a base 1";

/// Length of the signature in bytes: HMAC-SHA-256.
const SIGNATURE: usize = 32;

/// The longest path.
const MAX_PATH: usize = 4096;

/// How many disks may lie over each other.
const MAX_CHAIN: usize = 16;

/// What a disk that is not empty has at a place: a partition table or a boot loader, LVM, LUKS, ext, XFS, Btrfs, a CD.
const SIGNATURES: [(u64, &[u8]); 8] = [
    (510, &[0x55, 0xaa]),
    (0, b"XFSB"),
    (0, b"LUKS\xba\xbe"),
    (512, b"EFI PART"),
    (512, b"LABELONE"),
    (0x438, &[0x53, 0xef]),
    (0x8001, b"CD001"),
    (0x1_0040, b"_BHRfS_M"),
];

/// The image's format, and what it may name.
pub(super) fn judge(image: &Path, key: &PlanKey) -> Result<(Format, OpenPolicy, Option<&'static str>), StepError> {
    let registered = ImageRegistry::of_user().and_then(|registry| registry.format_of(image));
    Ok(match registered.as_deref().and_then(Format::from_name) {
        // The build that made it knows.
        Some(Format::Raw) => (Format::Raw, OpenPolicy::deny(), None),
        Some(Format::Qcow2) => (Format::Qcow2, OpenPolicy::allow_any(), None),
        _ => {
            let bases = bases(image, key);
            // Also where a link leads to, and where the bases are.
            let places = std::iter::once(image).chain(bases.iter().map(PathBuf::as_path));
            let beside: Vec<PathBuf> = places
                .flat_map(|place| [std::path::absolute(place).ok(), place.canonicalize().ok()])
                .filter_map(|place| place?.parent().map(Path::to_owned))
                .collect();
            (detect(image)?, OpenPolicy::allow_below([beside, bases].concat()), Some(HINT))
        }
    })
}

/// Notes that `disk`, a new one, lies over `image`. Where the file system keeps no such note a later build says what to do.
pub(super) fn note_base(disk: &Path, image: &Path, key: &PlanKey) {
    let note = || -> io::Result<()> {
        let base = image.canonicalize()?;
        let file = regular_file::open_to_read(disk)?;
        let signature = signature(&file, base.as_os_str().as_bytes(), key)?.sign();
        let note = [signature.as_ref(), base.as_os_str().as_bytes()].concat();
        Ok(fsetxattr(&file, BASE, &note, XattrFlags::empty())?)
    };
    if let Err(error) = note() {
        tracing::debug!(%error, disk = %disk.display(), "not noted what the disk lies over");
    }
}

/// The disks that `image` lies over as the builds noted that made it and them, the nearest first.
fn bases(image: &Path, key: &PlanKey) -> Vec<PathBuf> {
    let mut bases: Vec<PathBuf> = Vec::new();
    while let Some(base) =
        noted_base(bases.last().map_or(image, PathBuf::as_path), key).filter(|_| bases.len() < MAX_CHAIN)
    {
        bases.push(base);
    }
    bases
}

fn noted_base(disk: &Path, key: &PlanKey) -> Option<PathBuf> {
    let file = regular_file::open_named(disk).ok()?;
    let mut note = vec![0; SIGNATURE + MAX_PATH];
    let length = fgetxattr(&file, BASE, &mut note[..]).ok()?;
    note.truncate(length);
    let (signed, path) = note.split_at_checked(SIGNATURE)?;
    let expected = signature(&file, path, key).ok()?.sign();
    constant_time::verify_slices_are_equal(signed, expected.as_ref()).ok()?;
    Some(PathBuf::from(OsString::from_vec(path.to_owned()))).filter(|path| path.is_absolute())
}

/// Signs that this one file lies over `base`. A file keeps its inode when it is renamed, and whoever gets the number after it is younger. The
/// number of the device is not signed: it is another after a restart, where volumes are found in another order.
fn signature(disk: &File, base: &[u8], key: &PlanKey) -> io::Result<hmac::Context> {
    let found = disk.metadata()?;
    let born = found.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    let mut context = key.context();
    context.update(SIGNED);
    context.update(&found.ino().to_be_bytes());
    context.update(&born.unwrap_or_default().as_nanos().to_be_bytes());
    context.update(base);
    Ok(context)
}

/// Refuses an image that lies over a file which is no disk.
pub(super) fn check_chain(image: &Path, reader: &dyn DiskReader, key: &PlanKey) -> Result<(), StepError> {
    let known = [vec![image.to_owned()], bases(image, key)].concat();
    let known: Vec<PathBuf> = known.iter().filter_map(|path| path.canonicalize().ok()).collect();
    for file in reader.info().files {
        // A name that a link has says nothing.
        let place = file.canonicalize().unwrap_or_else(|_| file.clone());
        if !known.contains(&place) && !is_disk(&place) {
            let detail = format!("{} says that it lies over {}, which is no disk", image.display(), file.display());
            return Err(StepError::new(detail).with_hint(HINT));
        }
    }
    Ok(())
}

/// Whether a source can begin with the image at `path`.
pub(crate) fn can_begin_with(path: &Path, key: &PlanKey) -> Result<(), StepError> {
    let (format, policy, hint) = judge(path, key)?;
    let reader = open(path, Some(format), &policy)?;
    if hint.is_some() { check_chain(path, &*reader, key) } else { Ok(()) }
}

/// An image by its own word, a part of a VMDK (which begins anywhere in it) by its name, or a raw disk by what is on it. Of other endings
/// the name says nothing: a camera's pictures are called `.raw`, too.
fn is_disk(path: &Path) -> bool {
    let is_part = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("vmdk"));
    is_part || detect(path).is_ok_and(|format| format != Format::Raw) || has_signature(path)
}

fn has_signature(path: &Path) -> bool {
    let Ok(mut file) = File::open(path) else { return false };
    SIGNATURES.iter().any(|(at, signature)| {
        let mut found = vec![0; signature.len()];
        let read = file.seek(SeekFrom::Start(*at)).and_then(|_| file.read_exact(&mut found));
        read.is_ok() && found == *signature
    })
}

#[cfg(test)]
mod tests {
    use kiln_disk_formats::{create_overlay, create_qcow2};

    use super::*;

    fn key() -> PlanKey {
        PlanKey::new(b"a key of tests")
    }

    /// Whether a source can begin with `image`; why not.
    fn judged(image: &Path) -> Option<String> {
        can_begin_with(image, &key()).err().map(|error| error.to_string())
    }

    fn raw_disk(path: &Path, at: usize, signature: &[u8]) {
        let mut bytes = vec![0; 1 << 20];
        bytes[at..at + signature.len()].copy_from_slice(signature);
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn what_a_build_has_made_over_a_disk_elsewhere_is_followed_to_it_alone() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        for name in ["base", "out", "next"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        raw_disk(&at("base/disk"), 510, &[0x55, 0xaa]);
        create_overlay(&at("out/web"), &at("base/disk"), Format::Raw, None).unwrap();
        assert!(judged(&at("out/web")).unwrap().contains("outside the allowed directories"));
        note_base(&at("out/web"), &at("base/disk"), &key());
        assert_eq!(judged(&at("out/web")), None);
        // One more, and moved.
        create_overlay(&at("next/web"), &at("out/web"), Format::Qcow2, None).unwrap();
        note_base(&at("next/web"), &at("out/web"), &key());
        std::fs::rename(at("next/web"), at("aborted-web")).unwrap();
        assert_eq!(judged(&at("aborted-web")), None);
        // A base without anything known on it is what the build had.
        std::fs::write(at("base/disk"), vec![b'x'; 1 << 20]).unwrap();
        assert_eq!(judged(&at("aborted-web")), None);
        // The note is of one file: a header that names another leads nowhere.
        create_qcow2(&at("base/other.qcow2"), 1 << 20).unwrap();
        std::fs::create_dir(at("elsewhere")).unwrap();
        std::fs::rename(at("base/other.qcow2"), at("elsewhere/other.qcow2")).unwrap();
        create_overlay(&at("out/planted"), &at("elsewhere/other.qcow2"), Format::Qcow2, None).unwrap();
        note_base(&at("out/planted"), &at("base/disk"), &key());
        assert!(judged(&at("out/planted")).unwrap().contains("outside the allowed directories"));
        std::fs::write(at("base/id_rsa"), "private".repeat(100_000)).unwrap();
        create_overlay(&at("out/key"), &at("base/id_rsa"), Format::Raw, Some(1 << 20)).unwrap();
        note_base(&at("out/key"), &at("base/disk"), &key());
        assert!(judged(&at("out/key")).unwrap().contains("which is no disk"));
    }

    /// Where nothing is signed: whoever may write the file, or gives a copy of one of ours, would name what the next guest gets.
    #[test]
    fn a_note_that_no_build_of_this_user_has_made_of_this_very_file_is_not_believed() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        ["home", "shared"].iter().for_each(|name| std::fs::create_dir(at(name)).unwrap());
        std::fs::write(at("home/id_rsa"), "private".repeat(100_000)).unwrap();
        let planted = at("shared/base");
        create_overlay(&planted, &at("home/id_rsa"), Format::Raw, Some(1 << 20)).unwrap();
        let note = |text: &[u8]| rustix::fs::setxattr(&planted, BASE, text, XattrFlags::empty()).unwrap();
        let refused = |what: &str| {
            let told = judged(&planted).unwrap_or_default();
            assert!(told.contains("outside the allowed directories"), "{what}: {told:?}");
        };
        let key_file = at("home/id_rsa").canonicalize().unwrap();
        let path = key_file.as_os_str().as_bytes();
        for text in [path.to_vec(), [&[0; SIGNATURE], path].concat(), Vec::new(), vec![b'/'; SIGNATURE]] {
            note(&text);
            refused("unsigned");
        }
        note_base(&planted, &at("home/id_rsa"), &PlanKey::new(b"the key of another user"));
        refused("signed by another");
        // A note of ours for another file, which was copied along with it.
        create_overlay(&at("home/over"), &at("home/id_rsa"), Format::Raw, Some(1 << 20)).unwrap();
        note_base(&at("home/over"), &at("home/id_rsa"), &key());
        assert_eq!(judged(&at("home/over")), None);
        let mut copied = vec![0; SIGNATURE + MAX_PATH];
        let length = rustix::fs::getxattr(at("home/over"), BASE, &mut copied[..]).unwrap();
        note(&copied[..length]);
        refused("copied");
        // Of this file, but of another base.
        std::fs::write(at("home/disk"), "another").unwrap();
        note_base(&planted, &at("home/disk"), &key());
        let mut signed = vec![0; SIGNATURE + MAX_PATH];
        rustix::fs::getxattr(&planted, BASE, &mut signed[..]).unwrap();
        note(&[&signed[..SIGNATURE], path].concat());
        refused("signed for another base");
    }

    #[test]
    fn disks_beside_it_are_followed_whatever_they_begin_with_and_through_a_link_to_it() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        std::fs::create_dir(at("images")).unwrap();
        for (offset, signature) in SIGNATURES {
            let base = at("images/base");
            raw_disk(&base, usize::try_from(offset).unwrap(), signature);
            let over = at("images/over");
            std::fs::remove_file(&over).ok();
            create_overlay(&over, &base, Format::Raw, None).unwrap();
            assert_eq!(judged(&over), None, "{signature:?}");
        }
        std::os::unix::fs::symlink(at("images/over"), at("link")).unwrap();
        assert_eq!(judged(&at("link")), None);
        // A link of a disk's name to what is none.
        std::fs::write(at("images/id_rsa"), "private".repeat(100_000)).unwrap();
        std::os::unix::fs::symlink(at("images/id_rsa"), at("images/key.img")).unwrap();
        create_overlay(&at("images/planted"), &at("images/key.img"), Format::Raw, Some(1 << 20)).unwrap();
        assert!(judged(&at("images/planted")).unwrap().contains("which is no disk"));
    }

    /// A camera's picture, an archive: what a guest names as the disk below its own, in the hope that the next guest gets it.
    #[test]
    fn a_file_is_no_disk_for_its_name() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        for name in ["photo.raw", "vault.img", "notes.qcow2", "notes.vdi", "notes.vhd", "notes.vhdx", "notes.vpc"] {
            std::fs::write(at(name), "private".repeat(100_000)).unwrap();
            let over = at("over");
            std::fs::remove_file(&over).ok();
            create_overlay(&over, &at(name), Format::Raw, Some(1 << 20)).unwrap();
            assert!(judged(&over).unwrap_or_default().contains("which is no disk"), "{name}");
        }
    }

    #[test]
    fn parts_of_a_vmdk_are_followed_and_files_that_one_names_are_not() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        raw_disk(&at("web-f001.vmdk"), 510, &[0x55, 0xaa]);
        raw_disk(&at("web-f002.vmdk"), 0, b"the middle of a disk");
        std::fs::write(at("id_rsa"), vec![b'x'; 1 << 20]).unwrap();
        for (second, told) in [("web-f002.vmdk", None), ("id_rsa", Some("id_rsa, which is no disk"))] {
            let text = format!(
                "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"twoGbMaxExtentFlat\"\n\
                 RW 2048 FLAT \"web-f001.vmdk\" 0\nRW 2048 FLAT \"{second}\" 0\nddb.adapterType = \"lsilogic\"\n"
            );
            std::fs::write(at("web.vmdk"), text).unwrap();
            let judged = judged(&at("web.vmdk"));
            match (told, &judged) {
                (None, None) => {}
                (Some(words), Some(judged)) => assert!(judged.contains(words), "{judged}"),
                _ => panic!("{second}: {judged:?}"),
            }
        }
    }
}
