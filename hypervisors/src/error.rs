//! What can go wrong with a machine, one enum per operation.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Something in a [`MachineSpec`](crate::MachineSpec) that a backend cannot do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct Unsupported {
    /// The setting as templates spell it: `vtpm`.
    pub setting: &'static str,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Says why a machine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The hypervisor's program is not there.
    #[error("cannot find {program}")]
    ProgramMissing {
        /// As named in the spec.
        program: String,
        /// Which package has it.
        hint: String,
    },
    /// The program cannot be run.
    #[error("cannot run {program}")]
    Spawn {
        /// Its path.
        program: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// A file or socket for the machine cannot be made.
    #[error("cannot prepare {path}")]
    Prepare {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// The spec asks for what the backend cannot do.
    #[error("the machine asks for what this hypervisor cannot do: {}", list(.0))]
    Unsupported(Vec<Unsupported>),
    /// The accelerator named by the template does not work here.
    #[error("accelerator {name} does not work here: {reason}")]
    AcceleratorUnusable {
        /// As in the template.
        name: String,
        /// What was found out.
        reason: String,
    },
    /// The hypervisor refused its arguments or gave up before the machine was ready.
    #[error("{program} ended before the machine was ready ({status}): {stderr}")]
    EndedEarly {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// What it said.
        stderr: String,
    },
    /// No port of the range could be bound.
    #[error("no free port for {purpose} from {min} to {max} on {bind}: {reason}")]
    NoFreePort {
        /// `the guest's SSH`, `VNC`.
        purpose: &'static str,
        /// Address that was to listen.
        bind: String,
        /// Lowest port tried.
        min: u16,
        /// Highest port tried.
        max: u16,
        /// The last refusal.
        reason: String,
    },
    /// The hypervisor did not answer.
    #[error("{program} did not {what} within {} s", .limit.as_secs())]
    Timeout {
        /// The program.
        program: String,
        /// `greet`, `answer query-status`.
        what: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The hypervisor's tool refused something that the machine needs.
    #[error("{command} failed: {problem}")]
    Refused {
        /// What was asked for, as it can be typed.
        command: String,
        /// What is wrong, with what there is instead where that is known.
        problem: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The hypervisor answered with an error.
    #[error("setting the machine up failed")]
    Setup(#[source] MachineError),
}

fn list(items: &[Unsupported]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl StartError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::ProgramMissing { hint, .. } => Some(hint.clone()),
            Self::Unsupported(all) => all.iter().find_map(|one| one.hint.clone()),
            Self::AcceleratorUnusable { .. } => {
                Some("leave accelerator unset: one that works is chosen; `kiln daemon status` shows which".to_owned())
            }
            Self::NoFreePort { .. } => Some("widen the port range, or end what listens there (`ss -ltnp`)".to_owned()),
            Self::Refused { hint, .. } => hint.clone(),
            Self::EndedEarly { stderr, .. } => early_end_hint(stderr).map(ToOwned::to_owned),
            _ => None,
        }
    }
}

/// Turns the well-known last words of QEMU into advice.
fn early_end_hint(stderr: &str) -> Option<&'static str> {
    let known = [
        ("Permission denied", "see that you may read and write the file named (for /dev/kvm: join the group kvm)"),
        ("Failed to get \"write\" lock", "another machine uses this disk; end it first"),
        ("Failed to get shared \"write\" lock", "another machine uses this disk; end it first"),
        ("cannot set up guest memory", "lower memory in the source block"),
        ("Cannot allocate memory", "lower memory in the source block"),
        (
            "failed to initialize kvm: Device or resource busy",
            "another hypervisor's machines have the processor (VirtualBox: `VBoxManage list runningvms`); end them, or set accelerator = \"tcg\"",
        ),
        (
            "gtk initialization failed",
            "set headless = true in the source block: there is no desktop to show a window on",
        ),
        ("does not accept value 'gtk'", "set headless = true, or install qemu-system-gui"),
        ("ui-gtk", "set headless = true, or install qemu-system-gui"),
        ("invalid option", "this QEMU does not know a switch in the qemuargs of the source block"),
        ("unsupported machine type", "run the qemu_binary with `-machine help` to see the machine types it has"),
    ];
    known.iter().find(|(words, _)| stderr.contains(words)).map(|(_, hint)| *hint)
}

/// Says why something could not be done to a running machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MachineError {
    /// The machine has ended.
    #[error("the machine is gone")]
    Gone,
    /// The hypervisor did not answer in time.
    #[error("no answer to {command} within {} ms", .limit.as_millis())]
    Timeout {
        /// What was asked.
        command: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The hypervisor said no.
    #[error("{command} failed: {message}")]
    Refused {
        /// What was asked.
        command: String,
        /// The hypervisor's words.
        message: String,
    },
    /// The hypervisor's answer makes no sense.
    #[error("unexpected answer to {command}: {problem}")]
    Unexpected {
        /// What was asked.
        command: String,
        /// What is wrong with the answer.
        problem: String,
    },
}

/// Says why keys could not be pressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyboardError {
    /// The hypervisor did not take them.
    #[error("cannot press keys")]
    Machine(#[from] MachineError),
}

/// Says why there is no picture of the screen.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    /// The hypervisor did not give one.
    #[error("cannot take a picture of the screen")]
    Machine(#[from] MachineError),
    /// The file it was written to cannot be used.
    #[error("cannot use {path} for a picture of the screen")]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's word.
        source: io::Error,
    },
    /// The picture cannot be understood.
    #[error("the picture of the screen is damaged: {0}")]
    Damaged(String),
}
