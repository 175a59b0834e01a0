//! QEMU's command line for a machine: the switches Packer gives by default, with the template's `qemuargs` put over
//! them by Packer's rules, and what this program needs to drive QEMU put after them.
//!
//! What of the machine its architecture decides is in [`Architecture`](super::architecture::Architecture).
//!
//! Where it differs from Packer, it is on purpose: no VNC server and no window unless asked for, disks are cached for speed and kept small, ports
//! are bound at run time on 127.0.0.1, and commas in paths work.

mod drives;
mod value;

use std::fmt;
use std::os::fd::RawFd;

use crate::qemu::machine_spec::QemuMachineSpec;
use crate::qemu::overrides::{Overrides, accelerator_of_machine};
use crate::qemu::spec::SSH_HOST_PORT;
use crate::spec::{BootOrder, Firmware, NetworkMode, VncSpec};
#[cfg(feature = "libvirt")]
pub(crate) use drives::Settled;
pub(crate) use drives::is_dmg;
use value::{escape, text};

/// Id of the network back end, as Packer names it; templates refer to it.
pub(crate) const NETDEV_ID: &str = "user.0";

/// The serial port at which a guest's agent is found.
pub(crate) const AGENT_PORT: &str = "org.qemu.guest_agent.0";

/// Lowest VNC port: display 0 of the RFB protocol.
pub(crate) const VNC_PORT_BASE: u16 = 5900;

/// A socket between QEMU and this process, as QEMU finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Channel {
    /// A descriptor that QEMU has inherited.
    Descriptor(RawFd),
    /// A path, where QEMU is started by somebody else.
    #[cfg_attr(not(feature = "libvirt"), expect(dead_code, reason = "only libvirt starts QEMU for us"))]
    Path(String),
}

impl std::default::Default for Channel {
    fn default() -> Self {
        Self::Descriptor(0)
    }
}

impl From<RawFd> for Channel {
    fn from(descriptor: RawFd) -> Self {
        Self::Descriptor(descriptor)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptor(descriptor) => write!(f, "fd={descriptor}"),
            Self::Path(path) => write!(f, "path={}", escape(path)),
        }
    }
}

/// What connects QEMU with this process, and what was found out about this QEMU.
#[derive(Debug, Default)]
pub(crate) struct Plumbing {
    /// Connected socket of the control monitor.
    pub(crate) control: Channel,
    /// Listening socket of the spare monitor.
    pub(crate) spare: Channel,
    /// Connected socket for the first serial port.
    pub(crate) serial: Channel,
    /// Connected control socket of the TPM emulator.
    pub(crate) tpm: Option<Channel>,
    /// Listening socket of a monitor for other programs.
    pub(crate) monitor: Option<Channel>,
    /// Listening socket that leads to the guest's agent.
    pub(crate) agent: Option<Channel>,
    /// Port of the VNC server; `None`: the lowest of the range.
    pub(crate) vnc_port: Option<u16>,
    /// The adapter's address, where it shares a network with other machines'; `None`: QEMU's own, the same for each.
    pub(crate) mac: Option<String>,
    /// `accel=`; `None`: nothing is said.
    pub(crate) accelerator: Option<String>,
    /// This QEMU was built with seccomp.
    pub(crate) sandbox: bool,
}

/// A command line, switch by switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandLine {
    switches: Vec<(String, Option<String>)>,
    /// QEMU's first serial port leads to this process.
    pub(crate) has_own_serial: bool,
    /// The user network is ours: forwarding can be added to it.
    pub(crate) has_own_netdev: bool,
    /// The VNC server is ours.
    pub(crate) has_own_vnc: bool,
    /// The template has asked for a SPICE server.
    pub(crate) has_spice: bool,
    /// Anything odd that was done for the user.
    pub(crate) warnings: Vec<String>,
}

impl CommandLine {
    /// Builds the command line.
    pub(crate) fn new(spec: QemuMachineSpec<'_>, plumbing: &Plumbing) -> Self {
        let overrides = Overrides::new(&spec.qemu.arguments);
        let mut warnings = Vec::new();
        let mut switches = Vec::new();
        for Default { switch, replaced_by, values } in defaults(spec, plumbing, &overrides, &mut warnings) {
            if !overrides.has(replaced_by) {
                switches.extend(values.into_iter().map(|value| (switch.to_owned(), Some(value))));
            }
        }
        switches.extend(overrides.switches().map(|(switch, value)| (switch.to_owned(), value.map(ToOwned::to_owned))));
        let devices = |switches: &[(String, Option<String>)]| -> Vec<String> {
            switches.iter().filter(|(switch, _)| switch == "-device").filter_map(|(_, value)| value.clone()).collect()
        };
        // Packer's rule: the adapter comes back unless some device's text has its name in it.
        if spec.has_adapter() && !devices(&switches).iter().any(|device| device.contains(spec.net_device())) {
            switches.push(("-device".to_owned(), Some(adapter(spec, plumbing))));
        }
        replace_host_cpu(&mut switches, plumbing, &mut warnings);

        let has_own_serial = !overrides.has("-serial")
            && !devices(&switches).iter().any(|device| device.starts_with("isa-serial"))
            && !overrides.has("-nodefaults");
        let mut line = Self {
            switches,
            has_own_serial,
            has_own_netdev: spec.has_adapter()
                && !overrides.has("-netdev")
                && matches!(spec.hardware.network.mode, NetworkMode::User { .. }),
            has_own_vnc: !overrides.has("-vnc") && spec.hardware.vnc.is_some(),
            has_spice: overrides.has("-spice"),
            warnings,
        };
        line.add_own_switches(spec, plumbing, &overrides);
        line
    }

    /// What QEMU is driven by. After everything of the template, which can neither remove it nor be hurt by it.
    fn add_own_switches(&mut self, spec: QemuMachineSpec<'_>, plumbing: &Plumbing, overrides: &Overrides) {
        let mut add = |switch: &str, value: String| self.switches.push((switch.to_owned(), Some(value)));
        add("-chardev", format!("socket,id=kiln-control,{}", plumbing.control));
        add("-mon", "chardev=kiln-control,mode=control".to_owned());
        add("-chardev", format!("socket,id=kiln-spare,{},server=on,wait=off", plumbing.spare));
        add("-mon", "chardev=kiln-spare,mode=control".to_owned());
        if let Some(monitor) = &plumbing.monitor {
            add("-chardev", format!("socket,id=kiln-qmp,{monitor},server=on,wait=off"));
            add("-mon", "chardev=kiln-qmp,mode=control".to_owned());
        }
        if let Some(agent) = &plumbing.agent {
            add("-chardev", format!("socket,id=kiln-agent,{agent},server=on,wait=off"));
            add("-device", "virtio-serial-pci,id=kiln-ports".to_owned());
            add("-device", format!("virtserialport,bus=kiln-ports.0,chardev=kiln-agent,name={AGENT_PORT}"));
        }
        if self.has_own_serial {
            add("-chardev", format!("socket,id=kiln-serial,{}", plumbing.serial));
            add("-serial", "chardev:kiln-serial".to_owned());
        }
        if plumbing.sandbox && sandbox_fits(spec, overrides) {
            add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny".to_owned());
        }
        if spec.qemu.secure_flash {
            add("-global", "driver=cfi.pflash01,property=secure,value=on".to_owned());
            // QEMU adds it to what the template's own `-machine` says.
            if overrides.has("-machine") {
                add("-machine", "smm=on".to_owned());
            }
        }
        self.switches.push(("-S".to_owned(), None));
    }

    /// The switches that have a value, in their order.
    pub(crate) fn switches(&self) -> impl Iterator<Item = (&str, &str)> {
        self.switches.iter().filter_map(|(switch, value)| Some((switch.as_str(), value.as_deref()?)))
    }

    /// Tells whether a switch or value has the forwarded port in it, which is then known only when QEMU has bound it.
    pub(crate) fn mentions_forwarded_port(&self) -> bool {
        self.switches.iter().any(|(_, value)| value.as_ref().is_some_and(|value| value.contains(SSH_HOST_PORT)))
    }

    /// The arguments, with `port` where the forwarded port is mentioned.
    pub(crate) fn arguments(&self, port: Option<u16>) -> Vec<String> {
        let port = port.map_or_else(|| "0".to_owned(), |port| port.to_string());
        let mut arguments = Vec::with_capacity(self.switches.len() * 2);
        for (switch, value) in &self.switches {
            arguments.push(switch.clone());
            arguments.extend(value.as_ref().map(|value| value.replace(SSH_HOST_PORT, &port)));
        }
        arguments
    }

    /// The host's port that the template's own `hostfwd` leads to `guest_port` from.
    pub(crate) fn forwarded_by_template(&self, guest_port: u16, port: Option<u16>) -> Option<u16> {
        let port = port.map_or_else(String::new, |port| port.to_string());
        let rules: Vec<(u16, u16)> = self
            .switches
            .iter()
            .filter(|(switch, _)| matches!(switch.as_str(), "-netdev" | "-net" | "-nic"))
            .filter_map(|(_, value)| value.as_deref())
            .flat_map(|value| value.split(','))
            .filter_map(|part| part.strip_prefix("hostfwd="))
            .filter_map(|rule| forwarded(&rule.replace(SSH_HOST_PORT, &port)))
            .collect();
        let to_guest = rules.iter().find(|(_, guest)| *guest == guest_port);
        // Templates with a rule of their own name its port on the host as `ssh_port`, too.
        to_guest.or_else(|| rules.iter().find(|(host, _)| *host == guest_port)).map(|(host, _)| *host)
    }

    /// Takes the values of `switch` away, in their order; QEMU takes `--switch` for `-switch`.
    #[cfg(feature = "libvirt")]
    pub(crate) fn take(&mut self, switch: &str) -> Vec<Option<String>> {
        let (taken, kept) = std::mem::take(&mut self.switches)
            .into_iter()
            .partition(|(name, _)| name.trim_start_matches('-') == switch.trim_start_matches('-'));
        self.switches = kept;
        let taken: Vec<(String, Option<String>)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// Tells whether `switch` is there.
    #[cfg(feature = "libvirt")]
    pub(crate) fn has_switch(&self, switch: &str) -> bool {
        self.switches.iter().any(|(name, _)| name.trim_start_matches('-') == switch.trim_start_matches('-'))
    }

    /// Tells whether there is a device of this name, or of one that begins with it and a dash.
    #[cfg(feature = "libvirt")]
    pub(crate) fn has_device_called(&self, name: &str) -> bool {
        let is_it = |value: &str| {
            let device = value.split(',').next().unwrap_or_default();
            let device = device.strip_prefix("driver=").unwrap_or(device);
            device.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        self.switches.iter().any(|(switch, value)| switch == "-device" && value.as_deref().is_some_and(is_it))
    }

    /// Puts a switch in front of the others.
    #[cfg(feature = "libvirt")]
    pub(crate) fn put(&mut self, switch: &str, value: String) {
        self.switches.insert(0, (switch.to_owned(), Some(value)));
    }

    /// Tells whether a device's text has `word` in it.
    pub(crate) fn has_device(&self, word: &str) -> bool {
        self.switches
            .iter()
            .any(|(switch, value)| switch == "-device" && value.as_ref().is_some_and(|value| value.contains(word)))
    }
}

/// Reads `tcp:[host address]:host port-[guest address]:guest port`: the host's port and the guest's.
fn forwarded(rule: &str) -> Option<(u16, u16)> {
    let (protocol, rest) = rule.split_once(':')?;
    if !matches!(protocol, "tcp" | "") {
        return None;
    }
    let (host, guest) = rest.split_once('-')?;
    let port = |side: &str| side.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    Some((port(host)?, port(guest)?))
}

/// A default switch with all its values.
struct Default {
    switch: &'static str,
    /// The switch that replaces it when a template gives it.
    replaced_by: &'static str,
    values: Vec<String>,
}

/// Packer's default switches.
fn defaults(
    spec: QemuMachineSpec<'_>,
    plumbing: &Plumbing,
    overrides: &Overrides,
    warnings: &mut Vec<String>,
) -> Vec<Default> {
    let mut machine = format!("type={}", spec.machine_type());
    let accelerator = accelerator_switch(spec, plumbing, overrides);
    // With `-accel` QEMU refuses a second opinion in `-machine`.
    let in_accel = overrides.has("-accel") || accelerator.is_some();
    if let Some(accelerator) = plumbing.accelerator.as_ref().filter(|_| !in_accel) {
        machine += &format!(",accel={accelerator}");
    }
    if spec.qemu.secure_flash {
        machine += ",smm=on";
    }
    let mut all: Vec<(&'static str, Vec<String>)> = vec![
        ("-name", vec![escape(&spec.hardware.name)]),
        ("-machine", vec![machine]),
        ("-m", vec![format!("{}M", spec.hardware.memory_mib)]),
        ("-smp", vec![processors(spec)]),
    ];
    all.extend(accelerator.map(|accelerator| ("-accel", vec![accelerator])));
    let architecture = spec.architecture();
    let default_cpu = architecture.default_cpu(plumbing.accelerator.as_deref());
    all.extend(spec.qemu.cpu_model.as_deref().or(default_cpu).map(|model| ("-cpu", vec![model.to_owned()])));
    match (&spec.hardware.firmware, spec.hardware.boot) {
        (Firmware::Efi { .. }, _) => {}
        _ if !architecture.heeds_boot_switch() => {}
        (_, BootOrder::CdromOnce) => all.push(("-boot", vec!["once=d".to_owned()])),
        (_, BootOrder::Disk) => all.push(("-boot", vec!["c".to_owned()])),
    }
    all.extend(spec.qemu.boot_loader.iter().map(|path| ("-kernel", vec![text(path)])));
    if let Firmware::Bios(path) = &spec.hardware.firmware {
        all.push(("-bios", vec![text(path)]));
    }
    match spec.has_adapter() {
        true => all.push(("-netdev", vec![netdev(&spec.hardware.network.mode)])),
        // Without a word QEMU gives the machine an adapter of its own choice.
        false => all.push(("-nic", vec!["none".to_owned()])),
    }
    match (spec.hardware.window, &spec.qemu.display) {
        // Without this QEMU opens whatever window it was built with.
        (false, _) => all.push(("-display", vec!["none".to_owned()])),
        (true, None) => {}
        (true, Some(name)) => all.push(("-display", vec![name.clone()])),
    }
    all.extend(spec.hardware.vnc.iter().map(|vnc| ("-vnc", vec![vnc_server(vnc, plumbing)])));
    all.extend(spec.qemu.vga.iter().map(|vga| ("-vga", vec![vga.clone()])));

    let drives::Drives { mut drives, mut devices, drive_devices } = drives::drives(spec, warnings);
    drives.append(&mut drives::firmware(spec));
    if spec.has_adapter() {
        devices.push(adapter(spec, plumbing));
    }
    if spec.is_virt() {
        // It has neither a screen nor a keyboard; last, so that what Packer's machines have stays in its slots.
        let screen = spec.qemu.vga.is_none().then_some("virtio-gpu-pci");
        devices.extend(screen.into_iter().chain(["qemu-xhci", "usb-kbd"]).map(ToOwned::to_owned));
    }
    if let (Some(_), Some(socket)) = (spec.hardware.tpm, &plumbing.tpm) {
        all.push(("-chardev", vec![format!("socket,id=vtpm,{socket}")]));
        all.push(("-tpmdev", vec!["emulator,id=tpm0,chardev=vtpm".to_owned()]));
        devices.push(format!("{},tpmdev=tpm0", spec.tpm_device()));
    }
    all.push(("-drive", drives));
    let replaced_by_itself = |(switch, values)| Default { switch, replaced_by: switch, values };
    let mut all: Vec<Default> = all.into_iter().map(replaced_by_itself).collect();
    // Packer's `-fda` leaves it to QEMU to find out the format, and QEMU warns of that in what would be its last words.
    let floppy = spec.hardware.floppy.iter().map(|path| format!("file={},if=floppy,format=raw", escape(&text(path))));
    all.push(Default { switch: "-drive", replaced_by: "-fda", values: floppy.collect() });
    all.push(Default { switch: "-device", replaced_by: "-drive", values: drive_devices });
    all.push(Default { switch: "-device", replaced_by: "-device", values: devices });
    all
}

fn processors(spec: QemuMachineSpec<'_>) -> String {
    let mut value = spec.hardware.topology.processors().to_string();
    let terms = [
        ("sockets", spec.hardware.topology.sockets),
        ("cores", spec.hardware.topology.cores),
        ("threads", spec.hardware.topology.threads),
    ];
    for (name, term) in terms {
        if let Some(term) = term {
            value += &format!(",{name}={term}");
        }
    }
    value
}

/// The network adapter.
fn adapter(spec: QemuMachineSpec<'_>, plumbing: &Plumbing) -> String {
    let mac = plumbing.mac.as_ref().map_or_else(String::new, |mac| format!(",mac={mac}"));
    format!("{},netdev={NETDEV_ID}{mac}", spec.net_device())
}

fn netdev(mode: &NetworkMode) -> String {
    match mode {
        // Forwarding is added once QEMU runs, on a port that QEMU itself could bind.
        NetworkMode::User { .. } => format!("user,id={NETDEV_ID}"),
        NetworkMode::Bridge { bridge } => format!("bridge,id={NETDEV_ID},br={}", escape(bridge)),
    }
}

fn vnc_server(vnc: &VncSpec, plumbing: &Plumbing) -> String {
    let bind = if vnc.bind.contains(':') { format!("[{}]", vnc.bind) } else { vnc.bind.clone() };
    // Not `to=`, with which QEMU would pass on to a port that is promised to another machine.
    let display = plumbing.vnc_port.unwrap_or(vnc.port_min).saturating_sub(VNC_PORT_BASE);
    let password = if vnc.password.is_some() { ",password=on" } else { "" };
    format!("{bind}:{display}{password}")
}

/// MiB for the translated code of an emulated guest. QEMU would take 1 GiB and forget nothing: a guest that restarts then writes its new
/// kernel over pages of which every translated piece is still known, one store at a time. Booting a Debian 12 costs 54 s of processor time
/// with 64 MiB, 59 s with QEMU's own, and each restart 55 s instead of 64 s; QEMU has 0.4 GiB resident instead of 1.3.
const TRANSLATED_CODE_MIB: u32 = 64;

/// What `-accel` says, where it is said there and not in `-machine`.
fn accelerator_switch(spec: QemuMachineSpec<'_>, plumbing: &Plumbing, overrides: &Overrides) -> Option<String> {
    let accelerator = plumbing.accelerator.as_ref().filter(|_| overrides.accelerator().is_none())?;
    // A template that replaces `-machine` takes away the accelerator with it, without meaning to.
    let replaced = overrides.has("-machine");
    match accelerator.as_str() {
        "tcg" if replaced || accelerator_of_machine(spec.machine_type()).is_none() => {
            Some(format!("tcg,tb-size={TRANSLATED_CODE_MIB}"))
        }
        _ => replaced.then(|| accelerator.clone()),
    }
}

/// The CPU model `host` needs an accelerator that runs on the host's processor.
fn replace_host_cpu(switches: &mut [(String, Option<String>)], plumbing: &Plumbing, warnings: &mut Vec<String>) {
    if plumbing.accelerator.as_deref() != Some("tcg") {
        return;
    }
    for (switch, value) in switches {
        if switch == "-cpu"
            && let Some(model) = value
            && (model == "host" || model.starts_with("host,"))
        {
            model.replace_range(.."host".len(), "max");
            warnings.push("the CPU model host needs kvm; with tcg the guest gets max".to_owned());
        }
    }
}

/// The sandbox forbids QEMU to start programs, which bridges, sound servers and user-given back ends may need.
fn sandbox_fits(spec: QemuMachineSpec<'_>, overrides: &Overrides) -> bool {
    let may_start_programs =
        ["-netdev", "-net", "-nic", "-chardev", "-sandbox", "-runas", "-chroot", "-spice", "-audiodev"];
    matches!(spec.hardware.network.mode, NetworkMode::User { .. })
        && !spec.hardware.window
        && !may_start_programs.iter().any(|switch| overrides.has(switch))
}

#[cfg(test)]
mod tests;
