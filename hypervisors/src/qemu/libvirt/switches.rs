//! What of QEMU's command line is said in domain XML, because libvirt keeps books of it: taken out of the line and read.

use crate::qemu::arguments::CommandLine;
use crate::qemu::machine_spec::QemuMachineSpec;
use crate::qemu::overrides::Overrides;

/// Letters of `-boot`, and what libvirt calls the device.
const BOOT_DEVICES: [(char, &str); 4] = [('a', "fd"), ('b', "fd"), ('c', "hd"), ('d', "cdrom")];

/// Devices that are a screen: with one of them QEMU makes none of its own.
const SCREENS: [&str; 9] = [
    "VGA",
    "cirrus-vga",
    "isa-vga",
    "isa-cirrus-vga",
    "qxl-vga",
    "vmware-svga",
    "virtio-vga",
    "virtio-gpu",
    "bochs-display",
];

/// What the switches say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Switches {
    /// Memory in MiB.
    pub(super) memory_mib: u64,
    /// Sockets, cores and threads.
    pub(super) topology: [u32; 3],
    /// Devices to boot from, in order.
    pub(super) boot: Vec<&'static str>,
    /// A BIOS instead of QEMU's own.
    pub(super) bios: Option<String>,
    /// A floppy's image.
    pub(super) floppy: Option<String>,
    /// The machine ends when the guest restarts.
    pub(super) ends_on_reboot: bool,
}

impl Switches {
    /// Takes them out of `line`, or says what libvirt cannot do.
    pub(super) fn take(spec: QemuMachineSpec<'_>, line: &mut CommandLine) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let overrides = Overrides::new(&spec.qemu.arguments);
        let mut found = Self::default();
        let last = |line: &mut CommandLine, switch| line.take(switch).into_iter().flatten().next_back();
        let memory = last(line, "-m").unwrap_or_default();
        match mebibytes(&memory) {
            Some(size) => found.memory_mib = size,
            None => problems.push(format!("-m {memory}: libvirt takes an amount of memory and nothing else")),
        }
        let processors = last(line, "-smp").unwrap_or_default();
        match topology(&processors) {
            Some(topology) => found.topology = topology,
            None => problems.push(format!(
                "-smp {processors}: libvirt takes processors, sockets, cores and threads whose product they are, and nothing else"
            )),
        }
        found.bios = last(line, "-bios");
        found.floppy = last(line, "-fda").or_else(|| Some(spec.hardware.floppy.as_ref()?.display().to_string()));
        found.ends_on_reboot = !line.take("-no-reboot").is_empty();
        // libvirt ends the machine itself when the guest is off.
        for switch in ["-no-shutdown", "-name", "-accel", "-enable-kvm", "-no-kvm", "-S"] {
            line.take(switch);
        }
        // Where the template has drives of its own, libvirt knows none, and QEMU finds out what to boot as ever.
        if !overrides.has("-drive") {
            found.boot = vec!["hd", "cdrom"];
            let boot = line.take("-boot");
            if overrides.has("-boot") {
                for value in boot.into_iter().flatten() {
                    match boot_devices(&value) {
                        Some((devices, rest)) => {
                            if !devices.is_empty() {
                                found.boot = devices;
                            }
                            if !rest.is_empty() {
                                line.put("-boot", rest);
                            }
                        }
                        None => problems.push(format!("-boot {value}: only a, c and d can be booted through libvirt")),
                    }
                }
            }
        }
        let mut machine: Vec<Option<String>> = line.take("-machine");
        machine.append(&mut line.take("-M"));
        for value in machine.into_iter().flatten() {
            let rest = machine_rest(&value);
            if !rest.is_empty() {
                line.put("-machine", rest);
            }
        }
        for value in line.take("-display").into_iter().flatten() {
            if value != "none" {
                line.put("-display", value);
            }
        }
        if !spec.is_virt() && !line.has_switch("-vga") && !SCREENS.iter().any(|screen| line.has_device_called(screen)) {
            // libvirt starts QEMU without any device of QEMU's choice.
            line.put("-vga", "std".to_owned());
        }
        if problems.is_empty() { Ok(found) } else { Err(problems) }
    }
}

/// Reads `512M`, `2G`, `512`, `size=512M`, as MiB.
fn mebibytes(value: &str) -> Option<u64> {
    let value = value.strip_prefix("size=").unwrap_or(value);
    let digits = value.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok().filter(|number| *number > 0)?;
    match &value[digits.len()..] {
        "" | "M" | "m" => Some(number),
        "G" | "g" => number.checked_mul(1024),
        "T" | "t" => number.checked_mul(1024 * 1024),
        _ => None,
    }
}

/// Reads `4`, `4,sockets=2`, … as QEMU completes it: cores before sockets.
fn topology(value: &str) -> Option<[u32; 3]> {
    let (mut cpus, mut terms) = (None, [None::<u32>; 3]);
    for (position, part) in value.split(',').enumerate() {
        let (key, number) = part.split_once('=').unwrap_or(("cpus", part));
        if position > 0 && !part.contains('=') {
            return None;
        }
        let number = Some(number.parse::<u32>().ok().filter(|number| *number > 0)?);
        match key {
            "cpus" => cpus = number,
            "sockets" => terms[0] = number,
            "cores" => terms[1] = number,
            "threads" => terms[2] = number,
            _ => return None,
        }
    }
    let product =
        |terms: &[Option<u32>]| terms.iter().flatten().try_fold(1_u32, |product, term| product.checked_mul(*term));
    let cpus = match cpus {
        Some(cpus) => cpus,
        None => product(&terms)?,
    };
    // One of them takes up what the others leave.
    let open = [1, 0, 2].into_iter().find(|term| terms[*term].is_none());
    if let Some(open) = open {
        let rest = cpus.checked_div(product(&terms)?)?;
        terms[open] = Some(rest.max(1));
    }
    let terms = terms.map(|term| term.unwrap_or(1));
    let all = terms.iter().try_fold(1_u32, |product, term| product.checked_mul(*term))?;
    (all == cpus).then_some(terms)
}

/// Reads `dc`, `order=dc`, `once=d,menu=on`: the devices, and what is no device.
fn boot_devices(value: &str) -> Option<(Vec<&'static str>, String)> {
    let (mut once, mut order, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for part in value.split(',') {
        let (key, letters) = part.split_once('=').unwrap_or(("order", part));
        let into = match key {
            "once" => &mut once,
            "order" => &mut order,
            _ => {
                rest.push(part);
                continue;
            }
        };
        for letter in letters.chars() {
            into.push(BOOT_DEVICES.iter().find(|(known, _)| *known == letter)?.1);
        }
    }
    if order.is_empty() && !once.is_empty() {
        order.push("hd");
    }
    // libvirt has no word for the first time only. Behind the disk, what is meant for once is booted as long as the disk is empty.
    let mut devices: Vec<&'static str> = Vec::new();
    for device in order.into_iter().chain(once) {
        if !devices.contains(&device) {
            devices.push(device);
        }
    }
    Some((devices, rest.join(",")))
}

/// What `-machine` says besides the type, the accelerator and the guard of the flash.
fn machine_rest(value: &str) -> String {
    let parts = value.split(',').enumerate();
    let rest = parts.filter(|(position, part)| match part.split_once('=') {
        Some((key, _)) => !matches!(key, "type" | "accel" | "smm"),
        None => *position > 0,
    });
    rest.map(|(_, part)| part).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory() {
        for (value, size) in [("512M", 512), ("512", 512), ("2G", 2048), ("size=1g", 1024), ("1T", 1 << 20)] {
            assert_eq!(mebibytes(value), Some(size), "{value}");
        }
        for value in ["", "0", "M", "512K", "512M,slots=2", "-1", "99999999999999999999"] {
            assert_eq!(mebibytes(value), None, "{value}");
        }
        assert_eq!(mebibytes(&format!("{}T", u64::MAX)), None);
    }

    #[test]
    fn processors_are_completed_as_qemu_does() {
        for (value, expected) in [
            ("4", [1, 4, 1]),
            ("cpus=4", [1, 4, 1]),
            ("4,sockets=2", [2, 2, 1]),
            ("4,cores=2", [2, 2, 1]),
            ("8,threads=2", [1, 4, 2]),
            ("8,sockets=2,cores=2", [2, 2, 2]),
            ("sockets=2,cores=3", [2, 3, 1]),
        ] {
            assert_eq!(topology(value), Some(expected), "{value}");
        }
        for value in [
            "",
            "0",
            "4,cores=3",
            "4,maxcpus=8",
            "2,4",
            "4,sockets=2,cores=2,threads=2",
            "4294967295,cores=4294967295,sockets=2",
        ] {
            assert_eq!(topology(value), None, "{value}");
        }
    }

    #[test]
    fn boot_orders() {
        let read = |value| boot_devices(value).map(|(devices, rest)| (devices.join(" "), rest));
        let found = |devices: &str, rest: &str| Some((devices.to_owned(), rest.to_owned()));
        assert_eq!(read("c"), found("hd", ""));
        assert_eq!(read("order=dc"), found("cdrom hd", ""));
        assert_eq!(read("once=d"), found("hd cdrom", ""));
        assert_eq!(read("once=d,order=c,menu=on,splash-time=5"), found("hd cdrom", "menu=on,splash-time=5"));
        assert_eq!(read("n"), None);
    }

    #[test]
    fn machine_properties() {
        assert_eq!(machine_rest("type=pc,accel=kvm"), "");
        assert_eq!(machine_rest("q35,usb=on,smm=on,hpet=off"), "usb=on,hpet=off");
        assert_eq!(machine_rest("smm=on"), "");
    }
}
