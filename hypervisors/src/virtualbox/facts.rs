//! What VirtualBox tells of a machine: `showvminfo --machinereadable`, and the snapshots' tree.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// What `showvminfo --machinereadable` tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts(BTreeMap<String, String>);

/// What a machine is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Off: the guest has switched itself off, or was switched off.
    Off,
    /// Off because its process ended without a word.
    Aborted,
    /// Off, with its memory saved.
    Saved,
    /// Anything else: there is a process.
    Alive,
}

impl Facts {
    /// Reads lines such as `name="web"`, `memory=512` and `"SATA-0-0"="/x.vdi"`; other lines are passed over. A value in quotes goes on in
    /// the next lines until its end: what is in a description, or in a name, is no fact.
    pub(super) fn read(text: &str) -> Self {
        let mut facts = BTreeMap::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some((name, value)) = split(line) else { continue };
            let mut value = value.to_owned();
            for line in lines.clone().take(lines_of_value(&value, lines.clone())) {
                value.push('\n');
                value.push_str(line.trim_end());
                lines.next();
            }
            facts.entry(unquoted(name)).or_insert_with(|| unquoted(&value));
        }
        Self(facts)
    }

    /// The value called `name`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The same with another value of `name`.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Names and values, in the order of the names.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What the machine is at; `None`: it does not say.
    pub(super) fn state(&self) -> Option<State> {
        Some(match self.get("VMState")? {
            "poweroff" => State::Off,
            "aborted" => State::Aborted,
            // Its process ended before the guest went on: what was saved is still there.
            "saved" | "aborted-saved" => State::Saved,
            _ => State::Alive,
        })
    }

    /// When its state last changed, to the second: VirtualBox's service forgets the rest when it ends.
    pub(super) fn changed_at(&self) -> Option<&str> {
        self.get("VMStateChangeTime").map(|time| time.split('.').next().unwrap_or(time))
    }

    /// Whether VirtualBox has stopped the guest for good, in a process that stays.
    pub(super) fn is_stopped_for_good(&self) -> bool {
        self.get("VMState") == Some("gurumeditation")
    }

    /// Where its settings are.
    pub(super) fn settings_file(&self) -> Option<PathBuf> {
        self.get("CfgFile").filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// Drives and what is in them: controller, port, device, path. Those that hold nothing are not among them.
    pub(super) fn attached(&self) -> Vec<Attached> {
        let controllers = self.controllers();
        let mut attached = Vec::new();
        for (name, path) in self.all() {
            if path.is_empty() || matches!(path, "none" | "emptydrive") {
                continue;
            }
            let place = controllers.iter().find_map(|controller| {
                let rest = name.strip_prefix(controller.name)?.strip_prefix('-')?;
                let (port, device) = rest.split_once('-')?;
                Some((controller, port.parse().ok()?, device.parse().ok()?))
            });
            if let Some((controller, port, device)) = place {
                let slot = Slot { controller: controller.name.to_owned(), port, device };
                attached.push(Attached { slot, floppy: controller.is_floppy(), path: PathBuf::from(path) });
            }
        }
        attached
    }

    /// Files of the disks of the machine, as they are attached: no discs and no floppies.
    pub(super) fn disks(&self) -> Vec<PathBuf> {
        let is_disc =
            |slot: &Slot| self.get(&format!("{}-IsEjected-{}-{}", slot.controller, slot.port, slot.device)).is_some();
        let attached = self.attached().into_iter();
        attached.filter(|one| !one.floppy && !is_disc(&one.slot)).map(|one| one.path).collect()
    }

    /// The controllers of the machine.
    pub(super) fn controllers(&self) -> Vec<Controller<'_>> {
        let controller = |(key, name)| {
            let number = str::strip_prefix(key, "storagecontrollername")?;
            let kind = self.get(&format!("storagecontrollertype{number}")).unwrap_or_default();
            let ports = self.get(&format!("storagecontrollerportcount{number}")).and_then(|count| count.parse().ok());
            Some(Controller { name, kind, ports })
        };
        self.all().filter_map(controller).collect()
    }

    /// What is in a place of a controller.
    pub(super) fn holds(&self, slot: &Slot) -> Held<'_> {
        match self.get(&slot.to_string()) {
            None | Some("" | "none") => Held::Nothing,
            Some("emptydrive") => Held::EmptyDrive,
            Some(medium) => Held::Medium(medium),
        }
    }

    /// Whether a disc can be put there without a disk being taken out: VirtualBox tells of drives alone whether they are open.
    pub(super) fn takes_a_disc(&self, slot: &Slot) -> bool {
        let Slot { controller, port, device } = slot;
        !matches!(self.holds(slot), Held::Medium(_))
            || self.get(&format!("{controller}-IsEjected-{port}-{device}")).is_some()
    }
}

/// A place of a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    /// The controller's name.
    pub(super) controller: String,
    /// Port.
    pub(super) port: u32,
    /// Device on it.
    pub(super) device: u32,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.controller, self.port, self.device)
    }
}

/// What is in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held<'f> {
    /// No drive and no disk.
    Nothing,
    /// A drive without a disc.
    EmptyDrive,
    /// A disk, or a drive with this in it: an image, or a drive of the host.
    Medium(&'f str),
}

/// A controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Controller<'f> {
    /// Its name.
    pub(super) name: &'f str,
    /// Its kind in VirtualBox's words.
    pub(super) kind: &'f str,
    /// How many ports it has.
    pub(super) ports: Option<u32>,
}

impl Controller<'_> {
    /// Whether it is for floppies.
    pub(super) fn is_floppy(&self) -> bool {
        self.kind == "I82078"
    }
}

/// Something in a drive, or a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attached {
    /// Where it is.
    pub(super) slot: Slot,
    /// It is in a floppy drive.
    pub(super) floppy: bool,
    /// The image.
    pub(super) path: PathBuf,
}

/// Splits at the first `=` that is not within quotes.
fn split(line: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    for (index, byte) in line.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'=' if !quoted => return Some((line[..index].trim(), line[index + 1..].trim())),
            _ => {}
        }
    }
    None
}

/// How many of the lines behind a value in quotes belong to it. One that never ends is a value of its own line, as are all behind it.
fn lines_of_value<'t>(value: &str, behind: impl Iterator<Item = &'t str>) -> usize {
    let is_over = |line: &str| {
        // A quote behind an odd number of backslashes is part of the value.
        let before = line.trim_end().strip_suffix('"');
        before.is_some_and(|before| (before.len() - before.trim_end_matches('\\').len()) % 2 == 0)
    };
    if !value.starts_with('"') || (value.len() > 1 && is_over(value)) {
        return 0;
    }
    behind.take(MOST_LINES).position(is_over).map_or(0, |last| last + 1)
}

/// The most lines that a value may have.
const MOST_LINES: usize = 1000;

/// Takes the quotes off, and the backslashes before what would end them.
fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else { return text.to_owned() };
    inner.replace("\\\"", "\"").replace("\\\\", "\\")
}

/// The value of a line `NAME:   VALUE` of `list systemproperties`.
pub(super) fn property<'t>(properties: &'t str, name: &str) -> Option<&'t str> {
    let value = properties.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.trim();
    Some(value).filter(|value| !value.is_empty())
}

/// A snapshot of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// Its name.
    pub(super) name: String,
    /// Its UUID.
    pub(super) uuid: String,
    /// Where it is in the tree: the numbers of the children on the way to it, joined; empty for the root.
    pub(super) place: String,
}

/// Snapshots of a machine, and which one it stands on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Snapshots {
    /// All of them, the root first.
    pub(super) all: Vec<Snapshot>,
    /// UUID of the one that the machine stands on.
    pub(super) current: Option<String>,
}

impl Snapshots {
    /// Reads `snapshot MACHINE list --machinereadable`.
    pub(super) fn read(text: &str) -> Self {
        Self::of(&Facts::read(text))
    }

    /// Those that are among a machine's facts, too: `SnapshotName-1="a"`, `SnapshotUUID-1="…"`, `CurrentSnapshotUUID="…"`.
    pub(super) fn of(facts: &Facts) -> Self {
        let mut all = Vec::new();
        for (name, value) in facts.all() {
            let Some(place) = name.strip_prefix("SnapshotName") else { continue };
            let uuid = facts.get(&format!("SnapshotUUID{place}")).unwrap_or_default();
            all.push(Snapshot { name: value.to_owned(), uuid: uuid.to_owned(), place: place.to_owned() });
        }
        all.sort_by_key(|snapshot| snapshot.place.len());
        Self { all, current: facts.get("CurrentSnapshotUUID").map(ToOwned::to_owned) }
    }

    /// Those called `name`, which need not be a single one; a UUID names one, too.
    pub(super) fn named(&self, name: &str) -> Vec<&Snapshot> {
        self.all.iter().filter(|snapshot| snapshot.name == name || snapshot.uuid == name).collect()
    }

    /// The names there are, for people.
    pub(super) fn listed(&self) -> String {
        let names: Vec<&str> = self.all.iter().map(|snapshot| snapshot.name.as_str()).collect();
        if names.is_empty() { "it has none".to_owned() } else { format!("it has: {}", names.join(", ")) }
    }

    /// The one that the machine stands on.
    pub(super) fn current(&self) -> Option<&Snapshot> {
        self.all.iter().find(|snapshot| Some(&snapshot.uuid) == self.current.as_ref())
    }

    /// Those called `name` that were taken right on `parent`.
    pub(super) fn children(&self, parent: &Snapshot, name: &str) -> Vec<&Snapshot> {
        self.all.iter().filter(|snapshot| snapshot.name == name && Self::is_child(snapshot, parent)).collect()
    }

    /// Whether `child` was taken right on `parent`.
    fn is_child(child: &Snapshot, parent: &Snapshot) -> bool {
        child.place.strip_prefix(&parent.place).is_some_and(|rest| {
            rest.strip_prefix('-').is_some_and(|number| !number.is_empty() && !number.contains('-'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_machines_facts() {
        let facts = Facts::read(
            "name=\"a \\\"b\\\"\"\nmemory=512\nVMState=\"poweroff\"\nCfgFile=\"/m/a=b.vbox\"\n\
             storagecontrollername0=\"IDE\"\nstoragecontrollertype0=\"PIIX4\"\nstoragecontrollername1=\"SATA-1\"\n\
             storagecontrollertype1=\"IntelAhci\"\n\"IDE-0-0\"=\"/d/x.vdi\"\n\"IDE-1-0\"=\"none\"\n\"IDE-1-1\"=\"emptydrive\"\n\
             \"IDE-ImageUUID-0-0\"=\"1234\"\n\"SATA-1-13-0\"=\"/d/cd.iso\"\n\"SATA-1-IsEjected-13-0\"=\"off\"\nnonsense\n",
        );
        assert_eq!(facts.get("name"), Some("a \"b\""));
        assert_eq!(facts.get("memory"), Some("512"));
        assert_eq!(facts.state(), Some(State::Off));
        assert_eq!(facts.settings_file(), Some("/m/a=b.vbox".into()));
        let places: Vec<_> = facts.attached().into_iter().map(|one| (one.slot.to_string(), one.path)).collect();
        assert_eq!(places, [("IDE-0-0".to_owned(), "/d/x.vdi".into()), ("SATA-1-13-0".to_owned(), "/d/cd.iso".into())]);
        let slot = |controller: &str, port, device| Slot { controller: controller.to_owned(), port, device };
        assert_eq!(facts.holds(&slot("IDE", 0, 0)), Held::Medium("/d/x.vdi"));
        assert_eq!(facts.holds(&slot("IDE", 1, 0)), Held::Nothing);
        assert_eq!(facts.holds(&slot("IDE", 1, 1)), Held::EmptyDrive);
        assert!(!facts.takes_a_disc(&slot("IDE", 0, 0)) && facts.takes_a_disc(&slot("IDE", 1, 1)));
        assert!(facts.takes_a_disc(&slot("SATA-1", 13, 0)) && facts.takes_a_disc(&slot("none", 0, 0)));
        for (word, state) in [
            ("running", State::Alive),
            ("aborted", State::Aborted),
            ("saved", State::Saved),
            ("aborted-saved", State::Saved),
        ] {
            assert_eq!(Facts::read(&format!("VMState=\"{word}\"")).state(), Some(state));
        }
        assert_eq!(Facts::read("garbage\n=\n\"").state(), None);
    }

    #[test]
    fn what_is_in_a_text_of_several_lines_is_no_fact() {
        let facts = Facts::read(
            "name=\"a\nVMState=\"running\nx\"\ndescription=\"one\nCfgFile=\\\"/x\\\"\nmemory=7\nlast\\\\\"\nmemory=512\nVMState=\"poweroff\"\nbroken=\"\nvram=3\n",
        );
        assert_eq!(facts.get("name"), Some("a\nVMState=\"running\nx"));
        assert_eq!(facts.get("description"), Some("one\nCfgFile=\"/x\"\nmemory=7\nlast\\"));
        assert_eq!((facts.get("memory"), facts.state(), facts.settings_file()), (Some("512"), Some(State::Off), None));
        assert_eq!(facts.get("vram"), Some("3"), "a value that never ends ends with its line");
    }

    #[test]
    fn reads_snapshots() {
        let snapshots = Snapshots::read(
            "SnapshotName=\"base\"\nSnapshotUUID=\"u1\"\nSnapshotName-1=\"x\"\nSnapshotUUID-1=\"u2\"\n\
             SnapshotName-1-1=\"x\"\nSnapshotUUID-1-1=\"u3\"\nCurrentSnapshotName=\"x\"\nCurrentSnapshotUUID=\"u2\"\n",
        );
        assert_eq!(snapshots.current.as_deref(), Some("u2"));
        assert_eq!((snapshots.named("x").len(), snapshots.named("u3").len(), snapshots.named("y").len()), (2, 1, 0));
        let [base, x, deep] = &snapshots.all[..] else { panic!("{snapshots:?}") };
        assert!(Snapshots::is_child(x, base) && Snapshots::is_child(deep, x) && !Snapshots::is_child(deep, base));
        assert_eq!(snapshots.listed(), "it has: base, x, x");
        assert_eq!(
            (snapshots.current(), snapshots.children(x, "x"), snapshots.children(deep, "x")),
            (Some(x), vec![deep], vec![])
        );
        assert_eq!(Snapshots::read("This machine does not have any snapshots\n").listed(), "it has none");
    }
}
