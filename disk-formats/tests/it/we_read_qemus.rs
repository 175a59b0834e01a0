//! Everything qemu-img writes is read back equal, in all its variants.

use kiln_disk_formats::{Format, detect, open};

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
