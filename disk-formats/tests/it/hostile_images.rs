//! Images that lie: typed errors, no panic, no opened path that the policy did not allow.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use kiln_disk_formats::{
    ConvertOptions, DiskAdapter, Error, ErrorKind, Format, NoProgress, OpenPolicy, OutputKind, VhdVariant, VmdkOptions,
    VmdkSubformat, content_digest, image_info, open,
};
use proptest::prelude::*;

use crate::sample::{Bench, digest};

/// Writes an empty qcow2 whose header names a backing file.
fn with_backing_name(path: &Path, name: &str, format: Option<&str>) {
    let mut header = vec![0u8; 65536 * 2];
    header[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    header[20..24].copy_from_slice(&16u32.to_be_bytes());
    header[24..32].copy_from_slice(&(1u64 << 20).to_be_bytes());
    header[36..40].copy_from_slice(&1u32.to_be_bytes());
    header[40..48].copy_from_slice(&65536u64.to_be_bytes());
    header[96..100].copy_from_slice(&4u32.to_be_bytes());
    header[100..104].copy_from_slice(&104u32.to_be_bytes());
    let mut end = 104;
    if let Some(format) = format {
        header[end..end + 4].copy_from_slice(&0xe279_2acau32.to_be_bytes());
        header[end + 4..end + 8].copy_from_slice(&(format.len() as u32).to_be_bytes());
        header[end + 8..end + 8 + format.len()].copy_from_slice(format.as_bytes());
        end += 8 + format.len().next_multiple_of(8);
    }
    end += 8;
    header[8..16].copy_from_slice(&(end as u64).to_be_bytes());
    header[16..20].copy_from_slice(&(name.len() as u32).to_be_bytes());
    header[end..end + name.len()].copy_from_slice(name.as_bytes());
    std::fs::write(path, header).unwrap();
}

fn kind_of(path: &Path, policy: &OpenPolicy) -> ErrorKind {
    open(path, Some(Format::Qcow2), policy).err().unwrap().kind()
}

#[test]
fn a_backing_file_is_opened_only_below_allowed_directories() {
    let bench = Bench::new(1 << 20, 3, 1);
    let path = bench.path("a.qcow2");
    let below = OpenPolicy::allow_below(vec![bench.directory.path().into()]);
    with_backing_name(&path, "source.raw", Some("raw"));
    assert_eq!(kind_of(&path, &OpenPolicy::deny()), ErrorKind::Refused);
    assert_eq!(digest(&*open(&path, None, &below).unwrap()), bench.digest());
    for name in ["/etc/passwd", "../../../../../../etc/passwd", "json:{}", "nbd://localhost/x", "ssh:x", ""] {
        with_backing_name(&path, name, Some("raw"));
        assert_eq!(kind_of(&path, &below), ErrorKind::Refused, "{name}");
    }
    std::os::unix::fs::symlink("/etc/passwd", bench.path("link")).unwrap();
    with_backing_name(&path, "link", Some("raw"));
    assert_eq!(kind_of(&path, &below), ErrorKind::Refused);
    // A guest can write a qcow2 header into a raw backing disk, so its format is never guessed.
    with_backing_name(&path, "source.raw", None);
    assert_eq!(kind_of(&path, &OpenPolicy::allow_any()), ErrorKind::Refused);
}

/// The tail of a file that was cut short is never made up: an error, or the disk as it was where only unused bytes are gone.
#[test]
fn a_file_that_was_cut_short_is_an_error_or_still_the_whole_disk() {
    let bench = Bench::new(5 << 20, 60, 11);
    let mut bytes = std::fs::read(bench.path("source.raw")).unwrap();
    if let Some(last) = bytes.last_mut() {
        *last = 0xa5;
    }
    std::fs::write(bench.path("source.raw"), bytes).unwrap();
    let vmdk = |subformat| OutputKind::Vmdk(VmdkOptions { subformat, ..VmdkOptions::default() });
    let kinds = [
        ("a.qcow2", OutputKind::qcow2()),
        ("c.qcow2", OutputKind::qcow2_compressed()),
        ("a.vmdk", vmdk(VmdkSubformat::MonolithicSparse)),
        ("s.vmdk", vmdk(VmdkSubformat::StreamOptimized)),
        ("a.vdi", OutputKind::Vdi),
        ("a.vhd", OutputKind::Vhd(VhdVariant::Dynamic)),
        ("f.vhd", OutputKind::Vhd(VhdVariant::Fixed)),
        ("a.vhdx", OutputKind::Vhdx),
    ];
    for (name, kind) in kinds {
        let (path, _) = bench.convert(name, kind);
        let whole = std::fs::read(&path).unwrap();
        for cut in [1, 511, 512, 4096, 65_000, 1_000_000] {
            std::fs::write(&path, &whole[..whole.len().saturating_sub(cut)]).unwrap();
            let read = open(&path, None, &OpenPolicy::deny())
                .and_then(|reader| content_digest(&*reader, &ConvertOptions::default(), &NoProgress));
            match read {
                Ok(found) => assert_eq!(found, bench.digest(), "{name} without its last {cut} bytes"),
                Err(error) => assert!(error.offset().is_some(), "{name} without its last {cut} bytes: {error}"),
            }
        }
    }
}

#[test]
fn a_chain_that_comes_back_to_itself_is_refused() {
    let bench = Bench::new(1 << 20, 0, 1);
    let (a, b) = (bench.path("a.qcow2"), bench.path("b.qcow2"));
    with_backing_name(&a, "b.qcow2", Some("qcow2"));
    with_backing_name(&b, "a.qcow2", Some("qcow2"));
    assert_eq!(kind_of(&a, &OpenPolicy::allow_any()), ErrorKind::Corrupt);
}

#[test]
fn unknown_features_encryption_and_absurd_sizes_are_named() {
    let bench = Bench::new(1 << 20, 4, 1);
    let (path, _) = bench.convert("a.qcow2", OutputKind::qcow2());
    let good = std::fs::read(&path).unwrap();
    let cases: [(usize, &[u8], ErrorKind); 8] = [
        (72, &[0x80, 0, 0, 0, 0, 0, 0, 0], ErrorKind::Unsupported),
        (32, &[0, 0, 0, 2], ErrorKind::Encrypted),
        (24, &[0x7f; 8], ErrorKind::Corrupt),
        (20, &[0, 0, 0, 63], ErrorKind::Corrupt),
        (4, &[0, 0, 0, 9], ErrorKind::Unsupported),
        (40, &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0], ErrorKind::Truncated),
        (36, &[0xff; 4], ErrorKind::Corrupt),
        (0, b"nope", ErrorKind::Corrupt),
    ];
    for (offset, bytes, kind) in cases {
        let mut bad = good.clone();
        bad[offset..offset + bytes.len()].copy_from_slice(bytes);
        std::fs::write(&path, bad).unwrap();
        let error = open(&path, Some(Format::Qcow2), &OpenPolicy::deny()).err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.offset().is_some() && error.to_string().contains("a.qcow2"), "{error}");
    }
}

/// Opens and reads everything; any error that says where is fine, panics and hangs are not.
fn exercise(path: &Path, format: Format) -> Result<(), Error> {
    let mut policy = OpenPolicy::deny();
    policy.max_virtual_size = 64 << 20;
    let reader = open(path, Some(format), &policy)?;
    let size = reader.virtual_size();
    let mut position = 0;
    while position < size {
        position = reader.extents(position..size)?.last().unwrap().end();
    }
    position = 0;
    while position < size {
        position = reader.map(position..size)?.last().unwrap().end();
    }
    reader.refuse_overlaps(&AtomicBool::new(false))?;
    let mut buffer = vec![0; 1 << 20];
    (0..size).step_by(buffer.len()).try_for_each(|offset| reader.read_at(offset, &mut buffer))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn damaged_images_give_errors_and_never_panic(
        which in 0usize..8,
        damage in prop::collection::vec((0usize..200_000, any::<u8>()), 1..12),
        header_damage in prop::collection::vec((0usize..4096, any::<u8>()), 0..4),
        cut in prop::option::of(0usize..200_000),
    ) {
        let bench = Bench::new(3 << 20, 6, which as u64);
        let adapter = DiskAdapter::LsiLogic;
        let kinds = [
            OutputKind::qcow2(),
            OutputKind::qcow2_compressed(),
            OutputKind::vmdk_stream_optimized(adapter),
            OutputKind::vmdk_monolithic_sparse(adapter),
            OutputKind::Vdi,
            OutputKind::Vhd(VhdVariant::Dynamic),
            OutputKind::Vhd(VhdVariant::Fixed),
            OutputKind::Vhdx,
        ];
        let format = kinds[which].disk_format();
        let (path, _) = bench.convert("a.image", kinds[which].clone());
        let mut bytes = std::fs::read(&path).unwrap();
        for (offset, value) in damage.into_iter().chain(header_damage) {
            let len = bytes.len();
            // Tables and headers are at the front, at the end, and at round places: hit these often.
            let offset = match offset % 4 {
                0 => offset % len,
                1 => len - 1 - offset % len,
                2 => (offset % 24) * 65536 % len + offset % 64,
                _ => offset % 600,
            } % len;
            bytes[offset] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut);
        }
        std::fs::write(&path, bytes).unwrap();
        if let Err(error) = exercise(&path, format) {
            assert!(error.offset().is_some() && error.path() == Some(&*path), "{format}: {error}");
        }
    }
}

/// A description of a machine, or a file whose name promises a format that it does not have, is no raw disk by mistake.
#[test]
fn what_only_lacks_a_signature_is_not_taken_for_a_raw_disk() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("a.ovf", "<?xml version='1.0'?>"),
        ("plain", "<Envelope xmlns='x'/>"),
        ("a.vmx", ".encoding = \"UTF-8\""),
        ("b.vmx", "config.version = \"8\""),
        ("a.qcow2", "nothing of the kind"),
        ("A.VHD", "nothing of the kind"),
        ("a.ova", "nothing of the kind"),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        let error = open(&path, None, &OpenPolicy::deny()).err().unwrap();
        assert!(error.hint().is_some(), "{name}: {error}");
        assert!(open(&path, Some(Format::Raw), &OpenPolicy::deny()).is_ok());
    }
}

/// Also one that is shorter than a header of qcow2, as a small empty one is.
#[test]
fn the_first_version_of_qcow_is_named_with_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("old.qcow");
    for len in [8, 56, 4096] {
        let mut bytes = b"QFI\xfb\0\0\0\x01".to_vec();
        bytes.resize(len, 0);
        std::fs::write(&path, bytes).unwrap();
        for format in [None, Some(Format::Qcow2)] {
            let deny = OpenPolicy::deny();
            for error in [open(&path, format, &deny).err().unwrap(), image_info(&path, format, &deny).unwrap_err()] {
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{len}");
                assert!(error.to_string().contains("a qcow image (version 1)"), "{error}");
                assert!(error.hint().unwrap().contains("`qemu-img convert -f qcow -O qcow2`"));
            }
        }
    }
}
