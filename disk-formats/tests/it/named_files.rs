//! The files that an image names: in the encoding of its descriptor, or as a node's options.

use std::path::Path;

use kiln_disk_formats::{ErrorKind, Format, OpenPolicy, check_with, image_info, open};

use crate::qemu_img::{self, assert_same, text};
use crate::sample::{Bench, digest};

const MIB: u64 = 1 << 20;

/// Writes a descriptor of 1 MiB whose only extent has this name, in these bytes.
fn describe(path: &Path, encoding: &str, name: &[u8]) {
    let start = "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n";
    let line = if encoding.is_empty() { String::new() } else { format!("encoding=\"{encoding}\"\n") };
    std::fs::write(path, [start.as_bytes(), line.as_bytes(), b"RW 2048 FLAT \"", name, b"\" 0\n"].concat()).unwrap();
}

#[test]
fn a_vmdk_finds_its_extents_by_names_in_its_own_encoding() {
    let bench = Bench::new(MIB, 5, 3);
    let path = bench.path("disk.vmdk");
    for (encoding, bytes, name) in [
        ("GBK", &b"\xb4\xc5\xc5\xcc-flat.vmdk"[..], "磁盘-flat.vmdk"),
        ("windows-1252", b"b\xfccher-flat.vmdk", "bücher-flat.vmdk"),
        ("Shift_JIS", b"\x83\x5c\x83\x42.vmdk", "ソィ.vmdk"),
        ("UTF-8", "bücher.vmdk".as_bytes(), "bücher.vmdk"),
        ("", "ßß.vmdk".as_bytes(), "ßß.vmdk"),
    ] {
        describe(&path, encoding, bytes);
        std::fs::copy(&bench.raw, bench.path(name)).unwrap();
        assert_eq!(digest(&*open(&path, None, &bench.policy()).unwrap()), bench.digest(), "{encoding}");
        assert!(check_with(&path, None, &bench.policy()).unwrap().is_clean(), "{encoding}");
        assert_eq!(open(&path, None, &OpenPolicy::deny()).err().unwrap().kind(), ErrorKind::Refused);
        std::fs::remove_file(bench.path(name)).unwrap();
        assert_eq!(open(&path, None, &bench.policy()).err().unwrap().kind(), ErrorKind::NotFound, "{encoding}");
    }
    // Bytes of another encoding than the declared, and a declared one that nobody knows: told, with the line.
    for (encoding, rule) in [("GBK", "is not in"), ("UTF-8", "is not in"), ("", "is not in"), ("klingon", "not known")]
    {
        describe(&path, encoding, b"b\xff-flat.vmdk");
        let error = open(&path, None, &bench.policy()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        let line = if encoding.is_empty() { "line 6 of" } else { "line 7 of" };
        assert!(error.to_string().contains(rule) && error.to_string().contains(line), "{error}");
        assert!(error.hint().unwrap().contains("encoding="), "{error}");
    }
    // No encoding leads out of the directory.
    describe(&path, "GBK", b"../\xb4\xc5\xc5\xcc");
    assert!(matches!(
        open(&path, None, &bench.policy()).err().unwrap().kind(),
        ErrorKind::NotFound | ErrorKind::Refused
    ));
}

#[test]
fn a_node_below_a_qcow2_is_read_as_qemu_reads_it() {
    if !qemu_img::present() {
        return;
    }
    let bench = Bench::new(MIB, 5, 3);
    let base = bench.path("base.qcow2");
    qemu_img::ok(&["convert", "-f", "raw", "-O", "qcow2", text(&bench.raw), text(&base)]);
    let (over, absolute) = (bench.path("over.qcow2"), text(&base).to_owned());
    let nested = format!(r#"json:{{"driver":"qcow2","file":{{"driver":"file","filename":"{absolute}"}}}}"#);
    let dotted = format!(r#"json:{{"driver":"qcow2","file.filename":"{absolute}","cache.direct":false}}"#);
    let raw = format!(r#"json:{{"driver":"raw","file":{{"driver":"file","filename":"{}"}}}}"#, text(&bench.raw));
    for (name, format) in [(&nested, "qcow2"), (&dotted, "qcow2"), (&raw, "raw")] {
        qemu_img::ok(&["create", "-q", "-f", "qcow2", "-b", name, "-F", format, text(&over)]);
        assert_same("raw", &bench.raw, "qcow2", &over);
        assert_eq!(digest(&*open(&over, None, &bench.policy()).unwrap()), bench.digest(), "{name}");
        let info = image_info(&over, None, &OpenPolicy::deny()).unwrap();
        assert_eq!(info.backing_file.as_ref(), Some(name));
        let backing = info.backing().unwrap();
        assert_eq!(Format::from_name(&backing.format.unwrap()), Format::from_name(format));
        let elsewhere = tempfile::tempdir().unwrap();
        let error = open(&over, None, &OpenPolicy::allow_below(vec![elsewhere.path().into()])).err().unwrap();
        assert!(error.kind() == ErrorKind::Refused && error.hint().unwrap().starts_with("allow backing"), "{error}");
    }
    let remote = r#"json:{"driver":"qcow2","file":{"driver":"nbd","host":"localhost"}}"#;
    qemu_img::ok(&["create", "-q", "-u", "-f", "qcow2", "-b", remote, "-F", "qcow2", text(&over), "1M"]);
    let error = open(&over, None, &OpenPolicy::allow_any()).err().unwrap();
    assert!(error.kind() == ErrorKind::Refused && error.to_string().contains("driver \"nbd\""), "{error}");
    // The hint's command mends it.
    assert!(error.hint().unwrap().contains("qemu-img rebase -u -b FILE -F FORMAT IMAGE"), "{error}");
    qemu_img::ok(&["rebase", "-u", "-b", "base.qcow2", "-F", "qcow2", text(&over)]);
    assert_eq!(digest(&*open(&over, None, &bench.policy()).unwrap()), bench.digest());
}
