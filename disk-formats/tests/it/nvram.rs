//! A UEFI machine's boot entries go from QEMU's firmware to VMware's and VirtualBox's stores, and OVMF judges what arrives: it starts what they
//! name, of a disk that it would not start by itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_disk_formats::package::{Firmware, MachineDescription, MachineDisk, Nvram, NvramMaker, PackagedMachine};
use kiln_disk_formats::{
    ConvertOptions, NoProgress, OpenPolicy, Output, OutputKind, convert_disks, create_raw, open, packaged_machine,
};

use crate::judges::Judges;
use crate::qemu_img::present_tool;
use crate::sample::Bench;

const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
const WITH_KEYS: &str = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd";
/// In the shell: one entry with its whole path, which is the first, and one as installers make them, which is its short form.
const SCRIPT: &[u8] = b"bcfg boot add 0 fs0:\\EFI\\one\\one.efi \"by hand\"\r\n\
bcfg boot addp 1 fs0:\\EFI\\two\\two.efi \"installed\"\r\nreset -s\r\n";
const ELSEWHERE: &str = "virtio-blk-pci,drive=disk";
/// With what a machine's end is told by a program, as QEMU's exit code.
const ENDED_BY_FIRST: i32 = 3;
const ENDED_BY_SECOND: i32 = 5;

#[track_caller]
fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A UEFI program for PCs that ends the machine with a number.
fn program(number: u8) -> Vec<u8> {
    let mut image = vec![0_u8; 0x400];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &0x40_u32.to_le_bytes());
    // COFF: x86-64, one section, an optional header of 0xf0 bytes.
    put(0x40, b"PE\0\0\x64\x86\x01\0");
    put(0x54, &[0xf0, 0, 0x22, 0]);
    // PE32+: entry and code at 0x1000, pages of 0x1000, file blocks of 0x200, two pages in all, a UEFI application.
    let header = 0x58;
    put(header, &0x20b_u16.to_le_bytes());
    for (at, value) in
        [(4, 0x200_u32), (16, 0x1000), (20, 0x1000), (32, 0x1000), (36, 0x200), (56, 0x2000), (60, 0x200)]
    {
        put(header + at, &value.to_le_bytes());
    }
    put(header + 68, &10_u16.to_le_bytes());
    put(header + 108, &16_u32.to_le_bytes());
    let section = header + 0xf0;
    put(section, b".text");
    for (at, value) in [(8, 0x200_u32), (12, 0x1000), (16, 0x200), (20, 0x200), (36, 0x6000_0020)] {
        put(section + at, &value.to_le_bytes());
    }
    // mov dx, 0xf4; mov al, number; out dx, al; hlt; back to it.
    put(0x200, &[0x66, 0xba, 0xf4, 0x00, 0xb0, number, 0xee, 0xf4, 0xeb, 0xfd]);
    image
}

/// A disk with two programs, neither of which is where firmware looks by itself, and a script for the shell.
fn disk_with_two_loaders(directory: &Path) -> PathBuf {
    let disk = directory.join("disk.img");
    create_raw(&disk, 48 << 20).unwrap();
    let table = directory.join("table");
    std::fs::write(&table, "label: gpt\nstart=2048, size=90112, type=U\n").unwrap();
    succeed(Command::new("sfdisk").arg("--quiet").arg(&disk).stdin(std::fs::File::open(&table).unwrap()));
    let system = format!("{}@@1M", disk.display());
    succeed(Command::new("mformat").args(["-T", "90112", "-i", &system, "::"]));
    succeed(Command::new("mmd").args(["-i", &system, "::/EFI", "::/EFI/one", "::/EFI/two"]));
    for (path, bytes) in
        [("EFI/one/one.efi", &program(1)[..]), ("EFI/two/two.efi", &program(2)), ("startup.nsh", SCRIPT)]
    {
        let file = directory.join("file");
        std::fs::write(&file, bytes).unwrap();
        succeed(Command::new("mcopy").args(["-i", &system]).arg(&file).arg(format!("::/{path}")));
    }
    disk
}

/// Starts the disk as this device, with a copy of these variables; returns QEMU's exit code and the variables afterwards.
fn boot(directory: &Path, disk: &Path, device: &str, variables: &[u8]) -> (Option<i32>, Vec<u8>) {
    let kept = directory.join("efivars.fd");
    std::fs::write(&kept, variables).unwrap();
    let mut qemu = Command::new("timeout");
    qemu.args([
        "300",
        "qemu-system-x86_64",
        "-accel",
        "tcg",
        "-m",
        "256",
        "-display",
        "none",
        "-nodefaults",
        "-no-reboot",
    ]);
    qemu.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-device", device]);
    qemu.arg("-drive").arg(format!("file={},if=none,id=disk,format=raw", disk.display()));
    qemu.arg("-drive").arg(format!("file={CODE},if=pflash,unit=0,format=raw,readonly=on"));
    qemu.arg("-drive").arg(format!("file={},if=pflash,unit=1,format=raw", kept.display()));
    let output = qemu.output().unwrap();
    (output.status.code(), std::fs::read(&kept).unwrap())
}

fn machine(name: &str, nvram: Nvram) -> MachineDescription {
    MachineDescription {
        name: name.to_owned(),
        firmware: Firmware::Uefi { secure_boot: false },
        nvram: Some(nvram),
        disks: vec![MachineDisk::default()],
        ..MachineDescription::default()
    }
}

/// Writes a package of the disk and reads its machine.
fn packaged(disk: &Path, path: &Path, kind: OutputKind) -> PackagedMachine {
    let policy = OpenPolicy::allow_below(vec![path.parent().unwrap().to_owned()]);
    let reader = open(disk, Some(kiln_disk_formats::Format::Raw), &policy).unwrap();
    convert_disks(&[&*reader], &[Output::new(path, kind)], &ConvertOptions::default(), &NoProgress).unwrap();
    packaged_machine(path, &policy).unwrap().unwrap()
}

#[test]
fn an_entry_of_ovmfs_goes_through_vmwares_store_and_back_and_is_started() {
    let tools = ["sfdisk", "mformat", "mmd", "mcopy", "mdel", "timeout", "qemu-system-x86_64"];
    if !tools.iter().all(|tool| present_tool(tool, "--version")) || !present_tool("cat", CODE) {
        return;
    }
    let bench = Bench::new(1 << 20, 2, 1);
    let directory = bench.directory.path();
    let disk = disk_with_two_loaders(directory);
    let (ended, efivars) = boot(directory, &disk, "ide-hd,drive=disk", &std::fs::read(VARIABLES).unwrap());
    assert_eq!(ended, Some(0), "the shell has switched the machine off");
    succeed(Command::new("mdel").args(["-i", &format!("{}@@1M", disk.display()), "::/startup.nsh"]));
    // Where it was made, the first entry is the first; elsewhere in another machine its path leads nowhere.
    assert_eq!(boot(directory, &disk, "ide-hd,drive=disk", &efivars).0, Some(ENDED_BY_FIRST));
    assert_eq!(boot(directory, &disk, ELSEWHERE, &efivars).0, Some(ENDED_BY_SECOND));

    let of_qemu = Nvram { maker: NvramMaker::Qemu, bytes: efivars.into(), file: None };
    let found = packaged(&disk, &bench.path("a.vmx"), OutputKind::vmx(machine("a", of_qemu.clone())));
    let of_vmware = found.description.nvram.unwrap();
    assert_eq!((of_vmware.maker, found.left_out.len()), (NvramMaker::VMware, 0), "{:?}", found.left_out);
    let found = packaged(&disk, &bench.path("b.ovf"), OutputKind::ovf(machine("b", of_vmware.clone())));
    assert_eq!((found.description.nvram, found.left_out.len()), (Some(of_vmware), 0), "{:?}", found.left_out);
    let of_virtualbox = std::fs::read(bench.path("b-virtualbox.nvram")).unwrap();
    // Shortened on its way, it leads to its partition there, too.
    assert_eq!(boot(directory, &disk, ELSEWHERE, &of_virtualbox).0, Some(ENDED_BY_FIRST));

    // A package of the same machine has a file for each importer.
    let found = packaged(&disk, &bench.path("c.ova"), OutputKind::ova(machine("c", of_qemu)));
    assert_eq!(found.nvram, Some((NvramMaker::VirtualBox, "c-virtualbox.nvram".to_owned())));
    assert_eq!(found.left_out, Vec::<String>::new());
    let Some(judges) = Judges::present() else { return };
    let told = judges.run(
        &bench,
        "mkdir parts; tar -xf c.ova -C parts; (cd parts; sha256sum -c c.mf)\n\
         VBoxManage import c.ova --vsys 0 --basefolder /judged/vms\nVBoxManage modifynvram c listvars\n\
         VBoxManage modifynvram c queryvar --name BootOrder --filename order",
    );
    assert!(told.contains("BootOrder") && told.contains("Boot000"), "{told}");
    assert_eq!(std::fs::read(bench.path("order")).unwrap().len(), 4, "{told}");
    assert!(std::fs::read(bench.path("vms/c/c.nvram")).unwrap() == of_virtualbox, "VirtualBox has taken its own");
}

/// A machine that starts only what is signed goes on doing so under VirtualBox.
#[test]
fn the_keys_of_ovmfs_are_virtualboxs() {
    if !present_tool("cat", WITH_KEYS) {
        return;
    }
    let bench = Bench::new(1 << 20, 2, 1);
    let bytes = std::fs::read(WITH_KEYS).unwrap();
    let nvram = Nvram { maker: NvramMaker::Qemu, bytes: bytes.clone().into(), file: None };
    let firmware = Firmware::Uefi { secure_boot: true };
    let machine = MachineDescription { firmware, ..machine("k", nvram) };
    let found = packaged(&bench.raw, &bench.path("k.ova"), OutputKind::ova(machine));
    assert_eq!(found.nvram, Some((NvramMaker::VirtualBox, "k-virtualbox.nvram".to_owned())), "and none for VMware");
    assert_eq!(found.description.firmware, firmware);
    let Some(judges) = Judges::present() else { return };
    let query = |name: &str| format!("VBoxManage modifynvram k queryvar --name {name} --filename {name}\n");
    judges.run(
        &bench,
        &format!(
            "VBoxManage import k.ova --vsys 0 --basefolder /judged/vms\n{}",
            ["PK", "KEK", "db"].map(query).concat()
        ),
    );
    for name in ["PK", "KEK", "db"] {
        let key = std::fs::read(bench.path(name)).unwrap();
        assert!(key.len() > 1000 && bytes.windows(key.len()).any(|window| window == key), "{name} is another");
    }
}
