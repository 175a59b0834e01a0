//! A machine as the domain XML of libvirt (<https://libvirt.org/formatdomain.html>): transient, and never defined.

use uuid::Uuid;

use super::disks;
use super::switches::Switches;
use super::xml::{Element, element, is_writable};
use crate::error::Unsupported;
use crate::qemu::architecture::Architecture;
use crate::qemu::arguments::{CommandLine, Plumbing};
use crate::qemu::machine_spec::QemuMachineSpec;
use crate::qemu::overrides::{Overrides, accelerator_of_machine};
use crate::spec::{Firmware, MachineSpec};

/// The namespace in which QEMU's own switches stand.
const QEMU_NAMESPACE: &str = "http://libvirt.org/schemas/domain/qemu/1.0";

/// MiB for translated code; see the command line's.
const TRANSLATED_CODE_MIB: &str = "64";

/// Bytes of a machine's name that the domain's has, so that the names of libvirt's files stay short enough.
const NAME_BYTES: usize = 64;

/// A machine in two parts: what libvirt is told in XML, and the switches that it hands on.
#[derive(Debug)]
pub(super) struct Description {
    head: Element,
    /// QEMU's switches beside those that libvirt makes.
    pub(super) line: CommandLine,
}

impl Description {
    /// Describes `spec`, or says all that cannot be done through libvirt.
    pub(super) fn new(
        spec: QemuMachineSpec<'_>,
        plumbing: &Plumbing,
        emulator: &str,
        uuid: Uuid,
    ) -> Result<Self, Vec<Unsupported>> {
        let mut complaints = Vec::new();
        let mut complain = |setting, problem: String| {
            let hint = Some("change it, or unset KILN_LIBVIRT to run QEMU without libvirt".to_owned());
            complaints.push(Unsupported { setting, problem, hint });
        };
        let overrides = Overrides::new(&spec.qemu.arguments);
        // A template's own drives replace all that are drives to QEMU: Packer's rule.
        let own_drives = overrides.has("-drive");
        let bare = without_drives(spec.hardware, own_drives);
        let mut line = CommandLine::new(QemuMachineSpec { hardware: &bare, qemu: spec.qemu }, plumbing);
        let switches = Switches::take(spec, &mut line).unwrap_or_else(|problems| {
            problems.into_iter().for_each(|problem| complain("qemuargs", problem));
            Switches::default()
        });
        let accelerator = accelerator(spec, plumbing, &overrides);
        let kind = match accelerator.as_deref() {
            Some("kvm") => "kvm",
            Some("tcg") | None => "qemu",
            Some(other) => {
                complain("accelerator", format!("libvirt runs QEMU with kvm or tcg, not with {other}"));
                "qemu"
            }
        };
        if spec.qemu.qmp_socket.is_some() {
            let problem = "libvirt keeps QEMU's monitor: use `virsh qemu-monitor-command`".to_owned();
            complain("qmp_enable", problem);
        }
        if spec.qemu.agent_socket.is_some() {
            let problem = "this version reaches no guest agent through libvirt".to_owned();
            complain("communicator", problem);
        }
        if spec.qemu.firmware_is_qcow2 && !own_drives && matches!(spec.hardware.firmware, Firmware::Efi { .. }) {
            complain("efi_firmware_code", "libvirt before 9.2 takes only raw images of firmware".to_owned());
        }
        if spec.hardware.cdroms.iter().any(|cdrom| cdrom.url().is_some()) {
            let problem = "libvirt reads CDs from files: remove it, and the CD is downloaded first".to_owned();
            complain("iso_skip_cache", problem);
        }
        if spec.hardware.window {
            line.warnings.push(
                "libvirt shows no window: watch the guest by VNC (vnc_bind_address), or set headless = true".to_owned(),
            );
        }

        let processors = switches.topology.iter().product::<u32>();
        let [sockets, cores, threads] = switches.topology.map(|term| term.to_string());
        let topology = element("topology").with("sockets", &sockets).with("cores", &cores).with("threads", &threads);
        let architecture = architecture(spec);
        let mut devices = element("devices").child(element("emulator").text(emulator));
        if matches!(architecture, "x86_64" | "i686") {
            devices = devices.child(element("controller").with("type", "usb").with("model", "none"));
        }
        if !own_drives {
            match disks::drives(spec, switches.floppy.as_deref().map(AsRef::as_ref), &mut line.warnings) {
                Ok(drives) => devices = drives.into_iter().fold(devices, Element::child),
                Err(problem) => complain("disk_interface", problem),
            }
        }
        devices = devices.child(element("memballoon").with("model", "none"));
        let head = element("domain")
            .with("type", kind)
            .with("xmlns:qemu", QEMU_NAMESPACE)
            .child(element("name").text(&name(&spec.hardware.name, uuid)))
            .child(element("uuid").text(&uuid.to_string()))
            .child(element("title").text(&format!("built by Kiln: {}", spec.hardware.name)))
            .child(element("memory").with("unit", "MiB").text(&switches.memory_mib.to_string()))
            .child(element("vcpu").text(&processors.to_string()))
            .child(os(spec, &switches, own_drives, architecture))
            .child(features(spec, kind))
            // The model is QEMU's to read, with `-cpu`: it knows more of them, and their flags.
            .child(element("cpu").child(topology))
            .child(element("clock").with("offset", "utc"))
            .child(element("on_poweroff").text("destroy"))
            .child(element("on_reboot").text(if switches.ends_on_reboot { "destroy" } else { "restart" }))
            .child(element("on_crash").text("destroy"))
            .child(devices);
        if let Some(text) =
            head.unwritable().or_else(|| line.arguments(Some(0)).into_iter().find(|it| !is_writable(it)))
        {
            complain("backend", format!("{text:?} has a control character, which XML cannot have"));
        }
        if complaints.is_empty() { Ok(Self { head, line }) } else { Err(complaints) }
    }

    /// The XML, with `port` as the host's port to forward.
    pub(super) fn xml(&self, port: Option<u16>) -> String {
        let arguments = self.line.arguments(port);
        let switches = element("qemu:commandline");
        let switches = arguments.iter().fold(switches, |all, one| all.child(element("qemu:arg").with("value", one)));
        self.head.clone().child(switches).to_string()
    }
}

/// The machine without what the XML has of it.
fn without_drives(hardware: &MachineSpec, own_drives: bool) -> MachineSpec {
    let mut bare = hardware.clone();
    if !own_drives {
        bare.disks.clear();
        bare.cdroms.clear();
        bare.floppy = None;
        if !matches!(bare.firmware, Firmware::Bios(_)) {
            bare.firmware = Firmware::Default;
        }
    }
    bare
}

/// What runs the guest's code: chosen, or named by the template in its own switches.
fn accelerator(spec: QemuMachineSpec<'_>, plumbing: &Plumbing, overrides: &Overrides) -> Option<String> {
    let in_type = || accelerator_of_machine(spec.machine_type());
    plumbing.accelerator.clone().or_else(|| overrides.accelerator()).or_else(in_type)
}

/// Unique, and without what libvirt refuses in a name.
fn name(machine: &str, uuid: Uuid) -> String {
    let word = |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' };
    let words: String = machine.chars().take(NAME_BYTES).map(word).collect();
    let unique = uuid.simple().to_string();
    format!("kiln-{words}-{}", &unique[..8])
}

/// libvirt's name of the architecture that the program runs.
fn architecture(spec: QemuMachineSpec<'_>) -> &'static str {
    match spec.architecture() {
        Architecture::Aarch64 => "aarch64",
        Architecture::Riscv64 => "riscv64",
        _ if spec.qemu.binary.ends_with("qemu-system-i386") => "i686",
        _ => "x86_64",
    }
}

fn os(spec: QemuMachineSpec<'_>, switches: &Switches, own_drives: bool, architecture: &str) -> Element {
    let kind = element("type").with("arch", architecture).with("machine", &spec.board()).text("hvm");
    let mut os = element("os").child(kind);
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let flash = || element("loader").with("readonly", "yes").with("type", "pflash");
    match &spec.hardware.firmware {
        Firmware::Efi { code, vars } if !own_drives => {
            let secure = if spec.qemu.secure_flash { "yes" } else { "no" };
            os = os.child(flash().with("secure", secure).text(&text(code))).child(element("nvram").text(&text(vars)));
        }
        Firmware::Flash(code) if !own_drives => os = os.child(flash().with("stateless", "yes").text(&text(code))),
        _ => {}
    }
    if let Some(bios) = &switches.bios {
        os = os.child(element("loader").with("type", "rom").text(bios));
    }
    switches.boot.iter().fold(os, |os, device| os.child(element("boot").with("dev", device)))
}

fn features(spec: QemuMachineSpec<'_>, kind: &str) -> Element {
    let mut features = element("features");
    // Without ACPI there is no power button; on ARM it needs UEFI.
    if matches!(architecture(spec), "x86_64" | "i686") {
        features = features.child(element("acpi")).child(element("apic"));
    } else if matches!(spec.hardware.firmware, Firmware::Efi { .. }) {
        features = features.child(element("acpi"));
    }
    if spec.qemu.secure_flash {
        features = features.child(element("smm").with("state", "on"));
    }
    if kind == "qemu" {
        let cache = element("tb-cache").with("unit", "MiB").text(TRANSLATED_CODE_MIB);
        features = features.child(element("tcg").child(cache));
    }
    features
}
