//! Everything qemu-img writes is read back equal, in all its variants.

use kiln_disk_formats::{Format, OpenPolicy, detect, open};

use crate::qemu_img::{self, text};
use crate::sample::{Bench, digest};

fn check(variants: &[(&str, &[&str])], format: Format) {
    if !qemu_img::present() {
        return;
    }
    let bench = Bench::new((9 << 20) + 512, 40, 77);
    let wanted = bench.digest();
    for (index, (name, options)) in variants.iter().enumerate() {
        let path = bench.path(&format!("{index}.image"));
        let arguments = [&["convert", "-f", "raw", "-O", name], *options, &[text(&bench.raw), text(&path)]].concat();
        qemu_img::ok(&arguments);
        assert_eq!(detect(&path).unwrap(), format, "{options:?}");
        let reader = open(&path, None, &OpenPolicy::allow_below(vec![bench.directory.path().into()])).unwrap();
        assert_eq!(digest(&*reader), wanted, "{options:?}");
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
