//! VMware's `vmrun`: its command lines, and what its answers mean. It tells errors on standard output, some of them with exit status 0.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::MachineError;
use crate::process::{ExitState, ToolFailure, ToolOutput, find_program, run_tool};

/// The program.
pub(super) const PROGRAM: &str = "vmrun";

/// How long a question may take; VMware answers in a second.
const QUESTION_LIMIT: Duration = Duration::from_secs(30);

/// How long a machine may take to start, until the power is on.
const START_LIMIT: Duration = Duration::from_secs(300);

/// How long ending a machine hard may take.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// How long copying a machine's disks may take.
const CLONE_LIMIT: Duration = Duration::from_secs(4 * 3600);

/// Longest text of VMware's that is passed on, in characters.
const MAX_WORDS: usize = 500;

/// Most machines of a list that are believed.
const MAX_LISTED: usize = 10_000;

/// VMware's `vmrun`.
#[derive(Debug, Clone)]
pub(super) struct Vmrun {
    program: PathBuf,
    /// No call may take longer, whatever its own limit.
    longest: Duration,
}

impl Vmrun {
    /// Finds the one in `directory`, or in `PATH`.
    pub(super) fn find(directory: Option<&Path>) -> Option<Self> {
        find_tool(directory, PROGRAM).map(|program| Self { program, longest: Duration::MAX })
    }

    /// The same, whose calls may take no longer than `longest`.
    pub(super) fn with_limit(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    /// The program.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// What starts a machine, as people see it.
    pub(super) fn start_line(&self, vmx: &Path, window: bool) -> Vec<String> {
        let words = start(vmx, window).into_iter().map(|word| word.to_string_lossy().into_owned());
        std::iter::once(self.program.to_string_lossy().into_owned()).chain(words).collect()
    }

    /// Starts a machine; it runs when this returns.
    pub(super) async fn start(&self, vmx: &Path, window: bool) -> Result<(), MachineError> {
        self.run("start", start(vmx, window), START_LIMIT).await.map(drop)
    }

    /// Ends a machine as if its plug was pulled.
    pub(super) async fn stop_hard(&self, vmx: &Path) -> Result<(), MachineError> {
        self.run("stop hard", verb("stop", vmx, &["hard"]), STOP_LIMIT).await.map(drop)
    }

    /// Presses the power button, and waits up to `limit` for the guest to end.
    pub(super) async fn stop_soft(&self, vmx: &Path, limit: Duration) -> Result<(), MachineError> {
        self.run("stop soft", verb("stop", vmx, &["soft"]), limit).await.map(drop)
    }

    /// The machines that run, by their VMX files.
    pub(super) async fn list(&self) -> Result<Vec<PathBuf>, MachineError> {
        let output = self.run("list", words(&["list"]), QUESTION_LIMIT).await?;
        read_list("Total running VMs:", &output.stdout)
            .map(|machines| machines.into_iter().map(PathBuf::from).collect())
            .map_err(|problem| unexpected("list", problem))
    }

    /// The guest's address, when VMware knows it.
    pub(super) async fn guest_address(&self, vmx: &Path) -> Result<IpAddr, MachineError> {
        let what = "getGuestIPAddress";
        let output = self.run(what, verb(what, vmx, &[]), QUESTION_LIMIT).await?;
        let answer = output.stdout.trim();
        answer.parse().map_err(|_| unexpected(what, format!("{:?} is no address", cut(answer))))
    }

    /// Copies the machine `source` to `target`, or makes one that lies over its disks.
    pub(super) async fn clone_machine(
        &self,
        source: &Path,
        target: &Path,
        linked: bool,
        snapshot: Option<&str>,
    ) -> Result<(), MachineError> {
        self.run("clone", clone(source, target, linked, snapshot), CLONE_LIMIT).await.map(drop)
    }

    /// Takes a snapshot called `name`.
    pub(super) async fn snapshot(&self, vmx: &Path, name: &str) -> Result<(), MachineError> {
        self.run("snapshot", verb("snapshot", vmx, &[name]), CLONE_LIMIT).await.map(drop)
    }

    /// The snapshots of a machine.
    pub(super) async fn snapshots(&self, vmx: &Path) -> Result<Vec<String>, MachineError> {
        let what = "listSnapshots";
        let output = self.run(what, verb(what, vmx, &[]), QUESTION_LIMIT).await?;
        read_list("Total snapshots:", &output.stdout).map_err(|problem| unexpected(what, problem))
    }

    async fn run(&self, what: &str, arguments: Vec<OsString>, limit: Duration) -> Result<ToolOutput, MachineError> {
        run(&self.program, &format!("{PROGRAM} {what}"), arguments, limit.min(self.longest)).await
    }
}

/// Finds one of VMware's tools in `directory`, or in `PATH`.
pub(super) fn find_tool(directory: Option<&Path>, name: &str) -> Option<PathBuf> {
    match directory {
        Some(directory) => find_program(directory.join(name).to_str()?),
        None => find_program(name),
    }
}

/// Runs one of VMware's tools; what it says of an error is the error.
pub(super) async fn run(
    program: &Path,
    what: &str,
    arguments: Vec<OsString>,
    limit: Duration,
) -> Result<ToolOutput, MachineError> {
    let command = what.to_owned();
    let output = match run_tool(program, arguments, limit).await {
        Ok(output) => output,
        Err(ToolFailure::Timeout) => return Err(MachineError::Timeout { command, limit }),
        Err(ToolFailure::Spawn(error)) => {
            return Err(MachineError::Refused {
                command,
                message: format!("cannot run {}: {error}", program.display()),
            });
        }
    };
    tracing::debug!(command, state = %output.state, answer = cut(&output.stdout));
    match complaint(&output) {
        Some(message) => Err(MachineError::Refused { command, message }),
        None => Ok(output),
    }
}

/// What is wrong according to a tool's answer.
fn complaint(output: &ToolOutput) -> Option<String> {
    let said = output.stdout.lines().map(str::trim).find_map(|line| line.strip_prefix("Error:"));
    if let Some(said) = said {
        return Some(cut(said.trim()));
    }
    if output.state == ExitState::Exited(0) {
        return None;
    }
    let words = [&output.stderr, &output.stdout].into_iter().map(|text| text.trim()).find(|text| !text.is_empty());
    Some(words.map_or_else(|| output.state.to_string(), |words| format!("{} ({})", cut(words), output.state)))
}

fn unexpected(what: &str, problem: String) -> MachineError {
    MachineError::Unexpected { command: format!("{PROGRAM} {what}"), problem }
}

/// A text of no more than [`MAX_WORDS`], on one line, without control characters.
fn cut(text: &str) -> String {
    let text = text.trim();
    let mut short: String = text.chars().take(MAX_WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_WORDS).is_some() {
        short.push('…');
    }
    short
}

fn words(words: &[&str]) -> Vec<OsString> {
    ["-T", "ws"].iter().chain(words).map(OsString::from).collect()
}

fn verb(verb: &str, vmx: &Path, more: &[&str]) -> Vec<OsString> {
    let mut arguments = words(&[verb]);
    arguments.push(vmx.into());
    arguments.extend(more.iter().map(OsString::from));
    arguments
}

fn start(vmx: &Path, window: bool) -> Vec<OsString> {
    verb("start", vmx, &[if window { "gui" } else { "nogui" }])
}

fn clone(source: &Path, target: &Path, linked: bool, snapshot: Option<&str>) -> Vec<OsString> {
    let mut arguments = verb("clone", source, &[]);
    arguments.push(target.into());
    arguments.push(if linked { "linked" } else { "full" }.into());
    if let Some(snapshot) = snapshot {
        arguments.push(format!("-snapshot={snapshot}").into());
    }
    arguments
}

/// Reads a list that begins with its length.
fn read_list(title: &str, text: &str) -> Result<Vec<String>, String> {
    // Messages of VMware's may stand in front.
    let mut lines = text.lines().skip_while(|line| !line.trim_start().starts_with(title));
    let count = lines.next().and_then(|line| line.trim().strip_prefix(title)?.trim().parse::<usize>().ok());
    let count = count.filter(|&count| count <= MAX_LISTED).ok_or_else(|| format!("{:?} is no list", cut(text)))?;
    let listed: Vec<String> = lines.map(|line| line.trim_end_matches('\r').to_owned()).take(count).collect();
    if listed.len() < count {
        return Err(format!("{} of {count} lines are missing", count - listed.len()));
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: Vec<OsString>) -> String {
        arguments.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn command_lines_are_packers() {
        let vmx = Path::new("/o/web.vmx");
        assert_eq!(line(start(vmx, false)), "-T ws start /o/web.vmx nogui");
        assert_eq!(line(start(vmx, true)), "-T ws start /o/web.vmx gui");
        assert_eq!(line(verb("stop", vmx, &["hard"])), "-T ws stop /o/web.vmx hard");
        assert_eq!(line(words(&["list"])), "-T ws list");
        assert_eq!(line(clone(vmx, Path::new("/p/c.vmx"), false, None)), "-T ws clone /o/web.vmx /p/c.vmx full");
        assert_eq!(
            line(clone(vmx, Path::new("/p/c.vmx"), true, Some("clean"))),
            "-T ws clone /o/web.vmx /p/c.vmx linked -snapshot=clean"
        );
        assert_eq!(line(verb("snapshot", vmx, &["done"])), "-T ws snapshot /o/web.vmx done");
    }

    #[test]
    fn lists_are_read_and_garbage_is_told() {
        let title = "Total running VMs:";
        let read = |text| read_list(title, text);
        assert_eq!(read("Total running VMs: 0\n"), Ok(vec![]));
        assert_eq!(
            read("warning: x\nTotal running VMs: 2\r\n/a b/c.vmx\r\n/d.vmx\n"),
            Ok(vec!["/a b/c.vmx".to_owned(), "/d.vmx".to_owned()])
        );
        for garbage in
            ["", "Total running VMs: x", "Total running VMs: 1\n", "Total running VMs: 99999999\n", "\u{1}\u{2}"]
        {
            assert!(read(garbage).is_err(), "{garbage:?}");
        }
    }

    #[test]
    fn an_error_counts_whatever_the_exit_status() {
        let output = |status, stdout: &str, stderr: &str| ToolOutput {
            state: ExitState::Exited(status),
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        };
        assert_eq!(complaint(&output(0, "fine\n", "a warning")), None);
        assert_eq!(complaint(&output(0, "Error: The file is in use\n", "")).as_deref(), Some("The file is in use"));
        assert_eq!(complaint(&output(255, "", "")).as_deref(), Some("exit status 255"));
        assert_eq!(complaint(&output(1, "odd\n", "")).as_deref(), Some("odd (exit status 1)"));
        assert!(complaint(&output(1, &"x".repeat(9000), "")).unwrap().chars().count() < 600);
    }
}
