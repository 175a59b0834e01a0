//! The client's standard output: a FIFO that the client made and reads, put in the place of this process's own standard output.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use super::failure::Failure;

/// Connects standard output with the client. The name of the FIFO is gone afterwards; its two ends are all that is left.
pub(super) fn connect(path: &Path) -> Result<(), Failure> {
    let failed =
        |why: &dyn std::fmt::Display| Failure::new(format!("cannot write to the client's standard output: {why}"));
    // Without a reader this fails rather than waits: a client that is gone does not come back for it.
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let opened = std::fs::OpenOptions::new().write(true).custom_flags(flags).open(path);
    let fifo = opened.map_err(|error| {
        let no_reader = error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error());
        if no_reader { failed(&"the client has gone") } else { failed(&error) }
    })?;
    let metadata = fifo.metadata().map_err(|error| failed(&error))?;
    if !metadata.file_type().is_fifo() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(failed(&"it is not a FIFO of this user"));
    }
    rustix::stdio::dup2_stdout(&fifo).map_err(|error| failed(&error))?;
    // The client removes it too, should this process be killed before it comes here.
    let _ = std::fs::remove_file(path);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_fifo_that_somebody_reads_is_taken() {
        let scratch = tempfile::tempdir().unwrap();
        let (file, fifo) = (scratch.path().join("file"), scratch.path().join("fifo"));
        std::fs::write(&file, "keep").unwrap();
        assert!(connect(&file).unwrap_err().text.contains("not a FIFO"));
        assert_eq!(std::fs::read(&file).unwrap(), b"keep");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(connect(&fifo).unwrap_err().text.contains("the client has gone"));
        assert!(connect(&scratch.path().join("none")).is_err());
    }
}
