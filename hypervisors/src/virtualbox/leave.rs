//! What becomes of a machine whose build was given up (`-on-error=abort`): where its disks are VirtualBox's, it stays registered, off, with
//! all that the guest has written. What was put into it for the build goes.

use super::call::words;
use super::changes;
use super::facts::Facts;
use super::give_back::{look, see_that_it_is_off, snapshot_name};
use super::holdings::Holdings;
use super::problem::Failure;
use crate::machine::LeftMachine;
use crate::spec::{MachineSpec, Origin};

/// Whose machine it is that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    /// Made by the build out of a package or of another machine; its owner's from now on.
    Ours {
        /// It writes its serial port into a file of ours.
        serial: bool,
    },
    /// One of others.
    Theirs,
}

impl Leaving {
    /// `None`: the machine's disks lie with the files of its build, which are kept as they are.
    pub(super) fn of(spec: &MachineSpec, serial: bool) -> Option<Self> {
        match spec.origin {
            Origin::Import { .. } | Origin::Clone { .. } => Some(Self::Ours { serial }),
            Origin::Existing { .. } => Some(Self::Theirs),
            Origin::New | Origin::SavedState(_) => None,
        }
    }
}

/// Leaves the machine, which is off, to its owner.
pub(super) async fn leave(holdings: &Holdings, uuid: &str, leaving: Leaving) -> LeftMachine {
    // What VirtualBox refuses here costs nobody the disks.
    told(holdings.put_media_back(uuid).await, "media of the build are still in the machine");
    let stood_on = holdings.stood_on();
    let mut held = None;
    match leaving {
        Leaving::Ours { serial } => {
            if let Err(failure) = see_that_it_is_off(&holdings.program, uuid).await {
                return stays_ours(holdings, uuid, &failure).await;
            }
            let now = facts(holdings, uuid).await;
            let mut calls = Vec::new();
            if changes::has_forwarding(&now) {
                calls.push(changes::delete_forwarding(uuid));
            }
            if serial {
                calls.push(words(&format!("modifyvm {uuid} --uart1 off")));
            }
            for call in &calls {
                told(holdings.program.run(call).await.map(drop), "a setting of the build stays in the machine");
            }
            holdings.keep().await;
        }
        Leaving::Theirs => {
            holdings.does_not_restore();
            holdings.give_back().await;
            if !holdings.is_given_back() {
                held = Some(
                    "it could not be given back, for somebody else uses it or VirtualBox does not answer".to_owned(),
                );
            }
        }
    }
    let now = facts(holdings, uuid).await;
    let name = now.get("name").unwrap_or(uuid).to_owned();
    let disks = now.disks();
    let mut hints = vec![format!("a source \"virtualbox-vm\" goes on from it with vm_name = {name:?}")];
    match leaving {
        Leaving::Ours { .. } => {
            hints.push(format!("when you no longer need it: VBoxManage unregistervm {uuid} --delete"));
            if holdings.stays_inside() {
                hints.push(format!(
                    "it could not be moved away from its job's files, and the job cannot be removed before it is: VBoxManage movevm {uuid} \
                     --folder DIRECTORY"
                ));
            }
        }
        Leaving::Theirs => {
            if let Some(snapshot) = stood_on {
                let snapshot = snapshot_name(&holdings.program, uuid, &snapshot).await;
                hints.push(format!(
                    "a build that attaches a snapshot discards what this one has done; to keep it: VBoxManage snapshot {uuid} take aborted"
                ));
                hints.push(format!(
                    "to put it back on the snapshot {snapshot:?}, on which it stood before: VBoxManage snapshot {uuid} restore {snapshot:?}"
                ));
            }
        }
    }
    LeftMachine { what: what(&name, uuid), disks, hints, held }
}

/// What is told of a machine that may still run, which is nobody's to keep: it stays on the ledger, and a sweep ends it.
async fn stays_ours(holdings: &Holdings, uuid: &str, failure: &Failure) -> LeftMachine {
    tracing::error!(%failure, uuid, "a machine whose build was given up cannot be switched off");
    holdings.leave_to_a_sweep().await;
    let now = facts(holdings, uuid).await;
    LeftMachine {
        what: what(now.get("name").unwrap_or(uuid), uuid),
        disks: now.disks(),
        hints: vec![format!("VBoxManage showvminfo {uuid} shows whether it runs")],
        held: Some(format!("it could not be switched off ({failure}), and is removed with its disks when it can be")),
    }
}

fn what(name: &str, uuid: &str) -> String {
    format!("the machine {name} in VirtualBox ({uuid})")
}

async fn facts(holdings: &Holdings, uuid: &str) -> Facts {
    look(&holdings.program, uuid).await.ok().flatten().unwrap_or_default()
}

fn told(done: Result<(), Failure>, what: &str) {
    if let Err(failure) = done {
        tracing::warn!(%failure, what);
    }
}
