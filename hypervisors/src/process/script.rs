//! Programs that tests write and run at once. A file that is open for writing cannot be run (ETXTBSY), and a neighbour's child has a copy of
//! every open descriptor between its fork and its exec: so no descriptor of this process is ever open for writing on the program itself.

use std::path::Path;
use std::process::Command;

/// Puts a script that can be run at `path`.
pub(crate) fn write_script(path: &Path, text: &str) {
    let mut draft = path.to_owned().into_os_string();
    draft.push(".draft");
    std::fs::write(&draft, text).unwrap();
    // Written under another name and put in place at once, for what is there may be running.
    let mut copy = path.to_owned().into_os_string();
    copy.push(".copy");
    let made = Command::new("install").args(["-m", "755"]).args([&draft, &copy]).status().unwrap();
    assert!(made.success(), "install {}", path.display());
    std::fs::rename(&copy, path).unwrap();
    std::fs::remove_file(&draft).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_runs_while_neighbours_fork() {
        let directory = tempfile::tempdir().unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let forks = || {
                while !over.load(std::sync::atomic::Ordering::Acquire) {
                    Command::new("true").status().unwrap();
                }
            };
            scope.spawn(forks);
            scope.spawn(forks);
            let tries = (0..50).map(|number| {
                let path = directory.path().join(format!("{number}"));
                write_script(&path, "#!/bin/sh\nexit 7\n");
                Command::new(&path).status().map(|status| status.code())
            });
            let tries: Vec<_> = tries.collect();
            over.store(true, std::sync::atomic::Ordering::Release);
            for tried in tries {
                assert_eq!(tried.unwrap(), Some(7));
            }
        });
    }
}
