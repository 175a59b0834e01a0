//! Makes the floppy and the CD with seed files.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use kiln_disk_formats::media::{FloppyOptions, IsoOptions, MediaTree, write_floppy, write_iso9660};

use crate::blocking::blocking;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::plan::MediaPlan;

/// Writes the floppy into `directory` and returns its path.
pub(crate) async fn floppy(plan: &MediaPlan, directory: &Path, context: &BuildContext) -> Result<PathBuf, StepError> {
    context.say("Creating floppy disk...");
    let plan = plan.clone();
    make(directory.join("floppy.img"), "floppy", move |file| {
        let tree = MediaTree::from_packer_floppy(&plan.files, &plan.directories, &plan.content)?;
        let options = FloppyOptions { label: plan.label.clone(), ..FloppyOptions::default() };
        write_floppy(&tree, &options, file).map_err(StepError::wrap)
    })
    .await
}

/// Writes the CD into `directory` and returns its path.
pub(crate) async fn cd(plan: &MediaPlan, directory: &Path, context: &BuildContext) -> Result<PathBuf, StepError> {
    context.say("Creating CD disk...");
    let plan = plan.clone();
    make(directory.join("cd.iso"), "CD", move |file| {
        let tree = MediaTree::from_packer_cd(&plan.files, &plan.content)?;
        let options = IsoOptions { label: plan.label.clone(), ..IsoOptions::default() };
        write_iso9660(&tree, &options, file).map_err(StepError::wrap)
    })
    .await
}

async fn make(
    path: PathBuf,
    what: &'static str,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), StepError> + Send + 'static,
) -> Result<PathBuf, StepError> {
    blocking("making a medium", move |_| {
        let failed = |error: io::Error| {
            StepError::new(format!("cannot write the {what} to {}", path.display())).with_source(error)
        };
        let mut file = BufWriter::new(File::create(&path).map_err(failed)?);
        write(&mut file)?;
        file.flush().map_err(failed)?;
        Ok(path)
    })
    .await
}
