//! `kiln convert` and `kiln image` as commands, with qemu-img as the judge.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use kiln_tests::{Home, root, tool};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const WAIT: Duration = Duration::from_secs(60);

/// A home with `disk.raw`: 64 MiB with data at the front, in the middle and in the last sector. Nothing without qemu-img.
pub(crate) fn home() -> Option<Home> {
    if !tool("qemu-img") {
        return None;
    }
    let home = Home::new();
    let mut file = std::fs::File::create(home.work("disk.raw")).unwrap();
    file.set_len(64 << 20).unwrap();
    for (offset, length) in [(0u64, 1_000_000), (20 << 20, 3_000_000), ((64 << 20) - 512, 512)] {
        let bytes: Vec<u8> = (0..length).map(|index: u64| ((index * index + offset) >> 3) as u8 | 1).collect();
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(&bytes).unwrap();
    }
    Some(home)
}

#[track_caller]
pub(crate) fn qemu_img(home: &Home, arguments: &[&str]) -> String {
    let output = Command::new("qemu-img").args(arguments).current_dir(home.work("")).output().unwrap();
    assert!(output.status.success(), "qemu-img {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn jobs(home: &Home) -> Vec<Value> {
    home.get("/v1/jobs").and_then(|list| list["jobs"].as_array().cloned()).unwrap_or_default()
}

/// Waits until the newest job has told progress, so that its worker is in the midst of its work; returns its process.
fn wait_for_progress(home: &Home) -> Pid {
    let number = home.wait_for("progress", WAIT, || {
        let id = jobs(home).first()?["id"].as_str()?.to_owned();
        let output = home.curl(&[&format!("/v1/jobs/{id}/events")]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let events: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let moves = events.iter().any(|event| event["kind"] == "progress");
        events.iter().find(|event| moves && event["kind"] == "job_started")?["pid"].as_u64()
    });
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

/// Starts a conversion that cannot end: nobody takes what it writes to standard output, and a pipe holds 1 MiB at most.
fn endless(home: &Home) -> std::process::Child {
    let mut command = home.command("kiln");
    command.args(["convert", "disk.raw", "-O", "raw", "-", "beside.raw"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[track_caller]
fn assert_nothing_is_left(home: &Home, names: &[&str]) {
    home.wait_for("the end of all processes", WAIT, || home.leftovers().processes.is_empty().then_some(()));
    assert!(home.leftovers().is_empty(), "{:?}", home.leftovers());
    let mut found: Vec<_> = std::fs::read_dir(home.work(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, names);
    let fifos = std::fs::read_dir(home.path().join("run")).unwrap().count();
    assert_eq!(fifos, 1, "the daemon's directory and nothing else");
}

#[test]
fn azures_command_is_taken_and_a_size_that_azure_refuses_is_told() {
    let Some(home) = home() else { return };
    let command = ["convert", "-f", "raw", "-o", "subformat=fixed,force_size", "-O", "vpc"];
    let ran = home.kiln(command.into_iter().chain(["disk.raw", "whole.vhd"])).expect(0);
    assert!(!ran.stderr.contains("Warning"), "{}", ran.stderr);
    assert_eq!(std::fs::metadata(home.work("whole.vhd")).unwrap().len(), (64 << 20) + 512);
    let file = std::fs::File::options().write(true).open(home.work("disk.raw")).unwrap();
    file.set_len((63 << 20) + 512).unwrap();
    let ran = home.kiln(command.into_iter().chain(["disk.raw", "odd.vhd"])).expect(0);
    let warning = "Warning: odd.vhd: the disk of 66060800 bytes is no whole number of MiB, and Azure takes no such VHD";
    assert!(ran.stderr.contains(warning) && ran.stderr.contains("67108864"), "{}", ran.stderr);
    let ran = home.kiln(["convert", "-q", "disk.raw", "quiet.vhd"]).expect(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    home.kiln(["convert", "-o", "force_size=off", "disk.raw", "none.vhd"]).expect(1);
    assert!(!home.work("none.vhd").exists());
}

#[test]
fn one_conversion_writes_many_formats_that_qemu_img_finds_equal() {
    let Some(home) = home() else { return };
    let outputs = ["a.qcow2", "b.vmdk", "c.vhdx", "d.vdi"];
    let ran = home.kiln(
        ["convert", "--json", "-c", "-o", "b.vmdk:subformat=streamOptimized", "--digests", "all", "disk.raw"]
            .into_iter()
            .chain(outputs),
    );
    let result: Value = serde_json::from_str(&ran.expect(0).stdout).unwrap();
    for (index, name) in outputs.iter().enumerate() {
        let compared = qemu_img(&home, &["compare", "-f", "raw", "disk.raw", name]);
        assert!(compared.contains("identical"), "{compared}");
        let sum = Command::new("sha256sum").arg(home.work(name)).output().unwrap().stdout;
        let file = &result["files"][index];
        assert_eq!(file["filename"], *name);
        assert!(String::from_utf8(sum).unwrap().starts_with(file["sha256"].as_str().unwrap()));
        assert_eq!(file["size"], home.work(name).metadata().unwrap().len());
    }
    // The digest is of the content, whatever holds it.
    let again = home.kiln(["convert", "--json", "b.vmdk", "e.vhd", "-o", "subformat=fixed"]).expect(0);
    let again: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(again["disks"][0]["content-digest"], result["disks"][0]["content-digest"]);
    assert!(home.leftovers().is_empty(), "{:?}", home.leftovers());
}

#[test]
fn a_backing_file_is_followed_below_the_images_directory_only() {
    let Some(home) = home() else { return };
    std::fs::create_dir(home.work("sub")).unwrap();
    qemu_img(&home, &["create", "-q", "-f", "qcow2", "-b", "disk.raw", "-F", "raw", "over.qcow2"]);
    qemu_img(&home, &["create", "-q", "-f", "qcow2", "-b", "../disk.raw", "-F", "raw", "sub/over.qcow2"]);
    let ran = home.kiln(["image", "info", "--json", "--backing-chain", "over.qcow2"]).expect(0);
    let chain: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&chain[0]["backing-filename"], &chain[1]["format"]), (&"disk.raw".into(), &"raw".into()));
    home.kiln(["image", "compare", "over.qcow2", "disk.raw"]).expect(0);
    let ran = home.kiln(["convert", "sub/over.qcow2", "out.raw"]).expect(1);
    assert!(ran.stderr.contains("../disk.raw") && ran.stderr.contains("--allow-backing DIR"), "{}", ran.stderr);
    assert!(!home.work("out.raw").exists());
    home.kiln(["convert", "--allow-backing", ".", "sub/over.qcow2", "out.raw"]).expect(0);
    assert!(qemu_img(&home, &["compare", "-f", "raw", "-F", "raw", "disk.raw", "out.raw"]).contains("identical"));
    // Named by a node's options: the same rules, and the chain goes on.
    let node = r#"json:{"driver":"raw","file":{"driver":"file","filename":"disk.raw"}}"#;
    for (name, node) in [("node.qcow2", node.to_owned()), ("sub/node.qcow2", node.replace("disk.raw", "../disk.raw"))] {
        qemu_img(&home, &["create", "-q", "-u", "-f", "qcow2", "-b", &node, "-F", "raw", name, "64M"]);
    }
    home.kiln(["image", "compare", "node.qcow2", "disk.raw"]).expect(0);
    let ran = home.kiln(["image", "info", "--json", "--backing-chain", "node.qcow2"]).expect(0);
    let chain: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&chain[0]["full-backing-filename"], &chain[1]["filename"]), (&node.into(), &"disk.raw".into()));
    let ran = home.kiln(["image", "compare", "sub/node.qcow2", "disk.raw"]).expect(2);
    assert!(ran.stderr.contains("--allow-backing DIR"), "{}", ran.stderr);
    home.kiln(["image", "compare", "--allow-backing", ".", "sub/node.qcow2", "disk.raw"]).expect(0);
}

#[test]
fn comparisons_exit_as_qemu_imgs_and_name_the_first_difference() {
    let Some(home) = home() else { return };
    home.kiln(["convert", "disk.raw", "same.vdi"]).expect(0);
    let ran = home.kiln(["image", "compare", "disk.raw", "same.vdi"]).expect(0);
    assert_eq!(ran.stdout, "Images are identical.\n");
    std::fs::copy(home.work("disk.raw"), home.work("other.raw")).unwrap();
    let mut other = std::fs::OpenOptions::new().write(true).open(home.work("other.raw")).unwrap();
    other.seek(SeekFrom::Start(20_971_777)).unwrap();
    other.write_all(&[0]).unwrap();
    let ran = home.kiln(["image", "compare", "same.vdi", "other.raw"]).expect(1);
    assert_eq!(ran.stdout, "Content mismatch at offset 20971777!\n");
    let ran = home.kiln(["image", "compare", "none", "nothing"]).expect(2);
    assert!(ran.stderr.contains("none") && ran.stderr.contains("nothing"), "all that is wrong: {}", ran.stderr);
    home.kiln(["image", "compare", "one"]).expect(2);
    // Larger, but with nothing more than zeroes: the same unless asked strictly.
    other.write_all(&[]).unwrap();
    std::fs::copy(home.work("disk.raw"), home.work("other.raw")).unwrap();
    other.set_len(65 << 20).unwrap();
    home.kiln(["image", "compare", "-f", "raw", "-F", "raw", "disk.raw", "other.raw"]).expect(0);
    home.kiln(["image", "compare", "-s", "-f", "raw", "-F", "raw", "disk.raw", "other.raw"]).expect(1);
}

#[test]
fn packages_hold_the_machine_that_was_described_and_are_verified() {
    let Some(home) = home() else { return };
    home.write("eula.txt", "Be nice.");
    let line = "convert disk.raw --disk disk.raw --name web --cpus 2 --memory 2G --firmware efi --nic virtio:lan --bus nvme \
                --product Web --vendor ACME --product-version 7 --eula eula.txt -o manifest=sha1 web.ovf";
    home.kiln(line.split_whitespace()).expect(0);
    let ovf = std::fs::read_to_string(home.work("web.ovf")).unwrap();
    for word in ["2048", "ACME", "Be nice.", "web-disk2.vmdk"] {
        assert!(ovf.contains(word), "{word}: {ovf}");
    }
    let ran = home.kiln(["image", "verify", "web.ovf"]).expect(0);
    assert_eq!(ran.stdout.lines().filter(|line| line.starts_with("OK ") && line.ends_with("(SHA1)")).count(), 3);
    let mut disk = std::fs::OpenOptions::new().write(true).open(home.work("web-disk2.vmdk")).unwrap();
    disk.seek(SeekFrom::Start(70_000)).unwrap();
    disk.write_all(b"damage").unwrap();
    let ran = home.kiln(["image", "verify", "web.mf"]).expect(1);
    assert!(ran.stdout.contains("FAILED web-disk2.vmdk"), "{}", ran.stdout);
}

#[test]
fn standard_output_takes_an_image() {
    let Some(home) = home() else { return };
    for format in ["raw", "qcow2"] {
        let file = std::fs::File::create(home.work("piped")).unwrap();
        let mut command = home.command("kiln");
        let status = command.args(["convert", "disk.raw", "-O", format, "-"]).stdout(file).status().unwrap();
        assert!(status.success());
        let compared = qemu_img(&home, &["compare", "-f", "raw", "-F", format, "disk.raw", "piped"]);
        assert!(compared.contains("identical"), "{compared}");
    }
    std::fs::remove_file(home.work("piped")).unwrap();
    assert_nothing_is_left(&home, &["disk.raw"]);
}

#[test]
fn a_reader_that_goes_away_ends_the_conversion() {
    let Some(home) = home() else { return };
    let mut child = endless(&home);
    wait_for_progress(&home);
    drop(child.stdout.take());
    assert!(!child.wait().unwrap().success());
    assert_nothing_is_left(&home, &["disk.raw"]);
}

/// What goes wrong behind standard output, and what goes wrong before anything comes, is told each time.
#[test]
fn failures_with_standard_output_are_told() {
    let Some(home) = home() else { return };
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = home.command("kiln").args(["convert", "disk.raw", "-O", "qcow2", "-"]).stdout(full).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("cannot write to standard output") && said.contains("No space left"), "{said}");
    for _ in 0..5 {
        let ran = home.kiln(["convert", "missing.raw", "-O", "raw", "-"]).expect(1);
        assert!(ran.stderr.contains("missing.raw"), "{ran:?}");
    }
}

#[test]
fn ctrl_c_cancels_a_conversion() {
    let Some(home) = home() else { return };
    let child = endless(&home);
    wait_for_progress(&home);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert_nothing_is_left(&home, &["disk.raw"]);
    assert!(jobs(&home)[0]["finished_at"].is_string());
}

#[test]
fn a_killed_worker_leaves_nothing_and_is_told() {
    let Some(home) = home() else { return };
    let child = endless(&home);
    kill_process(wait_for_progress(&home), Signal::KILL).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("the worker was killed"), "{stderr}");
    assert_nothing_is_left(&home, &["disk.raw"]);
}

#[test]
fn a_killed_daemon_does_not_stop_a_conversion() {
    let Some(home) = home() else { return };
    let mut child = endless(&home);
    wait_for_progress(&home);
    let daemon = home.daemon_pid().expect("the daemon runs");
    kill_process(Pid::from_raw(i32::try_from(daemon).unwrap()).unwrap(), Signal::KILL).unwrap();
    // Now somebody reads: all of it comes, and the client learns of the end from the next daemon.
    let mut image = Vec::new();
    std::io::Read::read_to_end(&mut child.stdout.take().unwrap(), &mut image).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(image == std::fs::read(home.work("disk.raw")).unwrap());
    assert_ne!(home.daemon_pid(), Some(daemon));
    let id = jobs(&home)[0]["id"].as_str().unwrap().to_owned();
    let ran = home.kiln(["attach", &id]).expect(0);
    assert!(ran.stdout.contains("beside.raw: 64 MiB"), "{}", ran.stdout);
    assert_nothing_is_left(&home, &["beside.raw", "disk.raw"]);
    assert!(home.work("beside.raw").metadata().unwrap().blocks() * 512 < 16 << 20, "holes stay holes");
}

/// Needs root, for a small file system.
#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let Some(home) = home() else { return };
    if !root() {
        return;
    }
    std::fs::create_dir(home.work("small")).unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=2m", "tmpfs"];
    assert!(Command::new("mount").args(mount).arg(home.work("small")).status().unwrap().success());
    let ran = home.kiln(["convert", "disk.raw", "beside.vmdk", "small/a.raw"]);
    let left = std::fs::read_dir(home.work("small")).unwrap().count();
    assert!(Command::new("umount").arg(home.work("small")).status().unwrap().success());
    let ran = ran.expect(1);
    assert!(ran.stderr.contains("no space left") && ran.stderr.contains("small/a.raw"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: free some space"), "{}", ran.stderr);
    assert_eq!(left, 0);
    assert!(!home.work("beside.vmdk").exists(), "all outputs or none");
}

#[test]
fn mistakes_are_named_all_at_once_with_what_to_do() {
    let Some(home) = home() else { return };
    qemu_img(&home, &["convert", "-f", "raw", "-O", "qcow2", "disk.raw", "disk.qcow2"]);
    home.write("there.vmdk", "precious");
    let cases: [(&str, &[&str]); 9] = [
        ("convert none.raw out.vmkd", &["none.raw: no such file", "out.vmkd does not say", "-O FORMAT"]),
        ("convert disk.raw there.vmdk", &["there.vmdk: the file exists already", "`--force`"]),
        ("convert --force disk.raw disk.raw", &["the destination is also a source"]),
        ("convert disk.raw out.vmdk -o subformt=x", &["\"subformt\" is not known", "did you mean \"subformat\"?"]),
        ("convert disk.raw out.vmdk -o subformat=streamOptimised", &["did you mean \"streamOptimized\"?"]),
        ("convert disk.raw --cpus 2 out.vmdk", &["no output is a package"]),
        ("convert disk.raw --disk disk.qcow2 out.vmdk", &["holds one disk only"]),
        ("convert disk.raw nowhere/out.vmdk", &["nowhere/out.vmdk: no such file or directory", "mkdir -p"]),
        ("image info -f qcow3 disk.qcow2", &["\"qcow3\" is not known", "did you mean \"qcow2\"?"]),
    ];
    for (line, words) in cases {
        let ran = home.kiln(line.split(' ')).expect(1);
        for word in words {
            assert!(ran.stderr.contains(word), "{line}: {}", ran.stderr);
        }
    }
    assert_eq!(std::fs::read_to_string(home.work("there.vmdk")).unwrap(), "precious");
    assert_nothing_is_left(&home, &["disk.qcow2", "disk.raw", "there.vmdk"]);
}

#[test]
fn a_damaged_image_is_an_error_with_its_place() {
    let Some(home) = home() else { return };
    qemu_img(&home, &["convert", "-f", "raw", "-O", "qcow2", "disk.raw", "disk.qcow2"]);
    // The offset of the L1 table, beyond the end of the file.
    damage(&home.work("disk.qcow2"), 40, &(1u64 << 40).to_be_bytes());
    let ran = home.kiln(["convert", "disk.qcow2", "out.raw"]).expect(1);
    assert!(ran.stderr.contains("disk.qcow2") && ran.stderr.contains("offset 0x"), "{}", ran.stderr);
    assert_nothing_is_left(&home, &["disk.qcow2", "disk.raw"]);
}

pub(crate) fn damage(path: &Path, offset: u64, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}
