//! The real ansible-playbook on a real OpenSSH of this machine: through Kiln's proxy with each way to move files, and without it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kiln_tests::{Home, tool};

const PLAYBOOK: &str = r#"
- hosts: web
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        src: big
        dest: "{{ into }}/copied"
        mode: "0640"
    - ansible.builtin.fetch:
        src: "{{ into }}/copied"
        dest: "{{ into }}/fetched"
        flat: true
    - ansible.builtin.raw: "echo {{ packer_build_name }} {{ packer_builder_type }} {{ inventory_hostname }} > {{ into }}/told; exit 3"
      register: ended
      failed_when: ended.rc != 3
"#;

const SSHD: &str = "/usr/sbin/sshd";

const SFTP_SERVER: &str = "/usr/lib/openssh/sftp-server";

/// OpenSSH with a key, on a port of its own; ends with the test.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts one whose files are in `home`.
    fn start(home: &Path) -> Self {
        let _ = fs::create_dir_all("/run/sshd");
        for key in ["host", "key"] {
            let mut maker = Command::new("ssh-keygen");
            maker.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(home.join(key));
            assert!(maker.status().unwrap().success());
        }
        let at = home.display();
        let config = format!(
            "ListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/key.pub\nStrictModes no\nPidFile none\n\
             UsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nMaxStartups 100\nSubsystem sftp internal-sftp\n"
        );
        fs::write(home.join("sshd_config"), config).unwrap();
        // The port can be another's by the time that it is bound.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let log = home.join("sshd.log");
            let mut server = Command::new(SSHD);
            server.args(["-D", "-e", "-p", &port.to_string(), "-f"]).arg(home.join("sshd_config"));
            let child = server.stdin(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
            let mut server = Self { child, port };
            let until = Instant::now() + Duration::from_secs(60);
            while server.child.try_wait().unwrap().is_none() && Instant::now() < until {
                if fs::read_to_string(&log).unwrap().contains("Server listening on") {
                    return server;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        panic!("no sshd has started: {}", fs::read_to_string(home.join("sshd.log")).unwrap_or_default());
    }
}

fn template(port: u16, into: &Path, provisioner: &str) -> String {
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let user = String::from_utf8(user).unwrap();
    format!(
        r#"
source "null" "box" {{
  ssh_host             = "127.0.0.1"
  ssh_port             = {port}
  ssh_username         = "{}"
  ssh_private_key_file = "key"
}}

build {{
  sources = ["null.box"]

  provisioner "ansible" {{
    playbook_file   = "site.yml"
    groups          = ["web"]
    extra_arguments = ["-e", "into={}"]
    {provisioner}
  }}
}}
"#,
        user.trim(),
        into.display(),
    )
}

#[test]
fn a_real_playbook_is_played_by_scp_and_sftp_and_straight() {
    if !["ansible-playbook", "ssh", "ssh-keygen", SSHD, SFTP_SERVER].iter().all(|name| tool(name)) {
        return;
    }
    let home = Home::new();
    home.write("site.yml", PLAYBOOK);
    // Every byte there is, and more than a window of SSH.
    let big: Vec<u8> = (0..3_000_003_u32).map(|at| (at % 256) as u8).collect();
    fs::write(home.work("big"), &big).unwrap();
    // In a place of its own: it is nothing that a build leaves.
    let place = tempfile::tempdir().unwrap();
    let server = Server::start(place.path());
    fs::copy(place.path().join("key"), home.work("key")).unwrap();
    let command = format!("sftp_command = \"{SFTP_SERVER} -e\"");
    for (name, options) in [
        ("scp", command.clone()),
        ("sftp", format!("use_sftp = true\n    {command}")),
        ("straight", "use_proxy = false".to_owned()),
    ] {
        let into = home.work(name);
        fs::create_dir(&into).unwrap();
        let text = template(server.port, &into, &options);
        home.write("t.pkr.hcl", &text);
        let ran = home.kiln(["build", "-color=false", "t.pkr.hcl"]).expect(0);
        assert!(
            ran.stdout.contains("Executing Ansible: ansible-playbook -e packer_build_name=\"box\""),
            "{}",
            ran.stdout
        );
        assert_eq!(name == "straight", ran.stdout.contains("Not using Proxy adapter"), "{}", ran.stdout);
        assert!(fs::read(into.join("copied")).unwrap() == big, "{name}: the file has changed on its way");
        assert!(fs::read(into.join("fetched")).unwrap() == big, "{name}: the file has changed on its way back");
        assert_eq!(fs::read_to_string(into.join("told")).unwrap(), "box null default\n", "{name}");
        assert_eq!(fs::metadata(into.join("copied")).unwrap().permissions().mode() & 0o777, 0o640, "{name}");
    }
    home.write("site.yml", "- hosts: all\n  gather_facts: false\n  tasks:\n    - ansible.builtin.raw: exit 7\n");
    let ran = home.kiln(["build", "-color=false", "t.pkr.hcl"]).expect(1);
    assert!(ran.stdout.contains("Error executing Ansible: Non-zero exit status: exit status 2"), "{}", ran.stdout);
    assert!(home.leftovers().is_empty(), "{:?}", home.leftovers());
}
