//! What options of the builder become of the machine, one by one.

use std::path::Path;

use kiln_hypervisors::{BackendSpec, Firmware, MachineSpec, NetworkMode, TpmVersion};

use super::machine;
use crate::machine_build::Media;
use crate::plan::{CommunicatorPlan, QemuPlan, SourcePlan};
use crate::plan_tests::component::{Body, running, source};

fn plan_of(options: &[(&'static str, &str)]) -> QemuPlan {
    let definition = running().find(|definition| definition.schema.kind == "qemu").unwrap();
    let mut body = Body::from([("vm_name", "\"guest\"".to_owned()), ("ssh_username", "\"u\"".to_owned())]);
    body.extend(options.iter().map(|(name, value)| (*name, (*value).to_owned())));
    match source(definition, &body) {
        SourcePlan::Qemu(plan) => *plan,
        other => panic!("{other:?}"),
    }
}

fn spec_of(plan: &QemuPlan) -> MachineSpec {
    let place = Path::new("/work");
    let media = Media {
        image: Some(place.join("installer.iso")),
        floppy: None,
        cd: None,
        tools: None,
        work: place.to_owned(),
        sockets: place.to_owned(),
    };
    machine::spec(plan, &media, Vec::new())
}

/// The options that are given, and what the machine then has.
type Row<'a> = (&'a [(&'static str, &'a str)], fn(&MachineSpec) -> String, &'a str);

#[test]
fn each_option_is_in_the_machine() {
    let display: fn(&MachineSpec) -> String = |spec| format!("{:?} {}", qemu(spec).display, spec.window);
    let tpm: fn(&MachineSpec) -> String = |spec| format!("{:?} {:?}", spec.tpm, qemu(spec).tpm_device);
    let network: fn(&MachineSpec) -> String = |spec| match &spec.network.mode {
        NetworkMode::User { forward } => format!("{:?}", forward.map(|forward| forward.guest_port)),
        other => format!("{other:?}"),
    };
    let firmware: fn(&MachineSpec) -> String = |spec| match &spec.firmware {
        Firmware::Flash(path) => format!("flash {}", path.display()),
        Firmware::Bios(path) => format!("bios {}", path.display()),
        other => format!("{other:?}"),
    };
    let vnc: fn(&MachineSpec) -> String = |spec| {
        let password = spec.vnc.as_ref().map(|vnc| vnc.password.clone());
        password.map_or_else(|| "none".to_owned(), |password| format!("{:?}", password.map(|text| text.len())))
    };
    let cdroms: fn(&MachineSpec) -> String = |spec| format!("{:?}", spec.cdroms[0].interface);
    let disks: fn(&MachineSpec) -> String = |spec| format!("{:?}", spec.disks[0].interface);
    let agent: fn(&MachineSpec) -> String = |spec| format!("{:?} {:?}", qemu(spec).agent_socket, spec.network.device);
    let rows: [Row<'_>; 23] = [
        (&[], agent, "None Some(\"virtio-net\")"),
        (
            &[("communicator", "\"guest-agent\""), ("net_device", "\"none\"")],
            agent,
            "Some(\"/work/agent\") Some(\"none\")",
        ),
        (&[("firmware", "\"/fw.fd\"")], firmware, "bios /fw.fd"),
        (&[("firmware", "\"/fw.fd\""), ("use_pflash", "true")], firmware, "flash /fw.fd"),
        (&[("vtpm", "true")], tpm, "Some(V2) None"),
        (&[("vtpm", "true"), ("use_tpm1", "true")], tpm, "Some(V1) None"),
        (&[("vtpm", "true"), ("tpm_device_type", "\"tpm-crb\"")], tpm, "Some(V2) Some(\"tpm-crb\")"),
        (&[("tpm_device_type", "\"tpm-crb\"")], tpm, "None None"),
        (&[("display", "\"sdl\"")], display, "Some(\"sdl\") true"),
        (&[("use_default_display", "true")], display, "None true"),
        (&[("use_default_display", "true"), ("headless", "true")], display, "None false"),
        (&[], network, "Some(22)"),
        (&[("ssh_port", "2022")], network, "Some(2022)"),
        (&[("skip_nat_mapping", "true")], network, "None"),
        (&[("communicator", "\"none\"")], network, "None"),
        (&[], vnc, "none"),
        (&[("vnc_port_min", "5910")], vnc, "None"),
        (&[("vnc_use_password", "true")], vnc, "Some(8)"),
        (&[("vnc_password", "\"secret\"")], vnc, "Some(6)"),
        (&[("cdrom_interface", "\"virtio-scsi\"")], cdroms, "Some(\"virtio-scsi\")"),
        (&[("cdrom_interface", "\"ide\"")], cdroms, "Some(\"ide\")"),
        (&[("disk_interface", "\"virtio-scsi\"")], disks, "VirtioScsi"),
        (&[("disk_interface", "\"sd\"")], disks, "Sd"),
    ];
    for (options, look, found) in rows {
        assert_eq!(look(&spec_of(&plan_of(options))), found, "{options:?}");
    }
    assert_eq!(spec_of(&plan_of(&[("vtpm", "true")])).tpm, Some(TpmVersion::V2));
}

fn qemu(spec: &MachineSpec) -> &kiln_hypervisors::qemu::QemuSpec {
    match &spec.backend {
        BackendSpec::Qemu(qemu) => qemu,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_agent_is_waited_for_as_long_as_the_template_says() {
    let agent = ("communicator", "\"guest-agent\"");
    let timeout = |options: &[(&'static str, &str)]| match plan_of(options).communicator {
        CommunicatorPlan::GuestAgent(plan) => (plan.timeout.as_secs(), plan.pause_before_connecting.as_secs()),
        other => panic!("{other:?}"),
    };
    assert_eq!(timeout(&[agent]), (300, 0));
    let given = [agent, ("guest_agent_timeout", "\"20m\""), ("pause_before_connecting", "\"3s\"")];
    assert_eq!(timeout(&given), (1200, 3));
    assert!(machine::describe(&plan_of(&[("net_device", "\"none\"")])).nics.is_empty());
}

#[test]
fn a_password_that_nobody_gave_is_another_each_time() {
    let plan = plan_of(&[("vnc_use_password", "true")]);
    let password = || spec_of(&plan).vnc.unwrap().password.unwrap();
    assert_ne!(password(), password());
}

#[test]
fn steps_are_typed_with_what_they_are_for_and_downloads_have_their_ending() {
    let plan = plan_of(&[
        ("boot_steps", "[[\"a<enter>\", \"log in\"], [\"b\"]]"),
        ("iso_target_extension", "\"IMG\""),
        ("iso_target_path", "\"/isos\""),
    ]);
    let commands = plan.boot.commands;
    assert_eq!(commands, [("a<enter>".to_owned(), Some("log in".to_owned())), ("b".to_owned(), None)]);
    assert_eq!((plan.image.extension.as_str(), plan.image.target_path.as_deref()), ("img", Some(Path::new("/isos"))));
    assert_eq!(plan_of(&[]).image.extension, "iso");
}

#[test]
fn the_firmwares_variables_go_with_the_machine_unless_they_are_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let out = format!("{:?}", directory.path());
    let efi = [("output_directory", out.as_str()), ("efi_boot", "true")];
    let nvram = |more: &[(&'static str, &str)]| {
        let nvram = machine::describe(&plan_of(&[&efi[..], more].concat())).nvram;
        nvram.map(|nvram| (nvram.maker.to_string(), nvram.bytes.len()))
    };
    assert_eq!(nvram(&[]), None);
    std::fs::write(directory.path().join("efivars.fd"), vec![0; 5 << 20]).unwrap();
    assert_eq!(nvram(&[]), Some(("QEMU".to_owned(), 4 << 20)));
    assert_eq!(nvram(&[("efi_drop_efivars", "true")]), None);
    assert_eq!(nvram(&[("efi_boot", "false")]), None);
}
