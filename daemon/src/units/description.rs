//! What the unit of a worker is, as properties of `StartTransientUnit`.
//!
//! None of them holds a secret: everybody on the machine may ask systemd for the properties of every unit, and finds them in
//! `/run/systemd/transient`. So the environment of a worker is not among them; it comes through its standard input.

use std::os::fd::OwnedFd;

use zbus::{Fd, Variant};

/// The slice of all workers, for limits that an administrator sets for all of them together.
pub(crate) const SLICE: &str = "kiln-jobs.slice";

/// Descriptors that a worker may have open, as the daemon's own unit has it.
const DESCRIPTORS: u64 = 65536;

/// Time for a worker that is told to stop, as at a shutdown, to cancel its job and give everything back.
const STOP_TIMEOUT_US: u64 = 180_000_000;

/// Mask of new files until the worker knows its client's.
const UMASK: u32 = 0o077;

/// What each worker may have of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitLimits {
    /// Memory of the worker with all that it starts, in bytes; no limit when there is none.
    pub memory_max: Option<u64>,
    /// Processes and threads.
    pub tasks_max: u64,
    /// Share of the processors, where 100 is what others have.
    pub cpu_weight: u64,
}

impl Default for UnitLimits {
    fn default() -> Self {
        Self { memory_max: None, tasks_max: 4096, cpu_weight: 50 }
    }
}

/// What ends with a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KillMode {
    /// Everything that it has started.
    All,
    /// Itself. A hypervisor may have one service for all programs of a user, which the first of them starts: it must outlive that one's unit.
    Process,
}

impl KillMode {
    /// Returns how it is on a machine with or without such a hypervisor.
    pub(crate) fn beside_services(there: bool) -> Self {
        if there { Self::Process } else { Self::All }
    }

    fn word(self) -> &'static str {
        match self {
            Self::All => "control-group",
            Self::Process => "process",
        }
    }
}

/// A unit to be.
#[derive(Debug)]
pub(crate) struct UnitDescription {
    /// What people read.
    pub(crate) description: String,
    /// Program and its arguments, the name that it goes by first.
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    /// User that it runs as, with all groups of that user.
    pub(crate) uid: u32,
    /// The job, if it is for one, for the journal.
    pub(crate) job: Option<String>,
    pub(crate) kill_mode: KillMode,
    pub(crate) limits: UnitLimits,
    pub(crate) stdin: OwnedFd,
    /// Standard output and standard error.
    pub(crate) log: OwnedFd,
}

impl UnitDescription {
    /// Returns the properties.
    pub(crate) fn properties(&self) -> Vec<(&'static str, Variant<'_>)> {
        // Words are words, whatever dollars are in them: `ExecStart` of a transient unit, too, has variables replaced.
        let command: Vec<(&str, Vec<&str>, Vec<&str>)> =
            vec![(&self.program, self.arguments.iter().map(String::as_str).collect(), vec!["no-env-expand"])];
        let mut fields = vec![format!("OWNER_UID={}", self.uid)];
        fields.extend(self.job.as_ref().map(|job| format!("JOB_ID={job}")));
        let mut properties: Vec<(&'static str, Variant<'_>)> = vec![
            ("Description", self.description.as_str().into()),
            // A program that cannot be executed is an error of the start, not an exit code of the job.
            ("Type", "exec".into()),
            ("ExecStartEx", command.into()),
            ("User", self.uid.to_string().into()),
            ("WorkingDirectory", "/".into()),
            ("UMask", UMASK.into()),
            ("StandardInputFileDescriptor", Fd::from(&self.stdin).into()),
            ("StandardOutputFileDescriptor", Fd::from(&self.log).into()),
            ("StandardErrorFileDescriptor", Fd::from(&self.log).into()),
            ("IgnoreSIGPIPE", false.into()),
            ("Slice", SLICE.into()),
            // Is stopped before the daemon is, which then sees how it ends.
            ("After", vec!["kilnd.service"].into()),
            ("KillMode", self.kill_mode.word().into()),
            ("TimeoutStopUSec", STOP_TIMEOUT_US.into()),
            // A guest that was too large is the worker's to tell of.
            ("OOMPolicy", "continue".into()),
            ("TasksMax", self.limits.tasks_max.into()),
            ("CPUWeight", self.limits.cpu_weight.into()),
            ("LimitNOFILE", DESCRIPTORS.into()),
            ("LogExtraFields", fields.into_iter().map(String::into_bytes).collect::<Vec<_>>().into()),
            // Kept until this daemon knows how it ended, and no longer.
            ("AddRef", true.into()),
            ("CollectMode", "inactive-or-failed".into()),
        ];
        properties.extend(self.limits.memory_max.map(|bytes| ("MemoryMax", bytes.into())));
        properties
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_its_users_and_its_properties_have_the_types_of_systemd() {
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let unit = UnitDescription {
            description: "Kiln job abc".to_owned(),
            program: "/usr/bin/kilnd".to_owned(),
            arguments: vec!["/usr/bin/kilnd".to_owned(), "worker".to_owned()],
            uid: 1000,
            job: Some("abc".to_owned()),
            kill_mode: KillMode::beside_services(true),
            limits: UnitLimits { memory_max: Some(1 << 30), ..UnitLimits::default() },
            stdin: null(),
            log: null(),
        };
        let properties = unit.properties();
        let signature = |wanted: &str| {
            let (_, value) = properties.iter().find(|(name, _)| *name == wanted).unwrap();
            value.value_signature().to_string()
        };
        // systemd 252, bus_exec_context_set_transient_property() and its neighbours.
        for (name, wanted) in [
            ("ExecStartEx", "a(sasas)"),
            ("User", "s"),
            ("UMask", "u"),
            ("StandardInputFileDescriptor", "h"),
            ("IgnoreSIGPIPE", "b"),
            ("After", "as"),
            ("TimeoutStopUSec", "t"),
            ("MemoryMax", "t"),
            ("TasksMax", "t"),
            ("CPUWeight", "t"),
            ("LogExtraFields", "aay"),
            ("AddRef", "b"),
        ] {
            assert_eq!(signature(name), wanted, "{name}");
        }
        let user = properties.iter().find(|(name, _)| *name == "User").unwrap();
        assert_eq!(<&str>::try_from(&user.1).unwrap(), "1000");
        assert!(properties.iter().all(|(name, _)| *name != "Environment"), "everybody can read it");
    }
}
