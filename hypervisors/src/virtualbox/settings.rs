//! The command lines that make a machine of a spec: plain lists of words, in Packer's order. Where Packer calls `modifyvm` once for
//! each setting, one call has them all.

use super::call::{Call, add, on, words};
use super::spec::{Hardware, RemoteDisplay};
use super::storage;
use crate::spec::MachineSpec;

/// Network adapters that a machine can have (VirtualBox's limit for its default chipset); Packer sets the model of all.
const ADAPTERS: u32 = 8;

/// Registers an empty machine; in `base` unless it is to be where VirtualBox keeps machines.
pub(super) fn create(spec: &MachineSpec, hardware: &Hardware, uuid: &str, base: Option<&str>) -> Call {
    let mut call = vec!["createvm".to_owned(), "--name".to_owned(), spec.name.clone()];
    call.extend(["--ostype".to_owned(), hardware.os_type.clone()]);
    call.extend(["--uuid".to_owned(), uuid.to_owned(), "--register".to_owned()]);
    if let Some(base) = base {
        call.extend(["--basefolder".to_owned(), base.to_owned()]);
    }
    call
}

/// Writes the settings of a machine as VirtualBox recommends them for its guest's system, without registering it.
pub(super) fn recommend(hardware: &Hardware, name: &str, base: &str) -> Call {
    let mut call = vec!["createvm".to_owned(), "--name".to_owned(), name.to_owned()];
    call.extend(["--ostype".to_owned(), hardware.os_type.clone(), "--default".to_owned()]);
    call.extend(["--basefolder".to_owned(), base.to_owned()]);
    call
}

/// Everything about a new machine but what is attached to it.
pub(super) fn new_machine(spec: &MachineSpec, hardware: &Hardware, uuid: &str, graphics: &str) -> Vec<Call> {
    let cpus = spec.topology.processors();
    let mut modify = vec!["modifyvm".to_owned(), uuid.to_owned()];
    add(&mut modify, "--boot1 disk --boot2 dvd --boot3 none --boot4 none");
    add(&mut modify, &format!("--cpus {cpus}"));
    if cpus > 1 {
        add(&mut modify, "--ioapic on");
    }
    add(&mut modify, &format!("--memory {}", spec.memory_mib));
    match &hardware.usb {
        None => add(&mut modify, "--usb off"),
        Some(controller) => {
            for kind in ["ohci", "ehci", "xhci"] {
                add(&mut modify, &format!("--usb{kind} {}", on(kind == controller)));
            }
        }
    }
    audio(&mut modify, hardware);
    add(&mut modify, &format!("--mouse {} --keyboard {}", hardware.mouse, hardware.keyboard));
    add(&mut modify, &format!("--chipset {}", hardware.chipset));
    add(&mut modify, &format!("--firmware {}", if hardware.efi { "efi" } else { "bios" }));
    if let Some(device) = &spec.network.device {
        for adapter in 1..=ADAPTERS {
            add(&mut modify, &format!("--nictype{adapter} {device}"));
        }
    }
    add(&mut modify, &format!("--graphicscontroller {graphics} --vram {}", hardware.video_memory));
    add(&mut modify, &format!("--rtcuseutc {}", on(hardware.clock_utc)));
    if let Some(nested) = hardware.nested {
        add(&mut modify, &format!("--nested-hw-virt {}", on(nested)));
    }
    add(&mut modify, &format!("--accelerate3d {}", on(hardware.accelerate_3d)));
    let mut calls = vec![modify];
    if let Some(resolution) = &hardware.efi_resolution {
        calls.push(words(&format!("setextradata {uuid} VBoxInternal2/EfiGraphicsResolution {resolution}")));
    }
    calls.extend(storage::controllers(spec, hardware, uuid));
    calls
}

fn audio(modify: &mut Call, hardware: &Hardware) {
    if hardware.audio_controller == "none" {
        return add(modify, "--audio-enabled off");
    }
    add(modify, &format!("--audio-driver {}", hardware.audio_driver));
    if hardware.audio_driver != "none" {
        add(modify, "--audioin on --audioout on");
    }
    add(modify, &format!("--audiocontroller {}", hardware.audio_controller));
}

/// What every machine gets, wherever it comes from: the remote display and the way into it.
pub(super) fn access(uuid: &str, display: Option<(&RemoteDisplay, u16)>, forward: Option<(u16, u16)>) -> Option<Call> {
    let mut modify = vec!["modifyvm".to_owned(), uuid.to_owned()];
    if let Some((display, port)) = display {
        modify.extend(["--vrdeaddress".to_owned(), display.bind.clone()]);
        add(&mut modify, &format!("--vrdeauthtype null --vrde on --vrdeport {port}"));
    }
    if let Some((host_port, guest_port)) = forward {
        add(&mut modify, "--nic1 nat --nat-localhostreachable1 on");
        add(&mut modify, &format!("--natpf1 {FORWARDING},tcp,127.0.0.1,{host_port},,{guest_port}"));
    }
    (modify.len() > 2).then_some(modify)
}

/// Lets the machine run.
pub(super) fn start(spec: &MachineSpec, uuid: &str) -> Call {
    words(&format!("startvm {uuid} --type {}", if spec.window { "gui" } else { "headless" }))
}

/// Name of the forwarding to the guest; Packer's.
pub(super) const FORWARDING: &str = "packercomm";

/// The first serial port, written to `path`.
pub(super) fn serial(uuid: &str, path: &str) -> Call {
    let mut modify = words(&format!("modifyvm {uuid} --uart1 0x3f8 4 --uartmode1 file"));
    modify.push(path.to_owned());
    modify
}
