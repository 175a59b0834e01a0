//! kilnd as a process of its own, to be killed.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::rig::{Daemon, scripted_kilnd};

/// kilnd as a process of its own.
pub(crate) struct Process {
    pub(crate) child: Child,
}

impl Process {
    pub(crate) fn start(daemon: &Daemon) -> Self {
        Self::start_program(daemon, &scripted_kilnd())
    }

    pub(crate) fn start_program(daemon: &Daemon, program: &Path) -> Self {
        let mut child = Command::new(program)
            .args(["--user", "--detached"])
            .env("KILN_SOCKET", &daemon.config.socket)
            .env("KILN_MAX_JOBS", "2")
            .env("XDG_STATE_HOME", daemon.path("home"))
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .env_remove("XDG_RUNTIME_DIR")
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("\"ready\""), "{line}");
        Self { child }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
