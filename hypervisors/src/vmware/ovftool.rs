//! VMware's `ovftool`, for those who ask for it by arguments of its own: it exports a machine that is off.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::vmrun::{find_tool, run};
use crate::error::{MachineError, StartError};

/// The program.
const PROGRAM: &str = "ovftool";

/// What to do where it is missing.
pub const OVFTOOL_HINT: &str =
    "install VMware's OVF Tool, and see that it is in PATH; or leave ovftool_options out: Kiln exports without it";

/// How long an export may take.
pub(super) const LIMIT: Duration = Duration::from_secs(6 * 3600);

/// Finds the program in `PATH`.
pub fn find_ovftool() -> Option<PathBuf> {
    find_tool(None, PROGRAM)
}

/// Exports the machine of the file `vmx` to `target`, whose ending says whether that is an OVF or an OVA. `options` come before both.
///
/// # Errors
///
/// The program is missing, says no, or takes hours.
pub async fn export_with_ovftool(vmx: &Path, target: &Path, options: &[String]) -> Result<(), StartError> {
    export_with(None, LIMIT, vmx, target, options).await
}

/// [`export_with_ovftool`] with the program in `directory`, which may take no longer than `limit`.
pub(super) async fn export_with(
    directory: Option<&Path>,
    limit: Duration,
    vmx: &Path,
    target: &Path,
    options: &[String],
) -> Result<(), StartError> {
    let Some(program) = find_tool(directory, PROGRAM) else {
        return Err(StartError::ProgramMissing { program: PROGRAM.to_owned(), hint: OVFTOOL_HINT.to_owned() });
    };
    let mut arguments: Vec<OsString> = options.iter().map(OsString::from).collect();
    arguments.extend([vmx.into(), target.into()]);
    run(&program, PROGRAM, arguments, limit).await.map_err(StartError::Setup)?;
    if target.is_file() {
        return Ok(());
    }
    let problem = format!("it made no {}", target.display());
    Err(StartError::Setup(MachineError::Unexpected { command: PROGRAM.to_owned(), problem }))
}
