//! What a machine's worker leaves when it is killed: all of it is in the ledger, and can be given back by another process while the machine
//! still runs.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::ledgers::RecordingLedger;
use super::looks::{assert_given_back, first_words, within};
use crate::ledger::{Resource, ResourceLedger as _};
use crate::machine::{GivenBack, Hypervisor};
use crate::spec::MachineSpec;

/// How long the worker's last moments may take.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

pub(super) async fn what_it_left_is_given_back(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    let ledger = Arc::new(RecordingLedger::default());
    let died = std::thread::scope(|scope| scope.spawn(|| start_and_die(hypervisor, spec, &ledger)).join());
    died.unwrap_or_else(|panic| resume_unwind(panic));
    let held = ledger.held();
    assert!(
        held.iter().any(|one| one.is_running() || matches!(one, Resource::Registered { .. } | Resource::File { .. })),
        "a machine that runs is in the ledger: {held:?}"
    );
    // In the order of the resources, as a sweep does.
    for resource in held {
        give_back(hypervisor, &resource).await;
        ledger.released(&resource);
    }
    assert_given_back(hypervisor, spec, &ledger).await;
}

/// A worker of its own, of which nothing is run any more when this returns.
fn start_and_die(hypervisor: &dyn Hypervisor, spec: &MachineSpec, ledger: &Arc<RecordingLedger>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let machine = runtime.block_on(async {
        let machine = within("start", hypervisor.start(spec, ledger.clone())).await.expect("the machine starts");
        within("resume", machine.resume()).await.expect("the machine resumes");
        first_words(&*machine).await;
        machine
    });
    // A process that is killed drops nothing.
    std::mem::forget(machine);
    runtime.shutdown_timeout(LAST_MOMENTS);
}

async fn give_back(hypervisor: &dyn Hypervisor, resource: &Resource) {
    match resource {
        Resource::Process { pid, .. } => {
            let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw).expect("a process has a number");
            if resource.is_running() {
                kill_process(pid, Signal::KILL).expect("a process of this user can be killed");
            }
            let ending = async {
                // It is nobody's child any more that would be waited for.
                while resource.is_running() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            within("the end of a process", ending).await;
        }
        Resource::Registered { id, .. } => {
            let given_back = within("give_back", hypervisor.give_back(id)).await;
            assert_eq!(
                given_back,
                Ok(GivenBack::Removed),
                "what a dead worker left is given back, running or not: {id}"
            );
        }
        Resource::File { path } | Resource::Socket { path } | Resource::LockFile { path } => {
            drop(std::fs::remove_file(path));
        }
        Resource::Directory { path } | Resource::OutputDirectory { path, .. } => drop(std::fs::remove_dir_all(path)),
        Resource::LocalProcesses { .. } | Resource::Remote { .. } => panic!("{resource:?} is no machine's"),
    }
}
