//! VMware's `vmware-vdiskmanager`: makes disks.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::check::INSTALL_HINT;
use super::vmrun::{find_tool, run};
use crate::error::{MachineError, StartError};

/// The program.
pub(super) const PROGRAM: &str = "vmware-vdiskmanager";

/// How long making a disk may take: a preallocated one is written in full.
pub(super) const LIMIT: Duration = Duration::from_secs(2 * 3600);

/// Makes an empty disk of `megabytes` MiB in the file `path`. `adapter` is what it is to hang on (`ide`, `lsilogic`, `nvme`, …), and
/// `kind` the program's number of a shape: 0 one growing file, 1 several, 2 and 3 the same preallocated.
///
/// # Errors
///
/// The program is missing, says no, or takes hours.
pub async fn create_disk(path: &Path, megabytes: u64, adapter: &str, kind: &str) -> Result<(), StartError> {
    create_with(None, LIMIT, path, megabytes, adapter, kind).await
}

/// [`create_disk`] with the program in `directory`, which may take no longer than `limit`.
pub(super) async fn create_with(
    directory: Option<&Path>,
    limit: Duration,
    path: &Path,
    megabytes: u64,
    adapter: &str,
    kind: &str,
) -> Result<(), StartError> {
    let Some(program) = find_tool(directory, PROGRAM) else {
        return Err(StartError::ProgramMissing { program: PROGRAM.to_owned(), hint: INSTALL_HINT.to_owned() });
    };
    let made = run(&program, PROGRAM, arguments(path, megabytes, adapter, kind), limit).await;
    made.map_err(StartError::Setup)?;
    // It has been seen to say that all is well and to leave nothing.
    if path.is_file() {
        return Ok(());
    }
    let problem = format!("it made no {}", path.display());
    Err(StartError::Setup(MachineError::Unexpected { command: PROGRAM.to_owned(), problem }))
}

fn arguments(path: &Path, megabytes: u64, adapter: &str, kind: &str) -> Vec<OsString> {
    // It knows these alone; the VMX file says what the disk really hangs on.
    let adapter = if matches!(adapter, "ide" | "buslogic") { adapter } else { "lsilogic" };
    let size = format!("{megabytes}M");
    let mut arguments: Vec<OsString> =
        ["-c", "-s", &size, "-a", adapter, "-t", kind].iter().map(OsString::from).collect();
    arguments.push(path.into());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_packers() {
        for (adapter, expected) in
            [("lsilogic", "lsilogic"), ("ide", "ide"), ("nvme", "lsilogic"), ("pvscsi", "lsilogic")]
        {
            let line = arguments(Path::new("/o/disk.vmdk"), 40_000, adapter, "1");
            let line: Vec<_> = line.iter().map(|word| word.to_str().unwrap()).collect();
            assert_eq!(line.join(" "), format!("-c -s 40000M -a {expected} -t 1 /o/disk.vmdk"));
        }
    }
}
