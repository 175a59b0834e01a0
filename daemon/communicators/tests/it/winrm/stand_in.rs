//! What the communicator's tests ask of the stand-in for a Windows guest.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kiln_communicators::winrm::WinRmCommunicator;
use kiln_communicators::winrm::{LoginMethod, TlsTrust, WinRmConfig, connect};
use kiln_communicators::{ConnectEvent, ConnectObserver, SilentObserver};
use tempfile::TempDir;

use super::launcher::{PASSWORD, PATIENCE, StandIn};

impl StandIn {
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
