//! Further disks of a machine: written as the main one is, under names of their own, or part of its package.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_builder::JobOutcome;
use kiln_disk_formats::{
    ConvertOptions, Format, NoProgress, OpenPolicy, Output, OutputKind, convert, create_overlay, image_info, open,
};
use kiln_hypervisors::fake::{FakeHypervisor, FakeScript};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::World;

/// The bytes that the guest has written to each of its disks, and how large the disk is.
const WRITTEN: usize = 1 << 20;
const DISK: u64 = 8 << 20;

/// What the guest writes: it packs well, and differs from disk to disk.
fn content(number: u8) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..WRITTEN).map(|at| if at % 7 == 0 { number } else { b'x' }).collect();
    bytes.resize(usize::try_from(DISK).unwrap(), 0);
    bytes
}

/// A world whose guest writes to three disks, with waste in between as disks in use have it.
fn world() -> World {
    let mut world = World::new();
    let script = FakeScript {
        on_resume: Some(Arc::new(|spec| {
            for (disk, number) in spec.disks.iter().zip(1..) {
                let raw = disk.path.with_extension("content");
                std::fs::write(&raw, content(number)).unwrap();
                if disk.format.as_str() == "raw" {
                    std::fs::rename(&raw, &disk.path).unwrap();
                    continue;
                }
                let reader = open(&raw, Some(Format::Raw), &OpenPolicy::deny()).unwrap();
                let mut options = ConvertOptions::default();
                options.overwrite = true;
                convert(&*reader, &[Output::new(&disk.path, OutputKind::qcow2())], &options, &NoProgress).unwrap();
                std::fs::remove_file(&raw).unwrap();
                // A leaked cluster, as a crash of QEMU leaves it; compacting drops it.
                let file = std::fs::OpenOptions::new().write(true).open(&disk.path).unwrap();
                file.set_len(file.metadata().unwrap().len() + WASTE).unwrap();
            }
        })),
        ..FakeScript::default()
    };
    world.hypervisor = FakeHypervisor::in_place_of("qemu", script);
    world
}

/// Bytes of a working disk that nothing refers to.
const WASTE: u64 = 32 << 20;

async fn build(world: &World, options: &str) {
    let options = format!("disk_additional_size = [\"8M\", \"8M\"]\n{options}");
    // The main disk has its size from the template of the world, which is smaller than what is written.
    let template = world.template(&options, "").replace("disk_size        = \"1M\"", "disk_size        = \"8M\"");
    let outcome = world.run(&template).await;
    assert_eq!(outcome, JobOutcome { exit_code: 0, cancelled: false }, "{}", world.text());
}

fn read(path: &Path, format: Format) -> Vec<u8> {
    let policy = OpenPolicy::allow_below(vec![path.parent().unwrap().to_owned()]);
    let reader = open(path, Some(format), &policy).unwrap();
    let mut bytes = vec![0; usize::try_from(reader.virtual_size()).unwrap()];
    reader.read_at(0, &mut bytes).unwrap();
    bytes
}

fn assert_contents(world: &World, names: [&str; 3], format: Format) {
    for (name, number) in names.into_iter().zip(1..) {
        assert!(read(&world.path("out").join(name), format) == content(number), "{name}");
    }
}

fn length(world: &World, name: &str) -> u64 {
    std::fs::metadata(world.path("out").join(name)).unwrap().len()
}

const NAMES: [&str; 3] = ["web", "web-1", "web-2"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_disks_are_compacted_and_packed_alike() {
    let plain = world();
    build(&plain, "").await;
    assert_contents(&plain, NAMES, Format::Qcow2);
    let packed = world();
    build(&packed, "disk_compression = true").await;
    assert_contents(&packed, NAMES, Format::Qcow2);
    for name in NAMES {
        assert!(length(&plain, name) < WASTE, "{name} has {} bytes", length(&plain, name));
        assert!(length(&packed, name) < length(&plain, name) / 2, "{name}");
    }
    assert_eq!(plain.files("out"), NAMES);
    assert_eq!(packed.files("out"), NAMES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn skipping_compaction_leaves_all_as_the_guest_wrote_them_unless_they_are_to_be_packed() {
    let left = world();
    build(&left, "skip_compaction = true").await;
    assert_contents(&left, NAMES, Format::Qcow2);
    let packed = world();
    build(&packed, "skip_compaction = true\ndisk_compression = true").await;
    assert_contents(&packed, NAMES, Format::Qcow2);
    for name in NAMES {
        assert!(length(&left, name) > WASTE && length(&packed, name) < WASTE, "{name}");
    }
    let raw = world();
    build(&raw, "format = \"raw\"").await;
    assert_contents(&raw, NAMES, Format::Raw);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_formats_hold_all_disks_each_in_its_own_file_or_in_the_package() {
    let images = world();
    build(&images, "format = \"vhd\"").await;
    assert_contents(&images, ["web.vhd", "web-1.vhd", "web-2.vhd"], Format::Vhd);
    assert_eq!(images.files("out"), ["web-1.vhd", "web-2.vhd", "web.vhd"]);
    let package = world();
    build(&package, "format = \"ovf\"").await;
    let disks = ["web-disk1.vmdk", "web-disk2.vmdk", "web-disk3.vmdk"];
    assert_contents(&package, disks, Format::Vmdk);
    let files = package.files("out");
    assert!(files.iter().all(|file| !file.starts_with('.') && file != "web-1"), "{files:?}");
}

/// An image with a disk of one MiB, all `b`.
pub(super) fn backing(world: &World) -> PathBuf {
    let (raw, image) = (world.path("base.raw"), world.path("base.qcow2"));
    std::fs::write(&raw, vec![b'b'; 1 << 20]).unwrap();
    let reader = open(&raw, Some(Format::Raw), &OpenPolicy::deny()).unwrap();
    convert(&*reader, &[Output::new(&image, OutputKind::qcow2())], &ConvertOptions::default(), &NoProgress).unwrap();
    image
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backing_file_stays_one_unless_the_disk_is_to_be_packed() {
    for (options, stays) in [("", true), ("disk_compression = true", false)] {
        let world = World::new();
        let image = backing(&world);
        let source = format!("disk_image = true\nuse_backing_file = true\ndisk_additional_size = [\"1M\"]\n{options}");
        let template = world.template(&source, "").replace("installer.iso", "base.qcow2");
        let template = template.replace("disk_size        = \"1M\"", "disk_size        = \"4M\"");
        let outcome = world.run(&template).await;
        assert_eq!(outcome.exit_code, 0, "{}", world.text());
        let path = world.path("out").join("web");
        let reader = open(&path, Some(Format::Qcow2), &OpenPolicy::allow_any()).unwrap();
        let mut bytes = vec![0; 4 << 20];
        reader.read_at(0, &mut bytes).unwrap();
        assert!(bytes[..1 << 20].iter().all(|&byte| byte == b'b') && bytes[1 << 20..].iter().all(|&byte| byte == 0));
        let alone = open(&path, Some(Format::Qcow2), &OpenPolicy::deny()).is_ok();
        assert_eq!(alone, !stays, "{options}");
        let info = image_info(&path, Some(Format::Qcow2), &OpenPolicy::allow_any()).unwrap();
        assert_eq!(info.virtual_size, 4 << 20, "resized");
        assert_eq!(std::fs::metadata(&image).unwrap().len() % 512, 0);
        assert!(read(&world.path("out").join("web-1"), Format::Qcow2).iter().all(|&byte| byte == 0));
    }
}

/// Serves `bytes` to whoever asks; the URL.
async fn serve(bytes: Vec<u8>) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/image.qcow2", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", bytes.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            if request[..length].starts_with(b"GET") {
                stream.write_all(&bytes).await.unwrap();
            }
        }
    });
    (url, serving)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_downloaded_image_names_no_file_of_this_host() {
    for options in ["", "use_backing_file = true"] {
        let world = World::new();
        let (secret, image) = (world.path("id_rsa"), world.path("stranger.qcow2"));
        std::fs::write(&secret, "private".repeat(100_000)).unwrap();
        create_overlay(&image, &secret, Format::Raw, Some(1 << 20)).unwrap();
        let (url, serving) = serve(std::fs::read(&image).unwrap()).await;
        let template = world.template(&format!("disk_image = true\n{options}"), "");
        let here = format!("{}/installer.iso", world.directory.path().display());
        let outcome = world.run(&template.replace(&here, &url)).await;
        serving.abort();
        assert_eq!(outcome.exit_code, 1, "{}", world.text());
        let told = format!("{:?}", world.events.lock().unwrap());
        assert!(told.contains("id_rsa") && told.contains("a downloaded image must be whole"), "{told}");
        world.assert_nothing_left("an image that names a file");
    }
}

/// Builds from the image `name` of this machine; the exit code.
async fn build_from(world: &World, name: &str, options: &str) -> u8 {
    let template = world.template(&format!("disk_image = true\n{options}"), "").replace("installer.iso", name);
    world.run(&template).await.exit_code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_wrote_to_a_raw_disk_leads_the_next_one_to_no_file_of_this_host() {
    for options in ["", "use_backing_file = true"] {
        // The first guest has put an image's header onto its raw disk, over a file in the same directory or anywhere.
        for place in ["id_rsa", "elsewhere/id_rsa", "elsewhere/disk.qcow2"] {
            let world = World::new();
            std::fs::create_dir_all(world.path("elsewhere")).unwrap();
            std::fs::create_dir(world.path("built")).unwrap();
            let named = world.path(place);
            match place.ends_with(".qcow2") {
                true => drop(std::fs::copy(backing(&world), &named).unwrap()),
                false => std::fs::write(&named, "private".repeat(100_000)).unwrap(),
            }
            let image = if place == "id_rsa" { "base.raw" } else { "built/base.raw" };
            let format = if place.ends_with(".qcow2") { Format::Qcow2 } else { Format::Raw };
            std::fs::remove_file(world.path("base.raw")).ok();
            create_overlay(&world.path(image), &named, format, Some(1 << 20)).unwrap();
            assert_eq!(build_from(&world, image, options).await, 1, "{place}: {}", world.text());
            let told = format!("{:?}", world.events.lock().unwrap());
            assert!(told.contains("may be the raw disk of a guest"), "{place}: {told}");
            world.assert_nothing_left("a planted header");
        }
        // A disk over another beside it is what people have.
        let world = World::new();
        let base = backing(&world);
        create_overlay(&world.path("over.qcow2"), &base, Format::Qcow2, Some(1 << 20)).unwrap();
        assert_eq!(build_from(&world, "over.qcow2", options).await, 0, "{}", world.text());
        let mut bytes = vec![0; 1 << 20];
        let built = open(&world.path("out/web"), Some(Format::Qcow2), &OpenPolicy::allow_any()).unwrap();
        built.read_at(0, &mut bytes).unwrap();
        assert!(bytes.iter().all(|&byte| byte == b'b'));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_build_has_made_over_a_disk_elsewhere_is_one_to_begin_with() {
    let base = World::new();
    let (mut image, mut worlds) = (backing(&base), vec![base]);
    for _ in 0..3 {
        let world = World::new();
        // All are of one user, whose key signs the notes.
        let key = |world: &World| world.path("state/plan.key");
        if let Some(before) = worlds.last().filter(|before| key(before).exists()) {
            std::fs::create_dir_all(world.path("state")).unwrap();
            std::fs::copy(key(before), key(&world)).unwrap();
        }
        let template = world.template("disk_image = true\nuse_backing_file = true", "");
        let installer = world.path("installer.iso").display().to_string();
        let outcome = world.run(&template.replace(&installer, &image.display().to_string())).await;
        assert_eq!(outcome.exit_code, 0, "{}: {}", image.display(), world.text());
        // It goes with its note.
        image = world.path("moved");
        std::fs::rename(world.path("out/web"), &image).unwrap();
        worlds.push(world);
    }
    assert!(open(&image, Some(Format::Qcow2), &OpenPolicy::deny()).is_err(), "it lies over another");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_finish_leaves_none_of_the_disks() {
    let mut world = world();
    // The last disk is none any more: it cannot be written anew.
    let script = FakeScript {
        on_resume: Some(Arc::new(|spec| std::fs::write(&spec.disks[2].path, "no image").unwrap())),
        ..FakeScript::default()
    };
    world.hypervisor = FakeHypervisor::in_place_of("qemu", script);
    let template = world.template("disk_additional_size = [\"8M\", \"8M\"]\nformat = \"vhd\"", "");
    assert_eq!(world.run(&template).await.exit_code, 1, "{}", world.text());
    assert!(world.error().is_some());
    world.assert_nothing_left("a disk that is none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_qemuargs_name_where_the_image_is_to_be_becomes_the_image() {
    for (extra, wanted) in [
        ("", &["web"][..]),
        ("format = \"raw\"", &["web"]),
        ("skip_compaction = true", &["web"]),
        ("format = \"vmdk\"", &["web.vmdk"]),
        ("disk_compression = true\n disk_additional_size = [\"1M\"]", &["web", "web-1"]),
    ] {
        let world = World::new();
        let drive = "qemuargs = [[\"-drive\", \"file={{ .OutputDir }}/{{ .Name }},if=virtio\"]]";
        let template = world.template(&format!("{drive}\n {extra}"), "");
        assert_eq!(world.run(&template).await.exit_code, 0, "{extra}: {}", world.text());
        assert_eq!(world.files("out"), wanted, "{extra}");
    }
}
