//! Finds what a home's programs left on the machine: a process belongs to a home when its command line or environment
//! names the home's directory.

use std::path::{Path, PathBuf};

/// Processes and files that are still there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Process ids with their command lines; the daemon and its own search for hypervisors are not among them.
    pub processes: Vec<(u32, String)>,
    /// Files in the job runtime directories, and temporary files beside outputs.
    pub files: Vec<PathBuf>,
}

impl Leftovers {
    pub(crate) fn of(home: &Path) -> Self {
        let mut found = Self::default();
        let needle = home.as_os_str().as_encoded_bytes();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let command_line = read("cmdline");
            let contains = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            if !contains(&command_line) && !contains(&read("environ")) {
                continue;
            }
            let text = String::from_utf8_lossy(&command_line).replace('\0', " ");
            if pid != std::process::id() && !is_daemon(&text) && !is_search(&text, &entry.path()) && !text.is_empty() {
                found.processes.push((pid, text));
            }
        }
        collect(&home.join("run/kiln/jobs"), &mut found.files, &|_| true);
        collect(&home.join("work"), &mut found.files, &|name| name.starts_with(".kiln") || name.ends_with(".work"));
        collect(&home.join("state"), &mut found.files, &|name| name.starts_with("work-"));
        found
    }

    /// Tells whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.files.is_empty()
    }

    /// Ends what is left.
    pub fn kill(&self) {
        for (pid, _) in &self.processes {
            if let Some(pid) = i32::try_from(*pid).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

fn is_daemon(command_line: &str) -> bool {
    command_line.contains("kilnd") && !command_line.contains("worker")
}

/// Tells whether this is a QEMU with which a living daemon looks what this machine can do, in the background, after
/// somebody asked `/v1/info`. A job's QEMU is the child of a worker, and an orphan when the worker is gone.
fn is_search(command_line: &str, process: &Path) -> bool {
    let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or_default().trim();
    let of_parent = std::fs::read(Path::new("/proc").join(parent).join("cmdline")).unwrap_or_default();
    command_line.contains("qemu-system") && is_daemon(&String::from_utf8_lossy(&of_parent).replace('\0', " "))
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>, counts: &dyn Fn(&str) -> bool) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if counts(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        } else if entry.path().is_dir() {
            collect(&entry.path(), found, counts);
        }
    }
}
