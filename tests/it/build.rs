//! The whole path on a real QEMU: an installer CD becomes images, and the images hold what was put into the guest.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kiln_tests::{Home, installer, tool};

use crate::box_service::{self, BoxService};
use crate::guest_disks::succeed;
use crate::guests::{PASSWORD, Template};

const BUILD: &str = r#"
  provisioner "shell" {
    environment_vars = ["NAME=it's me", "SECOND=2"]
    inline = [
      "set -eu",
      "echo \"$NAME/$SECOND/$PACKER_BUILD_NAME/$PACKER_BUILDER_TYPE\" > /root/env",
      "test -n \"$PACKER_HTTP_ADDR\"",
      "echo to stderr >&2",
    ]
  }
  provisioner "shell" {
    scripts         = ["one.sh", "two.sh"]
    execute_command = "chmod +x {{ .Path }}; {{ .Vars }} bash {{ .Path }}"
  }
  provisioner "file" {
    source      = "tree"
    destination = "/root"
  }
  provisioner "file" {
    sources     = ["one.sh"]
    destination = "/root/"
  }
  provisioner "reboot" {}
  provisioner "shell" {
    inline = ["test -f /root/env", "test $(cat /sys/block/vdb/size) = 16384", "cat /root/tree/deep/file", "ls /root/one.sh", "tar -C /root -cf /root/back.tar tree"]
  }
  provisioner "file" {
    direction   = "download"
    source      = "/root/back.tar"
    destination = "down/back.tar"
  }
  provisioner "shell-local" {
    inline = ["echo local $PACKER_BUILD_NAME > local.txt"]
  }
  post-processor "export" {
    formats = ["vmdk", "vmdk-sparse", "ovf", "ova", "raw"]
    file_name = "image"
  }
  post-processors {
    post-processor "vagrant" {
      output            = "guest.box"
      compression_level = 0
    }
    post-processor "vagrant-registry" {
      hcp_api_address = "SERVICE"
      hcp_auth_url    = "SERVICE"
      client_id       = "the-client"
      client_secret   = "the-clients-secret"
      box_tag         = "me/guest"
      version         = "1.0.0"
    }
  }
  post-processors {
    post-processor "checksum" {
      checksum_types = ["sha256"]
      output         = "sums/{{.ChecksumType}}"
    }
    post-processor "manifest" {
      output     = "manifest.json"
      strip_path = true
    }
    post-processor "provenance" {
      signing_mode = "key"
      signer       = "key.pem"
      output_dir   = "attested"
    }
  }
"#;

#[test]
fn an_installer_becomes_images_that_hold_what_was_put_into_the_guest() {
    let Some(iso) = installer() else { return };
    if !["qemu-img", "curl", "sha256sum", "tar", "openssl"].iter().all(|name| tool(name)) {
        return;
    }
    let home = Home::new();
    let source = format!("ssh_password = {PASSWORD:?}\n  ssh_timeout = \"2m\"\n  disk_additional_size = [\"8M\"]");
    let service = BoxService::start(&[]);
    let build = BUILD.replace("SERVICE", &service.url);
    home.write("guest.pkr.hcl", &Template { iso: &iso, answers: &[], source: &source, build: &build }.text());
    home.write("one.sh", "#!/bin/bash\necho one-ran > /root/one\r\n");
    home.write("two.sh", "echo two-ran\n");
    openssl(&home, &["genpkey", "-algorithm", "ed25519", "-out", "key.pem"]);
    openssl(&home, &["pkey", "-in", "key.pem", "-pubout", "-out", "key.pub"]);
    home.write("tree/deep/file", "from the host\n");

    let running = home.start(["build", "-color=false", "guest.pkr.hcl"]);
    let worker = home.wait_for("the worker", Duration::from_secs(120), || worker_of(&home));
    let screen = home.wait_for("a screen", Duration::from_secs(60), || screen_of(&home));
    assert_eq!(&screen[1..4], b"PNG");
    let mut peak = 0;
    home.wait_for("the guest's SSH", Duration::from_secs(200), || {
        peak = peak.max(resident_kib(worker).unwrap_or(0));
        let events = events_of(&home);
        events
            .iter()
            .any(|event| {
                event["kind"] == "step_started"
                    && event["step"].as_str().is_some_and(|step| step.starts_with("provisioner 1 "))
            })
            .then_some(())
    });
    let ran = running.wait().expect(0);
    let idle = home.daemon_pid().and_then(resident_kib).unwrap();
    assert!(ran.stdout.contains("==> qemu.guest: two-ran"), "{}", ran.stdout);
    assert!(ran.stdout.contains("==> qemu.guest: to stderr"), "{}", ran.stdout);
    assert!(ran.stdout.contains("==> qemu.guest: The guest has restarted: its boot id was "), "{}", ran.stdout);
    assert!(ran.stdout.contains("Build 'qemu.guest' finished after"), "{}", ran.stdout);
    assert!(ran.stdout.contains("--> qemu.guest: VM files in directory: out"), "{}", ran.stdout);
    assert!(!ran.stdout.contains(PASSWORD) && !ran.stderr.contains(PASSWORD), "the password is shown");
    assert_eq!(std::fs::read_to_string(home.work("local.txt")).unwrap(), "local guest\n");

    check_images(&home);
    check_guest_content(&home);
    check_sums_and_manifest(&home);
    check_attestation(&home);
    check_publication(&home, &service, &ran.stdout);
    check_events(&home);
    let leftovers = home.leftovers();
    assert!(leftovers.is_empty(), "{leftovers:?}");
    // The limits of 30 and 15 MiB are for release builds, where `./x bench build` measures them; this is a debug build.
    assert!(peak < 96 << 10, "the worker took {peak} KiB");
    assert!(idle < 48 << 10, "the idle daemon takes {idle} KiB");
}

fn openssl(home: &Home, arguments: &[&str]) {
    let made = Command::new("openssl").args(arguments).current_dir(home.work("")).status().unwrap();
    assert!(made.success(), "{arguments:?}");
}

/// The attestation is about the image and names its installer and scripts; a byte more, and it is not of this image.
fn check_attestation(home: &Home) {
    let names = std::fs::read_dir(home.work("attested")).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    let [name] = names.as_slice() else { panic!("{names:?}") };
    let attestation = format!("attested/{name}");
    let envelope: serde_json::Value = serde_json::from_slice(&std::fs::read(home.work(&attestation)).unwrap()).unwrap();
    assert!(!envelope["payload"].as_str().unwrap().is_empty());
    let image = "out/guest";
    let verify = |more: &[&str]| {
        let words =
            [&["verify-attestation", "-verifier", "key.pub", "-artifact", image][..], more, &[attestation.as_str()]];
        home.kiln(words.concat())
    };
    let ran = verify(&[]).expect(0);
    assert!(
        ran.stdout.contains("OK out/guest (SHA256)") && ran.stdout.contains("Attestation verified."),
        "{}",
        ran.stdout
    );
    let ran = verify(&["-json"]).expect(0);
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(told["predicate-type"], "https://slsa.dev/provenance/v1");
    assert!(verify(&["-builder-id", "somebody else"]).expect(1).stderr.contains("error: the attestation's builder is"));
    let whole = std::fs::read(home.work(image)).unwrap();
    std::fs::write(home.work(image), [&whole[..], b"x"].concat()).unwrap();
    let ran = verify(&[]).expect(1);
    assert!(ran.stderr.contains("out/guest is not the file of the attestation"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint:"), "{}", ran.stderr);
    std::fs::write(home.work(image), whole).unwrap();
    openssl(home, &["genpkey", "-algorithm", "ed25519", "-out", "other.pem"]);
    let ran = home.kiln(["verify-attestation", "--key", "other.pem", &attestation]).expect(1);
    assert!(ran.stderr.contains("no signature in it is of this key"), "{}", ran.stderr);
    let ran = home.kiln(["verify-attestation", "--key", "awskms://alias/x", &attestation]).expect(1);
    assert!(ran.stderr.contains("Kiln verifies with keys in files only"), "{}", ran.stderr);
    let ran = home.kiln(["verify-attestation", "--require-rekor", &attestation]).expect(1);
    assert!(ran.stderr.contains("--require-rekor is of keyless signatures"), "{}", ran.stderr);
    assert!(home.kiln(["verify-attestation", &attestation]).expect(1).stderr.contains("without a key"));
}

/// The box that was made is the one that the service has, released.
fn check_publication(home: &Home, service: &BoxService, told: &str) {
    let made = std::fs::read(home.work("guest.box")).unwrap();
    assert!(service.uploaded().unwrap() == made, "the box has not arrived as it is");
    let done = service.done();
    let last = done.last().unwrap();
    assert_eq!(last, "PUT /vagrant/2022-09-30/registry/me/box/guest/version/1.0.0/release", "{done:?}");
    assert!(done.iter().any(|line| line.contains("/provider/libvirt/architecture/amd64/direct/complete/")), "{done:?}");
    let events = events_of(home).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for secret in ["the-clients-secret", box_service::TOKEN] {
        assert!(!told.contains(secret) && !events.contains(secret), "{secret} is told");
    }
}

fn worker_of(home: &Home) -> Option<u32> {
    let events = events_of(home);
    events
        .iter()
        .find(|event| event["kind"] == "job_started")
        .and_then(|event| u32::try_from(event["pid"].as_u64()?).ok())
}

fn job_id(home: &Home) -> Option<String> {
    let jobs = home.get("/v1/jobs")?;
    let jobs = jobs.as_array().or_else(|| jobs["jobs"].as_array())?;
    Some(jobs.first()?["id"].as_str()?.to_owned())
}

fn events_of(home: &Home) -> Vec<serde_json::Value> {
    let Some(id) = job_id(home) else { return Vec::new() };
    let output = home.curl(&[&format!("/v1/jobs/{id}/events")]);
    String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn screen_of(home: &Home) -> Option<Vec<u8>> {
    let output = home.curl(&[&format!("/v1/jobs/{}/screen", job_id(home)?), "--fail"]);
    output.status.success().then_some(output.stdout)
}

fn resident_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Every image holds the same guest disk, and its own tools find nothing wrong with it.
fn check_images(home: &Home) {
    let out = home.work("out");
    succeed(Command::new("qemu-img").args(["check", "-f", "qcow2"]).arg(out.join("guest")));
    let unpacked = home.work("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    succeed(Command::new("tar").arg("-C").arg(&unpacked).arg("-xf").arg(out.join("image.ova")));
    let vmdk_in = |directory: &Path| {
        let mut disks = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        disks
            .find(|path| path.to_string_lossy().contains("disk1") && path.extension().is_some_and(|e| e == "vmdk"))
            .unwrap()
    };
    let images = [
        ("vmdk", out.join("image.vmdk")),
        ("vmdk", out.join("image-sparse.vmdk")),
        ("vmdk", vmdk_in(&out)),
        ("vmdk", vmdk_in(&unpacked)),
        ("raw", out.join("image.raw")),
    ];
    for (format, image) in images {
        let compare = ["compare", "-f", "qcow2", "-F", format];
        succeed(Command::new("qemu-img").args(compare).arg(out.join("guest")).arg(image));
    }
    for directory in [&out, &unpacked] {
        let manifest = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let manifest = manifest.into_iter().find(|path| path.extension().is_some_and(|e| e == "mf")).unwrap();
        for line in std::fs::read_to_string(&manifest).unwrap().lines() {
            let (name, hash) = line.strip_prefix("SHA256(").unwrap().split_once(")= ").unwrap();
            assert!(succeed(Command::new("sha256sum").arg(directory.join(name))).starts_with(hash), "{line}");
        }
    }
}

/// What provisioners put into the guest is on its disk.
fn check_guest_content(home: &Home) {
    assert!(home.work("down/back.tar").is_file());
    let listing = succeed(Command::new("tar").arg("-tf").arg(home.work("down/back.tar")));
    assert!(listing.contains("tree/deep/file"), "{listing}");
    let raw = std::fs::read(home.work("out/image.raw")).unwrap();
    let holds = |text: &str| raw.windows(text.len()).any(|window| window == text.as_bytes());
    for text in ["it's me/2/guest/qemu\n", "one-ran\n", "from the host\n"] {
        assert!(holds(text), "{text:?} is not on the disk");
    }
}

fn check_sums_and_manifest(home: &Home) {
    let sums = std::fs::read_to_string(home.work("sums/sha256")).unwrap();
    let hash = succeed(Command::new("sha256sum").arg(home.work("out/guest")));
    assert!(sums.starts_with(hash.split(' ').next().unwrap()) && sums.contains("\tguest\n"), "{sums}");
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(home.work("manifest.json")).unwrap()).unwrap();
    let entry = &manifest["builds"][0];
    assert_eq!((&entry["name"], &entry["builder_type"]), (&"guest".into(), &"qemu".into()));
    assert_eq!(manifest["last_run_uuid"], entry["packer_run_uuid"]);
}

/// Numbers without gaps from 1, one end, in order; and `after=` gives exactly the rest.
fn check_events(home: &Home) {
    let events = events_of(home);
    for (number, event) in (1..).zip(&events) {
        assert_eq!(event["seq"], number);
    }
    assert_eq!(events.last().unwrap()["kind"], "job_finished");
    let id = job_id(home).unwrap();
    let rest = home.curl(&[&format!("/v1/jobs/{id}/events?after={}", events.len() - 2)]);
    assert_eq!(String::from_utf8_lossy(&rest.stdout).lines().count(), 2);
    let stream =
        home.curl(&[&format!("/v1/jobs/{id}/events"), "-H", "Accept: text/event-stream", "-H", "Last-Event-ID: 1"]);
    let stream = String::from_utf8_lossy(&stream.stdout).into_owned();
    assert!(stream.contains("id: 2\n") && !stream.contains("id: 1\n"), "{stream}");
}

/// The answers on a CD and a floppy, a key instead of a password, sftp, other hardware, a second disk, and then a build
/// from the disk image that came of it.
#[test]
fn seed_media_keys_and_disk_images_work() {
    let Some(iso) = installer() else { return };
    if !["qemu-img", "ssh-keygen"].iter().all(|name| tool(name)) {
        return;
    }
    let home = Home::new();
    let key = home.work("id");
    succeed(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
    let public = std::fs::read_to_string(home.work("id.pub")).unwrap();
    home.write("answers", &format!("hostname=seeded\nssh_key={}\n", public.trim()));
    let source = r#"
  cd_files     = ["answers"]
  cd_label     = "answers"
  floppy_files = ["answers"]
  disk_interface       = "sata"
  machine_type         = "q35"
  net_device           = "e1000"
  disk_compression     = true
  ssh_private_key_file = "id"
  ssh_file_transfer_method = "sftp"
  ssh_timeout = "2m""#;
    let build = r#"
  provisioner "file" {
    content     = "by sftp"
    destination = "/root/sftp"
  }
  provisioner "shell" {
    inline = ["cat /root/sftp", "test -d /sys/block/sda"]
  }"#;
    let text = Template { iso: &iso, answers: &[], source, build }.text();
    let text = text.replace("install answers=http://{{ .HTTPIP }}:{{ .HTTPPort }}/answers", "install answers=cdrom:");
    home.write("seed.pkr.hcl", &text);
    home.kiln(["build", "-color=false", "seed.pkr.hcl"]).expect(0);
    let info = succeed(Command::new("qemu-img").args(["info", "--output=json"]).arg(home.work("out/guest")));
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!((&info["format"], &info["virtual-size"]), (&"qcow2".into(), &(256 << 20).into()));

    let again = r#"
source "qemu" "again" {
  iso_url      = "out/guest"
  iso_checksum = "none"
  disk_image   = true
  disk_size    = "300M"
  accelerator  = "tcg"
  memory       = 256
  headless     = true
  disk_interface       = "sata"
  machine_type         = "q35"
  ssh_username         = "root"
  ssh_private_key_file = "id"
  ssh_timeout          = "2m"
  shutdown_command     = "poweroff"
  output_directory     = "again"
  format               = "raw"
  qemuargs             = [["-device", "virtio-rng-pci"], ["-m", "300M"]]
}
build {
  sources = ["qemu.again"]
  provisioner "shell" {
    inline = ["cat /root/sftp", "hostname | grep seeded", "test $(cat /sys/block/sda/size) = 614400"]
  }
}
"#;
    home.write("again.pkr.hcl", again);
    home.kiln(["build", "-color=false", "again.pkr.hcl"]).expect(0);
    assert_eq!(std::fs::metadata(home.work("again/packer-again")).unwrap().len(), 300 << 20);
    assert!(home.leftovers().is_empty(), "{:?}", home.leftovers());
}
