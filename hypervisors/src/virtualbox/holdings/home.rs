//! How a machine that is to stay comes to be among its user's others, and what becomes of one that cannot.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use super::{Holdings, registered};
use crate::error::MachineError;
use crate::kept_mark;
use crate::ledger::Resource;
use crate::virtualbox::default_folder::Move;
use crate::virtualbox::give_back;
use crate::virtualbox::identity::Identity;
use crate::virtualbox::problem::Failure;

impl Holdings {
    /// Moves the machine to its user's others. Its folder there is noted before it is: until the machine is given back or kept, all in it is
    /// ours, also when the move has stopped half way.
    pub(in crate::virtualbox) async fn move_home(&self, uuid: &str) -> Result<(), MachineError> {
        let Some(planned) = self.planned_move(uuid).await? else { return Ok(()) };
        if !self.has_noted(&planned) {
            planned.refuse_taken()?;
        }
        self.run_move(&planned).await
    }

    /// [`move_home`](Self::move_home) for a machine of a build that was given up: where another's files are in its folder, it gets one beside
    /// that; where it cannot be moved at all it stays, and what lies there is marked as kept.
    async fn move_home_or_stay(&self, uuid: &str) {
        let Err(error) = self.move_somewhere(uuid).await else { return };
        let directory = self.directory.display();
        tracing::error!(%error, uuid, %directory, "a machine that is to stay does so in a build's directory");
        self.kept_inside.store(true, Ordering::Release);
        let facts = give_back::look(&self.program, uuid).await.ok().flatten().unwrap_or_default();
        let files: Vec<PathBuf> = facts
            .settings_file()
            .into_iter()
            .chain(facts.disks())
            .filter(|path| path.starts_with(&self.directory))
            .collect();
        let words = format!(
            "the machine {:?} in VirtualBox ({uuid}), whose build was aborted (hint: to keep it: VBoxManage movevm {uuid} --folder \
             DIRECTORY; to remove it: VBoxManage unregistervm {uuid} --delete)",
            facts.get("name").unwrap_or(uuid)
        );
        if let Err(error) = kept_mark::write(&self.directory, &words, &files) {
            tracing::error!(%error, %directory, "what lies in a build's directory cannot be marked as kept");
        }
    }

    async fn move_somewhere(&self, uuid: &str) -> Result<(), MachineError> {
        let Some(mut planned) = self.planned_move(uuid).await? else { return Ok(()) };
        if !self.has_noted(&planned) && planned.refuse_taken().is_err() {
            planned = planned.aside();
        }
        let moved = self.run_move(&planned).await;
        if moved.is_err() {
            planned.remove_empty_folders();
        }
        moved
    }

    async fn planned_move(&self, uuid: &str) -> Result<Option<Move>, MachineError> {
        Move::out_of(&self.program, &self.directory, uuid).await.map_err(Failure::of_machine)
    }

    /// What is in its folder is ours.
    fn has_noted(&self, planned: &Move) -> bool {
        self.held().moves_to.as_ref() == Some(&planned.folder)
    }

    async fn run_move(&self, planned: &Move) -> Result<(), MachineError> {
        if !self.has_noted(planned) {
            let folder = &planned.folder;
            let noted = self.ledger.acquired(&Resource::Directory { path: folder.clone() });
            noted.map_err(|error| MachineError::Refused {
                command: format!("noting the directory {}", folder.display()),
                message: error.to_string(),
            })?;
            self.held().moves_to = Some(folder.clone());
        }
        planned.run(&self.program).await
    }

    /// Lets go of the folder that the machine was moved to; with all in it, unless the machine stays.
    pub(super) fn forget_move(&self) {
        let Some(path) = self.held().moves_to.take() else { return };
        if !self.kept.load(Ordering::Acquire)
            && let Err(error) = std::fs::remove_dir_all(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %path.display(), "what was moved of a machine cannot be removed");
            return;
        }
        self.ledger.released(&Resource::Directory { path });
    }

    /// Lets go of the machine, which stays as it is.
    pub(in crate::virtualbox) async fn keep(&self) {
        let identity = self.held().identity.clone();
        if let Some(Identity::Made(uuid)) = &identity {
            self.move_home_or_stay(uuid).await;
        }
        self.kept.store(true, Ordering::Release);
        // Where its files are must be out of the ledger first: a sweep that finds the folder and no machine would remove it.
        self.forget_move();
        if self.kept_inside.load(Ordering::Acquire) {
            self.ledger.released(&Resource::Directory { path: self.directory.clone() });
        }
        let identity = self.held().identity.take();
        if let Some(identity) = identity {
            self.ledger.released(&registered(&identity));
        }
        self.give_back().await;
    }

    /// The machine that is to stay could not be moved out of the directory of its build.
    pub(in crate::virtualbox) fn stays_inside(&self) -> bool {
        self.kept_inside.load(Ordering::Acquire)
    }
}
