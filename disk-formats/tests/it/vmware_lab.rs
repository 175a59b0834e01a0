//! A VMX bundle starts: with the stand-in for VMware's tools that lies beside the repository (`KILN_VMWARE_LAB`, else
//! `../shared/lab/vmware`), which runs the VMX's hardware in QEMU.

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use kiln_disk_formats::OutputKind;
use kiln_disk_formats::package::{DiskController, MachineDescription, MachineDisk, MachineNic, NicModel};

use crate::qemu_img;
use crate::sample::Bench;

/// Sector of the text that the guest reads and prints: far into the disk.
const TEXT_SECTOR: u64 = 90_000;
const TEXT: &[u8] = b"the guest runs from its disk\n";

/// A boot sector: reads [`TEXT_SECTOR`] to 0x8000 with the BIOS (INT 13h, AH=42h) and writes the text there to the serial port.
fn boot_sector() -> [u8; 512] {
    let code = [
        0x31, 0xc0, // xor ax, ax
        0x8e, 0xd8, // mov ds, ax
        0x8e, 0xd0, // mov ss, ax
        0xbc, 0x00, 0x7c, // mov sp, 0x7c00
        0xbe, 0x40, 0x7c, // mov si, 0x7c40: the address packet
        0xb4, 0x42, // mov ah, 0x42
        0xcd, 0x13, // int 0x13
        0xbe, 0x00, 0x80, // mov si, 0x8000
        0xfc, // cld
        0xba, 0xfd, 0x03, // next: mov dx, 0x3fd
        0xec, // wait: in al, dx
        0xa8, 0x20, // test al, 0x20
        0x74, 0xfb, // jz wait
        0xac, // lodsb
        0x84, 0xc0, // test al, al
        0x74, 0x06, // jz done
        0xba, 0xf8, 0x03, // mov dx, 0x3f8
        0xee, // out dx, al
        0xeb, 0xed, // jmp next
        0xf4, // done: hlt
        0xeb, 0xfd, // jmp done
    ];
    let mut sector = [0; 512];
    sector[..code.len()].copy_from_slice(&code);
    // One sector to 0000:8000.
    sector[0x40..0x48].copy_from_slice(&[0x10, 0, 1, 0, 0x00, 0x80, 0, 0]);
    sector[0x48..0x50].copy_from_slice(&TEXT_SECTOR.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

struct Lab {
    tools: PathBuf,
    state: tempfile::TempDir,
}

impl Lab {
    fn present() -> Option<Self> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/lab/vmware");
        let tools = std::env::var_os("KILN_VMWARE_LAB").map_or(beside, PathBuf::from).join("bin");
        if !tools.join("vmrun").is_file() {
            // Not part of the project: its tests must pass without it wherever they run.
            eprintln!("ignored: needs VMware's tools or their stand-in {}", tools.display());
            return None;
        }
        let present = ["python3", "qemu-system-x86_64"].map(|tool| qemu_img::present_tool(tool, "--version"));
        if present.contains(&false) {
            return None;
        }
        let lab = Self { tools, state: tempfile::tempdir().unwrap() };
        assert!(lab.command("vmware-lab-setup").status().unwrap().success());
        Some(lab)
    }

    fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(self.tools.join(tool));
        command.env("VMWARE_LAB_STATE", self.state.path().join("state"));
        command.env("VMWARE_LAB_ETC", self.state.path().join("etc"));
        command
    }
}

/// A started machine, which is stopped whatever happens.
struct Running<'a>(&'a Lab, &'a Path);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.0.command("vmrun").args(["-T", "ws", "stop"]).arg(self.1).arg("hard").output();
    }
}

#[test]
fn a_bundle_starts_from_every_controller() {
    let Some(lab) = Lab::present() else { return };
    let bench = Bench::new(50 << 20, 0, 1);
    let disk = std::fs::OpenOptions::new().write(true).open(&bench.raw).unwrap();
    disk.write_all_at(&boot_sector(), 0).unwrap();
    disk.write_all_at(TEXT, TEXT_SECTOR * 512).unwrap();
    let controllers = [
        (DiskController::Sata, NicModel::E1000),
        (DiskController::Ide, NicModel::E1000e),
        (DiskController::LsiLogic, NicModel::Vmxnet3),
        (DiskController::ParavirtualScsi, NicModel::PcNet32),
        (DiskController::Nvme, NicModel::E1000),
    ];
    for (index, (controller, model)) in controllers.into_iter().enumerate() {
        let name = format!("m{index}");
        let machine = MachineDescription {
            name: name.clone(),
            memory_mib: 64,
            disks: vec![MachineDisk { controller, ..MachineDisk::default() }],
            nics: vec![MachineNic { model, ..MachineNic::default() }],
            ..MachineDescription::default()
        };
        let (vmx, _) = bench.convert(&format!("{name}.vmx"), OutputKind::vmx(machine));
        // What the test needs to hear the guest, as a user would add it.
        let serial = bench.path(&format!("{name}.serial"));
        assert!(Command::new("mkfifo").arg(&serial).status().unwrap().success());
        let mut text = std::fs::OpenOptions::new().append(true).open(&vmx).unwrap();
        for (key, value) in [("present", "TRUE"), ("fileType", "file"), ("fileName", serial.to_str().unwrap())] {
            writeln!(text, "serial0.{key} = \"{value}\"").unwrap();
        }
        let (said, heard) = mpsc::channel();
        std::thread::spawn(move || {
            let mut found = vec![0; TEXT.len()];
            let result = std::fs::File::open(serial).and_then(|mut file| file.read_exact(&mut found));
            let _ = said.send(result.map(|()| found));
        });
        let started = lab.command("vmrun").args(["-T", "ws", "start"]).arg(&vmx).arg("nogui").output().unwrap();
        let _running = Running(&lab, &vmx);
        let log = std::fs::read_to_string(bench.path("vmware.log")).unwrap_or_default();
        assert!(started.status.success(), "{controller:?}: {started:?}\n{log}");
        let heard = heard.recv_timeout(Duration::from_secs(120)).expect("the guest says nothing").unwrap();
        assert_eq!(heard, TEXT, "{controller:?}");
    }
}
