//! The variables of the environment that Kiln reads, in one table: manual pages and `docs/configuration.md` are made of it or compared with it, and
//! a `KILN_…` that is not in it is told as a mistake.

use std::ffi::OsString;

/// What the names of Kiln's own variables begin with.
const PREFIX: &str = "KILN_";

/// One variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Who reads it.
    pub readers: &'static [Reader],
    /// What it means, for people.
    pub meaning: &'static str,
}

/// Who reads a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// `kiln`, in the shell where it is called.
    Client,
    /// `kilnd`: of the shell that starts it, of which `kiln` is one, or of its unit.
    Daemon,
    /// A job: the environment of the shell that submits it goes to its worker.
    Job,
}

impl Reader {
    /// What it is called in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "kiln",
            Self::Daemon => "kilnd",
            Self::Job => "the job",
        }
    }
}

impl Variable {
    /// Returns those that any of these reads, in the order of the table.
    pub fn read_by(readers: &[Reader]) -> impl Iterator<Item = &'static Self> {
        VARIABLES.iter().filter(move |variable| variable.readers.iter().any(|reader| readers.contains(reader)))
    }

    /// Names those that read it.
    #[must_use]
    pub fn readers(&self) -> String {
        self.readers.iter().map(|reader| reader.name()).collect::<Vec<_>>().join(", ")
    }
}

/// All of them, but for those of components, which stand in their own documents.
pub const VARIABLES: &[Variable] = &[
    Variable {
        name: "KILN_SOCKET",
        readers: &[Reader::Client, Reader::Daemon],
        meaning: "The daemon's socket, where it is not the usual one: an absolute path. `kilnd --system` does not read it.",
    },
    Variable {
        name: "KILN_MAX_JOBS",
        readers: &[Reader::Daemon],
        meaning: "1 to 1000: jobs that may run at once. It comes before `max_jobs` in kiln.toml.",
    },
    Variable {
        name: "KILN_LOG",
        readers: &[Reader::Daemon, Reader::Job],
        meaning: "A filter of the log, as `debug`; for a job, that of its worker. It comes before `log` in kiln.toml.",
    },
    Variable {
        name: "KILN_MAX_LOG_MIB",
        readers: &[Reader::Job],
        meaning: "1 to 1048576: MiB up to which all is kept that a job says, else 64. Of longer ones the middle is left out.",
    },
    Variable {
        name: "KILN_LIBVIRT",
        readers: &[Reader::Job],
        meaning: "URI of the libvirt that is to run QEMU, as `qemu:///session`; for a Kiln that is built with libvirt.",
    },
    Variable {
        name: "KILN_CONFINED",
        readers: &[Reader::Job],
        meaning: "Set by kilnd: `1` where the job is confined to its guests.",
    },
    Variable {
        name: "KILN_SCRIPT",
        readers: &[Reader::Job],
        meaning: "Set by a job for the programs that it runs on this machine, so that it finds and ends all of them.",
    },
    Variable { name: "PKR_VAR_NAME", readers: &[Reader::Job], meaning: "A value for the variable NAME of a template." },
    Variable {
        name: "PACKER_CACHE_DIR",
        readers: &[Reader::Job],
        meaning: "Where downloads are kept, else `$XDG_CACHE_HOME/kiln` or `~/.cache/kiln`.",
    },
    Variable { name: "CI", readers: &[Reader::Client], meaning: "Nobody is asked for a password." },
    Variable {
        name: "NO_COLOR",
        readers: &[Reader::Client],
        meaning: "No colours, whatever the value, unless `-color=true` is given.",
    },
    Variable { name: "PACKER_NO_COLOR", readers: &[Reader::Client], meaning: "No colours at all." },
    Variable {
        name: "XDG_RUNTIME_DIR",
        readers: &[Reader::Client, Reader::Daemon],
        meaning: "The socket is kiln/kiln.sock in it, else /tmp/kiln-UID/kiln.sock.",
    },
    Variable {
        name: "XDG_STATE_HOME",
        readers: &[Reader::Client, Reader::Daemon],
        meaning: "Journal, jobs and log are in kiln in it, else in `~/.local/state/kiln`.",
    },
    Variable {
        name: "XDG_CONFIG_HOME",
        readers: &[Reader::Daemon],
        meaning: "The configuration is kiln/kiln.toml in it, else `~/.config/kiln/kiln.toml`.",
    },
    Variable {
        name: "DBUS_SESSION_BUS_ADDRESS",
        readers: &[Reader::Client, Reader::Daemon],
        meaning: "The bus of the session, else `$XDG_RUNTIME_DIR/bus`.",
    },
    Variable {
        name: "DBUS_SYSTEM_BUS_ADDRESS",
        readers: &[Reader::Daemon],
        meaning: "The bus of the system, else /run/dbus/system_bus_socket.",
    },
];

/// What the tests, laboratories and scripts of Kiln itself read, and no program that is installed; [`TESTS`] stands before many more.
const DEVELOPMENT: &[&str] = &[
    "KILN_BENCH_CHROOT",
    "KILN_BENCH_ROUNDS",
    "KILN_BIN_DIR",
    "KILN_BLESS",
    "KILN_CORPUS",
    "KILN_DEMO_OUTPUT",
    "KILN_EXAMPLE",
    "KILN_FUZZ_DIR",
    "KILN_GUEST_CACHE",
    "KILN_JUDGES",
    "KILN_LAB_DIR",
    "KILN_MAKING_JUDGES",
    "KILN_MOTO",
    "KILN_ORACLE",
    "KILN_PACKAGE_VERSION",
    "KILN_PACKER",
    "KILN_VAGRANT",
    "KILN_VIRTUALBOX_LAB",
    "KILN_VMWARE_LAB",
];
const TESTS: &str = "KILN_TEST";

/// Says of each name that looks like a variable of Kiln's, and is none, that it does nothing. `nearest` finds the nearest of some names.
pub fn warnings(
    names: impl IntoIterator<Item = OsString>,
    nearest: impl Fn(&str, &[&'static str]) -> Option<&'static str>,
) -> Vec<String> {
    // What all have in common would make everything look alike.
    let known: Vec<&str> = VARIABLES.iter().filter_map(|variable| variable.name.strip_prefix(PREFIX)).collect();
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    let mut unknown: Vec<String> = names
        .filter(|name| name.starts_with(PREFIX) && !name.starts_with(TESTS) && !DEVELOPMENT.contains(&name.as_str()))
        .filter(|name| !known.contains(&&name[PREFIX.len()..]))
        .collect();
    unknown.sort();
    unknown
        .into_iter()
        .map(|name| match nearest(&name[PREFIX.len()..], &known) {
            Some(near) => format!("the variable {name} means nothing to Kiln: did you mean {PREFIX}{near}?"),
            None => format!("the variable {name} means nothing to Kiln: kiln.toml(5) lists those that do"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(names: &[&str]) -> Vec<String> {
        let nearest = |given: &str, known: &[&'static str]| known.iter().copied().find(|known| given.contains(known));
        warnings(names.iter().map(OsString::from), nearest)
    }

    #[test]
    fn what_kiln_reads_and_what_is_not_its_own_is_no_mistake() {
        let all: Vec<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
        assert_eq!(warned(&all), [""; 0]);
        assert_eq!(warned(&["HOME", "KILNS", "KILN", "MY_KILN_X", "KILN_TEST_REQUIRE", "KILN_BLESS"]), [""; 0]);
    }

    #[test]
    fn a_name_that_nobody_reads_is_told_with_the_nearest() {
        let told = warned(&["KILN_XLIBVIRT", "KILN_CHIMNEY", "PATH"]);
        assert_eq!(
            told,
            [
                "the variable KILN_CHIMNEY means nothing to Kiln: kiln.toml(5) lists those that do",
                "the variable KILN_XLIBVIRT means nothing to Kiln: did you mean KILN_LIBVIRT?"
            ]
        );
    }

    #[test]
    fn each_variable_is_there_once_and_somebody_reads_it() {
        for (index, variable) in VARIABLES.iter().enumerate() {
            assert!(!variable.readers.is_empty() && variable.meaning.ends_with('.'), "{}", variable.name);
            assert!(VARIABLES[..index].iter().all(|other| other.name != variable.name), "{}", variable.name);
            assert!(!DEVELOPMENT.contains(&variable.name) && !variable.name.starts_with(TESTS), "{}", variable.name);
        }
    }
}
