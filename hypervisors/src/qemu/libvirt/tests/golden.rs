//! Domain XML, option by option.

use uuid::Uuid;

use crate::error::Unsupported;
use crate::qemu::arguments::{Channel, Plumbing};
use crate::qemu::libvirt::domain::Description;
use crate::qemu::machine_spec::QemuMachineSpec;
use crate::qemu::spec::{CacheMode, DetectZeroes, QemuSpec};
use crate::qemu::testing::qemu;
use crate::spec::{
    BootOrder, CdromSpec, DiskFormat, DiskInterface, DiskSpec, Firmware, MachineSpec, NetworkMode, PortForward,
    Topology,
};

fn spec() -> MachineSpec {
    let mut spec = MachineSpec::new("web/1 <x>", "/run/kiln", QemuSpec::default());
    spec.boot = BootOrder::CdromOnce;
    spec.disks.push(DiskSpec::new("/out/a&b", DiskFormat::Qcow2, DiskInterface::Virtio));
    spec.cdroms.push(CdromSpec { path: "/iso/x.iso".into(), interface: None });
    spec.network.mode =
        NetworkMode::User { forward: Some(PortForward { guest_port: 22, host_min: 2222, host_max: 4444 }) };
    spec
}

fn describe(spec: &MachineSpec, accelerator: &str) -> Result<String, Vec<Unsupported>> {
    let socket = |name: &str| Channel::Path(format!("/run/kiln/qemu-1,2/{name}"));
    let plumbing = Plumbing {
        control: socket("control"),
        serial: socket("serial"),
        spare: socket("qmp"),
        accelerator: Some(accelerator.to_owned()),
        ..Plumbing::default()
    };
    let uuid = Uuid::parse_str("67e55044-10b1-426f-9247-bb680e5fe0c8").unwrap();
    let described =
        Description::new(QemuMachineSpec::of(spec).unwrap(), &plumbing, "/usr/bin/qemu-system-x86_64", uuid);
    described.map(|description| description.xml(Some(2223)))
}

fn xml(spec: &MachineSpec) -> String {
    describe(spec, "tcg").unwrap()
}

/// The lines that `change` makes different, without indents: those that go, and those that come.
#[track_caller]
fn changes(change: impl FnOnce(&mut MachineSpec), goes: &[&str], comes: &[&str]) {
    let before = xml(&spec());
    let mut changed = spec();
    change(&mut changed);
    let after = xml(&changed);
    let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    let (before, after) = (lines(&before), lines(&after));
    let only = |these: &[String], those: &[String]| -> Vec<String> {
        let mut rest = those.to_vec();
        let is_new = |line: &&String| match rest.iter().position(|other| other == *line) {
            Some(place) => {
                rest.swap_remove(place);
                false
            }
            None => true,
        };
        these.iter().filter(is_new).cloned().collect()
    };
    assert_eq!(only(&before, &after), goes, "what goes");
    assert_eq!(only(&after, &before), comes, "what comes");
}

fn arguments(words: &[&[&str]]) -> Vec<Vec<String>> {
    words.iter().map(|line| line.iter().map(|&word| word.to_owned()).collect()).collect()
}

#[test]
fn an_ordinary_machine() {
    let expected = r#"<domain type="qemu" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
  <name>kiln-web-1--x--67e55044</name>
  <uuid>67e55044-10b1-426f-9247-bb680e5fe0c8</uuid>
  <title>built by Kiln: web/1 &lt;x&gt;</title>
  <memory unit="MiB">512</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch="x86_64" machine="pc">hvm</type>
    <boot dev="hd"/>
    <boot dev="cdrom"/>
  </os>
  <features>
    <acpi/>
    <apic/>
    <tcg>
      <tb-cache unit="MiB">64</tb-cache>
    </tcg>
  </features>
  <cpu>
    <topology sockets="1" cores="1" threads="1"/>
  </cpu>
  <clock offset="utc"/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type="usb" model="none"/>
    <disk type="file" device="disk">
      <driver name="qemu" type="qcow2" cache="unsafe" discard="unmap" detect_zeroes="unmap"/>
      <source file="/out/a&amp;b"/>
      <target dev="vda" bus="virtio"/>
      <address type="pci" domain="0x0000" bus="0x00" slot="0x10" function="0x0"/>
    </disk>
    <disk type="file" device="cdrom">
      <driver name="qemu" type="raw"/>
      <source file="/iso/x.iso"/>
      <target dev="hda" bus="ide"/>
      <readonly/>
    </disk>
    <memballoon model="none"/>
  </devices>
  <qemu:commandline>
    <qemu:arg value="-vga"/>
    <qemu:arg value="std"/>
    <qemu:arg value="-netdev"/>
    <qemu:arg value="user,id=user.0"/>
    <qemu:arg value="-device"/>
    <qemu:arg value="virtio-net,netdev=user.0"/>
    <qemu:arg value="-chardev"/>
    <qemu:arg value="socket,id=kiln-control,path=/run/kiln/qemu-1,,2/control"/>
    <qemu:arg value="-mon"/>
    <qemu:arg value="chardev=kiln-control,mode=control"/>
    <qemu:arg value="-chardev"/>
    <qemu:arg value="socket,id=kiln-spare,path=/run/kiln/qemu-1,,2/qmp,server=on,wait=off"/>
    <qemu:arg value="-mon"/>
    <qemu:arg value="chardev=kiln-spare,mode=control"/>
    <qemu:arg value="-chardev"/>
    <qemu:arg value="socket,id=kiln-serial,path=/run/kiln/qemu-1,,2/serial"/>
    <qemu:arg value="-serial"/>
    <qemu:arg value="chardev:kiln-serial"/>
  </qemu:commandline>
</domain>
"#;
    assert_eq!(xml(&spec()), expected);
}

#[test]
fn processors_and_memory() {
    changes(
        |spec| {
            spec.memory_mib = 2048;
            spec.topology = Topology::from_options(4, 2, 0, 0);
        },
        &["<memory unit=\"MiB\">512</memory>", "<vcpu>1</vcpu>", "<topology sockets=\"1\" cores=\"1\" threads=\"1\"/>"],
        // Packer's rule: two sockets without a word of cores are two processors.
        &[
            "<memory unit=\"MiB\">2048</memory>",
            "<vcpu>2</vcpu>",
            "<topology sockets=\"2\" cores=\"1\" threads=\"1\"/>",
        ],
    );
    changes(
        |spec| qemu(spec).cpu_model = Some("host,+vmx".to_owned()),
        &[],
        &["<qemu:arg value=\"-cpu\"/>", "<qemu:arg value=\"max,+vmx\"/>"],
    );
}

#[test]
fn disks() {
    changes(
        |spec| {
            spec.disks[0].discard = Some(false);
            qemu(spec).disk_cache = Some(CacheMode::Writeback);
            qemu(spec).disk_detect_zeroes = Some(DetectZeroes::Off);
        },
        &["<driver name=\"qemu\" type=\"qcow2\" cache=\"unsafe\" discard=\"unmap\" detect_zeroes=\"unmap\"/>"],
        &["<driver name=\"qemu\" type=\"qcow2\" cache=\"writeback\" discard=\"ignore\" detect_zeroes=\"off\"/>"],
    );
    changes(
        |spec| {
            qemu(spec).machine_type = Some("q35".to_owned());
            spec.floppy = Some("/f".into());
        },
        &["<type arch=\"x86_64\" machine=\"pc\">hvm</type>", "<target dev=\"hda\" bus=\"ide\"/>"],
        &[
            "<type arch=\"x86_64\" machine=\"q35\">hvm</type>",
            "<target dev=\"sda\" bus=\"sata\"/>",
            "<address type=\"drive\" controller=\"0\" bus=\"0\" target=\"0\" unit=\"0\"/>",
            "<disk type=\"file\" device=\"floppy\">",
            "<driver name=\"qemu\" type=\"raw\"/>",
            "<source file=\"/f\"/>",
            "<target dev=\"fda\" bus=\"fdc\"/>",
            "</disk>",
        ],
    );
    let mut relative = spec();
    relative.disks[0].path = "out/x".into();
    let here = std::env::current_dir().unwrap().join("out/x");
    assert!(xml(&relative).contains(&format!("<source file=\"{}\"/>", here.display())));
}

#[test]
fn firmware() {
    let flash = |spec: &mut MachineSpec| {
        spec.firmware = Firmware::Efi { code: "/fw/code".into(), vars: "/out/vars".into() };
    };
    changes(
        flash,
        &[],
        &["<loader readonly=\"yes\" type=\"pflash\" secure=\"no\">/fw/code</loader>", "<nvram>/out/vars</nvram>"],
    );
    changes(|spec| spec.firmware = Firmware::Bios("/fw/bios".into()), &[], &["<loader type=\"rom\">/fw/bios</loader>"]);
    changes(
        |spec| spec.firmware = Firmware::Flash("/fw/flash".into()),
        &[],
        &["<loader readonly=\"yes\" type=\"pflash\" stateless=\"yes\">/fw/flash</loader>"],
    );
    let mut secure = spec();
    flash(&mut secure);
    qemu(&mut secure).secure_flash = true;
    let xml = xml(&secure);
    assert!(xml.contains("secure=\"yes\"") && xml.contains("<smm state=\"on\"/>") && !xml.contains("smm=on"), "{xml}");
}

#[test]
fn switches_of_the_template() {
    changes(
        |spec| {
            qemu(spec).arguments = arguments(&[
                &["-m", "1G"],
                &["-machine", "q35,accel=tcg,hpet=off"],
                &["-no-reboot"],
                &["-boot", "once=d,menu=on"],
                &["-device", "usb-ehci"],
            ]);
            spec.cdroms.clear();
        },
        &[
            "<memory unit=\"MiB\">512</memory>",
            "<type arch=\"x86_64\" machine=\"pc\">hvm</type>",
            "<on_reboot>restart</on_reboot>",
            "<disk type=\"file\" device=\"cdrom\">",
            "<driver name=\"qemu\" type=\"raw\"/>",
            "<source file=\"/iso/x.iso\"/>",
            "<target dev=\"hda\" bus=\"ide\"/>",
            "<readonly/>",
            "</disk>",
        ],
        &[
            "<memory unit=\"MiB\">1024</memory>",
            "<type arch=\"x86_64\" machine=\"q35\">hvm</type>",
            "<on_reboot>destroy</on_reboot>",
            "<qemu:arg value=\"-machine\"/>",
            "<qemu:arg value=\"hpet=off\"/>",
            "<qemu:arg value=\"-boot\"/>",
            "<qemu:arg value=\"menu=on\"/>",
            "<qemu:arg value=\"usb-ehci\"/>",
            "<qemu:arg value=\"-device\"/>",
        ],
    );
    let mut own = spec();
    qemu(&mut own).arguments = arguments(&[&["-drive", "file=/x,if=ide"], &["-device", "virtio-vga"]]);
    let xml = xml(&own);
    assert!(!xml.contains("<disk") && !xml.contains("<boot"), "libvirt knows no drives: {xml}");
    assert!(xml.contains("file=/x,if=ide") && xml.contains("once=d") && !xml.contains("\"-vga\""), "{xml}");
}

#[test]
fn what_libvirt_cannot_do_is_told_at_once() {
    let mut refused = spec();
    refused.cdroms[0].path = "http://host/x.iso".into();
    refused.firmware = Firmware::Efi { code: "/c".into(), vars: "/v".into() };
    let part = qemu(&mut refused);
    part.arguments = arguments(&[
        &["-m", "512M,slots=2"],
        &["-smp", "2,maxcpus=4"],
        &["-boot", "n"],
        &["-name", "a\u{7}b"],
        &["-fw_cfg", "\u{7}"],
    ]);
    part.qmp_socket = Some("/q".into());
    part.firmware_is_qcow2 = true;
    let complaints = describe(&refused, "xen").unwrap_err();
    let settings: Vec<&str> = complaints.iter().map(|one| one.setting).collect();
    assert_eq!(
        settings,
        [
            "qemuargs",
            "qemuargs",
            "qemuargs",
            "accelerator",
            "qmp_enable",
            "efi_firmware_code",
            "iso_skip_cache",
            "backend"
        ]
    );
    assert!(complaints.iter().all(|one| one.hint.is_some()));
    let mut many = spec();
    many.disks = vec![DiskSpec::new("/d", DiskFormat::Raw, DiskInterface::Virtio); 40];
    assert!(describe(&many, "tcg").unwrap_err()[0].problem.contains("virtio"));
}

#[test]
fn kvm_and_windows() {
    let mut spec = spec();
    spec.window = true;
    let xml = describe(&spec, "kvm").unwrap();
    assert!(xml.contains("<domain type=\"kvm\"") && !xml.contains("tb-cache"), "{xml}");
}
