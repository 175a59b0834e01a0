//! The file builder: one file, copied or written.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use kiln_communicators::none::NoCommunicator;

use crate::artifact::{Artifact, Ownership};
use crate::atomic_file;
use crate::blocking::blocking;
use crate::built::{Built, PlannedBuild};
use crate::cleanup::CleanupId;
use crate::context::BuildContext;
use crate::error::{BuildError, StepError};
use crate::ledger::Resource;
use crate::option_values::OptionValues;
use crate::plan::{FileContent, FilePlan};
use crate::provisioners::ProvisionContext;
use crate::step::Step;
use crate::steps::provision;

pub(crate) fn read(options: OptionValues<'_>) -> FilePlan {
    FilePlan {
        target: options.text("target").unwrap_or_default().into(),
        content: match options.text("source") {
            Some(source) => FileContent::Copy(source.into()),
            None => FileContent::Text(options.text("content").unwrap_or_default()),
        },
    }
}

/// Makes the file, and runs the provisioners: there is no guest, so only those that need none can do anything.
pub(crate) async fn run(plan: &FilePlan, planned: &PlannedBuild, context: &BuildContext) -> Result<Built, BuildError> {
    // What was there before has been replaced; only a new file is removed when a provisioner fails.
    let owned = match (plan.target.symlink_metadata(), std::path::absolute(&plan.target)) {
        (Err(_), Ok(path)) => Some(own(path, context)),
        _ => None,
    };
    context.step(Step::prepare("write"), || write(plan, context)).await?;
    if let Some(owned) = &owned {
        // Nobody but us ever sets it.
        let _ = owned.written.set(identity(&plan.target));
    }
    let data = planned.base_data(context);
    let provisioning = ProvisionContext {
        build: context.clone(),
        communicator: Arc::new(NoCommunicator),
        data: Arc::new(data.clone()),
    };
    let cleanup = planned.build.cleanup_provisioner.as_ref();
    let provisioners = &planned.build.provisioners;
    provision::run(&provisioning, provisioners, cleanup, None).await?;
    if let Some(owned) = owned {
        context.disarm(owned.cleanup);
        context.ledger.released(&owned.resource);
    }
    let artifact = Artifact {
        builder_id: "packer.file".to_owned(),
        id: "File".to_owned(),
        text: format!("Stored file: {}", plan.target.display()),
        files: vec![plan.target.clone()],
        ownership: Ownership::Files(vec![plan.target.clone()]),
    };
    Ok(Built { artifact, data, machine: None, exported: Vec::new(), held: None })
}

/// A file that goes when the build fails.
struct Owned {
    resource: Resource,
    cleanup: CleanupId,
    /// Which file was written.
    written: Arc<OnceLock<Option<(u64, u64)>>>,
}

/// Has the file at `path` removed on clean-up, unless another build has put its own there meanwhile.
fn own(path: PathBuf, context: &BuildContext) -> Owned {
    let resource = Resource::File { path: path.clone() };
    context.ledger.acquired(&resource);
    let written: Arc<OnceLock<Option<(u64, u64)>>> = Arc::default();
    let (ours, ledger, noted) = (written.clone(), context.ledger.clone(), resource.clone());
    let cleanup = context.on_cleanup("write", format!("remove {}", path.display()), move || async move {
        let is_ours = ours.get().is_some_and(|ours| ours.is_some() && *ours == identity(&path));
        match if is_ours { tokio::fs::remove_file(&path).await } else { Ok(()) } {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
            _ => {
                ledger.released(&noted);
                Ok(())
            }
        }
    });
    context.gives_back(cleanup, resource.clone());
    Owned { resource, cleanup, written }
}

/// File system and number of a file.
fn identity(path: &Path) -> Option<(u64, u64)> {
    path.symlink_metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

async fn write(plan: &FilePlan, context: &BuildContext) -> Result<(), StepError> {
    let name = format!(".kiln-{}.partial", uuid::Uuid::new_v4().simple());
    let temporary = plan.target.with_file_name(name);
    let noted = std::path::absolute(&temporary).and_then(|path| {
        let resource = Resource::File { path };
        context.ledger.note(&resource).map(|()| resource)
    });
    let noted =
        noted.map_err(|error| StepError::new("cannot note what an unfinished file may leave").with_source(error))?;
    write_by_way_of(temporary, plan, context).await?;
    context.ledger.released(&noted);
    Ok(())
}

async fn write_by_way_of(temporary: PathBuf, plan: &FilePlan, context: &BuildContext) -> Result<(), StepError> {
    let target = plan.target.clone();
    let failed =
        |error: std::io::Error| StepError::new(format!("cannot write {}", plan.target.display())).with_source(error);
    match &plan.content {
        FileContent::Text(text) => {
            let text = text.clone();
            blocking("writing a file", move |_| {
                atomic_file::write_by_way_of(&temporary, &target, text.as_bytes(), 0o600)
            })
            .await
            .map_err(failed)
        }
        FileContent::Copy(source) => {
            context.say(format!("Copying {} to {}", source.display(), plan.target.display()));
            let from = source.clone();
            let copying = blocking("copying a file", move |_| atomic_file::copy(&from, &temporary, &target));
            let copied = copying.await.map_err(|error| {
                let paths = format!("{} to {}", source.display(), plan.target.display());
                StepError::new(format!("cannot copy {paths}")).with_source(error)
            })?;
            context.say(format!("Copied {copied} bytes"));
            Ok(())
        }
    }
}
