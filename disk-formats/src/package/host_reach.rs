//! What of VirtualBox's own description of a machine leads to the host that imports it: files, devices and ports there that whoever made the
//! package has named. VirtualBox takes most of it over without a word.

use super::packaged::{HostReach, quoted};
use super::xml_tree::Element;

/// Most of them that are kept; one more says that there are others.
const MOST: usize = 64;
/// Most characters that are told of one.
const MOST_TOLD: usize = 240;

/// Finds all of them in VirtualBox's element of a machine, at whatever place in it: VirtualBox's versions have them at several.
pub(super) fn of(machine: &Element) -> Vec<HostReach> {
    let mut found = Found(Vec::new());
    found.walk(machine, "", "");
    found.0
}

struct Found(Vec<HostReach>);

impl Found {
    /// Looks at an element, whose parent has this name, and at all that is in it. `slot`: of the network card that it is in.
    fn walk(&mut self, element: &Element, parent: &str, slot: &str) {
        // Of a card, the networks that are not in use; a card that does not say so is not there.
        let is_no_card = element.name == "Adapter" && parent == "Network" && element.attribute("enabled").is_none();
        if self.0.len() > MOST || is_off(element) || is_no_card || element.name == "DisabledModes" {
            return;
        }
        let own_slot = (element.name == "Adapter").then(|| number(element));
        let slot = own_slot.as_deref().unwrap_or(slot);
        if !self.known(element, parent, slot) {
            self.places(element);
        }
        element.children.iter().for_each(|child| self.walk(child, &element.name, slot));
    }

    /// Judges an element that is known to lead to the host; `false`: nothing was found in it.
    fn known(&mut self, element: &Element, parent: &str, slot: &str) -> bool {
        let said = |name: &'static str| said(element, name);
        let before = self.0.len();
        match element.name.as_str() {
            "Port" if parent == "UART" && said("hostMode").is_some_and(|mode| !is(mode, "Disconnected")) => {
                let (number, mode) = (number(element), quoted(said("hostMode").unwrap_or_default()));
                let what = format!("its serial port {number} at {}, as {mode}", path(element));
                self.take(what, &[&format!("--uart{number}"), &format!("--uartmode{number}")]);
            }
            "Port" if parent == "LPT" && said("path").is_some() => {
                let number = number(element);
                let what = format!("its parallel port {number} at {}", path(element));
                self.take(what, &[&format!("--lpt{number}"), &format!("--lptmode{number}")]);
            }
            "SharedFolder" => {
                let name = said("name").unwrap_or_default();
                let place = quoted(said("hostPath").unwrap_or_default());
                self.push(format!("the shared folder {} at {place}", quoted(name)), true, &[&["sharedfolder", name]]);
            }
            "ExtraDataItem" => {
                let name = said("name").unwrap_or_default();
                if is_internal(name) {
                    let value = quoted(said("value").unwrap_or_default());
                    self.push(format!("the setting {} = {value}", quoted(name)), true, &[&["setextradata", name]]);
                }
            }
            "HostDrive" => self.take(format!("this host's drive {}", attributes(element)), &[]),
            "DeviceFilter" if said("active").is_none_or(|active| !is_no(active)) => {
                self.push(format!("this host's USB devices {}", attributes(element)), true, &[&["usbfilter"]]);
            }
            "CardReader" => self.take("this host's readers of smart cards".to_owned(), &["--usbcardreader"]),
            "Device" if parent == "Devices" => {
                self.take(format!("this host's PCI device {}", attributes(element)), &["--pcidetach", "--detachpci"]);
            }
            "TrustedPlatformModule" if said("type").is_some_and(|kind| is(kind, "Host") || is(kind, "Swtpm")) => {
                self.take(format!("a TPM of this host, {}", attributes(element)), &["--tpmtype"]);
            }
            "Adapter" if said("trace").is_some_and(|trace| !is_no(trace)) => {
                let what =
                    format!("all packets of card {slot}, written to {}", quoted(said("tracefile").unwrap_or("?")));
                self.take(what, &[&format!("--nictrace{slot}")]);
            }
            "TFTP" if said("prefix").is_some() => {
                let what = format!("the directory {}, which it is served", quoted(said("prefix").unwrap_or_default()));
                self.take(what, &[&format!("--nattftpprefix{slot}")]);
            }
            "GenericInterface" => {
                self.take(
                    format!("a network driver of this host, {}", attributes(element)),
                    &[&format!("--nic{slot}")],
                );
            }
            "Teleporter" if said("enabled").is_some() => {
                self.take("a port of this host that takes its memory in (teleporter)".to_owned(), &["--teleporter"]);
            }
            "GuestDebug" if said("provider").is_some_and(|provider| !is(provider, "None")) => {
                self.take(format!("a debugger's port, {}", attributes(element)), &["--guestdebugprovider"]);
            }
            "Recording" | "VideoCapture" if said("enabled").is_some() => {
                self.take("a recording of its screen".to_owned(), &["--recording", "--videocap"]);
            }
            "Autostart" if said("enabled").is_some() => {
                self.take("that it starts with this host".to_owned(), &["--autostartenabled"]);
            }
            "Machine" | "Snapshot" if said("stateFile").is_some() => {
                self.take(
                    format!("saved memory in {}", quoted(said("stateFile").unwrap_or_default())),
                    &["discardstate"],
                );
            }
            "BridgedInterface" | "HostOnlyInterface" | "HostOnlyNetwork" | "CloudNetwork" => {
                self.see(format!("on card {slot} the network of {} {}", element.name, attributes(element)));
            }
            "Forwarding" => self.see(format!("a port of this host that leads to it: {}", attributes(element))),
            "Clipboard" | "DragAndDrop" if said("mode").is_some_and(|mode| !is(mode, "Disabled")) => {
                self.see(format!("this host's {}, {}", element.name, attributes(element)));
            }
            "AudioAdapter" if said("enabledIn").is_some_and(|heard| !is_no(heard)) => {
                self.see("this host's microphone".to_owned());
            }
            _ => {}
        }
        self.0.len() > before
    }

    /// Whatever else names a place out of the machine's own directory, also in elements that no version has yet.
    fn places(&mut self, element: &Element) {
        const NAMES: [&str; 9] =
            ["file", "folder", "hostpath", "imagepath", "location", "path", "snapshotfolder", "src", "tracefile"];
        for (name, value) in element.attributes() {
            if NAMES.contains(&&*name.to_ascii_lowercase()) && leads_out(value) {
                let what = format!("the place {} ({} {name})", quoted(value), quoted(&element.name).trim_matches('"'));
                let words: &[&str] = match element.name.as_str() {
                    "Logo" => &["--bioslogoimagepath"],
                    "Machine" => &["--snapshotfolder"],
                    "Screen" => &["--recordingfile"],
                    _ => &[],
                };
                self.take(what, words);
            }
        }
        // Those of a medium are places also where they are names alone: an export has no such list.
        if element.name == "MediaRegistry" {
            let media =
                element.children.iter().flat_map(|list| &list.children).filter_map(|medium| said(medium, "location"));
            for medium in media.filter(|medium| !leads_out(medium)) {
                self.take(format!("the medium {}", quoted(medium)), &[]);
            }
        }
    }

    fn take(&mut self, what: String, options: &[&str]) {
        let lists: Vec<&[&str]> = options.iter().map(std::slice::from_ref).collect();
        self.push(what, true, &lists);
    }

    fn see(&mut self, what: String) {
        self.push(what, false, &[]);
    }

    fn push(&mut self, mut what: String, takes: bool, said_by: &[&[&str]]) {
        if self.0.len() == MOST {
            what = "and more".to_owned();
        } else if self.0.len() > MOST {
            return;
        }
        if let Some((end, _)) = what.char_indices().nth(MOST_TOLD) {
            what.truncate(end);
            what.push('…');
        }
        let said_by = said_by.iter().map(|words| words.iter().map(|&word| word.to_owned()).collect()).collect();
        // More than are told are refused, whatever they are.
        self.0.push(HostReach { what, takes: takes || self.0.len() == MOST, said_by });
    }
}

impl HostReach {
    /// Whether one of these commands of VBoxManage says the same setting, whatever its value is there. Options are compared without their
    /// dashes: VirtualBox's versions spell them with more and fewer.
    pub fn is_said(&self, commands: &[Vec<String>]) -> bool {
        let spelt = |word: &str| {
            if word.starts_with("--") { word.replace('-', "").to_ascii_lowercase() } else { word.to_owned() }
        };
        let has = |command: &Vec<String>, wanted: &String| {
            // `--name=VALUE` is one word.
            command.iter().any(|word| {
                let (name, value) =
                    word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
                spelt(name) == spelt(wanted) || value == Some(wanted.as_str())
            })
        };
        self.said_by.iter().any(|words| commands.iter().any(|command| words.iter().all(|word| has(command, word))))
    }
}

/// An attribute that says something. Of two of one name, as VirtualBox may read either, the first that does.
fn said<'a>(element: &'a Element, name: &str) -> Option<&'a str> {
    element.attributes().find(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| value)
}

fn is(value: &str, word: &str) -> bool {
    value.eq_ignore_ascii_case(word)
}

/// What VirtualBox takes for a no.
fn is_no(value: &str) -> bool {
    ["false", "no", "0"].contains(&value)
}

fn is_off(element: &Element) -> bool {
    let mut said = element.attributes().filter(|(name, _)| *name == "enabled").peekable();
    said.peek().is_some() && said.all(|(_, value)| is_no(value))
}

/// The number by which VBoxManage knows a port or a card: it counts from 1.
fn number(element: &Element) -> String {
    let slot = said(element, "slot").and_then(|slot| slot.parse::<u32>().ok()?.checked_add(1));
    slot.map_or_else(|| "?".to_owned(), |slot| slot.to_string())
}

fn path(element: &Element) -> String {
    quoted(said(element, "path").unwrap_or_default())
}

fn attributes(element: &Element) -> String {
    const MOST: usize = 4;
    let one = |(name, value): (&str, &str)| format!("{} {}", quoted(name).trim_matches('"'), quoted(value));
    element.attributes().take(MOST).map(one).collect::<Vec<_>>().join(", ")
}

/// Whether a key of a machine's extra data configures VirtualBox's devices themselves: with it goes any file, and any library.
fn is_internal(name: &str) -> bool {
    // What the firmware is told, and the words of its tables: nothing of the host.
    const HARMLESS: [&str; 4] = [
        "VBoxInternal2/Efi",
        "VBoxInternal2/Uga",
        "VBoxInternal/Devices/efi/0/Config/Dmi",
        "VBoxInternal/Devices/pcbios/0/Config/Dmi",
    ];
    name.get(..12).is_some_and(|start| is(start, "VBoxInternal"))
        && !HARMLESS.iter().any(|start| name.starts_with(start))
}

/// Out of the machine's own directory.
fn leads_out(place: &str) -> bool {
    place.starts_with(['/', '\\']) || place.get(1..2) == Some(":") || place.split(['/', '\\']).any(|part| part == "..")
}

#[cfg(test)]
mod tests;
