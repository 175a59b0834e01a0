//! A real distribution: Debian 12 with systemd and OpenSSH is built on, restarted in the middle, and tells in its own log
//! how it was reached. It has a TPM, which its kernel finds at both boots.

use std::path::Path;
use std::process::{Command, Output};

use kiln_tests::{Home, debian, tool};

const BUILD: &str = r#"
build {
  sources = ["source.qemu.debian"]

  provisioner "shell" {
    inline = [
      "echo first > /root/first",
      "cat /proc/sys/kernel/random/boot_id > /root/boot",
      "systemctl is-active ssh",
      "echo before: TPM $(cat /sys/class/tpm/tpm0/tpm_version_major)",
    ]
  }
  provisioner "file" {
    content     = "by file"
    destination = "/root/second"
  }
  provisioner "shell" {
    inline            = ["systemctl reboot", "sleep 60"]
    expect_disconnect = true
  }
  provisioner "shell" {
    inline = [
      "cat /root/first /root/second",
      "! cmp -s /root/boot /proc/sys/kernel/random/boot_id",
      "echo after: TPM $(cat /sys/class/tpm/tpm0/tpm_version_major)",
      "journalctl --unit=ssh --output=short-precise > /root/ssh.log",
    ]
  }
  provisioner "file" {
    direction   = "download"
    source      = "/root/ssh.log"
    destination = "ssh.log"
  }
}
"#;

/// Judges a guest's log as `./x lab debian` does.
fn check_ssh_log(log: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/debian/check-ssh-log");
    Command::new(script).arg(log).output().unwrap()
}

#[test]
fn a_debian_is_built_on_and_restarted_without_a_flood_of_connections() {
    let Some(disk) = debian() else { return };
    if !tool("qemu-img") || !tool("swtpm") {
        return;
    }
    let home = Home::new();
    let source = include_str!("../bench/debian/source.pkr.hcl");
    let (head, rest) = source.split_once("  headless ").expect("the template says so");
    home.write("guest/source.pkr.hcl", &format!("{head}  vtpm             = true\n  headless {rest}"));
    home.write("guest/build.pkr.hcl", BUILD);
    let disk = format!("disk={}", disk.display());
    let ran = home.kiln(["build", "-color=false", "-var", &disk, "-var", "output=out", "guest"]).expect(0);
    for line in ["active", "first", "by file", "before: TPM 2", "after: TPM 2"] {
        assert!(ran.stdout.contains(line), "{line} is missing in {}", ran.stdout);
    }
    let judged = check_ssh_log(&home.work("ssh.log"));
    let log = std::fs::read_to_string(home.work("ssh.log")).unwrap();
    assert!(judged.status.success(), "{}\n{log}", String::from_utf8_lossy(&judged.stdout));
    assert_eq!(log.matches("Server listening on 0.0.0.0").count(), 2, "two boots: {log}");
    let check =
        Command::new("qemu-img").args(["check", "-f", "qcow2"]).arg(home.work("out/packer-debian")).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    assert!(home.leftovers().is_empty(), "{:?}", home.leftovers());
}

/// The judge of the log above finds what it is there to find; the lines are those of OpenSSH 9.2 and 10.
#[test]
fn the_judge_of_the_guests_log_tells_good_from_bad() {
    let home = Home::new();
    let connection = "debian sshd[1]: Connection from 10.0.2.2 port 1 on 10.0.2.15 port 22 rdomain \"\"\n";
    let login = "debian sshd-session[2]: Connection from 10.0.2.2 port 2 on 10.0.2.15 port 22 rdomain \"\"\n\
                 debian sshd-session[2]: Accepted password for root from 10.0.2.2 port 2 ssh2\n";
    let boot = "-- Boot d3195c6fb50442ab86317e578c7c1a61 --\n";
    let deferred = "debian sshd[3]: srclimit_penalise: ipv4: new 10.0.2.2/32 deferred penalty of 1 seconds for penalty: \
                    connections without attempting authentication\n";
    let active = deferred.replace("deferred", "active");
    let dropped = "debian sshd[3]: drop connection #10 from [10.0.2.2]:3 on [10.0.2.15]:22 past MaxStartups\n";
    let penalty =
        "debian sshd[3]: drop connection #0 from [10.0.2.2]:3 on [10.0.2.15]:22 penalty: failed authentication\n";
    let two = connection.repeat(2);
    for (log, good) in [
        (login.to_owned(), true),
        (format!("{two}{deferred}{login}{boot}{two}{login}"), true),
        (format!("{two}{connection}{login}"), false),
        (format!("{login}{boot}{two}{connection}{login}"), false),
        (format!("{login}{dropped}"), false),
        (format!("{login}{penalty}"), false),
        (format!("{login}{active}"), false),
        (connection.to_owned(), false),
        (String::new(), false),
    ] {
        home.write("ssh.log", &log);
        let judged = check_ssh_log(&home.work("ssh.log"));
        assert_eq!(judged.status.success(), good, "{}\n{log}", String::from_utf8_lossy(&judged.stdout));
    }
}
