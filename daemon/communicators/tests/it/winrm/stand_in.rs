//! Starts the stand-in for a Windows guest.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kiln_communicators::winrm::WinRmCommunicator;
use kiln_communicators::winrm::{LoginMethod, TlsTrust, WinRmConfig, connect};
use kiln_communicators::{ConnectEvent, ConnectObserver, SilentObserver};
use tempfile::TempDir;

/// The password of the stand-in's user.
pub(super) const PASSWORD: &str = "Passw0rd-of-the-guest";

/// A running stand-in; ends with this.
pub(super) struct StandIn {
    child: Child,
    input: Option<ChildStdin>,
    pub(super) port: u16,
    pub(super) root: TempDir,
    pub(super) log: PathBuf,
}

/// The Python that has what the stand-in needs.
pub(super) fn python() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/winrm/bin/python");
    let named = std::env::var_os("KILN_TEST_WINRM_PYTHON").map(PathBuf::from);
    [named, Some(here)].into_iter().flatten().find(|python| python.is_file())
}

pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/winrm")
}

impl StandIn {
    pub(super) fn start(arguments: &[&str]) -> Option<Self> {
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
        let Some(port) = port else { panic!("{said}{}", std::fs::read_to_string(&log).unwrap()) };
        let input = child.stdin.take();
        Some(Self { child, input, port, root, log })
    }

    /// What was said while it ran.
    pub(super) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Settings by which it lets in: NTLM over HTTP.
    pub(super) fn config(&self) -> WinRmConfig {
        let mut config = WinRmConfig::new("127.0.0.1", "packer", PASSWORD.into());
        (config.port, config.login) = (self.port, LoginMethod::Ntlm);
        config.timeout = Some(Duration::from_secs(60));
        config
    }

    pub(super) async fn connect(&self) -> WinRmCommunicator {
        match connect(&self.config(), Arc::new(SilentObserver)).await {
            Ok(guest) => guest,
            Err(error) => panic!("{error}: {:?}\n{}", error.source, self.said()),
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("What the stand-in said:\n{}", self.said());
        }
        // It ends with its input.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// A certificate for this machine, as PEM: the certificate, and the same with its key behind it.
pub(super) struct Certificate {
    _directory: TempDir,
    pub(super) certificate: PathBuf,
    pub(super) both: PathBuf,
}

impl Certificate {
    pub(super) fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let (key, certificate, both) = (path("key.pem"), path("certificate.pem"), path("both.pem"));
        let made = Command::new("openssl")
            .args(
                "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=guest -addext subjectAltName=IP:127.0.0.1"
                    .split(' '),
            )
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let texts = [&certificate, &key].map(|path| std::fs::read_to_string(path).unwrap());
        std::fs::write(&both, texts.concat()).unwrap();
        Self { _directory: directory, certificate, both }
    }

    pub(super) fn trust(&self) -> Option<TlsTrust> {
        Some(TlsTrust::Authorities(self.certificate.clone()))
    }
}

/// Remembers all events.
#[derive(Default)]
pub(super) struct Heard(Mutex<Vec<ConnectEvent>>);

impl Heard {
    pub(super) fn all(&self) -> Vec<ConnectEvent> {
        self.0.lock().unwrap().clone()
    }
}

impl ConnectObserver for Heard {
    fn event(&self, event: &ConnectEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}
