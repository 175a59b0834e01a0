//! Notes what is to be known of a machine so that others than VirtualBox can export it: its settings, and where its disks are. What cannot be
//! exported so is left to VirtualBox.

use std::path::PathBuf;

use kiln_disk_formats::package::virtualbox_machine;
use kiln_disk_formats::{Format, OpenPolicy, open};

use super::facts::Facts;
use super::give_back::look;
use super::holdings::Holdings;
use super::media::Media;
use super::problem::Failure;
use super::spec::Notes;
use crate::error::MachineError;

/// Notes the machine, and returns what it was like then. `None`: VirtualBox has to export it, for the reason that is noted.
pub(super) async fn note(holdings: &Holdings, uuid: &str, notes: &Notes) -> Result<Option<Facts>, MachineError> {
    let program = &holdings.program;
    let facts = look(program, uuid).await.map_err(Failure::of_machine)?.ok_or(MachineError::Gone)?;
    let list = program.run(&["list", "hdds"]).await.map_err(Failure::of_machine)?;
    let settings = match facts.settings_file() {
        None => Err("VirtualBox does not tell where its settings are".to_owned()),
        Some(file) => match tokio::fs::read(&file).await {
            Err(error) => Err(format!("its settings {} cannot be read: {error}", file.display())),
            Ok(settings) => Ok(settings),
        },
    };
    let readable = match settings {
        Err(why) => Err(why),
        Ok(settings) => {
            write(&notes.settings, &settings).await?;
            readable(notes, &Media::read(&list)).await
        }
    };
    match readable {
        Ok(()) => write(&notes.media, list.as_bytes()).await.map(|()| Some(facts)),
        Err(why) => {
            tracing::info!(why, uuid, "the export is left to VirtualBox");
            write(&notes.media, format!("{}{why}\n", Notes::LEFT).as_bytes()).await.map(|()| None)
        }
    }
}

/// Whether the machine can be described, and its disks read, without VirtualBox.
async fn readable(notes: &Notes, media: &Media) -> Result<(), String> {
    let settings = notes.settings.clone();
    let read = tokio::task::spawn_blocking(move || virtualbox_machine(&settings)).await;
    let machine = read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    if machine.disks.is_empty() {
        return Err("it has no disk".to_owned());
    }
    let chains = machine.disks.iter().map(|disk| media.chain(disk)).collect::<Result<Vec<_>, _>>()?;
    let open = move || chains.into_iter().try_for_each(open_chain);
    tokio::task::spawn_blocking(open).await.map_err(|error| error.to_string())?
}

/// Opens a disk with all that it lies on, as it will be read.
fn open_chain(chain: Vec<(PathBuf, Format)>) -> Result<(), String> {
    let mut chain = chain.into_iter();
    let Some((path, format)) = chain.next() else { return Err("a disk is nowhere".to_owned()) };
    let mut policy = OpenPolicy::allow_below(path.parent().into_iter().map(Into::into).collect());
    policy.parents = chain.collect();
    let lies_on = policy.parents.len();
    let image = open(&path, Some(format), &policy).map_err(|error| error.to_string())?;
    // One that is not found would read as zeroes.
    let files = image.info().files;
    match policy.parents.iter().find(|(parent, _)| !files.contains(parent)) {
        Some((parent, _)) if lies_on > 0 => {
            Err(format!("{} does not say that it lies on {}", path.display(), parent.display()))
        }
        _ => Ok(()),
    }
}

async fn write(path: &std::path::Path, bytes: &[u8]) -> Result<(), MachineError> {
    tokio::fs::write(path, bytes).await.map_err(|error| MachineError::Refused {
        command: format!("writing {}", path.display()),
        message: error.to_string(),
    })
}
