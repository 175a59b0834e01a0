//! A RISC-V machine on a real QEMU, with the machine type and firmware that are chosen for it.

use crate::machine::ExitReport;
use crate::qemu::testing::{Guest, Host, missing, qemu};
use crate::spec::DiskInterface;

const QEMU_RISCV: &str = "qemu-system-riscv64";

/// In place of a boot loader: asks the firmware to switch the machine off, by its system reset extension.
const POWER_OFF: [u32; 7] = [
    0x5352_58b7, // lui   a7, 0x53525
    0x3548_8893, // addi  a7, a7, 0x354: "SRST"
    0x0000_0813, // li    a6, 0: system reset
    0x0000_0513, // li    a0, 0: shutdown
    0x0000_0593, // li    a1, 0: for no reason
    0x0000_0073, // ecall
    0x0000_006f, // j     .
];

#[tokio::test]
async fn a_guest_that_switches_itself_off_has_not_crashed() {
    if missing(QEMU_RISCV) {
        return;
    }
    let host = Host::new();
    let loader = host.directory().join("loader.bin");
    std::fs::write(&loader, POWER_OFF.map(u32::to_le_bytes).as_flattened()).unwrap();
    let mut spec = host.spec(Guest::Echo);
    spec.memory_mib = 64;
    spec.disks[0].interface = DiskInterface::Virtio;
    let part = qemu(&mut spec);
    (part.binary, part.boot_loader) = (QEMU_RISCV.to_owned(), Some(loader));
    let machine = host.start(&spec).await;
    machine.resume().await.unwrap();
    assert_eq!(super::within(machine.exited()).await, ExitReport::GuestShutdown);
    let said = String::from_utf8_lossy(&machine.serial_tail(8192)).into_owned();
    assert!(said.contains("OpenSBI"), "{said}");
    assert!(!host.anything_left());
}
