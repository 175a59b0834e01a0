//! Vagrant boxes: for each provider what the reference's table says is in them, and the guest's own disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_builder::{JobOutcome, Sweep, sweep};
use kiln_disk_formats::{Format, export_named};
use serde_json::{Value as Json, json};

use super::exports::guest_content;
use super::world::World;

/// The guest's disk in the build's output.
fn disk(world: &World) -> PathBuf {
    world.path("out").join("web")
}

async fn run(world: &World, options: &str) -> JobOutcome {
    let root = world.path("").display().to_string();
    let rest = format!("post-processor \"vagrant\" {{\n {options}\n keep_input_artifact = true\n}}\n");
    world.run(&world.template("", &rest.replace("ROOT/", &root))).await
}

/// Unpacks a box with tar; returns the names in it, in order.
fn unpack(file: &Path, to: &Path) -> Vec<String> {
    std::fs::create_dir(to).unwrap();
    let ran = Command::new("tar").arg("-C").arg(to).arg("-xvf").arg(file).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    judge_by_vagrant(file);
    String::from_utf8(ran.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Has Vagrant itself take the box, where `./x lab vagrant` names it.
fn judge_by_vagrant(file: &Path) {
    let Some(vagrant) = std::env::var_os("KILN_VAGRANT") else { return };
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&vagrant);
        command
            .args(arguments)
            .env("VAGRANT_HOME", home.path())
            .env("VAGRANT_CHECKPOINT_DISABLE", "1")
            .env("HOME", home.path());
        let ran = command.output().unwrap();
        let told = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{arguments:?} of {}: {told}", file.display());
        told
    };
    run(&["box", "add", "--name", "kiln/test", file.to_str().unwrap()]);
    let listed = run(&["box", "list"]);
    assert!(listed.contains("kiln/test"), "{listed}");
}

fn json_of(file: &Path) -> Json {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_for_libvirt_holds_the_disk_as_it_is() {
    let world = World::new();
    let outcome = run(&world, "output = \"ROOT/boxes/{{ .BuildName }}-{{ .Provider }}-{{ .Architecture }}.box\"").await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert_eq!(world.files("boxes"), ["web-libvirt-amd64.box"]);
    let path = world.path("boxes/web-libvirt-amd64.box");
    assert!(std::fs::read(&path).unwrap().starts_with(&[0x1f, 0x8b]));
    let to = world.path("unpacked");
    assert_eq!(unpack(&path, &to), ["metadata.json", "Vagrantfile", "box_0.img"]);
    let disks = json!([{ "path": "box_0.img", "format": "qcow2" }]);
    assert_eq!(
        json_of(&to.join("metadata.json")),
        json!({ "provider": "libvirt", "disks": disks, "architecture": "amd64" })
    );
    assert!(std::fs::read_to_string(to.join("Vagrantfile")).unwrap().contains("libvirt.driver = \"kvm\""));
    assert!(std::fs::read(to.join("box_0.img")).unwrap() == std::fs::read(disk(&world)).unwrap());
    let check = Command::new("qemu-img").args(["check", "-q"]).arg(to.join("box_0.img")).status().unwrap();
    assert!(check.success());
    let text = world.text();
    assert!(text.contains("Creating Vagrant box for 'libvirt' provider"), "{text}");
    assert_eq!(sweep(&world.path("job")).unwrap(), Sweep::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boxes_for_other_hypervisors_hold_the_same_disk_written_anew() {
    for (provider, vagrants, disk_name, format, descriptor) in [
        ("virtualbox", "virtualbox", "box-disk1.vmdk", "ovf", "box.ovf"),
        ("vmware", "vmware_desktop", "box-vmx-disk1.vmdk", "vmx", "box.vmx"),
    ] {
        let world = World::new();
        let options = format!("provider_override = {provider:?}\n output = \"ROOT/boxes/a.box\"");
        let outcome = run(&world, &options).await;
        assert_eq!(outcome.exit_code, 0, "{provider}: {}", world.text());
        assert_eq!(world.files("boxes"), ["a.box"], "{provider}: no work is left");
        let to = world.path("unpacked");
        let names = unpack(&world.path("boxes/a.box"), &to);
        assert_eq!(names[..2], ["metadata.json", "Vagrantfile"], "{provider}");
        assert!(names.iter().any(|name| name == disk_name) && names.iter().any(|name| name == descriptor), "{names:?}");
        let metadata = json_of(&to.join("metadata.json"));
        assert_eq!(metadata, json!({ "provider": vagrants, "architecture": "amd64" }));
        let vagrantfile = std::fs::read_to_string(to.join("Vagrantfile")).unwrap();
        assert_eq!(vagrantfile.contains("config.vm.base_mac = \""), provider == "virtualbox", "{vagrantfile}");
        let wanted = guest_content(&disk(&world), Format::Qcow2.row());
        assert_eq!(guest_content(&to.join(descriptor), export_named(format).unwrap().0), wanted, "{provider}");
        assert_eq!(sweep(&world.path("job")).unwrap(), Sweep::default());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_option_is_heeded_and_those_of_the_provider_first() {
    let world = World::new();
    std::fs::write(world.path("readme.txt"), "read me").unwrap();
    std::fs::write(world.path("own.rb"), "# {{ .Provider }} {{ .Architecture }} {{ .BuildName }} {{ .ArtifactId }}\n")
        .unwrap();
    let options = "output = \"ROOT/boxes/all.box\"\n include = [\"ROOT/readme.txt\"]\n compression_level = 9
 vagrantfile_template = \"ROOT/own.rb\"\n architecture = \"arm64\"
 override = { libvirt = { compression_level = 0, output = \"ROOT/boxes/own.box\" }, virtualbox = { output = \"no.box\" } }";
    let outcome = run(&world, options).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert_eq!(world.files("boxes"), ["own.box"]);
    let path = world.path("boxes/own.box");
    assert!(std::fs::read(&path).unwrap().starts_with(b"metadata.json\0"), "level 0 is a plain tar file");
    let to = world.path("unpacked");
    assert_eq!(unpack(&path, &to), ["metadata.json", "Vagrantfile", "readme.txt", "box_0.img"]);
    assert_eq!(json_of(&to.join("metadata.json"))["architecture"], "arm64");
    let vagrantfile = std::fs::read_to_string(to.join("Vagrantfile")).unwrap();
    assert!(vagrantfile.ends_with("# libvirt arm64 web VM\n"), "{vagrantfile}");

    // Metadata of one's own, and a Vagrantfile that a provisioner makes.
    let world = World::new();
    std::fs::write(world.path("metadata.json"), "{\"provider\":\"mine\"}").unwrap();
    let options = "output = \"ROOT/boxes/a.box\"\n include = [\"ROOT/metadata.json\"]
 vagrantfile_template = \"ROOT/later.rb\"\n vagrantfile_template_generated = true";
    let make = format!(
        "provisioner \"shell-local\" {{\n inline = [\"echo '# later' > {}later.rb\"]\n}}\n",
        world.path("").display()
    );
    let root = world.path("").display().to_string();
    let rest = format!("{make}post-processor \"vagrant\" {{\n {}\n}}\n", options.replace("ROOT/", &root));
    let outcome = world.run(&world.template("accelerator = \"tcg\"", &rest)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert!(!world.path("out").exists(), "a box does not keep what it is made of");
    let to = world.path("unpacked");
    unpack(&world.path("boxes/a.box"), &to);
    assert_eq!(json_of(&to.join("metadata.json")), json!({ "provider": "mine" }));
    let vagrantfile = std::fs::read_to_string(to.join("Vagrantfile")).unwrap();
    assert!(vagrantfile.contains("libvirt.driver = \"qemu\"") && vagrantfile.ends_with("# later\n"), "{vagrantfile}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_that_cannot_be_made_leaves_the_image_and_nothing_else() {
    for (options, words) in [
        ("output = \"ROOT/boxes/a.box\"\n include = [\"ROOT/missing\"]", "missing"),
        ("output = \"ROOT/boxes/a.box\"\n include = [\"ROOT/box_0.img\"]", "would hold box_0.img twice"),
        ("output = \"ROOT/out/web\"", "a file of the artifact itself"),
    ] {
        let world = World::new();
        std::fs::write(world.path("box_0.img"), "mine").unwrap();
        let outcome = run(&world, options).await;
        assert!(outcome.exit_code == 1 && world.text().contains(words), "{options}: {}", world.text());
        assert!(disk(&world).exists() && world.files("boxes").is_empty(), "{options}");
        assert_eq!(world.files("out"), ["web"], "{options}");
        assert_eq!(sweep(&world.path("job")).unwrap(), Sweep::default(), "{options}");
    }
    // What is no machine's does not say for whom the box is.
    let world = World::new();
    let target = world.path("note.txt");
    let chain = format!(
        "source \"file\" \"note\" {{\n content = \"abc\"\n target = {target:?}\n}}\nbuild {{\n sources = [\"file.note\"]\n post-processors {{
 post-processor \"artifice\" {{\n files = [{target:?}]\n}}\n post-processor \"vagrant\" {{\n output = \"x.box\"\n}}\n}}\n}}\n"
    );
    assert_eq!(world.run(&chain).await.exit_code, 1);
    assert!(world.text().contains("set provider_override"), "{}", world.text());
    assert!(target.exists());
}
