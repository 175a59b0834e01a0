//! What is told before anything is fetched or made.

use std::sync::Arc;

use super::stand_in::StandIn;
use crate::ledger::NoLedger;
use crate::machine::Hypervisor as _;
use crate::spec::{MachineSpec, Origin};
use crate::virtualbox::spec::{Hardware, RemoteDisplay, TakeSnapshot};

const UUID: &str = "11111111-0000-0000-0000-000000000000";

async fn told(world: &StandIn, spec: &MachineSpec) -> String {
    let told = world.hypervisor().look_first(spec).await;
    told.err().map_or_else(String::new, |error| error.to_string())
}

fn with_system(world: &StandIn, system: &str) -> MachineSpec {
    let mut spec = world.spec(false);
    world.part(&mut spec).hardware = Some(Hardware { os_type: system.to_owned(), ..Hardware::default() });
    spec
}

#[tokio::test]
async fn a_network_of_the_host_that_is_not_there_is_told_with_those_that_are() {
    let world = StandIn::new();
    let mut spec = world.spec(false);
    let mut asks = |name: &str, value: &str| {
        let (nic, mode) = if name.starts_with("--bridge") { ("--nic1", "bridged") } else { ("--nic2", "hostonly") };
        let command = ["modifyvm", "{{.Name}}", nic, mode, name, value].map(ToOwned::to_owned).to_vec();
        world.part(&mut spec).commands = vec![command];
        spec.clone()
    };
    let bridged = asks("--bridgeadapter1", "eth77");
    let error = world.hypervisor().look_first(&bridged).await.unwrap_err();
    assert!(error.to_string().contains("no interface to bridge to called eth77; there are: eth0"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("list bridgedifs")), "{error:?}");
    let host_only = asks("--hostonlyadapter2", "vboxnet0");
    let error = world.hypervisor().look_first(&host_only).await.unwrap_err();
    assert!(error.to_string().contains("no host-only interface called vboxnet0; there are: none"), "{error}");
    std::fs::write(world.path("hostonlyifs"), "Name:            vboxnet0\n").unwrap();
    world.hypervisor().look_first(&host_only).await.unwrap();
    world.hypervisor().look_first(&asks("--bridgeadapter1", "eth0")).await.unwrap();
    assert_eq!(world.machines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_guests_system_that_there_is_not_is_told_with_those_that_there_are() {
    let world = StandIn::new();
    for system in ["Debian_64", "debian_64", "Other/Unknown", ""] {
        assert_eq!(told(&world, &with_system(&world, system)).await, "", "{system}");
    }
    let spec = with_system(&world, "Bogus");
    let hint = world.hypervisor().look_first(&spec).await.unwrap_err().hint().unwrap();
    assert!(hint.contains("guest_os_type"), "{hint}");
    let error = told(&world, &spec).await;
    assert!(error.contains("there is no guest system called Bogus; there are: Other, Debian_64"), "{error}");
    assert!(
        world.calls().iter().all(|call| call.starts_with("list ") || call == "--version"),
        "nothing is made: {:?}",
        world.calls()
    );
    assert_eq!(world.left_in_runtime(), 0);
}

#[tokio::test]
async fn names_and_snapshots_are_looked_for() {
    let world = StandIn::new();
    world.registers("web", UUID);
    let error = told(&world, &with_system(&world, "Other")).await;
    assert!(error.contains("a machine called web is there already; registered are: web"), "{error}");
    // The package is not fetched yet.
    let mut spec = world.spec(false);
    spec.name = "new".to_owned();
    spec.origin = Origin::Import { package: "not-here.ova".into() };
    assert_eq!(told(&world, &spec).await, "");
    let existing = |machine: &str, snapshot: Option<&str>| Origin::Existing {
        machine: machine.to_owned(),
        snapshot: snapshot.map(ToOwned::to_owned),
    };
    spec.origin = existing("db", None);
    assert!(told(&world, &spec).await.contains("there is no machine called db; registered are: web"));
    spec.origin = existing("web", None);
    assert_eq!(told(&world, &spec).await, "");
    spec.origin = existing("web", Some("fresh"));
    let error = told(&world, &spec).await;
    assert!(error.contains("the machine has no snapshot called fresh; it has none"), "{error}");
    world.calls_by_hand(&["snapshot", UUID, "take", "fresh"]);
    assert_eq!(told(&world, &spec).await, "");
    world.part(&mut spec).after.snapshot = Some(TakeSnapshot { name: "fresh".to_owned(), replace: false });
    let error = told(&world, &spec).await;
    assert!(error.contains("it is the snapshot fresh from which the build starts"), "{error}");
}

const NO_PACK: &str = "Extension Packs: 0\n";

const VNC_PACK: &str = "Extension Packs: 1\nPack no. 0:   VNC\nVRDE Module:    VBoxVNC\nUsable:         true\n";

fn with_display(world: &StandIn, asked_for: bool) -> MachineSpec {
    let mut spec = world.spec(false);
    world.part(&mut spec).remote_display =
        Some(RemoteDisplay { bind: "127.0.0.2".to_owned(), ports: (28_000, 28_999), asked_for });
    spec
}

#[tokio::test]
async fn a_remote_display_that_is_asked_for_and_that_nothing_serves_is_refused() {
    let world = StandIn::new();
    assert_eq!(told(&world, &with_display(&world, true)).await, "");
    std::fs::write(world.path("extpacks"), NO_PACK).unwrap();
    let error = world.hypervisor().look_first(&with_display(&world, true)).await.unwrap_err();
    assert!(error.to_string().contains("which an extension pack serves; installed are: none"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("install VirtualBox's extension pack")), "{error:?}");
    let before = world.calls().len();
    assert_eq!(told(&world, &with_display(&world, false)).await, "");
    let calls = world.calls();
    assert!(!calls[before..].iter().any(|call| call.contains("extpacks")), "nobody asked for it: {calls:?}");
}

#[tokio::test]
async fn where_the_remote_display_is_served_the_machine_tells() {
    let served = |world: &StandIn| {
        let spec = with_display(world, false);
        let hypervisor = world.hypervisor();
        async move {
            let machine = hypervisor.start(&spec, Arc::new(NoLedger)).await.unwrap();
            let info = machine.description().clone();
            machine.kill().await;
            info
        }
    };
    let world = StandIn::new();
    let info = served(&world).await;
    let address = info.remote_desktop.unwrap();
    assert_eq!((address.ip().to_string().as_str(), info.vnc, info.warnings.len()), ("127.0.0.2", None, 0));
    assert!((28_000..=28_999).contains(&address.port()), "{address}");
    // Not where it was meant to be, but where it is.
    std::fs::write(world.path("vrdeport"), "4000").unwrap();
    assert_eq!(served(&world).await.remote_desktop.unwrap().port(), 4000);
    std::fs::write(world.path("extpacks"), VNC_PACK).unwrap();
    let info = served(&world).await;
    assert_eq!((info.remote_desktop, info.vnc.unwrap().port()), (None, 4000));

    std::fs::write(world.path("vrdeport"), "-1").unwrap();
    let info = served(&world).await;
    assert_eq!((info.remote_desktop, info.vnc), (None, None));
    let [warning] = &info.warnings[..] else { panic!("{info:?}") };
    assert!(warning.contains("the extension pack VNC is there, but does not serve it; /"), "{warning}");
    std::fs::write(world.path("extpacks"), NO_PACK).unwrap();
    let info = served(&world).await;
    let [warning] = &info.warnings[..] else { panic!("{info:?}") };
    assert!(warning.contains("it needs an extension pack, and none that serves it is installed (none)"), "{warning}");
}

#[tokio::test]
async fn a_call_that_fails_is_told_and_a_virtualbox_that_is_missing_elsewhere() {
    let world = StandIn::new();
    world.breaks("list", "out of luck");
    assert!(told(&world, &world.spec(false)).await.contains("out of luck"));
    let missing = crate::virtualbox::VirtualBoxHypervisor::with_program("/nonexistent/VBoxManage".into());
    assert!(missing.look_first(&world.spec(false)).await.is_ok());
}
