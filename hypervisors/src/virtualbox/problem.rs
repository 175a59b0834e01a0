//! What is wrong when `VBoxManage` says no: its words, sorted into kinds, with what can be done about each.

use crate::error::{MachineError, StartError};
use crate::process::ExitState;

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{command} failed: {words}")]
pub(super) struct Failure {
    /// The call, as it can be typed.
    pub(super) command: String,
    /// The kind.
    pub(super) problem: Problem,
    /// VirtualBox's own words, in one line.
    pub(super) words: String,
}

/// Kinds of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    /// The program cannot be started.
    CannotRun,
    /// It did not come to an end.
    NoAnswer,
    /// Its services do not come up (yet).
    ServicesDown,
    /// There is no such machine.
    NoMachine,
    /// There is no such snapshot.
    NoSnapshot,
    /// A name or file is taken.
    InUse,
    /// Somebody else runs it, or another build works on it.
    UsedByOthers,
    /// Another session holds the machine, or its last one has not let go yet.
    Locked,
    /// It is off, or about to be.
    NotRunning,
    /// An extension pack is missing.
    ExtensionPack,
    /// This user may not use VirtualBox's driver, or it is not loaded.
    Driver,
    /// Another hypervisor has the processor.
    ProcessorTaken,
    /// The processor does not run guests at all.
    NoVirtualization,
    /// There is no such type of guest.
    OsType,
    /// A licence was not agreed to.
    Licence,
    /// A network that an adapter is to be on is not there.
    Network,
    /// The guest's keyboard takes no more: what was typed before has not been read.
    KeyboardFull,
    /// An argument that this version does not know, or a value that it does not take.
    Argument,
    /// It answers something that is no answer.
    Senseless,
    /// Nothing is known of it.
    Other,
}

/// Words by which kinds are known, the first that fits. From VirtualBox 7.2's own messages and status codes.
const WORDS: &[(&str, Problem)] = &[
    ("Failed to create the VirtualBox object", Problem::ServicesDown),
    ("NS_ERROR_SOCKET_FAIL", Problem::ServicesDown),
    ("NS_ERROR_CALL_FAILED", Problem::ServicesDown),
    ("Could not find a registered machine", Problem::NoMachine),
    ("Could not find a snapshot", Problem::NoSnapshot),
    ("does not have any snapshots", Problem::NoSnapshot),
    ("This machine does not have any snapshots", Problem::NoSnapshot),
    ("is already locked", Problem::Locked),
    ("VBOX_E_INVALID_OBJECT_STATE", Problem::Locked),
    ("VBOX_E_INVALID_SESSION_STATE", Problem::Locked),
    ("is being closed", Problem::Locked),
    // A disk, right after its machine has stopped.
    ("The object is not ready", Problem::Locked),
    ("is not currently running", Problem::NotRunning),
    ("already exists", Problem::InUse),
    ("VERR_ALREADY_EXISTS", Problem::InUse),
    ("VERR_VMX_IN_VMX_ROOT_MODE", Problem::ProcessorTaken),
    ("VERR_SVM_IN_USE", Problem::ProcessorTaken),
    ("VERR_VMX_NO_VMX", Problem::NoVirtualization),
    ("VERR_SVM_NO_SVM", Problem::NoVirtualization),
    ("VERR_VMX_MSR_ALL_VMX_DISABLED", Problem::NoVirtualization),
    ("VERR_SVM_DISABLED", Problem::NoVirtualization),
    ("VERR_NEM_NOT_AVAILABLE", Problem::NoVirtualization),
    ("VERR_VM_DRIVER_", Problem::Driver),
    ("VERR_SUPDRV_", Problem::Driver),
    ("/dev/vboxdrv", Problem::Driver),
    ("vboxdrv", Problem::Driver),
    ("xtension Pack", Problem::ExtensionPack),
    ("xtension pack", Problem::ExtensionPack),
    ("Guest OS type", Problem::OsType),
    ("guest OS type", Problem::OsType),
    ("license agreement", Problem::Licence),
    ("--eula", Problem::Licence),
    ("Nonexistent host networking interface", Problem::Network),
    ("VERR_INTNET_FLT_IF_NOT_FOUND", Problem::Network),
    ("Failed to send a scancode", Problem::KeyboardFull),
    ("Unknown option", Problem::Argument),
    ("Invalid parameter", Problem::Argument),
    ("Invalid command", Problem::Argument),
    ("Syntax error", Problem::Argument),
    ("VERR_GETOPT_UNKNOWN_OPTION", Problem::Argument),
    ("Invalid argument", Problem::Argument),
    ("Invalid value", Problem::Argument),
];

/// The longest words of VirtualBox that are passed on.
const MOST_WORDS: usize = 1000;

impl Problem {
    fn of(words: &str) -> Self {
        WORDS.iter().find(|(known, _)| words.contains(known)).map_or(Self::Other, |(_, problem)| *problem)
    }

    /// It may pass by itself.
    pub(super) fn passes(self) -> bool {
        matches!(self, Self::Locked | Self::ServicesDown)
    }

    /// What can be done about it.
    pub(super) fn hint(self) -> Option<&'static str> {
        match self {
            Self::CannotRun => Some(
                "install VirtualBox (Debian: the package virtualbox of contrib), so that VBoxManage is in PATH; while its package is upgraded it is away: then build again",
            ),
            Self::NoAnswer | Self::ServicesDown => {
                Some("see whether `VBoxManage list vms` answers; if not, end VBoxSVC and VBoxXPCOMIPCD of this user")
            }
            Self::NoMachine => Some("`VBoxManage list vms` lists the machines that are registered for this user"),
            Self::NoSnapshot => Some("`VBoxManage snapshot MACHINE list` lists the snapshots of a machine"),
            Self::InUse => Some(
                "set vm_name to another name, or remove what has this one; Kiln never removes a machine that is not its own",
            ),
            Self::NotRunning => {
                Some("its guest has switched it off, or somebody has: the machine's VBox.log says when")
            }
            Self::Locked => Some("close the machine where it is open, in VirtualBox's window or by another program"),
            Self::ExtensionPack => Some(
                "install VirtualBox's extension pack (`VBoxManage list extpacks` lists those that are there), or leave out what needs it",
            ),
            Self::Driver => Some(
                "load VirtualBox's driver (`modprobe vboxdrv`, package virtualbox-dkms), and be a member of the group vboxusers",
            ),
            Self::ProcessorTaken => Some(
                "end the machines of the other hypervisor (KVM: qemu), or unload its driver (`modprobe -r kvm_intel kvm_amd`): since Linux 6.12 KVM has the processor as soon as it is loaded, unless `kvm.enable_virt_at_load=0` is set",
            ),
            Self::NoVirtualization => Some("switch virtualization (VT-x, AMD-V) on in the host's firmware"),
            Self::OsType => Some("set guest_os_type to one of those that `VBoxManage list ostypes` lists"),
            Self::Licence => Some(
                "read the licence with `VBoxManage import -n PACKAGE`, and agree with import_flags = [\"--vsys\", \"0\", \"--eula\", \"accept\"]",
            ),
            Self::Network => {
                Some("`VBoxManage list bridgedifs` and `VBoxManage list hostonlyifs` list the networks there are")
            }
            Self::KeyboardFull => Some(
                "the guest has not read the keys before these: it is not up yet, or hangs; give it more time by boot_wait, or by <wait> in boot_command",
            ),
            Self::UsedByOthers | Self::Argument | Self::Senseless | Self::Other => None,
        }
    }
}

impl Failure {
    pub(super) fn new(command: &str, problem: Problem, words: &str) -> Self {
        Self { command: command.to_owned(), problem, words: words.to_owned() }
    }

    /// The failure of a call that ended so; `None`: it did not fail. A call can fail with status 0, and say so.
    pub(super) fn of(command: &str, state: ExitState, said: &str, complained: &str) -> Option<Self> {
        if state == ExitState::Exited(0) && !complained.lines().any(|line| line.starts_with("VBoxManage: error:")) {
            return None;
        }
        let mut words = in_one_line(complained);
        if words.is_empty() {
            words = in_one_line(said);
        }
        // What else it says, such as that a licence has to be agreed to, may be on its other output. That there is no driver is said there with
        // every call.
        let problem = match Problem::of(complained) {
            Problem::Other => {
                let warns = |line: &&str| line.starts_with("WARNING:");
                Problem::of(&said.lines().filter(|line| !warns(line)).collect::<Vec<_>>().join("\n"))
            }
            known => known,
        };
        if words.is_empty() {
            words = format!("it gave no reason ({state})");
        } else if matches!(state, ExitState::Signalled(_)) {
            words = format!("{words} ({state})");
        }
        Some(Self::new(command, problem, &words))
    }

    pub(super) fn is(&self, problem: Problem) -> bool {
        self.problem == problem
    }

    /// As an error of a machine that runs.
    pub(super) fn of_machine(self) -> MachineError {
        if self.is(Problem::Senseless) {
            return MachineError::Unexpected { command: self.command, problem: self.words };
        }
        let message = match self.problem.hint() {
            Some(hint) => format!("{} (hint: {hint})", self.words),
            None => self.words,
        };
        MachineError::Refused { command: self.command, message }
    }
}

impl From<Failure> for StartError {
    fn from(failure: Failure) -> Self {
        if failure.is(Problem::Senseless) {
            return Self::Setup(failure.of_machine());
        }
        let hint = failure.problem.hint().map(ToOwned::to_owned);
        Self::Refused { command: failure.command, problem: failure.words, hint }
    }
}

/// What VirtualBox says, without the words that it puts before each line, and without its usage.
fn in_one_line(text: &str) -> String {
    let mut words = String::new();
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix("VBoxManage: error:").map_or(line, str::trim);
        if line.starts_with("Usage:") || line.starts_with("Context:") || words.len() > MOST_WORDS {
            break;
        }
        if line.is_empty() || line.starts_with("Oracle ") || line.starts_with("WARNING:") || line.starts_with("0%") {
            continue;
        }
        if !words.is_empty() {
            words.push_str("; ");
        }
        words.push_str(line);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(complained: &str) -> Problem {
        Failure::of("VBoxManage x", ExitState::Exited(1), "", complained).unwrap().problem
    }

    #[test]
    fn kinds_are_told_by_virtualboxes_own_words() {
        for (words, kind) in [
            (
                "VBoxManage: error: Could not find a registered machine named 'x'\nVBoxManage: error: Details: code \
                 VBOX_E_OBJECT_NOT_FOUND (0x80bb0001), component VirtualBoxWrap",
                Problem::NoMachine,
            ),
            ("VBoxManage: error: Machine settings file '/root/VirtualBox VMs/x/x.vbox' already exists", Problem::InUse),
            (
                "VBoxManage: error: The machine 'x' is already locked for a session (or being unlocked)\nVBoxManage: \
                 error: Details: code VBOX_E_INVALID_OBJECT_STATE (0x80bb0007), component MachineWrap",
                Problem::Locked,
            ),
            (
                "VBoxManage: error: Implementation of the USB 2.0 controller not found! Because the USB 2.0 controller state is part of the saved VM state, the VM cannot be started. To fix this problem, either install the 'Oracle VirtualBox Extension Pack' or disable USB 2.0",
                Problem::ExtensionPack,
            ),
            (
                "VBoxManage: error: The VirtualBox kernel driver is not accessible to the current user. Make sure that the user has write permissions for /dev/vboxdrv",
                Problem::Driver,
            ),
            (
                "VBoxManage: error: VT-x is being used by another hypervisor (VERR_VMX_IN_VMX_ROOT_MODE).",
                Problem::ProcessorTaken,
            ),
            (
                "WARNING: The vboxdrv kernel module is not loaded.\nVBoxManage: error: Appliance write failed\nVBoxManage: \
                 error: The object is not ready\nVBoxManage: error: Details: code E_ACCESSDENIED (0x80070005), component \
                 MediumWrap, interface IMedium",
                Problem::Locked,
            ),
            ("VBoxManage: error: Guest OS type 'Linus' is invalid", Problem::OsType),
            (
                "VBoxManage: error: Cannot import until the license agreement listed above is accepted.",
                Problem::Licence,
            ),
            ("VBoxManage: error: Failed to send a scancode.", Problem::KeyboardFull),
            ("VBoxManage: error: Unknown option: --bogus", Problem::Argument),
            ("VBoxManage: error: something new", Problem::Other),
        ] {
            assert_eq!(problem(words), kind, "{words}");
        }
        for (_, kind) in WORDS {
            assert!(kind.hint().is_some() || *kind == Problem::Argument, "{kind:?} says what to do");
        }
    }

    #[test]
    fn status_0_with_words_of_an_error_is_a_failure_and_warnings_are_none() {
        let failed = Failure::of("VBoxManage x", ExitState::Exited(0), "", "VBoxManage: error: no\n").unwrap();
        assert_eq!((failed.problem, failed.words.as_str()), (Problem::Other, "no"));
        let warned = "WARNING: The character device /dev/vboxdrv does not exist.\n";
        assert_eq!(Failure::of("VBoxManage x", ExitState::Exited(0), "7.2.4", warned), None);
        let words = |state, said| Failure::of("VBoxManage x", state, said, "").unwrap().words;
        assert_eq!(words(ExitState::Exited(1), ""), "it gave no reason (exit status 1)");
        assert_eq!(words(ExitState::Signalled(9), ""), "it gave no reason (signal 9 (SIGKILL))");
        assert_eq!(words(ExitState::Signalled(11), "half"), "half (signal 11 (SIGSEGV))");
    }

    #[test]
    fn a_warning_that_comes_with_every_call_is_not_what_is_wrong() {
        let warned = "WARNING: The character device /dev/vboxdrv does not exist.\n\t Please install the virtualbox-dkms package\n";
        let failure =
            |said| Failure::of("VBoxManage x", ExitState::Exited(1), said, "VBoxManage: error: no\n").unwrap();
        assert_eq!(failure(warned).problem, Problem::Other);
        assert_eq!(failure("cannot import until the license agreement is accepted\n").problem, Problem::Licence);
    }

    #[test]
    fn its_words_come_in_one_line_without_the_usage() {
        let said = "Oracle VirtualBox Command Line Management Interface\nVBoxManage: error: Unknown option: --bogus\nUsage:\nVBoxManage modifyvm a\n";
        assert_eq!(in_one_line(said), "Unknown option: --bogus");
    }
}
