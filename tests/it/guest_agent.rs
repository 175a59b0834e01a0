//! Builds without a network in the guest, on a real QEMU: all that goes there goes through its agent. What comes of it is verified, registered,
//! and built on.

use std::process::Command;

use kiln_tests::{Home, installer, tool};

use crate::guests::PASSWORD;

/// The machine of both templates.
const MACHINE: &str = r#"
  iso_checksum     = "none"
  accelerator      = "tcg"
  memory           = 256
  headless         = true
  vm_name          = "guest"
  communicator     = "guest-agent"
  net_device       = "none"
  guest_agent_timeout = "3m"
  shutdown_command = "poweroff"
"#;

const FIRST: &str = r#"
build {
  sources = ["source.qemu.guest"]
  provisioner "shell" {
    inline = [
      "set -eu",
      "echo networks: $(ls /sys/class/net)",
      "echo \"$PACKER_BUILD_NAME made it\" > /root/made",
      "echo to stderr >&2",
    ]
  }
  provisioner "file" {
    source      = "tree"
    destination = "/root"
  }
  provisioner "reboot" {}
  provisioner "shell" {
    inline = ["cat /root/made", "cp /root/tree/deep/file /root/back", "poweroff-is-no-command || exit 7"]
    valid_exit_codes = [7]
  }
  provisioner "file" {
    direction   = "download"
    source      = "/root/back"
    destination = "back"
  }
  post-processors {
    post-processor "checksum" {
      checksum_types = ["sha256"]
      output         = "sums"
    }
    post-processor "verify" {
      inline = ["echo verified: $(cat /root/made)", "echo changed > /root/made", "sync"]
    }
    post-processor "kiln-image" {
      image_name = "base"
      channels   = ["latest", "stable"]
    }
  }
}
"#;

const SECOND: &str = r#"
build {
  sources = ["source.qemu.guest"]
  provisioner "shell" {
    inline = ["echo found: $(cat /root/made)"]
  }
  post-processor "verify" {
    inline = ["test -e /root/nothing-of-the-kind"]
  }
}
"#;

fn sha256(path: &std::path::Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_guest_without_a_network_is_built_verified_and_built_on() {
    let Some(iso) = installer() else { return };
    if !tool("sha256sum") {
        return;
    }
    let home = Home::new();
    let answers = format!("hostname=guest\\npassword={PASSWORD}\\n");
    let first = format!(
        "source \"qemu\" \"guest\" {{\n  iso_url = {iso:?}\n  disk_size = \"256M\"\n  boot_wait = \"6s\"\n  output_directory = \"out\"\n  \
         cd_content = {{ \"/answers\" = \"{answers}\" }}\n  boot_command = [\"install answers=cdrom:<enter>\"]{MACHINE}}}\n{FIRST}"
    );
    home.write("first.pkr.hcl", &first);
    home.write("tree/deep/file", "from the host\n");
    let ran = home.kiln(["build", "-color=false", "first.pkr.hcl"]).expect(0);
    for line in [
        "==> qemu.guest: Connected to guest agent!",
        "==> qemu.guest: networks: lo",
        "==> qemu.guest: to stderr",
        "==> qemu.guest: The guest has restarted: its boot id was ",
        "==> qemu.guest: guest made it",
        "verified: guest made it",
        "as base in the channel stable",
    ] {
        assert!(ran.stdout.contains(line), "{line}\n{}", ran.stdout);
    }
    assert_eq!(std::fs::read_to_string(home.work("back")).unwrap(), "from the host\n");
    let image = home.work("out/guest");
    let digest = sha256(&image);
    assert!(std::fs::read_to_string(home.work("sums")).unwrap().starts_with(&digest), "verify has changed the image");

    let second = format!(
        "data \"kiln-image\" \"base\" {{\n  image_name = \"base\"\n  channel = \"stable\"\n}}\nsource \"qemu\" \"guest\" {{\n  \
         iso_url = data.kiln-image.base.path\n  disk_image = true\n  output_directory = \"second\"{}}}\n{SECOND}",
        MACHINE.replace("\"none\"\n  acc", "data.kiln-image.base.checksum\n  acc")
    );
    home.write("second.pkr.hcl", &second);
    let ran = home.kiln(["build", "-color=false", "second.pkr.hcl"]).expect(1);
    assert!(ran.stdout.contains("==> qemu.guest: found: guest made it"), "{}", ran.stdout);
    assert!(ran.stdout.contains("the image does not pass"), "{}", ran.stdout);
    // It is kept, and the one that it was made of is as it was.
    assert!(home.work("second/guest").is_file());
    assert_eq!(sha256(&image), digest);

    home.write("third.pkr.hcl", &second.replace("stable", "stale").replace("\"second\"", "\"third\""));
    let ran = home.kiln(["build", "-color=false", "third.pkr.hcl"]).expect(1);
    let told: Vec<&str> = ran.stdout.split_whitespace().chain(ran.stderr.split_whitespace()).collect();
    assert!(told.join(" ").contains("there are: base (latest, stable)"), "{}{}", ran.stdout, ran.stderr);
    let leftovers = home.leftovers();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}
