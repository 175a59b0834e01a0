//! What builders for VirtualBox do with a guest beside what all do: its additions, and an end that is left to it.

use std::sync::Arc;
use std::time::Duration;

use kiln_hypervisors::ExitReport;
use kiln_hypervisors::fake::{FakeEnd, FakeHypervisor, FakeScript};

use super::World;

fn world(end: FakeEnd) -> World {
    let mut world = World::new();
    let script = FakeScript { end, starts_paused: false, ..FakeScript::default() };
    world.hypervisor = FakeHypervisor::in_place_of("virtualbox", script);
    world
}

fn template(world: &World, options: &str) -> String {
    let root = world.path("").display().to_string();
    format!(
        r#"
source "virtualbox-iso" "web" {{
  iso_url          = "{root}/installer.iso"
  iso_checksum     = "none"
  disk_size        = 1
  headless         = true
  boot_wait        = "-1s"
  ssh_username     = "root"
  ssh_password     = "a-long-password"
  temporary_key_pair_type = "ed25519"
  shutdown_command = "poweroff"
  shutdown_timeout = "60s"
  output_directory = "{root}/out"
  vm_name          = "web"
  skip_export      = true
{options}
}}

build {{
  sources = ["source.virtualbox-iso.web"]
  provisioner "shell" {{
    inline = ["echo hello"]
  }}
}}
"#
    )
}

/// The default: from where VirtualBox's version says, to where it says, before anything is provisioned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guest_gets_the_additions_and_the_version_where_the_template_wants_them() {
    let world = world(FakeEnd::OnPowerButton);
    std::fs::write(world.path("tools-1.0.iso"), "the additions").unwrap();
    let options = format!(
        "  guest_additions_url = \"{}/tools-{{{{.Version}}}}.iso\"\n  guest_additions_path = \"/tmp/additions_{{{{ .Version }}}}.iso\"\n",
        world.path("").display()
    );
    let outcome = world.run(&template(&world, &options)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert_eq!(world.guest.file("/tmp/additions_1.0.iso").as_deref(), Some(&b"the additions"[..]));
    assert_eq!(world.guest.file(".vbox_version").as_deref(), Some(&b"1.0"[..]));
    let text = world.text();
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part:?} is not in\n{text}"));
    assert!(
        at("Uploading VirtualBox version info (1.0)")
            < at("Uploading VirtualBox guest additions ISO => /tmp/additions_1.0.iso")
    );
    let steps = world.steps();
    let step = |name: &str| {
        steps.iter().position(|step| step.starts_with(name)).unwrap_or_else(|| panic!("{name}: {steps:?}"))
    };
    assert!(step("connect") < step("provisioner 1"), "{steps:?}");
    assert!(at("guest additions ISO =>") < at("Provisioning with shell"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn additions_that_are_others_than_the_template_says_reach_no_guest() {
    let world = world(FakeEnd::OnPowerButton);
    std::fs::write(world.path("tools.iso"), "the additions").unwrap();
    let options = format!(
        "  guest_additions_url = \"{}/tools.iso\"\n  guest_additions_sha256 = \"{}\"\n  virtualbox_version_file = \"\"\n",
        world.path("").display(),
        "0".repeat(64)
    );
    let outcome = world.run(&template(&world, &options)).await;
    assert_eq!((outcome.exit_code, world.hypervisor.specs().len()), (1, 0), "{}", world.text());
    assert!(world.error().unwrap().contains(&"0".repeat(64)), "{:?}", world.error());
    assert_eq!(world.guest.file("VBoxGuestAdditions.iso"), None);
    world.assert_nothing_left("additions that are refused");
}

/// Neither the command is run nor a button pressed: the guest's own end is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_is_to_shut_itself_down_is_waited_for() {
    let world = Arc::new(world(FakeEnd::Never));
    let options = "  guest_additions_mode = \"disable\"\n  disable_shutdown = true\n";
    let watching = world.clone();
    let ends = tokio::spawn(async move {
        // Nothing tells when the step begins.
        while !watching.steps().iter().any(|step| step == "shut-down") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        watching.hypervisor.end_guests(&ExitReport::GuestShutdown);
    });
    let outcome = world.run(&template(&world, options)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    ends.await.unwrap();
    assert!(!world.guest.commands().iter().any(|command| command == "poweroff"), "{:?}", world.guest.commands());
    let calls = world.hypervisor.calls();
    assert!(!calls.iter().any(|call| call == "power_button"), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_does_not_shut_itself_down_fails_the_build_and_leaves_nothing() {
    let world = world(FakeEnd::Never);
    let options = "  guest_additions_mode = \"disable\"\n  disable_shutdown = true\n";
    let text = template(&world, options).replace("\"60s\"", "\"100ms\"");
    let outcome = world.run(&text).await;
    assert_eq!((outcome.exit_code, world.hypervisor.running()), (1, 0), "{}", world.text());
    assert!(!world.guest.commands().iter().any(|command| command == "poweroff"), "{:?}", world.guest.commands());
    world.assert_nothing_left("a guest that goes on");
}
