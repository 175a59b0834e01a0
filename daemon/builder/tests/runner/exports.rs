//! The export post-processor: every format of the table, in the builder's pass over the disk and after it; and what is refused.

use std::path::Path;
use std::sync::{Arc, Mutex};

use kiln_builder::{Event, EventSink, JobOutcome, Sweep, run_job_with, sweep};
use kiln_disk_formats::{
    ContentDigest, ConvertOptions, EXPORT_WORDS, Format, FormatRow, NoProgress, OpenPolicy, content_digest,
    export_named, open,
};

use super::World;

/// The digest of the guest's disk in an image, or in the first disk of a package.
pub(super) fn guest_content(path: &Path, row: &FormatRow) -> ContentDigest {
    let directory = path.parent().unwrap();
    let mut entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    // Where a package is several files, its disk lies beside it.
    let of_vmx = |file: &Path| file.to_str().unwrap().ends_with("-vmx-disk1.vmdk");
    let disk = match row.name() {
        "vmx" => entries.find(|file| of_vmx(file)).unwrap(),
        "ovf" => entries.find(|file| file.to_str().unwrap().ends_with("-disk1.vmdk") && !of_vmx(file)).unwrap(),
        _ => path.to_owned(),
    };
    let policy = OpenPolicy::allow_below(vec![directory.to_owned()]);
    let reader = open(&disk, Some(row.disks), &policy).unwrap();
    content_digest(&*reader, &ConvertOptions::default(), &NoProgress).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_format_of_the_table_is_exported_in_the_builders_pass_and_after_it() {
    let world = World::new();
    // They would be one file.
    let words: Vec<&str> = EXPORT_WORDS.into_iter().filter(|word| *word != "qcow2-compressed").collect();
    let options = r#"{ "vhd:subformat" = "fixed", "vmdk:subformat" = "monolithicFlat", cluster_size = "128k" }"#;
    let later = world.path("later");
    let exports = format!(
        "post-processor \"export\" {{\n formats = {words:?}\n format_options = {options}\n file_name = \"w\"\n}}\n\
         post-processors {{\n post-processor \"manifest\" {{\n output = {manifest:?}\n }}\n post-processor \"export\" {{\n \
         formats = {words:?}\n format_options = {options}\n file_name = \"w\"\n output_directory = {later:?}\n }}\n}}\n",
        manifest = world.path("manifest.json"),
    );
    std::fs::create_dir(&later).unwrap();
    let outcome = world.run(&world.template("", &exports)).await;
    assert_eq!(outcome, JobOutcome { exit_code: 0, cancelled: false }, "{}", world.text());
    let wanted = guest_content(&world.path("out").join("web"), Format::Qcow2.row());
    for directory in [world.path("out"), later] {
        for word in &words {
            let (row, export) = export_named(word).unwrap();
            let path = directory.join(format!("w{}", export.ending));
            assert_eq!(guest_content(&path, row), wanted, "{word}");
            assert!(world.text().contains(&format!("Exported {}", path.display())), "{word}");
        }
        let flat = directory.join("w-flat.vmdk");
        assert!(flat.exists() && world.text().contains(&format!("Exported {}", flat.display())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_builder_leaves_its_disk_in_every_format_of_the_table() {
    let mut contents = Vec::new();
    for word in EXPORT_WORDS {
        let world = World::new();
        let outcome = world.run(&world.template(&format!("format = {word:?}"), "")).await;
        assert_eq!(outcome, JobOutcome { exit_code: 0, cancelled: false }, "{word}: {}", world.text());
        let (row, export) = export_named(word).unwrap();
        // Packer's formats have Packer's file name.
        let ending = if ["qcow2", "raw"].contains(&word) { "" } else { export.ending };
        contents.push((word, guest_content(&world.path("out").join(format!("web{ending}")), row)));
        let left: Vec<_> =
            std::fs::read_dir(world.path("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_str().unwrap().starts_with('.')), "{word}: {left:?}");
    }
    assert!(contents.iter().all(|(_, content)| *content == contents[0].1), "{contents:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_in_an_export_are_told_before_anything_is_done() {
    for (options, words) in [
        (r#"formats = ["vmkd"]"#, "vmkd"),
        (r#"formats = ["qcow2", "qcow2-compressed"]"#, "written over another"),
        (r#"formats = []"#, "at least one format"),
        ("formats = [\"vhd\"]\n format_options = { subformat = \"fixd\" }", "fixd"),
        ("formats = [\"vhd\"]\n format_options = { cluster_size = \"64k\" }", "cluster_size"),
        ("formats = [\"vhd\"]\n format_options = { \"vdi:subformat\" = \"fixed\" }", "vdi"),
    ] {
        let world = World::new();
        let template = world.template("", &format!("post-processor \"export\" {{\n {options}\n}}\n"));
        let outcome = world.run(&template).await;
        assert_eq!(outcome.exit_code, 1, "{options}");
        assert!(world.text().contains(words), "{options}: {}", world.text());
        assert!(world.hypervisor.specs().is_empty() && !world.path("out").exists(), "{options}");
    }
}

/// The second would be told the first one's file, or the machine's own disk would be replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_that_would_write_one_file_differently_are_refused_with_both_places() {
    let flat = r#"format_options = { subformat = "monolithicFlat" }"#;
    let export = |rest: &str| format!("post-processor \"export\" {{\n formats = [\"vmdk\"]\n {rest}\n}}\n");
    let late = |rest: &str| {
        format!(
            "post-processors {{\n post-processor \"shell-local\" {{\n inline = [\"true\"]\n }}\n {}}}\n",
            export(rest)
        )
    };
    let world = World::new();
    let out = format!("output_directory = \"{}/out/../out\"", world.path("").display());
    for (rest, words) in [
        (export("") + &export(flat), "web.vmdk would be written twice"),
        (export(flat) + &export(&format!("{out}\n file_name = \"web\"")), "web.vmdk would be written twice"),
        (export("") + &late(flat), "web.vmdk would be written twice"),
        (late("") + &late(flat), "web.vmdk would be written twice"),
        (
            export("file_name = \"x-${build.ID}\"") + &export(&format!("file_name = \"x-${{build.ID}}\"\n {flat}")),
            "twice",
        ),
        (export("file_name = \"machine\""), "machine.vmdk is a file of the machine itself"),
    ] {
        let template = world.template("", &rest);
        let is_own = words.contains("itself");
        let template = if is_own { template.replace("= \"web\"", "= \"machine.vmdk\"") } else { template };
        let outcome = world.run(&template).await;
        let text = world.text();
        assert!(outcome.exit_code == 1 && text.contains(words), "{rest}: {text}");
        assert!(is_own || text.contains("the other export"), "{rest}: {text}");
        assert!(world.hypervisor.specs().is_empty() && !world.path("out").exists(), "{rest}");
        world.events.lock().unwrap().clear();
    }
    // One file serves both when they say the same, and different names or formats are two files.
    for rest in [
        export(flat) + &export(flat),
        export("") + &export(&format!("file_name = \"w2\"\n {flat}")),
        export("") + &late(&format!("file_name = \"w-${{build.ID}}\"\n {flat}")),
    ] {
        let world = World::new();
        let outcome = world.run(&world.template("", &rest)).await;
        assert_eq!(outcome.exit_code, 0, "{rest}: {}", world.text());
    }
}

/// A path that only the running build knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_that_turn_out_to_be_one_file_fail_by_name() {
    let world = World::new();
    let flat = r#"format_options = { subformat = "monolithicFlat" }"#;
    let rest = format!(
        "post-processor \"export\" {{\n formats = [\"vmdk\"]\n file_name = \"x-${{build.ConnType}}\"\n}}\n\
         post-processors {{\n post-processor \"manifest\" {{\n output = {manifest:?}\n }}\n post-processor \"export\" {{\n \
         formats = [\"vmdk\"]\n file_name = \"x-ssh\"\n {flat}\n }}\n}}\n",
        manifest = world.path("manifest.json"),
    );
    let outcome = world.run(&world.template("", &rest)).await;
    let told = format!("two exports would write {} with different options", world.path("out/x-ssh.vmdk").display());
    assert!(outcome.exit_code == 1 && world.text().contains(&told), "{}", world.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_cannot_be_written_does_not_cost_the_image() {
    let world = World::new();
    let (free, blocked) = (world.path("a/b"), world.path("file"));
    std::fs::write(&blocked, "").unwrap();
    let export = |directory: &Path| {
        format!("post-processor \"export\" {{\n formats = [\"raw\"]\n output_directory = {directory:?}\n }}\n")
    };
    let outcome = world.run(&world.template("", &format!("{}{}", export(&free), export(&blocked)))).await;
    assert_eq!(outcome, JobOutcome { exit_code: 1, cancelled: false });
    let text = world.text();
    assert!(text.contains("The exports failed, the image is written without them: "), "{text}");
    let error = world.error().unwrap();
    assert!(error.starts_with("1 error(s) occurred:") && error.contains(&*blocked.to_string_lossy()), "{error}");
    assert_eq!(world.files("out"), ["web"], "{text}");
    assert_eq!(world.files("a/b"), ["web.raw"], "its directory is made, as Packer's post-processors make theirs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_in_place_of_a_file_of_others_is_refused_before_the_guest_starts() {
    let mut world = World::new();
    let place = world.path("dist");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("web.raw"), "precious").unwrap();
    let export = format!("post-processor \"export\" {{\n formats = [\"raw\"]\n output_directory = {place:?}\n }}\n");
    assert_eq!(world.run(&world.template("", &export)).await.exit_code, 1);
    let error = world.error().unwrap();
    assert!(error.contains("dist/web.raw: the file exists already"), "{error}");
    assert!(world.hypervisor.calls().is_empty());
    world.assert_nothing_left("a refused export");
    assert_eq!(std::fs::read_to_string(place.join("web.raw")).unwrap(), "precious");
    world.force = true;
    assert_eq!(world.run(&world.template("", &export)).await.exit_code, 0, "{}", world.text());
    assert_ne!(std::fs::read(place.join("web.raw")).unwrap(), b"precious");
}

/// The image is published before the package is, which then fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_of_several_disks_that_cannot_be_written_does_not_cost_the_image() {
    let world = World::new();
    let place = world.path("dist");
    // A directory is where the package is to be.
    std::fs::create_dir_all(place.join("web.ova/x")).unwrap();
    let export =
        format!("post-processor \"export\" {{\n formats = [\"raw\", \"ova\"]\n output_directory = {place:?}\n }}\n");
    let template = world.template("disk_additional_size = [\"1M\"]", &export);
    assert_eq!(world.run(&template).await.exit_code, 1);
    assert_eq!(world.files("out"), ["web", "web-1"], "{}", world.text());
    assert!(world.error().unwrap().contains("web.ova"), "{:?}", world.error());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_is_no_pc_goes_into_no_package() {
    for (formats, refused) in [("[\"vmdk\", \"ova\"]", true), ("[\"vmdk\"]", false)] {
        let world = World::new();
        let export = format!("post-processor \"export\" {{\n formats = {formats}\n}}\n");
        let template = world.template("qemu_binary = \"qemu-system-s390x\"", &export);
        let validation =
            kiln_builder::validate(&world.check_request(&template), &world.path("cache"), kiln_builder::Wanted::Both);
        let told: String = validation.problems.into_iter().map(|problem| problem.text).collect();
        assert_eq!(told.contains("No package for this machine"), refused, "{told}");
    }
}

/// What the job's ledger says is held while the export is written to `place`.
fn held_meanwhile(world: &World) -> (EventSink, Arc<Mutex<String>>) {
    let seen: Arc<Mutex<String>> = Arc::default();
    let (told, ledger, kept) = (world.sink(), world.path("job/resources.ndjson"), Arc::clone(&seen));
    let sink: EventSink = Arc::new(move |event| {
        if matches!(&event, Event::Progress { what, .. } if what == "export the disk") {
            *kept.lock().unwrap() = std::fs::read_to_string(&ledger).unwrap();
        }
        told(event);
    });
    (sink, seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_worker_would_leave_of_an_export_elsewhere_is_in_the_ledger() {
    let mut world = World::new();
    world.force = true;
    let place = world.path("dist");
    std::fs::create_dir(&place).unwrap();
    // It is replaced, for which the new one has a name of its own.
    std::fs::write(place.join("web.raw"), "old").unwrap();
    let export =
        format!("post-processor \"export\" {{\n formats = [\"raw\", \"vmdk\"]\n output_directory = {place:?}\n }}\n");
    let (sink, seen) = held_meanwhile(&world);
    let request = world.request(world.check_request(&world.template("", &export)));
    let job = run_job_with(request, sink, world.control.clone(), world.backends());
    assert_eq!(world.to_its_end(job).await.exit_code, 0, "{}", world.text());
    let held = seen.lock().unwrap().clone();
    let noted =
        |name: &str| held.contains(&format!("{{\"held\":true,\"kind\":\"file\",\"path\":\"{}/{name}", place.display()));
    assert!(noted(".kiln-") && held.contains(".partial\""), "{held}");
    // A new file is the build's until that is whole; one of others is not, whatever becomes of it.
    assert!(noted("web.vmdk\"") && !noted("web.raw\""), "{held}");
    assert_eq!(sweep(&world.path("job")).unwrap(), Sweep::default());
    assert_eq!(world.files("dist"), ["web.raw", "web.vmdk"]);
}
