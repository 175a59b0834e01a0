//! Where VirtualBox keeps its user's machines, and how one of ours comes to be among them.

use std::io;
use std::path::{Path, PathBuf};

use super::facts::property;
use super::give_back::look;
use super::problem::{Failure, Problem};
use super::program::{VBoxManage, shown};
use crate::error::MachineError;

/// What is in the way of a machine that is to be in `folder`.
pub(super) fn taken(folder: &Path) -> Option<String> {
    let shown = folder.display();
    match std::fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Ok(false) => Some(format!("the machine is to stay in {shown}, where there are files of another")),
        Err(error) => Some(format!("the machine is to stay in {shown}, which cannot be looked into: {error}")),
    }
}

/// Moves the machine `uuid`, an import, out of `directory`. One that is elsewhere already stays there.
pub(super) async fn move_there(program: &VBoxManage, directory: &Path, uuid: &str) -> Result<(), MachineError> {
    let Some(facts) = look(program, uuid).await.map_err(Failure::of_machine)? else { return Ok(()) };
    if !facts.settings_file().is_some_and(|settings| settings.starts_with(directory)) {
        return Ok(());
    }
    let base = of(program).await.map_err(Failure::of_machine)?;
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

/// Where that is.
pub(super) async fn of(program: &VBoxManage) -> Result<PathBuf, Failure> {
    let call = ["list", "systemproperties"];
    let properties = program.run(&call).await?;
    let folder = property(&properties, "Default machine folder").map(PathBuf::from);
    folder.ok_or_else(|| Failure::new(&shown(&call), Problem::Other, "it does not tell its default machine folder"))
}
