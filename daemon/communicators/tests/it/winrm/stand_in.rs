//! Starts the stand-in for a Windows guest.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kiln_communicators::winrm::WinRmCommunicator;
use kiln_communicators::winrm::{LoginMethod, TlsTrust, WinRmConfig, connect};
use kiln_communicators::{ConnectEvent, ConnectObserver, SilentObserver};
use tempfile::TempDir;

/// How long anything here may take, on a machine with neighbours.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

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
        Self::try_start(arguments).map(|started| started.unwrap_or_else(|said| panic!("{said}")))
    }

    /// The error is what it said instead of listening.
    pub(super) fn try_start(arguments: &[&str]) -> Option<Result<Self, String>> {
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

    /// Has it do something else wrong from now on.
    pub(super) async fn misbehave(&mut self, what: &str) {
        let before = self.said().matches("misbehaves").count();
        writeln!(self.input.as_mut().unwrap(), "{what}").unwrap();
        self.until_it_said(|said| said.matches("misbehaves").count() > before).await;
    }

    /// Waits until `enough` is true of what it said.
    pub(super) async fn until_it_said(&self, enough: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        while !enough(&self.said()) {
            assert!(begun.elapsed() < PATIENCE, "{}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until every shell that was made was given back.
    pub(super) async fn until_all_is_given_back(&self) {
        let count = |said: &str, line: &str| said.lines().filter(|said| said.starts_with(line)).count();
        self.until_it_said(|said| count(said, "shells left ") == count(said, "shell ")).await;
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
