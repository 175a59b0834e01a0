//! The process in which VirtualBox runs a machine: it is no child of ours, but its end can be waited for.

use super::claim::Runs;
use crate::process::Stranger;
use crate::process_stat::ProcessStat;

/// Finds the process of the machine `uuid`; `None`: there is none, or it cannot be watched. Must be called within a tokio runtime.
pub(super) fn find(uuid: &str) -> Option<Stranger> {
    pids().filter(|&pid| runs(pid, uuid)).find_map(|pid| {
        let process = Stranger::hold(pid).ok()?;
        // Its number may have gone to another process in between.
        runs(pid, uuid).then_some(process)
    })
}

/// Which process that is, and since when.
pub(super) fn what_runs(process: &Stranger) -> Runs {
    let started = ProcessStat::of(process.pid()).ok().map(|stat| stat.start_time);
    Runs { pid: process.pid(), started }
}

/// The machines that run on this host, whoever runs them: the process, and the name that it was started for.
pub(super) fn all() -> impl Iterator<Item = (u32, String)> {
    pids().filter_map(|pid| Some((pid, name(pid)?)))
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The name of the machine that process `pid` runs, which is VirtualBox's by its own name; the UUID where none is told.
fn name(pid: u32) -> Option<String> {
    let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    if !["VBoxHeadless", "VirtualBoxVM"].contains(&program.trim_end()) {
        return None;
    }
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = line.split(|&byte| byte == 0).collect();
    let after = |switch: &[u8]| words.windows(2).find(|pair| pair[0] == switch).map(|pair| pair[1]);
    let name = String::from_utf8_lossy(after(b"--comment").or_else(|| after(b"--startvm"))?);
    Some(name.replace(char::is_control, "_"))
}

/// Whether process `pid` runs the machine `uuid`: VirtualBox's programs have `--startvm UUID` among their arguments.
fn runs(pid: u32, uuid: &str) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let mut words = line.split(|&byte| byte == 0);
    words.any(|word| word == b"--startvm") && words.next() == Some(uuid.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn machines_of_others_are_known_by_the_program() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("VBoxHeadless");
        std::os::unix::fs::symlink("/bin/bash", &program).unwrap();
        let mut child = tokio::process::Command::new(&program)
            .args(["-c", "echo; read -r line", "x", "--comment", "web", "--startvm", "y"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut said = [0];
        let mut stdout = child.stdout.take().unwrap();
        tokio::io::AsyncReadExt::read_exact(&mut stdout, &mut said).await.unwrap();
        let pid = child.id().unwrap();
        assert!(all().any(|one| one == (pid, "web".to_owned())));
        assert!(!all().any(|(pid, _)| pid == std::process::id()));
        child.kill().await.unwrap();
        assert!(!all().any(|(one, _)| one == pid));
    }

    #[tokio::test]
    async fn a_machines_process_is_known_by_its_uuid() {
        let uuid = uuid::Uuid::new_v4().to_string();
        assert!(find(&uuid).is_none());
        let script = "read -r line";
        let mut child = tokio::process::Command::new("bash")
            .args(["-c", script, "VBoxHeadless", "--comment", "x", "--startvm", &uuid])
            .stdin(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let found = async {
            loop {
                // A child is seen a moment after its fork.
                match find(&uuid) {
                    Some(process) => break process,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        let process = tokio::time::timeout(std::time::Duration::from_secs(10), found).await.unwrap();
        assert_eq!(Some(process.pid()), child.id());
        process.kill();
        process.ended().await;
        child.wait().await.unwrap();
        assert!(find(&uuid).is_none());
    }
}
