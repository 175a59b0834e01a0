//! Snapshots of a machine that is off.

use std::path::Path;

use super::check::INSTALL_HINT;
use super::vmrun::{PROGRAM, Vmrun};
use crate::error::StartError;

/// Takes a snapshot called `name` of the machine of the file `vmx`, which is off.
///
/// # Errors
///
/// `vmrun` is missing or says no.
pub async fn take_snapshot(vmx: &Path, name: &str) -> Result<(), StartError> {
    take_with(None, vmx, name).await
}

/// [`take_snapshot`] with the program in `directory`.
pub(super) async fn take_with(directory: Option<&Path>, vmx: &Path, name: &str) -> Result<(), StartError> {
    let Some(vmrun) = Vmrun::find(directory) else {
        return Err(StartError::ProgramMissing { program: PROGRAM.to_owned(), hint: INSTALL_HINT.to_owned() });
    };
    vmrun.snapshot(vmx, name).await.map_err(StartError::Setup)
}
