//! Command lines of machines that are no PCs, and of what firmware asks for.

use super::*;

fn machine(binary: &str) -> MachineSpec {
    let mut spec = spec();
    qemu(&mut spec).binary = binary.to_owned();
    spec
}

const DISK: &str = "cache=unsafe,discard=unmap,format=qcow2,detect-zeroes=unmap";

#[test]
fn arm_guests_get_a_machine_that_boots_and_can_be_typed_on() {
    let mut spec = machine("qemu-system-aarch64");
    spec.firmware = Firmware::Efi { code: "/fw/AAVMF_CODE.fd".into(), vars: "out/efivars.fd".into() };
    spec.tpm = Some(TpmVersion::V2);
    let plumbing = Plumbing { tpm: Some(13.into()), ..plumbing() };
    assert_eq!(
        lines_with(&spec, &plumbing),
        [
            "-name packer-web",
            "-machine type=virt",
            "-m 512M",
            "-smp 1",
            "-accel tcg,tb-size=64",
            "-cpu cortex-a72",
            "-netdev user,id=user.0",
            "-display none",
            "-chardev socket,id=vtpm,fd=13",
            "-tpmdev emulator,id=tpm0,chardev=vtpm",
            &format!("-drive file=out/packer-web,if=virtio,{DISK}"),
            "-drive file=/iso/x.iso,if=none,id=cdrom0,media=cdrom,format=raw",
            "-drive file=/fw/AAVMF_CODE.fd,if=pflash,unit=0,format=raw,readonly=on",
            "-drive file=out/efivars.fd,if=pflash,unit=1,format=raw",
            "-device virtio-scsi-pci,id=scsi1",
            "-device scsi-cd,bus=scsi1.0,drive=cdrom0",
            "-device virtio-net,netdev=user.0",
            "-device virtio-gpu-pci",
            "-device qemu-xhci",
            "-device usb-kbd",
            "-device tpm-tis-device,tpmdev=tpm0",
        ]
    );
    let kvm = Plumbing { accelerator: Some("kvm".to_owned()), ..Plumbing::default() };
    assert!(lines_with(&spec, &kvm).contains(&"-cpu host".to_owned()));
    qemu(&mut spec).cpu_model = Some("neoverse-n1".to_owned());
    assert_eq!(values(&spec, "-cpu"), ["neoverse-n1"]);
}

#[test]
fn riscv_guests_boot_by_a_loader_or_uefi_and_never_by_a_switch() {
    let mut spec = machine("/opt/qemu-system-riscv64");
    qemu(&mut spec).boot_loader = Some("/usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin".into());
    spec.disks[0].interface = DiskInterface::Scsi;
    assert_eq!(
        lines(&spec),
        [
            "-name packer-web",
            "-machine type=virt",
            "-m 512M",
            "-smp 1",
            "-accel tcg,tb-size=64",
            "-kernel /usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin",
            "-netdev user,id=user.0",
            "-display none",
            &format!("-drive if=none,file=out/packer-web,id=drive0,{DISK}"),
            "-drive file=/iso/x.iso,if=none,id=cdrom0,media=cdrom,format=raw",
            "-device virtio-scsi-pci,id=scsi1",
            "-device scsi-hd,bus=scsi1.0,drive=drive0",
            "-device scsi-cd,bus=scsi1.0,drive=cdrom0",
            "-device virtio-net,netdev=user.0",
            "-device virtio-gpu-pci",
            "-device qemu-xhci",
            "-device usb-kbd",
        ]
    );
}

#[test]
fn a_templates_own_devices_replace_what_is_chosen_and_leave_the_cd() {
    let mut spec = machine("qemu-system-aarch64");
    override_with(&mut spec, &[&["-device", "virtio-gpu-pci"], &["-boot", "strict=off"]]);
    let cd = ["virtio-scsi-pci,id=scsi1", "scsi-cd,bus=scsi1.0,drive=cdrom0"];
    assert_eq!(values(&spec, "-device")[..2], cd);
    assert_eq!(values(&spec, "-device")[2..], ["virtio-gpu-pci", "virtio-net,netdev=user.0"]);
    assert_eq!(values(&spec, "-boot"), ["strict=off"]);
    // A board with devices of its own is left as it is.
    override_with(&mut spec, &[&["-machine", "raspi3b"]]);
    assert_eq!(values(&spec, "-device"), ["virtio-net,netdev=user.0"]);
    assert_eq!(values(&spec, "-drive")[1], "file=/iso/x.iso,media=cdrom,format=raw");
    qemu(&mut spec).vga = Some("none".to_owned());
    override_with(&mut spec, &[&["-machine", "gic-version=3,type=virt-7.2"]]);
    assert_eq!(values(&spec, "-device")[2..], ["virtio-net,netdev=user.0", "qemu-xhci", "usb-kbd"]);
}

#[test]
fn secure_flash_is_kept_from_the_guest_whatever_the_template_says_of_the_machine() {
    let mut spec = machine("qemu-system-x86_64");
    spec.firmware = Firmware::Efi { code: "/fw/CODE.secboot.qcow2".into(), vars: "out/efivars.fd".into() };
    let part = qemu(&mut spec);
    (part.machine_type, part.secure_flash, part.firmware_is_qcow2) = (Some("q35".to_owned()), true, true);
    assert_eq!(values(&spec, "-machine"), ["type=q35,smm=on"]);
    let code = "file=/fw/CODE.secboot.qcow2,if=pflash,unit=0,format=qcow2,readonly=on";
    assert_eq!(values(&spec, "-drive")[2], code);
    let global = "-global driver=cfi.pflash01,property=secure,value=on";
    override_with(&mut spec, &[&["-machine", "q35,usb=off"], &["-global", "ICH9-LPC.disable_s3=1"]]);
    let all = command_line(&spec, &plumbing()).arguments(None).join(" ");
    for part in ["-machine q35,usb=off", "-machine smm=on", "-global ICH9-LPC.disable_s3=1", global] {
        assert!(all.contains(part), "{part} is not in {all}");
    }
}

#[test]
fn machines_on_a_bridge_have_addresses_of_their_own() {
    let mut spec = spec();
    spec.network.mode = NetworkMode::Bridge { bridge: "br0".to_owned() };
    let plumbing = Plumbing { mac: Some("52:54:00:01:02:03".to_owned()), ..plumbing() };
    let adapter = "-device virtio-net,netdev=user.0,mac=52:54:00:01:02:03".to_owned();
    assert!(lines_with(&spec, &plumbing).contains(&adapter));
    override_with(&mut spec, &[&["-device", "usb-ehci"]]);
    assert!(lines_with(&spec, &plumbing).contains(&adapter), "it comes back with its address");
}

#[test]
fn other_programs_get_a_monitor_when_one_is_asked_for() {
    let line = command_line(&spec(), &Plumbing { monitor: Some(14.into()), ..plumbing() });
    let all = line.arguments(None).join(" ");
    let monitor = "-chardev socket,id=kiln-qmp,fd=14,server=on,wait=off -mon chardev=kiln-qmp,mode=control";
    assert!(all.contains(monitor), "{all}");
    assert!(!command_line(&spec(), &plumbing()).arguments(None).join(" ").contains("kiln-qmp"));
}
