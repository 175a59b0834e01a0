//! Starts the stand-in for a Windows guest and ends it. The builder's tests do so too, by a path to this file.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything here may take, on a machine with neighbours.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The password of the stand-in's user.
pub(crate) const PASSWORD: &str = "Passw0rd-of-the-guest";

/// A running stand-in; ends with this.
pub(crate) struct StandIn {
    child: Child,
    pub(crate) input: Option<ChildStdin>,
    pub(crate) port: u16,
    pub(crate) root: TempDir,
    log: PathBuf,
}

/// The Python that has what the stand-in needs.
pub(crate) fn python() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/winrm/bin/python");
    let named = std::env::var_os("KILN_TEST_WINRM_PYTHON").map(PathBuf::from);
    [named, Some(here)].into_iter().flatten().find(|python| python.is_file())
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/winrm")
}

impl StandIn {
    pub(crate) fn start(arguments: &[&str]) -> Option<Self> {
        Self::try_start(arguments).map(|started| started.unwrap_or_else(|said| panic!("{said}")))
    }

    /// The error is what it said instead of listening.
    pub(crate) fn try_start(arguments: &[&str]) -> Option<Result<Self, String>> {
        let root = tempfile::tempdir().unwrap();
        let log = root.path().join("stand-in.log");
        let mut command = Command::new(python()?);
        command.arg(folder().join("stand_in")).arg("--root").arg(root.path()).args(arguments);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let port = said.trim().strip_prefix("listening ").and_then(|port| port.parse().ok());
        let input = child.stdin.take();
        let Some(port) = port else {
            drop(input);
            end(&mut child);
            return Some(Err(format!("{said}{}", std::fs::read_to_string(&log).unwrap())));
        };
        Some(Ok(Self { child, input, port, root, log }))
    }

    /// What was said while it ran.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "What the stand-in said:\n{}", self.said());
        }
        // It ends with its input.
        drop(self.input.take());
        end(&mut self.child);
    }
}

/// Waits for the end of a stand-in whose input was closed, but not for ever.
fn end(child: &mut Child) {
    let begun = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
