//! Guests that are connected to, go away, and come back or do not.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_builder::records::Output;
use kiln_builder::{Event, JobOutcome};
use kiln_communicators::GuestConnector;
use kiln_communicators::fake::{Answer, Call};
use kiln_hypervisors::{DhcpState, ExitReport, KeyEvent, NetworkSight};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use super::PROVISION;
use super::lost_guests::assert_shown;
use super::world::{World, http_ports, is_step};

pub(super) const GOES_AWAY: &str = r#"
  provisioner "shell" {
    inline            = ["halt"]
    expect_disconnect = true
  }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_ends_its_guest_ends_the_build_well_and_says_what_it_leaves() {
    let world = World::new();
    world.guest.on_command("/tmp/script_", Answer::code(0)).on_command("/tmp/script_", Answer::GoAway);
    let (hypervisor, guest) = (world.hypervisor.clone(), world.guest.clone());
    let power = tokio::spawn(async move {
        // First its mode is set, then it is run.
        while guest.commands().iter().filter(|command| command.contains("/tmp/script_")).count() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        hypervisor.end_guests(&ExitReport::GuestShutdown);
    });
    let started = Instant::now();
    let outcome = world.run(&world.template("", GOES_AWAY)).await;
    power.await.unwrap();
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let text = world.text();
    assert!(text.contains("The guest went away before /tmp/script_"), "{text}");
    assert!(!world.guest.commands().iter().any(|command| command.starts_with("rm -f")), "nobody was there to be asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_stays_away_is_waited_for_by_nothing_but_the_shutdown() {
    let world = World::new();
    world.guest.on_command("/tmp/script_", Answer::code(0)).on_command("/tmp/script_", Answer::GoAway);
    let started = Instant::now();
    let outcome = world.run(&world.template("", GOES_AWAY)).await;
    assert_eq!(outcome.exit_code, 1);
    // The template's shutdown_timeout is 5 s.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(
        world.error().unwrap().starts_with("Timeout while waiting for machine to shut down."),
        "{:?}",
        world.error()
    );
    assert_shown(&world, "fake guest");
    world.assert_nothing_left("a guest that stays away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_is_removed_when_its_guest_is_back() {
    let world = World::new();
    world.guest.on_command("/tmp/script_", Answer::code(0)).on_command("/tmp/script_", Answer::Disconnect);
    let second = "provisioner \"shell\" {\n    inline = [\"second\"]\n  }";
    let outcome = world.run(&world.template("", &format!("{GOES_AWAY}\n  {second}"))).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    let removed = world.guest.commands().iter().filter(|command| command.starts_with("rm -f /tmp/script_")).count();
    assert_eq!(removed, 2, "{:?}", world.guest.commands());
    assert!(!world.text().contains("went away"), "{}", world.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_script_of_this_machine_does_not_send_people_to_the_guest() {
    let world = World::new();
    let outcome = world.run(&world.template("", "provisioner \"shell-local\" {\n    inline = [\"exit 3\"]\n  }")).await;
    assert_eq!(outcome.exit_code, 1);
    let text = world.text();
    let hint = text.lines().find(|line| line.starts_with("hint: ")).unwrap_or_default();
    assert!(hint.contains("it ran on this machine") && !hint.contains("guest"), "{text}");
}

/// A build that only connects: to the fake guest, whatever its address.
pub(super) fn null_template(communicator: &str, provisioner: &str) -> String {
    format!(
        r#"
source "null" "host" {{
  {communicator}
}}

build {{
  sources = ["source.null.host"]
  {provisioner}
}}
"#
    )
}

pub(super) const SSH: &str =
    "ssh_host = \"web.test\"\n  ssh_port = 2222\n  ssh_username = \"me\"\n  ssh_password = \"a-long-password\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_connected_to_as_a_machine_is_and_tells_where_it_is() {
    let world = World::new();
    let told = r#"inline = ["echo ${build.ConnType} ${build.User}@${build.Host}:${build.Port} ${build.ID}"]"#;
    let outcome = world.run(&null_template(SSH, &format!("provisioner \"shell\" {{\n    {told}\n  }}"))).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert_eq!(world.steps(), ["connect", "provisioner 1 (shell)"], "no key is made for a host that is there already");
    let uploaded = world.guest.calls().into_iter().find_map(|call| match call {
        Call::Upload { content, .. } => String::from_utf8(content).ok(),
        _ => None,
    });
    assert_eq!(uploaded.unwrap(), "#!/bin/sh -e\necho ssh me@web.test:2222 Null\n");
    let text = world.text();
    for line in
        ["Using SSH communicator to connect: web.test", "Waiting for SSH to become available...", "Connected to SSH!"]
    {
        assert!(text.contains(line), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_communicator_nothing_is_connected_to() {
    let world = World::new();
    let here = "provisioner \"shell-local\" {\n    inline = [\"echo here\"]\n  }";
    let outcome = world.run(&null_template("communicator = \"none\"", here)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert_eq!(world.steps(), ["provisioner 1 (shell-local)"]);
    assert!(world.guest.calls().is_empty() && !world.text().contains("communicator to connect"), "{}", world.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_goes_away_for_good_holds_nobody_up() {
    let world = World::new();
    world.guest.on_command("/tmp/script_", Answer::code(0)).on_command("/tmp/script_", Answer::GoAway);
    let started = Instant::now();
    let outcome = world.run(&null_template(SSH, GOES_AWAY)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    assert!(world.text().contains("it may still be there."), "{}", world.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_is_never_reached_is_told_of_in_order() {
    let mut world = World::new();
    world.connector = Some(Arc::new(GuestConnector));
    // As behind QEMU's user network: connections are taken, and closed while the guest's own port is.
    let forwarded = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (sender, receiver) = watch::channel(NetworkSight::watched());
    let port = forwarded.local_addr().unwrap().port();
    world.hypervisor.change(|script| {
        script.sight = Some(receiver);
        script.forwarded_port = Some(port);
        script.serial = b"Oops: general protection fault\n".to_vec();
    });
    let events = world.events.clone();
    let guest = tokio::spawn(async move {
        let port = loop {
            let said = events.lock().unwrap().iter().find_map(|event| match event {
                Event::Say { text, .. } => text.strip_prefix("Starting HTTP server on port ")?.parse::<u16>().ok(),
                _ => None,
            });
            match said {
                Some(port) if events.lock().unwrap().iter().any(|event| is_step(event, "connect")) => break port,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        sender.send_modify(|seen| seen.spoke = true);
        sender.send_modify(|seen| (seen.dhcp, seen.address) = (DhcpState::Answered, Some([10, 0, 2, 15].into())));
        drop(forwarded.accept().await.unwrap());
        // The next attempt is made when the end of this one is noted.
        let next = forwarded.accept().await.unwrap();
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(b"GET /missing HTTP/1.0\r\n\r\n").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        drop(next);
        loop {
            drop(forwarded.accept().await.unwrap());
        }
    });
    let outcome = world.run(&world.template("ssh_timeout = \"6s\"", PROVISION)).await;
    guest.abort();
    assert_eq!(outcome, JobOutcome { exit_code: 1, cancelled: false });
    let text = world.text();
    let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words:?} is missing in:\n{text}"));
    let order = [
        "What was seen of the guest, in order:\n    0:00  its machine was started\n",
        "it was given 10.0.2.15 by DHCP\n",
        "SSH: the port closes every connection at once\n",
        "it asked for /missing over HTTP in vain\n",
        "\n          its kernel has crashed",
    ]
    .map(at);
    assert!(order.is_sorted(), "{text}");
    let error = world.error().unwrap();
    assert!(error.starts_with("Timeout waiting for SSH. cannot connect to 127.0.0.1:"), "{error}");
    assert!(error.contains("; last seen: its kernel has crashed"), "{error}");
    assert!(text.contains("its trace is in the serial console's lines above"), "{text}");
    // The picture of the screen is meant to stay.
    std::fs::remove_file(world.path("job").join("qemu.web-screen.png")).unwrap();
    world.assert_nothing_left("never reached");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_dies_ends_the_build_with_the_reason() {
    let world = World::new();
    world.guest.on_command("PACKER_BUILD_NAME", Answer::Hang);
    let (hypervisor, guest) = (world.hypervisor.clone(), world.guest.clone());
    tokio::spawn(async move {
        while !guest.commands().iter().any(|command| command.contains("PACKER_BUILD_NAME")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let stderr_tail = "qemu: uncorrectable memory error".to_owned();
        hypervisor.end_guests(&ExitReport::Crashed { status: "signal 11".to_owned(), stderr_tail });
    });
    let outcome = world.run(&world.template("", PROVISION)).await;
    assert_eq!(outcome.exit_code, 1);
    let error = world.error().unwrap();
    assert!(error.contains("uncorrectable memory error"), "{error}");
    let shown = "The last lines of the guest's serial console:\nfake guest";
    assert!(world.text().contains(shown), "{}", world.text());
    // A machine that has stopped shows no picture, unless it was fast.
    let _ = std::fs::remove_file(world.path("job").join("qemu.web-screen.png"));
    world.assert_nothing_left("dead guest");
}

/// A world whose guest is on a bridge, and what tells the hypervisor its address.
fn on_bridge() -> (World, watch::Sender<Option<IpAddr>>) {
    let (learn, address) = watch::channel(None);
    let world = World::new();
    world.hypervisor.change(|script| script.bridge_address = Some(address));
    (world, learn)
}

/// Waits until the build waits for its guest's address.
async fn address_is_waited_for(world: &World) {
    let is_wait = |event: &Event| matches!(event, Event::Waiting { what, .. } if what == "the guest's address");
    let begins = async {
        while !world.events.lock().unwrap().iter().any(is_wait) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), begins).await.expect("the guest's address is waited for");
}

const BRIDGE: &str = "net_bridge = \"br0\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_on_a_bridge_is_waited_for_and_reached_where_it_is() {
    let (world, learn) = on_bridge();
    let template = world.template(BRIDGE, PROVISION);
    let learning = async {
        address_is_waited_for(&world).await;
        let port = http_ports(&world.text())[0];
        std::net::TcpListener::bind(("127.0.0.2", port))
            .expect("the HTTP server listens where guests find the host alone");
        learn.send(Some([192, 0, 2, 77].into())).unwrap();
    };
    let (outcome, ()) = tokio::join!(world.run(&template), learning);
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert!(world.text().contains("Using SSH communicator to connect: 192.0.2.77"), "{}", world.text());
    let (communicator, host) = ("ssh".to_owned(), "192.0.2.77".to_owned());
    let connection = Output::Connection { communicator, host, port: 22 };
    assert!(world.records().iter().any(|record| record.outputs.as_ref() == Some(&connection)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_on_a_bridge_that_is_never_seen_is_waited_for_as_long_as_the_template_says() {
    let (world, _learn) = on_bridge();
    let started = Instant::now();
    let outcome = world.run(&world.template(&format!("{BRIDGE}\n  ssh_timeout = \"1s\""), PROVISION)).await;
    assert_eq!(outcome.exit_code, 1);
    assert!(started.elapsed() >= Duration::from_secs(1));
    let error = world.error().unwrap();
    assert_eq!(error, "Timeout waiting for SSH. The hypervisor does not know the guest's address");
    let text = world.text();
    assert!(text.contains("hint: set ssh_host to an address") && text.contains("What was seen of the guest"), "{text}");
    // The picture of the screen is meant to stay.
    std::fs::remove_file(world.path("job").join("qemu.web-screen.png")).unwrap();
    world.assert_nothing_left("never seen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wait_for_a_guest_on_a_bridge_ends_with_the_job_and_with_the_guest() {
    for cancel in [true, false] {
        let (world, _learn) = on_bridge();
        let template = world.template(BRIDGE, PROVISION);
        let ending = async {
            address_is_waited_for(&world).await;
            if cancel {
                world.control.cancel();
            } else {
                world.hypervisor.end_guests(&ExitReport::GuestShutdown);
            }
        };
        let (outcome, ()) = tokio::join!(world.run(&template), ending);
        assert_eq!((outcome.exit_code, outcome.cancelled), (1, cancel), "{}", world.text());
        let error = world.error().unwrap();
        let told = if cancel { "Build was cancelled." } else { "the machine stopped before SSH became available: " };
        assert!(error.starts_with(told), "{error}");
        world.assert_nothing_left(told);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_guests_could_not_reach_is_refused() {
    let no_way = "the guest could not reach the HTTP server";
    let nowhere = "the guest could not be told where the HTTP server is";
    for (bind, refused) in
        [("", no_way), ("http_bind_address = \"0.0.0.0\"", nowhere), ("http_bind_address = \"::\"", nowhere)]
    {
        let world = World::new();
        world.hypervisor.change(|script| script.host_seen_by_guest = None);
        assert_eq!(world.run(&world.template(bind, PROVISION)).await.exit_code, 1, "{}", world.text());
        assert_eq!(world.steps().last().map(String::as_str), Some("serve"));
        let error = world.error().unwrap();
        assert!(error.starts_with(refused), "{error}");
        assert!(world.text().contains("hint: give the bridge"), "{}", world.text());
        world.assert_nothing_left(refused);
    }
    // The address that the template names is where the guest finds it.
    for bind in ["127.0.0.1", "localhost"] {
        let world = World::new();
        world.hypervisor.change(|script| script.host_seen_by_guest = None);
        let template = world.template(&format!("http_bind_address = {bind:?}"), PROVISION);
        assert_eq!(world.run(&template).await.exit_code, 0, "{}", world.text());
        let typed = format!("run 127.0.0.1:{} web\n", http_ports(&world.text())[0]);
        assert_eq!(world.hypervisor.typed(), KeyEvent::text(&typed).unwrap());
    }
}

/// Powering it off would make an image of what was not written, and call it a success.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_was_stopped_by_a_full_disk_before_it_is_powered_off_fails_its_build() {
    let world = World::new();
    let full = ExitReport::DiskError { no_space: true, message: "No space left on device".to_owned() };
    let (reached, full_now) = (world.path("reached"), world.path("full"));
    let script = format!("touch '{}'; until [ -e '{}' ]; do sleep 0.1; done", reached.display(), full_now.display());
    let waits = format!("provisioner \"shell-local\" {{\n    inline = [{script:?}]\n  }}");
    let template = world.template("", &waits).replace("shutdown_command = \"poweroff\"", "");
    let ending = async {
        while !reached.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.hypervisor.end_guests(&full);
        std::fs::write(&full_now, "").unwrap();
    };
    let (outcome, ()) = tokio::join!(world.run(&template), ending);
    assert_eq!(outcome.exit_code, 1, "{}", world.text());
    for file in [&reached, &full_now] {
        std::fs::remove_file(file).unwrap();
    }
    let told =
        "the machine did not shut down in order: the guest was stopped, its disk cannot be written: No space left";
    assert!(world.error().unwrap().starts_with(told), "{:?}", world.error());
    assert!(world.text().contains("free some space where the output directory is"), "{}", world.text());
    world.assert_nothing_left("a full disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installer_that_ends_with_a_restart_under_no_reboot_is_done() {
    let world = World::new();
    let template = world.template("communicator = \"none\"", "").replace("shutdown_command = \"poweroff\"", "");
    let ending = async {
        while !world.text().contains("Waiting for the machine to shut down") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.hypervisor.end_guests(&ExitReport::GuestReset);
    };
    let (outcome, ()) = tokio::join!(world.run(&template), ending);
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert_eq!(world.files("out"), ["web"]);
}

/// Provisioned by the temporary key, of which the guest is told.
const WITH_KEY: &str = r#"
  provisioner "shell" {
    inline = ["echo '${build.SSHPublicKey}' >> ~/.ssh/authorized_keys"]
  }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_temporary_key_is_taken_out_of_the_guest_where_that_is_asked_for() {
    let named = "ssh_clear_authorized_keys = true\ntemporary_key_pair_name = \"it's mine\"";
    for (options, name) in [("", None), ("ssh_clear_authorized_keys = true", Some("kiln_")), (named, Some("mine$/d"))] {
        let world = World::new();
        // What comes of it is no matter to the build.
        world.guest.on_command("sed -i", Answer::code(1));
        let outcome = world.run(&world.template(options, WITH_KEY)).await;
        assert_eq!(outcome.exit_code, 0, "{}", world.text());
        let commands = world.guest.commands();
        let removals: Vec<usize> = (0..commands.len()).filter(|&at| commands[at].contains("sed -i")).collect();
        let Some(name) = name else {
            assert_eq!(removals, Vec::<usize>::new(), "{commands:?}");
            continue;
        };
        let script = commands.iter().rposition(|command| command.contains("/tmp/script_")).unwrap();
        let off = commands.iter().position(|command| command == "poweroff").unwrap();
        assert_eq!(removals.len(), 2, "the user's and root's: {commands:?}");
        assert!(removals.iter().all(|&at| script < at && at < off && commands[at].contains(name)), "{commands:?}");
        assert!(world.text().contains("Trying to remove ephemeral keys from authorized_keys files"));
        assert!(!world.text().contains("may still be in the guest"), "{}", world.text());
    }
    let world = World::new();
    world.guest.on_command("sed -i", Answer::Disconnect);
    let outcome = world.run(&world.template(named, WITH_KEY)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert!(
        world.text().contains("Warning: the temporary key it's mine may still be in the guest"),
        "{}",
        world.text()
    );
}
