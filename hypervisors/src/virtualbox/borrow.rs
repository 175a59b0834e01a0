//! A machine of others is taken to be worked on: kept from other builds, looked at, and put on the snapshot to start from.

use std::io;

use super::ask;
use super::claim::Borrowing;
use super::facts::{Facts, Snapshots, State};
use super::identity::{Borrowed, Identity};
use super::look::{check_target, only};
use super::start::{Starting, Stop};
use super::storage::without_links;
use crate::error::StartError;

impl Starting<'_> {
    /// A machine of others, on one of its snapshots or as it is. `machine`: what the template calls it; `display`: the port of the remote display
    /// that it gets.
    pub(super) async fn borrow(
        &self,
        uuid: &str,
        machine: &str,
        snapshot: Option<&str>,
        display: Option<u16>,
    ) -> Result<(), Stop> {
        // Before the look, so that two builds never both see a machine that is off.
        let borrowing = Borrowing::take(uuid).await.map_err(|error| StartError::Refused {
            command: "vm_name".to_owned(),
            problem: match error.kind() {
                io::ErrorKind::AddrInUse => format!("another build works on the machine {}", self.spec.name),
                _ => format!("the machine {} cannot be held against other builds: {error}", self.spec.name),
            },
            hint: Some("wait until that build has ended, and build again".to_owned()),
        })?;
        self.holdings.borrow(borrowing);
        let facts = ask::facts(&self.holdings.program, uuid).await?;
        check_is_still(machine, uuid, &facts)?;
        check_off(uuid, &facts)?;
        self.holdings.logs_are_in(facts.get("LogFldr"));
        let snapshots = Snapshots::of(&facts);
        let from = match snapshot {
            None => None,
            Some(name) => Some(only(&snapshots, name, "attach_snapshot")?),
        };
        if let Some(target) = &self.part.after.snapshot {
            check_target(&snapshots, from, target)?;
        }
        let stood_on = from.and(snapshots.current.clone()).filter(|_| !self.part.in_default_folder);
        self.holdings.note(Identity::Borrowed(Borrowed {
            uuid: uuid.to_owned(),
            snapshot: stood_on,
            told_to_run: None,
            display,
            // As the media in it are put into drives.
            work: Some(without_links(self.part.work_dir.as_ref().unwrap_or(&self.spec.runtime_dir))),
        }))?;
        if let Some(from) = from {
            self.holdings.program.run_long(&["snapshot", uuid, "restore", &from.uuid]).await?;
            self.holdings.restored();
        }
        Ok(())
    }
}

/// Refuses a machine that has got another name since it was looked for.
fn check_is_still(machine: &str, uuid: &str, facts: &Facts) -> Result<(), StartError> {
    let name = facts.get("name").unwrap_or_default();
    if name == machine || uuid == machine {
        return Ok(());
    }
    Err(StartError::Refused {
        command: "vm_name".to_owned(),
        problem: format!("the machine that was called {machine} when the build began is called {name} now"),
        hint: Some("set vm_name to the machine that is meant, and build again".to_owned()),
    })
}

/// Refuses a machine that is not off. A saved one holds what its owner was doing, which a restored snapshot would end.
fn check_off(uuid: &str, facts: &Facts) -> Result<(), StartError> {
    let hint = match facts.state() {
        Some(State::Alive) => "switch it off, and build again".to_owned(),
        Some(State::Saved) => format!(
            "start it and shut it down, or give up what it was doing with `VBoxManage discardstate {uuid}`, and build again"
        ),
        Some(State::Off | State::Aborted) | None => return Ok(()),
    };
    let problem = format!("the machine is {}", facts.get("VMState").unwrap_or("not off"));
    Err(StartError::Refused { command: format!("VBoxManage startvm {uuid}"), problem, hint: Some(hint) })
}
