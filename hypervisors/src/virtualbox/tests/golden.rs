//! The command lines of a machine, and of each of its settings.

use std::path::PathBuf;
use std::time::Duration;

use super::stand_in::StandIn;
use crate::keyboard::KeyEvent;
use crate::spec::{DiskFormat, DiskInterface, DiskSpec, MachineSpec, NetworkMode, PortForward};
use crate::virtualbox::settings;
use crate::virtualbox::spec::{Bus, DiscRole, Drive, Hardware, RemoteDisplay, VirtualBoxSpec};

fn disk(path: &str) -> DiskSpec {
    DiskSpec { discard: Some(false), ..DiskSpec::new(path, DiskFormat::Vdi, DiskInterface::Ide) }
}

#[tokio::test]
async fn a_machine_of_packers_defaults() {
    let world = StandIn::new();
    let mut spec = world.spec(false);
    spec.disks = vec![disk("/out/web.vdi")];
    spec.network.device = Some("82540EM".to_owned());
    spec.network.mode =
        NetworkMode::User { forward: Some(PortForward { guest_port: 22, host_min: 22_000, host_max: 22_999 }) };
    let part = world.part(&mut spec);
    part.drives =
        vec![Drive { image: PathBuf::from("/iso/x.iso"), bus: Bus::Ide, role: DiscRole::Installer, stays: false }];
    part.remote_display =
        Some(RemoteDisplay { bind: "127.0.0.1".to_owned(), ports: (23_000, 23_999), asked_for: false });
    part.commands = vec![vec!["modifyvm".to_owned(), "web".to_owned(), "--description".to_owned(), "x".to_owned()]];
    part.after.remove_media = true;
    let machine = world.start(&spec).await;
    let uuid = std::fs::read_dir(world.path("vms")).unwrap().next().unwrap().unwrap().file_name();
    let uuid = uuid.to_str().unwrap().to_owned();
    let run = std::fs::read_dir(world.path("run")).unwrap().next().unwrap().unwrap().path();
    let ssh = machine.endpoint(22).await.unwrap().port;
    let rdp = machine.description().remote_desktop.unwrap().port();
    assert!((22_000..=22_999).contains(&ssh) && (23_000..=23_999).contains(&rdp));
    machine.power_off().await;
    machine.retire().await.unwrap();
    machine.kill().await;
    let shown = |call: &String| {
        let call = call.replace(&uuid, "U").replace(run.to_str().unwrap(), "RUN");
        let call = call.replace(&ssh.to_string(), "SSH").replace(&rdp.to_string(), "RDP");
        match call.split_once("--setuuid ") {
            Some((start, _)) => format!("{start}--setuuid NEW"),
            None => call,
        }
    };
    let calls: Vec<String> = world.calls().iter().map(shown).collect();
    let expected = [
        "--version",
        "list vms",
        "createvm --name recommended --ostype Other --default --basefolder RUN/recommended",
        "createvm --name web --ostype Other --uuid U --register --basefolder RUN",
        "modifyvm U --boot1 disk --boot2 dvd --boot3 none --boot4 none --cpus 1 --memory 512 --usb off --audio-driver none \
         --audiocontroller ac97 --mouse ps2 --keyboard ps2 --chipset piix3 --firmware bios --nictype1 82540EM --nictype2 82540EM \
         --nictype3 82540EM --nictype4 82540EM --nictype5 82540EM --nictype6 82540EM --nictype7 82540EM --nictype8 82540EM \
         --graphicscontroller vmsvga --vram 4 --rtcuseutc off --accelerate3d off",
        "storagectl U --name IDE --add ide",
        "storageattach U --storagectl IDE --port 0 --device 0 --type hdd --medium /out/web.vdi --nonrotational off --discard off \
         --setuuid NEW",
        "storageattach U --storagectl IDE --port 0 --device 1 --type dvddrive --medium /iso/x.iso",
        "modifyvm U --vrdeaddress 127.0.0.1 --vrdeauthtype null --vrde on --vrdeport RDP --nic1 nat --nat-localhostreachable1 on \
         --natpf1 packercomm,tcp,127.0.0.1,SSH,,22",
        "modifyvm web --description x",
        "startvm U --type headless",
        // Whether the remote display is served, and by what.
        "showvminfo U --machinereadable",
        "list extpacks",
        "controlvm U poweroff",
        "showvminfo U --machinereadable",
        "storageattach U --storagectl IDE --port 0 --device 1 --type dvddrive --medium none",
        "showvminfo U --machinereadable",
        "unregistervm U",
    ];
    assert_eq!(calls, expected);
}

/// The words that a change of the spec adds to a machine of the defaults, and those that it takes away.
fn difference(change: impl FnOnce(&mut MachineSpec, &mut Hardware)) -> (Vec<String>, Vec<String>) {
    let mut hardware = Hardware::default();
    let mut spec = MachineSpec::new("web", "/run", VirtualBoxSpec::default());
    let lines = |spec: &MachineSpec, hardware: &Hardware| -> Vec<String> {
        let mut calls = settings::new_machine(spec, hardware, "U", "vmsvga");
        calls.extend(crate::virtualbox::storage::attach_disks(spec, hardware, "U"));
        // One line for each setting.
        calls
            .iter()
            .flat_map(|call| call.join(" ").replace(" --", "\n--").lines().map(ToOwned::to_owned).collect::<Vec<_>>())
            .collect()
    };
    let before = lines(&spec, &hardware);
    change(&mut spec, &mut hardware);
    let after = lines(&spec, &hardware);
    let only =
        |these: &[String], those: &[String]| these.iter().filter(|line| !those.contains(line)).cloned().collect();
    (only(&after, &before), only(&before, &after))
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn each_setting_has_its_words() {
    let check = |words: &[&str], gone: &[&str], change: fn(&mut MachineSpec, &mut Hardware)| {
        let (added, removed) = difference(change);
        assert_eq!((added, removed), (owned(words), owned(gone)));
    };
    check(&["--cpus 2", "--ioapic on"], &["--cpus 1"], |spec, _| spec.topology.cpus = Some(2));
    check(&["--memory 1024"], &["--memory 512"], |spec, _| spec.memory_mib = 1024);
    check(&["--usbohci off", "--usbehci on", "--usbxhci off"], &["--usb off"], |_, hardware| {
        hardware.usb = Some("ehci".to_owned());
    });
    check(&["--audio-enabled off"], &["--audio-driver none", "--audiocontroller ac97"], |_, hardware| {
        hardware.audio_controller = "none".to_owned();
    });
    check(&["--audiocontroller hda"], &["--audiocontroller ac97"], |_, hardware| {
        hardware.audio_controller = "hda".to_owned();
    });
    check(&["--audio-driver pulse", "--audioin on", "--audioout on"], &["--audio-driver none"], |_, hardware| {
        hardware.audio_driver = "pulse".to_owned();
    });
    check(&["--mouse usbtablet"], &["--mouse ps2"], |_, hardware| hardware.mouse = "usbtablet".to_owned());
    check(&["--keyboard usb"], &["--keyboard ps2"], |_, hardware| hardware.keyboard = "usb".to_owned());
    check(&["--chipset ich9"], &["--chipset piix3"], |_, hardware| hardware.chipset = "ich9".to_owned());
    check(&["--firmware efi"], &["--firmware bios"], |_, hardware| hardware.efi = true);
    check(&["--vram 64"], &["--vram 4"], |_, hardware| hardware.video_memory = 64);
    check(&["--rtcuseutc on"], &["--rtcuseutc off"], |_, hardware| hardware.clock_utc = true);
    check(&["--nested-hw-virt on"], &[], |_, hardware| hardware.nested = Some(true));
    check(&["--accelerate3d on"], &["--accelerate3d off"], |_, hardware| hardware.accelerate_3d = true);
    check(&["setextradata U VBoxInternal2/EfiGraphicsResolution 800x600"], &[], |_, hardware| {
        hardware.efi_resolution = Some("800x600".to_owned());
    });
    let controllers: [(Bus, &[&str]); 4] = [
        (Bus::Sata, &["--name SATA", "--add sata", "--portcount 2"]),
        (Bus::Scsi, &["--name SCSI", "--add scsi", "--controller LSILogic"]),
        (Bus::Nvme, &["--name NVMe", "--add pcie", "--controller NVMe", "--portcount 2"]),
        (Bus::Virtio, &["--name VirtioSCSI", "--add VirtIO", "--controller VirtIO", "--portcount 2"]),
    ];
    for (bus, words) in controllers {
        let (added, _) = difference(|spec, hardware| {
            spec.disks = vec![disk("/a.vdi"), disk("/b.vdi")];
            (hardware.disk_bus, hardware.non_rotational) = (bus, true);
        });
        assert_eq!(added[..words.len()], *words, "{bus:?}");
        let ports: Vec<&String> = added.iter().filter(|word| word.starts_with("--port ")).collect();
        assert_eq!(ports, ["--port 0", "--port 1"]);
        assert_eq!(added.iter().filter(|word| *word == "--nonrotational on").count(), 2);
    }
}

#[tokio::test]
async fn disks_and_discs_share_ide_until_it_is_full() {
    let world = StandIn::new();
    let mut spec = world.spec(false);
    let drive = |role| Drive { image: "/x.iso".into(), bus: Bus::Ide, role, stays: false };
    world.part(&mut spec).drives = vec![drive(DiscRole::Installer), drive(DiscRole::Seed)];
    spec.disks = vec![disk("/a.vdi"), disk("/b.vdi")];
    let hypervisor = world.hypervisor();
    assert_eq!(crate::machine::Hypervisor::check(&hypervisor, &spec), Ok(()));
    world.part(&mut spec).drives.push(drive(DiscRole::GuestAdditions));
    let complaints = crate::machine::Hypervisor::check(&hypervisor, &spec).unwrap_err();
    assert!(complaints[0].problem.contains("2 disks do not fit") && complaints[0].hint.is_some());
    assert_eq!(Duration::from_millis(100), VirtualBoxSpec::default().key_group_interval);
}

#[tokio::test]
async fn a_machine_with_a_window_is_started_with_one() {
    let world = StandIn::new();
    let mut spec = world.spec(false);
    spec.window = true;
    world.start(&spec).await.kill().await;
    assert!(world.calls().iter().any(|call| call.starts_with("startvm ") && call.ends_with(" --type gui")));
}

/// VirtualBox's machines have no options for these: the template's own commands give them, in its order, before the start.
#[tokio::test]
async fn a_tpm_and_secure_boot_are_given_by_the_templates_commands_in_their_order() {
    let world = StandIn::new();
    let mut spec = world.spec(false);
    let lines = [
        "modifynvram web inituefivarstore",
        "modifynvram web enrollmssignatures",
        "modifynvram web enrollorclpk",
        "modifynvram web secureboot --enable",
        "modifyvm web --tpm-type 2.0",
    ];
    let part = world.part(&mut spec);
    part.hardware.as_mut().unwrap().efi = true;
    part.commands = lines.map(|line| line.split(' ').map(ToOwned::to_owned).collect()).to_vec();
    world.start(&spec).await.kill().await;
    let calls = world.calls();
    let start = calls.iter().position(|call| call.starts_with("startvm ")).unwrap();
    assert_eq!(calls[start - lines.len()..start], lines);
    assert!(calls[..start - lines.len()].iter().any(|call| call.contains("--firmware efi")), "{calls:?}");
}

#[tokio::test]
async fn groups_of_keys_come_as_far_apart_as_the_template_wants() {
    let world = StandIn::new();
    let mut spec = world.spec(false);
    let interval = Duration::from_secs(1);
    world.part(&mut spec).key_group_interval = interval;
    let machine = world.start(&spec).await;
    let events = KeyEvent::text("a text of more than two groups").unwrap();
    let begun = std::time::Instant::now();
    machine.keyboard().unwrap().press(&events).await.unwrap();
    let took = begun.elapsed();
    let groups = world.calls().iter().filter(|call| call.contains(" keyboardputscancode ")).count();
    assert!(groups > 2, "{groups}");
    // Nothing is waited for before the first.
    let least = interval * u32::try_from(groups - 1).unwrap();
    assert!(took >= least, "{groups} groups took {took:?}, less than {least:?}");
    machine.kill().await;
}
