//! Whole builds on a fake hypervisor and a fake guest, since what is under test is the runner: the order of steps, and that
//! a failure or a cancel at any of them leaves nothing. Real guests are in the end-to-end tests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod amazon_import;
mod aws_service;
mod box_registry;
mod box_service;
mod disks;
mod exports;
mod failures;
mod file_builder;
mod guests;
mod killed;
#[path = "../../../communicators/tests/it/winrm/launcher.rs"]
mod launcher;
mod looks;
mod lost_guests;
mod packages;
mod post_processors;
mod processor;
mod provenance;
mod qemu_img;
mod questions;
mod records;
mod resume;
mod stand_in;
mod tools;
mod vagrant;
mod verify;
mod virtualbox;
mod winrm;
mod world;

use kiln_builder::{JobOutcome, Sweep, Wanted, sweep, validate};
use kiln_communicators::fake::Answer;
use kiln_hypervisors::qemu::SSH_HOST_PORT;
use kiln_hypervisors::{BackendSpec, KeyEvent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use self::world::{World, http_ports};

/// The steps of a qemu build, in order, as the template below makes them run.
const STEPS: [&str; 16] = [
    "look",
    "fetch",
    "output",
    "work",
    "media",
    "media",
    "disk",
    "firmware",
    "serve",
    "key",
    "start",
    "boot",
    "connect",
    "provisioner 1 (shell)",
    "shut-down",
    "export",
];

/// A provisioner in the guest, and two exports.
const PROVISION: &str = r#"
  provisioner "shell" {
    inline = ["echo hello"]
  }
  post-processor "export" {
    formats = ["vmdk", "ova"]
  }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_build_runs_its_steps_in_order_and_leaves_only_its_output() {
    let world = World::new();
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert_eq!(outcome, JobOutcome { exit_code: 0, cancelled: false }, "{}", world.text());
    let steps = world.steps();
    assert_eq!(steps[..STEPS.len()], STEPS);
    assert_eq!(steps[STEPS.len()..], ["keep", "post-processor 1 (export)"]);
    assert_eq!(world.files("out"), ["web", "web.ova", "web.vmdk"]);
    assert_eq!(world.files("run"), Vec::<String>::new());
    assert_eq!(world.hypervisor.running(), 0);
    let spec = &world.hypervisor.specs()[0];
    assert_eq!((spec.cdroms.len(), spec.floppy.is_some()), (2, true));
    // The host as this hypervisor's guests see it, and nobody else's.
    let typed = format!("run 192.0.2.1:{} web\n", http_ports(&world.text())[0]);
    assert_eq!(world.hypervisor.typed(), KeyEvent::text(&typed).unwrap());
    assert!(world.guest.commands().iter().any(|command| command.contains("PACKER_BUILD_NAME='web'")));
    assert!(!world.text().contains("a-long-password"));
    assert_eq!(sweep(&world.path("job")).unwrap(), Sweep::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_of_a_url_is_told() {
    let server = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = server.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        loop {
            let (mut stream, _) = server.accept().await.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            assert!(String::from_utf8_lossy(&request[..length]).contains("token=t0ken-of-mine&x=1"));
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    });
    let world = World::new();
    let url =
        format!("http://me:p4ssword-of-mine@127.0.0.1:{port}/x.iso?token=t0ken-of-mine&x=1&sig=s1gnature-of-mine");
    let template = world.template("", PROVISION);
    let local = format!("{}/installer.iso", world.directory.path().display());
    let outcome = world.run(&template.replace(&local, &url)).await;
    served.abort();
    assert_eq!(outcome, JobOutcome { exit_code: 1, cancelled: false });
    let told = format!("{:?}", world.events.lock().unwrap());
    assert!(told.contains("404") && told.contains("x.iso?token=xxxxx&x=1&sig=xxxxx"), "{told}");
    for secret in ["p4ssword", "t0ken", "s1gnature"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    world.assert_nothing_left("secrets of a URL");
}

/// Whether the mode can be set is no matter: the script is what is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_runs_from_any_path_and_where_chmod_fails() {
    let world = World::new();
    world.guest.on_command("chmod 0755", Answer::code(1));
    let rest = r#"
      provisioner "shell" {
        inline          = ["true"]
        remote_path     = "/tmp/my 'own' $(s) $HOME.sh"
        execute_command = "sh '{{.Path}}'"
      }
    "#;
    let outcome = world.run(&world.template("", rest)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    let commands = world.guest.commands();
    let quoted = r#"/tmp/my\ \'own\'\ \$\(s\)\ "$HOME".sh"#;
    for command in [format!("chmod 0755 {quoted}"), format!("rm -f {quoted}")] {
        assert!(commands.contains(&command), "{commands:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_output_directory_is_refused_before_anything_starts_and_replaced_with_force() {
    let mut world = World::new();
    std::fs::create_dir(world.path("out")).unwrap();
    std::fs::write(world.path("out/precious"), "x").unwrap();
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert_eq!(outcome.exit_code, 1);
    assert!(world.text().contains("already exists"), "{}", world.text());
    assert_eq!((world.steps(), world.files("out")), (Vec::new(), vec!["precious".to_owned()]));
    world.force = true;
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert_eq!(world.files("out"), ["web", "web.ova", "web.vmdk"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leftover_of_an_interrupted_build_is_replaced_without_force() {
    let world = World::new();
    std::fs::create_dir(world.path("out")).unwrap();
    std::fs::write(world.path("out/.kiln-incomplete"), "").unwrap();
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_error_of_a_template_is_told_and_nothing_is_started() {
    let world = World::new();
    let template = world.template("disk_size = \"1Q\"\n  memory = 100000000\n  bootcommand = []", PROVISION);
    let template = template.replacen("  disk_size        = \"1M\"\n", "", 1).replace("iso_checksum     = \"none\"", "");
    let outcome = world.run(&template).await;
    assert_eq!(outcome.exit_code, 1);
    assert_eq!(world.steps(), Vec::<String>::new());
    let text = world.text();
    for part in ["bootcommand", "disk size", "memory", "iso_checksum"] {
        assert!(text.contains(part), "{part} is not told at once: {text}");
    }
    let world = World::new();
    let template = template.replace("bootcommand = []", "");
    let validation = validate(&world.check_request(&template), &world.path("cache"), Wanted::Both);
    assert!(!validation.valid);
    let text: String = validation.problems.into_iter().map(|problem| problem.text).collect();
    for part in ["disk size", "memory", "iso_checksum", "web.pkr.hcl line"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_builds_of_one_directory_are_refused_unless_one_is_chosen() {
    let world = World::new();
    let template = world.template("", PROVISION);
    let second =
        template.split("build {").next().unwrap().replace("\"web\" {", "\"db\" {").replace("/out\"", "/./out\"");
    let template = format!("{second}{template}").replace("[\"source.qemu.web\"]", "[\"qemu.web\", \"qemu.db\"]");
    let mut request = world.check_request(&template);
    let validation = validate(&request, &world.path("cache"), Wanted::Both);
    let text: String = validation.problems.into_iter().map(|problem| problem.text).collect();
    assert!(!validation.valid && text.contains("one output directory"), "{text}");
    assert!(text.contains("qemu.web") && text.contains("qemu.db") && text.contains("web.pkr.hcl"), "{text}");
    let outcome = world.run(&template).await;
    assert_eq!((outcome.exit_code, world.steps()), (1, Vec::new()));
    request.only = vec!["qemu.web".to_owned()];
    assert!(validate(&request, &world.path("cache"), Wanted::Both).valid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qemuargs_are_rendered_right_before_the_start() {
    let world = World::new();
    let extra = "qemuargs = [[\"-smbios\", \"type=11,value={{ .Name }} {{ .HTTPIP }} {{ .SSHHostPort }}\"]]";
    let outcome = world.run(&world.template(extra, PROVISION)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    let spec = world.hypervisor.specs().remove(0);
    let BackendSpec::Qemu(qemu) = &spec.backend else { panic!("{:?}", spec.backend) };
    // QEMU's own part puts the port in this one's place.
    assert_eq!(qemu.arguments, [["-smbios".to_owned(), format!("type=11,value=web 192.0.2.1 {SSH_HOST_PORT}")]]);
}
