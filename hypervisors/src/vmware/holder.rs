//! The process that runs a machine: found by the machine's disks, which it has open, because no tool of VMware's names it.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use kiln_disk_formats::package::vmx::Vmx;

use crate::process::Stranger;

/// VMware's program that runs a machine, with the VMX file as an argument.
const RUNNER: &[u8] = b"vmware-vmx";

/// Finds the process that runs the machine of the file `vmx`, an absolute path without links: VMware's own runner before any other
/// that has its disks open.
pub(super) fn find(vmx: &Path) -> Option<Stranger> {
    let disks = disks_of(vmx);
    held(|pid| is_runner(pid, vmx)).or_else(|| held(|pid| uses(pid, &disks)))
}

/// The first process of which `wanted` is true.
fn held(wanted: impl Fn(u32) -> bool) -> Option<Stranger> {
    let own = std::process::id();
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid == own || !wanted(pid) {
            continue;
        }
        let Ok(stranger) = Stranger::hold(pid) else { continue };
        // Looked at again now that its number cannot become another's.
        if wanted(pid) {
            return Some(stranger);
        }
    }
    None
}

/// The disks that a machine's file names.
fn disks_of(vmx: &Path) -> Vec<PathBuf> {
    let Ok(file) = Vmx::read(vmx) else { return Vec::new() };
    let Some(directory) = vmx.parent() else { return Vec::new() };
    let names = file.iter().filter(|(key, _)| key.to_ascii_lowercase().ends_with(".filename"));
    names.map(|(_, name)| directory.join(name)).filter(|path| is_disk(path)).collect()
}

fn is_disk(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("vmdk"))
}

fn command_line(pid: u32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

/// Whether it is VMware's own runner of the machine. Another that has its disks open may be somebody else's.
pub(super) fn is_runner(pid: u32, vmx: &Path) -> bool {
    names_vmx(&command_line(pid), vmx)
}

/// Whether it names one of the disks and has it open.
fn uses(pid: u32, disks: &[PathBuf]) -> bool {
    let line = command_line(pid);
    disks.iter().any(|disk| mentions(&line, disk)) && has_open(pid, disks)
}

/// VMware's own runner, which others may not look into.
fn names_vmx(line: &[u8], vmx: &Path) -> bool {
    let mut words = line.split(|byte| *byte == 0);
    let program = words.next().unwrap_or_default();
    program.rsplit(|byte| *byte == b'/').next() == Some(RUNNER) && words.any(|word| word == vmx.as_os_str().as_bytes())
}

fn mentions(line: &[u8], path: &Path) -> bool {
    let path = path.as_os_str().as_bytes();
    line.windows(path.len()).any(|part| part == path)
}

/// Whether it has one of the disks open.
fn has_open(pid: u32, disks: &[PathBuf]) -> bool {
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| disks.contains(&target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_who_has_a_disk_open_runs_the_machine() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().canonicalize().unwrap();
        let (vmx, disk) = (directory.join("a.vmx"), directory.join("a.vmdk"));
        std::fs::write(&disk, b"disk").unwrap();
        std::fs::write(&vmx, "scsi0:0.fileName = \"a.vmdk\"\nide0:0.fileName = \"/i/x.iso\"\n").unwrap();
        let disks = disks_of(&vmx);
        assert_eq!(disks, [disk.as_path()]);
        let start = |script: &str| {
            let script = format!("{script}; echo; read wait");
            let mut child = std::process::Command::new("sh")
                .args(["-c", &script, "sh"])
                .arg(&disk)
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let mut line = [0];
            std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
            child
        };
        let mut reader = start(":");
        assert!(!uses(reader.id(), &disks), "it names the disk, but does not have it open");
        let mut holder = start("exec 3<\"$1\"");
        assert!(uses(holder.id(), &disks) && !is_runner(holder.id(), &vmx));
        assert_eq!(find(&vmx).map(|found| found.pid()), Some(holder.id()));
        assert!(!uses(holder.id(), &["/elsewhere/a.vmdk".into()]));
        for child in [&mut reader, &mut holder] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(!uses(holder.id(), &disks));
    }

    #[test]
    fn vmwares_own_runner_is_known_by_its_arguments() {
        let vmx = Path::new("/m/a b.vmx");
        assert!(names_vmx(b"/usr/lib/vmware/bin/vmware-vmx\0-s\0vmx.stdio.keep=TRUE\0/m/a b.vmx\0", vmx));
        assert!(!names_vmx(b"/usr/lib/vmware/bin/vmware-vmx\0/m/b.vmx\0", vmx));
        assert!(!names_vmx(b"tail\0/m/a b.vmx\0", vmx));
    }
}
