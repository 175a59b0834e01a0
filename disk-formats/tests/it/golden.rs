//! The exact bytes of tiny images. A change here changes what users' checksums see: it must be meant.
//!
//! `KILN_BLESS=1 cargo test -p kiln-disk-formats --test it golden` writes the files anew.

use std::fmt::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use kiln_disk_formats::package::{MachineDescription, MachineNic};
use kiln_disk_formats::{DiskAdapter, OutputKind, Qcow2Options, VhdVariant};

use crate::sample::Bench;

/// Writes every 16 bytes that are not all zero as a line with their offset.
fn dump(bytes: &[u8]) -> String {
    let mut text = format!("{} bytes\n", bytes.len());
    for (index, row) in bytes.chunks(16).enumerate().filter(|(_, row)| row.iter().any(|byte| *byte != 0)) {
        write!(text, "{:08x} ", index * 16).unwrap();
        row.iter().for_each(|byte| write!(text, " {byte:02x}").unwrap());
        text.push('\n');
    }
    text
}

#[test]
fn tiny_images_have_these_bytes() {
    let bench = Bench::new(256 * 1024, 0, 0);
    let raw = std::fs::OpenOptions::new().write(true).open(&bench.raw).unwrap();
    raw.write_all_at(b"kiln golden image", 0).unwrap();
    raw.write_all_at(b"another chunk", 150_000).unwrap();
    let machine = MachineDescription {
        name: "golden".to_owned(),
        nics: vec![MachineNic::default()],
        ..MachineDescription::default()
    };
    let qcow2 = Qcow2Options { cluster_size: 4096, ..Qcow2Options::default() };
    let kinds = [
        ("plain.qcow2", OutputKind::Qcow2(qcow2)),
        ("compressed.qcow2", OutputKind::qcow2_compressed()),
        ("stream.vmdk", OutputKind::vmdk_stream_optimized(DiskAdapter::LsiLogic)),
        ("sparse.vmdk", OutputKind::vmdk_monolithic_sparse(DiskAdapter::Ide)),
        ("dynamic.vdi", OutputKind::Vdi),
        ("dynamic.vhd", OutputKind::Vhd(VhdVariant::Dynamic)),
        ("dynamic.vhdx", OutputKind::Vhdx),
        ("golden.ova", OutputKind::ova(machine.clone())),
        ("golden.vmx", OutputKind::vmx(machine)),
    ];
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (name, kind) in kinds {
        let (path, _) = bench.convert(name, kind);
        let found = dump(&std::fs::read(path).unwrap());
        let golden = directory.join(format!("{name}.hex"));
        if std::env::var_os("KILN_BLESS").is_some() {
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(&golden, &found).unwrap();
        }
        assert!(std::fs::read_to_string(&golden).unwrap() == found, "{name} differs from its golden bytes");
    }
}
