//! The console as a person uses it: on a terminal, with a history that outlives it.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};

use kiln_tests::{Home, program, tool};

/// What is drawn when the console waits for a line.
const PROMPT: &str = "\u{1b}[K> ";

/// A console on a terminal that `script` makes.
struct Terminal {
    child: Child,
    seen: Vec<u8>,
}

impl Terminal {
    fn open(home: &Home, template: &str) -> Self {
        let command = format!("{} console {template}", program("kiln").display());
        let mut script = std::process::Command::new("script");
        script
            .args(["-qefc", &command, "/dev/null"])
            .current_dir(home.work(""))
            .env("TERM", "xterm")
            .env("HOME", home.path())
            .env("XDG_STATE_HOME", home.path().join("state"))
            .env_remove("NO_COLOR")
            .env_remove("PACKER_NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut terminal = Self { child: script.spawn().unwrap(), seen: Vec::new() };
        terminal.expect(PROMPT);
        terminal
    }

    /// Reads until `text` is shown; returns what came before it.
    #[track_caller]
    fn expect(&mut self, text: &str) -> String {
        loop {
            let found = self.seen.windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(at) = found {
                let before = String::from_utf8_lossy(&self.seen[..at]).into_owned();
                self.seen.drain(..at + text.len());
                return before;
            }
            let mut piece = [0; 4096];
            let read = self.child.stdout.as_mut().unwrap().read(&mut piece).unwrap();
            assert!(read > 0, "{text:?} was not shown before the end: {}", String::from_utf8_lossy(&self.seen));
            self.seen.extend_from_slice(&piece[..read]);
        }
    }

    fn send(&mut self, keys: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(keys.as_bytes()).unwrap();
        input.flush().unwrap();
    }

    /// Types a line; returns what is shown up to the next prompt.
    #[track_caller]
    fn line(&mut self, line: &str) -> String {
        self.send(&format!("{line}\r"));
        self.expect("\r\n");
        self.expect(PROMPT)
    }

    fn close(mut self, keys: &str) {
        self.send(keys);
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn a_console_on_a_terminal_answers_and_remembers_all_but_secrets() {
    if !tool("script") {
        return;
    }
    let home = Home::new();
    home.write(
        "t.pkr.hcl",
        "variable \"x\" {\n  default = \"hello\"\n}\nvariable \"secret\" {\n  default   = \"s3cretvalue\"\n  sensitive = true\n}\n",
    );
    let mut terminal = Terminal::open(&home, "t.pkr.hcl");
    assert!(terminal.line("upper(var.x)").contains("HELLO\r\n"));
    assert!(terminal.line("var.secret").contains("<sensitive>\r\n"));
    terminal.line("sha256(\"s3cretvalue\")");
    let error = terminal.line("var.xx");
    assert!(error.contains("did you mean \"x\"?") && error.contains("\u{1b}[1;31m"), "in colour: {error:?}");
    assert!(terminal.line("variables").contains("var.x: \"hello\"\r\n"));
    assert!(terminal.line("help").contains("variables"));
    terminal.close("exit\r");

    let history = home.path().join("state/kiln/console_history");
    assert_eq!(std::fs::metadata(&history).unwrap().permissions().mode() & 0o777, 0o600);
    let lines = std::fs::read_to_string(&history).unwrap();
    assert!(lines.contains("upper(var.x)") && !lines.contains("s3cret"), "{lines}");

    // The next console has them under the arrow key: exit, help, variables, var.xx, var.secret, upper(var.x).
    let mut terminal = Terminal::open(&home, "t.pkr.hcl");
    terminal.send(&"\u{1b}[A".repeat(6));
    terminal.expect("upper(var.x)");
    terminal.send("\r");
    assert!(terminal.expect(PROMPT).contains("HELLO\r\n"));
    // Ctrl-D ends it.
    terminal.close("\u{4}");
    assert!(!home.socket().exists(), "no daemon was started");
}
