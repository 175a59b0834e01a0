//! Guests that are lost while they are worked in: how long they are waited for, and what is told of those that do not come back.

use std::time::Duration;

use kiln_builder::Event;
use kiln_communicators::Exit;
use kiln_communicators::fake::{Answer, Call};
use kiln_hypervisors::{DhcpState, ExitReport, ForwardState, GuestNetwork};

use super::guests::{GOES_AWAY, SSH, null_template};
use super::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_stays_away_is_waited_for_as_long_as_it_is_asked_for() {
    let script = |variable_file: bool| {
        format!(
            "provisioner \"shell\" {{\n    inline = [\"second\"]\n    start_retry_timeout = \"2s\"\n    \
             use_env_var_file = {variable_file}\n  }}"
        )
    };
    let file = "provisioner \"file\" {\n    content = \"c\"\n    destination = \"/tmp/c\"\n  }".to_owned();
    for (second, ssh_timeout) in [(script(false), "5m"), (script(true), "5m"), (file, "2s")] {
        let world = World::new();
        world.guest.on_command("/tmp/script_", Answer::code(0)).on_command("/tmp/script_", Answer::GoAway);
        let started = std::time::Instant::now();
        let template = world.template(&format!("ssh_timeout = {ssh_timeout:?}"), &format!("{GOES_AWAY}\n  {second}"));
        let outcome = world.run(&template).await;
        assert_eq!(outcome.exit_code, 1, "{second}");
        let (took, error) = (started.elapsed(), world.error().unwrap());
        assert!((2..15).contains(&took.as_secs()), "{took:?}: {second}");
        assert!(error.contains("fake:22 was lost and could not be made again: cannot connect"), "{error}");
        let waits = waits_for_lost_guests(&world);
        assert!(!waits.is_empty() && waits.iter().flatten().all(|wait| wait.as_secs() <= 2), "{waits:?}");
    }
}

/// How long the guest is said to be waited for each time that it was lost; every wait has ended.
fn waits_for_lost_guests(world: &World) -> Vec<Option<Duration>> {
    let events = world.events.lock().unwrap();
    let begun = events.iter().filter_map(|event| match event {
        Event::Waiting { what, limit, .. } if what == "connect again" => Some(*limit),
        _ => None,
    });
    let begun: Vec<_> = begun.collect();
    let over = |event: &&Event| matches!(event, Event::WaitFinished { what, .. } if what == "connect again");
    assert_eq!(events.iter().filter(over).count(), begun.len());
    begun
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_see_how_long_a_lost_guest_is_waited_for() {
    let second = "provisioner \"shell\" {\n    inline = [\"second\"]\n    start_retry_timeout = \"80s\"\n  }";
    let file = "provisioner \"file\" {\n    content = \"c\"\n    destination = \"/tmp/c\"\n  }";
    for (next, limit) in [(second, 80), (file, 70)] {
        let world = World::new();
        world.guest.on_command("/tmp/script_", Answer::code(0)).on_command("/tmp/script_", Answer::Disconnect);
        let template = world.template("ssh_timeout = \"70s\"", &format!("{GOES_AWAY}\n  {next}"));
        assert_eq!(world.run(&template).await.exit_code, 0, "{}", world.text());
        let waits = waits_for_lost_guests(&world);
        let [Some(told)] = waits[..] else { panic!("{waits:?}") };
        assert!((limit - 10..=limit).contains(&told.as_secs()) && told.subsec_nanos() == 0, "{told:?}");
    }
}

/// What there was to see of a lost guest is shown, and its picture kept, which is removed here.
pub(super) fn assert_shown(world: &World, serial: &str) {
    let text = world.text();
    let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words:?} is missing in:\n{text}"));
    let order = [
        "What was seen of the guest, in order:\n    0:00  its machine was started\n",
        "The guest's screen was saved to ",
        &format!("The last lines of the guest's serial console:\n{serial}"),
    ]
    .map(at);
    assert!(order.is_sorted(), "{text}");
    assert_eq!(text.matches("What was seen").count(), 1, "{text}");
    std::fs::remove_file(world.path("job").join("qemu.web-screen.png")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_does_not_come_back_is_told_of_as_one_that_never_came() {
    let second = "provisioner \"shell\" {\n    inline = [\"second\"]\n    start_retry_timeout = \"1s\"\n  }";
    let file = "provisioner \"file\" {\n    content = \"c\"\n    destination = \"/tmp/c\"\n  }";
    let panic = "[   33.504821] Kernel panic - not syncing: sysrq triggered crash";
    for (next, serial, hint) in [
        (second, "login: ", "the guest was logged in to before: "),
        (second, panic, "the guest's kernel has crashed: "),
        (file, panic, "the guest's kernel has crashed: "),
    ] {
        let world = World::new();
        world.hypervisor.change(|script| {
            script.serial = serial.as_bytes().to_vec();
            script.network = GuestNetwork {
                forward_state: ForwardState::NoAnswer,
                dhcp: Some(DhcpState::Silent),
                ..GuestNetwork::default()
            };
        });
        world.guest.on_command("/tmp/script_", Answer::code(0)).on_command("/tmp/script_", Answer::GoAway);
        let template = world.template("ssh_timeout = \"3s\"", &format!("{GOES_AWAY}\n  {next}"));
        assert_eq!(world.run(&template).await.exit_code, 1);
        assert_shown(&world, serial.trim());
        let (text, error) = (world.text(), world.error().unwrap());
        assert!(text.contains("SSH: the connection was lost\n"), "{text}");
        assert!(text.lines().any(|line| line.starts_with(&format!("hint: {hint}"))), "{text}");
        assert!(error.contains("could not be made again: cannot connect to fake:22"), "{error}");
        // What a guest that has crashed did not ask for explains nothing.
        let crashed = serial == panic;
        assert_eq!(error.contains("; last seen: its kernel has crashed"), crashed, "{error}");
        assert_eq!(error.contains("has not asked for one by DHCP"), !crashed, "{error}");
        world.assert_nothing_left("a guest that does not come back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_goes_away_under_a_script_is_told_of() {
    let world = World::new();
    world.hypervisor.change(|script| script.serial = b"Oops: general protection fault\n".to_vec());
    world.guest.on_command("/tmp/script_", Answer::code(0)).on_command("/tmp/script_", Answer::GoAway);
    let script = "provisioner \"shell\" {\n    inline = [\"halt\"]\n  }";
    assert_eq!(world.run(&world.template("", script)).await.exit_code, 1);
    assert_shown(&world, "Oops: general protection fault");
    let error = world.error().unwrap();
    assert!(error.starts_with("Script disconnected unexpectedly. If you expected"), "{error}");
    assert!(error.ends_with("; last seen: its kernel has crashed"), "{error}");
    world.assert_nothing_left("a guest that goes away under a script");
}

/// The connection goes before the machine: what is said first is not all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_ends_under_a_script_is_told_of() {
    let crash = ExitReport::Crashed { status: "signal: 9 (SIGKILL)".to_owned(), stderr_tail: "killed".to_owned() };
    // It has stopped, but is there: its screen can be looked at.
    let full = ExitReport::DiskError { no_space: true, message: "No space left on device".to_owned() };
    for (answer, report, then, hint) in [
        (Answer::GoAway, crash.clone(), "Script disconnected unexpectedly. If you", None),
        (
            Answer::GoAway,
            ExitReport::GuestShutdown,
            "Script disconnected unexpectedly. If you",
            Some("shutdown_command"),
        ),
        (Answer::Hang, crash, "the provisioner was cut off", None),
        (Answer::Hang, full, "the provisioner was cut off", Some("free some space")),
    ] {
        let world = World::new();
        world.guest.on_command("/tmp/script_", Answer::code(0)).on_command("/tmp/script_", answer);
        let (hypervisor, guest, end) = (world.hypervisor.clone(), world.guest.clone(), report.clone());
        let killer = tokio::spawn(async move {
            while guest.commands().iter().filter(|command| command.contains("/tmp/script_")).count() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            hypervisor.end_guests(&end);
        });
        let script = "provisioner \"shell\" {\n    inline = [\"sleep 1000\"]\n  }";
        assert_eq!(world.run(&world.template("", script)).await.exit_code, 1);
        killer.await.unwrap();
        let (error, text) = (world.error().unwrap(), world.text());
        assert!(text.contains("The last lines of the guest's serial console:\nfake guest\n"), "{text}");
        // The fake has no picture of it either.
        let is_there = matches!(report, ExitReport::DiskError { .. });
        assert_eq!(text.contains("There is no picture of the guest's screen."), is_there, "it was asked for: {text}");
        // The cause comes first.
        let first = format!("the machine stopped while it was provisioned: {report}. {then}");
        assert!(error.starts_with(&first), "{error}");
        let hinted =
            text.lines().any(|line| line.starts_with("hint: ") && hint.is_some_and(|hint| line.contains(hint)));
        assert_eq!(hinted, hint.is_some(), "{text}");
        world.assert_nothing_left("a machine that ends under a script");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provisioner_that_runs_out_of_time_on_a_lost_guest_shows_it() {
    let world = World::new();
    world.guest.on_command("/tmp/script_", Answer::code(0)).on_command("/tmp/script_", Answer::GoAway);
    let second = "provisioner \"shell\" {\n    inline = [\"second\"]\n    timeout = \"3s\"\n  }";
    assert_eq!(world.run(&world.template("", &format!("{GOES_AWAY}\n  {second}"))).await.exit_code, 1);
    assert_shown(&world, "fake guest");
    assert_eq!(waits_for_lost_guests(&world).len(), 1);
    assert!(world.text().contains("hint: raise the provisioner's timeout"), "{}", world.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_does_not_come_back_was_there_before() {
    let world = World::new();
    world.guest.on_command("/tmp/script_", Answer::code(0)).on_command("/tmp/script_", Answer::GoAway);
    let second = "provisioner \"shell\" {\n    inline = [\"second\"]\n    start_retry_timeout = \"1s\"\n  }";
    assert_eq!(world.run(&null_template(SSH, &format!("{GOES_AWAY}\n  {second}"))).await.exit_code, 1);
    let text = world.text();
    assert!(text.contains("hint: the guest was logged in to before: "), "{text}");
    assert!(!text.contains("What was seen"), "nothing is known of a host of somebody else's: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_goes_on_without_its_guest_says_why() {
    let world = World::new();
    world.guest.on_command("/tmp/script_", Answer::code(0)).on_command("/tmp/script_", Answer::GoAway);
    let second = "provisioner \"shell\" {\n    inline = [\"second\"]\n    start_retry_timeout = \"1s\"\n    \
                  max_retries = 1\n    continue_on_error = true\n  }\n  \
                  provisioner \"shell-local\" {\n    inline = [\"false\"]\n  }";
    assert_eq!(world.run(&world.template("", &format!("{GOES_AWAY}\n  {second}"))).await.exit_code, 1);
    assert_shown(&world, "fake guest");
    let text = world.text();
    let (warned, hint) = (text.find("Warning: Provisioner failed with"), text.find("hint: the guest was logged in to"));
    assert!(warned.is_some() && warned < hint, "{text}");
}

/// What is done about a failure does not hide it, and does not wait for a guest that is gone as long as work does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cause_is_told_before_the_clean_up_and_a_guest_that_is_gone_gets_none() {
    for (kind, runs) in [("shell", false), ("shell-local", true)] {
        let world = World::new();
        world.guest.on_command("/tmp/script_", Answer::code(0)).on_command("/tmp/script_", Answer::GoAway);
        let rest = format!(
            "provisioner \"shell\" {{\n    inline = [\"halt\"]\n  }}\n  \
             error-cleanup-provisioner {kind:?} {{\n    inline = [\"echo CLEANED UP\"]\n  }}"
        );
        assert_eq!(world.run(&world.template("ssh_timeout = \"2s\"", &rest)).await.exit_code, 1);
        let text = world.text();
        let place = |words: &str| text.find(words);
        let (cause, clean_up) = (place("Script disconnected unexpectedly"), place("Running the cleanup provisioner"));
        assert!(cause.is_some() && cause < clean_up, "{text}");
        let not_run = place("The error-cleanup-provisioner is not run: the guest does not answer.");
        assert_eq!((not_run.is_some(), text.contains("CLEANED UP")), (!runs, runs), "{text}");
        // Whether it was waited for or not, the build ends with why it failed.
        assert!(world.error().unwrap().starts_with("Script disconnected unexpectedly"), "{text}");
    }
}

/// Whoever waits for a guest before its clean-up hears that the job is cancelled, and says what is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_ends_the_wait_for_a_guest_that_is_to_be_cleaned_up() {
    let world = World::new();
    world.guest.on_command("/tmp/script_", Answer::code(0)).on_command("/tmp/script_", Answer::code(1));
    world.guest.on_command("exit 0", Answer::Hang);
    let rest = "provisioner \"shell\" {\n    inline = [\"false\"]\n  }\n  \
                error-cleanup-provisioner \"shell\" {\n    inline = [\"echo CLEANED UP\"]\n  }";
    let waits = |event: &Event| matches!(event, Event::Waiting { what, .. } if what == "the guest to answer");
    let cancelling = async {
        while !world.events.lock().unwrap().iter().any(waits) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.control.cancel();
    };
    let template = world.template("", rest);
    let run = world.run(&template);
    tokio::pin!(run);
    let outcome = tokio::select! {
        outcome = &mut run => outcome,
        () = cancelling => run.await,
    };
    assert!(outcome.cancelled, "{}", world.text());
    world.assert_nothing_left("a wait for a guest that was cancelled");
}

/// What was done with scripts, in order: uploads, modes, starts and removals.
fn deeds(world: &World) -> Vec<&'static str> {
    let deed = |call: &Call| match call {
        Call::Upload { destination, .. } => Some(if destination.contains("varfile") { "variables" } else { "upload" }),
        Call::Execute(command) if command.starts_with("chmod 0") => Some("mode"),
        Call::Execute(command) if command.starts_with("rm -f") => Some("removal"),
        Call::Execute(command) if command.contains("/tmp/script_") => Some("start"),
        _ => None,
    };
    world.guest.calls().iter().filter_map(deed).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_a_boot_may_have_cleared_is_uploaded_again_before_it_is_started() {
    let ended = |exit| Answer::Exit { stdout: Vec::new(), stderr: Vec::new(), exit };
    let plain = ["upload", "mode", "start", "removal"];
    let with_variables = ["variables", "mode", "upload", "mode", "start", "removal", "removal"];
    let again = |first: &[&'static str], rest: &[&'static str]| [first, rest].concat();
    for (part, answer, variables, wanted) in [
        ("chmod 0755", Answer::Disconnect, false, again(&["upload", "mode"], &plain)),
        ("chmod 0755", Answer::LastWord(0), false, again(&["upload", "mode"], &plain)),
        ("chmod 0600", Answer::LastWord(0), true, again(&["variables", "mode"], &with_variables)),
        ("chmod 0755", Answer::LastWord(0), true, again(&["variables", "mode", "upload", "mode"], &with_variables)),
        // A file system without modes.
        ("chmod 0755", Answer::code(1), false, plain.to_vec()),
        // The connection lives: a killed command, and one whose channel was closed without a status.
        ("chmod 0755", ended(Exit::Signal("TERM".to_owned())), false, plain.to_vec()),
        ("chmod 0755", ended(Exit::Disconnected), false, plain.to_vec()),
        ("chmod 0600", ended(Exit::Disconnected), true, with_variables.to_vec()),
    ] {
        let world = World::new();
        world.guest.on_command(part, answer.clone());
        let script = format!(
            "provisioner \"shell\" {{\n    inline = [\"a\"]\n    use_env_var_file = {variables}\n    environment_vars = [\"A=b\"]\n  }}"
        );
        assert_eq!(world.run(&world.template("", &script)).await.exit_code, 0, "{answer:?}: {}", world.text());
        assert_eq!(deeds(&world), wanted, "{part} {answer:?}");
        let sources_variables = |command: &String| command.contains("; . /tmp/varfile_");
        assert_eq!(world.guest.commands().iter().any(sources_variables), variables, "{:?}", world.guest.commands());
        let exported = |call: &Call| match call {
            Call::Upload { content, .. } => String::from_utf8_lossy(content).contains("export A='b'\n"),
            _ => false,
        };
        assert_eq!(world.guest.calls().iter().any(exported), variables, "{:?}", world.guest.calls());
    }
    // What another script has left is removed once the guest is there; it goes away meanwhile.
    let world = World::new();
    world.guest.on_command("; ", Answer::Disconnect).on_command("rm -f", Answer::Disconnect);
    let second = "provisioner \"shell\" {\n    inline = [\"second\"]\n  }";
    assert_eq!(
        world.run(&world.template("", &format!("{GOES_AWAY}\n  {second}"))).await.exit_code,
        0,
        "{}",
        world.text()
    );
    let first = ["upload", "mode", "start", "upload", "mode", "removal"];
    assert_eq!(deeds(&world), again(&first, &["upload", "mode", "removal", "start", "removal"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_is_lost_at_each_upload_is_given_up_in_time() {
    let world = World::new();
    (0..20).for_each(|_| _ = world.guest.on_command("chmod 0755", Answer::Disconnect));
    let script = "provisioner \"shell\" {\n    inline = [\"a\"]\n    start_retry_timeout = \"1s\"\n  }";
    assert_eq!(world.run(&world.template("", script)).await.exit_code, 1);
    let error = world.error().unwrap();
    assert!(error.contains("was lost each time that the script had been uploaded"), "{error}");
    assert!(world.text().contains("hint: the guest may be rebooting still"), "{}", world.text());
    assert!(!deeds(&world).contains(&"start"), "{:?}", deeds(&world));
    assert_shown(&world, "fake guest");
    world.assert_nothing_left("a guest that is lost at each upload");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_is_not_waited_for_long_only_to_be_cleaned() {
    let world = World::new();
    world.guest.on_command("; ", Answer::LastWord(0));
    let script = "provisioner \"shell\" {\n    inline = [\"a\"]\n  }";
    let template = world.template("ssh_timeout = \"5m\"", script);
    assert_eq!(world.run(&template).await.exit_code, 0, "{}", world.text());
    let waits = waits_for_lost_guests(&world);
    let [Some(told)] = waits[..] else { panic!("{waits:?}") };
    assert!((50..=60).contains(&told.as_secs()), "{told:?}");
}

/// How long a lost guest is waited for, when it is to be shut down and when it is only to be cleaned before it is powered off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_waits_for_a_lost_guest_as_long_as_it_may_take_itself() {
    for (last, shutdown, limits) in [(Answer::LastWord(0), true, 1..=5), (Answer::Disconnect, false, 50..=60)] {
        let world = World::new();
        world.guest.on_command("; ", last);
        let script = format!(
            "provisioner \"shell\" {{\n    inline = [\"a\"]\n    skip_clean = {shutdown}\n    expect_disconnect = true\n  }}"
        );
        let template = world.template("ssh_timeout = \"5m\"", &script);
        let template = if shutdown { template } else { template.replace("shutdown_command = \"poweroff\"", "") };
        assert_eq!(world.run(&template).await.exit_code, 0, "{}", world.text());
        let waits = waits_for_lost_guests(&world);
        let [Some(told)] = waits[..] else { panic!("{shutdown}: {waits:?}") };
        assert!(limits.contains(&told.as_secs()), "{shutdown}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_do_not_stay_in_a_guest_whose_script_took_too_long() {
    let world = World::new();
    world.guest.on_command("; . /tmp/varfile_", Answer::Hang);
    let first = "provisioner \"shell\" {\n    inline = [\"a\"]\n    use_env_var_file = true\n    skip_clean = true\n    \
                 environment_vars = [\"TOKEN=b\"]\n    timeout = \"1s\"\n    continue_on_error = true\n  }";
    let second = "provisioner \"shell\" {\n    inline = [\"b\"]\n  }";
    assert_eq!(world.run(&world.template("", &format!("{first}\n  {second}"))).await.exit_code, 0, "{}", world.text());
    let variables = world.guest.calls().iter().find_map(|call| match call {
        Call::Upload { destination, .. } if destination.contains("varfile") => Some(destination.clone()),
        _ => None,
    });
    let removal = format!("rm -f {}", variables.unwrap());
    assert!(world.guest.commands().contains(&removal), "{:?}", world.guest.commands());
}
