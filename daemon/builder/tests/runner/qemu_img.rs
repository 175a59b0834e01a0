//! Images that the template has `qemu-img` make: the real program, with the template's arguments.

use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kiln_builder::JobOutcome;
use kiln_disk_formats::{Format, OpenPolicy, image_info};
use kiln_hypervisors::fake::{FakeHypervisor, FakeScript};

use super::World;

/// Tells whether the program is missing, visibly; a failure where all tools are required.
#[expect(clippy::print_stderr, reason = "tells what was not run")]
fn missing() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join("qemu-img").is_file()) {
        return false;
    }
    assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "the test needs qemu-img");
    eprintln!("ignored: needs qemu-img");
    true
}

/// The clusters of a qcow2 image, as powers of two: bytes 20 to 23 of its header.
fn cluster_bits(path: &Path) -> u32 {
    let mut header = [0; 24];
    std::fs::File::open(path).unwrap().read_exact(&mut header).unwrap();
    assert_eq!(header[..4], *b"QFI\xfb", "{}", path.display());
    u32::from_be_bytes(header[20..].try_into().unwrap())
}

fn virtual_size(path: &Path) -> u64 {
    image_info(path, Some(Format::Qcow2), &OpenPolicy::allow_any()).unwrap().virtual_size
}

/// A world whose machine notes the clusters of its disks when it starts.
fn noting() -> (World, Arc<Mutex<Vec<u32>>>) {
    let mut world = World::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let on_resume = move |spec: &kiln_hypervisors::MachineSpec| {
        noted.lock().unwrap().extend(spec.disks.iter().map(|disk| cluster_bits(&disk.path)));
    };
    let script = FakeScript { on_resume: Some(Arc::new(on_resume)), ..FakeScript::default() };
    world.hypervisor = FakeHypervisor::in_place_of("qemu", script);
    (world, seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disks_are_made_and_the_main_one_is_converted_as_the_template_wants() {
    if missing() {
        return;
    }
    let (world, seen) = noting();
    let options = r#"
      disk_additional_size = ["1M"]
      qemu_img_args {
        create  = ["-q", "-o", "cluster_size=4096"]
        convert = ["-m", "4", "-o", "cluster_size=1M"]
      }
    "#;
    let rest = "post-processor \"export\" {\n formats = [\"vmdk\"]\n}";
    let outcome = world.run(&world.template(options, rest)).await;
    assert_eq!(outcome, JobOutcome { exit_code: 0, cancelled: false }, "{}", world.text());
    assert_eq!(*seen.lock().unwrap(), [12, 12]);
    assert_eq!(world.files("out"), ["web", "web-1", "web.vmdk"]);
    let out = world.path("out");
    assert_eq!((cluster_bits(&out.join("web")), virtual_size(&out.join("web"))), (20, 1 << 20));
    assert_eq!(
        cluster_bits(&out.join("web-1")),
        16,
        "Packer converts the main disk only; Kiln writes the others itself"
    );
    assert!(world.text().contains("Converting hard drive..."));
    world.assert_nothing_is_held("images by qemu-img");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_over_another_has_the_templates_clusters_too() {
    if missing() {
        return;
    }
    let (world, seen) = noting();
    let base = super::disks::backing(&world);
    let options =
        "disk_image = true\nuse_backing_file = true\nqemu_img_args {\n create = [\"-o\", \"cluster_size=4096\"]\n}";
    let template = world.template(options, "").replace("installer.iso", "base.qcow2");
    let outcome = world.run(&template.replace("disk_size        = \"1M\"", "disk_size        = \"2M\"")).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert_eq!(*seen.lock().unwrap(), [12]);
    let disk = world.path("out").join("web");
    assert_eq!((cluster_bits(&disk), virtual_size(&disk)), (12, 2 << 20));
    assert!(kiln_disk_formats::open(&disk, Some(Format::Qcow2), &OpenPolicy::deny()).is_err(), "it lies over {base:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_asks_for_it_gets_a_smaller_disk() {
    if missing() {
        return;
    }
    for (resize, exit_code) in [("--shrink", 0), ("--preallocation=off", 1)] {
        let world = World::new();
        super::disks::backing(&world);
        let options = format!("disk_image = true\nqemu_img_args {{\n resize = [\"{resize}\"]\n}}");
        let template = world.template(&options, "").replace("installer.iso", "base.qcow2");
        let template = template.replace("disk_size        = \"1M\"", "disk_size        = \"512K\"");
        assert_eq!(world.run(&template).await.exit_code, exit_code, "{resize}: {}", world.text());
        if exit_code == 0 {
            assert_eq!(virtual_size(&world.path("out").join("web")), 512 << 10);
        } else {
            world.assert_nothing_left(resize);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_does_not_take_is_told_in_its_words_and_nothing_is_left() {
    if missing() {
        return;
    }
    for command in ["create", "convert"] {
        let world = World::new();
        let options = format!("qemu_img_args {{\n {command} = [\"-o\", \"cluster_size=3\"]\n}}");
        let outcome = world.run(&world.template(&options, "")).await;
        assert_eq!(outcome, JobOutcome { exit_code: 1, cancelled: false }, "{command}: {}", world.text());
        let error = world.error().unwrap();
        assert!(error.contains(&format!("`qemu-img {command} ")) && error.contains("luster size"), "{error}");
        world.assert_nothing_left(command);
    }
}

/// A conversion that takes for ever ends with the job, and so does what it has written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_conversion_leaves_nothing() {
    if missing() {
        return;
    }
    let mut world = World::new();
    // What cannot be packed into little, for a conversion of a byte a second.
    let on_resume = |spec: &kiln_hypervisors::MachineSpec| {
        let bytes: Vec<u8> = (0..16_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 | 1).collect();
        let raw = spec.disks[0].path.with_extension("content");
        std::fs::write(&raw, bytes).unwrap();
        let mut convert = std::process::Command::new("qemu-img");
        convert.args(["convert", "-f", "raw", "-O", "qcow2"]).arg(&raw).arg(&spec.disks[0].path);
        assert!(convert.status().unwrap().success());
        std::fs::remove_file(&raw).unwrap();
    };
    let script = FakeScript { on_resume: Some(Arc::new(on_resume)), ..FakeScript::default() };
    world.hypervisor = FakeHypervisor::in_place_of("qemu", script);
    let template = world.template("qemu_img_args {\n convert = [\"-S\", \"4k\", \"-r\", \"1\"]\n}", "");
    let part = world.path("out").join(".web.convert");
    let cancelling = async {
        while !part.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.control.cancel();
    };
    let (outcome, ()) = tokio::join!(world.run(&template), cancelling);
    assert_eq!(outcome, JobOutcome { exit_code: 1, cancelled: true }, "{}", world.text());
    world.assert_nothing_left("a conversion that was cancelled");
}
