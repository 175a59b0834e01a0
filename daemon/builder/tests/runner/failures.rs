//! Steps that fail or are cancelled: nothing is left of a build that did not succeed.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kiln_builder::{Event, EventSink, Fault, JobOutcome, OnError, Sweep, run_job_with, sweep};
use kiln_communicators::fake::Answer;
use kiln_hypervisors::fake::FakeStart;

use super::world::World;
use super::{PROVISION, STEPS};

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
    assert_eq!(sweep(&world.path("job")).unwrap(), Sweep::default());
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
    // Without its mark nobody can tell which files are the build's, so they stay, and that is told.
    assert!(world.text().contains(&format!("Cannot remove {}: ", world.path("out").display())), "{}", world.text());
    assert_eq!(world.files("out"), [".kiln-incomplete", "web", "web.ova", "web.vmdk"]);
    assert_eq!((world.hypervisor.running(), world.files("run")), (0, Vec::new()));
    assert_eq!(sweep(&world.path("job")).unwrap(), Sweep::default());
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
    assert_eq!(sweep(&world.path("job")).unwrap(), Sweep::default());
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

/// Whatever fails, the line behind the error names its block, file and line; the next says what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failed_part_of_a_build_is_named() {
    let world = World::new();
    let rest = r#"
      provisioner "shell-local" {
        inline            = ["exit 3"]
        continue_on_error = true
      }
      provisioner "shell-local" {
        inline = ["exit 4"]
      }
      error-cleanup-provisioner "shell-local" {
        inline = ["exit 5"]
      }
    "#;
    let template = world.template("", rest);
    assert_eq!(world.run(&template).await.exit_code, 1);
    let words = |code: u8| format!("Script exited with non-zero exit status: {code}.Allowed exit codes are: [0]");
    let first = format!("Warning: Provisioner failed with {:?}, but continue_on_error is set", words(3));
    assert_named(&world, &template, &first, "provisioner", 0);
    assert_named(&world, &template, &words(4), "provisioner", 1);
    let cleanup = format!("The error-cleanup-provisioner failed too: {}", words(5));
    assert_named(&world, &template, &cleanup, "error-cleanup-provisioner", 2);

    let world = World::new();
    let template = world.template("", "post-processor \"shell-local\" {\n inline = [\"exit 6\"]\n }");
    assert_eq!(world.run(&template).await.exit_code, 1);
    assert_named(&world, &template, &format!("Post-processor failed: {}", words(6)), "post-processor", 0);
}

/// `number` counts the blocks of `shell-local` in the template, from 0.
#[track_caller]
fn assert_named(world: &World, template: &str, error: &str, block: &str, number: usize) {
    let text = world.text();
    let mut lines = text.lines().skip_while(|line| !line.contains(error));
    assert!(lines.next().is_some(), "{error} is missing in {text}");
    let mut blocks = (1..).zip(template.lines()).filter(|(_, line)| line.contains("\"shell-local\" {"));
    let (line, _) = blocks.nth(number).unwrap();
    let place = lines.next().unwrap();
    assert!(place.contains(&format!("Failed: {block} \"shell-local\" in ")), "{place}");
    assert!(place.ends_with(&format!(" line {line}")), "{place} is not line {line}");
    assert!(lines.next().unwrap().contains("hint: what the script wrote is above;"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abort_keeps_the_disk_where_it_is_seen_and_no_later_build_takes_it_away() {
    let mut world = World::new();
    world.on_error = OnError::Abort;
    world.guest.on_command("PACKER_BUILD_NAME", Answer::code(1));
    let template = world.template("", PROVISION);
    assert_eq!(world.run(&template).await.exit_code, 1);
    let text = world.text();
    assert!(text.contains("Step \"provision\" failed, aborting..."), "{text}");
    assert_eq!(world.guest.commands().last().unwrap(), "sync", "what the guest has in memory is on its disk");
    assert_eq!(world.hypervisor.running(), 0);
    let disk = world.path("out/aborted-web");
    assert!(
        text.contains(&format!("    {}", disk.display())) && text.contains("disk_image = true, iso_url = "),
        "{text}"
    );
    let last = world.error().unwrap();
    assert!(last.ends_with(&format!("What was made is kept: {}", disk.display())), "{last}");
    // They are the person's now: no sweep takes them away, and no build that was not told to.
    assert_eq!(sweep(&world.path("job")).unwrap(), Sweep::default());
    world.events.lock().unwrap().clear();
    assert_eq!(world.run(&template).await.exit_code, 1);
    assert!(world.text().contains("had made when it was aborted."), "{}", world.text());
    assert!(disk.exists());
    (world.force, world.on_error) = (true, OnError::Cleanup);
    assert_eq!(world.run(&template).await.exit_code, 0, "{}", world.text());
    assert_eq!(world.files("out"), ["web", "web.ova", "web.vmdk"]);
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

/// A disk that is long in copying, and small on this machine: a byte of data every now and then.
fn scatter(path: &Path) -> u64 {
    const EVERY: u64 = 2 << 20;
    const TIMES: u64 = 32 << 10;
    let file = std::fs::File::create(path).unwrap();
    file.set_len(EVERY * TIMES).unwrap();
    (1..TIMES).for_each(|place| file.write_all_at(&[7], place * EVERY).unwrap());
    EVERY * TIMES
}

/// Copying blocks its thread, which nobody can take back: it tells how far it has come through the same report as an export,
/// which stops it before its last byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_copy_of_a_disk_image_is_told_of_and_ends_with_its_build() {
    let world = World::new();
    let size = scatter(&world.path("installer.iso"));
    let template = world.template("disk_image = true\n  skip_resize_disk = true", PROVISION);
    let (over, is_over) = channel();
    let (control, copied, is_over) = (world.control.clone(), Arc::default(), Mutex::new(Some(is_over)));
    let (seen, told): (Arc<Mutex<Vec<_>>>, _) = (Arc::clone(&copied), world.sink());
    let sink: EventSink = Arc::new(move |event| {
        match &event {
            Event::Progress { what, done, total, .. } if what == "copy the disk image" => {
                seen.lock().unwrap().push((*done, total.unwrap()));
                // The copy waits here, once, until its step has ended without it.
                if let Some(is_over) = is_over.lock().unwrap().take() {
                    control.cancel();
                    is_over.recv_timeout(Duration::from_secs(30)).unwrap();
                }
            }
            Event::StepFinished { step, .. } if step == "disk" => over.send(()).unwrap(),
            _ => {}
        }
        told(event);
    });
    let outcome = run_job_with(
        world.request(world.check_request(&template)),
        sink.clone(),
        world.control.clone(),
        world.backends(),
    );
    assert!(outcome.await.cancelled, "{}", world.text());
    // The thread that copies has its own hold on where events go.
    let patience = Instant::now();
    while Arc::strong_count(&sink) > 1 {
        assert!(patience.elapsed() < Duration::from_secs(30), "the copy does not end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let copied = copied.lock().unwrap();
    assert!(copied.len() > 1, "the copy looks once more when it is told to stop: {copied:?}");
    assert!(copied.iter().all(|&(done, total)| done < size && total == size), "it was stopped: {copied:?}");
    world.assert_nothing_left("a copy that was cancelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_cannot_be_given_back_is_told_of_and_nothing_of_it_goes() {
    for provisioner_fails in [false, true] {
        let world = World::new();
        world.hypervisor.change(|script| script.stays = true);
        if provisioner_fails {
            world.guest.on_command("PACKER_BUILD_NAME", Answer::code(1));
        }
        let shell = "provisioner \"shell\" {\n    inline = [\"true\"]\n  }";
        let failed = u8::from(provisioner_fails);
        assert_eq!(world.run(&world.template("", shell)).await.exit_code, failed, "{}", world.text());
        let text = world.text();
        assert!(text.contains("the machine web of qemu could not be given back, and stays with its files"), "{text}");
        // Neither its disk nor the build's own directory, in which it may have files.
        assert!(world.path("out").exists() && world.path("job/work-0").exists(), "{text}");
        // A guest that has switched itself off writes no more: its image is whole.
        assert!(provisioner_fails || world.files("out") == ["web"], "{:?}", world.files("out"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_start_is_over_when_its_machine_is_given_back() {
    let world = World::new();
    world.hypervisor.change(|script| script.start = FakeStart::Hangs);
    let (control, hypervisor) = (world.control.clone(), world.hypervisor.clone());
    let cancelling = tokio::spawn(async move {
        while hypervisor.registered().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        control.cancel();
    });
    let template = world.template("", "");
    assert!(world.run(&template).await.cancelled);
    cancelling.await.unwrap();
    assert!(world.hypervisor.registered().is_empty());
    world.assert_nothing_left("a cancelled start");
}
