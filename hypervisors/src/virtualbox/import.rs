//! A machine out of a package. Every import is into a directory of ours, so that what is there is ours whatever becomes of it; a machine that
//! is to stay is moved to its user's others when it is done.

use std::path::Path;

use super::call::Call;
use super::default_folder;
use super::give_back::find_in;
use super::identity::Identity;
use super::problem::Problem;
use super::program::shown;
use super::spec::VirtualBoxSpec;
use super::start::{Starting, Stop};
use crate::error::{MachineError, StartError};
use crate::spec::MachineSpec;

impl Starting<'_> {
    pub(super) async fn import(&self, package: &Path) -> Result<String, Stop> {
        let directory = &self.holdings.directory;
        // As `movevm` calls it.
        self.refuse_taken_folder(&self.spec.name).await?;
        self.holdings.note(Identity::Importing(directory.clone()))?;
        let call = call(self.spec, self.part, package, &directory.display().to_string());
        self.holdings.program.run_long(&call).await?;
        let uuid = match settled_in(directory) {
            Some(uuid) => Some(uuid),
            None => find_in(&self.holdings.program, directory).await?,
        };
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

/// The call that imports the machine of a package into a directory.
pub(super) fn call(spec: &MachineSpec, part: &VirtualBoxSpec, package: &Path, directory: &str) -> Call {
    let mut call: Call = vec!["import".to_owned(), package.display().to_string()];
    call.extend(["--vsys".to_owned(), "0".to_owned(), "--vmname".to_owned(), spec.name.clone()]);
    call.extend(["--basefolder".to_owned(), directory.to_owned()]);
    call.extend(part.import.iter().cloned());
    call
}

/// The UUID of the only machine whose settings lie in a directory of ours, as its file tells it; `None`: it does not, and VirtualBox is asked.
fn settled_in(directory: &Path) -> Option<String> {
    let folders =
        std::fs::read_dir(directory).ok()?.flatten().filter_map(|folder| std::fs::read_dir(folder.path()).ok());
    let files = folders.flat_map(|folder| folder.flatten().map(|file| file.path()));
    let mut settings = files.filter(|file| file.extension().is_some_and(|end| end == "vbox"));
    let (Some(file), None) = (settings.next(), settings.next()) else { return None };
    uuid_in(&std::fs::read_to_string(file).ok()?)
}

/// The UUID in a machine's settings: `<Machine uuid="{11111111-2222-…}" …>`.
fn uuid_in(settings: &str) -> Option<String> {
    let (_, machine) = settings.split_once("<Machine ")?;
    let (machine, _) = machine.split_once('>')?;
    let (uuid, _) = machine.split_once("uuid=\"{")?.1.split_once('}')?;
    uuid::Uuid::parse_str(uuid).ok().map(|uuid| uuid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_known_by_its_settings_where_they_are_the_only_ones() {
        let directory = tempfile::tempdir().unwrap();
        let settings = |name: &str, text: &str| {
            std::fs::create_dir_all(directory.path().join(name)).unwrap();
            std::fs::write(directory.path().join(name).join("x.vbox"), text).unwrap();
        };
        assert_eq!(settled_in(directory.path()), None);
        let uuid = "d76fc2c1-6c80-4db7-8e25-733e9dc31fb5";
        let text = format!("<VirtualBox version=\"1.19-linux\">\n  <Machine uuid=\"{{{uuid}}}\" name=\"d\">\n");
        settings("web", &text);
        assert_eq!(settled_in(directory.path()).as_deref(), Some(uuid));
        for text in ["settings", "<Machine uuid=\"{web}\">", "<Machine name=\"x\"><Hardware uuid=\"{1}\"/>"] {
            assert_eq!(uuid_in(text), None, "{text}");
        }
        settings("other", &text);
        assert_eq!(settled_in(directory.path()), None);
    }
}
