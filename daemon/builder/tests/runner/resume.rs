//! A build that goes on in another process: from its plan, its records and the saved state of its machine.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Once};
use std::time::Duration;

use kiln_builder::records::{self, State};
use kiln_builder::{Checkpoint, Control, Event, Fault, JobOutcome, resume_job_with, run_job_with};
use kiln_communicators::fake::Answer;
use kiln_hypervisors::SavedState;

use super::world::{World, http_ports, is_step};

const THREE_PROVISIONERS: &str = r#"
  provisioner "shell" {
    inline           = ["echo one"]
    environment_vars = ["STEP=1", "RUN=${build.PackerRunUUID}"]
  }
  provisioner "shell" {
    inline           = ["echo two"]
    environment_vars = ["STEP=2"]
  }
  provisioner "shell" {
    inline           = ["echo three"]
    environment_vars = ["STEP=3", "RUN=${build.PackerRunUUID}", "SERVER=${build.PackerHTTPAddr}"]
  }
  provisioner "shell-local" {
    inline = ["echo four of $PACKER_BUILD_NAME"]
  }
  post-processor "export" {
    formats = ["vmdk", "ova"]
  }
"#;

impl World {
    /// A guest that installs itself on its disk when it is started, and not when it is restored.
    fn installing() -> Self {
        let world = Self::new();
        let once = Once::new();
        world.hypervisor.change(|script| {
            script.on_resume = Some(Arc::new(move |spec| {
                once.call_once(|| {
                    let disk = std::fs::OpenOptions::new().write(true).open(&spec.disks[0].path).unwrap();
                    disk.write_all_at(b"installed", 70_000).unwrap();
                });
            }));
        });
        world
    }

    fn three_steps(&self) -> String {
        // Ports of their own: a build that goes on needs the same one again, which no other test may have got meanwhile.
        let extra = "format = \"raw\"\n  http_port_min = 18000\n  http_port_max = 18999";
        self.template(extra, THREE_PROVISIONERS)
    }

    /// Runs the build and kills it in its third provisioner. Returns its machine as it was before that.
    async fn kill_in_the_third(&self) -> Vec<Checkpoint> {
        self.guest.on_command("STEP='3'", Answer::Hang);
        let (request, backends) = (self.request(self.check_request(&self.three_steps())), self.backends());
        // A control of its own dies with it, and lets go of the machine.
        let job = tokio::spawn(run_job_with(request, self.sink(), Control::unattended(), backends));
        let killing = async {
            while !self.guest.commands().iter().any(|command| command.contains("STEP='3'")) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let state = self.hypervisor.save_state(&self.path("saved-state")).unwrap();
            job.abort();
            assert!(job.await.unwrap_err().is_cancelled());
            // What the kernel gives back when a process dies.
            let out = std::fs::File::open(self.path("out")).unwrap();
            while self.hypervisor.running() > 0 || out.try_lock().is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            state
        };
        let state = tokio::time::timeout(Duration::from_secs(60), killing).await.expect("the killed build lets go");
        let build = "qemu.web".to_owned();
        vec![Checkpoint { build, after: self.number_of("provisioner 2 (shell)"), state }]
    }

    fn number_of(&self, step: &str) -> u32 {
        let records = self.records();
        let done = records.iter().find(|record| record.name == step && record.state == State::Done);
        done.unwrap_or_else(|| panic!("{step} is not done in {records:#?}")).number
    }

    async fn resume(&self, template: &str, checkpoints: Vec<Checkpoint>) -> JobOutcome {
        self.events.lock().unwrap().clear();
        let request = self.request(self.check_request(template));
        let job = resume_job_with(request, self.sink(), self.control.clone(), self.backends(), checkpoints);
        self.to_its_end(job).await
    }

    /// Everything that happened from the third provisioner on, without what is another time at every run.
    fn told_from_the_third(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let from_there = events.iter().skip_while(|event| !is_step(event, "provisioner 3 (shell)"));
        let root = self.directory.path().display().to_string();
        let told = from_there.filter_map(|event| match event {
            Event::Progress { .. } => None,
            Event::StepFinished { step, error, .. } => Some(format!("finished {step}: {error:?}")),
            Event::BuildFinished { build, error, cancelled, .. } => Some(format!("end {build} {error:?} {cancelled}")),
            other => Some(format!("{other:?}").replace(&root, "ROOT")),
        });
        told.map(|text| without_what_is_random(&text)).collect()
    }

    async fn assert_refused(&self, template: &str, checkpoints: Vec<Checkpoint>, reason: &str) {
        let outcome = self.resume(template, checkpoints).await;
        let text = self.text();
        assert_eq!((outcome.exit_code, self.steps()), (1, Vec::new()), "{text}");
        assert!(text.contains("cannot go on") && text.contains(reason) && text.contains("hint: "), "{text}");
    }

    /// All that the job has on the disk.
    fn on_disk(&self) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        for directory in ["out", "job", "run"] {
            for name in self.files(directory) {
                let path = self.path(directory).join(&name);
                let content = if path.is_file() { std::fs::read(path).unwrap() } else { Vec::new() };
                all.push((format!("{directory}/{name}"), content));
            }
        }
        all
    }
}

/// `text` without what is random in it: numbers, and the ends of the names of temporary scripts.
fn without_what_is_random(text: &str) -> String {
    let mut parts = text.split("packer-shell");
    let mut named = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        named += "packer-shell";
        named += part.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric());
    }
    // One sign for each number, however long: nothing lies between its digits.
    let parts = named.split(|letter: char| letter.is_ascii_digit());
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("#")
}

fn artifact(world: &World) -> Vec<(String, Vec<u8>)> {
    let files = world.files("out").into_iter();
    files.map(|name| (name.clone(), std::fs::read(world.path("out").join(name)).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_build_goes_on_from_its_third_provisioner_to_the_same_end() {
    let whole = World::installing();
    let outcome = whole.run(&whole.three_steps()).await;
    assert_eq!(outcome.exit_code, 0, "{}", whole.text());

    let world = World::installing();
    let checkpoints = world.kill_in_the_third().await;
    let last = world.records().pop().unwrap();
    assert_eq!((last.name.as_str(), last.state), ("provisioner 3 (shell)", State::Intent));
    let port = http_ports(&world.text())[0];
    let outcome = world.resume(&world.three_steps(), checkpoints).await;
    assert_eq!(outcome, JobOutcome { exit_code: 0, cancelled: false }, "{}", world.text());

    assert_eq!(world.told_from_the_third(), whole.told_from_the_third());
    assert_eq!(artifact(&world), artifact(&whole));
    let installed = std::fs::read(world.path("out/web")).unwrap();
    assert_eq!(&installed[70_000..70_009], b"installed", "the disk is the one that the guest wrote");
    let steps = world.steps();
    assert!(!steps.iter().any(|step| step == "boot" || step.starts_with("provisioner 2")), "{steps:?}");
    assert_eq!(http_ports(&world.text()), [port], "the guest knows the server by this port");
    assert_eq!(world.hypervisor.specs().len(), 2);
    // A step has one number, whichever process does it.
    let numbers = |world: &World| -> BTreeMap<String, u32> {
        world.records().into_iter().map(|record| (record.name, record.number)).collect()
    };
    assert_eq!(numbers(&world), numbers(&whole));
    let commands = world.guest.commands();
    let runs: BTreeSet<_> = commands.iter().filter_map(|command| command.split("RUN='").nth(1)?.get(..36)).collect();
    assert_eq!(runs.len(), 1, "both halves are one run: {commands:#?}");
    let server = format!("SERVER='192.0.2.1:{port}'");
    assert_eq!(commands.iter().filter(|command| command.contains(&server)).count(), 2, "{server} in {commands:#?}");
    world.assert_nothing_is_held("a build that went on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_goes_on_and_fails_leaves_nothing() {
    for (fault, cancel) in [("start", false), ("provisioner 3 (shell)", false), ("connect", true), ("export", false)] {
        let mut world = World::installing();
        let checkpoints = world.kill_in_the_third().await;
        world.fault = Some(Fault { step: fault, cancel });
        let outcome = world.resume(&world.three_steps(), checkpoints).await;
        assert_eq!((outcome.exit_code, outcome.cancelled), (1, cancel), "{fault}");
        world.assert_nothing_left(fault);
    }
}

/// What does not certainly fit is refused before anything is touched, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_refused_and_left_as_it_is() {
    let world = World::installing();
    let checkpoints = world.kill_in_the_third().await;
    let before = world.on_disk();
    let template = world.three_steps();
    world
        .assert_refused(&template.replace("echo three", "echo 3"), checkpoints.clone(), "its plan is another one")
        .await;
    world
        .assert_refused(
            &template.replace("a-long-password", "another-password"),
            checkpoints.clone(),
            "its plan is another",
        )
        .await;
    let mut foreign = checkpoints.clone();
    foreign[0].state = SavedState { hypervisor: "virtualbox".to_owned(), path: world.path("saved-state") };
    world.assert_refused(&template, foreign, "saved by virtualbox in ").await;
    let mut early = checkpoints.clone();
    early[0].after = 1;
    world.assert_refused(&template, early, "is no place to go on from").await;
    let mut late = checkpoints.clone();
    late[0].after += 1;
    world.assert_refused(&template, late, "is not noted as done").await;
    assert_eq!(world.on_disk(), before, "nothing is touched");

    let path = world.path("job").join(records::FILE_NAME);
    let text = std::fs::read_to_string(&path).unwrap();
    let newer = text.replace("\"version\":1", "\"version\":7");
    std::fs::write(&path, &newer).unwrap();
    world.assert_refused(&template, checkpoints.clone(), "written by a newer Kiln (format 7").await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), newer);
    // A line that was cut short is told of, and does no harm.
    std::fs::write(&path, &text[..text.len() - 7]).unwrap();
    let outcome = world.resume(&template, checkpoints).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert!(world.text().contains("cut short"), "{}", world.text());
}
