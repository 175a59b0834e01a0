//! Builds that came to an early end, on a real VirtualBox: what an aborted one leaves to its owner, and what of a killed one is found and
//! removed, beside machines of others whose names are the same or alike.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{SILENT, World, iso, template};

/// Longest wait for a moment of a build.
const WAIT: Duration = Duration::from_secs(120);

/// A source of `kind` with a script that is run on this machine while the guest is up.
fn with_script(kind: &str, options: &str, script: &str) -> String {
    format!(
        "source \"{kind}\" \"web\" {{{SILENT}{options}  boot_wait = \"-1s\"\n}}\nbuild {{\n  sources = [\"{kind}.web\"]\n  \
         provisioner \"shell-local\" {{\n    inline = [\"{script}\"]\n  }}\n}}\n"
    )
}

impl World {
    fn aborts(&self, text: &str) -> String {
        self.home.write("t.pkr.hcl", text);
        let ran = self.kiln(&["build", "-color=false", "-on-error=abort", "t.pkr.hcl"], &[]).expect(1);
        format!("{}{}", ran.stdout, ran.stderr)
    }

    /// Makes a machine by hand. Returns its settings.
    fn makes(&self, name: &str, folder: &str) -> PathBuf {
        let base = self.home.work(folder);
        let made = ["--name", name, "--ostype", "Debian_64", "--register", "--basefolder", base.to_str().unwrap()];
        self.vboxmanage(&[&["createvm"][..], &made].concat());
        base.join(name).join(format!("{name}.vbox"))
    }

    fn jobs(&self) -> Vec<serde_json::Value> {
        let Some(jobs) = self.home.get("/v1/jobs") else { return Vec::new() };
        jobs.as_array().or_else(|| jobs["jobs"].as_array()).cloned().unwrap_or_default()
    }

    /// The worker of the only job.
    fn worker(&self) -> Pid {
        let id = self.jobs()[0]["id"].as_str().unwrap().to_owned();
        let file = self.home.path().join("state/kiln/jobs").join(id).join("worker.json");
        let worker: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        Pid::from_raw(worker["pid"].as_i64().unwrap().try_into().unwrap()).unwrap()
    }

    /// Files and processes of builds.
    #[track_caller]
    fn assert_nothing_left(&self) {
        // VirtualBox's own services end by themselves, seconds after the last call.
        let is_theirs = |line: &str| line.contains("/VBoxSVC ") || line.contains("/VBoxXPCOMIPCD");
        let left = || {
            let mut left = self.home.leftovers();
            left.processes.retain(|(_, line)| !is_theirs(line));
            left
        };
        self.home.wait_for("the end of all processes", WAIT, || left().processes.is_empty().then_some(()));
        let left = left();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn what_the_guest_of_an_aborted_build_has_written_stays_in_virtualbox() {
    let Some(world) = World::new() else { return };
    world.build(&iso("  disk_size = 64\n  format = \"ova\"\n  output_directory = \"first\"\n")).expect(0);
    let machines = world.home.work("kept machines");
    world.vboxmanage(&["setproperty", "machinefolder", machines.to_str().unwrap()]);
    let options = "  source_path = \"first/web.ova\"\n  vm_name = \"second\"\n  cd_content = { \"a\" = \"b\" }\n";
    let told = world.aborts(&with_script("virtualbox-ovf", options, "exit 3"));
    let disk = machines.join("second/web-disk1.vmdk");
    assert!(told.contains("What it has written is kept: the machine second in VirtualBox ("), "{told}");
    assert!(told.contains(&format!("    {}", disk.display())) && disk.exists(), "{told}");
    assert!(told.contains("a source \"virtualbox-vm\" goes on from it with vm_name = \"second\""), "{told}");
    assert_eq!(world.machines(), ["second"]);
    let facts = world.vboxmanage(&["showvminfo", "second", "--machinereadable"]);
    assert!(facts.contains(disk.to_str().unwrap()) && facts.contains("VMState=\"poweroff\""), "{facts}");
    assert!(!facts.contains("cd.iso") && !facts.contains("packercomm"), "{facts}");
    assert!(!world.home.work("output-web").exists());
    world.assert_nothing_left();
    // No build takes it away, and one goes on from it.
    let ran = world.build(&template("virtualbox-ovf", options)).expect(1);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("a machine called second is there already"), "{told}");
    assert_eq!((world.machines(), disk.exists()), (vec!["second".to_owned()], true));
    world.build_without_force(&template("virtualbox-vm", "  vm_name = \"second\"\n")).expect(0);
    assert!(world.home.work("output-web/second.ovf").exists());
    assert!(disk.exists());
}

#[test]
fn an_aborted_build_leaves_a_machine_of_others_as_it_is_then() {
    let Some(world) = World::new() else { return };
    let settings = world.makes("base", "machines");
    let disk = world.home.work("machines/base/base.vdi").display().to_string();
    world.vboxmanage(&["createmedium", "disk", "--filename", &disk, "--size", "16"]);
    world.vboxmanage(&["storagectl", "base", "--name", "SATA", "--add", "sata"]);
    let place = ["--storagectl", "SATA", "--port", "0", "--device", "0", "--type", "hdd", "--medium", &disk];
    world.vboxmanage(&[&["storageattach", "base"][..], &place].concat());
    world.vboxmanage(&["snapshot", "base", "take", "fresh"]);
    let options = "  vm_name = \"base\"\n  attach_snapshot = \"fresh\"\n  skip_export = true\n  \
                   vboxmanage = [[\"modifyvm\", \"{{.Name}}\", \"--description\", \"by the build\"]]\n";
    let told = world.aborts(&with_script("virtualbox-vm", options, "exit 3"));
    assert!(told.contains("What it has written is kept: the machine base in VirtualBox ("), "{told}");
    assert!(told.contains("restore \"fresh\"") && told.contains("take aborted"), "{told}");
    let facts = world.vboxmanage(&["showvminfo", "base", "--machinereadable"]);
    assert!(facts.contains("description=\"by the build\""), "what was done since the snapshot is undone: {facts}");
    assert!(facts.contains("CurrentSnapshotName=\"fresh\"") && facts.contains("vrde=\"off\""), "{facts}");
    // What was written since the snapshot is in a file of its own, which is named.
    let line = told.lines().find_map(|line| line.split_once(":     /")).unwrap_or_else(|| panic!("{told}")).1;
    let written = format!("/{}.vdi", line.split_once(".vdi").unwrap().0);
    assert!(written.contains("/Snapshots/") && Path::new(&written).exists() && facts.contains(&written), "{told}");
    assert!(settings.exists() && world.machines() == ["base"]);
    world.assert_nothing_left();
}

#[test]
fn of_a_killed_worker_its_machine_is_removed_and_never_another_of_that_name() {
    let Some(world) = World::new() else { return };
    world.build(&iso("  disk_size = 64\n  format = \"ova\"\n  output_directory = \"first\"\n")).expect(0);
    let alike = [world.makes("we", "machines"), world.makes("web-2", "machines")];
    let new = "  iso_url = \"x.iso\"\n  iso_checksum = \"none\"\n  vm_name = \"web\"\n  disk_size = 64\n";
    let imported = "  source_path = \"first/web.ova\"\n  vm_name = \"web\"\n";
    let touch = format!("touch {}; sleep 1000", world.home.work("up").display());
    for (kind, options, held) in [
        // It is registered and has its disk, and nobody has let it run.
        ("virtualbox-iso", new, "storageattach"),
        // VirtualBox has chosen its UUID, and nobody has heard of that.
        ("virtualbox-ovf", imported, "import"),
        // It runs.
        ("virtualbox-iso", new, "nothing"),
    ] {
        let moment = if held == "nothing" { world.home.work("up") } else { world.home.path().join(".vbox/held") };
        world.home.write("t.pkr.hcl", &with_script(kind, options, &touch));
        world.kiln(&["build", "--detach", "t.pkr.hcl"], &[("KILN_TEST_VBOX_HOLD", held)]).expect(0);
        world.home.wait_for(held, WAIT, || moment.exists().then_some(()));
        let theirs = world.makes("web", held);
        assert_eq!(sorted(world.machines()), ["we", "web", "web", "web-2"], "{held}");
        let ours: Vec<PathBuf> = world.settings().into_iter().filter(|path| is_in_a_job(path)).collect();
        let [ours] = &ours[..] else { panic!("{held}: {ours:?}") };

        kill_process(world.worker(), Signal::KILL).unwrap();
        world.home.wait_for("the job's end", WAIT, || (world.jobs().first()?["state"] == "failed").then_some(()));
        assert_eq!(sorted(world.machines()), ["we", "web", "web-2"], "{held}");
        assert!(!ours.exists(), "{held}: {}", ours.display());
        for settings in alike.iter().chain([&theirs]) {
            assert!(settings.exists() && world.settings().contains(settings), "{held}: {}", settings.display());
        }
        let disks = world.vboxmanage(&["list", "hdds"]);
        assert!(!disks.contains("/state/kiln/") && !disks.contains(".web-0.vdi"), "{held}: {disks}");
        assert!(!world.home.work("output-web").exists(), "{held}");
        world.assert_nothing_left();
        world.vboxmanage(&["unregistervm", theirs.to_str().unwrap(), "--delete"]);
        std::fs::remove_file(&moment).unwrap();
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn is_in_a_job(path: &Path) -> bool {
    path.display().to_string().contains("/kiln/jobs/")
}

impl World {
    /// The settings files of all machines.
    fn settings(&self) -> Vec<PathBuf> {
        let list = self.vboxmanage(&["list", "--long", "vms"]);
        list.lines().filter_map(|line| Some(PathBuf::from(line.strip_prefix("Config file:")?.trim()))).collect()
    }
}
