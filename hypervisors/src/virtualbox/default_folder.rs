//! Where VirtualBox keeps its user's machines, and how one of ours comes to be among them.

use std::io;
use std::path::{Path, PathBuf};

use super::call::Call;
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

/// The name of the folder that `createvm` makes for a machine called `name`: what is no file's name everywhere is replaced.
pub(super) fn made_by_createvm(name: &str) -> String {
    let is_kept = |c: char| c.is_ascii_alphanumeric() || " ()-.[]_".contains(c) || c >= '\u{a0}';
    name.chars().map(|c| if is_kept(c) { c } else { '_' }).collect()
}

/// A machine that is to be moved there.
pub(super) struct Move {
    /// The folder that it gets.
    pub(super) folder: PathBuf,
    base: PathBuf,
    /// The base is a folder for this machine alone.
    is_aside: bool,
    uuid: String,
    name: String,
}

impl Move {
    /// The move of the machine `uuid`, an import, out of `directory`; `None`: it is elsewhere already, and stays there.
    pub(super) async fn out_of(program: &VBoxManage, directory: &Path, uuid: &str) -> Result<Option<Self>, Failure> {
        let Some(facts) = look(program, uuid).await? else { return Ok(None) };
        if !facts.settings_file().is_some_and(|settings| settings.starts_with(directory)) {
            return Ok(None);
        }
        let base = of(program).await?;
        let name = facts.get("name").unwrap_or(uuid).to_owned();
        Ok(Some(Self { folder: base.join(&name), base, is_aside: false, uuid: uuid.to_owned(), name }))
    }

    /// The same to a folder beside the one where another's files are.
    pub(super) fn aside(self) -> Self {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let base = self.base.join(format!("aborted-{}", &unique[..8]));
        Self { folder: base.join(&self.name), base, is_aside: true, ..self }
    }

    fn call(&self) -> Call {
        let base = self.base.display().to_string();
        ["movevm", &self.uuid, "--type", "basic", "--folder", &base].map(ToOwned::to_owned).to_vec()
    }

    /// Refuses it when somebody else has made a machine there in the meantime: VirtualBox would put ours among its files.
    pub(super) fn refuse_taken(&self) -> Result<(), MachineError> {
        let Some(problem) = taken(&self.folder) else { return Ok(()) };
        let message = format!("{problem} (hint: {})", Problem::InUse.hint().unwrap_or_default());
        Err(MachineError::Refused { command: shown(&self.call()), message })
    }

    /// Moves it.
    pub(super) async fn run(&self, program: &VBoxManage) -> Result<(), MachineError> {
        // VirtualBox makes it with the first machine, but moves none to where it is not yet.
        std::fs::create_dir_all(&self.base).map_err(|error| MachineError::Refused {
            command: format!("making the directory {}", self.base.display()),
            message: error.to_string(),
        })?;
        // Stopped in the middle it would leave some of the disks here and some there.
        program.run_long_to_its_end(&self.call()).await.map(drop).map_err(Failure::of_machine)
    }

    /// Removes what is there of it and empty, after one that has failed.
    pub(super) fn remove_empty_folders(&self) {
        let removed = std::fs::remove_dir(&self.folder);
        if removed.is_ok() || removed.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            let _ = if self.is_aside { std::fs::remove_dir(&self.base) } else { Ok(()) };
        }
    }
}

/// Where that is.
pub(super) async fn of(program: &VBoxManage) -> Result<PathBuf, Failure> {
    let call = ["list", "systemproperties"];
    let properties = program.run(&call).await?;
    let folder = property(&properties, "Default machine folder").map(PathBuf::from);
    folder.ok_or_else(|| Failure::new(&shown(&call), Problem::Other, "it does not tell its default machine folder"))
}
