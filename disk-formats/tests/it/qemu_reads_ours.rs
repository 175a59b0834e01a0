//! Everything we write is accepted by qemu-img and holds what the source holds.

use std::path::Path;

use kiln_disk_formats::{
    Compression, ConvertOptions, DiskAdapter, Format, NoProgress, OpenPolicy, Output, OutputKind, Qcow2Method,
    Qcow2Options, VhdVariant, VmdkOptions, VmdkSubformat, convert, create_overlay, create_qcow2, create_raw, open,
    resize,
};

use crate::qemu_img::{self, assert_clean, assert_same, text};
use crate::sample::{Bench, digest, raw_disk};

const SIZES: [u64; 5] = [512, 65536, 100 * 1024 + 512, 5 << 20, (70 << 20) + 1536];

#[test]
fn raw_outputs_are_equal_to_their_source() {
    if !qemu_img::present() {
        return;
    }
    for size in SIZES {
        let bench = Bench::new(size, 12, size);
        let (path, report) = bench.convert("out.raw", OutputKind::Raw);
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&bench.raw).unwrap());
        assert_same("raw", &bench.raw, "raw", &path);
        assert_eq!(report.files[0].size, size);
    }
}

#[test]
fn qcow2_outputs_are_clean_and_equal_with_every_cluster_size() {
    if !qemu_img::present() {
        return;
    }
    for (index, cluster_size) in [512, 4096, 65536, 1 << 20, 2 << 20].into_iter().enumerate() {
        for compression in [None, Some(Compression::Default), Some(Compression::Fast)] {
            let size = SIZES[(index + 2) % SIZES.len()].max(1 << 20);
            let bench = Bench::new(size, 40, size + index as u64);
            for method in [Qcow2Method::Zlib, Qcow2Method::Zstd] {
                let options = Qcow2Options { compression, method, cluster_size };
                let (path, _) = bench.convert(&format!("{method:?}.qcow2"), OutputKind::Qcow2(options));
                assert_clean("qcow2", &path);
                assert_same("raw", &bench.raw, "qcow2", &path);
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
fn compressed_qcow2_counts_references_over_many_blocks() {
    if !qemu_img::present() {
        return;
    }
    // 512 byte clusters: a reference count block covers 128 KiB of the file.
    let bench = Bench::new(8 << 20, 60, 99);
    for compression in [None, Some(Compression::Default)] {
        let name = format!("{compression:?}.qcow2");
        let (path, _) = bench.convert(
            &name,
            OutputKind::Qcow2(Qcow2Options { compression, cluster_size: 512, ..Qcow2Options::default() }),
        );
        assert_clean("qcow2", &path);
        assert_same("raw", &bench.raw, "qcow2", &path);
    }
}

#[test]
fn vmdk_outputs_are_clean_and_equal() {
    if !qemu_img::present() {
        return;
    }
    for size in SIZES {
        let bench = Bench::new(size, 20, size);
        let kinds = [
            OutputKind::vmdk_stream_optimized(DiskAdapter::LsiLogic),
            OutputKind::vmdk_monolithic_sparse(DiskAdapter::Ide),
        ];
        for (index, kind) in kinds.into_iter().enumerate() {
            let (path, _) = bench.convert(&format!("{index}.vmdk"), kind);
            assert_clean("vmdk", &path);
            assert_same("raw", &bench.raw, "vmdk", &path);
        }
    }
}

#[test]
fn every_vmdk_has_the_adapter_and_hardware_version_asked_for() {
    let bench = Bench::new(1 << 20, 3, 5);
    for subformat in VmdkSubformat::ALL {
        let adapter = DiskAdapter::BusLogic;
        let options = VmdkOptions { subformat, adapter, hardware_version: Some(17), ..VmdkOptions::default() };
        let (path, _) = bench.convert(&format!("{subformat}.vmdk"), OutputKind::Vmdk(options));
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(11 << 10)]);
        for line in ["ddb.virtualHWVersion = \"17\"\n", "ddb.adapterType = \"buslogic\"\n"] {
            assert!(text.contains(line), "{subformat}: {text}");
        }
        if qemu_img::present() {
            assert_same("raw", &bench.raw, "vmdk", &path);
        }
    }
}

#[test]
fn vmdks_of_several_files_are_equal() {
    if !qemu_img::present() {
        return;
    }
    let kind = |subformat| OutputKind::Vmdk(VmdkOptions { subformat, ..VmdkOptions::default() });
    let shapes = [
        VmdkSubformat::MonolithicFlat,
        VmdkSubformat::TwoGbMaxExtentSparse,
        VmdkSubformat::TwoGbMaxExtentFlat,
        VmdkSubformat::VmfsFlat,
    ];
    // The larger disk needs three files.
    for size in [1 << 20, 5 << 30] {
        let bench = Bench::new(size, 20, size);
        for shape in shapes {
            let name = format!("{shape}.vmdk");
            let options = ConvertOptions::without_digests();
            let outputs = [Output::new(bench.path(&name), kind(shape))];
            let report = convert(&*bench.reader(), &outputs, &options, &NoProgress).unwrap();
            let split = matches!(shape, VmdkSubformat::TwoGbMaxExtentSparse | VmdkSubformat::TwoGbMaxExtentFlat);
            assert_eq!(report.files.len(), if split && size > 1 << 30 { 4 } else { 2 }, "{shape}");
            assert_same("raw", &bench.raw, "vmdk", &bench.path(&name));
        }
    }
}

#[test]
fn vdi_vhd_and_vhdx_outputs_are_clean_and_equal() {
    if !qemu_img::present() {
        return;
    }
    for size in SIZES {
        let bench = Bench::new(size, 20, size);
        let (vdi, _) = bench.convert("a.vdi", OutputKind::Vdi);
        assert_clean("vdi", &vdi);
        assert_same("raw", &bench.raw, "vdi", &vdi);
        let (dynamic, _) = bench.convert("a.vhd", OutputKind::Vhd(VhdVariant::Dynamic));
        assert_same("raw", &bench.raw, "vpc", &dynamic);
        let (fixed, _) = bench.convert("b.vhd", OutputKind::Vhd(VhdVariant::Fixed));
        assert_same("raw", &bench.raw, "vpc", &fixed);
        let (vhdx, _) = bench.convert("a.vhdx", OutputKind::Vhdx);
        assert_clean("vhdx", &vhdx);
        assert_same("raw", &bench.raw, "vhdx", &vhdx);
    }
}

#[test]
fn a_vmdk_names_its_adapter_and_subformat() {
    if !qemu_img::present() {
        return;
    }
    let bench = Bench::new(1 << 20, 3, 1);
    let (path, _) = bench.convert("a.vmdk", OutputKind::vmdk_stream_optimized(DiskAdapter::LsiLogic));
    let info = qemu_img::ok(&["info", "--output=json", text(&path)]);
    assert!(info.contains("streamOptimized"), "{info}");
    let bytes = std::fs::read(&path).unwrap();
    let descriptor = String::from_utf8_lossy(&bytes[512..2048]).into_owned();
    assert!(descriptor.contains("ddb.adapterType = \"lsilogic\""), "{descriptor}");
}

#[test]
fn empty_images_are_clean() {
    if !qemu_img::present() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for size in [0, 512, 1 << 30, 2 << 40] {
        let qcow2 = directory.path().join(format!("{size}.qcow2"));
        create_qcow2(&qcow2, size).unwrap();
        assert_clean("qcow2", &qcow2);
        let raw = directory.path().join(format!("{size}.raw"));
        create_raw(&raw, size).unwrap();
        assert_eq!(raw.metadata().unwrap().len(), size);
        let info = qemu_img::ok(&["info", "--output=json", text(&qcow2)]);
        assert!(info.contains(&format!("\"virtual-size\": {size}")), "{info}");
    }
}

#[test]
fn overlays_read_their_backing_disk_here_and_in_qemu() {
    if !qemu_img::present() {
        return;
    }
    let bench = Bench::new(3 << 20, 10, 5);
    let base = bench.convert("base.qcow2", OutputKind::qcow2()).0;
    let overlay = bench.path("overlay.qcow2");
    create_overlay(&overlay, &base, Format::Qcow2, Some(5 << 20)).unwrap();
    assert_clean("qcow2", &overlay);
    write_with_qemu(&overlay);

    let larger = bench.path("larger.raw");
    std::fs::copy(&bench.raw, &larger).unwrap();
    resize(&larger, Format::Raw, 5 << 20).unwrap();
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().write(true).open(&larger).unwrap();
    file.write_all_at(&[0x5a; 70_000], 200_000).unwrap();

    assert_same("raw", &larger, "qcow2", &overlay);
    let ours =
        open(&overlay, Some(Format::Qcow2), &OpenPolicy::allow_below(vec![bench.directory.path().into()])).unwrap();
    let raw = open(&larger, Some(Format::Raw), &OpenPolicy::deny()).unwrap();
    assert_eq!(digest(&*ours), digest(&*raw));
    assert_eq!(ours.info().files.len(), 2);
}

fn write_with_qemu(path: &Path) {
    let status = std::process::Command::new("qemu-io")
        .args(["-f", "qcow2", "-c", "write -P 0x5a 200000 70000", text(path)])
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
}

#[test]
fn resized_qcow2_images_are_clean_and_keep_their_content() {
    if !qemu_img::present() {
        return;
    }
    let bench = Bench::new(3 << 20, 10, 6);
    let ours = bench.convert("ours.qcow2", OutputKind::qcow2()).0;
    let theirs = bench.path("theirs.qcow2");
    qemu_img::ok(&["convert", "-f", "raw", "-O", "qcow2", text(&bench.raw), text(&theirs)]);
    resize(&bench.raw, Format::Raw, 900 << 30).unwrap();
    for path in [ours, theirs] {
        resize(&path, Format::Qcow2, 900 << 30).unwrap();
        assert_clean("qcow2", &path);
        assert_same("raw", &bench.raw, "qcow2", &path);
        assert!(resize(&path, Format::Qcow2, 1 << 20).is_err());
    }
}

#[test]
fn qcow2_images_grow_over_their_l1_table() {
    if !qemu_img::present() {
        return;
    }
    let bench = Bench::new(3 << 20, 10, 6);
    let options = [
        "cluster_size=512",
        "cluster_size=512,refcount_bits=1",
        "cluster_size=512,refcount_bits=64",
        "cluster_size=1k,refcount_bits=2",
        "cluster_size=4k,refcount_bits=8",
        "cluster_size=4k,compat=0.10",
        "cluster_size=16k,extended_l2=on",
    ];
    let mut images = Vec::new();
    for (index, options) in options.iter().enumerate() {
        let path = bench.path(&format!("theirs{index}.qcow2"));
        qemu_img::ok(&["convert", "-f", "raw", "-O", "qcow2", "-o", options, text(&bench.raw), text(&path)]);
        images.push(path);
    }
    for cluster_size in [512, 4096] {
        for compression in [None, Some(Compression::Fast)] {
            let name = format!("ours{cluster_size}{compression:?}.qcow2");
            let options = Qcow2Options { cluster_size, compression, ..Qcow2Options::default() };
            images.push(bench.convert(&name, OutputKind::Qcow2(options)).0);
        }
    }
    // The first step needs some clusters, the last one a larger reference count table too where clusters are small.
    for size in [40 << 20, 3 << 30, 60 << 30] {
        resize(&bench.raw, Format::Raw, size).unwrap();
        for path in &images {
            resize(path, Format::Qcow2, size).unwrap();
            assert_clean("qcow2", path);
            assert_same("raw", &bench.raw, "qcow2", path);
        }
    }
    let before = std::fs::read(&images[0]).unwrap();
    let error = resize(&images[0], Format::Qcow2, 1 << 50).unwrap_err();
    assert_eq!(error.kind(), kiln_disk_formats::ErrorKind::TooLarge, "{error}");
    assert!(std::fs::read(&images[0]).unwrap() == before);
}

#[test]
fn qemu_sees_the_holes() {
    if !qemu_img::present() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let raw = directory.path().join("a.raw");
    raw_disk(&raw, 64 << 20, 0, 0);
    use std::os::unix::fs::FileExt;
    std::fs::OpenOptions::new().write(true).open(&raw).unwrap().write_all_at(&[1; 65536], 32 << 20).unwrap();
    let bench = Bench { raw, directory };
    let (path, _) = bench.convert("a.qcow2", OutputKind::qcow2());
    assert!(path.metadata().unwrap().len() < 1 << 20);
    let map = qemu_img::ok(&["map", "--output=json", "-f", "qcow2", text(&path)]);
    assert_eq!(map.matches("\"data\": true").count(), 1, "{map}");
    assert!(map.contains("\"start\": 33554432, \"length\": 65536"), "{map}");
}

/// QEMU sees whole sectors only, so the end of a disk that is none must not be lost with the last one.
#[test]
fn disks_that_end_within_a_sector_keep_their_end() {
    if !qemu_img::present() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for size in [5, 700, 1_000_001] {
        let (raw, image) = (dir.path().join("a.raw"), dir.path().join(format!("{size}.qcow2")));
        std::fs::write(&raw, vec![b'x'; size]).unwrap();
        let reader = open(&raw, Some(Format::Raw), &OpenPolicy::deny()).unwrap();
        convert(&*reader, &[Output::new(&image, OutputKind::qcow2())], &ConvertOptions::default(), &NoProgress)
            .unwrap();
        assert_clean("qcow2", &image);
        assert_same("raw", &raw, "qcow2", &image);
    }
}
