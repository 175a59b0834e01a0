//! Command lines against Packer's table of defaults.

mod architectures;

use std::path::PathBuf;

use super::*;
use crate::qemu::spec::{Accelerator, CacheMode, DetectZeroes, QemuSpec};
use crate::qemu::testing::qemu;
use crate::spec::{CdromSpec, DiskFormat, DiskInterface, DiskSpec, MachineSpec, PortForward, Topology, TpmVersion};

fn plumbing() -> Plumbing {
    let accelerator = Some("tcg".to_owned());
    Plumbing { control: 10.into(), spare: 11.into(), serial: 12.into(), accelerator, ..Plumbing::default() }
}

/// A spec as the build of an ordinary template makes it.
fn spec() -> MachineSpec {
    let mut spec = MachineSpec::new("packer-web", "/run/kiln", QemuSpec::default());
    spec.boot = BootOrder::CdromOnce;
    spec.disks.push(DiskSpec::new("out/packer-web", DiskFormat::Qcow2, DiskInterface::Virtio));
    spec.cdroms.push(CdromSpec { path: "/iso/x.iso".into(), interface: None });
    spec.network.mode =
        NetworkMode::User { forward: Some(PortForward { guest_port: 22, host_min: 2222, host_max: 4444 }) };
    spec
}

fn command_line(spec: &MachineSpec, plumbing: &Plumbing) -> CommandLine {
    CommandLine::new(QemuMachineSpec::of(spec).unwrap(), plumbing)
}

/// The arguments before what is ours, one switch with its value a line.
fn lines(spec: &MachineSpec) -> Vec<String> {
    lines_with(spec, &plumbing())
}

fn lines_with(spec: &MachineSpec, plumbing: &Plumbing) -> Vec<String> {
    let line = command_line(spec, plumbing);
    let lines = line.switches.iter().map(|(switch, value)| match value {
        Some(value) => format!("{switch} {value}"),
        None => switch.clone(),
    });
    lines.take_while(|line| !line.contains("id=kiln-control")).collect()
}

fn values(spec: &MachineSpec, switch: &str) -> Vec<String> {
    let prefix = format!("{switch} ");
    lines(spec).iter().filter_map(|line| line.strip_prefix(&prefix)).map(ToOwned::to_owned).collect()
}

fn override_with(spec: &mut MachineSpec, arguments: &[&[&str]]) {
    qemu(spec).arguments = arguments.iter().map(|list| list.iter().map(|item| (*item).to_owned()).collect()).collect();
}

#[test]
fn the_defaults_are_packers() {
    assert_eq!(
        lines(&spec()),
        [
            "-name packer-web",
            "-machine type=pc",
            "-m 512M",
            "-smp 1",
            "-accel tcg,tb-size=64",
            "-boot once=d",
            "-netdev user,id=user.0",
            "-display none",
            "-drive file=out/packer-web,if=virtio,cache=unsafe,discard=unmap,format=qcow2,detect-zeroes=unmap",
            "-drive file=/iso/x.iso,media=cdrom,format=raw",
            "-device virtio-net,netdev=user.0",
        ]
    );
}

#[test]
fn a_guest_may_have_an_agent_and_no_network() {
    let mut spec = spec();
    spec.network =
        crate::spec::NetworkSpec { device: Some("none".to_owned()), mode: NetworkMode::User { forward: None } };
    let line = command_line(&spec, &Plumbing { agent: Some(13.into()), ..plumbing() });
    let arguments = line.arguments(None).join(" ");
    assert!(!line.has_own_netdev && !arguments.contains("netdev") && arguments.contains("-nic none"), "{arguments}");
    let channel = "-chardev socket,id=kiln-agent,fd=13,server=on,wait=off -device virtio-serial-pci,id=kiln-ports \
                   -device virtserialport,bus=kiln-ports.0,chardev=kiln-agent,name=org.qemu.guest_agent.0";
    assert!(arguments.contains(channel), "{arguments}");
    // Neither goes when a template has devices or a network of its own.
    override_with(&mut spec, &[&["-device", "virtio-rng-pci"], &["-nic", "user"]]);
    let line = command_line(&spec, &Plumbing { agent: Some(13.into()), ..plumbing() });
    let arguments = line.arguments(None).join(" ");
    assert!(arguments.contains(channel) && !arguments.contains("-nic none"), "{arguments}");
    assert!(!arguments.contains("netdev"), "{arguments}");
}

#[test]
fn what_drives_qemu_comes_last() {
    let line = command_line(&spec(), &Plumbing { sandbox: true, ..plumbing() });
    let arguments = line.arguments(None);
    let ours = arguments.iter().position(|argument| argument.contains("kiln-control")).unwrap();
    assert_eq!(
        arguments[ours - 1..].join(" "),
        "-chardev socket,id=kiln-control,fd=10 -mon chardev=kiln-control,mode=control \
         -chardev socket,id=kiln-spare,fd=11,server=on,wait=off -mon chardev=kiln-spare,mode=control \
         -chardev socket,id=kiln-serial,fd=12 -serial chardev:kiln-serial \
         -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny -S"
    );
    assert!(line.has_own_serial && line.has_own_netdev && !line.has_own_vnc);
}

#[test]
fn every_option_of_the_table() {
    let mut spec = spec();
    qemu(&mut spec).machine_type = Some("q35".to_owned());
    qemu(&mut spec).cpu_model = Some("qemu64".to_owned());
    spec.topology = Topology::from_options(8, 2, 2, 1);
    spec.memory_mib = 2048;
    spec.floppy = Some("/tmp/floppy.img".into());
    spec.window = true;
    qemu(&mut spec).display = Some("gtk".to_owned());
    qemu(&mut spec).vga = Some("virtio".to_owned());
    spec.boot = BootOrder::Disk;
    spec.firmware = Firmware::Bios("/fw/bios.bin".into());
    spec.vnc = Some(VncSpec {
        bind: "127.0.0.1".to_owned(),
        port_min: 5901,
        port_max: 5999,
        password: Some("hunter22".to_owned()),
    });
    spec.tpm = Some(TpmVersion::V2);
    let plumbing = Plumbing { tpm: Some(13.into()), ..plumbing() };
    let lines = lines_with(&spec, &plumbing);
    for expected in [
        "-machine type=q35",
        "-accel tcg,tb-size=64",
        "-cpu qemu64",
        "-smp 4,sockets=2,cores=2,threads=1",
        "-m 2048M",
        "-drive file=/tmp/floppy.img,if=floppy,format=raw",
        "-display gtk",
        "-vga virtio",
        "-boot c",
        "-bios /fw/bios.bin",
        "-vnc 127.0.0.1:1,password=on",
        "-chardev socket,id=vtpm,fd=13",
        "-tpmdev emulator,id=tpm0,chardev=vtpm",
        "-device tpm-tis,tpmdev=tpm0",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected} is not in {lines:#?}");
    }
    assert!(!lines.concat().contains("hunter22"), "a password is never on the command line");
}

#[test]
fn a_floppy_of_the_template_replaces_ours_and_drives_of_it_do_not() {
    let mut spec = spec();
    spec.floppy = Some("/tmp/floppy.img".into());
    let ours = "file=/tmp/floppy.img,if=floppy,format=raw";
    override_with(&mut spec, &[&["-drive", "file=x"]]);
    assert_eq!(values(&spec, "-drive"), [ours, "file=x"]);
    override_with(&mut spec, &[&["-fda", "own.img"]]);
    assert_eq!(values(&spec, "-fda"), ["own.img"]);
    assert!(!values(&spec, "-drive").iter().any(|drive| drive == ours));
}

#[test]
fn efi_has_flash_and_no_boot_switch() {
    let mut spec = spec();
    spec.firmware = Firmware::Efi { code: "/fw/CODE.fd".into(), vars: "out/efivars.fd".into() };
    assert_eq!(values(&spec, "-boot"), Vec::<String>::new());
    assert_eq!(
        values(&spec, "-drive")[2..],
        ["file=/fw/CODE.fd,if=pflash,unit=0,format=raw,readonly=on", "file=out/efivars.fd,if=pflash,unit=1,format=raw"]
    );
}

#[test]
fn no_accelerator_says_nothing() {
    let mut spec = spec();
    qemu(&mut spec).accelerator = Accelerator::None;
    let lines = lines_with(&spec, &Plumbing { accelerator: None, ..plumbing() });
    assert!(lines.contains(&"-machine type=pc".to_owned()));
    override_with(&mut spec, &[&["-accel", "tcg,thread=multi"]]);
    assert!(lines_with(&spec, &plumbing()).contains(&"-machine type=pc".to_owned()));
}

#[test]
fn disks_on_every_interface() {
    let disk = |interface| {
        let mut spec = spec();
        spec.disks = vec![DiskSpec::new("a,b", DiskFormat::Raw, interface); 2];
        (values(&spec, "-drive")[..2].to_vec(), values(&spec, "-device"))
    };
    let options = "cache=unsafe,discard=unmap,format=raw,detect-zeroes=unmap";
    let nic = "virtio-net,netdev=user.0".to_owned();
    for interface in [DiskInterface::Ide, DiskInterface::Virtio, DiskInterface::Sd] {
        let drive = format!("file=a,,b,if={},{options}", interface.as_str());
        assert_eq!(disk(interface), (vec![drive.clone(), drive], vec![nic.clone()]));
    }
    for (interface, controller, bus) in [
        (DiskInterface::VirtioScsi, "virtio-scsi-pci,id=scsi0", ["scsi-hd,bus=scsi0.0"; 2]),
        (DiskInterface::Scsi, "lsi53c895a,id=lsi0", ["scsi-hd,bus=lsi0.0"; 2]),
        (DiskInterface::Sata, "ich9-ahci,id=ahci0", ["ide-hd,bus=ahci0.0", "ide-hd,bus=ahci0.1"]),
    ] {
        let drives = (0..2).map(|index| format!("if=none,file=a,,b,id=drive{index},{options}")).collect();
        let devices = vec![
            controller.to_owned(),
            format!("{},drive=drive0", bus[0]),
            format!("{},drive=drive1", bus[1]),
            nic.clone(),
        ];
        assert_eq!(disk(interface), (drives, devices));
    }
}

#[test]
fn explicit_disk_options_are_honoured() {
    let mut spec = spec();
    qemu(&mut spec).disk_cache = Some(CacheMode::Writeback);
    spec.disks[0].discard = Some(false);
    qemu(&mut spec).disk_detect_zeroes = Some(DetectZeroes::Off);
    assert_eq!(values(&spec, "-drive")[0], "file=out/packer-web,if=virtio,cache=writeback,discard=ignore,format=qcow2");
    qemu(&mut spec).disk_detect_zeroes = Some(DetectZeroes::Unmap);
    let line = command_line(&spec, &plumbing());
    assert_eq!(line.warnings.len(), 1);
    assert!(values(&spec, "-drive")[0].ends_with(",detect-zeroes=on"));
}

#[test]
fn cdroms_on_every_interface() {
    let mut spec = spec();
    let cdrom =
        |interface: Option<&str>| CdromSpec { path: "c.iso".into(), interface: interface.map(ToOwned::to_owned) };
    spec.disks = vec![DiskSpec::new("d", DiskFormat::Raw, DiskInterface::Ide)];
    spec.cdroms = vec![cdrom(Some("ide")), cdrom(Some("virtio-scsi")), cdrom(Some("sata")), cdrom(Some("scsi"))];
    assert_eq!(
        values(&spec, "-drive")[1..],
        [
            "file=c.iso,if=ide,index=1,id=cdrom0,media=cdrom,format=raw",
            "file=c.iso,if=none,id=cdrom1,media=cdrom,format=raw",
            "file=c.iso,if=none,id=cdrom2,media=cdrom,format=raw",
            "file=c.iso,if=none,id=cdrom3,media=cdrom,format=raw",
        ]
    );
    assert_eq!(
        values(&spec, "-device"),
        [
            "ich9-ahci,id=ahci0",
            "ide-cd,bus=ahci0.0,drive=cdrom2",
            "lsi53c895a,id=lsi0",
            "scsi-cd,bus=lsi0.0,drive=cdrom3",
            "virtio-scsi-pci,id=scsi0",
            "scsi-cd,bus=scsi0.0,drive=cdrom1",
            "virtio-net,netdev=user.0",
        ]
    );
    spec.cdroms = vec![CdromSpec { path: PathBuf::from("Install.DMG"), interface: None }];
    assert_eq!(values(&spec, "-drive")[1], "file=Install.DMG,media=cdrom");
}

/// Everybody on the host can read a command line, and a URL may let its owner in.
#[test]
fn a_cd_that_is_read_from_a_server_is_not_in_the_command_line() {
    let mut spec = spec();
    let cdrom = |interface: Option<&str>| CdromSpec {
        path: "https://me:secret@host/x.iso?token=secret".into(),
        interface: interface.map(ToOwned::to_owned),
    };
    spec.disks = vec![DiskSpec::new("d", DiskFormat::Raw, DiskInterface::Virtio)];
    spec.cdroms = vec![cdrom(None), cdrom(Some("ide")), cdrom(Some("sata"))];
    let drives = ["id=cdrom0,media=cdrom", "if=ide,index=1,id=cdrom1,media=cdrom", "if=none,id=cdrom2,media=cdrom"];
    assert_eq!(values(&spec, "-drive")[1..], drives);
    assert!(!format!("{:?}", command_line(&spec, &plumbing())).contains("secret"));
}

#[test]
fn a_given_switch_replaces_all_its_defaults_and_the_adapter_comes_back() {
    let mut spec = spec();
    override_with(
        &mut spec,
        &[&["-device", "ahci,id=x"], &["-m", "1024", "M"], &["-device", "usb-ehci"], &["-no-hpet"]],
    );
    assert_eq!(values(&spec, "-device"), ["ahci,id=x", "usb-ehci", "virtio-net,netdev=user.0"]);
    assert_eq!(values(&spec, "-m"), ["1024M"]);
    assert!(lines(&spec).contains(&"-no-hpet".to_owned()));
    assert_eq!(values(&spec, "-drive").len(), 2, "other defaults stay");

    override_with(
        &mut spec,
        &[&["-device", "virtio-net-pci,netdev=user.0,mac=52:54:00:00:00:01"], &["-drive", "file=x"]],
    );
    assert_eq!(values(&spec, "-device"), ["virtio-net-pci,netdev=user.0,mac=52:54:00:00:00:01"]);
    assert_eq!(values(&spec, "-drive"), ["file=x"]);

    // Bare switches: no value, and a value of nothing.
    override_with(&mut spec, &[&["-nographic"], &["-enable-kvm", ""], &[]]);
    let all = lines(&spec);
    assert!(all.contains(&"-nographic".to_owned()) && all.contains(&"-enable-kvm".to_owned()), "{all:?}");
}

#[test]
fn a_disk_that_packer_makes_by_drive_alone_outlives_the_templates_devices() {
    let mut spec = spec();
    spec.disks = vec![DiskSpec::new("d", DiskFormat::Raw, DiskInterface::Sata)];
    override_with(&mut spec, &[&["-device", "virtio-rng-pci"]]);
    let expected =
        ["ich9-ahci,id=ahci0", "ide-hd,bus=ahci0.0,drive=drive0", "virtio-rng-pci", "virtio-net,netdev=user.0"];
    assert_eq!(values(&spec, "-device"), expected);
    override_with(&mut spec, &[&["-drive", "file=x"]]);
    assert_eq!(values(&spec, "-device"), ["virtio-net,netdev=user.0"]);
    // Packer makes virtio-scsi disks of devices, and a template's own devices replace those.
    spec.disks[0].interface = DiskInterface::VirtioScsi;
    override_with(&mut spec, &[&["-device", "virtio-rng-pci"]]);
    assert_eq!(values(&spec, "-device"), ["virtio-rng-pci", "virtio-net,netdev=user.0"]);
}

#[test]
fn what_the_template_has_taken_over_is_left_to_it() {
    let mut spec = spec();
    spec.vnc = Some(VncSpec { bind: "::1".to_owned(), port_min: 5900, port_max: 6000, password: None });
    assert_eq!(values(&spec, "-vnc"), ["[::1]:0"]);
    override_with(&mut spec, &[&["-serial", "file:x"], &["--netdev", "user,id=user.0"], &["-vnc", ":7"]]);
    let line = command_line(&spec, &Plumbing { sandbox: true, ..plumbing() });
    assert!(!line.has_own_serial && !line.has_own_netdev && !line.has_own_vnc);
    let all = line.arguments(None).join(" ");
    assert!(!all.contains("kiln-serial") && !all.contains("-sandbox") && !all.contains("to=100"), "{all}");
    override_with(&mut spec, &[&["-device", "isa-serial,chardev=c"]]);
    assert!(!command_line(&spec, &plumbing()).has_own_serial);
}

#[test]
fn the_forwarded_port_is_filled_in_when_known() {
    let mut spec = spec();
    assert!(!command_line(&spec, &plumbing()).mentions_forwarded_port());
    let rule = format!("user,id=user.0,hostfwd=udp::53-:53,hostfwd=tcp:127.0.0.1:{SSH_HOST_PORT}-:22");
    override_with(&mut spec, &[&["-netdev", &rule]]);
    let line = command_line(&spec, &plumbing());
    assert!(line.mentions_forwarded_port());
    assert!(
        line.arguments(Some(3000))
            .contains(&"user,id=user.0,hostfwd=udp::53-:53,hostfwd=tcp:127.0.0.1:3000-:22".to_owned())
    );
    assert_eq!(line.forwarded_by_template(22, Some(3000)), Some(3000));
    assert_eq!(line.forwarded_by_template(23, Some(3000)), None);
    // `ssh_port = 3000`, as many templates have it.
    assert_eq!(line.forwarded_by_template(3000, Some(3000)), Some(3000));

    override_with(&mut spec, &[&["-net", "user,hostfwd=tcp::2200-10.0.2.15:22"], &["-net", "nic"]]);
    assert_eq!(command_line(&spec, &plumbing()).forwarded_by_template(22, None), Some(2200));
}

#[test]
fn the_host_cpu_becomes_max_under_tcg() {
    let mut spec = spec();
    qemu(&mut spec).cpu_model = Some("host".to_owned());
    assert_eq!(values(&spec, "-cpu"), ["max"]);
    override_with(&mut spec, &[&["-cpu", "host,-x2apic"]]);
    assert_eq!(values(&spec, "-cpu"), ["max,-x2apic"]);
    let kvm = Plumbing { accelerator: Some("kvm".to_owned()), ..plumbing() };
    assert!(lines_with(&spec, &kvm).contains(&"-cpu host,-x2apic".to_owned()));
}

#[test]
fn a_template_that_replaces_the_machine_keeps_the_accelerator() {
    let mut spec = spec();
    override_with(&mut spec, &[&["-machine", "q35,usb=on"]]);
    let arguments = command_line(&spec, &plumbing()).arguments(None).join(" ");
    assert!(arguments.contains("-machine q35,usb=on") && arguments.contains("-accel tcg"), "{arguments}");
    let kvm = Plumbing { accelerator: Some("kvm".to_owned()), ..plumbing() };
    let arguments = command_line(&spec, &kvm).arguments(None).join(" ");
    assert!(arguments.contains("-machine q35,usb=on") && arguments.contains("-accel kvm "), "{arguments}");
    override_with(&mut spec, &[]);
    assert_eq!(command_line(&spec, &kvm).arguments(None)[3], "type=pc,accel=kvm");
    // What the machine's type says, too, is left to QEMU to judge.
    qemu(&mut spec).machine_type = Some("pc,accel=hvf".to_owned());
    assert_eq!(command_line(&spec, &plumbing()).arguments(None)[3], "type=pc,accel=hvf,accel=tcg");
    for own in [["-machine", "q35,accel=kvm:tcg"], ["-machine", "type=pc,accel=kvm"]] {
        override_with(&mut spec, &[&own]);
        let arguments = command_line(&spec, &plumbing()).arguments(None);
        assert!(!arguments.contains(&"-accel".to_owned()), "{arguments:?}");
        assert_eq!(Overrides::new(&qemu(&mut spec).arguments).accelerator().as_deref(), Some("kvm"));
    }
}

#[test]
fn bridges() {
    let mut spec = spec();
    spec.network.mode = NetworkMode::Bridge { bridge: "br0".to_owned() };
    assert_eq!(values(&spec, "-netdev"), ["bridge,id=user.0,br=br0"]);
}

#[test]
fn what_has_no_line_by_default_has_its_own() {
    let mut spec = spec();
    spec.firmware = Firmware::Flash("/fw/a,b.fd".into());
    spec.window = true;
    qemu(&mut spec).display = None;
    spec.tpm = Some(TpmVersion::V1);
    qemu(&mut spec).tpm_device = Some("tpm-crb".to_owned());
    let lines = lines_with(&spec, &Plumbing { tpm: Some(13.into()), ..plumbing() });
    for line in ["-drive file=/fw/a,,b.fd,if=pflash,format=raw,readonly=on", "-device tpm-crb,tpmdev=tpm0"] {
        assert!(lines.iter().any(|found| found == line), "{line} in {lines:#?}");
    }
    assert!(!lines.iter().any(|line| line.starts_with("-display") || line.starts_with("-bios")), "{lines:#?}");
    spec.window = false;
    assert!(
        self::lines(&spec).contains(&"-display none".to_owned()),
        "without a window there is none, whatever QEMU has"
    );
}
