//! Builds whose hypervisors cannot run side by side: the second waits for the first, and says so.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kiln_builder::{Event, JobOutcome, run_job_with};
use kiln_hypervisors::{Occupant, ProcessorClaim, ProcessorUse};

use super::world::World;

/// A processor of this test's own.
fn processor(world: &World) -> String {
    world.directory.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_owned()
}

fn claim(processor: &str, driver: &'static str) -> ProcessorClaim {
    let wanted = ProcessorUse { driver, processor: processor.to_owned() };
    ProcessorClaim::make(&wanted, "0197-other", "virtualbox-iso.web").unwrap().expect("nobody else joins")
}

/// A world whose machines run on KVM.
fn on_kvm() -> World {
    let world = World::new();
    let wanted = ProcessorUse { driver: "KVM", processor: processor(&world) };
    world.hypervisor.change(|script| script.processor_use = Some(wanted));
    world
}

const WHOM: &str = "the build virtualbox-iso.web of job 0197-other, which runs VirtualBox";

/// Waits until somebody is told that `whom` is waited for.
async fn told(world: &World, whom: &str) {
    let waits = |event: &Event| matches!(event, Event::Waiting { what, .. } if what == whom);
    let telling = async {
        while !world.events.lock().unwrap().iter().any(waits) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(30), telling).await.is_err() {
        panic!("nobody is told that {whom} is waited for: {}", world.text());
    }
    assert!(world.text().contains(&format!("Waiting for {whom}: KVM does not run beside it")), "{}", world.text());
    assert_eq!(world.hypervisor.calls(), Vec::<String>::new(), "nothing is started meanwhile");
}

async fn assert_free(processor: &str) {
    let claim = claim(processor, "VirtualBox");
    let freeing = async {
        // A look that was under way when the build was cancelled comes to its end first.
        while claim.in_the_way().unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), freeing).await.expect("the build has let the processor go");
}

async fn builds_once_it_is_free(world: &World, whom: &str, free: impl AsyncFnOnce()) {
    let template = world.check_request(&world.template("", ""));
    let job = run_job_with(world.request(template), world.sink(), world.control.clone(), world.backends());
    let (outcome, ()) = tokio::join!(world.to_its_end(job), async {
        told(world, whom).await;
        free().await;
    });
    assert_eq!(outcome, JobOutcome { exit_code: 0, cancelled: false }, "{}", world.text());
    let over = |event: &Event| matches!(event, Event::WaitFinished { what, .. } if what == whom);
    assert!(world.events.lock().unwrap().iter().any(over), "the wait is over for those who watch");
    assert_free(&processor(world)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_waits_and_says_for_whom_until_the_first_has_ended() {
    let world = on_kvm();
    let first = claim(&processor(&world), "VirtualBox");
    builds_once_it_is_free(&world, WHOM, async || drop(first)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_the_same_driver_is_not_waited_for() {
    let world = on_kvm();
    let first = claim(&processor(&world), "KVM");
    let (own, seen) = (processor(&world), Arc::new(Mutex::new(None)));
    let noting = seen.clone();
    world.hypervisor.change(|script| {
        script.on_resume = Some(Arc::new(move |_| {
            let wanted = ProcessorUse { driver: "Another", processor: own.clone() };
            let claim = ProcessorClaim::make(&wanted, "job", "build").unwrap().expect("nobody else joins");
            let others = std::fs::read_to_string("/proc/net/unix").unwrap();
            let own = format!("@kiln-processor-{own}-");
            *noting.lock().unwrap() = Some((claim.in_the_way().unwrap(), others.matches(&own).count()));
        }));
    });
    assert_eq!(world.run(&world.template("", "")).await.exit_code, 0, "{}", world.text());
    assert!(!world.text().contains("does not run beside it"), "{}", world.text());
    let (in_the_way, claims) = seen.lock().unwrap().take().expect("the guest has run");
    assert_eq!(in_the_way.map(|one| one.driver().to_owned()).as_deref(), Some("KVM"));
    assert_eq!(claims, 3, "its own is held while the machine runs, beside the first and that of who looks");
    drop(first);
    assert_free(&processor(&world)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_nobody_claims_for_is_waited_for_too() {
    let world = on_kvm();
    let name = "the machine old (process 123)".to_owned();
    let machine = Occupant::Machine { driver: "VirtualBox", name };
    world.hypervisor.change(|script| script.unclaimed_machine = Some(machine));
    let whom = "the machine old (process 123) of VirtualBox, which no build that is alive has started";
    let end = async || world.hypervisor.change(|script| script.unclaimed_machine = None);
    builds_once_it_is_free(&world, whom, end).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_while_waiting_leaves_nothing() {
    let world = on_kvm();
    let first = claim(&processor(&world), "VirtualBox");
    let template = world.check_request(&world.template("", ""));
    let job = run_job_with(world.request(template), world.sink(), world.control.clone(), world.backends());
    let (outcome, ()) = tokio::join!(world.to_its_end(job), async {
        told(&world, WHOM).await;
        world.control.cancel();
    });
    assert_eq!(outcome, JobOutcome { exit_code: 1, cancelled: true });
    world.assert_nothing_left("a build that waited");
    drop(first);
    assert_free(&processor(&world)).await;
}

/// What the child of the next test claims.
const PROCESSOR: &str = "KILN_TEST_PROCESSOR";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_that_is_killed_has_let_go() {
    if let Ok(processor) = std::env::var(PROCESSOR) {
        let _claim = claim(&processor, "VirtualBox");
        println!("\nclaimed");
        // Until it is killed.
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let world = on_kvm();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processor::a_first_that_is_killed_has_let_go", "--nocapture"])
        .env(PROCESSOR, processor(&world))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.map_while(Result::ok).any(|line| line == "claimed"), "the child has claimed nothing");
    builds_once_it_is_free(&world, WHOM, async || {
        child.kill().unwrap();
        child.wait().unwrap();
    })
    .await;
}
