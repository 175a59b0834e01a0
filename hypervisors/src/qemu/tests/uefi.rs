//! What UEFI boots from, told by its own words on the serial port.

use std::path::Path;

use super::*;
use crate::qemu::testing::missing_file;
use crate::spec::Firmware;

const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// What the firmware says of the first two places that it has tried.
async fn tried(host: &Host, interface: DiskInterface, arguments: &[&str]) -> Vec<String> {
    let mut spec = host.spec(Guest::Echo);
    // Nothing to boot: neither on the disk, nor on the CD.
    let (vars, cd) = (host.directory().join("vars.fd"), host.directory().join("cd.iso"));
    for (path, bytes) in [(&spec.disks[0].path, 1 << 20), (&cd, 1 << 20)] {
        std::fs::write(path, vec![0; bytes]).unwrap();
    }
    std::fs::copy(VARS, &vars).unwrap();
    spec.disks[0].interface = interface;
    spec.cdroms.push(CdromSpec { path: cd, interface: None });
    spec.firmware = Firmware::Efi { code: CODE.into(), vars };
    spec.memory_mib = 128;
    spec.network.device = Some("virtio-net".to_owned());
    qemu(&mut spec).machine_type = Some("q35".to_owned());
    qemu(&mut spec).arguments = vec![arguments.iter().map(|&word| word.to_owned()).collect()];
    let machine = host.start(&spec).await;
    machine.resume().await.unwrap();
    let both = async {
        loop {
            let told = String::from_utf8_lossy(&machine.serial_tail(1 << 14)).into_owned();
            let lines: Vec<String> =
                told.lines().filter(|line| line.contains("failed to load")).map(ToOwned::to_owned).collect();
            if lines.len() >= 2 {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let lines = tokio::time::timeout(PATIENCE * 5, both).await.expect("the firmware tries both");
    machine.kill().await;
    assert!(!host.anything_left());
    lines
}

#[tokio::test]
async fn uefi_tries_the_disk_before_the_cd() {
    if missing(QEMU) || missing_file(Path::new(CODE)) {
        return;
    }
    let host = Host::new();
    let lines = tried(&host, DiskInterface::Virtio, &[]).await;
    assert!(!lines[0].contains("DVD-ROM") && lines[1].contains("DVD-ROM"), "{lines:#?}");
    // The template's own order is heard.
    let lines = tried(&host, DiskInterface::Virtio, &["-boot", "menu=off"]).await;
    assert!(lines[0].contains("DVD-ROM"), "{lines:#?}");
}
