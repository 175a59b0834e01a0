//! Everything qemu-img writes is read back equal, in all its variants.

use kiln_disk_formats::{ErrorKind, Format, OpenPolicy, detect, open};

use crate::qemu_img::{self, text};
use crate::sample::{Bench, digest};

fn check(variants: &[(&str, &[&str])], format: Format) {
    if !qemu_img::present() {
        return;
    }
    let bench = Bench::new((9 << 20) + 512, 40, 77);
    for (index, (name, options)) in variants.iter().enumerate() {
        let path = bench.path(&format!("{index}.image"));
        let arguments = [&["convert", "-f", "raw", "-O", name], *options, &[text(&bench.raw), text(&path)]].concat();
        qemu_img::ok(&arguments);
        assert_eq!(detect(&path).unwrap(), format, "{options:?}");
        let reader = open(&path, None, &bench.policy()).unwrap();
        // QEMU rounds some sizes up, so its own reading is what counts.
        let raw = bench.path("again.raw");
        qemu_img::ok(&["convert", "-f", name, "-O", "raw", text(&path), text(&raw)]);
        let wanted = digest(&*open(&raw, Some(Format::Raw), &bench.policy()).unwrap());
        assert_eq!(digest(&*reader), wanted, "{options:?}");
        assert!(reader.virtual_size() >= bench.reader().virtual_size());
        assert_eq!(reader.info().format, format);
    }
}

#[test]
fn qcow2() {
    check(
        &[
            ("qcow2", &[]),
            ("qcow2", &["-o", "compat=0.10"]),
            ("qcow2", &["-c"]),
            ("qcow2", &["-c", "-o", "compat=0.10"]),
            ("qcow2", &["-c", "-o", "compression_type=zstd"]),
            ("qcow2", &["-c", "-o", "compression_type=zstd,cluster_size=4k"]),
            ("qcow2", &["-o", "cluster_size=512"]),
            ("qcow2", &["-c", "-o", "cluster_size=512"]),
            ("qcow2", &["-o", "cluster_size=2M"]),
            ("qcow2", &["-c", "-o", "cluster_size=2M"]),
            ("qcow2", &["-o", "extended_l2=on"]),
            ("qcow2", &["-o", "extended_l2=on,cluster_size=128k"]),
            ("qcow2", &["-c", "-o", "extended_l2=on"]),
            ("qcow2", &["-o", "preallocation=metadata"]),
            ("qcow2", &["-o", "preallocation=falloc"]),
            ("qcow2", &["-o", "lazy_refcounts=on,refcount_bits=1"]),
            ("qcow2", &["-S", "0"]),
        ],
        Format::Qcow2,
    );
}

#[test]
fn vmdk() {
    check(
        &[
            ("vmdk", &[]),
            ("vmdk", &["-o", "subformat=streamOptimized"]),
            ("vmdk", &["-o", "subformat=monolithicFlat"]),
            ("vmdk", &["-o", "subformat=twoGbMaxExtentSparse"]),
            ("vmdk", &["-o", "subformat=twoGbMaxExtentFlat"]),
            ("vmdk", &["-o", "zeroed_grain=on"]),
            ("vmdk", &["-o", "hwversion=7,adapter_type=lsilogic"]),
        ],
        Format::Vmdk,
    );
}

#[test]
fn vdi() {
    check(&[("vdi", &[]), ("vdi", &["-o", "static=on"]), ("vdi", &["-S", "0"])], Format::Vdi);
}

#[test]
fn vhd() {
    check(
        &[
            ("vpc", &[]),
            ("vpc", &["-o", "subformat=fixed"]),
            ("vpc", &["-o", "force_size=on"]),
            ("vpc", &["-o", "subformat=fixed,force_size=on"]),
        ],
        Format::Vhd,
    );
}

#[test]
fn vhdx() {
    check(
        &[
            ("vhdx", &[]),
            ("vhdx", &["-o", "subformat=fixed"]),
            ("vhdx", &["-o", "block_size=1M"]),
            ("vhdx", &["-o", "block_size=256M"]),
            ("vhdx", &["-o", "block_state_zero=off"]),
        ],
        Format::Vhdx,
    );
}

#[test]
fn internal_snapshots_are_read_as_they_were() {
    if !qemu_img::present() {
        return;
    }
    let bench = Bench::new(9 << 20, 20, 78);
    let path = bench.path("a.qcow2");
    qemu_img::ok(&["convert", "-f", "raw", "-O", "qcow2", text(&bench.raw), text(&path)]);
    qemu_img::ok(&["snapshot", "-c", "before", text(&path)]);
    let write = std::process::Command::new("qemu-io").args(["-c", "write -P 9 1M 2M", text(&path)]).output();
    assert!(write.unwrap().status.success());
    qemu_img::ok(&["snapshot", "-c", "after", text(&path)]);
    qemu_img::ok(&["resize", "-f", "qcow2", text(&path), "11M"]);
    let read = |snapshot: Option<&str>| {
        let mut policy = OpenPolicy::deny();
        policy.snapshot = snapshot.map(str::to_owned);
        open(&path, None, &policy)
    };
    let before = read(Some("before")).unwrap();
    assert_eq!(before.virtual_size(), 9 << 20);
    assert_eq!(digest(&*before), bench.digest());
    let raw = bench.path("after.raw");
    qemu_img::ok(&["convert", "-l", "snapshot.name=after", "-O", "raw", text(&path), text(&raw)]);
    let mut theirs = vec![0; 9 << 20];
    open(&raw, Some(Format::Raw), &OpenPolicy::deny()).unwrap().read_at(0, &mut theirs).unwrap();
    for name in ["after", "2"] {
        let mut ours = vec![0; 9 << 20];
        read(Some(name)).unwrap().read_at(0, &mut ours).unwrap();
        assert!(ours == theirs, "{name}");
    }
    assert_ne!(digest(&*read(Some("after")).unwrap()), bench.digest());
    assert_eq!(read(None).unwrap().virtual_size(), 11 << 20);
    let error = read(Some("never")).err().unwrap();
    assert!(error.kind() == ErrorKind::InvalidInput && error.hint().unwrap().contains("before"), "{error}");
    let mut policy = OpenPolicy::deny();
    policy.snapshot = Some("before".to_owned());
    assert_eq!(open(&bench.raw, None, &policy).err().unwrap().kind(), ErrorKind::InvalidInput);
}
