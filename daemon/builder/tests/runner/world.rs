//! What a build is run in: a template, a fake hypervisor with its guest, and everything that was told.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kiln_builder::{
    Backends, CheckRequest, Control, Event, EventSink, Fault, JobOutcome, JobRequest, OnError, Sweep, run_job_with,
    sweep,
};
use kiln_communicators::Connector;
use kiln_communicators::fake::{FakeCommunicator, FakeConnector};
use kiln_hypervisors::fake::{FakeHypervisor, FakeScript};
use kiln_hypervisors::registry::by_name;
use kiln_hypervisors::{ExitReport, Hypervisor};

pub(super) struct World {
    pub(super) directory: tempfile::TempDir,
    pub(super) hypervisor: FakeHypervisor,
    pub(super) guest: FakeCommunicator,
    /// Connects otherwise than at once to `guest`.
    pub(super) connector: Option<Arc<dyn Connector>>,
    pub(super) events: Arc<Mutex<Vec<Event>>>,
    pub(super) control: Control,
    pub(super) fault: Option<Fault>,
    pub(super) on_error: OnError,
    pub(super) debug: bool,
    pub(super) force: bool,
}

impl World {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["job", "run", "http"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        std::fs::write(directory.path().join("installer.iso"), vec![7; 100_000]).unwrap();
        std::fs::write(directory.path().join("seed"), "seed").unwrap();
        std::fs::write(directory.path().join("http").join(own_name(&directory)), "").unwrap();
        let script = FakeScript {
            // The guest writes to its disk as soon as it runs.
            on_resume: Some(Arc::new(|spec| assert!(spec.disks[0].path.exists()))),
            ..FakeScript::default()
        };
        let hypervisor = FakeHypervisor::in_place_of("qemu", script);
        Self {
            directory,
            hypervisor,
            guest: FakeCommunicator::new(),
            connector: None,
            events: Arc::default(),
            control: Control::unattended(),
            fault: None,
            on_error: OnError::Cleanup,
            debug: false,
            force: false,
        }
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn template(&self, extra: &str, rest: &str) -> String {
        let root = self.directory.path().display();
        format!(
            r#"
source "qemu" "web" {{
  iso_url          = "{root}/installer.iso"
  iso_checksum     = "none"
  headless         = true
  disk_size        = "1M"
  boot_wait        = "-1s"
  boot_command     = ["run {{{{ .HTTPIP }}}}:{{{{ .HTTPPort }}}} {{{{ .Name }}}}<enter>"]
  http_directory   = "{root}/http"
  floppy_files     = ["{root}/seed"]
  cd_files         = ["{root}/seed"]
  ssh_username     = "root"
  ssh_password     = "a-long-password"
  temporary_key_pair_type = "ed25519"
  shutdown_command = "poweroff"
  shutdown_timeout = "5s"
  output_directory = "{root}/out"
  vm_name          = "web"
  {extra}
}}

build {{
  sources = ["source.qemu.web"]
  {rest}
}}
"#
        )
    }

    pub(super) fn check_request(&self, template: &str) -> CheckRequest {
        let path = self.path("web.pkr.hcl");
        std::fs::write(&path, template).unwrap();
        CheckRequest {
            template: path,
            cwd: self.directory.path().to_owned(),
            force: self.force,
            evaluate_data: true,
            ..CheckRequest::default()
        }
    }

    pub(super) async fn run(&self, template: &str) -> JobOutcome {
        self.run_request(self.check_request(template)).await
    }

    pub(super) async fn run_request(&self, template: CheckRequest) -> JobOutcome {
        let request = self.request(template);
        self.to_its_end(run_job_with(request, self.sink(), self.control.clone(), self.backends())).await
    }

    pub(super) fn request(&self, template: CheckRequest) -> JobRequest {
        JobRequest {
            template,
            debug: self.debug,
            on_error: self.on_error,
            parallel_builds: 0,
            job_dir: self.path("job"),
            state_dir: self.path("state"),
            runtime_dir: self.path("run"),
            cache_dir: self.path("cache"),
        }
    }

    pub(super) fn backends(&self) -> Backends {
        Backends {
            hypervisors: by_name([Arc::new(self.hypervisor.clone()) as Arc<dyn Hypervisor>]),
            connector: self.connector.clone().unwrap_or_else(|| Arc::new(FakeConnector(self.guest.clone()))),
            fault: self.fault.clone(),
        }
    }

    pub(super) fn sink(&self) -> EventSink {
        let events = self.events.clone();
        Arc::new(move |event| events.lock().unwrap().push(event))
    }

    pub(super) async fn to_its_end(&self, job: impl Future<Output = JobOutcome>) -> JobOutcome {
        // `poweroff` in the guest ends its machine.
        let (hypervisor, guest) = (self.hypervisor.clone(), self.guest.clone());
        let power = tokio::spawn(async move {
            loop {
                if guest.commands().iter().any(|command| command == "poweroff") {
                    hypervisor.end_guests(&ExitReport::GuestShutdown);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let outcome = tokio::time::timeout(Duration::from_secs(60), job).await.expect("the job ends");
        power.abort();
        outcome
    }

    pub(super) fn steps(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let started = events.iter().filter_map(|event| match event {
            Event::StepStarted { step, .. } => Some(step.clone()),
            _ => None,
        });
        started.collect()
    }

    pub(super) fn text(&self) -> String {
        let events = self.events.lock().unwrap();
        let lines = events.iter().filter_map(|event| match event {
            Event::Say { text, .. } | Event::Message { text, .. } | Event::Error { text, .. } => Some(text.clone()),
            Event::Diagnostics { text, .. } => Some(text.clone()),
            _ => None,
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    pub(super) fn error(&self) -> Option<String> {
        let events = self.events.lock().unwrap();
        events.iter().find_map(|event| match event {
            Event::BuildFinished { error, .. } => error.clone(),
            _ => None,
        })
    }

    pub(super) fn files(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(directory)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Nothing is left of a build that did not succeed.
    pub(super) fn assert_nothing_left(&self, what: &str) {
        assert!(!self.path("out").exists(), "{what}: the output directory is there: {:?}", self.files("out"));
        self.assert_nothing_is_held(what);
    }

    /// Nothing is left of a build but what it has put into its output directory.
    pub(super) fn assert_nothing_is_held(&self, what: &str) {
        assert_eq!(self.hypervisor.running(), 0, "{what}: a machine runs");
        assert_eq!(self.files("run"), Vec::<String>::new(), "{what}: sockets are left");
        assert_eq!(self.files("job"), ["resources.ndjson", "steps.ndjson"], "{what}: work files are left");
        let swept = sweep(&self.path("job")).unwrap();
        assert_eq!(swept, Sweep::default(), "{what}: the ledger holds something");
        for port in http_ports(&self.text()) {
            assert!(!is_served(port, &own_name(&self.directory)), "{what}: port {port} is open");
        }
    }
}

/// The name of a file that only the HTTP servers of this world have.
fn own_name(directory: &tempfile::TempDir) -> String {
    directory.path().file_name().unwrap().to_string_lossy().into_owned()
}

/// Whether anything but the server of another test, which has no such file and may have got the port since, is on a port.
fn is_served(port: u16, name: &str) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)) else { return false };
        server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut answer = String::new();
        let asked = write!(server, "GET /{name} HTTP/1.0\r\n\r\n").and_then(|()| server.read_to_string(&mut answer));
        if asked.is_ok() && answer.starts_with("HTTP/1.") {
            return answer.split(' ').nth(1) != Some("404");
        }
        // Another test's that was just ending says nothing: whoever comes next finds the port closed.
        if Instant::now() > until {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(super) fn http_ports(text: &str) -> Vec<u16> {
    text.lines().filter_map(|line| line.strip_prefix("Starting HTTP server on port ")?.parse().ok()).collect()
}

pub(super) fn is_step(event: &Event, name: &str) -> bool {
    matches!(event, Event::StepStarted { step, .. } if step == name)
}
