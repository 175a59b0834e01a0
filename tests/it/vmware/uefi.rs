//! A UEFI guest is installed, with the options that only the machine's file shows.

use std::process::Command;

use kiln_tests::tool;

use super::Lab;
use crate::guest_disks::{firmware, succeed};

const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";

/// Switches the machine off. The shell finds it on the disc, for there is nothing to boot.
const SCRIPT: &str = "reset -s\r\n";

/// What differs between the two machines, and what their file then says.
const MACHINES: [(&str, &str, &[&str]); 2] = [
    (
        "new",
        "disk_type_id = \"0\"\nusb_version = \"3.2\"\nvnc_disable_password = true\ndisk_adapter_type = \"lsisas1068\"",
        &["scsi0.virtualDev = \"lsisas1068\"", "usb.present = \"TRUE\"", "usb_xhci.present = \"TRUE\""],
    ),
    (
        "old",
        "disk_type_id = \"3\"\nusb_version = \"2.0\"\ndisk_adapter_type = \"buslogic\"",
        &["scsi0.virtualDev = \"buslogic\"", "usb.present = \"TRUE\"", "ehci.present = \"TRUE\""],
    ),
];

/// Makes a disc whose boot image for UEFI is a FAT file system with the script.
fn disc(lab: &Lab) {
    let (tree, script) = (lab.home.work("tree"), lab.home.work("startup.nsh"));
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(&script, SCRIPT).unwrap();
    let image = tree.join("efi.img");
    succeed(Command::new("mformat").args(["-C", "-f", "1440", "-i"]).arg(&image).arg("::"));
    succeed(Command::new("mcopy").arg("-i").arg(&image).arg(&script).arg("::/"));
    let mut xorriso = Command::new("xorriso");
    xorriso.args(["-as", "mkisofs", "-quiet", "-e", "efi.img", "-no-emul-boot", "-o"]);
    succeed(xorriso.arg(lab.home.work("uefi.iso")).arg(&tree));
}

fn template(name: &str, options: &str) -> String {
    format!(
        r#"
source "vmware-iso" "{name}" {{
  iso_url          = "uefi.iso"
  iso_checksum     = "none"
  memory           = 256
  disk_size        = 32
  firmware         = "efi"
  usb              = true
  headless         = true
  communicator     = "none"
  shutdown_timeout = "4m"
  skip_compaction  = true
  output_directory = "{name}"
  vm_name          = "{name}"
  {options}
}}
build {{
  sources = ["source.vmware-iso.{name}"]
}}
"#
    )
}

#[test]
fn uefi_guests_are_installed_with_every_kind_of_disk_and_usb() {
    let Some(lab) = Lab::new() else { return };
    if !["mformat", "mcopy", "xorriso"].iter().all(|name| tool(name)) || !firmware(CODE) {
        return;
    }
    disc(&lab);
    let _turn = Lab::turn();
    for (name, options, lines) in MACHINES {
        let file = format!("{name}.pkr.hcl");
        lab.home.write(&file, &template(name, options));
        let ran = lab.start(&["build", "-color=false", &file]).wait().expect(0);
        let has_password = ran.stdout.contains(", with the password in /");
        assert_eq!(has_password, !options.contains("vnc_disable_password"), "{}", ran.stdout);
        let vmx = std::fs::read_to_string(lab.home.work(name).join(format!("{name}.vmx"))).unwrap();
        for line in lines.iter().chain(&["firmware = \"efi\""]) {
            assert!(vmx.lines().any(|found| found == *line), "no {line} in\n{vmx}");
        }
        assert_eq!(vmx.contains("usb_xhci"), name == "new", "{vmx}");
        let info = succeed(Command::new("qemu-img").arg("info").arg(lab.home.work(name).join("disk.vmdk")));
        let kind = if name == "new" { "create type: monolithicSparse" } else { "create type: twoGbMaxExtentFlat" };
        assert!(info.contains(kind), "no {kind} in {info}");
        lab.assert_clean();
    }
}
