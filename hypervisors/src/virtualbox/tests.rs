//! The backend against a stand-in for `VBoxManage` (`fake_vboxmanage.sh`): the promises of every backend, what is called, and what becomes of
//! each failure. Real VirtualBox is asked in `real`, and in `tests/it/virtualbox.rs`.

mod borrowed;
mod claimed;
mod failures;
mod golden;
mod gone;
mod handed_back;
mod imported;
mod injected;
mod left;
mod looks;
mod noted;
mod real;
mod snapshots;
mod stand_in;
mod stopped;

use std::sync::Arc;

use self::stand_in::StandIn;
use crate::conformance::{self, RecordingLedger};
use crate::error::{MachineError, StartError};
use crate::ledger::{NoLedger, Resource};
use crate::machine::{ExitReport, GivenBack, Hypervisor as _};
use crate::spec::Origin;
use crate::virtualbox::spec::{AfterStop, Bus, DiscRole, Drive, Export, TakeSnapshot};

#[tokio::test]
async fn keeps_the_promises_of_a_hypervisor() {
    let world = StandIn::new();
    conformance::check(&world.hypervisor(), &world.spec(true)).await;
    // What the suite has let die holds the name of its machine for as long as this process lives.
    let world = StandIn::new();
    std::fs::write(world.path("heeds"), "").unwrap();
    conformance::ends_by_its_button(&world.hypervisor(), &world.spec(true)).await;
    assert_eq!(world.machines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_guest_that_switches_itself_off_or_dies_is_told_apart() {
    let world = StandIn::new();
    for (state, clean) in [("poweroff", true), ("aborted", false)] {
        let machine = world.start(&world.spec(false)).await;
        world.end_guest(state);
        let exit = machine.exited().await;
        assert_eq!(exit.is_clean(), clean, "{exit:?}");
        assert!(clean || matches!(exit, ExitReport::Crashed { .. }), "{exit:?}");
        assert_eq!(machine.power_button().await, Err(MachineError::Gone));
        machine.kill().await;
        assert_eq!(world.machines(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_machine_that_is_switched_off_is_there_until_it_is_given_back() {
    let world = StandIn::new();
    let after = AfterStop {
        remove_media: true,
        commands: vec![vec!["modifyvm".to_owned(), "web".to_owned(), "--description".to_owned(), "done".to_owned()]],
        nvram: Some(world.path("copy.nvram")),
        notes: None,
        snapshot: Some(TakeSnapshot { name: "built".to_owned(), replace: true }),
        export: Some(Export {
            directory: world.path("export"),
            file_name: "web.ova".to_owned(),
            options: vec!["--manifest".to_owned()],
        }),
    };
    let mut spec = world.spec(false);
    world.part(&mut spec).after = after;
    let ledger = Arc::new(RecordingLedger::default());
    let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
    machine.power_off().await;
    assert_eq!(machine.exited().await, ExitReport::Killed);
    assert_eq!(world.machines(), ["web"]);
    let nvram = world.path("web.nvram");
    std::fs::write(&nvram, "boot entries").unwrap();
    world.tells(&format!("NvramFile=\"{}\"\n", nvram.display()));
    world.breaks("export", "out of space");
    let error = machine.retire().await.unwrap_err();
    assert!(error.to_string().contains("out of space"), "{error}");
    assert!(!world.path("export").exists(), "of an export that failed nothing is left");
    world.mends("export");
    // The first try leaves half of a file, which would be in the way of the second.
    std::fs::write(world.path("unready"), "").unwrap();
    let before = world.calls().len();
    machine.retire().await.unwrap();
    let calls = world.calls();
    assert_eq!(calls.len() - before, 3, "what was done is not done again: {calls:?}");
    assert!(!world.path("unready").exists());
    assert_eq!(std::fs::read_to_string(world.path("copy.nvram")).unwrap(), "boot entries");
    assert!(world.path("export/web.ova").exists());
    machine.retire().await.unwrap();
    assert_eq!(world.calls().len(), calls.len() + 1, "only looked at: {calls:?}");
    machine.kill().await;
    assert_eq!(world.machines(), Vec::<String>::new());
    // The export belongs to whoever asked for it.
    assert_eq!(ledger.held(), [Resource::Directory { path: world.path("export") }]);
}

#[tokio::test]
async fn what_uefi_keeps_is_copied_by_each_name_that_virtualbox_has_for_it() {
    let world = StandIn::new();
    let mut spec = world.spec(false);
    let part = world.part(&mut spec);
    part.hardware.as_mut().unwrap().efi = true;
    part.after.nvram = Some(world.path("copy.nvram"));
    let machine = world.start(&spec).await;
    machine.power_off().await;
    let error = machine.retire().await.unwrap_err();
    assert!(error.to_string().contains("does not tell where the UEFI's settings are"), "{error}");
    let nvram = world.path("web.nvram");
    std::fs::write(&nvram, "boot entries").unwrap();
    for name in ["NvramFile", "BIOS NVRAM File"] {
        world.tells(&format!("{name}=\"{}\"\n", nvram.display()));
        machine.retire().await.unwrap();
        assert_eq!(std::fs::read_to_string(world.path("copy.nvram")).unwrap(), "boot entries");
        std::fs::remove_file(world.path("copy.nvram")).unwrap();
    }
    machine.kill().await;
}

#[tokio::test]
async fn a_machine_that_is_kept_stays_and_is_nobodys() {
    let world = StandIn::new();
    let mut spec = world.spec(false);
    world.part(&mut spec).in_default_folder = true;
    let ledger = Arc::new(RecordingLedger::default());
    let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
    machine.power_off().await;
    machine.retire().await.unwrap();
    machine.keep().await;
    machine.kill().await;
    drop(machine);
    assert_eq!(world.machines(), ["web"]);
    assert!(world.path("machines/web/web.vbox").exists());
    assert_eq!(ledger.held(), []);
    assert_eq!(world.left_in_runtime(), 0);
}

#[tokio::test]
async fn a_machine_comes_of_a_package_or_of_another() {
    let world = StandIn::new();
    std::fs::write(world.path("x.ova"), "").unwrap();
    world.registers("base", "11111111-0000-0000-0000-000000000000");
    for origin in
        [Origin::Import { package: world.path("x.ova") }, Origin::Clone { machine: "base".to_owned(), snapshot: None }]
    {
        let mut spec = world.spec(false);
        spec.origin = origin;
        world.part(&mut spec).hardware = None;
        let ledger = Arc::new(RecordingLedger::default());
        let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
        assert_eq!(world.machines(), ["base", "web"]);
        machine.kill().await;
        assert_eq!((world.machines(), ledger.held()), (vec!["base".to_owned()], vec![]));
    }
}

#[tokio::test]
async fn an_import_is_found_whatever_virtualbox_calls_its_files() {
    let world = StandIn::new();
    std::fs::write(world.path("x.ova"), "").unwrap();
    // One of others comes first in the list.
    world.registers("base", "11111111-0000-0000-0000-000000000000");
    for (name, in_default_folder) in [("bü", false), ("a:b/c", false), ("a:b", true)] {
        let mut spec = world.spec(false);
        spec.name = name.to_owned();
        spec.origin = Origin::Import { package: world.path("x.ova") };
        let part = world.part(&mut spec);
        (part.hardware, part.in_default_folder) = (None, in_default_folder);
        let ledger = Arc::new(RecordingLedger::default());
        let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
        assert!(world.machines().contains(&name.to_owned()), "{:?}", world.machines());
        assert_eq!(std::fs::read_to_string(world.path("locale")).unwrap(), "C.UTF-8\n", "other names come as they are");
        machine.kill().await;
        assert_eq!((world.machines(), ledger.held()), (vec!["base".to_owned()], vec![]));
    }
}

#[tokio::test]
async fn a_machine_of_others_is_worked_on_and_handed_back() {
    let world = StandIn::new();
    let uuid = "11111111-0000-0000-0000-000000000000";
    world.registers("base", uuid);
    let mut spec = world.spec(false);
    spec.origin = Origin::Existing { machine: "base".to_owned(), snapshot: Some("none".to_owned()) };
    world.part(&mut spec).hardware = None;
    let error = world.hypervisor().start(&spec, Arc::new(NoLedger)).await.err().unwrap();
    assert!(error.to_string().contains("no snapshot called none; it has none"), "{error}");

    world.has_snapshots(uuid, "SnapshotName=\"fresh\"\nSnapshotUUID=\"s-fresh\"\nCurrentSnapshotUUID=\"s-fresh\"\n");
    let attach = |target: Option<&str>, replace| {
        let mut spec = spec.clone();
        spec.origin = Origin::Existing { machine: "base".to_owned(), snapshot: Some("fresh".to_owned()) };
        world.part(&mut spec).after.snapshot = target.map(|name| TakeSnapshot { name: name.to_owned(), replace });
        spec
    };
    for replace in [false, true] {
        let error = world.hypervisor().start(&attach(Some("fresh"), replace), Arc::new(NoLedger)).await.err().unwrap();
        assert!(error.hint().is_some_and(|hint| hint.contains("target_snapshot")), "{error:?}");
    }
    let ledger = Arc::new(RecordingLedger::default());
    let machine = world.hypervisor().start(&attach(Some("built"), false), ledger.clone()).await.unwrap();
    let id = format!("borrowed {uuid} s-fresh in={}", world.path("run").display());
    let noted = Resource::Registered { hypervisor: "virtualbox".to_owned(), id };
    assert!(ledger.held().contains(&noted), "{:?}", ledger.held());
    assert!(world.calls().iter().any(|call| *call == format!("snapshot {uuid} restore s-fresh")));
    machine.power_off().await;
    machine.retire().await.unwrap();
    machine.kill().await;
    assert_eq!(world.machines(), ["base"], "it is never removed");
    assert_eq!(ledger.held(), []);
}

#[tokio::test]
async fn media_of_ours_are_taken_out_of_a_machine_of_others_whatever_happens() {
    let world = StandIn::new();
    world.registers("base", "22222222-0000-0000-0000-000000000000");
    let mut spec = world.spec(false);
    spec.origin = Origin::Existing { machine: "base".to_owned(), snapshot: None };
    spec.floppy = Some(world.path("floppy.img"));
    let part = world.part(&mut spec);
    part.hardware = None;
    part.drives = vec![Drive { image: world.path("cd.iso"), bus: Bus::Ide, role: DiscRole::Seed, stays: false }];
    for call in ["none", "startvm"] {
        world.breaks(call, "out of luck");
        if let Ok(machine) = world.hypervisor().start(&spec, Arc::new(NoLedger)).await {
            machine.kill().await;
        }
        world.mends(call);
        let calls = world.calls();
        let last: Vec<&str> = calls[calls.len() - 2..].iter().map(String::as_str).collect();
        let uuid = "22222222-0000-0000-0000-000000000000";
        assert_eq!(
            last,
            [
                format!("storageattach {uuid} --storagectl IDE --port 1 --device 1 --type dvddrive --medium none"),
                format!("storagectl {uuid} --name Floppy --remove"),
            ]
        );
    }
    assert_eq!(world.machines(), ["base"]);
}

#[tokio::test]
async fn what_a_dead_process_left_is_given_back_and_nothing_else() {
    let world = StandIn::new();
    let hypervisor = world.hypervisor();
    let ledger = Arc::new(RecordingLedger::default());
    let machine = hypervisor.start(&world.spec(false), ledger.clone()).await.unwrap();
    // As a process that is killed does: nothing of it is run any more.
    std::mem::forget(machine);
    world.registers("web", "11111111-0000-0000-0000-000000000000");
    let ids: Vec<String> = ledger
        .held()
        .into_iter()
        .filter_map(|held| if let Resource::Registered { id, .. } = held { Some(id) } else { None })
        .collect();
    let [id] = &ids[..] else { panic!("{ids:?}") };
    // A sweep speaks of it by its name.
    assert_eq!((hypervisor.shown(id).await, hypervisor.shown("1-2").await), ("web".to_owned(), "1-2".to_owned()));
    world.breaks("unregistervm", "it is busy");
    assert!(hypervisor.give_back(id).await.is_err());
    world.mends("unregistervm");
    assert_eq!(hypervisor.give_back(id).await, Ok(GivenBack::Removed));
    assert_eq!(hypervisor.give_back(id).await, Ok(GivenBack::WasGone));
    assert_eq!(world.machines(), ["web"], "another of the same name stays");
    assert_eq!(world.running(), 0);
}

#[tokio::test]
async fn a_name_in_use_is_refused_with_what_there_is() {
    let world = StandIn::new();
    world.registers("web", "11111111-0000-0000-0000-000000000000");
    let error = world.hypervisor().start(&world.spec(false), Arc::new(NoLedger)).await.err().unwrap();
    assert!(matches!(error, StartError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("a machine called web is there already; registered are: web"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("vm_name")));
    assert_eq!(world.calls(), ["--version", "list vms"], "nothing was made");
}
