//! A world with a stand-in for `VBoxManage`, and what it was asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use crate::ledger::NoLedger;
use crate::machine::{Hypervisor as _, Machine};
use crate::process::script::write_script;
use crate::spec::{BackendSpec, MachineSpec};
use crate::virtualbox::{VirtualBoxHypervisor, VirtualBoxSpec};

pub(super) struct StandIn {
    directory: TempDir,
}

impl StandIn {
    pub(super) fn new() -> Self {
        let world = Self { directory: tempfile::tempdir().unwrap() };
        for name in ["run", "vms", "break", "machines"] {
            std::fs::create_dir(world.path(name)).unwrap();
        }
        std::fs::write(world.path("calls"), "").unwrap();
        let script = include_str!("../fake_vboxmanage.sh").replace("@DIR@", world.directory.path().to_str().unwrap());
        write_script(&world.path("VBoxManage"), &script);
        world
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn hypervisor(&self) -> VirtualBoxHypervisor {
        VirtualBoxHypervisor::with_program(self.path("VBoxManage"))
    }

    /// A machine called `web`.
    pub(super) fn spec(&self, serial: bool) -> MachineSpec {
        MachineSpec::new("web", self.path("run"), VirtualBoxSpec { serial, ..VirtualBoxSpec::default() })
    }

    pub(super) fn part<'a>(&self, spec: &'a mut MachineSpec) -> &'a mut VirtualBoxSpec {
        match &mut spec.backend {
            BackendSpec::VirtualBox(part) => part,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn start(&self, spec: &MachineSpec) -> Box<dyn Machine> {
        self.hypervisor().start(spec, Arc::new(NoLedger)).await.unwrap()
    }

    /// Every call so far, without the program.
    pub(super) fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.path("calls")).unwrap();
        calls.lines().map(ToOwned::to_owned).collect()
    }

    /// The folder of the only machine.
    pub(super) fn folder(&self) -> PathBuf {
        let settings = std::fs::read_to_string(self.directories()[0].join("cfg")).unwrap();
        Path::new(settings.trim()).parent().unwrap().to_owned()
    }

    /// VirtualBox stops the guest of the only machine for good, in a process that stays, and writes this into its log.
    pub(super) fn stops_guest_for_good(&self, state: &str, words: &str) {
        let directory = self.directories().remove(0);
        std::fs::write(directory.join("state"), state).unwrap();
        let log = self.folder().join("Logs/VBox.log");
        let mut log = std::fs::File::options().append(true).open(log).unwrap();
        std::io::Write::write_all(&mut log, words.as_bytes()).unwrap();
    }

    /// Names of the registered machines, sorted.
    pub(super) fn machines(&self) -> Vec<String> {
        let name = |directory: &PathBuf| std::fs::read_to_string(directory.join("name")).unwrap().trim().to_owned();
        let mut names: Vec<String> = self.directories().iter().map(name).collect();
        names.sort();
        names
    }

    fn directories(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.path("vms")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// Somebody else calls VirtualBox.
    pub(super) fn calls_by_hand(&self, arguments: &[&str]) {
        let status = std::process::Command::new(self.path("VBoxManage")).args(arguments).status().unwrap();
        assert!(status.success(), "{arguments:?}");
        // Its process is seen a moment after its fork.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while arguments[0] == "startvm" && self.running() == 0 && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
    }

    /// Registers a machine of somebody else.
    pub(super) fn registers(&self, name: &str, uuid: &str) {
        let directory = self.path("vms").join(uuid);
        std::fs::create_dir_all(directory.join("is")).unwrap();
        for (file, text) in [("name", name), ("state", "poweroff"), ("cfg", "/nonexistent/x.vbox")] {
            std::fs::write(directory.join(file), text).unwrap();
        }
    }

    pub(super) fn has_snapshots(&self, uuid: &str, text: &str) {
        std::fs::write(self.path("vms").join(uuid).join("snapshots"), text).unwrap();
    }

    /// What `showvminfo` tells of all machines from now on.
    pub(super) fn tells(&self, facts: &str) {
        for directory in self.directories() {
            std::fs::write(directory.join("facts"), facts).unwrap();
        }
    }

    /// What `showvminfo` tells of a machine now, but for when that last changed.
    pub(super) fn facts(&self, uuid: &str) -> Vec<String> {
        let said = std::process::Command::new(self.path("VBoxManage")).args(["showvminfo", uuid]).output().unwrap();
        let lines = String::from_utf8(said.stdout).unwrap();
        lines.lines().filter(|line| !line.starts_with("VMStateChangeTime=")).map(ToOwned::to_owned).collect()
    }

    /// From now on a call fails in this way: `zero`, `garbage`, `hang`, `noted` (it hangs, and the file of that
    /// name is there), `killed`, or with these words; with `slow` it takes 3 s and works.
    pub(super) fn breaks(&self, call: &str, how: &str) {
        std::fs::write(self.path("break").join(call), format!("{how}\n")).unwrap();
    }

    /// The `nth` call from now on that changes something fails, and no other.
    pub(super) fn fails_at(&self, nth: usize) {
        std::fs::write(self.path("fails"), nth.to_string()).unwrap();
    }

    pub(super) fn mends(&self, call: &str) {
        std::fs::remove_file(self.path("break").join(call)).unwrap();
    }

    /// The process of the machine that runs ends, and leaves it in `state`.
    pub(super) fn end_guest(&self, state: &str) {
        for directory in self.directories() {
            if std::fs::read_to_string(directory.join("state")).unwrap().trim() == "running" {
                std::fs::write(directory.join("state"), state).unwrap();
                self.kill(&directory);
            }
        }
    }

    /// Ends the process of the only machine, whatever is said of that.
    pub(super) fn end_process(&self) {
        self.kill(&self.directories()[0]);
    }

    fn kill(&self, machine: &Path) {
        let pid: i32 = std::fs::read_to_string(machine.join("pid")).unwrap().trim().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }

    /// How many machines have a process.
    pub(super) fn running(&self) -> usize {
        self.uuids().iter().filter(|uuid| crate::virtualbox::vm_process::find(uuid).is_some()).count()
    }

    /// The registered machines.
    pub(super) fn uuids(&self) -> Vec<String> {
        self.directories().into_iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
    }

    pub(super) fn left_in_runtime(&self) -> usize {
        std::fs::read_dir(self.path("run")).unwrap().count()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // Of a test that failed.
        for machine in self.directories() {
            if machine.join("pid").exists() {
                self.kill(&machine);
            }
        }
    }
}
