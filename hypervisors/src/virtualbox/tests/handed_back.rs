//! A machine of others is handed back as it was found: its drives, its remote display, its network.

use std::sync::Arc;

use super::borrowed::{base, noted};
use super::stand_in::StandIn;
use crate::conformance::RecordingLedger;
use crate::machine::{GivenBack, Hypervisor as _};
use crate::spec::{MachineSpec, NetworkMode, Origin, PortForward};
use crate::virtualbox::changes::take_out;
use crate::virtualbox::facts::Facts;
use crate::virtualbox::spec::{AfterStop, Bus, DiscRole, Drive, RemoteDisplay};

/// A machine of others that has something of its own wherever a build puts something, and that build.
fn used() -> (StandIn, String, MachineSpec) {
    let (world, uuid, mut spec) = base();
    spec.origin = Origin::Existing { machine: "base".to_owned(), snapshot: None };
    for (place, kind, medium) in [
        ("0 0", "hdd", "/theirs/a.vdi".to_owned()),
        ("0 1", "dvddrive", "host:/dev/sr0".to_owned()),
        ("1 0", "dvddrive", world.path("theirs.iso").display().to_string()),
        ("1 1", "hdd", "/theirs/b.vdi".to_owned()),
    ] {
        let (port, device) = place.split_once(' ').unwrap();
        attach(&world, &uuid, "IDE", (port, device), kind, &medium);
    }
    std::fs::write(world.path("theirs.iso"), "").unwrap();
    world.calls_by_hand(&["storagectl", &uuid, "--name", "IDE", "--add", "ide"]);
    world.calls_by_hand(&["storagectl", &uuid, "--name", "Fl", "--add", "floppy"]);
    attach(&world, &uuid, "Fl", ("0", "0"), "fdd", "emptydrive");
    let theirs = "--vrde off --vrdeaddress 10.0.0.1 --vrdeauthtype external --vrdeport 3389 --nic1 hostonly \
                  --natpf1 packercomm,tcp,,1234,,22";
    let mut call = vec!["modifyvm", uuid.as_str()];
    call.extend(theirs.split(' '));
    world.calls_by_hand(&call);

    spec.floppy = Some(world.path("floppy.img"));
    spec.network.mode =
        NetworkMode::User { forward: Some(PortForward { guest_port: 22, host_min: 24_000, host_max: 24_999 }) };
    let drive = |name: &str, role| Drive { image: world.path(name), bus: Bus::Ide, role, stays: false };
    let drives = vec![drive("additions.iso", DiscRole::GuestAdditions), drive("cd.iso", DiscRole::Seed)];
    let part = world.part(&mut spec);
    part.drives = drives;
    part.remote_display =
        Some(RemoteDisplay { bind: "127.0.0.1".to_owned(), ports: (25_000, 25_999), asked_for: false });
    part.after = AfterStop { remove_media: true, ..AfterStop::default() };
    (world, uuid, spec)
}

fn attach(world: &StandIn, uuid: &str, controller: &str, (port, device): (&str, &str), kind: &str, medium: &str) {
    let place = ["storageattach", uuid, "--storagectl", controller, "--port", port, "--device", device];
    world.calls_by_hand(&[&place[..], &["--type", kind, "--medium", medium]].concat());
}

/// All that VirtualBox knows of it, also of its remote display.
fn all_of_it(world: &StandIn, uuid: &str) -> Vec<String> {
    let shown = world.facts(uuid);
    if !shown.contains(&"vrde=\"off\"".to_owned()) && !shown.contains(&"\"vrde\"=\"off\"".to_owned()) {
        return shown;
    }
    world.calls_by_hand(&["modifyvm", uuid, "--vrde", "on"]);
    let all = world.facts(uuid);
    world.calls_by_hand(&["modifyvm", uuid, "--vrde", "off"]);
    all.into_iter().map(|line| line.replace("\"vrde\"=\"on\"", "\"vrde\"=\"off\"")).collect()
}

/// Two calls fewer than where its file tells nothing.
#[tokio::test]
async fn the_settings_of_a_display_that_is_off_are_read_from_the_machines_file() {
    let (world, uuid, spec) = used();
    let before = all_of_it(&world, &uuid);
    let switches_on = |world: &StandIn| {
        let call = format!("modifyvm {uuid} --vrde on");
        world.calls().iter().filter(|made| **made == call).count()
    };
    let by_hand = switches_on(&world);
    world.start(&spec).await.kill().await;
    assert_eq!((all_of_it(&world, &uuid), switches_on(&world)), (before.clone(), by_hand + 2), "one is by hand");
    let file = world.path("base.vbox");
    std::fs::write(&file, "").unwrap();
    std::fs::write(world.path("vms").join(&uuid).join("cfg"), file.to_str().unwrap()).unwrap();
    let before: Vec<String> = before
        .iter()
        .map(|line| match line.split_once('=') {
            Some(("CfgFile", _)) => format!("CfgFile=\"{}\"", file.display()),
            Some(("LogFldr", _)) => format!("LogFldr=\"{}\"", world.path("Logs").display()),
            _ => line.clone(),
        })
        .collect();
    // Any change has VirtualBox write it.
    world.calls_by_hand(&["modifyvm", &uuid, "--vrde", "off"]);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("authType=\"external\"") && text.contains("10.0.0.1"), "{text}");
    let by_hand = switches_on(&world);
    let machine = world.start(&spec).await;
    assert_eq!(switches_on(&world), by_hand);
    machine.kill().await;
    assert_eq!(all_of_it(&world, &uuid), before);
}

#[tokio::test]
async fn it_is_handed_back_as_it_was_found() {
    let (world, uuid, spec) = used();
    let before = all_of_it(&world, &uuid);
    let ledger = Arc::new(RecordingLedger::default());
    let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
    let during = world.facts(&uuid);
    let has = |facts: &[String], place: &str, medium: &str| {
        facts.iter().any(|line| line.starts_with(&format!("\"{place}\"=")) && line.ends_with(&format!("{medium}\"")))
    };
    for (place, medium) in [
        ("IDE-0-0", "/theirs/a.vdi"),
        ("IDE-1-0", "additions.iso"),
        ("IDE-1-1", "/theirs/b.vdi"),
        ("IDE-0-1", "cd.iso"),
        ("Fl-0-0", "floppy.img"),
        ("nic1", "nat"),
        ("vrdeauthtype", "null"),
    ] {
        assert!(has(&during, place, medium), "{place} {medium}: {during:?}");
    }
    machine.power_off().await;
    machine.retire().await.unwrap();
    let retired = world.facts(&uuid);
    for (place, medium) in [("IDE-1-0", "theirs.iso"), ("IDE-0-1", "/dev/sr0"), ("Fl-0-0", "emptydrive")] {
        assert!(has(&retired, place, medium), "{place} {medium}: {retired:?}");
    }
    assert_eq!(all_of_it(&world, &uuid), before, "a snapshot or an export has nothing of the build");
    machine.kill().await;
    assert_eq!(all_of_it(&world, &uuid), before);
    assert_eq!(ledger.held(), []);
}

#[tokio::test]
async fn wherever_a_start_fails_it_is_handed_back_as_it_was_found() {
    // The calls of a start that change it, one after the other.
    let (world, _, spec) = used();
    let by_hand = world.calls().len();
    world.start(&spec).await.kill().await;
    let calls = world.calls();
    let until = calls.iter().position(|call| call.starts_with("startvm")).unwrap();
    let changing = calls[by_hand..=until].iter().filter(|call| !call.starts_with("list") && !call.starts_with("show"));
    assert!(changing.clone().count() >= 7, "{calls:?}");
    for nth in 1..=changing.count() {
        let (world, uuid, spec) = used();
        let before = all_of_it(&world, &uuid);
        world.fails_at(nth);
        let ledger = Arc::new(RecordingLedger::default());
        let started = world.hypervisor().start(&spec, ledger.clone()).await;
        let error = started.err().unwrap().to_string();
        assert!(error.contains("out of luck"), "{nth}: {error}");
        assert_eq!(all_of_it(&world, &uuid), before, "{nth}: {:?}", world.calls());
        assert_eq!(ledger.held(), [], "{nth}");
    }
}

#[tokio::test]
async fn what_the_templates_own_commands_have_made_of_it_stays() {
    let (world, uuid, mut spec) = used();
    let command = "modifyvm base --nic1 bridged --vrdeport 4000";
    world.part(&mut spec).commands = vec![command.split(' ').map(ToOwned::to_owned).collect()];
    world.start(&spec).await.kill().await;
    let facts = world.facts(&uuid);
    for line in ["\"nic1\"=\"bridged\"", "\"vrdeports\"=\"4000\""] {
        assert!(facts.iter().any(|fact| fact == line), "{line}: {facts:?}");
    }
}

#[tokio::test]
async fn behind_a_link_its_media_are_out_too() {
    let (world, uuid, mut spec) = used();
    let (run, link) = (world.path("run").canonicalize().unwrap(), world.path("link"));
    std::os::unix::fs::symlink(&run, &link).unwrap();
    for name in ["cd.iso", "floppy.img"] {
        std::fs::write(run.join(name), "").unwrap();
    }
    spec.runtime_dir = link.clone();
    spec.floppy = Some(link.join("floppy.img"));
    let part = world.part(&mut spec);
    part.drives = vec![Drive { image: link.join("cd.iso"), bus: Bus::Ide, role: DiscRole::Seed, stays: false }];
    let ledger = Arc::new(RecordingLedger::default());
    let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
    let id = noted(&ledger);
    assert!(id.ends_with(&format!(" in={}", run.display())), "{id}");
    let has_ours = || world.facts(&uuid).iter().any(|line| line.contains("cd.iso") || line.contains("floppy.img"));
    let inside = world.facts(&uuid);
    for name in ["cd.iso", "floppy.img"] {
        let path = format!("=\"{}\"", run.join(name).display());
        assert!(inside.iter().any(|line| line.ends_with(&path)), "{path}: {inside:?}");
    }
    // As after the death of this process: as it is noted now, and as earlier versions did.
    machine.power_off().await;
    for noted in [run, link] {
        attach(&world, &uuid, "IDE", ("0", "1"), "dvddrive", &world.path("run/cd.iso").display().to_string());
        assert!(has_ours());
        let now = Facts::read(&world.facts(&uuid).join("\n"));
        for call in take_out(&uuid, &noted, &now) {
            world.calls_by_hand(&call.iter().map(String::as_str).collect::<Vec<_>>());
        }
        assert!(!has_ours(), "{:?}", world.facts(&uuid));
    }
    machine.kill().await;
}

#[tokio::test]
async fn after_a_dead_process_its_media_are_out_and_others_stay() {
    let (world, uuid, _) = base();
    let run = world.path("run");
    let medium = |name: &str| run.join(name).display().to_string();
    world.calls_by_hand(&["storagectl", &uuid, "--name", "IDE", "--add", "ide"]);
    world.calls_by_hand(&["storagectl", &uuid, "--name", "Floppy", "--add", "floppy"]);
    attach(&world, &uuid, "IDE", ("0", "0"), "hdd", "/theirs/a.vdi");
    attach(&world, &uuid, "IDE", ("1", "0"), "dvddrive", "/theirs/b.iso");
    let before = world.facts(&uuid);
    attach(&world, &uuid, "IDE", ("1", "1"), "dvddrive", &medium("cd.iso"));
    attach(&world, &uuid, "Floppy", ("0", "0"), "fdd", &medium("floppy.img"));
    world.calls_by_hand(&["modifyvm", &uuid, "--vrde", "on", "--vrdeauthtype", "null", "--vrdeport", "5901"]);
    let id = format!("borrowed {uuid} display=5901 in={}", run.display());
    // As long as they are in it, the directory has to stay.
    world.breaks("storageattach", "it is busy");
    assert!(world.hypervisor().give_back(&id).await.is_err());
    world.mends("storageattach");
    assert_eq!(world.hypervisor().give_back(&id).await, Ok(GivenBack::HandedBack));
    let after = world.facts(&uuid);
    assert!(!after.iter().any(|line| line.contains(run.to_str().unwrap())), "{after:?}");
    for line in before.iter().filter(|line| !line.contains("Floppy")) {
        assert!(after.contains(line), "{line}: {after:?}");
    }
    assert!(!after.iter().any(|line| line.contains("Floppy")), "{after:?}");
    assert!(after.contains(&"\"vrde\"=\"off\"".to_owned()), "{after:?}");
}
