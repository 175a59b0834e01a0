//! The real ansible-playbook on a real OpenSSH of this machine: through Kiln's proxy with each way to move files, and without it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use kiln_tests::{Home, tool};

use super::openssh::{self, SFTP_SERVER, SSHD, Server};

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

fn template(port: u16, into: &Path, provisioner: &str) -> String {
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
        openssh::user(),
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
