//! The machine that a VMX file describes.

use std::collections::HashMap;

use super::document::Vmx;
use super::keys;
use super::left_out::{says_nothing, says_nothing_of_a_device};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::machine::{
    DiskController, DiskSlot, Firmware, MacAddress, MachineDisk, MachineNic, NicModel, NvramMaker, VendorGuestWords,
};
use crate::package::guest_names::NamedGuest;
use crate::package::packaged::{PackagedMachine, quoted, setting};
use crate::package::vmware_settings::is_harmless;

/// The buses of disks, in the order in which a BIOS looks for one to start from.
const BUSES: [&str; 4] = ["ide", "scsi", "sata", "nvme"];
/// Most controllers of a bus, and most units on any of them.
const MAX_CONTROLLERS: u32 = 4;
const MAX_UNITS: u32 = 30;
/// Most network cards.
const MAX_NICS: u32 = 10;

/// Keys that are read below.
const READ: [&str; 12] = [
    "annotation",
    keys::CORES_PER_SOCKET,
    "displayname",
    "firmware",
    "guestos",
    keys::TPM,
    "memsize",
    "numvcpus",
    "nvram",
    keys::SECURE_BOOT,
    keys::NESTED,
    "vtpm.present",
];

impl Vmx {
    /// Returns the disks of the machine, in the order of its buses: the keys in front of `.present`, such as `scsi0:1`, with the names
    /// of their files.
    ///
    /// # Errors
    /// When a disk has no file, or hangs where VMware has no place.
    pub fn disks(&self) -> Result<Vec<(String, &str)>> {
        Ok(self.placed_disks()?.into_iter().map(|disk| (disk.slot.key(), disk.file)).collect())
    }

    /// Returns the machine, with the names of the files of its disks.
    ///
    /// # Errors
    /// When a number is none, or a disk has no file or no place.
    pub(crate) fn machine(&self) -> Result<PackagedMachine> {
        let mut machine = PackagedMachine {
            name: self.text("displayName"),
            cpus: Some(self.number("numvcpus")?.unwrap_or(1)),
            memory: self.number("memsize")?.map(|mib| mib.saturating_mul(1 << 20)),
            guest_os: self.text("guestOS"),
            nvram: self.text("nvram").map(|file| (NvramMaker::VMware, file)),
            ..PackagedMachine::default()
        };
        machine.describe_size();
        machine.description.name = machine.name.clone().unwrap_or_default();
        if let Some(cores) = self.number(keys::CORES_PER_SOCKET)? {
            machine.description.cores_per_socket = u32::try_from(cores).ok().filter(|cores| *cores > 0);
            if machine.description.cores_per_socket.is_none() {
                machine.leave_out(format!("the setting {}", setting(keys::CORES_PER_SOCKET, &cores.to_string())));
            }
        }
        machine.description.nested_virtualization = self.truth(keys::NESTED, &mut machine);
        machine.description.annotation = self.text("annotation");
        machine.description.tpm = self.truth("vtpm.present", &mut machine) || self.text(keys::TPM).is_some();
        if let Some(version) = self.number("virtualHW.version")? {
            let version = u8::try_from(version).map_err(|_| broken(format!("virtualHW.version is {version}")))?;
            machine.description.hardware_version = version;
        }
        self.read_firmware(&mut machine);
        self.read_guest(&mut machine);
        self.read_disks(&mut machine)?;
        self.read_nics(&mut machine);
        self.read_rest(&mut machine);
        Ok(machine)
    }

    fn read_firmware(&self, machine: &mut PackagedMachine) {
        let secure_boot = self.truth(keys::SECURE_BOOT, machine);
        let word = self.text("firmware").unwrap_or_else(|| "bios".to_owned());
        match word.to_ascii_lowercase().as_str() {
            known @ ("bios" | "efi") => machine.firmware = Some(known.to_owned()),
            _ => machine.leave_out(format!("the setting {}", setting("firmware", &word))),
        }
        if machine.firmware.as_deref() == Some("efi") {
            machine.description.firmware = Firmware::Uefi { secure_boot };
        }
    }

    /// Reads `TRUE` or `FALSE`, and names what is neither.
    fn truth(&self, key: &str, machine: &mut PackagedMachine) -> bool {
        let value = self.text(key).unwrap_or_default();
        if !matches!(value.trim().to_ascii_lowercase().as_str(), "" | "true" | "false") {
            machine.leave_out(format!("the setting {}", setting(key, &value)));
        }
        self.is_true(key)
    }

    fn text(&self, key: &str) -> Option<String> {
        self.get(key).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    fn number(&self, key: &str) -> Result<Option<u64>> {
        let Some(text) = self.get(key).map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
        let number = text.parse().map_err(|_| broken(format!("{key} is {text:?}, which is no number")))?;
        Ok(Some(number))
    }

    fn read_guest(&self, machine: &mut PackagedMachine) {
        let words = VendorGuestWords { workstation: self.text("guestOS"), ..VendorGuestWords::default() };
        let found = NamedGuest::of(words, None);
        if let Some(word) = machine.guest_os.as_ref().filter(|_| found.is_guess) {
            let guess = found.guest.words().title;
            let what = format!("the guest type {}, which is not known ({guess} for other hypervisors)", quoted(word));
            machine.leave_out(what);
        }
        (machine.description.guest_os, machine.description.guest_words) = (found.guest, found.words);
    }

    fn read_disks(&self, machine: &mut PackagedMachine) -> Result<()> {
        let mut numbers: HashMap<DiskController, Vec<u32>> = HashMap::new();
        for disk in self.placed_disks()? {
            let kind = match disk.slot.bus {
                "ide" => DiskController::Ide,
                "sata" => DiskController::Sata,
                "nvme" => DiskController::Nvme,
                _ => {
                    let key = format!("scsi{}.virtualDev", disk.slot.controller);
                    let word = self.text(&key).unwrap_or_else(|| "lsilogic".to_owned());
                    keys::scsi(&word).unwrap_or_else(|| {
                        let what =
                            format!("the SCSI controller {}, in whose place there is LSI Logic's", quoted(&word));
                        machine.leave_out(what);
                        DiskController::LsiLogic
                    })
                }
            };
            // A description counts the controllers of each kind.
            let of_kind = numbers.entry(kind).or_default();
            let index = of_kind.iter().position(|number| *number == disk.slot.controller).unwrap_or_else(|| {
                of_kind.push(disk.slot.controller);
                of_kind.len() - 1
            });
            let slot = DiskSlot { controller: index as u32, unit: disk.slot.unit };
            machine.description.disks.push(MachineDisk { controller: kind, slot: Some(slot), file: None });
            machine.disks.push(disk.file.to_owned());
        }
        Ok(())
    }

    /// Finds the disks. Other devices on the buses, such as CD drives, are none.
    fn placed_disks(&self) -> Result<Vec<PlacedDisk<'_>>> {
        let mut disks = Vec::new();
        for (key, _) in self.iter() {
            let Some(place) = key.to_ascii_lowercase().strip_suffix(".present").map(str::to_owned) else { continue };
            let Some((bus, controller, unit)) = slot_of(&place) else { continue };
            if !self.is_true(key) || !self.is_disk(&place) {
                continue;
            }
            let has_place = match bus {
                "ide" => controller < 2 && unit < 2,
                "scsi" => unit != 7 && unit < 16,
                "nvme" => unit < 15,
                _ => unit < MAX_UNITS,
            };
            if controller >= MAX_CONTROLLERS || !has_place {
                return Err(broken(format!("the disk {place} hangs where no machine of VMware's has a place")));
            }
            // A controller that is not there has no disks.
            if bus != "ide" && !self.is_true(&format!("{bus}{controller}.present")) {
                continue;
            }
            let file = self.get(&format!("{place}.fileName")).filter(|file| !file.is_empty());
            let file = file.ok_or_else(|| {
                broken(format!("the disk {place} has no file")).with_hint(format!(
                    "say it as `{place}.fileName = \"disk.vmdk\"`, or `{place}.present = \"FALSE\"`"
                ))
            })?;
            disks.push(PlacedDisk { slot: Slot { bus, controller, unit }, file });
        }
        disks.sort_by_key(|disk| {
            let slot = &disk.slot;
            (BUSES.iter().position(|bus| *bus == slot.bus), slot.controller, slot.unit)
        });
        Ok(disks)
    }

    fn is_disk(&self, place: &str) -> bool {
        let kind = self.get(&format!("{place}.deviceType")).unwrap_or("disk").to_ascii_lowercase();
        kind == "disk" || kind.ends_with("harddisk") || kind.starts_with("rawdisk")
    }

    fn read_nics(&self, machine: &mut PackagedMachine) {
        for number in (0..MAX_NICS).filter(|number| self.is_true(&format!("ethernet{number}.present"))) {
            let text = |field: &str| self.text(&format!("ethernet{number}.{field}"));
            let word = text("virtualDev").unwrap_or_else(|| keys::nic_word(NicModel::default()).to_owned());
            let model = keys::nic(&word).unwrap_or_else(|| {
                let word = quoted(&word);
                machine.leave_out(format!(
                    "the model {word} of the network card ethernet{number}, in whose place there is e1000"
                ));
                NicModel::default()
            });
            // Without a word for it a card is bridged.
            let connection = text("connectionType").unwrap_or_else(|| "bridged".to_owned());
            let network = match connection.to_ascii_lowercase().as_str() {
                "custom" => text("vnet").or_else(|| text("networkName")).unwrap_or(connection),
                "pvn" => text("networkName").unwrap_or(connection),
                _ => connection,
            };
            let is_static = text("addressType").is_some_and(|kind| kind.eq_ignore_ascii_case("static"));
            let address = text("address").filter(|_| is_static);
            let mac = address.as_deref().and_then(MacAddress::from_text);
            if let Some(address) = address.filter(|_| mac.is_none()) {
                machine.leave_out(format!("the setting {}", setting(&format!("ethernet{number}.address"), &address)));
            }
            machine.networks.push(network.clone());
            machine.description.nics.push(MachineNic { model, network, mac, ..MachineNic::default() });
        }
    }

    /// Keeps those of the other settings that concern the guest alone, and names the devices that a description does not hold.
    fn read_rest(&self, machine: &mut PackagedMachine) {
        for (key, value) in self.iter() {
            let lower = key.to_ascii_lowercase();
            let is_read = READ.iter().any(|known| known.eq_ignore_ascii_case(&lower));
            if is_read || says_nothing(&lower, value) {
                continue;
            }
            if is_harmless(&lower) && !names_a_file(&lower) {
                machine.description.vmware_settings.push((key.to_owned(), value.to_owned()));
                continue;
            }
            let (first, field) = lower.split_once('.').unwrap_or((&lower, ""));
            if matches!(first.trim_end_matches(|last: char| last.is_ascii_digit()), "hpet" | "pcibridge" | "vmci") {
                machine.leave_out(format!("the setting {}", setting(key, value)));
                continue;
            }
            let is_device = first.contains(':') || first.ends_with(|last: char| last.is_ascii_digit());
            if is_device || matches!(first, "usb" | "ehci" | "usb_xhci" | "sound" | "sharedfolder" | "remotedisplay") {
                let is_there = field == "present" || (first == "remotedisplay" && field == "vnc.enabled");
                if is_there && self.is_true(key) {
                    self.name_device(machine, first);
                } else if self.is_kept(first) && !says_nothing_of_a_device(field, value) {
                    machine.leave_out(format!("the setting {}", setting(key, value)));
                }
            } else if names_a_file(&lower) {
                let key = quoted(key);
                machine.leave_out(format!(
                    "the setting {}, which names a file or folder of the host",
                    key.trim_matches('"')
                ));
            } else {
                // It could reach the host, or is nothing that we know.
                machine.leave_out(format!("the setting {}", setting(key, value)));
            }
        }
    }

    /// Whether a device, by its key in lower case, is one that a description holds: a disk, its controller, a network card.
    fn is_kept(&self, device: &str) -> bool {
        let bus = BUSES.iter().any(|bus| device.starts_with(bus));
        let is_one = is_card(device) || bus && (!device.contains(':') || self.is_disk(device));
        is_one && (self.is_true(&format!("{device}.present")) || device.starts_with("ide") && !device.contains(':'))
    }

    fn name_device(&self, machine: &mut PackagedMachine, device: &str) {
        let name = device.trim_end_matches(|c: char| c.is_ascii_digit() || c == ':');
        let what = match name {
            "ethernet" if is_card(device) => return,
            bus if BUSES.contains(&bus) => {
                if !device.contains(':') || self.is_disk(device) && slot_of(device).is_some() {
                    return;
                }
                if self.is_disk(device) {
                    return machine.leave_out(format!("the device {}", quoted(device).trim_matches('"')));
                }
                "a CD drive"
            }
            "floppy" => "a floppy drive",
            "usb" | "ehci" | "usb_xhci" => "USB",
            "sound" => "a sound card",
            "serial" => "a serial port",
            "parallel" => "a parallel port",
            "sharedfolder" => "shared folders",
            "remotedisplay" => "the display by VNC",
            _ => return machine.leave_out(format!("the device {}", quoted(device).trim_matches('"'))),
        };
        machine.leave_out(what.to_owned());
    }
}

struct PlacedDisk<'a> {
    slot: Slot,
    file: &'a str,
}

struct Slot {
    bus: &'static str,
    controller: u32,
    unit: u32,
}

impl Slot {
    fn key(&self) -> String {
        format!("{}{}:{}", self.bus, self.controller, self.unit)
    }
}

/// Says whether a device, in lower case, is a network card that is read.
fn is_card(device: &str) -> bool {
    (0..MAX_NICS).any(|number| device.strip_prefix("ethernet") == Some(&*number.to_string()))
}

/// Reads `scsi0:1`, in lower case.
fn slot_of(text: &str) -> Option<(&'static str, u32, u32)> {
    let bus = BUSES.into_iter().find(|bus| text.starts_with(bus))?;
    let (controller, unit) = text[bus.len()..].split_once(':')?;
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    Some((bus, number(controller)?, number(unit)?))
}

/// Says whether a key, in lower case, is one whose value leads to something of the host's.
fn names_a_file(key: &str) -> bool {
    !key.starts_with("guestinfo.")
        && ["file", "dir", "path", "device", "pipe", "url"].iter().any(|word| key.contains(word))
}

fn broken(rule: String) -> Error {
    Error::new(ErrorKind::Corrupt, Operation::Read, rule)
}

#[cfg(test)]
mod tests;
