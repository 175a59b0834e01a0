//! Who calls a daemon for all users at a terminal is asked for the password that polkit wants; nobody else is, and is told how to be. Daemon and
//! polkit's agent are stand-ins; the real polkit is asked in the daemon's tests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::rig::{PATIENCE, skip, wait_until};

const ALICE: u32 = 61001;

/// Notes how it was called, says that it is ready, and notes that it was asked to end. The end of its terminal it ignores.
const AGENT: &str = r#"#!/bin/sh
echo "called $*" > "$NOTES"
/bin/sleep 1000 >/dev/null 2>&1 &
trap '' HUP
trap 'kill $!; echo ended >> "$NOTES"; exit 0' TERM
exec 1>&-
wait $!
"#;

/// What a daemon answers, and to whom.
#[derive(Clone, Copy)]
enum Daemon {
    /// Who may be asked may.
    WantsPassword,
    /// Nobody may, whoever is asked: nobody could be.
    ReachesNobody,
    /// Nobody may.
    Refuses,
    /// A job of another's is none for who may not be asked.
    Hides,
    /// It ends its client where it would answer.
    Kills,
    /// It takes every build, and confines those of whom nobody was asked about: their template wants more.
    Confines,
    /// It takes every build, whose template wants nothing.
    Builds,
}

/// A request as the daemon saw it.
#[derive(Debug)]
struct Seen {
    line: String,
    interactive: bool,
    client: Pid,
    /// What the agent had noted by then.
    notes: String,
}

/// A machine whose daemon is root's, with a user.
struct Machine {
    scratch: TempDir,
    seen: Receiver<Seen>,
}

impl Machine {
    /// Makes one; nothing where it cannot be, which is then said.
    fn new(daemon: Daemon, agent: Option<&str>) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip("root");
            return None;
        }
        if Command::new("script").arg("--version").stdout(Stdio::null()).status().is_err() {
            skip("script");
            return None;
        }
        let scratch = tempfile::Builder::new().prefix("ka").tempdir_in("/tmp").unwrap();
        let path = |name: &str| scratch.path().join(name);
        std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for name in ["bin", "home"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        std::os::unix::fs::chown(path("home"), Some(ALICE), Some(ALICE)).unwrap();
        // By another process: a program that a neighbouring test's child has open for writing cannot be run.
        assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_kiln")).arg(path("kiln")).status().unwrap().success());
        if let Some(agent) = agent {
            let mut writer = Command::new("sh");
            writer.args(["-c", "cat > \"$1\" && chmod 755 \"$1\"", "sh"]).arg(path("bin/pkttyagent"));
            let mut writer = writer.stdin(Stdio::piped()).spawn().unwrap();
            writer.stdin.take().unwrap().write_all(agent.as_bytes()).unwrap();
            assert!(writer.wait().unwrap().success());
        }
        let listener = UnixListener::bind(path("kiln.sock")).unwrap();
        std::fs::set_permissions(path("kiln.sock"), PermissionsExt::from_mode(0o666)).unwrap();
        let (sender, seen) = mpsc::channel();
        let notes = path("home/notes");
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let Some(seen) = answer(daemon, stream, &notes) else { continue };
                if sender.send(seen).is_err() {
                    return;
                }
            }
        });
        Some(Self { scratch, seen })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Has alice call kiln, at a terminal or not; returns what she sees, and whether it went well.
    fn kiln(&self, terminal: bool, arguments: &str, variables: &[(&str, &str)]) -> (String, bool) {
        let kiln = format!("{} {arguments}", self.path("kiln").display());
        let mut command = Command::new("/usr/bin/timeout");
        command.args(["--kill-after=5", "120", "/usr/bin/setpriv"]).args([
            format!("--reuid={ALICE}"),
            format!("--regid={ALICE}"),
            "--clear-groups".to_owned(),
        ]);
        if terminal {
            command.args(["/usr/bin/script", "-qefc", &kiln, "/dev/null"]);
        } else {
            command.args(["/bin/sh", "-c", &format!("{kiln} 2>&1")]);
        }
        command.current_dir(self.path("home")).env_clear().env("SHELL", "/bin/sh").env("HOME", self.path("home"));
        command.env("PATH", self.path("bin")).env("KILN_SOCKET", self.path("kiln.sock"));
        command.env("NOTES", self.path("home/notes")).envs(variables.iter().copied());
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap();
        (String::from_utf8_lossy(&output.stdout).replace('\r', ""), output.status.success())
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("a request")
    }

    fn notes(&self) -> String {
        std::fs::read_to_string(self.path("home/notes")).unwrap_or_default()
    }
}

/// Reads a request and answers it.
fn answer(daemon: Daemon, mut stream: UnixStream, notes: &std::path::Path) -> Option<Seen> {
    let client = rustix::net::sockopt::socket_peercred(&stream).unwrap().pid;
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |text| text.parse().unwrap());
    reader.read_exact(&mut vec![0; length]).ok()?;
    let interactive = head.contains("\r\nkiln-allow-interaction: yes\r\n");
    let notes = std::fs::read_to_string(notes).unwrap_or_default();
    let line = head.lines().next().unwrap().to_owned();
    let problem = |code: &str, status: u16| {
        let problem = serde_json::json!({"code": code, "status": status, "title": "t", "detail": "polkit wants a password",
            "hint": "a rule allows it"});
        (status, problem.to_string())
    };
    let (status, body) = match daemon {
        Daemon::WantsPassword if !interactive => problem("needs-authentication", 403),
        Daemon::ReachesNobody => problem("needs-authentication", 403),
        Daemon::Refuses => problem("forbidden", 403),
        Daemon::Hides if !interactive => problem("no-such-job", 404),
        Daemon::Kills if !interactive => problem("needs-authentication", 403),
        Daemon::Kills => {
            kill_process(client, Signal::KILL).unwrap();
            return Some(Seen { line, interactive, client, notes });
        }
        Daemon::Confines if line.starts_with("GET /v1/jobs/aaaaaaaaaa/events") => {
            let problem = r#"{"severity":"error","summary":"Not confined to the guest"}"#;
            let diagnostics = format!(
                r#""kind":"diagnostics","severity":"error","text":"Error: Not confined","diagnostics":[{problem}]"#
            );
            (200, events(&[&diagnostics, r#""kind":"job_finished","state":"failed","exit_code":1,"elapsed_us":1"#]))
        }
        Daemon::Confines | Daemon::Builds | Daemon::Hides if line.contains("/events") => {
            (200, events(&[r#""kind":"job_finished","state":"succeeded","exit_code":0,"elapsed_us":1"#]))
        }
        Daemon::WantsPassword | Daemon::Hides | Daemon::Confines | Daemon::Builds => {
            let id = if matches!(daemon, Daemon::Confines) && interactive { "bbbbbbbbbb" } else { "aaaaaaaaaa" };
            let job = r#"{"id":"ID","kind":"build","template":"t","working_directory":"/w","state":"cancelling",
                          "created_at":"2026-01-02T03:04:05.678Z","last_event":3,"builds":[],"questions":[]}"#;
            (200, job.replace("ID", id))
        }
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}"
    );
    write!(stream, "{head}\r\n\r\n{body}").ok()?;
    Some(Seen { line, interactive, client, notes })
}

/// Writes a job's events, of what each has beside its number and its time.
fn events(bodies: &[&str]) -> String {
    let numbered = bodies.iter().zip(1..);
    numbered.map(|(body, seq)| format!("{{\"seq\":{seq},\"time\":\"2026-01-02T03:04:05.678Z\",{body}}}\n")).collect()
}

#[test]
fn who_is_refused_at_a_terminal_is_asked_and_the_agent_ends_with_the_call() {
    for daemon in [Daemon::WantsPassword, Daemon::Hides] {
        let Some(machine) = Machine::new(daemon, Some(AGENT)) else { return };
        let (said, went_well) = machine.kiln(true, "cancel aaaaaaaaaa", &[]);
        assert!(went_well && said.contains("job aaaaaaaaaa is cancelling"), "{said}");
        let (first, second) = (machine.next(), machine.next());
        assert!(!first.interactive && first.notes.is_empty(), "nobody is asked for nothing: {first:?}");
        let called = format!("called --process {} --notify-fd 1", second.client.as_raw_nonzero());
        assert!(second.interactive && second.notes.starts_with(&called), "{second:?}");
        assert_eq!(second.line, first.line);
        assert_eq!(machine.notes(), format!("{}ended\n", second.notes));
    }
}

#[test]
fn a_command_about_anothers_job_asks_once() {
    for (arguments, worth_asking) in [
        ("attach aaaaaaaaaa", "GET /v1/jobs/aaaaaaaaaa/events"),
        ("answer aaaaaaaaaa c", "POST /v1/jobs/aaaaaaaaaa/answers "),
        ("answer aaaaaaaaaa qemu.a c", "POST /v1/jobs/aaaaaaaaaa/answers "),
        ("jobs show aaaaaaaaaa", "GET /v1/jobs/aaaaaaaaaa "),
    ] {
        let Some(machine) = Machine::new(Daemon::Hides, Some(AGENT)) else { return };
        let (said, went_well) = machine.kiln(true, arguments, &[]);
        assert!(went_well, "{arguments}: {said}");
        let asked = std::iter::repeat_with(|| machine.next()).find(|seen| seen.interactive).unwrap();
        assert!(asked.line.starts_with(worth_asking), "{arguments}: {asked:?}");
        assert!(!machine.seen.try_iter().any(|seen| seen.interactive), "{arguments}: asked again");
    }
}

#[test]
fn a_build_that_stays_in_its_guest_asks_nobody() {
    let Some(machine) = Machine::new(Daemon::Builds, Some(AGENT)) else { return };
    let (said, went_well) = machine.kiln(true, "build t.pkr.hcl", &[]);
    assert!(went_well && !said.contains("password"), "{said}");
    for line in ["POST /v1/jobs ", "GET /v1/jobs/aaaaaaaaaa/events"] {
        let seen = machine.next();
        assert!(!seen.interactive && seen.line.starts_with(line), "{seen:?}");
    }
    assert!(machine.seen.try_recv().is_err() && machine.notes().is_empty());
}

#[test]
fn a_build_that_wants_to_leave_its_guest_asks_once_that_has_shown() {
    let Some(machine) = Machine::new(Daemon::Confines, Some(AGENT)) else { return };
    let (said, went_well) = machine.kiln(true, "build t.pkr.hcl", &[]);
    assert!(went_well, "{said}");
    let (errors, asked) = (said.find("Error: Not confined"), said.find("wants an administrator's password"));
    assert!(errors.is_some() && errors < asked, "{said}");
    for (line, interactive) in [
        ("POST /v1/jobs ", false),
        ("GET /v1/jobs/aaaaaaaaaa/events", false),
        ("POST /v1/jobs ", true),
        ("GET /v1/jobs/bbbbbbbbbb/events", false),
    ] {
        let seen = machine.next();
        assert!(seen.interactive == interactive && seen.line.starts_with(line), "{line}: {seen:?}");
        assert_eq!(seen.notes.is_empty(), line.contains("aaaaaaaaaa") || (line.starts_with("POST") && !interactive));
    }
    assert!(machine.notes().ends_with("ended\n"));
}

#[test]
fn where_nobody_can_be_asked_a_build_that_wants_to_leave_its_guest_fails() {
    for (terminal, arguments) in
        [(false, "build t.pkr.hcl"), (true, "build -no-ask-password t.pkr.hcl"), (true, "build -json t.pkr.hcl")]
    {
        let Some(machine) = Machine::new(Daemon::Confines, Some(AGENT)) else { return };
        let (said, went_well) = machine.kiln(terminal, arguments, &[]);
        assert!(!went_well && said.contains("Not confined"), "{arguments}: {said}");
        assert!(!machine.next().interactive && machine.next().line.contains("/events"));
        assert!(machine.seen.try_recv().is_err() && machine.notes().is_empty(), "{arguments}");
    }
}

#[test]
fn where_nobody_can_be_asked_the_refusal_says_how_to_be() {
    let Some(machine) = Machine::new(Daemon::WantsPassword, Some(AGENT)) else { return };
    let elsewhere = "at a terminal (and without CI and `-machine-readable`) the same command asks for it";
    for (terminal, arguments, variables, advice) in [
        (false, "cancel aaaaaaaaaa", &[][..], elsewhere),
        (true, "cancel aaaaaaaaaa", &[("CI", "true")], elsewhere),
        (true, "-machine-readable cancel aaaaaaaaaa", &[], elsewhere),
        (true, "cancel -no-ask-password aaaaaaaaaa", &[], "without `-no-ask-password` you are asked for it here"),
        (true, "build -no-ask-password -detach t.pkr.hcl", &[], "without `-no-ask-password` you are asked for it here"),
    ] {
        let (said, went_well) = machine.kiln(terminal, arguments, variables);
        assert!(!went_well, "{arguments}: {said}");
        let expected = format!("error: polkit wants a password\n\nhint: {advice}. a rule allows it\n");
        assert!(said.contains(&expected), "{arguments}: {said}");
        let seen = machine.next();
        assert!(!seen.interactive, "{arguments}: {seen:?}");
    }
    assert_eq!(machine.notes(), "", "no agent was started");
    assert!(machine.seen.try_recv().is_err(), "nothing was tried again");
}

#[test]
fn a_machine_without_an_agent_says_what_is_missing() {
    for (agent, advice) in [
        (None, "which asks at a terminal, is not installed; it comes with polkit. a rule allows it"),
        (Some("#!/bin/sh\nexit 1\n"), "has not become ready; `pkttyagent --process $$` shows why. a rule allows it"),
    ] {
        let Some(machine) = Machine::new(Daemon::ReachesNobody, agent) else { return };
        let (said, went_well) = machine.kiln(true, "cancel aaaaaaaaaa", &[]);
        assert!(!went_well && said.contains(advice), "{said}");
        assert!(!machine.next().interactive);
        assert!(machine.next().interactive, "an agent of the desktop could have been there");
    }
}

#[test]
fn what_is_forbidden_is_not_asked_about() {
    let Some(machine) = Machine::new(Daemon::Refuses, Some(AGENT)) else { return };
    let (said, went_well) = machine.kiln(true, "cancel aaaaaaaaaa", &[]);
    assert!(!went_well && said.contains("hint: a rule allows it"), "{said}");
    assert!(!machine.next().interactive);
    assert!(machine.seen.try_recv().is_err() && machine.notes().is_empty());
}

#[test]
fn an_agent_does_not_outlive_its_client() {
    let Some(machine) = Machine::new(Daemon::Kills, Some(AGENT)) else { return };
    let (_, went_well) = machine.kiln(true, "cancel aaaaaaaaaa", &[]);
    assert!(!went_well);
    wait_until("the agent has ended", || machine.notes().ends_with("ended\n"));
}
