//! Gives whole files their final names: all of them, or none.

use crate::error::Result;
use crate::writing::output_file::FinishedFile;

/// Gives all files their names, an output's main file after those it names, so that one cut off by a power loss is never found
/// by its main file. Takes the new names away again when one of them cannot be given.
pub(super) fn publish_all(files: &mut [FinishedFile], overwrite: bool) -> Result<()> {
    for index in (0..files.len()).rev() {
        if let Err(error) = files[index].publish(overwrite) {
            // What an overwritten file held is gone in any case; removing its successor would help nobody.
            if !overwrite {
                for file in files[index + 1..].iter().filter(|file| !file.is_stream()) {
                    let _ = std::fs::remove_file(&file.report.path);
                }
            }
            return Err(error);
        }
    }
    Ok(())
}
