//! `vmware-vdiskmanager` and `ovftool`, broken in one way each: the error says what is wrong, and no process is left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::within;
use crate::error::{MachineError, StartError};
use crate::process::script::write_script;
use crate::vmware::{disk_manager, ovftool};

/// A directory with tools that are scripts.
struct Tools {
    directory: tempfile::TempDir,
}

impl Tools {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn are(&self, tool: &str, script: &str) {
        write_script(&self.path(tool), &format!("#!/bin/sh\n{script}\n"));
    }

    async fn make_disk(&self, limit: Duration) -> Result<(), StartError> {
        let bin = Some(self.directory.path());
        within(disk_manager::create_with(bin, limit, &self.path("d.vmdk"), 1, "ide", "0")).await
    }

    async fn export(&self, limit: Duration) -> Result<(), StartError> {
        let options = ["--compress=9".to_owned(), "--allowExtraConfig".to_owned()];
        let (bin, target) = (Some(self.directory.path()), self.path("web.ova"));
        within(ovftool::export_with(bin, limit, Path::new("/m/web.vmx"), &target, &options)).await
    }

    /// The error of a tool that is this script.
    async fn fails(&self, tool: &str, script: &str, limit: Duration) -> MachineError {
        self.are(tool, script);
        let made = if tool == "ovftool" { self.export(limit).await } else { self.make_disk(limit).await };
        match made {
            Err(StartError::Setup(error)) => error,
            other => panic!("{tool} {script}: {other:?}"),
        }
    }
}

/// What each of them says when nothing came of it.
const NOTHING_MADE: &str = "it made no ";

const TOOLS: [(&str, Duration); 2] = [("vmware-vdiskmanager", disk_manager::LIMIT), ("ovftool", ovftool::LIMIT)];

#[tokio::test]
async fn whatever_goes_wrong_is_told() {
    for (tool, limit) in TOOLS {
        let tools = Tools::new();
        for (script, words) in [
            ("echo 'Completed successfully'", NOTHING_MADE),
            ("printf '\\377\\001garbage'", NOTHING_MADE),
            ("echo 'Error: Invalid size'; exit 1", "Invalid size"),
            ("echo 'Error: Invalid size'; exit 0", "Invalid size"),
            ("echo 'Failed to create: no space' >&2; exit 1", "no space"),
            ("kill -9 $$", "signal 9 (SIGKILL)"),
            ("echo half; kill -9 $$", "half (signal 9 (SIGKILL))"),
            // What is there already makes it no success.
            ("touch DIR/d.vmdk DIR/web.ova; kill -9 $$", "signal 9 (SIGKILL)"),
        ] {
            let script = script.replace("DIR", &tools.directory.path().display().to_string());
            let error = tools.fails(tool, &script, limit).await.to_string();
            assert!(error.contains(tool) && error.contains(words), "{script}: {error}");
        }
    }
}

#[tokio::test]
async fn one_that_hangs_is_ended_at_its_limit() {
    let limit = Duration::from_secs(2);
    for (tool, _) in TOOLS {
        let tools = Tools::new();
        let pid = tools.path("pid");
        let script = format!("echo $$ > '{}'; exec sleep 1000", pid.display());
        let error = tools.fails(tool, &script, limit).await;
        assert_eq!(error, MachineError::Timeout { command: tool.to_owned(), limit });
        let pid = std::fs::read_to_string(pid).unwrap();
        assert!(!Path::new("/proc").join(pid.trim()).exists(), "{tool} runs still");
    }
}

#[tokio::test]
async fn ovftool_gets_its_arguments() {
    let tools = Tools::new();
    let error = tools.export(ovftool::LIMIT).await.unwrap_err();
    assert!(matches!(&error, StartError::ProgramMissing { program, .. } if program == "ovftool"), "{error}");
    assert!(error.hint().unwrap().contains("Kiln exports without it"));
    tools.are("ovftool", "echo \"$@\" > \"$4\"");
    tools.export(ovftool::LIMIT).await.unwrap();
    let target = tools.path("web.ova");
    let line = format!("--compress=9 --allowExtraConfig /m/web.vmx {}\n", target.display());
    assert_eq!(std::fs::read_to_string(&target).unwrap(), line);
}
