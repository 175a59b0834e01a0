//! The builders for VMware on the stand-in for its tools: an installer becomes a machine, the machine two clones, and nothing is left of
//! builds that fail or die.

mod boot_entries;
mod tools;
mod uefi;

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kiln_tests::{Home, Running, installer, tool, vmware_tools};
use rustix::process::{Pid, Signal, kill_process};

use crate::guests::PASSWORD;

/// Machines of the stand-in's want the same addresses, so one test of this host at a time starts some: this file in the directory for
/// temporary ones is locked. The tests of the VMware backend lock it, too.
const TURN: &str = "kiln-vmware-lab.lock";

const WAIT: Duration = Duration::from_secs(120);

/// A home whose commands find VMware's tools first.
pub(crate) struct Lab {
    home: Home,
    tools: PathBuf,
}

impl Lab {
    fn new() -> Option<Self> {
        let tools = vmware_tools()?;
        tool("qemu-img").then(|| Self { home: Home::new(), tools })
    }

    fn path(&self) -> String {
        let own = self.home.path().join("bin");
        format!("{}:{}:{}", own.display(), self.tools.display(), std::env::var("PATH").unwrap_or_default())
    }

    fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.home.command("kiln");
        command.args(arguments).env("PATH", self.path());
        self.home.start_command(command)
    }

    /// Puts an ovftool first that writes what it was asked for in place of an OVA.
    fn ovftool(&self) {
        let program = self.home.path().join("bin/ovftool");
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        std::fs::write(&program, "#!/bin/sh\ngrep displayName \"$2\" && echo \"by ovftool $1\" > \"$3\"\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Waits until no other test has machines; then none has, until the returned value goes.
    pub(crate) fn turn() -> File {
        let file = File::create(std::env::temp_dir().join(TURN)).unwrap();
        file.lock().unwrap();
        file
    }

    /// The machines of this home that run.
    fn running(&self) -> Vec<String> {
        let output = Command::new(self.tools.join("vmrun")).arg("list").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let home = self.home.path().display().to_string();
        text.lines().filter(|line| line.starts_with(&home)).map(str::to_owned).collect()
    }

    #[track_caller]
    fn assert_clean(&self) {
        assert_eq!(self.running(), Vec::<String>::new());
        let leftovers = self.home.leftovers();
        assert!(leftovers.is_empty(), "{leftovers:?}");
    }

    /// The names in a directory below the working one, sorted.
    fn names(&self, directory: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.home.work(directory)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The guest's disk in an image, as bytes.
    fn disk(&self, image: &Path) -> Vec<u8> {
        let raw = self.home.path().join("disk.raw");
        let status = Command::new("qemu-img").args(["convert", "-O", "raw"]).arg(image).arg(&raw).status().unwrap();
        assert!(status.success(), "{} is no image", image.display());
        std::fs::read(raw).unwrap()
    }
}

fn holds(disk: &[u8], text: &str) -> bool {
    disk.windows(text.len()).any(|window| window == text.as_bytes())
}

fn iso_template(iso: &Path) -> String {
    format!(
        r#"
source "vmware-iso" "guest" {{
  iso_url              = "{iso}"
  iso_checksum         = "none"
  memory               = 256
  disk_size            = 256
  disk_adapter_type    = "pvscsi"
  network_adapter_type = "vmxnet3"
  headless             = true
  boot_wait            = "6s"
  ssh_username         = "root"
  ssh_password         = "{PASSWORD}"
  ssh_timeout          = "3m"
  shutdown_command     = "poweroff"
  output_directory     = "out"
  vm_name              = "guest"
  format               = "ova"
  snapshot_name        = "done"
  vmx_data             = {{ "guestinfo.kiln" = "a \"b\"" }}
  vmx_data_post        = {{ "annotation" = "made by kiln" }}
  http_content         = {{ "/answers" = "hostname=guest\npassword={PASSWORD}\n" }}
  boot_command         = ["install answers=http://{{{{ .HTTPIP }}}}:{{{{ .HTTPPort }}}}/answers<enter>"]
}}
build {{
  sources = ["source.vmware-iso.guest"]
  provisioner "shell" {{
    inline = ["hostname | grep guest", "echo \"first by $PACKER_BUILDER_TYPE\" > /root/first", "sync"]
  }}
}}
"#,
        iso = iso.display()
    )
}

/// A source that clones `out/guest.vmx`.
fn clone(label: &str, more: &str) -> String {
    format!(
        r#"
source "vmware-vmx" "{label}" {{
  source_path      = "out/guest.vmx"
  headless         = true
  ssh_username     = "root"
  ssh_password     = "{PASSWORD}"
  ssh_timeout      = "3m"
  output_directory = "{label}"
  vm_name          = "{label}"
  {more}
}}
"#
    )
}

#[test]
fn an_installer_becomes_a_vmware_machine_and_that_becomes_clones() {
    let (Some(lab), Some(iso)) = (Lab::new(), installer()) else { return };
    let _turn = Lab::turn();
    lab.home.write("iso.pkr.hcl", &iso_template(&iso));
    let ran = lab.start(&["build", "-color=false", "iso.pkr.hcl"]).wait().expect(0);
    assert!(ran.stdout.contains("--> vmware-iso.guest: VM files in directory: out"), "{}", ran.stdout);
    assert!(ran.stdout.contains(", with the password in /"), "{}", ran.stdout);
    assert!(!ran.stdout.contains(PASSWORD) && !ran.stderr.contains(PASSWORD), "the password is shown");
    check_machine(&lab);
    lab.assert_clean();

    let full = clone("full", "shutdown_command = \"poweroff\"\n  format = \"ovf\"\n  vmx_data = { memsize = \"320\" }");
    let linked =
        clone("linked", "linked = true\n  attach_snapshot = \"done\"\n  vmx_remove_ethernet_interfaces = true");
    let linked =
        linked.replace("linked = true", "linked = true\n  format = \"ova\"\n  ovftool_options = [\"--compress=9\"]");
    lab.ovftool();
    let build = r#"
build {
  sources = ["source.vmware-vmx.full", "source.vmware-vmx.linked"]
  provisioner "shell" {
    inline = ["cat /root/first", "echo \"second in $PACKER_BUILD_NAME\" > /root/second", "sync"]
  }
}
"#;
    lab.home.write("vmx.pkr.hcl", &format!("{full}{linked}{build}"));
    let ran = lab.start(&["build", "-color=false", "-parallel-builds=1", "vmx.pkr.hcl"]).wait().expect(0);
    assert!(ran.stdout.contains("==> vmware-vmx.full: first by vmware-iso"), "{}", ran.stdout);
    check_clones(&lab);
    lab.assert_clean();
    a_package_becomes_a_machine(&lab);
    tools::the_tools_reach_the_guest(&lab);
    tools::a_killed_machine_is_told_of(&lab);
    what_dies_leaves_nothing(&lab);
}

fn check_machine(lab: &Lab) {
    let out = lab.home.work("out");
    let names = lab.names("out");
    let made = ["disk-s001.vmdk", "disk.vmdk", "guest-snapshot-1", "guest.ova", "guest.vmsd", "guest.vmx"];
    assert_eq!(names, made);
    let vmx = std::fs::read_to_string(out.join("guest.vmx")).unwrap();
    for line in [
        "annotation = \"made by kiln\"",
        "ethernet0.virtualDev = \"vmxnet3\"",
        "guestinfo.kiln = \"a |22b|22\"",
        "ide0:0.deviceType = \"cdrom-raw\"",
        "memsize = \"256\"",
        "RemoteDisplay.vnc.enabled = \"FALSE\"",
        "scsi0.virtualDev = \"pvscsi\"",
        "scsi0:0.fileName = \"disk.vmdk\"",
    ] {
        assert!(vmx.lines().any(|found| found == line), "no {line} in\n{vmx}");
    }
    assert!(!vmx.contains("vnc.password") && !vmx.contains("serial0"), "{vmx}");
    let disk = lab.disk(&out.join("disk.vmdk"));
    assert!(holds(&disk, "first by vmware-iso\n"));
    // The package holds the same disk.
    let status = Command::new("tar").arg("-C").arg(lab.home.path()).arg("-xf").arg(out.join("guest.ova")).status();
    assert!(status.unwrap().success());
    let packaged = std::fs::read_dir(lab.home.path()).unwrap().map(|entry| entry.unwrap().path());
    let packaged = packaged.into_iter().find(|path| path.extension().is_some_and(|end| end == "vmdk")).unwrap();
    assert!(lab.disk(&packaged) == disk, "the package holds another disk");
    // It tells of the machine as it is in the end.
    let descriptor = std::fs::read_to_string(lab.home.path().join("guest.ovf")).unwrap();
    for part in ["made by kiln", "guestinfo.kiln"] {
        assert!(descriptor.contains(part), "no {part} in\n{descriptor}");
    }
}

fn check_clones(lab: &Lab) {
    let full = lab.home.work("full");
    let names = lab.names("full");
    for name in ["full.vmx", "full.ovf", "full.mf", "disk.vmdk"] {
        assert!(names.iter().any(|found| found == name), "no {name} among {names:?}");
    }
    let vmx = std::fs::read_to_string(full.join("full.vmx")).unwrap();
    assert!(vmx.contains("memsize = \"320\"") && vmx.contains("displayName = \"full\""), "{vmx}");
    let disk = lab.disk(&full.join("disk.vmdk"));
    assert!(holds(&disk, "first by vmware-iso\n") && holds(&disk, "second in full\n"));

    let linked = lab.home.work("linked");
    let vmx = std::fs::read_to_string(linked.join("linked.vmx")).unwrap();
    assert!(!vmx.contains("ethernet0") && vmx.contains("ide0:0.deviceType = \"cdrom-raw\""), "{vmx}");
    assert!(holds(&lab.disk(&linked.join("disk.vmdk")), "second in linked\n"));
    let info = Command::new("qemu-img").arg("info").arg(linked.join("disk.vmdk")).output().unwrap();
    let info = String::from_utf8_lossy(&info.stdout).into_owned();
    assert!(info.contains("backing file: "), "it lies over the other machine's disk: {info}");
    // Its template has arguments for ovftool, so that has exported it.
    let exported = std::fs::read_to_string(linked.join("linked.ova")).unwrap();
    assert_eq!(exported, "by ovftool --compress=9\n");
    // The other machine is as it was.
    let original = lab.disk(&lab.home.work("out/disk.vmdk"));
    assert!(!holds(&original, "second in full\n") && !holds(&original, "second in linked\n"));
}

/// What is exported can be built on, without ovftool.
fn a_package_becomes_a_machine(lab: &Lab) {
    let source = clone("imported", "shutdown_command = \"poweroff\"\n  skip_compaction = true")
        .replace("out/guest.vmx", "out/guest.ova");
    lab.home.write(
        "ova.pkr.hcl",
        &format!(
            "{source}\nbuild {{\n  sources = [\"source.vmware-vmx.imported\"]\n  provisioner \"shell\" {{\n    inline = [\"cat /root/first\"]\n  }}\n}}\n"
        ),
    );
    let ran = lab.start(&["build", "-color=false", "ova.pkr.hcl"]).wait().expect(0);
    assert!(ran.stdout.contains("==> vmware-vmx.imported: first by vmware-iso"), "{}", ran.stdout);
    let names = lab.names("imported");
    assert_eq!(names, ["imported-1.vmdk", "imported.vmx"]);
    let vmx = std::fs::read_to_string(lab.home.work("imported/imported.vmx")).unwrap();
    for line in
        ["annotation = \"made by kiln\"", "scsi0.virtualDev = \"pvscsi\"", "scsi0:0.fileName = \"imported-1.vmdk\""]
    {
        assert!(vmx.lines().any(|found| found == line), "no {line} in\n{vmx}");
    }
    lab.assert_clean();
}

/// A provisioner that fails, a worker that is killed, a cancelled job.
fn what_dies_leaves_nothing(lab: &Lab) {
    let template = |inline: &str| {
        let source = clone("again", "linked = true");
        format!(
            "{source}\nbuild {{\n  sources = [\"source.vmware-vmx.again\"]\n  provisioner \"shell\" {{\n    inline = [{inline:?}]\n  }}\n}}\n"
        )
    };
    lab.home.write("fails.pkr.hcl", &template("exit 3"));
    let ran = lab.start(&["build", "-color=false", "fails.pkr.hcl"]).wait().expect(1);
    assert!(ran.stdout.contains("Script exited with non-zero exit status: 3"), "{}", ran.stdout);
    assert!(!lab.home.work("again").exists());
    lab.assert_clean();

    lab.home.write("endless.pkr.hcl", &template("sleep 1000"));
    for signal in [Signal::KILL, Signal::INT] {
        let running = lab.start(&["build", "-color=false", "endless.pkr.hcl"]);
        lab.home.wait_for("a machine", WAIT, || (lab.running().len() == 1).then_some(()));
        the_password_of_the_screen_is_in_a_file_of_the_owners(lab);
        if signal == Signal::KILL {
            kill_process(worker(lab), signal).unwrap();
        } else {
            running.signal(signal);
        }
        let ran = running.wait();
        assert_ne!(ran.code(), 0, "{}", ran.stdout);
        lab.home.wait_for("the clean-up", WAIT, || {
            (lab.running().is_empty() && !lab.home.work("again").exists() && lab.home.leftovers().is_empty())
                .then_some(())
        });
    }
}

/// Whoever runs the build can look at its machine: what VMware asks for is where the build has said it is.
fn the_password_of_the_screen_is_in_a_file_of_the_owners(lab: &Lab) {
    let jobs = lab.home.path().join("state/kiln/jobs");
    let file = lab.home.wait_for("the password", WAIT, || {
        let jobs = std::fs::read_dir(&jobs).ok()?.flatten();
        jobs.map(|job| job.path().join("work-0/vnc-password")).find(|path| path.is_file())
    });
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    let password = std::fs::read_to_string(file).unwrap();
    let vmx = std::fs::read_to_string(lab.home.work("again/.again.work/again.vmx")).unwrap();
    let line = format!("RemoteDisplay.vnc.password = \"{}\"", password.trim_end());
    assert!(password.len() == 9 && vmx.lines().any(|found| found == line), "no {line} in {vmx}");
}

/// The worker of the newest job.
fn worker(lab: &Lab) -> Pid {
    let found = lab.home.wait_for("the worker", WAIT, || {
        let processes = lab.home.leftovers().processes;
        processes.into_iter().find(|(_, line)| line.contains("kilnd") && line.contains("worker"))
    });
    Pid::from_raw(i32::try_from(found.0).unwrap()).unwrap()
}

/// A text whose lines were folded to the width of a terminal, on one line.
fn unfolded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn what_cannot_be_built_is_refused_before_anything_is_made() {
    let Some(lab) = Lab::new() else { return };
    let home = &lab.home;
    std::fs::create_dir(home.work("out")).unwrap();
    home.write(
        "out/guest.vmx",
        "config.version = \"8\"\nscsi0.present = \"TRUE\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"gone.vmdk\"\n",
    );
    home.write("out/guest.vmsd", "snapshot0.displayName = \"clean\"\n");
    let build = "\nbuild {\n  sources = [\"source.vmware-vmx.again\"]\n}\n";
    for (name, more, words) in [
        ("disk", "", "but there is no file out/gone.vmdk"),
        ("snapshot", "attach_snapshot = \"dirty\"", "has no snapshot called \"dirty\"; there are: clean"),
        ("remote", "remote_type = \"esx5\"", "ESX server"),
        (
            "ovftool",
            "format = \"ova\"\n  ovftool_options = [\"--x\"]",
            "ovftool_options are arguments of ovftool, which is not in PATH. hint: install VMware's OVF Tool",
        ),
        ("disks", "disk_adapter_type = \"virtio\"", "must be one of ide, sata, nvme, scsi, lsilogic, lsisas1068"),
        ("adapter", "cdrom_adapter_type = \"usb\"", "cdrom_adapter_type"),
        ("name", "disk_additional_size = [0]", "a disk has 1 to"),
        ("linked", "linked = true\n  # an OVA", "linked needs a VMX file, but source_path is a package"),
        ("package", "# an OVA", "source_path cannot be used: cannot open out/guest.ova"),
        (
            "data",
            "vmx_data = { \"scsi0:0.fileName\" = \"x.vmdk\" }",
            "scsi0:0 holds the machine's own disk gone.vmdk, in whose place there would be x.vmdk",
        ),
        (
            "twice",
            "vmx_data = { \"sata0.present\" = \"TRUE\", \"sata0:0.present\" = \"TRUE\", \"sata0:0.fileName\" = \"gone.vmdk\" }",
            "own disk gone.vmdk would be in two places, scsi0:0 and sata0:0",
        ),
        ("bind", "vnc_bind_address = \"localhost\"", "\"localhost\" is not an IP address"),
        ("tcp6", "http_network_protocol = \"tcp6\"", "http_network_protocol asks for an IPv6 address"),
        (
            "post",
            "vmx_data_post = { \"scsi0:3.fileName\" = \"x.vmdk\", \"scsi0:3.present\" = \"TRUE\" }",
            "scsi0:3 would hold the disk x.vmdk, which the machine did not have while it ran",
        ),
    ] {
        let file = format!("{name}.pkr.hcl");
        let mut source = clone("again", more);
        if more.contains("OVA") {
            source = source.replace("guest.vmx", "guest.ova");
        }
        home.write(&file, &format!("{source}{build}"));
        let ran = lab.start(&["build", "-color=false", &file]).wait().expect(1);
        let said = unfolded(&format!("{}{}", ran.stdout, ran.stderr));
        assert!(said.contains(words), "{name}: {said}");
        assert!(said.contains(&file), "{name} has no place: {said}");
        assert!(!home.work("again").exists(), "{name}");
    }
    home.write("unlinked.pkr.hcl", &format!("{}{build}", clone("again", "linked = true")));
    for list in [Some(".encoding = \"UTF-8\"\n"), None] {
        match list {
            Some(list) => home.write("out/guest.vmsd", list),
            None => std::fs::remove_file(home.work("out/guest.vmsd")).unwrap(),
        }
        let ran = lab.start(&["build", "-color=false", "unlinked.pkr.hcl"]).wait().expect(1);
        let said = unfolded(&format!("{}{}", ran.stdout, ran.stderr));
        assert!(said.contains("lies over a snapshot of its original, and out/guest.vmx has none"), "{list:?}: {said}");
        assert!(said.contains("take one in VMware, or leave linked out") && !home.work("again").exists(), "{said}");
    }
    let iso = iso_template(Path::new("/dev/null")).replace("headless ", "guest_os_type = \"templeos\"\n  headless ");
    home.write("guest.pkr.hcl", &iso);
    let ran = lab.start(&["build", "-color=false", "guest.pkr.hcl"]).wait().expect(1);
    let said = unfolded(&format!("{}{}", ran.stdout, ran.stderr));
    assert!(
        said.contains("guest_os_type is \"templeos\"") && said.contains("vmx_data = { guestOS = \"templeos\" }"),
        "{said}"
    );
    assert!(said.contains("there are: almalinux-64,") && said.contains("winxppro-64"), "{said}");
    let meant = iso.replace("\"guestinfo.kiln\"", "\"guestos\" = \"templeos\", \"guestinfo.kiln\"");
    home.write("guest.pkr.hcl", &meant);
    let ran = lab.start(&["validate", "guest.pkr.hcl"]).wait().expect(0);
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("Unknown guest system"), "{}", ran.stdout);
    let iso = iso_template(Path::new("/dev/null")).replace("headless ", "network = \"vmnet77\"\n  headless ");
    home.write("network.pkr.hcl", &iso);
    let ran = lab.start(&["build", "-color=false", "network.pkr.hcl"]).wait().expect(1);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("VMware has no network vmnet77 here; there are: vmnet0, vmnet1, vmnet8"), "{said}");
    let iso = iso_template(Path::new("/dev/null"))
        .replace("\"guestinfo.kiln\" = ", "\"scsi0:0.present\" = \"FALSE\", \"guestinfo.kiln\" = ");
    home.write("own-disk.pkr.hcl", &iso.replace("\"out\"", "\"elsewhere\""));
    let ran = lab.start(&["build", "-color=false", "own-disk.pkr.hcl"]).wait().expect(1);
    let said = unfolded(&format!("{}{}", ran.stdout, ran.stderr));
    assert!(said.contains("own disk disk.vmdk, in whose place there would be none"), "{said}");
    assert!(said.contains("own-disk.pkr.hcl") && !home.work("elsewhere").exists(), "{said}");
    let iso = iso_template(Path::new("/dev/null")).replace("\"ova\"", "\"ovf\"\n  vmdk_name = \"guest-disk1\"");
    home.write("clash.pkr.hcl", &iso.replace("\"out\"", "\"elsewhere\""));
    let ran = lab.start(&["build", "-color=false", "clash.pkr.hcl"]).wait().expect(1);
    let said = unfolded(&format!("{}{}", ran.stdout, ran.stderr));
    assert!(said.contains("the OVF's disk guest-disk1.vmdk would have the name of the machine's own"), "{said}");
    assert!(said.contains("clash.pkr.hcl") && !home.work("elsewhere").exists(), "{said}");
    assert!(!home.work("out/guest.vmx.lck").exists());
    // Without VMware.
    let mut command = home.command("kiln");
    home.write("plain.pkr.hcl", &format!("{}{build}", clone("again", "")));
    let ran = home.start_command({
        command.args(["build", "-color=false", "plain.pkr.hcl"]);
        command
    });
    let ran = ran.wait().expect(1);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("vmrun cannot be found or run") && said.contains("install VMware Workstation"), "{said}");
    lab.assert_clean();
}
