//! The process in which VirtualBox runs a machine: it is no child of ours, but its end can be waited for.

use crate::process::Stranger;

/// Finds the process of the machine `uuid`; `None`: there is none, or it cannot be watched. Must be called within a tokio runtime.
pub(super) fn find(uuid: &str) -> Option<Stranger> {
    let pids = std::fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| runs(pid, uuid)).find_map(|pid| {
        let process = Stranger::hold(pid).ok()?;
        // Its number may have gone to another process in between.
        runs(pid, uuid).then_some(process)
    })
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
