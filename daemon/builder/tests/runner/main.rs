//! Whole builds on a fake hypervisor and a fake guest, since what is under test is the runner: the order of steps, and that
//! a failure or a cancel at any of them leaves nothing. Real guests are in the end-to-end tests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod exports;
mod guests;
mod questions;
mod records;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kiln_builder::{
    Backends, CheckRequest, Control, Event, EventSink, Fault, JobOutcome, JobRequest, OnError, run_job_with, sweep,
    validate,
};
use kiln_communicators::fake::{Answer, FakeCommunicator, FakeConnector};
use kiln_communicators::{Connector, GuestConnector};
use kiln_hypervisors::fake::{FakeHypervisor, FakeScript};
use kiln_hypervisors::registry::by_name;
use kiln_hypervisors::{DhcpState, ExitReport, Hypervisor, KeyEvent, NetworkSight};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The steps of a qemu build, in order, as the template below makes them run.
const STEPS: [&str; 15] = [
    "fetch",
    "output",
    "work",
    "media",
    "media",
    "disk",
    "firmware",
    "serve",
    "key",
    "start",
    "boot",
    "connect",
    "provisioner 1 (shell)",
    "shut-down",
    "export",
];

struct World {
    directory: tempfile::TempDir,
    hypervisor: FakeHypervisor,
    guest: FakeCommunicator,
    /// Connects otherwise than at once to `guest`.
    connector: Option<Arc<dyn Connector>>,
    events: Arc<Mutex<Vec<Event>>>,
    control: Control,
    fault: Option<Fault>,
    on_error: OnError,
    debug: bool,
    force: bool,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["job", "run", "http"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        std::fs::write(directory.path().join("installer.iso"), vec![7; 100_000]).unwrap();
        std::fs::write(directory.path().join("seed"), "seed").unwrap();
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

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn template(&self, extra: &str, rest: &str) -> String {
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

    fn check_request(&self, template: &str) -> CheckRequest {
        let path = self.path("web.pkr.hcl");
        std::fs::write(&path, template).unwrap();
        CheckRequest {
            template: path,
            text: None,
            cwd: self.directory.path().to_owned(),
            environment: BTreeMap::new(),
            vars: Vec::new(),
            var_files: Vec::new(),
            only: Vec::new(),
            except: Vec::new(),
            force: self.force,
            warn_on_undeclared_var: false,
            evaluate_data: true,
        }
    }

    async fn run(&self, template: &str) -> JobOutcome {
        self.run_request(self.check_request(template)).await
    }

    async fn run_request(&self, template: CheckRequest) -> JobOutcome {
        let request = self.request(template);
        self.to_its_end(run_job_with(request, self.sink(), self.control.clone(), self.backends())).await
    }

    fn request(&self, template: CheckRequest) -> JobRequest {
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

    fn backends(&self) -> Backends {
        Backends {
            hypervisors: by_name([Arc::new(self.hypervisor.clone()) as Arc<dyn Hypervisor>]),
            connector: self.connector.clone().unwrap_or_else(|| Arc::new(FakeConnector(self.guest.clone()))),
            fault: self.fault.clone(),
        }
    }

    fn sink(&self) -> EventSink {
        let events = self.events.clone();
        Arc::new(move |event| events.lock().unwrap().push(event))
    }

    async fn to_its_end(&self, job: impl Future<Output = JobOutcome>) -> JobOutcome {
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

    fn steps(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let started = events.iter().filter_map(|event| match event {
            Event::StepStarted { step, .. } => Some(step.clone()),
            _ => None,
        });
        started.collect()
    }

    fn text(&self) -> String {
        let events = self.events.lock().unwrap();
        let lines = events.iter().filter_map(|event| match event {
            Event::Say { text, .. } | Event::Message { text, .. } | Event::Error { text, .. } => Some(text.clone()),
            Event::Diagnostics { text, .. } => Some(text.clone()),
            _ => None,
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn error(&self) -> Option<String> {
        let events = self.events.lock().unwrap();
        events.iter().find_map(|event| match event {
            Event::BuildFinished { error, .. } => error.clone(),
            _ => None,
        })
    }

    fn files(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(directory)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Nothing is left of a build that did not succeed.
    fn assert_nothing_left(&self, what: &str) {
        assert!(!self.path("out").exists(), "{what}: the output directory is there: {:?}", self.files("out"));
        self.assert_nothing_is_held(what);
    }

    /// Nothing is left of a build but what it has put into its output directory.
    fn assert_nothing_is_held(&self, what: &str) {
        assert_eq!(self.hypervisor.running(), 0, "{what}: a machine runs");
        assert_eq!(self.files("run"), Vec::<String>::new(), "{what}: sockets are left");
        assert_eq!(self.files("job"), ["resources.ndjson", "steps.ndjson"], "{what}: work files are left");
        let swept = sweep(&self.path("job")).unwrap();
        assert_eq!(swept, kiln_builder::Sweep::default(), "{what}: the ledger holds something");
        for port in http_ports(&self.text()) {
            assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "{what}: port {port} is open");
        }
    }
}

fn http_ports(text: &str) -> Vec<u16> {
    text.lines().filter_map(|line| line.strip_prefix("Starting HTTP server on port ")?.parse().ok()).collect()
}

const PROVISION: &str = r#"
  provisioner "shell" {
    inline = ["echo hello"]
  }
  post-processor "export" {
    formats = ["vmdk", "ova"]
  }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_build_runs_its_steps_in_order_and_leaves_only_its_output() {
    let world = World::new();
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert_eq!(outcome, JobOutcome { exit_code: 0, cancelled: false }, "{}", world.text());
    let steps = world.steps();
    assert_eq!(steps[..STEPS.len()], STEPS);
    assert_eq!(steps[STEPS.len()..], ["keep", "post-processor 1 (export)"]);
    assert_eq!(world.files("out"), ["web", "web.ova", "web.vmdk"]);
    assert_eq!(world.files("run"), Vec::<String>::new());
    assert_eq!(world.hypervisor.running(), 0);
    let spec = &world.hypervisor.specs()[0];
    assert_eq!((spec.cdroms.len(), spec.floppy.is_some()), (2, true));
    // The host as this hypervisor's guests see it, and nobody else's.
    let typed = format!("run 192.0.2.1:{} web\n", http_ports(&world.text())[0]);
    assert_eq!(world.hypervisor.typed(), KeyEvent::text(&typed).unwrap());
    assert!(world.guest.commands().iter().any(|command| command.contains("PACKER_BUILD_NAME='web'")));
    assert!(!world.text().contains("a-long-password"));
    assert_eq!(sweep(&world.path("job")).unwrap(), kiln_builder::Sweep::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_is_never_reached_is_told_of_in_order() {
    let mut world = World::new();
    world.connector = Some(Arc::new(GuestConnector));
    // As behind QEMU's user network: connections are taken, and closed while the guest's own port is.
    let forwarded = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (sender, receiver) = tokio::sync::watch::channel(NetworkSight::watched());
    let port = forwarded.local_addr().unwrap().port();
    world.hypervisor.change(|script| {
        script.sight = Some(receiver);
        script.forwarded_port = Some(port);
        script.serial = b"Oops: general protection fault\n".to_vec();
    });
    let events = world.events.clone();
    let guest = tokio::spawn(async move {
        let port = loop {
            let said = events.lock().unwrap().iter().find_map(|event| match event {
                Event::Say { text, .. } => text.strip_prefix("Starting HTTP server on port ")?.parse::<u16>().ok(),
                _ => None,
            });
            match said {
                Some(port) if events.lock().unwrap().iter().any(|event| is_step(event, "connect")) => break port,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        sender.send_modify(|seen| seen.spoke = true);
        sender.send_modify(|seen| (seen.dhcp, seen.address) = (DhcpState::Answered, Some([10, 0, 2, 15].into())));
        let closed = forwarded.accept().await.unwrap();
        drop(closed);
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(b"GET /missing HTTP/1.0\r\n\r\n").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        loop {
            drop(forwarded.accept().await.unwrap());
        }
    });
    let outcome = world.run(&world.template("ssh_timeout = \"3s\"", PROVISION)).await;
    guest.abort();
    assert_eq!(outcome, JobOutcome { exit_code: 1, cancelled: false });
    let text = world.text();
    let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words:?} is missing in:\n{text}"));
    let order = [
        "What was seen of the guest, in order:\n    0:00  its machine was started\n",
        "it was given 10.0.2.15 by DHCP\n",
        "SSH: the port closes every connection at once\n",
        "it asked for /missing over HTTP in vain\n",
        "\n          its kernel has crashed",
    ]
    .map(at);
    assert!(order.is_sorted(), "{text}");
    let error = world.error().unwrap();
    assert!(error.starts_with("Timeout waiting for SSH. cannot connect to 127.0.0.1:"), "{error}");
    assert!(error.contains("; last seen: its kernel has crashed"), "{error}");
    assert!(text.contains("its trace is in the serial console's lines above"), "{text}");
    // The picture of the screen is meant to stay.
    std::fs::remove_file(world.path("job").join("qemu.web-screen.png")).unwrap();
    world.assert_nothing_left("never reached");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_of_a_url_is_told() {
    let server = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = server.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        loop {
            let (mut stream, _) = server.accept().await.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            assert!(String::from_utf8_lossy(&request[..length]).contains("token=t0ken-of-mine&x=1"));
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    });
    let world = World::new();
    let url =
        format!("http://me:p4ssword-of-mine@127.0.0.1:{port}/x.iso?token=t0ken-of-mine&x=1&sig=s1gnature-of-mine");
    let template = world.template("", PROVISION);
    let local = format!("{}/installer.iso", world.directory.path().display());
    let outcome = world.run(&template.replace(&local, &url)).await;
    served.abort();
    assert_eq!(outcome, JobOutcome { exit_code: 1, cancelled: false });
    let told = format!("{:?}", world.events.lock().unwrap());
    assert!(told.contains("404") && told.contains("x.iso?token=xxxxx&x=1&sig=xxxxx"), "{told}");
    for secret in ["p4ssword", "t0ken", "s1gnature"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    world.assert_nothing_left("secrets of a URL");
}

fn is_step(event: &Event, name: &str) -> bool {
    matches!(event, Event::StepStarted { step, .. } if step == name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_at_any_step_leaves_nothing() {
    for step in STEPS {
        let mut world = World::new();
        world.fault = Some(Fault { step, cancel: false });
        let outcome = world.run(&world.template("", PROVISION)).await;
        assert_eq!(outcome, JobOutcome { exit_code: 1, cancelled: false }, "{step}");
        assert_eq!(world.error().as_deref(), Some("a failure injected by a test"), "{step}");
        assert_eq!(world.steps().last().map(String::as_str), Some(step));
        world.assert_nothing_left(step);
    }
}

/// Once the directory is kept it holds whole images, which no later failure takes away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_after_the_image_was_kept_leaves_it_whole_and_nothing_else() {
    let mut world = World::new();
    world.fault = Some(Fault { step: "keep", cancel: false });
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert_eq!(outcome, JobOutcome { exit_code: 1, cancelled: false });
    assert_eq!(world.error().as_deref(), Some("a failure injected by a test"));
    assert_eq!(world.steps().last().map(String::as_str), Some("keep"), "no post-processor runs");
    assert_eq!(world.files("out"), ["web", "web.ova", "web.vmdk"], "no mark of an incomplete build");
    assert_eq!((world.hypervisor.running(), world.files("run")), (0, Vec::new()));
    assert_eq!(world.files("job"), ["resources.ndjson", "steps.ndjson"], "work files are left");
    assert_eq!(sweep(&world.path("job")).unwrap(), kiln_builder::Sweep::default());
}

/// What keeps a directory from being kept is told, and nothing runs on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_cannot_be_kept_is_told() {
    let world = World::new();
    let mark = world.path("out/.kiln-incomplete");
    world.hypervisor.change(move |script| {
        let mark = mark.clone();
        // In place of the mark that the build removes at its end: something that is no file.
        script.on_resume = Some(Arc::new(move |_| {
            std::fs::rename(&mark, mark.with_extension("old")).unwrap();
            std::fs::create_dir(&mark).unwrap();
        }));
    });
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert_eq!(outcome, JobOutcome { exit_code: 1, cancelled: false });
    assert_eq!(world.steps().last().map(String::as_str), Some("keep"), "{}", world.text());
    let error = world.error().unwrap();
    assert!(error.contains("cannot remove") && error.contains(".kiln-incomplete"), "{error}");
    assert_eq!((world.hypervisor.running(), world.files("run")), (0, Vec::new()));
    assert_eq!(sweep(&world.path("job")).unwrap(), kiln_builder::Sweep::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_processor_that_fails_keeps_the_image_and_leaves_nothing_else() {
    let mut world = World::new();
    world.fault = Some(Fault { step: "post-processor 1 (export)", cancel: false });
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert_eq!(outcome, JobOutcome { exit_code: 1, cancelled: false });
    assert!(world.error().unwrap().contains("Post-processor failed: a failure injected by a test"));
    assert!(world.files("out").contains(&"web".to_owned()));
    assert_eq!((world.hypervisor.running(), world.files("run")), (0, Vec::new()));
    assert_eq!(sweep(&world.path("job")).unwrap(), kiln_builder::Sweep::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_at_any_step_leaves_nothing() {
    for step in STEPS.into_iter().chain(["keep"]) {
        let mut world = World::new();
        world.fault = Some(Fault { step, cancel: true });
        let outcome = world.run(&world.template("", PROVISION)).await;
        assert_eq!(outcome, JobOutcome { exit_code: 1, cancelled: true }, "{step}");
        assert_eq!(world.error().as_deref(), Some("Build was cancelled."), "{step}");
        world.assert_nothing_left(step);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_while_a_provisioner_hangs_is_felt_at_once() {
    let world = World::new();
    world.guest.on_command("PACKER_BUILD_NAME", Answer::Hang);
    let control = world.control.clone();
    let guest = world.guest.clone();
    tokio::spawn(async move {
        while !guest.commands().iter().any(|command| command.contains("PACKER_BUILD_NAME")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        control.cancel();
    });
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert!(outcome.cancelled, "{}", world.text());
    world.assert_nothing_left("hanging provisioner");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_script_is_retried_and_then_cleaned_up_after() {
    let world = World::new();
    world.guest.on_command("PACKER_BUILD_NAME", Answer::code(3)).on_command("PACKER_BUILD_NAME", Answer::code(3));
    let rest = r#"
      provisioner "shell" {
        inline      = ["false"]
        max_retries = 1
      }
      error-cleanup-provisioner "shell" {
        inline = ["echo rescue"]
      }
    "#;
    let outcome = world.run(&world.template("", rest)).await;
    assert_eq!(outcome.exit_code, 1);
    let text = world.text();
    let error = "Script exited with non-zero exit status: 3.Allowed exit codes are: [0]";
    assert!(text.contains(&format!("Provisioner failed with {error:?}, retrying with 1 trie(s) left")), "{text}");
    assert!(text.contains("retry limit reached."), "{text}");
    assert!(text.contains("Running the cleanup provisioner, if present..."), "{text}");
    assert_eq!(world.error().as_deref(), Some(error));
    // The place and the next step stand behind Packer's words.
    let (_, behind) = text.rsplit_once(error).unwrap();
    let template = world.template("", rest);
    let line = 1 + template.lines().position(|line| line.contains("provisioner \"shell\"")).unwrap();
    assert!(
        behind.contains("Failed: provisioner \"shell\" in ") && behind.contains(&format!(" line {line}\n")),
        "{behind}"
    );
    assert!(behind.contains("hint: what the script wrote is above;"), "{behind}");
    let runs = world.guest.commands().iter().filter(|command| command.contains("PACKER_BUILD_NAME")).count();
    assert_eq!(runs, 3, "twice, and the cleanup provisioner");
    world.assert_nothing_left("failing script");
}

/// Whether the mode can be set is no matter: the script is what is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_runs_from_any_path_and_where_chmod_fails() {
    let world = World::new();
    world.guest.on_command("chmod 0755", Answer::code(1));
    let rest = r#"
      provisioner "shell" {
        inline          = ["true"]
        remote_path     = "/tmp/my 'own' $(s) $HOME.sh"
        execute_command = "sh '{{.Path}}'"
      }
    "#;
    let outcome = world.run(&world.template("", rest)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    let commands = world.guest.commands();
    let quoted = r#"/tmp/my\ \'own\'\ \$\(s\)\ "$HOME".sh"#;
    for command in [format!("chmod 0755 {quoted}"), format!("rm -f {quoted}")] {
        assert!(commands.contains(&command), "{commands:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_dies_ends_the_build_with_the_reason() {
    let world = World::new();
    world.guest.on_command("PACKER_BUILD_NAME", Answer::Hang);
    let (hypervisor, guest) = (world.hypervisor.clone(), world.guest.clone());
    tokio::spawn(async move {
        while !guest.commands().iter().any(|command| command.contains("PACKER_BUILD_NAME")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let stderr_tail = "qemu: uncorrectable memory error".to_owned();
        hypervisor.end_guests(&ExitReport::Crashed { status: "signal 11".to_owned(), stderr_tail });
    });
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert_eq!(outcome.exit_code, 1);
    let error = world.error().unwrap();
    assert!(error.contains("uncorrectable memory error"), "{error}");
    world.assert_nothing_left("dead guest");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debug_pauses_after_steps_and_before_the_clean_up_of_a_failure() {
    let mut world = World::new();
    world.debug = true;
    world.guest.on_command("PACKER_BUILD_NAME", Answer::code(1));
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert_eq!(outcome.exit_code, 1);
    let asked: Vec<_> = world.questions().into_iter().map(|(_, text, ..)| text).collect();
    let first = asked.iter().position(|text| text.starts_with("Pausing before cleanup of step ")).unwrap();
    assert_eq!(asked[first - 1], "Pausing after run of step 'connect'. Press enter to continue.");
    let failed = "Pausing before cleanup of step 'provision'. Press enter to continue.";
    assert_eq!(asked[first], failed, "also when the step has nothing to clean up");
    assert!(asked[first..].iter().all(|text| text.starts_with("Pausing before cleanup of step ")), "{asked:?}");
    assert!(asked[first..].contains(&"Pausing before cleanup of step 'start'. Press enter to continue.".to_owned()));
    // The machine runs until the pause before its own clean-up is over.
    assert!(world.questions()[first].3.as_ref().unwrap().contains("root@127.0.0.1"));
    world.assert_nothing_left("debug");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abort_keeps_the_files_and_says_so() {
    let mut world = World::new();
    world.on_error = OnError::Abort;
    world.guest.on_command("PACKER_BUILD_NAME", Answer::code(1));
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert_eq!(outcome.exit_code, 1);
    assert!(world.path("out").exists());
    assert!(world.text().contains("Step \"provision\" failed, aborting..."), "{}", world.text());
    assert!(world.text().contains("aborted: skipping cleanup of step \"start\""), "{}", world.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_output_directory_is_refused_before_anything_starts_and_replaced_with_force() {
    let mut world = World::new();
    std::fs::create_dir(world.path("out")).unwrap();
    std::fs::write(world.path("out/precious"), "x").unwrap();
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert_eq!(outcome.exit_code, 1);
    assert!(world.text().contains("already exists"), "{}", world.text());
    assert_eq!((world.steps(), world.files("out")), (Vec::new(), vec!["precious".to_owned()]));
    world.force = true;
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert_eq!(world.files("out"), ["web", "web.ova", "web.vmdk"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leftover_of_an_interrupted_build_is_replaced_without_force() {
    let world = World::new();
    std::fs::create_dir(world.path("out")).unwrap();
    std::fs::write(world.path("out/.kiln-incomplete"), "").unwrap();
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_error_of_a_template_is_told_and_nothing_is_started() {
    let world = World::new();
    let template = world.template("disk_size = \"1Q\"\n  memory = 100000000\n  bootcommand = []", PROVISION);
    let template = template.replacen("  disk_size        = \"1M\"\n", "", 1).replace("iso_checksum     = \"none\"", "");
    let outcome = world.run(&template).await;
    assert_eq!(outcome.exit_code, 1);
    assert_eq!(world.steps(), Vec::<String>::new());
    let text = world.text();
    for part in ["bootcommand", "disk size", "memory", "iso_checksum"] {
        assert!(text.contains(part), "{part} is not told at once: {text}");
    }
    let world = World::new();
    let template = template.replace("bootcommand = []", "");
    let validation = validate(&world.check_request(&template), &world.path("cache"), false);
    assert!(!validation.valid);
    let text: String = validation.problems.into_iter().map(|problem| problem.text).collect();
    for part in ["disk size", "memory", "iso_checksum", "web.pkr.hcl line"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_image_is_told_and_leaves_nothing() {
    let world = World::new();
    std::fs::remove_file(world.path("installer.iso")).unwrap();
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert_eq!(outcome.exit_code, 1);
    let error = world.error().unwrap();
    assert!(error.contains("installer.iso"), "{error}");
    world.assert_nothing_left("missing image");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_builder_feeds_manifest_and_checksum() {
    let world = World::new();
    let root = world.directory.path().display();
    let template = format!(
        r#"
source "file" "note" {{
  content = "abc"
  target  = "{root}/files/note.txt"
}}
build {{
  sources = ["file.note"]
  post-processor "checksum" {{
    checksum_types = ["md5", "sha256"]
    output         = "{root}/files/{{{{.BuildName}}}}.{{{{.ChecksumType}}}}"
  }}
  post-processor "manifest" {{
    output     = "{root}/files/manifest.json"
    strip_path = true
  }}
}}
"#
    );
    let outcome = world.run(&template).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert_eq!(world.files("files"), ["manifest.json", "note.md5", "note.sha256", "note.txt"]);
    let sum = std::fs::read_to_string(world.path("files/note.md5")).unwrap();
    assert_eq!(sum, "900150983cd24fb0d6963f7d28e17f72\tnote.txt\n");
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(world.path("files/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["builds"][0]["name"], "note");
    assert_eq!(manifest["builds"][0]["files"][0]["name"], "note.txt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_builder_runs_provisioners() {
    for (provisioner, exit_code, said) in [
        ("provisioner \"shell-local\" {\n inline = [\"echo PROVISIONER RAN\"]\n }", 0, "PROVISIONER RAN"),
        ("provisioner \"shell-local\" {\n inline = [\"echo PROVISIONER RAN\", \"exit 3\"]\n }", 1, "PROVISIONER RAN"),
        ("provisioner \"breakpoint\" { note = \"HERE\" }", 0, "HERE"),
        ("provisioner \"sleep\" { duration = \"1ms\" }", 0, ""),
        // There is no guest: that is told, not passed over.
        ("provisioner \"shell\" {\n inline = [\"true\"]\n }", 1, "works in the guest"),
        ("provisioner \"file\" {\n content = \"x\"\n destination = \"/tmp/x\"\n }", 1, "works in the guest"),
    ] {
        let world = World::new();
        let root = world.directory.path().display();
        let template = format!(
            r#"
source "file" "note" {{
  content = "x"
  target  = "{root}/note.txt"
}}
build {{
  sources = ["file.note"]
  {provisioner}
  error-cleanup-provisioner "shell-local" {{
    inline = ["echo CLEANED UP"]
  }}
}}
"#
        );
        let outcome = world.run(&template).await;
        let text = world.text();
        assert_eq!(outcome.exit_code, exit_code, "{provisioner}: {text}");
        assert!(text.contains(said), "{provisioner}: {text}");
        // A cleanup provisioner runs after a failure of an earlier one; a template that is refused runs nothing.
        if exit_code == 1 && !world.steps().is_empty() {
            assert!(text.contains("CLEANED UP"), "{provisioner}: {text}");
        }
        assert_eq!(world.path("note.txt").exists(), exit_code == 0, "{provisioner}");
    }
    let world = World::new();
    let root = world.directory.path().display();
    let json = format!(
        r#"{{"builders":[{{"type":"file","content":"x","target":"{root}/n.txt"}}],
             "provisioners":[{{"type":"shell-local","inline":["echo JSON PROV RAN", "exit 3"]}}]}}"#
    );
    let mut request = world.check_request("");
    request.template = world.path("j.json");
    std::fs::write(&request.template, json).unwrap();
    let outcome = world.run_request(request).await;
    assert_eq!(outcome.exit_code, 1, "{}", world.text());
    assert!(world.text().contains("JSON PROV RAN"), "{}", world.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_builds_of_one_directory_are_refused_unless_one_is_chosen() {
    let world = World::new();
    let template = world.template("", PROVISION);
    let second =
        template.split("build {").next().unwrap().replace("\"web\" {", "\"db\" {").replace("/out\"", "/./out\"");
    let template = format!("{second}{template}").replace("[\"source.qemu.web\"]", "[\"qemu.web\", \"qemu.db\"]");
    let mut request = world.check_request(&template);
    let validation = validate(&request, &world.path("cache"), false);
    let text: String = validation.problems.into_iter().map(|problem| problem.text).collect();
    assert!(!validation.valid && text.contains("one output directory"), "{text}");
    assert!(text.contains("qemu.web") && text.contains("qemu.db") && text.contains("web.pkr.hcl"), "{text}");
    let outcome = world.run(&template).await;
    assert_eq!((outcome.exit_code, world.steps()), (1, Vec::new()));
    request.only = vec!["qemu.web".to_owned()];
    assert!(validate(&request, &world.path("cache"), false).valid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_builder_removes_only_its_own_file() {
    for (script, left) in [("exit 3", None), ("mv {root}/other {root}/note.txt && exit 3", Some("other"))] {
        let world = World::new();
        let root = world.directory.path().display().to_string();
        std::fs::write(world.path("other"), "other").unwrap();
        let script = script.replace("{root}", &root);
        let template = format!(
            r#"
source "file" "note" {{
  content = "x"
  target  = "{root}/note.txt"
}}
build {{
  sources = ["file.note"]
  provisioner "shell-local" {{ inline = ["{script}"] }}
}}
"#
        );
        assert_eq!(world.run(&template).await.exit_code, 1, "{}", world.text());
        assert_eq!(std::fs::read_to_string(world.path("note.txt")).ok().as_deref(), left);
        assert_eq!(sweep(&world.path("job")).unwrap(), kiln_builder::Sweep::default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_builds_with_one_target_are_refused() {
    let world = World::new();
    let root = world.directory.path().display();
    let source = |name: &str, target: &str| {
        format!("source \"file\" \"{name}\" {{\n content = \"x\"\n target = \"{root}/{target}\"\n}}\n")
    };
    let sources = format!("{}{}", source("a", "same.txt"), source("b", "x/../same.txt"));
    let outcome = world.run(&format!("{sources}build {{\n sources = [\"file.a\", \"file.b\"]\n}}\n")).await;
    assert_eq!(outcome.exit_code, 1);
    assert!(world.text().contains("file.b and file.a would both write into"), "{}", world.text());
    assert!(!world.path("same.txt").exists());
}
