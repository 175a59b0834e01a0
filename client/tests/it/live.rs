//! Live lines on a terminal that `script` makes.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::rig::{Home, skip};

/// `kiln` on a terminal of some columns.
struct Terminal {
    child: Child,
    seen: String,
    /// How much of that has been waited for: what came before is not met again.
    met: usize,
}

impl Terminal {
    fn open(home: &Home, columns: u16, arguments: &str) -> Option<Self> {
        let command = format!("stty cols {columns} rows 24; exec {} {arguments}", home.path("bin/kiln").display());
        let mut script = Command::new("script");
        let template = home.command("");
        script.args(["-qefc", &command, "/dev/null"]).current_dir(home.path("work")).env_clear();
        script.envs(template.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::piped());
        match script.spawn() {
            Ok(child) => Some(Self { child, seen: String::new(), met: 0 }),
            Err(_) => {
                skip("script");
                None
            }
        }
    }

    fn read_until(&mut self, text: &str) {
        self.read_until_one_of(&[text.to_owned()]);
    }

    /// Until a time of at least so many seconds, and less than ten, is shown between these: a busy machine leaves seconds out.
    fn read_until_seconds(&mut self, before: &str, seconds: u32, after: &str) {
        let texts: Vec<String> = (seconds..10).map(|seconds| format!("{before}0:0{seconds}{after}")).collect();
        self.read_until_one_of(&texts);
    }

    fn read_until_one_of(&mut self, texts: &[String]) {
        let mut bytes = [0; 4096];
        loop {
            let new = &self.seen[self.met..];
            if let Some(end) = texts.iter().filter_map(|text| Some(new.find(text)? + text.len())).min() {
                self.met += end;
                return;
            }
            let length = self.child.stdout.as_mut().unwrap().read(&mut bytes).unwrap();
            assert_ne!(length, 0, "{texts:?} did not come after {:?}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    }

    /// Waits for the end; returns all that was written and the exit code.
    fn finish(mut self) -> (String, Option<i32>) {
        let mut rest = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut rest).unwrap();
        self.seen.push_str(&String::from_utf8_lossy(&rest));
        (self.seen.clone(), self.child.wait().unwrap().code())
    }
}

/// What is left on the screen when everything was drawn: rows without what was erased.
fn screen(written: &str) -> Vec<String> {
    let mut rows = vec![String::new()];
    let (mut row, mut rest) = (0, written);
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        match character {
            '\r' if rest.starts_with('\n') => {}
            '\r' => rows[row].push('\r'),
            '\n' => {
                row += 1;
                if row == rows.len() {
                    rows.push(String::new());
                }
            }
            '\x1b' => {
                let end = rest.find(|c: char| c.is_ascii_alphabetic()).expect("the end of a sequence");
                let (count, action) = (rest[1..end].parse().unwrap_or(1), &rest[end..=end]);
                match action {
                    "A" => row -= std::cmp::min(count, row),
                    "B" => row = std::cmp::min(row + count, rows.len() - 1),
                    "K" => rows[row].clear(),
                    _ => {}
                }
                rest = &rest[end + 1..];
            }
            other => {
                if rows[row].ends_with('\r') {
                    rows[row].clear();
                }
                rows[row].push(other);
            }
        }
    }
    rows.iter().map(|row| row.trim_matches('\r').to_owned()).filter(|row| !row.is_empty()).collect()
}

#[test]
fn a_wait_is_drawn_in_place_and_gone_afterwards() {
    let Some(home) = Home::new() else { return };
    home.script(
        "t.json",
        &json!([
            {"emit": {"build": "qemu.a", "kind": "build_planned", "position": 0}},
            {"emit": {"build": "qemu.a", "kind": "waiting", "what": "connect", "limit_us": 600_000_000}},
            {"await_file": "said"},
            {"emit": {"build": "qemu.a", "kind": "message", "text": "from a script"}},
            {"await_file": "go"},
            {"emit": {"build": "qemu.a", "kind": "wait_finished", "what": "connect"}},
            {"emit": {"build": "qemu.a", "kind": "build_finished", "elapsed_us": 3_000_000}},
        ]),
    );
    let Some(mut terminal) = Terminal::open(&home, 80, "build t.json") else { return };
    terminal.read_until_seconds("qemu.a: connect ", 2, " of 10:00");
    std::fs::write(home.path("work/said"), "").unwrap();
    terminal.read_until("from a script");
    terminal.read_until_seconds("qemu.a: connect ", 3, " of 10:00");
    std::fs::write(home.path("work/go"), "").unwrap();
    let (written, code) = terminal.finish();
    let shown = screen(&written);
    assert_eq!(code, Some(0), "{shown:#?}");
    assert!(!shown.iter().any(|row| row.contains(" of 10:00")), "{shown:#?}");
    // What a script says is indented and not bold; Kiln's own words are neither.
    assert!(written.contains("\x1b[32m    qemu.a: from a script\x1b[0m"), "{written:?}");
    assert!(written.contains("\x1b[1;32mBuild 'qemu.a' finished after 3 seconds."), "{written:?}");
}

#[test]
fn a_transfer_has_a_bar_at_forty_columns_and_none_at_its_end() {
    let Some(home) = Home::new() else { return };
    let progress = |done: u64| {
        let what = "download https://example.org/a/long/path/to/debian-12.12.0-amd64-netinst.iso";
        json!({"emit": {"build": "qemu.a", "kind": "progress", "what": what, "done": done, "total": 100_000}})
    };
    let mut actions = vec![json!({"emit": {"build": "qemu.a", "kind": "build_planned", "position": 0}})];
    actions.push(progress(50_000));
    actions.push(json!({"await_file": "go"}));
    actions.extend(std::iter::repeat_n(progress(100_000), 37));
    actions.push(json!({"emit": {"build": "qemu.a", "kind": "build_finished", "elapsed_us": 3_000_000}}));
    home.script("t.json", &json!(actions));
    let Some(mut terminal) = Terminal::open(&home, 40, "build t.json") else { return };
    terminal.read_until("[#####-----] 50%");
    std::fs::write(home.path("work/go"), "").unwrap();
    let (written, code) = terminal.finish();
    assert_eq!(code, Some(0));
    assert!(!written.contains("100%") && !written.contains("TiB/s"), "{written:?}");
    assert!(!screen(&written).iter().any(|row| row.contains('%')), "{:#?}", screen(&written));
}

#[test]
fn a_job_in_the_queue_says_how_long_it_waits() {
    let Some(home) = Home::new() else { return };
    assert!(home.command("jobs").env("KILN_MAX_JOBS", "1").output().unwrap().status.success());
    let script = json!([{"await_file": "go"}]);
    let first = home.detach(&script);
    home.wait_for_state(&first, "running");
    home.script("t.json", &script);
    let Some(mut terminal) = Terminal::open(&home, 80, "build t.json") else { return };
    terminal.read_until_seconds("waiting for other jobs ", 2, "");
    std::fs::write(home.path("work/go"), "").unwrap();
    let (written, code) = terminal.finish();
    assert_eq!(code, Some(0));
    assert!(!screen(&written).iter().any(|row| row.contains("other jobs 0:")), "{:#?}", screen(&written));
}

#[test]
fn validate_says_whom_it_asks_until_the_answer_comes() {
    let Some(home) = Home::new() else { return };
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let template = format!(
        "variable \"t\" {{\n  default   = \"a-secret-of-mine\"\n  sensitive = true\n}}\n\
         data \"http\" \"x\" {{\n  url = \"http://{address}/slow?v=${{var.t}}\"\n}}\n\
         source \"file\" \"a\" {{\n  target  = \"x\"\n  content = data.http.x.body\n}}\n\
         build {{\n  sources = [\"file.a\"]\n}}\n"
    );
    std::fs::write(home.path("work/t.pkr.hcl"), template).unwrap();
    let Some(mut terminal) = Terminal::open(&home, 80, "validate -evaluate-datasources t.pkr.hcl") else { return };
    terminal.read_until_seconds(&format!("data.http.x: asking http://{address}/slow?v=<sensitive> "), 2, "");
    terminal.read_until_seconds(" ", 3, "");
    // It has connected, or it would not wait.
    let (mut connection, _) = server.accept().unwrap();
    connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi").unwrap();
    drop(connection);
    let (written, code) = terminal.finish();
    let shown = screen(&written);
    assert_eq!((code, &*shown), (Some(0), &["The configuration is valid.".to_owned()][..]));
    assert!(!written.contains("a-secret-of-mine"), "{written:?}");
}
