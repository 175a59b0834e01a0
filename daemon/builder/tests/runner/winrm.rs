//! The null builder on a Windows guest, by WinRM, with what provisions Windows: on the stand-in of `tests/winrm/`, whose PowerShell and cmd
//! are small.

use std::sync::Arc;

use kiln_builder::{JobOutcome, Sweep, sweep};
use kiln_communicators::GuestConnector;

use super::launcher::{PASSWORD, StandIn};
use super::world::World;

/// What a file of the guest holds.
fn file_of(guest: &StandIn, path: &str) -> String {
    std::fs::read_to_string(guest.root.path().join(path)).unwrap()
}

/// Returns from a test where the stand-in cannot run.
macro_rules! stand_in_or_return {
    () => {
        match StandIn::start(&[]) {
            Some(stand_in) => stand_in,
            None => {
                let what = "the Python of `./x test`, with pyspnego";
                assert!(std::env::var_os("KILN_TEST_REQUIRE").is_none_or(|v| v != "all"), "needs {what}");
                println!("ignored: needs {what}");
                return;
            }
        }
    };
}

fn template(port: u16, more: &str, provisioners: &str) -> String {
    format!(
        "source \"null\" \"win\" {{\n  communicator = \"winrm\"\n  winrm_host = \"127.0.0.1\"\n  winrm_port = {port}\n  \
         winrm_username = \"packer\"\n  winrm_use_ntlm = true\n{more}\n}}\nbuild {{\n  sources = [\"null.win\"]\n{provisioners}\n}}\n"
    )
}

fn by_winrm() -> World {
    let mut world = World::new();
    world.connector = Some(Arc::new(GuestConnector));
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_is_provisioned_from_end_to_end() {
    let guest = stand_in_or_return!();
    let world = by_winrm();
    let root = world.directory.path().display().to_string();
    std::fs::write(world.path("a.ps1"), "Write-Output \"a file, of $env:PACKER_BUILDER_TYPE\"\r\n").unwrap();
    std::fs::create_dir_all(world.path("tree/sub")).unwrap();
    std::fs::write(world.path("tree/sub/file"), "from here").unwrap();
    let provisioners = r#"
  provisioner "file" {
    source      = "ROOT/tree"
    destination = "c:/brought"
  }
  provisioner "powershell" {
    inline = ["Write-Output \"hello from $env:PACKER_BUILD_NAME\"", "Set-Content c:/made.txt $env:GREETING"]
    env    = { GREETING = "hi \"there\" $x" }
  }
  provisioner "powershell" {
    script           = "ROOT/a.ps1"
    valid_exit_codes = [0]
  }
  provisioner "powershell" {
    inline            = ["Write-Output \"I am $env:USERNAME\"", "exit 7"]
    elevated_user     = "admin"
    elevated_password = build.WinRMPassword
    valid_exit_codes  = [7]
  }
  provisioner "windows-shell" {
    inline = ["echo batch $WORD"]
    env    = { WORD = "of words" }
  }
  provisioner "windows-restart" {
    restart_timeout = "3m"
    check_registry  = true
  }
  provisioner "file" {
    direction   = "download"
    source      = "c:/made.txt"
    destination = "ROOT/back.txt"
  }
"#;
    let more = format!("  winrm_password = \"{PASSWORD}\"\n  winrm_timeout = \"1m\"");
    let outcome = world.run(&template(guest.port, &more, &provisioners.replace("ROOT", &root))).await;
    let text = world.text();
    assert_eq!(outcome, JobOutcome { exit_code: 0, cancelled: false }, "{text}");
    for line in [
        "Using WinRM communicator to connect: 127.0.0.1",
        "Waiting for WinRM to become available...",
        "Connected to WinRM!",
        "hello from win",
        "a file, of null",
        "I am admin",
        "batch of words",
        "Restarting Machine",
        "Machine successfully restarted, moving on",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains(PASSWORD), "{text}");
    assert_eq!(std::fs::read_to_string(world.path("back.txt")).unwrap(), "hi \"there\" $x\r\n");
    assert_eq!(file_of(&guest, "c:/brought/sub/file"), "from here");
    // The command was run as the user that was asked for, who was told apart by the password.
    assert!(
        file_of(&guest, "c:/tasks.log").starts_with("user admin logon 1 password sha256 "),
        "{}",
        file_of(&guest, "c:/tasks.log")
    );
    // What was uploaded to be run is gone.
    let left: Vec<_> = std::fs::read_dir(guest.root.path().join("c:/Windows/Temp"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["script.bat"], "windows-shell leaves its script, as Packer's does");
    assert_eq!(sweep(&world.path("job")).unwrap(), Sweep::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guest_refuses_is_told_and_its_password_is_not() {
    let guest = stand_in_or_return!();
    // The time is one in which a login is tried on this machine.
    let mut text = String::new();
    for limit in ["2s", "8s", "1m"] {
        let world = by_winrm();
        let wrong = format!("  winrm_password = \"wrong-wrong-wrong\"\n  winrm_timeout = \"{limit}\"");
        let outcome = world.run(&template(guest.port, &wrong, "")).await;
        text = world.text();
        assert_eq!(outcome, JobOutcome { exit_code: 1, cancelled: false }, "{text}");
        if text.contains("the login is not accepted") {
            break;
        }
    }
    assert!(text.contains("Timeout waiting for WinRM. cannot connect to 127.0.0.1:"), "{text}");
    assert!(text.contains("the login is not accepted (tried: NTLM; the guest offers: Negotiate)"), "{text}");
    assert!(!text.contains("wrong-wrong-wrong"), "{text}");

    let world = by_winrm();
    let right = format!("  winrm_password = \"{PASSWORD}\"");
    let fails = "  provisioner \"powershell\" {\n    inline = [\"Write-Output one\", \"throw 'it broke'\"]\n  }";
    let outcome = world.run(&template(guest.port, &right, fails)).await;
    let text = world.text();
    assert_eq!(outcome, JobOutcome { exit_code: 1, cancelled: false }, "{text}");
    assert!(text.contains("it broke") && text.contains("non-zero exit status: 1"), "{text}");
    let left = std::fs::read_dir(guest.root.path().join("c:/Windows/Temp")).unwrap().count();
    assert_eq!(left, 0, "a script that failed is removed too");
}
