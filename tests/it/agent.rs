//! `kiln agent` with a real kilnd, on a desktop that stands in for one (`desktop.rs`).

mod desktop;

use std::process::{Command, Stdio};
use std::time::Duration;

use kiln_tests::{Home, tool};
use rustix::process::Signal;

use desktop::{JOB_VIEWS, NOTIFICATIONS, Server, SessionBus, Shown};

/// Time for anything to be told: a loaded machine has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until it is let on, or cancelled.
const WAITS: &str = r#"
source "null" "x" {
  communicator = "none"
}
build {
  sources = ["null.x"]
  provisioner "shell-local" {
    inline = ["echo '<waiting>'", "read word < gate"]
  }
}
"#;

const FAILS: &str = r#"
source "null" "x" {
  communicator = "none"
}
build {
  sources = ["null.x"]
  provisioner "shell-local" {
    inline = ["exit 3"]
  }
}
"#;

#[test]
fn jobs_and_their_questions_are_on_the_desktop_and_its_buttons_are_heard() {
    if !(tool("dbus-daemon") && tool("mkfifo")) {
        return;
    }
    let home = Home::new();
    let bus = SessionBus::start(home.path());
    let server = Server::start(&bus.address, NOTIFICATIONS);
    // The program that shows a file: written by another process, so that nothing of this one holds it open when it is run.
    let opener = "mkdir bin && printf '#!/bin/sh\\ncat \"$1\" > \"$HOME/opened.new\"; mv \"$HOME/opened.new\" \"$HOME/opened\"\\n' > bin/xdg-open && chmod 755 bin/xdg-open && mkfifo gate";
    assert!(Command::new("sh").args(["-c", opener]).current_dir(home.work("")).status().unwrap().success());
    let path = format!("{}:{}", home.work("bin").display(), std::env::var("PATH").unwrap());
    let kiln = |arguments: &[&str]| {
        let mut command = home.command("kiln");
        command.args(arguments).env("DBUS_SESSION_BUS_ADDRESS", &bus.address).env("PATH", &path);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus");
        command
    };
    let submit = |arguments: &[&str]| {
        let output = kiln(&[&["build", "--detach"], arguments].concat()).stderr(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    home.write("waits.pkr.hcl", WAITS);
    home.write("fails.pkr.hcl", FAILS);
    let until = |wanted: &dyn Fn(&Shown) -> bool, what: &str| {
        let found = || server.told.lock().unwrap().shown.iter().rev().find(|shown| wanted(shown)).cloned();
        home.wait_for(what, PATIENCE, found)
    };
    let is_closed = |number: u32| server.told.lock().unwrap().closed.contains(&number).then_some(());

    // A job that runs already when the agent comes.
    let first = submit(&["waits.pkr.hcl"]);
    let agent = home.start_command(kiln(&["agent"]));
    let runs = until(&|shown| shown.summary == "Building waits.pkr.hcl" && shown.body.contains("provision"), "the job");
    assert_eq!(runs.urgency, 0);
    let buttons: Vec<&str> = runs.buttons.iter().map(|(_, label)| label.as_str()).collect();
    assert_eq!(buttons, ["Open log", "Cancel"]);
    let second = home.start_command(kiln(&["agent"])).wait().expect(1);
    assert!(second.stderr.contains("another `kiln agent` runs in this session"), "{}", second.stderr);

    // Its log is shown by the program that the desktop has for it.
    let opened = home.path().join("opened");
    let log = home.wait_for("the log", PATIENCE, || {
        server.press(runs.number, &runs.buttons[0].0);
        std::fs::read_to_string(&opened).ok().filter(|log| log.contains("<waiting>"))
    });
    assert!(log.contains("null.x"), "{log}");

    // KDE's list of jobs has come: it shows what the notification did, and its button cancels the job.
    let views = Server::start(&bus.address, JOB_VIEWS);
    let said = |words: &str| views.told.lock().unwrap().views.iter().any(|call| call.contains(words)).then_some(());
    home.wait_for("the view", PATIENCE, || said("view 1: setInfoMessage Building waits.pkr.hcl"));
    home.wait_for("the end of the notification", PATIENCE, || is_closed(runs.number));
    assert!(said("view 1: requestView Kiln 1").is_some());
    views.cancel(1);
    home.wait_for("the end of the view", PATIENCE, || said("view 1: terminate "));
    let end = until(&|shown| shown.summary == "waits.pkr.hcl was cancelled", "its end");
    assert_eq!(end.replaces, 0);
    assert!(
        kiln(&["jobs", "show", &first])
            .output()
            .is_ok_and(|shown| { String::from_utf8_lossy(&shown.stdout).contains("cancelled") })
    );

    // A question: its buttons are the answers, and it closes when it is answered.
    submit(&["-on-error=ask", "fails.pkr.hcl"]);
    let question = until(&|shown| shown.summary == "Kiln asks", "the question");
    assert_eq!(question.urgency, 2);
    let abort = question.buttons.iter().find(|(_, label)| label.to_lowercase().contains("abort"));
    let (abort, _) = abort.unwrap_or_else(|| panic!("{question:?}"));
    server.press(question.number, abort);
    let failed = until(&|shown| shown.summary == "fails.pkr.hcl has failed", "its end");
    assert!(failed.body.contains("shell-local") || !failed.body.is_empty(), "{failed:?}");
    home.wait_for("the end of the question", PATIENCE, || is_closed(question.number));

    // A button that comes too late says so.
    server.press(end.number, "7");
    submit(&["waits.pkr.hcl"]);
    home.wait_for("the next view", PATIENCE, || said("view 3: setInfoMessage Building waits.pkr.hcl"));
    agent.signal(Signal::TERM);
    let ended = agent.wait().expect(0);
    assert_eq!(ended.stderr, "");
    assert!(said("view 3: terminate ").is_some(), "nothing of it stays: {:?}", views.told.lock().unwrap());
    let left = std::fs::read_dir(home.path().join("run")).unwrap().flatten();
    assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("kiln-agent")));
}
