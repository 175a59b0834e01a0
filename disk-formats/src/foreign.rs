//! Containers that people take for disks and that are not read here, told by their signatures, so that they are refused by name and not
//! converted as if they were the guest's bytes.
//!
//! What can be a guest's disk as it is has no place here: partition tables, boot sectors, ISO 9660, squashfs and other file systems.

use crate::error::{ErrorKind, Result};
use crate::reading::source_file::SourceFile;

/// Bytes at the front that are looked at.
const FRONT: usize = 128;
/// Bytes at the end that are looked at: a block in which UDIF and others have a trailer.
const END: usize = 512;
/// Bytes of the header of an LZMA file, and of the first byte of its stream (which is zero).
const LZMA_HEADER: usize = 14;

/// Where a signature stands.
enum Place {
    /// This many bytes from the front.
    Front(usize),
    /// This many bytes before the end.
    End(usize),
}

/// What can be done with a container.
#[derive(Clone, Copy)]
enum Way {
    /// qemu-img reads it, by this name.
    QemuImg(&'static str),
    /// A tool unpacks it.
    Unpack(&'static str),
    /// A tool writes the disk anew.
    Run(&'static str),
    /// It is not what its name says.
    Wrong(&'static str),
}

/// A container: its name with an article, where its signature stands, what it is, and what to do.
struct Signature(&'static str, Place, &'static [u8], Way);

use Place::{End, Front};
use Way::{QemuImg, Run, Unpack, Wrong};

/// Each with where its signature is written down.
const SIGNATURES: [Signature; 58] = [
    // Disks of other virtual machines.
    // QEMU, docs/interop/qed_spec.rst: magic.
    Signature("a QED image", Front(0), b"QED\0", QemuImg("qed")),
    // QEMU, docs/interop/parallels.rst: magic, of both versions.
    Signature("a Parallels disk", Front(0), b"WithoutFreeSpace", QemuImg("parallels")),
    Signature("a Parallels disk", Front(0), b"WithouFreSpacExt", QemuImg("parallels")),
    // QEMU's former block/cow.c: COW_MAGIC.
    Signature("a COW image of User Mode Linux", Front(0), b"OOOM", Run("uml_moo")),
    // QEMU, block/bochs.c, and Bochs, iodev/hdimage: STANDARD_HEADER_MAGIC.
    Signature("a Bochs disk", Front(0), b"Bochs Virtual HD Image", QemuImg("bochs")),
    // QEMU, block/cloop.c, and cloop's create_compressed_fs: a script's first lines with the version.
    Signature("a cloop image", Front(0), b"#!/bin/sh\n#V", QemuImg("cloop")),
    // LUKS1 On-Disk Format 1.2.3 and LUKS2 1.1.2, 2.1: magic.
    Signature("a LUKS volume, which is encrypted", Front(0), b"LUKS\xba\xbe", QemuImg("luks")),
    // UDIF: the trailer's signature, 512 bytes before the end (QEMU, block/dmg.c); encrypted ones: libyal's libmodi.
    Signature("an Apple disk image (DMG)", End(512), b"koly", QemuImg("dmg")),
    Signature("an Apple disk image (DMG)", Front(0), b"koly", QemuImg("dmg")),
    Signature("an encrypted Apple disk image (DMG)", Front(0), b"encrcdsa", Run("hdiutil convert -format UDTO")),
    Signature("an encrypted Apple disk image (DMG)", End(8), b"cdsaencr", Run("hdiutil convert -format UDTO")),
    // libyal's libmodi, "Sparse disk image format": signature.
    Signature("an Apple sparse image", Front(0), b"sprs", Run("hdiutil convert -format UDTO")),
    // Android, system/core/libsparse/sparse_format.h: SPARSE_HEADER_MAGIC 0xed26ff3a, little-endian.
    Signature("an Android sparse image", Front(0), &[0x3a, 0xff, 0x26, 0xed], Run("simg2img")),
    // Chromium OS, update_engine/payload_consumer: kDeltaMagic.
    Signature("an update payload of Android or ChromeOS", Front(0), b"CrAU", Run("payload-dumper")),
    // MAME, src/lib/util/chd.cpp: the header's tag.
    Signature("a compressed disk of MAME (CHD)", Front(0), b"MComprHD", Run("chdman extracthd")),
    // Ceph, doc/dev/rbd-export.rst and rbd-diff.rst: headers.
    Signature("an export of Ceph", Front(0), b"rbd image v", Run("rbd import")),
    Signature("a difference of Ceph", Front(0), b"rbd diff v", Run("rbd import-diff")),
    // Images for forensics and backups.
    // libyal's libewf, "Expert Witness Compression Format", versions 1 and 2: signatures.
    Signature("an Expert Witness image (E01)", Front(0), b"EVF\x09\x0d\x0a\xff\0", Run("ewfexport -f raw")),
    Signature("an Expert Witness image (Ex01)", Front(0), b"EVF2\x0d\x0a\x81\0", Run("ewfexport -f raw")),
    Signature("a logical Expert Witness image (L01)", Front(0), b"LVF\x09\x0d\x0a\xff\0", Run("ewfexport")),
    // AFFLIB, lib/aff.h: AF_HEADER.
    Signature("an Advanced Forensic Format image (AFF)", Front(0), b"AFF10\x0d\x0a\0", Run("affconvert -r")),
    // Microsoft, "Windows Imaging File Format (WIM)", header; wimlib's include/wimlib/header.h for the pipable form.
    Signature("a Windows image of files (WIM)", Front(0), b"MSWIM\0\0\0", Unpack("wimapply")),
    Signature("a Windows image of files (WIM)", Front(0), b"WLPWM\0\0\0", Unpack("wimapply")),
    // Partclone, src/partclone.h: IMAGE_MAGIC.
    Signature("an image of Partclone", Front(0), b"partclone-image", Run("partclone.restore")),
    // Partimage, src/shared/common.h: MAGIC_BEGIN_VOLUME.
    Signature("an image of Partimage", Front(0), b"PaRtImAgE-VoLuMe", Run("partimage restore")),
    // FSArchiver, src/fsarchiver.h: FSA_MAGIC and version.
    Signature("an archive of FSArchiver", Front(0), b"FsArCh_", Run("fsarchiver restfs")),
    // OpenZFS, include/sys/zfs_ioctl.h: DMU_BACKUP_MAGIC 0x2f5bacbac, after type and length of the record.
    Signature("a stream of `zfs send`", Front(8), &[0xac, 0xcb, 0xba, 0xf5, 2, 0, 0, 0], Run("zfs receive")),
    // Linux, fs/btrfs/send.h: BTRFS_SEND_STREAM_MAGIC.
    Signature("a stream of `btrfs send`", Front(0), b"btrfs-stream\0", Run("btrfs receive")),
    // Archives.
    // PKWARE, APPNOTE.TXT 6.3.10: 4.3.7, 4.3.16 and 8.5.3.
    Signature("a ZIP archive", Front(0), b"PK\x03\x04", Unpack("unzip")),
    Signature("an empty ZIP archive", Front(0), b"PK\x05\x06", Unpack("unzip")),
    Signature("a ZIP archive in several files", Front(0), b"PK\x07\x08", Unpack("unzip")),
    // 7-Zip, DOC/7zFormat.txt: signature.
    Signature("a 7-Zip archive", Front(0), &[b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c], Unpack("7z x")),
    // RAR 5.0 archive format, and the technical note of version 4: signatures.
    Signature("a RAR archive", Front(0), b"Rar!\x1a\x07", Unpack("unrar x")),
    // Microsoft, MS-CAB 2.1: signature and reserved.
    Signature("a cabinet archive (CAB)", Front(0), b"MSCF\0\0\0\0", Unpack("cabextract")),
    // xar, xar/include/xar.h.in: XAR_HEADER_MAGIC.
    Signature("a XAR archive", Front(0), b"xar!", Unpack("xar -xf")),
    // System V, ar(5).
    Signature("an ar archive", Front(0), b"!<arch>\n", Unpack("ar x")),
    // cpio(5): portable and new formats.
    Signature("a cpio archive", Front(0), b"070701", Unpack("cpio -i")),
    Signature("a cpio archive", Front(0), b"070702", Unpack("cpio -i")),
    Signature("a cpio archive", Front(0), b"070707", Unpack("cpio -i")),
    // RPM, docs/manual/format_lead.md: magic.
    Signature("an RPM package", Front(0), &[0xed, 0xab, 0xee, 0xdb], Unpack("rpm2archive")),
    // Packings of other kinds.
    // LZ4 frame format 1.6.4: magic, and that of the legacy frame.
    Signature("packed with LZ4", Front(0), &[0x04, 0x22, 0x4d, 0x18], Unpack("unlz4")),
    Signature("packed with LZ4", Front(0), &[0x02, 0x21, 0x4c, 0x18], Unpack("unlz4")),
    // RFC 9659 (lzip), 2: ID string.
    Signature("packed with lzip", Front(0), b"LZIP\x01", Unpack("lzip -d")),
    // lzop 1.04, src/lzop.c: lzop_magic.
    Signature("packed with lzop", Front(0), b"\x89LZO\0\x0d\x0a\x1a\x0a", Unpack("lzop -d")),
    // snappy, framing_format.txt: 4.1, stream identifier.
    Signature("packed with Snappy", Front(0), b"\xff\x06\0\0sNaPpY", Unpack("snzip -d")),
    // lrzip, doc/magic.header.txt.
    Signature("packed with lrzip", Front(0), b"LRZI", Unpack("lrunzip")),
    // Encrypted files.
    // age-encryption.org/v1: version line.
    Signature("encrypted with age", Front(0), b"age-encryption.org/v1", Unpack("age --decrypt")),
    // OpenSSL, crypto/evp: magic of `openssl enc`.
    Signature("encrypted with OpenSSL", Front(0), b"Salted__", Unpack("openssl enc -d")),
    // RFC 9580, 6.2: armor header line.
    Signature("encrypted or signed with OpenPGP", Front(0), b"-----BEGIN PGP ", Unpack("gpg --decrypt")),
    // What comes in the place of a download.
    // Git LFS, docs/spec.md: the pointer's first line.
    Signature(
        "a pointer of Git LFS",
        Front(0),
        b"version https://git-lfs",
        Wrong("`git lfs pull` gets the file itself"),
    ),
    // HTML standard, 13.1.1; in any case, see `refuse`.
    Signature("a page of HTML", Front(0), b"<!doctype html", Wrong("the download got a page in place of the file")),
    Signature("a page of HTML", Front(0), b"<html", Wrong("the download got a page in place of the file")),
    // BEP 3: a dictionary whose first key is `announce`.
    Signature("a torrent", Front(0), b"d8:announce", Wrong("get the file that it describes")),
    // PDF, ISO 32000-1, 7.5.2.
    Signature("a PDF document", Front(0), b"%PDF-", Wrong("name the disk")),
    // ELF, gABI, e_ident.
    Signature("a program (ELF)", Front(0), b"\x7fELF", Wrong("name the disk")),
    // Debian, zsync: the header's first key.
    Signature("a control file of zsync", Front(0), b"zsync: ", Wrong("`zsync` gets the file itself")),
    // Jigdo, template format.
    Signature("a template of jigdo", Front(0), b"JigsawDownload", Wrong("`jigdo-lite` gets the file itself")),
    // UltraISO, isz_spec.txt: signature.
    Signature("a packed ISO (ISZ)", Front(0), b"IsZ!", Unpack("iszconvert")),
];

/// Refuses the file when its signature is that of a container that is not read.
pub(crate) fn refuse(file: &SourceFile) -> Result<()> {
    let mut front = [0; FRONT];
    file.read_padded_at(0, &mut front)?;
    let mut end = [0; END];
    let end_at = file.len().saturating_sub(END as u64);
    file.read_padded_at(end_at, &mut end)?;
    let found = SIGNATURES.iter().find_map(|signature| {
        let Signature(_, place, bytes, _) = signature;
        let (at, found) = match place {
            Front(at) => (*at as u64, &front[*at..*at + bytes.len()]),
            // A shorter file has no trailer.
            End(before) => (
                file.len().checked_sub(*before as u64).filter(|_| file.len() >= END as u64)?,
                &end[END - before..END - before + bytes.len()],
            ),
        };
        let same = if bytes.starts_with(b"<") { found.eq_ignore_ascii_case(bytes) } else { found == *bytes };
        same.then_some((signature, at))
    });
    let (name, way, at) = match found {
        Some((Signature(name, _, _, way), at)) => (*name, *way, at),
        None if is_lzma(&front) => ("packed with LZMA", Unpack("unlzma"), 0),
        None if is_compress(&front) => ("packed with compress", Unpack("uncompress"), 0),
        // Zstandard's, RFC 8878, 3.1.2, and LZ4's; what follows is not Zstandard, or it would have been unpacked.
        None if matches!(front, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) => ("packed with LZ4", Unpack("unlz4"), 0),
        None => return Ok(()),
    };
    let hint = match way {
        QemuImg(format) => format!("`qemu-img convert -f {format} -O qcow2` makes it one that is read"),
        Unpack(tool) => format!("unpack it (`{tool}`), and name the disk"),
        Run(tool) => format!("`{tool}` makes a disk of it"),
        Wrong(hint) => hint.to_owned(),
    };
    let hint = format!("{hint}; `-f raw` takes its bytes for the disk as they are");
    Err(file
        .error(ErrorKind::Unsupported, format!("this is {name}, and no disk that is read here"))
        .at(at)
        .with_hint(hint))
}

/// LZMA SDK, DOC/lzma-specification.txt, "LZMA file format": it has no signature, so this asks for what all encoders write.
fn is_lzma(front: &[u8; FRONT]) -> bool {
    let [0x5d, d0, d1, d2, d3, size @ .., first] = &front[..LZMA_HEADER] else { return false };
    let dictionary = u32::from_le_bytes([*d0, *d1, *d2, *d3]);
    let size = size.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    // A power of two, or one and a half of one, from 4 KiB on.
    let round =
        dictionary.is_power_of_two() || (dictionary / 3 * 3 == dictionary && (dictionary / 3).is_power_of_two());
    dictionary >= 4096 && round && (size == u64::MAX || size < 1 << 38) && *first == 0
}

/// ncompress, compress42.c: magic and the flags' byte: widths of codes from 9 to 16 bits.
fn is_compress(front: &[u8; FRONT]) -> bool {
    matches!(front, [0x1f, 0x9d, flags, ..] if flags & 0x60 == 0 && matches!(flags & 0x1f, 9..=16))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::open;
    use crate::{Format, OpenPolicy, detect, image_info, snapshots};

    fn assert_refused(path: &Path, name: &str) {
        let error = open(path, None, &OpenPolicy::deny()).err().unwrap_or_else(|| panic!("{name} is taken for a disk"));
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}: {error}");
        assert!(error.to_string().contains(name) && error.hint().unwrap().contains("`-f raw`"), "{name}: {error}");
        assert!(image_info(path, None, &OpenPolicy::deny()).is_err() && detect(path).is_err(), "{name}");
        assert!(snapshots(path, None).is_err(), "{name}");
        open(path, Some(Format::Raw), &OpenPolicy::deny()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    #[test]
    fn every_container_is_refused_by_its_name_and_can_be_forced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.img");
        for Signature(name, place, bytes, _) in &SIGNATURES {
            let mut file = vec![0; 4096];
            let at = match place {
                Front(at) => *at,
                End(before) => file.len() - before,
            };
            file[at..at + bytes.len()].copy_from_slice(bytes);
            std::fs::write(&path, &file).unwrap();
            assert_refused(&path, name);
        }
        for (name, front) in [
            ("packed with LZMA", b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0\x01".as_slice()),
            ("packed with LZMA", b"\x5d\0\0\x18\0\x00\x00\x10\x00\x00\x00\x00\x00\0\x01"),
            ("packed with compress", b"\x1f\x9d\x90abc"),
            ("packed with LZ4", b"\x50\x2a\x4d\x18\x04\0\0\0abcd\x04\x22\x4d\x18"),
            ("a page of HTML", b"<!DOCTYPE HTML PUBLIC"),
        ] {
            std::fs::write(&path, [front, &[0; 600]].concat()).unwrap();
            assert_refused(&path, name);
        }
    }

    #[test]
    fn what_a_guests_disk_begins_with_is_not_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.img");
        let jump = b"\xeb\x58\x90MSDOS5.0".as_slice();
        let fronts: [&[u8]; 9] = [
            b"",
            b"\0",
            jump,
            b"\xeb\x63\x90",
            b"hsqs",
            b"XFSB\0\0\x10\0",
            b"\x5d\x12\x34",
            b"\x1f\x9d\xff",
            b"EFI PART",
        ];
        for front in fronts {
            std::fs::write(&path, [front, &[0; 2048]].concat()).unwrap();
            assert_eq!(detect(&path).unwrap(), Format::Raw, "{front:?}");
        }
        // Shorter than any signature.
        std::fs::write(&path, b"ko").unwrap();
        assert_eq!(detect(&path).unwrap(), Format::Raw);
    }
}
