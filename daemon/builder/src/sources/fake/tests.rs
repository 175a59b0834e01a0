//! Whole builds in machines that are not QEMU's: the same recipe, the same promises.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use kiln_communicators::fake::{FakeCommunicator, FakeConnector};
use kiln_hypervisors::fake::{FakeEnd, FakeHypervisor, FakeScript};
use kiln_hypervisors::registry::by_name;
use kiln_hypervisors::{BackendSpec, ExitReport, Hypervisor};

use crate::backends::Backends;
use crate::check::CheckRequest;
use crate::context::{Fault, OnError};
use crate::control::Control;
use crate::event::Event;
use crate::job::{JobOutcome, JobRequest, run_job_with};
use crate::records::{self, Output, State};
use crate::sweep::{Sweep, sweep};

const STEPS: [&str; 12] = [
    "fetch",
    "output",
    "work",
    "disk",
    "firmware",
    "key",
    "start",
    "boot",
    "connect",
    "provisioner 1 (shell)",
    "shut-down",
    "export",
];

struct Job {
    directory: tempfile::TempDir,
    hypervisor: FakeHypervisor,
    guest: FakeCommunicator,
    events: Arc<Mutex<Vec<Event>>>,
    force: bool,
}

impl Job {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["job", "run"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        std::fs::write(directory.path().join("installer.iso"), "installer").unwrap();
        let hypervisor = FakeHypervisor::new(FakeScript::default());
        Self { directory, hypervisor, guest: FakeCommunicator::new(), events: Arc::default(), force: false }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn run(&self, fault: Option<Fault>) -> JobOutcome {
        self.run_template(&self.template("formats = [\"qcow2\"]"), fault).await
    }

    /// A build of a registered machine, with an export.
    fn template(&self, export: &str) -> String {
        let root = self.directory.path().display();
        format!(
            r#"
source "fake" "web" {{
  iso_url          = "{root}/installer.iso"
  iso_checksum     = "none"
  boot_wait        = "-1s"
  boot_command     = ["{{{{ .Name }}}}<enter>"]
  ssh_username     = "root"
  ssh_password     = "a-long-password"
  shutdown_command = "poweroff"
  shutdown_timeout = "5s"
  output_directory = "{root}/out"
  vm_name          = "web"
  registered       = true
}}
build {{
  sources = ["source.fake.web"]
  provisioner "shell" {{ inline = ["true"] }}
  post-processor "export" {{
    {export}
  }}
}}
"#
        )
    }

    async fn run_template(&self, template: &str, fault: Option<Fault>) -> JobOutcome {
        let path = self.path("web.pkr.hcl");
        std::fs::write(&path, template).unwrap();
        let request = JobRequest {
            template: CheckRequest {
                template: path,
                cwd: self.directory.path().to_owned(),
                evaluate_data: true,
                force: self.force,
                ..CheckRequest::default()
            },
            debug: false,
            on_error: OnError::Cleanup,
            parallel_builds: 0,
            job_dir: self.path("job"),
            state_dir: self.path("state"),
            runtime_dir: self.path("run"),
            cache_dir: self.path("cache"),
        };
        let backends = Backends {
            hypervisors: by_name([Arc::new(self.hypervisor.clone()) as Arc<dyn Hypervisor>]),
            connector: Arc::new(FakeConnector(self.guest.clone())),
            fault,
        };
        let events = self.events.clone();
        let sink = Arc::new(move |event| events.lock().unwrap().push(event));
        let job = run_job_with(request, sink, Control::unattended(), backends);
        let (hypervisor, guest) = (self.hypervisor.clone(), self.guest.clone());
        let power = async {
            while !guest.commands().iter().any(|command| command == "poweroff") {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            hypervisor.end_guests(&ExitReport::GuestShutdown);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            outcome = job => outcome,
            () = power => unreachable!("it waits for ever"),
        }
    }

    fn steps(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let started = events.iter().filter_map(|event| match event {
            Event::StepStarted { step, .. } => Some(step.clone()),
            _ => None,
        });
        started.collect()
    }

    fn files(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(directory)) else { return Vec::new() };
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn assert_nothing_is_held(&self, what: &str) {
        assert_eq!((self.hypervisor.running(), self.hypervisor.registered()), (0, Vec::new()), "{what}");
        assert_eq!(self.files("run"), Vec::<String>::new(), "{what}");
        assert_eq!(sweep(&self.path("job")).unwrap(), Sweep::default(), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_on_another_hypervisor_takes_the_same_steps() {
    let job = Job::new();
    let outcome = job.run(None).await;
    let told = format!("{:#?}", job.events.lock().unwrap());
    assert_eq!(outcome, JobOutcome { exit_code: 0, cancelled: false }, "{told}");
    let steps = job.steps();
    assert_eq!(steps[..STEPS.len()], STEPS);
    assert_eq!(steps[STEPS.len()..], ["keep", "post-processor 1 (export)"]);
    assert_eq!(job.files("out"), ["web.img", "web.qcow2"]);
    let specs = job.hypervisor.specs();
    assert!(matches!(&specs[..], [spec] if matches!(spec.backend, BackendSpec::Fake(_))), "{specs:?}");
    assert!(!job.hypervisor.typed().is_empty());
    let records = records::read(&job.path("job")).unwrap();
    let started = records.builds[0].steps.iter().find(|step| step.name == "start" && step.state == State::Done);
    let machine = Output::Machine { hypervisor: "fake".to_owned(), id: String::new() };
    assert_eq!(started.unwrap().outputs, Some(machine));
    assert!(told.contains("kiln.fake"), "{told}");
    job.assert_nothing_is_held("a build that is over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_or_a_cancel_at_any_step_gives_the_machine_back() {
    for step in STEPS {
        for cancel in [false, true] {
            let job = Job::new();
            let outcome = job.run(Some(Fault { step, cancel })).await;
            assert_eq!(outcome, JobOutcome { exit_code: 1, cancelled: cancel }, "{step}");
            assert!(!job.path("out").exists(), "{step}: {:?}", job.files("out"));
            job.assert_nothing_is_held(step);
        }
    }
}

/// As Packer does it with VirtualBox and VMware: only `boot_wait` gives such a guest time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_nobody_speaks_to_is_powered_off_after_the_boot_wait() {
    let job = Job::new();
    let root = job.directory.path().display();
    let template = format!(
        r#"
source "fake" "web" {{
  iso_url          = "{root}/installer.iso"
  iso_checksum     = "none"
  boot_wait        = "1s"
  communicator     = "none"
  output_directory = "{root}/out"
  vm_name          = "web"
}}
build {{ sources = ["source.fake.web"] }}
"#
    );
    job.hypervisor.change(|script| script.end = FakeEnd::Never);
    let started = std::time::Instant::now();
    assert_eq!(job.run_template(&template, None).await.exit_code, 0);
    assert!(started.elapsed() >= std::time::Duration::from_secs(1));
    let calls = job.hypervisor.calls();
    let at = |call: &str| calls.iter().position(|one| one == call).unwrap_or_else(|| panic!("{call}: {calls:?}"));
    assert!(at("resume") < at("kill") && !calls.contains(&"press".to_owned()), "{calls:?}");
    job.assert_nothing_is_held("powered off");
}

/// What was read is an image only when nobody ran the machine meanwhile; and until that is known, an earlier image keeps its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_earlier_export_is_not_replaced_by_one_of_a_machine_that_somebody_ran() {
    let mut job = Job::new();
    job.force = true;
    std::fs::create_dir(job.path("elsewhere")).unwrap();
    std::fs::write(job.path("elsewhere/web.qcow2"), "of an earlier build").unwrap();
    let template = job.template(&format!("output_directory = {:?}\n formats = [\"qcow2\"]", job.path("elsewhere")));
    let directory = job.directory.path().to_owned();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let looking = Arc::clone(&seen);
    job.hypervisor.change(move |script| {
        script.moved = Some(Arc::new(move || {
            let exported = std::fs::read(directory.join("elsewhere/web.qcow2")).unwrap();
            looking.lock().unwrap().push(exported == b"of an earlier build");
            Some("its state is running".to_owned())
        }));
    });
    let outcome = job.run_template(&template, None).await;
    let told = format!("{:#?}", job.events.lock().unwrap());
    assert_eq!(outcome, JobOutcome { exit_code: 1, cancelled: false }, "{told}");
    assert!(told.contains("its state is running") && !told.contains("written without them"), "{told}");
    let seen = seen.lock().unwrap().clone();
    assert!(!seen.is_empty() && seen.iter().all(|earlier| *earlier), "{seen:?}");
    assert_eq!(std::fs::read(job.path("elsewhere/web.qcow2")).unwrap(), b"of an earlier build");
    assert_eq!(job.files("elsewhere"), ["web.qcow2"], "and nothing unfinished");
    assert!(!job.path("out").exists());
    job.assert_nothing_is_held("a machine that somebody ran");

    // With nobody there the new one takes its place.
    job.events.lock().unwrap().clear();
    job.guest = FakeCommunicator::new();
    job.hypervisor.change(|script| script.moved = None);
    for name in ["job", "run"] {
        std::fs::remove_dir_all(job.path(name)).unwrap();
        std::fs::create_dir(job.path(name)).unwrap();
    }
    let outcome = job.run_template(&template, None).await;
    assert_eq!(outcome.exit_code, 0, "{:#?}", job.events.lock().unwrap());
    assert!(std::fs::read(job.path("elsewhere/web.qcow2")).unwrap().starts_with(b"QFI\xfb"));
    assert!(job.hypervisor.calls().contains(&"still_retired".to_owned()));
}
