//! One command on this machine, as the person who asked: its processes are the job's, and none outlives its step.

use std::process::Stdio;
use std::time::Duration;

use kiln_communicators::CommandOutput;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use crate::context::BuildContext;
use crate::error::StepError;
use crate::local_processes::{self, LocalProcesses};

/// How long a killed process may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// A program with its arguments, and what it finds in its environment beside ours.
pub(crate) struct LocalCommand<'a> {
    pub(crate) build: &'a BuildContext,
    pub(crate) program: &'a str,
    pub(crate) arguments: &'a [String],
    pub(crate) environment: &'a [(String, String)],
}

impl LocalCommand<'_> {
    /// Runs it to its end, in the directory in which the build was started, without any input; returns its exit status, -1 when a
    /// signal has ended it. Dropped meanwhile, all that it has started is killed.
    pub(crate) async fn run(&self, output: &dyn CommandOutput) -> Result<i64, StepError> {
        let program = self.program;
        let processes = LocalProcesses::new()
            .map_err(|error| StepError::new(format!("cannot name the processes of {program}")).with_source(error))?;
        // In the ledger before there is any: whatever a killed worker leaves is found by the mark.
        self.build.ledger.acquired(&processes.resource());
        let mut owned = OwnedProcesses { build: self.build, processes, leader: None, ended: false };
        let spawned = Command::new(program)
            .args(self.arguments)
            // As Packer's children have it: scripts find their run in the manifest by it.
            .env("PACKER_RUN_UUID", &self.build.settings.run_uuid)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env(local_processes::MARK, owned.processes.mark())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                owned.ended = true;
                return Err(StepError::new(format!("cannot run {program}")).with_source(error));
            }
        };
        owned.leader = child.id();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let reading = async {
            tokio::join!(pump(stdout, |bytes| output.stdout(bytes)), pump(stderr, |bytes| output.stderr(bytes)))
        };
        let (_, status) = tokio::join!(reading, child.wait());
        let status = status.map_err(|error| StepError::new(format!("cannot wait for {program}")).with_source(error))?;
        owned.ended = true;
        Ok(status.code().map_or(-1, i64::from))
    }
}

/// Kills what a command has started, and takes it off the ledger.
struct OwnedProcesses<'a> {
    build: &'a BuildContext,
    processes: LocalProcesses,
    leader: Option<u32>,
    /// It came to its own end; what it has put into a group of its own may stay.
    ended: bool,
}

impl Drop for OwnedProcesses<'_> {
    fn drop(&mut self) {
        let group = self.leader.and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            // Gone already is the usual case.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        if !self.ended
            && let Err(error) = self.processes.kill(KILL_LIMIT)
        {
            // It stays in the ledger: the sweep after this worker tries again.
            self.build.error(format!("Cannot end what was started on this machine: {error}"));
            return;
        }
        self.build.ledger.released(&self.processes.resource());
    }
}

async fn pump(stream: Option<impl AsyncRead + Unpin>, take: impl Fn(&[u8])) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count) = stream.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        take(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    use kiln_communicators::CollectedOutput;

    use super::*;
    use crate::context::tests::a_build;

    #[tokio::test]
    async fn a_command_tells_its_output_its_environment_and_how_it_ended() {
        let (build, _job) = a_build();
        let output = CollectedOutput::new(100);
        let run = |script: &str| ["-c".to_owned(), script.to_owned()];
        let environment = [("KILN_WORD".to_owned(), "said".to_owned())];
        let arguments = run("echo $KILN_WORD; echo wrong >&2; exit 3");
        let command = LocalCommand { build: &build, program: "sh", arguments: &arguments, environment: &environment };
        assert_eq!(command.run(&output).await.unwrap(), 3);
        assert_eq!((&*output.stdout_text(), &*output.stderr_text()), ("said\n", "wrong\n"));
        let killed = LocalCommand { arguments: &run("kill -9 $$"), ..command };
        assert_eq!(killed.run(&output).await.unwrap(), -1);
        let missing = LocalCommand { program: "/nonexistent/program", ..killed };
        assert!(missing.run(&output).await.unwrap_err().to_string().starts_with("cannot run /nonexistent/program: "));
        assert_eq!(held(&build.ledger_text()), Vec::<&str>::new());
    }

    /// Whether something is noted as held that has not been given back.
    fn held(ledger: &str) -> Vec<&str> {
        let given_back = |line: &str| ledger.contains(&line.replacen("\"held\":true", "\"held\":false", 1));
        ledger.lines().filter(|line| line.contains("\"held\":true") && !given_back(line)).collect()
    }

    #[tokio::test]
    async fn dropped_it_takes_all_that_it_has_started_with_it() {
        use std::io::BufRead as _;
        let (build, job) = a_build();
        let fifo = job.path().join("fifo");
        let arguments = ["-c".to_owned(), {
            // Two processes in groups of their own hold the pipe open for as long as they live.
            let fifo = fifo.display();
            format!("mkfifo {fifo}; exec 7>{fifo}; set -m; sleep 1000 & sleep 1000 & echo up >&7; wait")
        }];
        let build = &build;
        let command = LocalCommand { build, program: "bash", arguments: &arguments, environment: &[] };
        let output = CollectedOutput::new(100);
        let listening = tokio::task::spawn_blocking({
            let fifo = fifo.clone();
            move || {
                while !fifo.exists() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                let mut reader = std::io::BufReader::new(std::fs::File::open(fifo).unwrap());
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                (line, reader)
            }
        });
        let (line, mut reader) = tokio::select! {
            ended = command.run(&output) => panic!("it ended: {ended:?}"),
            up = listening => up.unwrap(),
        };
        assert_eq!(line, "up\n");
        // The end of the file: nobody has it open any more.
        let rest = tokio::task::spawn_blocking(move || reader.read_line(&mut String::new()).unwrap());
        assert_eq!(tokio::time::timeout(Duration::from_secs(60), rest).await.unwrap().unwrap(), 0);
        assert_eq!(held(&build.ledger_text()), Vec::<&str>::new());
    }
}
