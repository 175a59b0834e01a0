//! A machine out of a package. Every import is into a directory of ours, so that what is there is ours whatever becomes of it; a machine that
//! is to stay is moved to its user's others when it is done.

use std::path::Path;

use super::call::Call;
use super::default_folder;
use super::give_back::find_in;
use super::identity::Identity;
use super::problem::Problem;
use super::program::shown;
use super::registered::Registered;
use super::start::{Starting, Stop};
use crate::error::{MachineError, StartError};

impl Starting<'_> {
    pub(super) async fn import(&self, package: &Path, known: &[Registered]) -> Result<String, Stop> {
        let directory = &self.holdings.directory;
        // As `movevm` calls it.
        self.refuse_taken_folder(&self.spec.name).await?;
        self.holdings.note(Identity::Importing(directory.clone()))?;
        let mut call: Call = vec!["import".to_owned(), package.display().to_string()];
        call.extend(["--vsys".to_owned(), "0".to_owned(), "--vmname".to_owned(), self.spec.name.clone()]);
        call.extend(["--basefolder".to_owned(), directory.display().to_string()]);
        call.extend(self.part.import.iter().cloned());
        self.holdings.program.run_long(&call).await?;
        let uuid = find_in(&self.holdings.program, directory, known).await?;
        let Some(uuid) = uuid else {
            let problem = format!("VirtualBox has no new machine with its settings in {}", directory.display());
            return Err(StartError::Setup(MachineError::Unexpected { command: shown(&call), problem }).into());
        };
        self.holdings.note(Identity::Made(uuid.clone()))?;
        Ok(uuid)
    }

    /// Refuses a machine that is to stay where something else is: what is in its folder goes with it when the build fails.
    pub(super) async fn refuse_taken_folder(&self, name: &str) -> Result<(), Stop> {
        if !self.part.in_default_folder {
            return Ok(());
        }
        let folder = default_folder::of(&self.holdings.program).await?.join(name);
        match default_folder::taken(&folder) {
            Some(problem) => {
                let hint = Problem::InUse.hint().map(ToOwned::to_owned);
                Err(StartError::Refused { command: "keep_registered".to_owned(), problem, hint }.into())
            }
            None => Ok(()),
        }
    }
}
