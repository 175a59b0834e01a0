//! Tools that are broken in one way each: nothing is left, and the error says what is wrong.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::lab::{spec, write_disk};
use super::within;
use crate::conformance::RecordingLedger;
use crate::error::{MachineError, StartError};
use crate::ledger::Resource;
use crate::machine::{ExitReport, GivenBack, Hypervisor as _, Machine};
use crate::process::script::write_script;
use crate::spec::MachineSpec;
use crate::vmware::VmwareHypervisor;
use crate::vmware::disk_manager;

/// A VMware whose `vmrun` is a script: `$verb` is what is asked, `$vmx` the machine, `$state` a directory of its own.
pub(super) struct Broken {
    pub(super) directory: tempfile::TempDir,
    pub(super) hypervisor: VmwareHypervisor,
}

/// A `vmrun` that says what is right and runs nothing but a file.
const WORKS: &str = r#"
case $verb in
  list) if [ -e "$state/on" ]; then echo "Total running VMs: 1"; cat "$state/on"; else echo "Total running VMs: 0"; fi;;
  start) echo "$vmx" > "$state/on";;
  stop) rm "$state/on";;
  listSnapshots) printf 'Total snapshots: 1\nclean\n';;
  clone) cp "$vmx" "$5" && cp "$(dirname "$vmx")/disk.vmdk" "$(dirname "$5")/";;
esac
"#;

impl Broken {
    /// One that does `first` before what works.
    pub(super) fn new(first: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["run", "bin", "state"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let broken = Self {
            hypervisor: VmwareHypervisor::in_places(directory.path().join("bin"), directory.path().join("etc")),
            directory,
        };
        broken.breaks(first);
        broken
    }

    /// Breaks in this way from now on.
    pub(super) fn breaks(&self, first: &str) {
        let state = self.directory.path().join("state");
        let text = format!("#!/bin/sh\nverb=$3 vmx=$4 state='{}'\n{first}\n{WORKS}", state.display());
        write_script(&self.directory.path().join("bin/vmrun"), &text);
    }

    pub(super) fn spec(&self) -> MachineSpec {
        let disk = self.directory.path().join("disk.vmdk");
        write_disk(&disk, &[]);
        let mut spec = spec(&self.directory.path().join("run"), disk);
        spec.vnc = None;
        spec
    }

    async fn start(&self, ledger: &Arc<RecordingLedger>) -> Result<Box<dyn Machine>, StartError> {
        within(self.hypervisor.start(&self.spec(), ledger.clone())).await
    }

    /// Starts what cannot be started; nothing is left of it.
    async fn fails(&self) -> StartError {
        let ledger = Arc::new(RecordingLedger::default());
        let error = self.start(&ledger).await.err().expect("it does not start");
        self.is_clean(&ledger);
        error
    }

    pub(super) fn is_clean(&self, ledger: &RecordingLedger) {
        assert_eq!((ledger.held(), ledger.mistakes()), (vec![], vec![]));
        assert_eq!(std::fs::read_dir(self.directory.path().join("run")).unwrap().count(), 0);
        assert!(!self.directory.path().join("state/on").exists(), "the machine runs still");
    }
}

/// The machine that a ledger holds.
fn noted(ledger: &RecordingLedger) -> Option<String> {
    ledger.held().into_iter().find_map(|one| match one {
        Resource::Registered { id, .. } => Some(id),
        _ => None,
    })
}

#[tokio::test]
async fn a_refused_start_is_told_whatever_the_exit_status() {
    for (first, words) in [
        ("[ $verb = start ] && { echo 'Error: The file is corrupt'; exit 255; }", "The file is corrupt"),
        ("[ $verb = start ] && { echo 'Error: Insufficient permissions'; exit 0; }", "Insufficient permissions"),
        ("[ $verb = start ] && exit 7", "exit status 7"),
        ("[ $verb = start ] && { echo garbage; kill -9 $$; }", "garbage (signal 9 (SIGKILL))"),
        // It says no and starts it all the same.
        ("[ $verb = start ] && { echo \"$vmx\" > $state/on; echo 'Error: Unknown error'; exit 255; }", "Unknown error"),
    ] {
        let error = Broken::new(first).fails().await;
        assert!(matches!(error, StartError::EndedEarly { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn missing_tools_are_named() {
    let broken = Broken::new("");
    std::fs::remove_file(broken.directory.path().join("bin/vmrun")).unwrap();
    let error = broken.fails().await;
    assert!(matches!(&error, StartError::ProgramMissing { program, .. } if program == "vmrun"), "{error}");
    assert!(error.hint().unwrap().contains("Workstation"));
    let availability = broken.hypervisor.probe().await;
    assert_eq!(availability.reason.as_deref(), Some("vmrun is not in PATH"));
    assert!(availability.hint.is_some() && availability.version.is_none());
    let complaints = broken.hypervisor.check(&broken.spec()).unwrap_err();
    assert_eq!(complaints[0].setting, "hypervisor");
    assert_eq!(broken.hypervisor.give_back("/nowhere/a.vmx").await, Ok(GivenBack::WasGone));
    // The other tool.
    broken.breaks("");
    let availability = broken.hypervisor.probe().await;
    assert_eq!(availability.reason.as_deref(), Some("vmware-vdiskmanager is not in PATH"));
    let bin = broken.directory.path().join("bin");
    let error = disk_manager::create_with(Some(&bin), disk_manager::LIMIT, Path::new("/o/d.vmdk"), 1, "ide", "0")
        .await
        .unwrap_err();
    assert!(
        matches!(&error, StartError::ProgramMissing { program, .. } if program == "vmware-vdiskmanager"),
        "{error}"
    );
}

#[tokio::test]
async fn a_list_of_garbage_makes_vmware_unusable() {
    let broken = Broken::new("[ $verb = list ] && { echo '<html>'; exit 0; }");
    write_script(&broken.directory.path().join("bin/vmware-vdiskmanager"), "#!/bin/sh\n");
    let probed = broken.hypervisor.probe().await;
    let program = broken.directory.path().join("bin/vmrun").display().to_string();
    let reason = format!("{program} does not work: unexpected answer to vmrun list: \"<html>\" is no list");
    assert_eq!(probed.reason, Some(reason));
    assert!(probed.hint.is_some_and(|hint| hint.contains(&format!("`{program} list`"))));
    let answer = broken.hypervisor.give_back("/nowhere/a.vmx").await;
    assert!(matches!(answer, Err(MachineError::Unexpected { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_list_that_fails_now_and_then_ends_no_machine() {
    let broken = Broken::new(
        "[ $verb = list ] && [ ! -e $state/off ] && { touch $state/seen; if [ -e $state/flip ]; then rm $state/flip; else touch $state/flip; \
         echo Error: busy; exit 255; fi; }",
    );
    let ledger = Arc::new(RecordingLedger::default());
    let machine = broken.start(&ledger).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(1500), machine.exited()).await;
    assert!(early.is_err(), "{early:?}");
    assert!(broken.directory.path().join("state/seen").exists());
    std::fs::write(broken.directory.path().join("state/off"), "").unwrap();
    std::fs::remove_file(broken.directory.path().join("state/on")).unwrap();
    assert!(matches!(within(machine.exited()).await, ExitReport::Ended { .. }));
    within(machine.kill()).await;
    broken.is_clean(&ledger);
}

#[tokio::test]
async fn a_list_that_always_fails_ends_the_wait_and_leaves_the_machine_to_the_sweep() {
    let broken = Broken::new("[ $verb = list ] && { echo Error: busy; exit 255; }");
    let ledger = Arc::new(RecordingLedger::default());
    let machine = broken.start(&ledger).await.unwrap();
    let report = within(machine.exited()).await;
    assert!(matches!(&report, ExitReport::Crashed { stderr_tail, .. } if stderr_tail.contains("busy")), "{report:?}");
    within(machine.kill()).await;
    let id = noted(&ledger).expect("nobody can tell that it is gone, so it stays noted");
    broken.breaks("");
    assert_eq!(broken.hypervisor.give_back(&id).await, Ok(GivenBack::Removed));
    assert!(!broken.directory.path().join("state/on").exists());
}

#[tokio::test]
async fn a_start_that_hangs_can_be_dropped() {
    let broken = Broken::new("[ $verb = start ] && { echo \"$vmx\" > $state/on; sleep 1; exit 0; }");
    let ledger = Arc::new(RecordingLedger::default());
    let spec = broken.spec();
    let started =
        tokio::time::timeout(Duration::from_millis(300), broken.hypervisor.start(&spec, ledger.clone())).await;
    assert!(started.is_err());
    within(async {
        while !ledger.held().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    broken.is_clean(&ledger);
}

/// Each call that the life of a machine needs, hanging until its limit.
#[tokio::test]
async fn a_call_that_hangs_is_ended_at_its_limit() {
    let limit = Duration::from_secs(2);
    let mut broken = Broken::new("[ $verb = start ] && { echo \"$vmx\" > $state/on; exec sleep 1000; }");
    broken.hypervisor.limit = Some(limit);
    let error = broken.fails().await;
    assert_eq!(error.to_string(), "vmrun did not start the machine within 2 s");

    broken.breaks("[ $verb = list ] && exec sleep 1000");
    write_script(&broken.directory.path().join("bin/vmware-vdiskmanager"), "#!/bin/sh\n");
    let reason = within(broken.hypervisor.probe()).await.reason.unwrap();
    assert!(reason.ends_with("/vmrun does not work: no answer to vmrun list within 2000 ms"), "{reason}");

    // A machine that runs, under a VMware that answers no more: only a sweep can tell later that it is gone.
    broken.breaks("");
    let ledger = Arc::new(RecordingLedger::default());
    let machine = broken.start(&ledger).await.unwrap();
    broken.breaks("exec sleep 1000");
    let error = within(machine.power_button()).await.unwrap_err();
    assert!(matches!(&error, MachineError::Timeout { command, .. } if command == "vmrun stop soft"), "{error}");
    within(machine.kill()).await;
    let id = noted(&ledger).expect("nobody can tell that it is gone, so it stays noted");
    let error = within(broken.hypervisor.give_back(&id)).await.unwrap_err();
    assert!(matches!(error, MachineError::Timeout { .. }), "{error}");
    broken.breaks("");
    assert_eq!(within(broken.hypervisor.give_back(&id)).await, Ok(GivenBack::Removed));
    assert!(!broken.directory.path().join("state/on").exists());
}

#[tokio::test]
async fn a_power_button_that_is_refused_is_told() {
    let broken = Broken::new(
        "[ $verb = stop ] && [ $5 = soft ] && { echo 'Error: The VMware Tools are not running'; exit 255; }",
    );
    let ledger = Arc::new(RecordingLedger::default());
    let machine = broken.start(&ledger).await.unwrap();
    let error = within(machine.power_button()).await.unwrap_err();
    assert_eq!(error.to_string(), "vmrun stop soft failed: The VMware Tools are not running");
    within(machine.kill()).await;
    broken.is_clean(&ledger);
}

#[tokio::test]
async fn an_end_is_the_guests_own_only_where_vmware_says_so() {
    for (log, wanted) in [
        ("vmx| I005: PowerOff\nvmx| I005: VMX has left the building: 0.\n", ExitReport::GuestShutdown),
        ("vmx| I005: one\nvmx| I005: two\n", ExitReport::Ended { log: "vmx| I005: one / vmx| I005: two".to_owned() }),
    ] {
        let broken = Broken::new(&format!("[ $verb = start ] && printf '{log}' > \"$(dirname \"$vmx\")/vmware.log\""));
        let ledger = Arc::new(RecordingLedger::default());
        let machine = broken.start(&ledger).await.unwrap();
        std::fs::remove_file(broken.directory.path().join("state/on")).unwrap();
        let report = within(machine.exited()).await;
        assert_eq!(report, wanted);
        let said = report.to_string();
        assert!(
            report == ExitReport::GuestShutdown || said.contains("ended unexpectedly") && said.contains("two"),
            "{said}"
        );
        within(machine.kill()).await;
        broken.is_clean(&ledger);
    }
}
