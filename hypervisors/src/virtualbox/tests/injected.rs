//! Every call of a machine's life, broken in every way, whatever the machine is made of: a clear error, and nothing is left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::failures::eventually;
use super::stand_in::StandIn;
use crate::conformance::RecordingLedger;
use crate::error::StartError;
use crate::ledger::Resource;
use crate::machine::{GivenBack, Hypervisor as _};
use crate::spec::{DiskFormat, DiskInterface, DiskSpec, MachineSpec, NetworkMode, Origin, PortForward};
use crate::virtualbox::VirtualBoxHypervisor;
use crate::virtualbox::spec::{Bus, DiscRole, Drive, Export, RemoteDisplay, TakeSnapshot};

/// How long a call may take that hangs, and any other: long enough for those that do not, on a busy machine.
const LIMIT: Duration = Duration::from_secs(3);

/// Calls whose answers are read, and without which nobody can tell what there is. What they keep from being given back stays noted.
const QUESTIONS: [&str; 2] = ["list", "showvminfo"];

const BASE: &str = "base";

/// What a machine is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Made {
    New,
    Imported,
    Cloned,
    OfOthers,
}

/// A world with what the machine is made of, and a spec that has something of everything.
pub(super) fn everything(made: Made) -> (StandIn, MachineSpec) {
    let world = StandIn::new();
    let mut spec = world.spec(true);
    // Each its own: builds are kept off one another by it.
    let base = uuid::Uuid::new_v4().to_string();
    std::fs::write(world.path("x.ova"), "").unwrap();
    spec.origin = match made {
        Made::New => Origin::New,
        Made::Imported => Origin::Import { package: world.path("x.ova") },
        Made::Cloned => Origin::Clone { machine: BASE.to_owned(), snapshot: None },
        Made::OfOthers => Origin::Existing { machine: BASE.to_owned(), snapshot: Some("fresh".to_owned()) },
    };
    if matches!(made, Made::Cloned | Made::OfOthers) {
        world.registers(BASE, &base);
        world.has_snapshots(&base, super::borrowed::SNAPSHOTS);
    }
    spec.floppy = Some(world.path("floppy.img"));
    spec.network.mode =
        NetworkMode::User { forward: Some(PortForward { guest_port: 22, host_min: 24_000, host_max: 25_999 }) };
    let part = world.part(&mut spec);
    part.drives = vec![Drive { image: "/x.iso".into(), bus: Bus::Ide, role: DiscRole::Seed, stays: false }];
    part.remote_display =
        Some(RemoteDisplay { bind: "127.0.0.1".to_owned(), ports: (26_000, 27_999), asked_for: false });
    part.commands = vec![["setextradata", if made == Made::OfOthers { BASE } else { "web" }].map(Into::into).to_vec()];
    part.after.remove_media = true;
    part.after.snapshot = Some(TakeSnapshot { name: "built".to_owned(), replace: true });
    let directory = world.path("exported");
    part.after.export = Some(Export { directory, file_name: "web.ovf".to_owned(), options: Vec::new() });
    if made == Made::New {
        spec.disks = vec![DiskSpec::new("/web.vdi", DiskFormat::Vdi, DiskInterface::Ide)];
    } else {
        world.part(&mut spec).hardware = None;
    }
    (world, spec)
}

pub(super) fn hurried(world: &StandIn) -> VirtualBoxHypervisor {
    let mut hypervisor = world.hypervisor();
    (hypervisor.limit, hypervisor.long_limit) = (Some(LIMIT), Some(LIMIT));
    hypervisor
}

/// What the stand-in knows its calls by.
fn verbs(calls: &[String]) -> BTreeSet<String> {
    let verb = |call: &String| {
        let words: Vec<&str> = call.split(' ').collect();
        words[if matches!(words[0], "controlvm" | "snapshot") { 2 } else { 0 }].to_owned()
    };
    calls.iter().map(verb).collect()
}

/// Verbs, each with the ways in which it is broken.
fn broken(calls: &[String]) -> Vec<(String, &'static str)> {
    let is_read = |verb: &str| QUESTIONS.contains(&verb) || ["--version", "import"].contains(&verb);
    let ways = |verb: String| {
        let ways = ["zero", "killed", "hang"].into_iter().chain(is_read(&verb).then_some("garbage"));
        ways.map(move |how| (verb.clone(), how)).collect::<Vec<_>>()
    };
    verbs(calls).into_iter().flat_map(ways).collect()
}

/// The machines that were there before.
pub(super) fn others(made: Made) -> &'static [&'static str] {
    if matches!(made, Made::Cloned | Made::OfOthers) { &[BASE] } else { &[] }
}

/// What is noted as registered.
pub(super) fn noted(ledger: &RecordingLedger) -> Vec<String> {
    let id = |held| if let Resource::Registered { id, .. } = held { Some(id) } else { None };
    ledger.held().into_iter().filter_map(id).collect()
}

/// The error says which call, and what became of it.
fn is_clear(error: &str, verb: &str, how: &str) -> bool {
    let words = match how {
        "zero" => "out of luck",
        "killed" => "signal 9 (SIGKILL)",
        "hang" => "no answer within 3 s",
        _ if verb == "import" => "has no new machine with its settings in",
        _ => "garbage",
    };
    error.contains("VBoxManage ") && error.contains(verb) && error.contains(words)
}

pub(super) fn whole(error: &dyn std::error::Error) -> String {
    let source = error.source().map(whole);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// Gives back what is noted. The start that failed may just be trying the same once more.
pub(super) async fn sweeps(hypervisor: &VirtualBoxHypervisor, id: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while let Err(error) = hypervisor.give_back(id).await {
        assert!(tokio::time::Instant::now() < deadline, "{id}: {error}");
        tokio::task::yield_now().await;
    }
}

async fn a_start_fails(made: Made, verb: &str, how: &str) {
    let case = format!("{made:?} {verb} {how}");
    let (world, spec) = everything(made);
    world.breaks(verb, how);
    let (hypervisor, ledger) = (hurried(&world), Arc::new(RecordingLedger::default()));
    let error = hypervisor.start(&spec, ledger.clone()).await.err().unwrap_or_else(|| panic!("{case} starts"));
    assert!(is_clear(&whole(&error), verb, how), "{case}: {}", whole(&error));
    world.mends(verb);
    let left = noted(&ledger);
    assert!(left.is_empty() || QUESTIONS.contains(&verb), "{case}: {left:?}");
    for id in &left {
        sweeps(&hypervisor, id).await;
    }
    assert_eq!(
        (world.machines(), world.running()),
        (others(made).iter().map(|&one| one.to_owned()).collect(), 0),
        "{case}"
    );
    if left.is_empty() {
        assert_eq!((ledger.held(), world.left_in_runtime()), (vec![], 0), "{case}");
    }
    assert_eq!(ledger.mistakes(), Vec::<String>::new(), "{case}");
}

async fn a_retirement_fails(made: Made, verb: &str, how: &str) {
    let case = format!("{made:?} {verb} {how}");
    let (world, spec) = everything(made);
    let (hypervisor, ledger) = (hurried(&world), Arc::new(RecordingLedger::default()));
    let machine = hypervisor.start(&spec, ledger.clone()).await.unwrap();
    machine.power_off().await;
    world.breaks(verb, how);
    let error = machine.retire().await.expect_err(&case);
    assert!(is_clear(&whole(&error), verb, how), "{case}: {}", whole(&error));
    assert!(!world.path("exported").exists(), "{case}");
    if made == Made::OfOthers || QUESTIONS.contains(&verb) {
        world.mends(verb);
    }
    machine.kill().await;
    assert_eq!(
        (world.machines(), world.running()),
        (others(made).iter().map(|&one| one.to_owned()).collect(), 0),
        "{case}"
    );
    assert_eq!((ledger.held(), ledger.mistakes(), world.left_in_runtime()), (vec![], vec![], 0), "{case}");
}

/// The part of a machine's life whose calls are broken.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Start,
    Retirement,
}

async fn fails(part: Part, made: Made, verb: &str, how: &str) {
    match part {
        Part::Start => a_start_fails(made, verb, how).await,
        Part::Retirement => a_retirement_fails(made, verb, how).await,
    }
}

/// The calls of that part of a machine's life.
async fn calls_of(part: Part, made: Made) -> Vec<String> {
    let (world, spec) = everything(made);
    let machine = world.start(&spec).await;
    let calls = match part {
        Part::Start => {
            let mut calls = world.calls();
            calls.truncate(1 + calls.iter().position(|call| call.starts_with("startvm ")).unwrap());
            calls
        }
        Part::Retirement => {
            machine.power_off().await;
            let before = world.calls().len();
            machine.retire().await.unwrap();
            world.calls().split_off(before)
        }
    };
    machine.kill().await;
    calls
}

/// Breaks every call of a part of a machine's life in every way; at least those `verbs` are among them.
async fn every_call(part: Part, made: Made, verbs: &[&str]) {
    let cases = broken(&calls_of(part, made).await);
    for verb in verbs {
        assert!(cases.iter().any(|(broken, _)| broken == verb), "{part:?} {made:?} {verb}: {cases:?}");
    }
    // Those that hang at once, for they only wait.
    let (hang, fail): (Vec<_>, Vec<_>) = cases.iter().partition(|(_, how)| *how == "hang");
    for (verb, how) in fail {
        fails(part, made, verb, how).await;
    }
    futures_util::future::join_all(hang.iter().map(|(verb, how)| fails(part, made, verb, how))).await;
}

/// One test for each, for they run side by side.
macro_rules! every_call {
    ($($name:ident: $part:ident $made:ident $verbs:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            every_call(Part::$part, Made::$made, &$verbs).await;
        }
    )*};
}

every_call! {
    of_the_start_of_a_new_machine: Start New ["list", "createvm", "modifyvm", "storagectl", "storageattach", "startvm"];
    of_the_start_of_an_import: Start Imported ["list", "import", "showvminfo", "modifyvm", "storageattach", "startvm"];
    of_the_start_of_a_clone: Start Cloned ["list", "clonevm", "showvminfo", "modifyvm", "storageattach", "startvm"];
    of_the_start_of_a_machine_of_others: Start OfOthers ["list", "restore", "showvminfo", "modifyvm", "startvm"];
    of_the_retirement_of_a_new_machine: Retirement New ["take", "export", "storageattach", "modifyvm"];
    of_the_retirement_of_an_import: Retirement Imported ["take", "export", "showvminfo", "modifyvm"];
    of_the_retirement_of_a_clone: Retirement Cloned ["take", "export", "showvminfo", "modifyvm"];
    of_the_retirement_of_a_machine_of_others: Retirement OfOthers ["take", "export", "storageattach", "modifyvm"];
}

#[tokio::test]
async fn garbage_instead_of_the_list_of_machines_passes_over_no_name_in_use() {
    let (world, spec) = everything(Made::New);
    world.registers("web", "11111111-0000-0000-0000-000000000000");
    world.breaks("list", "garbage");
    let ledger = Arc::new(RecordingLedger::default());
    for error in [
        world.hypervisor().start(&spec, ledger.clone()).await.err().unwrap(),
        world.hypervisor().look_first(&spec).await.unwrap_err(),
    ] {
        assert!(matches!(error, StartError::Setup(_)), "{error:?}");
        assert!(whole(&error).contains("unexpected answer to VBoxManage list vms: "), "{}", whole(&error));
    }
    assert_eq!((world.machines(), ledger.ever()), (vec!["web".to_owned()], vec![]));
}

/// An import that is there, while VirtualBox does not tell it: it is not taken for gone.
#[tokio::test]
async fn an_import_that_is_not_told_stays_noted_until_it_is() {
    let (world, spec) = everything(Made::Imported);
    // Nor does the file of its settings.
    std::fs::write(world.path("unreadable"), "").unwrap();
    world.breaks("import", "slow");
    let (hypervisor, ledger) = (world.hypervisor(), Arc::new(RecordingLedger::default()));
    let imports = async {
        eventually(|| world.calls().iter().any(|call| call.starts_with("import "))).await;
        world.breaks("list", "garbage");
    };
    let (started, ()) = tokio::join!(hypervisor.start(&spec, ledger.clone()), imports);
    let error = whole(&started.err().unwrap());
    assert!(error.contains("unexpected answer to VBoxManage list vms"), "{error}");
    let ids = noted(&ledger);
    let [id] = &ids[..] else { panic!("{ids:?}") };
    assert_eq!(world.machines(), ["web"]);
    assert!(hypervisor.give_back(id).await.is_err());
    world.mends("list");
    sweeps(&hypervisor, id).await;
    assert_eq!(hypervisor.give_back(id).await, Ok(GivenBack::WasGone));
    assert_eq!(world.machines(), Vec::<String>::new());
}
