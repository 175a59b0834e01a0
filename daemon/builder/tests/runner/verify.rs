//! The post-processor verify: a second machine over the image, which stays as it is, and what is left when its checks fail.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kiln_builder::{JobOutcome, run_job_with};
use kiln_communicators::fake::Answer;
use kiln_disk_formats::{Format, OpenPolicy, create_overlay, open};
use kiln_hypervisors::ExitReport;
use kiln_hypervisors::fake::FakeScript;

use super::world::World;

const CHECK: &str = "post-processor \"verify\" {\n inline = [\"test -e /made\"]\n remote_path = \"/tmp/check.sh\"\n skip_clean = true\n}\n";

/// Runs a build whose guests power off one after the other, each when it is told to.
async fn run(world: &World, extra: &str, rest: &str) -> JobOutcome {
    let (hypervisor, guest) = (world.hypervisor.clone(), world.guest.clone());
    let power = tokio::spawn(async move {
        let mut heeded = 0;
        loop {
            let told = guest.commands().iter().filter(|command| *command == "poweroff").count();
            if told > heeded {
                heeded = told;
                hypervisor.end_guests(&ExitReport::GuestShutdown);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let request = world.request(world.check_request(&world.template(extra, rest)));
    let job = run_job_with(request, world.sink(), world.control.clone(), world.backends());
    let outcome = tokio::time::timeout(Duration::from_secs(60), job).await.expect("the job ends");
    power.abort();
    outcome
}

/// Guests that write to their disks.
fn writing() -> FakeScript {
    FakeScript {
        on_resume: Some(Arc::new(|spec| {
            let disk = &spec.disks[0].path;
            let mut content = std::fs::read(disk).unwrap();
            content.extend_from_slice(&[0; 512]);
            std::fs::write(disk, content).unwrap();
        })),
        ..FakeScript::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlay_of_the_image_is_booted_and_goes_again() {
    let world = World::new();
    world.hypervisor.change(|script| *script = writing());
    let sums = format!(
        "post-processor \"checksum\" {{\n checksum_types = [\"sha256\"]\n output = \"{}\"\n}}\n",
        world.path("sums").display()
    );
    let outcome = run(&world, "", &format!("{sums}{CHECK}{}", sums.replace("sums\"", "later\""))).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    let specs = world.hypervisor.specs();
    assert_eq!(specs.len(), 2, "the build's machine, and one over its image");
    let image = world.path("out/web");
    let places: Vec<PathBuf> = specs.iter().map(|spec| spec.disks[0].path.clone()).collect();
    assert!(places[0].starts_with(world.path("out")) && places[1].starts_with(world.path("job")), "{places:?}");
    assert!(specs[1].floppy.is_none() && specs[1].cdroms.is_empty(), "nothing of the installation is there");
    let read = |name: &str| std::fs::read_to_string(world.path(name)).unwrap();
    assert_eq!(read("sums"), read("later"), "the image is as it was");
    assert!(image.is_file());
    assert!(world.guest.commands().iter().any(|command| command.contains("/tmp/check.sh")));
    world.assert_nothing_is_held("a verified build");
}

/// A guest with a raw disk, which writes there what QEMU would take for an overlay of `secret`; `seen` is what the disk of the verifying guest
/// begins with.
fn planting(secret: PathBuf, seen: Arc<Mutex<Vec<u8>>>) -> FakeScript {
    FakeScript {
        on_resume: Some(Arc::new(move |spec| {
            let (disk, planted) = (&spec.disks[0].path, secret.with_file_name("planted"));
            if disk.starts_with(secret.with_file_name("out")) {
                create_overlay(&planted, &secret, Format::Raw, None).unwrap();
                std::fs::copy(&planted, disk).unwrap();
            } else {
                let mut sector = vec![0; 512];
                let reader = open(disk, Some(Format::Qcow2), &OpenPolicy::allow_any()).unwrap();
                reader.read_at(0, &mut sector).unwrap();
                *seen.lock().unwrap() = sector;
            }
        })),
        ..FakeScript::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_writes_into_a_raw_disk_leads_to_no_file_of_this_machine() {
    let world = World::new();
    std::fs::write(world.path("secret"), [b's'; 1 << 20]).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    world.hypervisor.change(|script| *script = planting(world.path("secret"), seen.clone()));
    let register = "post-processor \"kiln-image\" {\n image_name = \"planted-by-a-test\"\n}\n";
    let outcome = run(&world, "format = \"raw\"", &format!("{CHECK}{register}")).await;
    let text = world.text();
    assert!(text.contains("is verified, and as it was"), "{text}");
    let sector = seen.lock().unwrap().clone();
    assert!(sector.starts_with(b"QFI\xfb"), "the guest finds its own bytes: {:?}", &sector[..16]);
    // No later build is given it.
    assert_eq!(outcome.exit_code, 1);
    assert!(text.contains("its guest has made it look like qcow2"), "{text}");
    world.assert_nothing_is_held("a build with a planted header");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_does_not_pass_fails_the_build_and_stays() {
    let world = World::new();
    world.guest.on_command("PACKER_BUILD_NAME", Answer::code(4));
    let outcome = run(&world, "", CHECK).await;
    assert_eq!(outcome.exit_code, 1);
    let text = world.text();
    assert!(text.contains("the image does not pass: ") && text.contains('4'), "{text}");
    assert_eq!(world.files("out"), ["web"]);
    world.assert_nothing_is_held("a build that did not pass");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_builders_are_refused_before_anything_is_made() {
    let world = World::new();
    let target = world.path("note");
    let template = format!(
        "source \"file\" \"note\" {{\n content = \"abc\"\n target = {target:?}\n}}\nbuild {{\n sources = [\"file.note\"]\n{CHECK}}}\n"
    );
    let outcome = world.run(&template).await;
    assert_eq!(outcome.exit_code, 1);
    assert!(
        world.text().contains("verify boots images of the builder qemu, and this one is of file"),
        "{}",
        world.text()
    );
    assert!(!target.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_that_are_cancelled_in_the_middle_leave_the_image_and_nothing_else() {
    let world = World::new();
    world.guest.on_command("PACKER_BUILD_NAME", Answer::Hang);
    let cancelling = async {
        let until = std::time::Instant::now() + Duration::from_secs(60);
        while !world.guest.commands().iter().any(|command| command.contains("PACKER_BUILD_NAME")) {
            assert!(std::time::Instant::now() < until, "the checks are never begun: {}", world.text());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.control.cancel();
    };
    let (outcome, ()) = tokio::join!(run(&world, "", CHECK), cancelling);
    assert!(outcome.cancelled, "{}", world.text());
    assert_eq!(world.files("out"), ["web"]);
    world.assert_nothing_is_held("checks that were cancelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_that_take_too_long_are_ended_and_leave_the_image() {
    let world = World::new();
    world.guest.on_command("PACKER_BUILD_NAME", Answer::Hang);
    let outcome = run(&world, "", &CHECK.replace("skip_clean = true", "verify_timeout = \"1s\"")).await;
    assert_eq!(outcome.exit_code, 1);
    let text = world.text();
    assert!(text.lines().any(|line| line.contains("the image does not pass: ") && line.contains("1s")), "{text}");
    assert_eq!(world.files("out"), ["web"]);
    world.assert_nothing_is_held("checks that took too long");
}
