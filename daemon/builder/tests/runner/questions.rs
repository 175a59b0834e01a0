//! What somebody is asked when a step fails, and what each answer does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_builder::{Control, Event, Fault, JobOutcome, OnError};
use kiln_communicators::fake::Answer;
use kiln_hypervisors::ExitReport;

use super::world::World;
use super::{PROVISION, STEPS};

/// A question with its text, choices, and way into the guest.
pub(super) type Asked = (u64, String, Vec<String>, Option<String>);

impl World {
    pub(super) fn questions(&self) -> Vec<Asked> {
        let events = self.events.lock().unwrap();
        let asked = events.iter().filter_map(|event| match event {
            Event::Prompt { id, text, choices, guest, .. } => Some((*id, text.clone(), choices.clone(), guest.clone())),
            _ => None,
        });
        asked.collect()
    }

    pub(super) async fn wait_for_question(&self) -> Asked {
        self.wait_for_questions(1).await.pop().unwrap()
    }

    /// Waits, but not for ever, until so many questions were asked.
    async fn wait_for_questions(&self, count: usize) -> Vec<Asked> {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let questions = self.questions();
            if questions.len() >= count {
                return questions;
            }
            assert!(Instant::now() < until, "question {count} is not asked: {}", self.text());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_says_how_the_guest_is_reached_and_waits_for_its_answer() {
    for (answer, out) in [("c", false), ("a", true)] {
        let mut world = World::new();
        world.on_error = OnError::Ask;
        world.control = Control::default();
        world.guest.on_command("PACKER_BUILD_NAME", Answer::code(1));
        // Without a password the build makes a key of its own.
        let template = world.template("", PROVISION).replace("  ssh_password     = \"a-long-password\"\n", "");
        let answering = async {
            let (id, text, choices, guest) = world.wait_for_question().await;
            assert_eq!(text, "[c] Clean up and exit, [a] abort without cleanup, or [r] retry this step?");
            assert_eq!(choices, ["c", "a", "r"]);
            let guest = guest.unwrap();
            assert!(guest.starts_with("ssh -p ") && guest.contains(" root@127.0.0.1"), "{guest}");
            let key = guest.split(" -i ").nth(1).unwrap().split(' ').next().unwrap();
            assert!(std::fs::read_to_string(key).unwrap().contains("PRIVATE KEY"));
            assert_eq!(world.hypervisor.running(), 1, "the guest runs on");
            world.control.answer(id, answer).unwrap();
            key.to_owned()
        };
        let (outcome, key) = tokio::join!(world.run(&template), answering);
        assert_eq!((outcome.exit_code, world.path("out").exists()), (1, out));
        assert!(!std::path::Path::new(&key).exists(), "the key goes with the question");
        if !out {
            world.assert_nothing_left("asked");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_does_not_outlive_a_cancellation() {
    let mut world = World::new();
    world.on_error = OnError::Ask;
    world.control = Control::default();
    world.guest.on_command("PACKER_BUILD_NAME", Answer::code(1));
    let template = world.template("", PROVISION);
    let cancelling = async {
        let (id, ..) = world.wait_for_question().await;
        world.control.cancel();
        id
    };
    let (outcome, id) = tokio::join!(world.run(&template), cancelling);
    assert_eq!(outcome.exit_code, 1);
    assert!(world.control.answer(id, "c").is_err(), "nobody waits any more");
    let closed = world.events.lock().unwrap().iter().find_map(|event| match event {
        Event::PromptClosed { answer, .. } => Some(answer.clone()),
        _ => None,
    });
    assert_eq!(closed.as_deref(), Some(""), "nobody has answered");
    assert!(!world.text().contains("Running the cleanup provisioner"), "{}", world.text());
    world.assert_nothing_left("cancelled while asked");
}

impl World {
    pub(super) fn asking() -> Self {
        Self { on_error: OnError::Ask, control: Control::default(), ..Self::new() }
    }

    /// Runs a build and gives `answers` to its questions, one after the other; `before` each, something is done about the failure.
    pub(super) async fn run_and_answer(
        &self,
        template: String,
        answers: &[&str],
        before: impl Fn(&Asked),
    ) -> JobOutcome {
        let answering = async {
            for (count, answer) in (1..).zip(answers) {
                let asked = self.wait_for_questions(count).await.swap_remove(count - 1);
                before(&asked);
                self.control.answer(asked.0, answer).unwrap();
            }
        };
        let (outcome, ()) = tokio::join!(self.run(&template), answering);
        assert_eq!(self.questions().len(), answers.len(), "{}", self.text());
        outcome
    }
}

const RETRY: [&str; 3] = ["c", "a", "r"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provisioner_is_tried_again_on_the_same_guest_and_the_build_goes_on() {
    let world = World::asking();
    world.guest.on_command("PACKER_BUILD_NAME", Answer::code(1)).on_command("PACKER_BUILD_NAME", Answer::code(2));
    let rest = format!(
        "{PROVISION}\n  provisioner \"shell-local\" {{\n inline = [\"echo AFTERWARDS\"]\n }}
         error-cleanup-provisioner \"shell-local\" {{\n inline = [\"echo RESCUE\"]\n }}"
    );
    let outcome = world.run_and_answer(world.template("", &rest), &["r", "r"], |(_, _, choices, _)| {
        assert_eq!(*choices, RETRY);
        assert_eq!(world.hypervisor.running(), 1);
    });
    assert_eq!(outcome.await, JobOutcome { exit_code: 0, cancelled: false }, "{}", world.text());
    let steps = world.steps();
    assert_eq!(steps.iter().filter(|step| *step == "provisioner 1 (shell)").count(), 3);
    assert_eq!(world.hypervisor.specs().len(), 1, "the guest is the same");
    assert_eq!(steps.iter().filter(|step| *step == "provisioner 2 (shell-local)").count(), 1);
    let text = world.text();
    assert!(text.contains("AFTERWARDS") && !text.contains("RESCUE"), "{text}");
    assert_eq!(text.matches("Step \"provision\" failed").count(), 2, "each failure is told once: {text}");
}

/// Who gives up has the error-cleanup-provisioner run, unless all is to stay as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn giving_up_runs_the_cleanup_provisioner_and_aborting_does_not() {
    for (answer, rescued) in [("c", true), ("a", false)] {
        let world = World::asking();
        world.guest.on_command("PACKER_BUILD_NAME", Answer::code(1));
        let rest =
            format!("{PROVISION} error-cleanup-provisioner \"shell-local\" {{\n inline = [\"echo RESCUE\"]\n }}");
        let outcome = world.run_and_answer(world.template("", &rest), &[answer], |_| {}).await;
        assert_eq!(outcome.exit_code, 1);
        assert_eq!(world.text().contains("RESCUE"), rescued, "{}", world.text());
        assert_eq!(world.path("out").exists(), !rescued);
        if rescued {
            world.assert_nothing_left("given up");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_before_the_guest_is_tried_again() {
    let world = World::asking();
    let image = world.path("installer.iso");
    std::fs::remove_file(&image).unwrap();
    let outcome = world.run_and_answer(world.template("", PROVISION), &["r"], |(_, _, choices, guest)| {
        assert_eq!((choices.as_slice(), guest), (RETRY.map(str::to_owned).as_slice(), &None));
        std::fs::write(&image, vec![7; 100_000]).unwrap();
    });
    assert_eq!(outcome.await.exit_code, 0, "{}", world.text());
    assert_eq!(world.steps()[..4], ["look", "fetch", "fetch", "output"]);
    assert_eq!(world.files("out"), ["web", "web.ova", "web.vmdk"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_tried_again_once_what_hinders_it_is_gone() {
    for extra in ["", "skip_compaction = true"] {
        let world = World::asking();
        let hindrance = world.path("out/web.vmdk");
        let (made, marked) = (hindrance.clone(), std::sync::Once::new());
        world.hypervisor.change(|script| {
            script.on_resume = Some(Arc::new(move |_| marked.call_once(|| std::fs::create_dir(&made).unwrap())));
        });
        let outcome = world.run_and_answer(world.template(extra, PROVISION), &["r"], |(_, _, choices, _)| {
            assert_eq!(*choices, RETRY);
            std::fs::remove_dir(&hindrance).unwrap();
        });
        assert_eq!(outcome.await.exit_code, 0, "{extra}: {}", world.text());
        assert_eq!(world.files("out"), ["web", "web.ova", "web.vmdk"], "{extra}");
    }
}

/// Which steps can be tried again: not those that start a machine or type on it, and none on a guest that is off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_can_be_tried_again_is_offered() {
    for step in STEPS.into_iter().chain(["keep"]) {
        let mut world = World::asking();
        world.fault = Some(Fault { step, cancel: false });
        let outcome = world.run_and_answer(world.template("", PROVISION), &["c"], |(_, text, choices, _)| {
            let offered = !["start", "boot", "shut-down"].contains(&step);
            assert_eq!(choices.contains(&"r".to_owned()), offered, "{step}");
            assert_eq!(text.contains("[r] retry"), offered, "{step}");
            assert_eq!(choices[0], "c", "{step}: who cannot answer does not fail for ever");
        });
        assert_eq!(outcome.await.exit_code, 1, "{step}");
        assert_eq!(world.text().matches("a failure injected by a test").count(), 1, "{step}: {}", world.text());
        if step != "keep" {
            world.assert_nothing_left(step);
        }
    }
}

/// Each step is tried again after it has done its work and failed all the same, which is the worst that can happen to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_fails_again_and_again_leaves_nothing() {
    for step in STEPS.into_iter().filter(|step| !["start", "boot", "shut-down"].contains(step)) {
        let mut world = World::asking();
        world.fault = Some(Fault { step, cancel: false });
        let outcome = world.run_and_answer(world.template("", PROVISION), &["r", "r", "c"], |_| {}).await;
        assert_eq!(outcome.exit_code, 1, "{step}");
        assert_eq!(world.steps().iter().rev().take_while(|name| *name == step).count(), 3, "{step}");
        world.assert_nothing_left(step);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_is_gone_cannot_be_provisioned_again() {
    let world = World::asking();
    world.guest.on_command("PACKER_BUILD_NAME", Answer::Hang);
    let (hypervisor, guest) = (world.hypervisor.clone(), world.guest.clone());
    tokio::spawn(async move {
        while !guest.commands().iter().any(|command| command.contains("PACKER_BUILD_NAME")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        hypervisor.end_guests(&ExitReport::GuestShutdown);
    });
    let outcome = world.run_and_answer(world.template("", PROVISION), &["c"], |(_, _, choices, _)| {
        assert_eq!(*choices, ["c", "a"]);
    });
    assert_eq!(outcome.await.exit_code, 1);
    world.assert_nothing_left("gone");
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
async fn nobody_is_told_how_to_reach_a_guest_that_is_off() {
    let mut world = World::new();
    world.debug = true;
    assert_eq!(world.run(&world.template("", PROVISION)).await.exit_code, 0, "{}", world.text());
    let guest_at = |step: &str| {
        let text = format!("Pausing after run of step '{step}'. Press enter to continue.");
        world.questions().into_iter().find(|asked| asked.1 == text).unwrap().3
    };
    assert!(guest_at("provision").is_some());
    assert_eq!(guest_at("shut-down"), None);
}

const RETRY_OR_GO_ON: [&str; 2] = ["g", "r"];

/// What the builder has left is there, so the post-processor can have another try; the other sequences run whatever the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_processor_is_tried_again_or_left_out() {
    for (answer, exit_code) in [("r", 0), ("g", 1)] {
        let world = World::asking();
        let (missing, sums) = (world.path("wanted"), world.path("sums"));
        let rest = format!(
            "post-processors {{\n post-processor \"shell-local\" {{\n inline = [\"cat {missing}\"]\n }}
             post-processor \"checksum\" {{\n output = {sums:?}\n }}\n }}
             post-processor \"shell-local\" {{\n inline = [\"echo OTHER SEQUENCE\"]\n }}",
            missing = missing.display(),
        );
        let answers = [answer];
        let outcome = world.run_and_answer(world.template("", &rest), &answers, |(_, text, choices, guest)| {
            assert_eq!((choices.as_slice(), guest), (RETRY_OR_GO_ON.map(str::to_owned).as_slice(), &None));
            assert!(text.contains("[g] Give up this sequence"), "{text}");
            assert_eq!((world.hypervisor.running(), world.files("out")), (0, vec!["web".to_owned()]));
            std::fs::write(&missing, "WANTED TEXT").unwrap();
        });
        assert_eq!(outcome.await.exit_code, exit_code, "{}", world.text());
        let text = world.text();
        let retried = answer == "r";
        assert_eq!((text.contains("WANTED TEXT"), sums.exists()), (retried, retried), "{text}");
        assert!(text.contains("OTHER SEQUENCE"), "{text}");
        assert_eq!(text.matches("\nhint: what the script wrote is above").count(), 1, "told once: {text}");
        assert_eq!(world.files("out"), ["web"]);
        world.assert_nothing_is_held(answer);
    }
}
