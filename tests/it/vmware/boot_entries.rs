//! What a UEFI guest of QEMU's notes for its next start is in the packages for VMware and VirtualBox that are made of it.

use std::path::Path;
use std::process::Command;

use kiln_tests::tool;

use super::Lab;
use crate::guest_disks::{firmware, gpt_disk, succeed};

const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// What the shell runs: an entry as installers make them, by the partition.
const SCRIPT: &str = "bcfg boot addp 0 fs0:\\EFI\\kiln\\kiln.efi installed\r\nreset -s\r\n";

const TEMPLATE: &str = r#"
source "qemu" "guest" {
  iso_url          = "disk.img"
  iso_checksum     = "none"
  disk_image       = true
  skip_resize_disk = true
  accelerator      = "tcg"
  communicator     = "none"
  headless         = true
  format           = "raw"
  memory           = 256
  shutdown_timeout = "4m"
  net_device       = "tulip"
  efi_boot         = true
  output_directory = "out"
  vm_name          = "guest"
}
build {
  sources = ["qemu.guest"]
  post-processor "export" {
    formats = ["vmx", "ovf"]
  }
  post-processor "vagrant" {
    provider_override = "vmware"
    output            = "guest.box"
  }
}
"#;

/// On the stand-in, which keeps the NVRAM of the machine's file and starts with one of its own.
const IMPORT: &str = r#"
source "vmware-vmx" "imported" {
  source_path      = "out/guest.ovf"
  communicator     = "none"
  headless         = true
  shutdown_timeout = "4m"
  output_directory = "imported"
  vm_name          = "imported"
  format           = "ovf"
}
build {
  sources = ["source.vmware-vmx.imported"]
}
"#;

fn holds(file: &Path, text: &str) -> bool {
    let text: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::read(file).unwrap().windows(text.len()).any(|window| window == text)
}

#[test]
fn the_boot_entry_of_a_qemu_guest_is_in_its_packages() {
    let tools = ["sfdisk", "mformat", "mmd", "mcopy", "tar", "qemu-system-x86_64"];
    if !tools.iter().all(|name| tool(name)) || !firmware(CODE) {
        return;
    }
    let Some(lab) = Lab::new() else { return };
    let home = &lab.home;
    // Nobody starts the program, but the shell notes only what is there.
    let script = SCRIPT.as_bytes();
    gpt_disk(home, "disk.img", &[("startup.nsh", script), ("EFI/kiln/kiln.efi", script)]);
    home.write("guest.pkr.hcl", TEMPLATE);
    let ran = home.kiln(["build", "-color=false", "guest.pkr.hcl"]).expect(0);
    assert!(!ran.stdout.contains("UEFI variables are not in it"), "{}", ran.stdout);
    let out = home.work("out");
    let vmx = std::fs::read_to_string(out.join("guest.vmx")).unwrap();
    assert!(vmx.contains("nvram = \"guest-vmx.nvram\"") && vmx.contains("firmware = \"efi\""), "{vmx}");
    let ovf = std::fs::read_to_string(out.join("guest.ovf")).unwrap();
    assert!(ovf.contains("guest-vmware.nvram") && ovf.contains("guest-virtualbox.nvram"), "{ovf}");
    succeed(Command::new("tar").arg("-C").arg(home.work(".")).arg("-xf").arg(home.work("guest.box")));
    let boxed = home.work("box-vmx.nvram");
    for file in ["guest-vmx.nvram", "guest-vmware.nvram", "guest-virtualbox.nvram"].map(|name| out.join(name)) {
        assert!(holds(&file, "\\EFI\\kiln\\kiln.efi") && holds(&file, "BootOrder"), "{}", file.display());
        assert!(!holds(&file, "UiApp"), "{} has the firmware's own entries", file.display());
    }
    assert_eq!(std::fs::read(boxed).unwrap(), std::fs::read(out.join("guest-vmx.nvram")).unwrap());
    lab.assert_clean();
    a_package_with_it_becomes_a_machine(&lab);
}

/// The machine has the entry, and so has what is exported of it; each has a file of its own.
fn a_package_with_it_becomes_a_machine(lab: &Lab) {
    let _turn = Lab::turn();
    lab.home.write("import.pkr.hcl", IMPORT);
    lab.start(&["build", "-color=false", "import.pkr.hcl"]).wait().expect(0);
    let out = lab.home.work("imported");
    let vmx = std::fs::read_to_string(out.join("imported.vmx")).unwrap();
    assert!(vmx.contains("nvram = \"imported.nvram\""), "{vmx}");
    for file in ["imported.nvram", "imported-ovf.nvram", "imported-ovf-virtualbox.nvram"].map(|name| out.join(name)) {
        assert!(holds(&file, "\\EFI\\kiln\\kiln.efi") && holds(&file, "BootOrder"), "{}", file.display());
    }
    lab.assert_clean();
}
