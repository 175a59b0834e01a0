//! The words that lead to the host, and what has to be said so that they do not.

use super::found::{Card, Found, attributes, bare, is, is_no, is_on, number, said, shown_number, text};
use super::inside::is_harmless_key;
use super::saying::{OFF, Saying, Values};
use crate::package::packaged::quoted;
use crate::package::xml_tree::Element;

impl Found {
    /// Judges an element that is known. `above`: the elements that it is in.
    pub(super) fn judge(&mut self, element: &Element, above: &[&Element], card: Card) {
        let parent = above.last().map_or("", |parent| parent.name.as_str());
        match (parent, element.name.as_str()) {
            (_, "Machine") => self.judge_machine(element),
            ("UART" | "Uart", "Port") => self.judge_serial(element),
            ("LPT" | "Lpt", "Port") => self.judge_parallel(element),
            (_, "SharedFolder") => {
                let (name, place) = (text(element, "name"), quoted(text(element, "hostPath")));
                let said_by = vec![Saying::NoFolder(name.to_owned())];
                self.take(format!("the shared folder {} at {place}", quoted(name)), said_by);
            }
            (_, "ExtraDataItem") => {
                let name = text(element, "name");
                if !is_harmless_key(name) {
                    let what = format!("the setting {} = {}", quoted(name), quoted(text(element, "value")));
                    self.take(what, vec![Saying::ExtraData(name.to_owned())]);
                }
            }
            (_, "Adapter" | "NAT" | "TFTP" | "Forwarding" | "GenericInterface") => self.judge_card(element, card),
            (_, "BridgedInterface" | "HostOnlyInterface" | "HostOnlyNetwork" | "CloudNetwork") if card.is_used => {
                let network = format!("the network of {} {}", element.name, attributes(element));
                self.see(format!("on card {} {network}", shown_number(card.number)));
            }
            (_, "VideoCapture" | "Recording" | "Screen") => self.judge_recording(element, above.last().copied()),
            (_, "RemoteDisplay") => self.judge_display(element),
            ("VRDEProperties", "Property") => self.judge_display_property(element),
            (_, "Clipboard" | "DragAndDrop") => self.judge_exchange(element),
            (_, "AttachedDevice" | "HostDrive") | ("AttachedDevice", "Image") => self.judge_drive(element, above),
            (_, "HardDisk") | ("DVDImages" | "FloppyImages", "Image") => {
                let place = quoted(text(element, "location"));
                self.take(format!("the place {place} ({} location)", element.name), Vec::new());
            }
            _ => self.judge_device(element),
        }
    }

    fn judge_machine(&mut self, element: &Element) {
        if let Some(file) = said(element, "stateFile") {
            self.take(format!("saved memory in {}", quoted(file)), vec![Saying::NoSavedState]);
        }
        if let Some(folder) = said(element, "snapshotFolder").filter(|folder| leads_out(folder)) {
            let what = format!("the place {} (Machine snapshotFolder)", quoted(folder));
            self.take(what, vec![Saying::option("snapshotfolder", Values::Any)]);
        }
        if said(element, "processPriority") == Some("High") {
            self.see("a high priority among this host's processes".to_owned());
        }
    }

    fn judge_serial(&mut self, port: &Element) {
        let Some(mode) = said(port, "hostMode").filter(|mode| !is(mode, "Disconnected")) else { return };
        let number = shown_number(number(port));
        let what = format!("its serial port {number} at {}, as {}", quoted(text(port, "path")), quoted(mode));
        // To switch the port on leaves its place as it is.
        let off = switched_off(port, format!("uart{number}"));
        self.take(what, vec![off, Saying::option(format!("uartmode{number}"), Values::Any)]);
    }

    fn judge_parallel(&mut self, port: &Element) {
        let Some(path) = said(port, "path") else { return };
        let number = shown_number(number(port));
        let off = switched_off(port, format!("lpt{number}"));
        let said_by = vec![off, Saying::option(format!("lptmode{number}"), Values::Any)];
        self.take(format!("its parallel port {number} at {}", quoted(path)), said_by);
    }

    fn judge_recording(&mut self, element: &Element, parent: Option<&Element>) {
        // What a screen has is used when its recording is on.
        let switch = if element.name == "Screen" { parent } else { Some(element) };
        let is_recording = switch.is_some_and(|switch| is_on(switch, "enabled"));
        let file = said(element, "file").filter(|file| leads_out(file));
        if file.is_none() && !(is_recording && element.name != "Screen") {
            return;
        }
        let values = Values::Only(OFF);
        let switch = "recording videocap";
        let off = if is_recording { Saying::option(switch, values) } else { Saying::stays(switch, values) };
        let said_by = vec![off, Saying::option("recordingfile videocapfile", Values::Any)];
        let what = match file {
            Some(file) => format!("a recording of its screen at {}", quoted(file)),
            None => "a recording of its screen".to_owned(),
        };
        self.take(what, said_by);
    }

    fn judge_exchange(&mut self, element: &Element) {
        let options = if element.name == "Clipboard" { "clipboardmode clipboard" } else { "draganddrop" };
        let mode = said(element, "mode").filter(|mode| !is(mode, "Disabled"));
        let what = || format!("this host's {}, {}", element.name, attributes(element));
        match mode {
            // It gives, and gets nothing.
            Some(mode) if is(mode, "GuestToHost") => self.see(what()),
            Some(_) => self.take(what(), vec![Saying::option(options, Values::Any)]),
            None => {}
        }
        if is_on(element, "fileTransfersEnabled") {
            let transfers = Saying::option("clipboardfiletransfers", Values::Any);
            self.take("this host's files by its clipboard".to_owned(), vec![transfers]);
        }
    }

    fn judge_drive(&mut self, element: &Element, above: &[&Element]) {
        match element.name.as_str() {
            "HostDrive" => self.take(format!("this host's drive {}", attributes(element)), Vec::new()),
            "AttachedDevice" if is_on(element, "passthrough") => {
                self.take("that it sends commands to a drive of this host".to_owned(), Vec::new());
            }
            // What is in the package is listed among its disks; other media are in the importer's list, or nowhere.
            "Image" if !self.is_packed(element, above.last().copied()) => {
                let medium = quoted(text(element, "uuid"));
                self.take(format!("the medium {medium} of this host's VirtualBox"), Vec::new());
            }
            _ => {}
        }
    }

    fn is_packed(&self, image: &Element, drive: Option<&Element>) -> bool {
        let uuid = bare(text(image, "uuid"));
        drive.is_some_and(|drive| said(drive, "type") == Some("HardDisk")) || self.packed.iter().any(|one| one == uuid)
    }

    fn judge_device(&mut self, element: &Element) {
        let any = |name: &str| vec![Saying::option(name, Values::Any)];
        match element.name.as_str() {
            "DeviceFilter" => {
                let said_by = vec![Saying::NoUsbFilter(self.filters)];
                self.filters = self.filters.saturating_add(1);
                if said(element, "active").is_none_or(|active| !is_no(active)) {
                    self.take(format!("this host's USB devices {}", attributes(element)), said_by);
                }
            }
            "CardReader" if is_on(element, "enabled") => {
                let said_by = vec![Saying::option("usbcardreader", Values::Only(OFF))];
                self.take("this host's readers of smart cards".to_owned(), said_by);
            }
            "Device" => self.take(format!("this host's PCI device {}", attributes(element)), Vec::new()),
            "TrustedPlatformModule" => {
                let is_hosts = said(element, "type").is_some_and(|kind| is(kind, "Host") || is(kind, "Swtpm"));
                if is_hosts || said(element, "location").is_some() {
                    let others = Values::Not(&["host", "swtpm"]);
                    let of_type = match is_hosts {
                        true => Saying::option("tpmtype", others),
                        false => Saying::stays("tpmtype", others),
                    };
                    let said_by = vec![of_type, Saying::option("tpmlocation", Values::Any)];
                    self.take(format!("a TPM of this host, {}", attributes(element)), said_by);
                }
            }
            "Teleporter" if element.attributes().next().is_some() => {
                let what = "a port of this host that takes its memory in (teleporter)".to_owned();
                self.take(what, vec![switched_on(element, "teleporter")]);
            }
            "Tracing" if is_on(element, "enabled") || said(element, "config").is_some() => {
                let what = format!("tracing on this host, {}", attributes(element));
                self.take(what, vec![switched_on(element, "tracingenabled")]);
            }
            "Autostart" if is_on(element, "enabled") => {
                self.take("that it starts with this host".to_owned(), vec![switched_on(element, "autostartenabled")]);
            }
            "GuestDebug" if said(element, "provider").is_some_and(|provider| !is(provider, "None")) => {
                let said_by = vec![Saying::option("guestdebugprovider", Values::Only(&["none"]))];
                self.take(format!("a debugger's port, {}", attributes(element)), said_by);
            }
            "Paravirt" => {
                if let Some(debug) = said(element, "debug") {
                    self.take(format!("a debugger's connection, {}", quoted(debug)), any("paravirtdebug"));
                }
            }
            "Default" => {
                let known = ["default", "gui", "headless", "sdl", "separate"];
                if let Some(frontend) =
                    said(element, "type").filter(|frontend| !known.iter().any(|one| is(frontend, one)))
                {
                    self.take(format!("the program {} to show it", quoted(frontend)), any("defaultfrontend"));
                }
            }
            "Logo" => {
                if let Some(place) = said(element, "imagePath") {
                    let options = "bioslogoimagepath firmwarelogoimagepath";
                    self.take(format!("the place {} (Logo imagePath)", quoted(place)), any(options));
                }
            }
            "NVRAM" => {
                if let Some(place) = said(element, "path").filter(|place| leads_out(place)) {
                    self.take(format!("the place {} (NVRAM path)", quoted(place)), Vec::new());
                }
            }
            // Without it a guest may read what other programs had in the processor's caches.
            "L1DFlushOn" | "MDSClearOn" if said(element, "scheduling").is_some_and(is_no) => {
                let option = if element.name == "L1DFlushOn" { "l1dflushonsched" } else { "mdsclearonsched" };
                self.take(format!("that the processor's caches are not cleared ({})", element.name), any(option));
            }
            "Memory" if is_on(element, "PageFusion") => {
                self.see("memory that it shares with other machines".to_owned());
            }
            "AudioAdapter" if is_on(element, "enabledIn") => self.see("this host's microphone".to_owned()),
            _ => {}
        }
    }
}

/// That a port which is off stays off, or that one which is on is switched off.
fn switched_off(port: &Element, option: String) -> Saying {
    match said(port, "enabled").is_some_and(is_no) {
        true => Saying::stays(option, Values::Only(OFF)),
        false => Saying::option(option, Values::Only(OFF)),
    }
}

/// The same for what is off unless it is said to be on.
fn switched_on(element: &Element, option: &str) -> Saying {
    match is_on(element, "enabled") {
        true => Saying::option(option, Values::Only(OFF)),
        false => Saying::stays(option, Values::Only(OFF)),
    }
}

/// Out of the machine's own directory.
fn leads_out(place: &str) -> bool {
    place.starts_with(['/', '\\']) || place.get(1..2) == Some(":") || place.split(['/', '\\']).any(|part| part == "..")
}
