//! What a build writes down of its steps.

use kiln_builder::records::{self, Output, Phase, State, StepRecord};
use kiln_builder::{Control, Fault, OnError};
use kiln_communicators::fake::Answer;

use super::PROVISION;
use super::world::{World, http_ports};

impl World {
    pub(super) fn records(&self) -> Vec<StepRecord> {
        let records = records::read(&self.path("job")).unwrap();
        assert!(!records.cut_short);
        records.builds.into_iter().next().unwrap().steps
    }
}

const TWO_PROVISIONERS: &str = r#"
  provisioner "shell" {
    inline = ["echo hello"]
  }
  provisioner "shell-local" {
    inline = ["echo a-long-password"]
  }
  post-processors {
    post-processor "export" {
      formats = ["vmdk", "ova"]
    }
  }
  post-processor "shell-local" {
    inline = ["true"]
  }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_is_noted_before_and_after_under_the_name_of_its_event() {
    let world = World::new();
    let outcome = world.run(&world.template("", TWO_PROVISIONERS)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    let steps = world.steps();
    let provisioned = ["provisioner 1 (shell)", "provisioner 2 (shell-local)"];
    assert_eq!(steps[13..15], provisioned);
    assert_eq!(steps[18..], ["post-processor 1 (export)", "post-processor 2 (shell-local)"]);
    let records = world.records();
    assert_eq!(records.len(), 2 * steps.len());
    for ((pair, name), number) in records.chunks(2).zip(&steps).zip(1..) {
        let [intent, end] = pair else { panic!("{pair:?}") };
        assert_eq!((intent.number, &intent.name, intent.state), (number, name, State::Intent));
        assert_eq!((end.number, &end.name, end.state), (number, name, State::Done));
        assert_eq!((intent.build.as_str(), intent.phase), ("qemu.web", end.phase));
        assert_eq!((intent.elapsed_ms, end.elapsed_ms.is_some()), (None, true));
        assert!(intent.at <= end.at && end.at.ends_with('Z'), "{pair:?}");
    }
    let phases: Vec<_> = records.iter().map(|record| record.phase).collect();
    assert!(phases.is_sorted(), "{phases:?}");
    let count = |phase| phases.iter().filter(|&&known| known == phase).count() / 2;
    let all = [Phase::Prepare, Phase::BringUp, Phase::Provision, Phase::Finish, Phase::PostProcess];
    assert_eq!(all.map(count), [10, 3, 2, 3, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_later_steps_need_is_noted_and_no_secret_is() {
    let world = World::new();
    let outcome = world.run(&world.template("", TWO_PROVISIONERS)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    let records = world.records();
    let output = |name: &str| {
        let done = records.iter().find(|record| record.name == name && record.state == State::Done).unwrap();
        done.outputs.clone().unwrap()
    };
    let port = http_ports(&world.text())[0];
    assert_eq!(output("serve"), Output::HttpServer { port });
    let Output::Connection { communicator, .. } = output("connect") else { panic!() };
    assert_eq!(communicator, "ssh");
    let Output::Files { paths } = output("export") else { panic!() };
    assert!(paths.contains(&world.path("out/web")) && paths.contains(&world.path("out/web.vmdk")), "{paths:?}");
    let text = std::fs::read_to_string(world.path("job").join(records::FILE_NAME)).unwrap();
    assert!(!text.contains("a-long-password") && !text.contains("PRIVATE KEY"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_noted_with_its_reason_and_a_second_try_under_its_number() {
    let mut world = World::new();
    world.on_error = OnError::Ask;
    world.control = Control::default();
    world.guest.on_command("PACKER_BUILD_NAME", Answer::code(3));
    let answering = async {
        let (id, ..) = world.wait_for_question().await;
        let last = world.records().pop().unwrap();
        assert_eq!((last.name.as_str(), last.state), ("provisioner 1 (shell)", State::Failed));
        assert!(last.error.unwrap().contains("exit status: 3"), "before anybody is asked");
        world.control.answer(id, "r").unwrap();
    };
    let template = world.template("", PROVISION);
    let (outcome, ()) = tokio::join!(world.run(&template), answering);
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    let tries: Vec<_> = world.records().into_iter().filter(|record| record.phase == Phase::Provision).collect();
    assert_eq!(
        tries.iter().map(|record| record.state).collect::<Vec<_>>(),
        [State::Intent, State::Failed, State::Intent, State::Done]
    );
    assert!(tries.iter().all(|record| record.number == tries[0].number));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_is_noted_as_the_end_of_its_step() {
    let mut world = World::new();
    world.fault = Some(Fault { step: "connect", cancel: true });
    world.run(&world.template("", PROVISION)).await;
    let last = world.records().pop().unwrap();
    assert_eq!((last.name.as_str(), last.state), ("connect", State::Failed));
    assert_eq!(last.error.as_deref(), Some("Build was cancelled."));
}

/// Where nothing can be written down, nothing is begun: a crash would forget it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_whose_steps_cannot_be_noted_is_not_begun() {
    let world = World::new();
    std::fs::create_dir(world.path("job/steps.ndjson")).unwrap();
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert_eq!((outcome.exit_code, world.steps()), (1, Vec::new()));
    assert!(world.text().contains("cannot open the records of the steps in "), "{}", world.text());
    assert!(!world.path("out").exists());
}
