//! The ansible provisioner with a stand-in for Ansible, which tells what it was started with; and the proxy with OpenSSH's own client.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use kiln_communicators::fake::{Answer, FakeCommunicator};
use kiln_communicators::ssh::{KeyKind, KeyPair, generate_key_pair};
use russh::keys::{decode_secret_key, parse_public_key_base64};

use super::proxy::Proxy;
use super::session::Served;
use crate::provisioners::harness::{Ran, files, run};

const STAND_IN: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then echo "ansible-playbook [core 2.14.18]"; exit 0; fi
for argument; do printf 'argument:%s\n' "$argument"; done
env | grep ^ANSIBLE_ | grep -v ^ANSIBLE_SSH_CONTROL_PATH_DIR= | sort | sed s/^/environment:/
while [ $# -gt 2 ]; do
  case $2 in ansible_ssh_private_key_file=*) sed s/^/key:/ "${2#*=}"; stat -c 'mode:%a' "${2#*=}";; esac
  shift
done
if [ -f "$1" ]; then sed s/^/inventory:/ "$1"; fi
exit ${ANSIBLE_STAND_IN_CODE:-0}
"#;

/// A playbook, and the stand-in for Ansible. A shell writes it: a program that a thread here has open for writing, a fork of another
/// thread keeps from being started.
fn home() -> tempfile::TempDir {
    let home = files(&[("site.yml", "- hosts: all\n"), ("text", STAND_IN)]);
    let made = Command::new("sh").args(["-c", "cat text > play && chmod +x play"]).current_dir(home.path()).status();
    assert!(made.unwrap().success());
    home
}

async fn play(home: &Path, more: &str) -> Ran {
    let at = home.display();
    let body = format!("playbook_file = \"{at}/site.yml\"\ncommand = \"{at}/play\"\n{more}");
    run("ansible", &body, &FakeCommunicator::new()).await
}

fn lines<'a>(ran: &'a Ran, kind: &str) -> Vec<&'a str> {
    ran.said.iter().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(':')).collect()
}

/// The path behind a word of the inventory or of an argument.
fn value<'a>(line: &'a str, name: &str) -> &'a str {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
}

#[tokio::test]
async fn ansible_is_started_as_packer_does_and_leaves_nothing() {
    let home = home();
    let ran = play(home.path(), "user = \"me\"\nextra_arguments = [\"-v\", \"-e\", \"my_password=x y\"]").await;
    ran.result.as_ref().unwrap();
    let arguments = lines(&ran, "argument");
    let key = value(arguments[arguments.len() - 4], "ansible_ssh_private_key_file");
    let inventory = arguments[arguments.len() - 2];
    let playbook = home.path().join("site.yml").display().to_string();
    assert_eq!(
        arguments,
        [
            "-e",
            "packer_build_name=\"web\"",
            "-e",
            "packer_builder_type=qemu",
            "-e",
            "packer_http_addr=10.0.2.2:8123",
            "--ssh-extra-args",
            "'-o IdentitiesOnly=yes'",
            "-v",
            "-e",
            "my_password=x y",
            "-e",
            &format!("ansible_ssh_private_key_file={key}"),
            "-i",
            inventory,
            &playbook,
        ]
    );
    let [line] = lines(&ran, "inventory")[..] else { panic!("{:?}", ran.said) };
    let port = value(line, "ansible_port");
    assert_eq!(line, format!("default ansible_host=127.0.0.1 ansible_user=me ansible_port={port}"));
    assert_eq!(lines(&ran, "environment"), ["ANSIBLE_HOST_KEY_CHECKING=False", "ANSIBLE_SCP_IF_SSH=True"]);
    assert_eq!(lines(&ran, "mode"), ["600"]);
    let shown = ran.said.iter().find(|line| line.starts_with("Executing Ansible: ")).unwrap();
    assert!(shown.contains("my_password=***** ") && !shown.contains("x y"), "{shown}");
    assert!(!Path::new(key).exists() && !Path::new(inventory).exists(), "{key} {inventory}");
    let (held, given_back) =
        (ran.ledger.matches("\"held\":true").count(), ran.ledger.matches("\"held\":false").count());
    assert!(held >= 4 && held == given_back, "{}", ran.ledger);
}

#[tokio::test]
async fn groups_names_and_variables_are_the_templates() {
    let home = home();
    let options = "groups = [\"web\", \"db\"]\nempty_groups = [\"none\"]\nhost_alias = \"box\"\nuse_sftp = true\n\
                   inventory_file_template = \"{{ .HostAlias }} at={{ .Host }} by={{ .User }} {{ .ConnType }}\\n\"\n\
                   user = \"me\"\nansible_env_vars = [\"ANSIBLE_A=1\", \"ANSIBLE_B={{ .User }}\"]\n\
                   ansible_ssh_extra_args = [\"-o A=b\", \"-4\"]\nskip_version_check = true\n\
                   ansible_winrm_use_http = true\nansible_proxy_key_type = \"RSA\"";
    let ran = play(home.path(), options).await;
    ran.result.as_ref().unwrap();
    let line = "box at=127.0.0.1 by=me ssh";
    assert_eq!(lines(&ran, "inventory"), [line, "[web]", line, "[db]", line, "[none]"]);
    let environment = lines(&ran, "environment");
    assert_eq!(environment, ["ANSIBLE_A=1", "ANSIBLE_B=root", "ANSIBLE_HOST_KEY_CHECKING=False"]);
    let arguments = lines(&ran, "argument");
    assert!(arguments.contains(&"'-o A=b' '-4'") && arguments.contains(&"ansible_winrm_scheme=http"), "{arguments:?}");
    assert!(!ran.said.iter().any(|line| line.contains("version:")), "{:?}", ran.said);
}

#[tokio::test]
async fn an_inventory_can_be_kept_or_be_the_templates_own() {
    let (home, kept) = (home(), tempfile::tempdir().unwrap());
    let options = format!("inventory_directory = \"{}\"\nkeep_inventory_file = true", kept.path().display());
    let ran = play(home.path(), &options).await;
    ran.result.as_ref().unwrap();
    let arguments = lines(&ran, "argument");
    assert_eq!(arguments[arguments.len() - 2], kept.path().display().to_string(), "the directory is the inventory");
    let left: Vec<_> = std::fs::read_dir(kept.path()).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(left.len() == 1 && left[0].file_name().to_string_lossy().starts_with("packer-provisioner-ansible"));
    let ran = play(home.path(), &format!("inventory_file = \"{}/site.yml\"", home.path().display())).await;
    assert_eq!(lines(&ran, "inventory"), ["- hosts: all"]);
}

#[tokio::test]
async fn without_the_proxy_ansible_goes_straight_to_the_guest_with_the_builds_key() {
    let home = home();
    let ran = play(home.path(), "use_proxy = false").await;
    ran.result.as_ref().unwrap();
    assert_eq!(lines(&ran, "inventory"), ["default ansible_host=127.0.0.1 ansible_user=root ansible_port=2222"]);
    assert_eq!((lines(&ran, "key"), lines(&ran, "mode")), (vec!["A KEY"], vec!["600"]));
    assert!(ran.said.contains(
        &"Not using Proxy adapter for Ansible run:\n\tUsing ssh keys from Packer communicator...".to_owned()
    ));
}

#[tokio::test]
async fn roles_and_collections_are_installed_first() {
    let home = home();
    std::fs::write(home.path().join("r.yml"), "roles:\n- a\ncollections:\n- b\n").unwrap();
    let at = home.path().display();
    let options = format!(
        "galaxy_file = \"{at}/r.yml\"\ngalaxy_command = \"{at}/play\"\ngalaxy_force_install = true\n\
         galaxy_force_with_deps = true\nroles_path = \"r\"\ncollections_path = \"c\""
    );
    let ran = play(home.path(), &options).await;
    ran.result.as_ref().unwrap();
    let arguments = lines(&ran, "argument").join(" ");
    let file = format!("{at}/r.yml -f --force-with-deps -p");
    assert!(arguments.starts_with(&format!("install -r {file} r collection install -r {file} c -e ")), "{arguments}");
}

#[tokio::test]
async fn what_fails_is_told_with_what_to_do() {
    let home = home();
    let ran = play(home.path(), "ansible_env_vars = [\"ANSIBLE_STAND_IN_CODE=2\"]").await;
    let error = ran.result.unwrap_err();
    assert_eq!(error.to_string(), "Error executing Ansible: Non-zero exit status: exit status 2");
    assert!(error.explanation()[0].contains("-vvv"));
    let at = home.path().display();
    let body = format!("playbook_file = \"{at}/site.yml\"\ncommand = \"/nonexistent/play\"");
    let error = run("ansible", &body, &FakeCommunicator::new()).await.result.unwrap_err();
    assert!(error.to_string().starts_with("cannot run /nonexistent/play"), "{error}");
    let ran = play(home.path(), &format!("ssh_host_key_file = \"{at}/site.yml\"")).await;
    assert!(ran.result.unwrap_err().to_string().contains("is no host key that can be used"));
    let ran = play(home.path(), &format!("ssh_authorized_key_file = \"{at}/site.yml\"")).await;
    assert!(ran.result.unwrap_err().to_string().contains("is no public key"));
}

#[tokio::test]
async fn the_proxy_listens_where_the_template_wants_it() {
    let home = home();
    let wanted = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ran = play(home.path(), &format!("local_port = {wanted}")).await;
    ran.result.as_ref().unwrap();
    let [line] = lines(&ran, "inventory")[..] else { panic!("{:?}", ran.said) };
    let port: u16 = value(line, "ansible_port").parse().unwrap();
    // Somebody may have taken it meanwhile; then it is one of those behind it.
    assert!((wanted..wanted.saturating_add(10)).contains(&port), "{port} for {wanted}");
}

/// A proxy in front of `guest`, a file with the key that opens it, and the key.
async fn proxy(guest: &FakeCommunicator, port: u16) -> (Proxy, tempfile::TempDir, KeyPair) {
    let key = generate_key_pair(KeyKind::Ed25519, "client").unwrap();
    let host = generate_key_pair(KeyKind::Ed25519, "host").unwrap();
    let host = decode_secret_key(host.private_openssh.expose(), None).unwrap();
    let public = key.public_authorized_keys.split(' ').nth(1).unwrap();
    let served = Served {
        guest: Arc::new(guest.clone()),
        key: parse_public_key_base64(public).unwrap(),
        sftp_command: "the-sftp-server".to_owned(),
    };
    let proxy = Proxy::start(port, host, served).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    write_key(home.path(), &key);
    (proxy, home, key)
}

fn write_key(home: &Path, key: &KeyPair) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new();
    let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(home.join("key")).unwrap();
    file.write_all(key.private_openssh.expose().as_bytes()).unwrap();
}

/// Runs OpenSSH's client; nothing where there is none.
async fn ssh(home: &Path, port: u16, input: &[u8], command: &[&str]) -> Option<(i32, Vec<u8>, String)> {
    use tokio::io::AsyncWriteExt as _;
    let mut client = tokio::process::Command::new("ssh");
    client.args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
    client
        .args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-i"])
        .arg(home.join("key"));
    client.args(["-p", &port.to_string()]).args(command);
    client
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = match client.kill_on_drop(true).spawn() {
        Ok(child) => child,
        Err(error) => {
            assert!(std::env::var_os("KILN_TEST_REQUIRE").is_none_or(|value| value != "all"), "needs ssh: {error}");
            eprintln!("ignored: needs ssh");
            return None;
        }
    };
    let mut stdin = child.stdin.take().unwrap();
    let writing = async move {
        // A client that is refused does not read it.
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let ended =
        tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(writing, child.wait_with_output()).1 });
    let output = ended.await.expect("ssh ends").unwrap();
    Some((output.status.code().unwrap_or(-1), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_runs_commands_and_sftp_in_the_guest_and_lets_in_one_key() {
    let guest = FakeCommunicator::new();
    let exit = kiln_communicators::Exit::Code(3);
    guest.on_command("both", Answer::Exit { stdout: b"out".to_vec(), stderr: b"err".to_vec(), exit });
    guest.on_command("echo", Answer::Echo).on_command("the-sftp-server", Answer::Echo);
    guest.on_command("refused", Answer::Refuse).on_command("gone", Answer::Disconnect);
    let (proxy, home, _) = proxy(&guest, 0).await;
    let at = home.path();
    let Some(told) = ssh(at, proxy.port, b"", &["anybody@127.0.0.1", "both 'a b'"]).await else { return };
    assert_eq!(told, (3, b"out".to_vec(), "err".to_owned()));
    assert_eq!(guest.commands(), ["both 'a b'"], "the command is the guest's as it is");
    // More than any window, and no whole number of packets.
    let much: Vec<u8> = (0..3_000_001).map(|at: u32| (at % 253) as u8).collect();
    let (code, echoed, _) = ssh(at, proxy.port, &much, &["-tt", "me@127.0.0.1", "echo"]).await.unwrap();
    assert!(code == 0 && echoed == much, "{code} {}", echoed.len());
    let (code, echoed, _) = ssh(at, proxy.port, b"packets", &["-s", "me@127.0.0.1", "sftp"]).await.unwrap();
    assert_eq!((code, &*echoed), (0, &b"packets"[..]));
    let (code, _, said) = ssh(at, proxy.port, b"", &["me@127.0.0.1", "refused"]).await.unwrap();
    assert!(code == 255 && said.contains("kiln: "), "{code} {said}");
    assert_eq!(ssh(at, proxy.port, b"", &["me@127.0.0.1", "gone"]).await.unwrap().0, 255);
    let others = tempfile::tempdir().unwrap();
    write_key(others.path(), &generate_key_pair(KeyKind::Ed25519, "other").unwrap());
    let (code, _, said) = ssh(others.path(), proxy.port, b"", &["me@127.0.0.1", "both"]).await.unwrap();
    assert!(code == 255 && said.contains("Permission denied"), "{code} {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_ends_takes_its_connections_with_it() {
    let guest = FakeCommunicator::new();
    guest.on_command("wait", Answer::Hang);
    let (proxy, home, _) = proxy(&guest, 0).await;
    let port = proxy.port;
    let client = ssh(home.path(), port, b"", &["me@127.0.0.1", "wait"]);
    tokio::pin!(client);
    let begun = async {
        while guest.commands().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        ended = &mut client => return assert!(ended.is_none(), "{ended:?}"),
        () = begun => {}
    }
    drop(proxy);
    assert_eq!(client.await.unwrap().0, 255);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_connects_and_says_nothing_keeps_nobody_out() {
    let guest = FakeCommunicator::new();
    guest.on_command("hello", Answer::stdout("there"));
    let (proxy, home, _) = proxy(&guest, 0).await;
    let idle: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(("127.0.0.1", proxy.port)).unwrap()).collect();
    let Some(told) = ssh(home.path(), proxy.port, b"", &["me@127.0.0.1", "hello"]).await else { return };
    assert_eq!(told, (0, b"there".to_vec(), String::new()));
    drop(idle);
}

#[tokio::test]
async fn a_port_that_is_taken_is_passed_over() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let first = taken.local_addr().unwrap().port();
    let (proxy, _home, _) = proxy(&FakeCommunicator::new(), first).await;
    assert!(proxy.port > first && proxy.port < first + 10, "{} after {first}", proxy.port);
}
