//! Guests that are connected to, go away, and come back or do not.

use super::*;

const GOES_AWAY: &str = r#"
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
    let started = std::time::Instant::now();
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
    let started = std::time::Instant::now();
    let outcome = world.run(&world.template("", GOES_AWAY)).await;
    assert_eq!(outcome.exit_code, 1);
    // The template's shutdown_timeout is 5 s.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(
        world.error().unwrap().starts_with("Timeout while waiting for machine to shut down."),
        "{:?}",
        world.error()
    );
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
fn null_template(communicator: &str, provisioner: &str) -> String {
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

const SSH: &str =
    "ssh_host = \"web.test\"\n  ssh_port = 2222\n  ssh_username = \"me\"\n  ssh_password = \"a-long-password\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_connected_to_as_a_machine_is_and_tells_where_it_is() {
    let world = World::new();
    let told = r#"inline = ["echo ${build.ConnType} ${build.User}@${build.Host}:${build.Port} ${build.ID}"]"#;
    let outcome = world.run(&null_template(SSH, &format!("provisioner \"shell\" {{\n    {told}\n  }}"))).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert_eq!(world.steps(), ["connect", "provisioner 1 (shell)"], "no key is made for a host that is there already");
    let uploaded = world.guest.calls().into_iter().find_map(|call| match call {
        kiln_communicators::fake::Call::Upload { content, .. } => String::from_utf8(content).ok(),
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
    let started = std::time::Instant::now();
    let outcome = world.run(&null_template(SSH, GOES_AWAY)).await;
    assert_eq!(outcome.exit_code, 0, "{}", world.text());
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    assert!(world.text().contains("it may still be there."), "{}", world.text());
}
