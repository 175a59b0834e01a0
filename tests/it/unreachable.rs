//! A guest that cannot be reached, or not again: the build says at which stage, shows the screen and the serial console, and gives a hint.

use kiln_tests::{Home, Ran, installer};

use crate::guests::{PASSWORD, Template};

fn build(answers: &[&str], password: &str, timeout: &str) -> Option<(Home, Ran)> {
    build_with(answers, password, timeout, "")
}

fn build_with(answers: &[&str], password: &str, timeout: &str, build: &str) -> Option<(Home, Ran)> {
    let iso = installer()?;
    let home = Home::new();
    let source = format!("ssh_password = {password:?}\n  ssh_timeout = {timeout:?}");
    home.write("guest.pkr.hcl", &Template { iso: &iso, answers, source: &source, build }.text());
    let ran = home.kiln(["build", "-color=false", "guest.pkr.hcl"]).expect(1);
    assert!(!home.work("out").exists());
    let leftovers = home.leftovers();
    assert!(leftovers.is_empty(), "{leftovers:?}");
    Some((home, ran))
}

#[track_caller]
fn assert_explained(ran: &Ran, stage: &str) {
    let text = &ran.stdout;
    assert!(text.contains("Timeout waiting for SSH"), "{text}");
    assert!(text.contains(stage), "{stage:?} is not in\n{text}");
    assert!(text.contains("hint: "), "{text}");
    assert!(text.contains("kiln-tiny: "), "the serial console's tail is not in\n{text}");
    let screen = text.lines().find_map(|line| line.split_once("screen was saved to ").map(|(_, path)| path.trim()));
    let screen = std::fs::read(screen.expect("the screen was saved")).expect("the picture is there");
    assert_eq!(&screen[1..4], b"PNG");
    assert!(!text.contains(PASSWORD));
}

#[test]
fn a_guest_without_an_address() {
    let Some((_home, ran)) = build(&["fail=no-dhcp"], PASSWORD, "60s") else { return };
    assert_explained(&ran, "the guest has no address");
}

#[test]
fn a_guest_without_an_ssh_server() {
    let Some((_home, ran)) = build(&["fail=no-sshd"], PASSWORD, "60s") else { return };
    assert_explained(&ran, "the port closes every connection at once");
}

#[test]
fn a_guest_whose_ssh_server_hangs() {
    let Some((_home, ran)) = build(&["fail=no-banner"], PASSWORD, "120s") else { return };
    assert_explained(&ran, "never says anything");
}

#[test]
fn a_guest_that_refuses_the_password() {
    let Some((_home, ran)) = build(&[], "not-the-password", "120s") else { return };
    assert_explained(&ran, "the login is not accepted (tried: ");
}

#[test]
fn an_installer_that_fails() {
    let Some((_home, ran)) = build(&["fail=install"], PASSWORD, "60s") else { return };
    assert_explained(&ran, "INSTALLATION FAILED");
}

#[test]
fn a_guest_that_crashes_under_its_provisioners() {
    let provisioners = r#"
  provisioner "shell" {
    inline            = ["echo 1 > /proc/sys/kernel/sysrq", "(sleep 1; echo c > /proc/sysrq-trigger) & sleep 300"]
    expect_disconnect = true
  }
  provisioner "shell" {
    inline              = ["echo never"]
    start_retry_timeout = "10s"
  }"#;
    let Some((_home, ran)) = build_with(&[], PASSWORD, "300s", provisioners) else { return };
    let text = &ran.stdout;
    let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words:?} is not in\n{text}"));
    let order = [
        "SSH: logged in\n",
        "SSH: the connection was lost\n",
        " its kernel has crashed\n",
        "screen was saved to ",
        "Kernel panic - not syncing: sysrq triggered crash",
        "could not be made again: cannot connect to ",
        "last seen: its kernel has crashed",
        "hint: the guest's kernel has crashed",
    ]
    .map(at);
    assert!(order.is_sorted(), "{text}");
}
