//! A guest that says far more than anybody reads: all of it arrives, and the worker's memory does not grow with it.

use std::fs;

use kiln_tests::{Home, tool};

use super::openssh::{self, SSHD, Server};

/// What the guest says without an end of line, and in lines.
const ONE_LINE: usize = 60 << 20;
const LINES: usize = 4 << 20;

/// How far the memory of the worker may grow meanwhile, in KiB: far less than what is said.
const GROWTH: u64 = 24 << 10;

/// Says the most memory that the worker, which has started this, has ever had.
const MEMORY: &str = r#"
  provisioner "shell-local" {
    inline = [
      "pid=$$; until [ \"$(cat /proc/$pid/comm)\" = kilnd ]; do [ \"$pid\" -gt 1 ] || exit 1; pid=$(sed 's/.*) . //; s/ .*//' /proc/$pid/stat); done",
      "sed -n 's/^VmHWM:/worker at most/p' /proc/$pid/status",
    ]
  }
"#;

#[test]
fn a_guest_that_says_64_mib_is_listened_to_in_little_memory() {
    if ![SSHD, "ssh-keygen"].iter().all(|name| tool(name)) {
        return;
    }
    let home = Home::new();
    // In a place of its own: it is nothing that a build leaves.
    let place = tempfile::tempdir().unwrap();
    let server = Server::start(place.path());
    fs::copy(place.path().join("key"), home.work("key")).unwrap();
    home.write(
        "t.pkr.hcl",
        &format!(
            r#"
source "null" "host" {{
  ssh_host             = "127.0.0.1"
  ssh_port             = {}
  ssh_username         = "{}"
  ssh_private_key_file = "key"
}}

build {{
  sources = ["null.host"]
  {MEMORY}
  provisioner "shell" {{
    inline = [
      "head -c {ONE_LINE} /dev/zero | tr '\\000' '~'; echo",
      "head -c {LINES} /dev/zero | tr '\\000' '@' | fold -w 128",
    ]
  }}
  {MEMORY}
}}
"#,
            server.port,
            openssh::user(),
        ),
    );
    let ran = home.kiln(["build", "-color=false", "t.pkr.hcl"]);
    let shown: Vec<&str> = ran.stdout.lines().filter(|line| !line.contains(['~', '@'])).collect();
    assert_eq!(ran.code(), 0, "{shown:#?}");
    let said = |what: u8| ran.stdout.bytes().filter(|byte| *byte == what).count();
    assert_eq!((said(b'~'), said(b'@')), (ONE_LINE, LINES), "{shown:#?}");
    let memory: Vec<u64> = shown
        .iter()
        .filter_map(|line| line.split_once("worker at most")?.1.trim().strip_suffix("kB")?.trim().parse().ok())
        .collect();
    let [before, after] = memory[..] else { panic!("{shown:#?}") };
    eprintln!("the worker had at most {before} KiB before and {after} KiB after");
    // Resident memory is counted for each processor by itself, and added up now and then: the second number may be the smaller one.
    assert!(
        after.saturating_sub(before) <= GROWTH,
        "the worker had at most {before} KiB before, and {after} KiB after"
    );
}
