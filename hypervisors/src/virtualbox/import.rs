//! A machine out of a package. Every import is into a directory of ours, so that what is there is ours whatever becomes of it; a machine that
//! is to stay is moved to its user's others when it is done.

use std::io;
use std::path::{Path, PathBuf};

use super::call::Call;
use super::facts::Registered;
use super::give_back::{find_in, look};
use super::holdings::Holdings;
use super::identity::Identity;
use super::problem::{Failure, Problem};
use super::program::{VBoxManage, shown};
use super::start::{Starting, Stop, property};
use crate::error::{MachineError, StartError};

impl Starting<'_> {
    pub(super) async fn import(&self, package: &Path, known: &[Registered]) -> Result<String, Stop> {
        let directory = &self.holdings.directory;
        if self.part.in_default_folder {
            self.refuse_taken_folder().await?;
        }
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

    /// Refuses a machine that is to stay where something else is.
    async fn refuse_taken_folder(&self) -> Result<(), Stop> {
        // As `movevm` calls it, whatever its folder was called before.
        let folder = default_folder(&self.holdings.program).await?.join(&self.spec.name);
        match taken(&folder) {
            Some(problem) => {
                let hint = Problem::InUse.hint().map(ToOwned::to_owned);
                Err(StartError::Refused { command: "keep_registered".to_owned(), problem, hint }.into())
            }
            None => Ok(()),
        }
    }
}

/// What is in the way of a machine that is to be in `folder`.
fn taken(folder: &Path) -> Option<String> {
    let shown = folder.display();
    match std::fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Ok(false) => Some(format!("the machine is to stay in {shown}, where there are files of another")),
        Err(error) => Some(format!("the machine is to stay in {shown}, which cannot be looked into: {error}")),
    }
}

/// Moves an import to where VirtualBox keeps its user's machines. One that is there already stays.
pub(super) async fn move_to_default_folder(holdings: &Holdings, uuid: &str) -> Result<(), MachineError> {
    let program = &holdings.program;
    let Some(facts) = look(program, uuid).await.map_err(Failure::of_machine)? else { return Ok(()) };
    if !facts.settings_file().is_some_and(|settings| settings.starts_with(&holdings.directory)) {
        return Ok(());
    }
    let base = default_folder(program).await.map_err(Failure::of_machine)?;
    let call = ["movevm", uuid, "--type", "basic", "--folder", &base.display().to_string()].map(ToOwned::to_owned);
    // Somebody else may have made a machine there in the meantime: VirtualBox would put ours among its files.
    if let Some(problem) = facts.get("name").and_then(|name| taken(&base.join(name))) {
        let message = format!("{problem} (hint: {})", Problem::InUse.hint().unwrap_or_default());
        return Err(MachineError::Refused { command: shown(&call), message });
    }
    // VirtualBox makes it with the first machine, but moves none to where it is not yet.
    std::fs::create_dir_all(&base).map_err(|error| MachineError::Refused {
        command: format!("making the directory {}", base.display()),
        message: error.to_string(),
    })?;
    // Stopped in the middle it would leave some of the disks here and some there.
    program.run_long_to_its_end(&call).await.map(drop).map_err(Failure::of_machine)
}

async fn default_folder(program: &VBoxManage) -> Result<PathBuf, Failure> {
    let call = ["list", "systemproperties"];
    let properties = program.run(&call).await?;
    let folder = property(&properties, "Default machine folder").map(PathBuf::from);
    folder.ok_or_else(|| Failure::new(&shown(&call), Problem::Other, "it does not tell its default machine folder"))
}
