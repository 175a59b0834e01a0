//! Finds out what QEMU can do here by doing it: which version it is, and which accelerators really run guest code.
//!
//! That `/dev/kvm` exists proves nothing: nested and paravirtual hosts have one that starts QEMU and the BIOS, and dies on the first kernel. So a boot
//! sector that runs what kernels run (see `payload.s`) is booted on each accelerator. The answer holds until the host is booted anew, QEMU is
//! replaced, or the permission to use `/dev/kvm` changes.

mod boot;
mod cache;

use std::ffi::OsString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::qmp::QmpClient;
use crate::process::{ChildCommand, ChildProcess};
use crate::{AcceleratorAvailability, MachineError, NoLedger};
#[cfg(test)]
pub(crate) use boot::PAYLOAD;
use cache::Cache;

/// How long QEMU may take to tell about itself.
const QUESTION_LIMIT: Duration = Duration::from_secs(20);

/// The kernel's door to hardware virtualisation.
const KVM_DEVICE: &str = "/dev/kvm";

/// What was found out about one QEMU program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Findings {
    /// `7.2.22`.
    pub(super) version: String,
    /// The guest's architecture as QEMU names it: `x86_64`.
    pub(super) architecture: String,
    /// `-sandbox` works.
    pub(super) sandbox: bool,
    /// In the order in which they are preferred. Empty: they have not been probed.
    pub(super) accelerators: Vec<Finding>,
}

/// What was found out about one accelerator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Finding {
    pub(super) name: String,
    pub(super) usable: bool,
    pub(super) reason: String,
}

impl From<Finding> for AcceleratorAvailability {
    fn from(finding: Finding) -> Self {
        Self { name: finding.name, usable: finding.usable, reason: finding.reason }
    }
}

/// Says why a QEMU program tells nothing about itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProbeError {
    #[error("{0} cannot be run: {1}")]
    Run(PathBuf, String),
    #[error("{0} does not work as a QEMU: {1}")]
    NotQemu(PathBuf, String),
    #[error("{0} cannot be asked: {1}")]
    Ask(PathBuf, MachineError),
}

/// Probes QEMU programs, each once.
#[derive(Debug)]
pub(super) struct Prober {
    cache: std::sync::Mutex<Cache>,
    /// Held by whoever boots guests, so that several callers at once wait for one probe.
    booting: tokio::sync::Mutex<()>,
}

impl Prober {
    pub(super) fn new(cache_dir: PathBuf) -> Self {
        Self { cache: std::sync::Mutex::new(Cache::new(cache_dir)), booting: tokio::sync::Mutex::default() }
    }

    /// What is known about `program`, found out now if need be. The first time after a boot of the host it takes seconds.
    pub(super) async fn findings(&self, program: &Path) -> Result<Findings, ProbeError> {
        let complete = |findings: &Findings| !findings.accelerators.is_empty();
        if let Some(findings) = self.known(program).filter(complete) {
            return Ok(findings);
        }
        let _booting = self.booting.lock().await;
        // Somebody else may have found it out meanwhile.
        if let Some(findings) = self.known(program).filter(complete) {
            return Ok(findings);
        }
        let mut findings = ask(program).await?;
        findings.accelerators =
            vec![kvm(program, &findings.architecture).await, tcg(program, &findings.architecture).await];
        for finding in &findings.accelerators {
            tracing::info!(accelerator = finding.name, usable = finding.usable, "{}", finding.reason);
        }
        self.keep(program, &findings);
        Ok(findings)
    }

    /// What `program` says of itself, without booting anything: `accelerators` is empty unless they were probed before.
    /// Takes some 100 ms the first time.
    pub(super) async fn facts(&self, program: &Path) -> Result<Findings, ProbeError> {
        if let Some(findings) = self.known(program) {
            return Ok(findings);
        }
        let facts = ask(program).await?;
        self.keep(program, &facts);
        Ok(facts)
    }

    fn known(&self, program: &Path) -> Option<Findings> {
        self.cache().get(&cache::key(program, kvm_opens().is_ok()))
    }

    /// Keeps `findings`, unless more is known already.
    fn keep(&self, program: &Path, findings: &Findings) {
        let key = cache::key(program, kvm_opens().is_ok());
        let mut cache = self.cache();
        if findings.accelerators.is_empty() && cache.get(&key).is_some() {
            return;
        }
        cache.put(key, findings.clone());
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Starts QEMU without a machine and asks it.
async fn ask(program: &Path) -> Result<Findings, ProbeError> {
    let arguments = ["-machine", "none", "-nodefaults", "-display", "none", "-S"].map(OsString::from).to_vec();
    let (process, qmp) = run(program, arguments, Vec::new()).await?;
    let wrong = |error| ProbeError::Ask(program.to_owned(), error);
    let target = qmp.execute_within("query-target", Value::Null, QUESTION_LIMIT).await.map_err(wrong)?;
    // Refused when the option does not exist, that is, without seccomp.
    let sandbox =
        qmp.execute_within("query-command-line-options", json!({ "option": "sandbox" }), QUESTION_LIMIT).await;
    let findings = Findings {
        version: qmp.version().to_owned(),
        architecture: target["arch"].as_str().unwrap_or_default().to_owned(),
        sandbox: sandbox.is_ok_and(|answer| answer[0]["parameters"].as_array().is_some_and(|all| !all.is_empty())),
        accelerators: Vec::new(),
    };
    process.kill();
    process.ended().await;
    Ok(findings)
}

/// Starts QEMU with a monitor and waits for its greeting.
async fn run(
    program: &Path,
    mut arguments: Vec<OsString>,
    mut inherited: Vec<OwnedFd>,
) -> Result<(ChildProcess, QmpClient), ProbeError> {
    let cannot_run = |error: std::io::Error| ProbeError::Run(program.to_owned(), error.to_string());
    let (control, control_there) = StdUnixStream::pair().map_err(cannot_run)?;
    control.set_nonblocking(true).map_err(cannot_run)?;
    let descriptor = control_there.as_raw_fd();
    arguments.extend(["-chardev".into(), format!("socket,id=kiln-control,fd={descriptor}").into()]);
    arguments.extend(["-mon".into(), "chardev=kiln-control,mode=control".into()]);
    inherited.push(control_there.into());
    let command = ChildCommand { program: program.to_owned(), arguments, inherited };
    // Not in a ledger: a probe has no job, and dies with this process.
    let process = ChildProcess::spawn(command, Arc::new(NoLedger)).await.map_err(cannot_run)?;
    let control = UnixStream::from_std(control).map_err(cannot_run)?;
    match QmpClient::connect(control, QUESTION_LIMIT).await {
        Ok(qmp) => Ok((process, qmp)),
        Err(error) => {
            process.kill();
            let state = process.ended().await;
            let words = process.stderr_tail();
            let problem = match (words.lines().next(), error) {
                (Some(line), _) => line.to_owned(),
                (None, MachineError::Gone) => format!("it ended with {state}"),
                (None, error) => error.to_string(),
            };
            Err(ProbeError::NotQemu(program.to_owned(), problem))
        }
    }
}

async fn kvm(program: &Path, architecture: &str) -> Finding {
    let finding = |usable, reason: String| Finding { name: "kvm".to_owned(), usable, reason };
    if architecture_of_host() != family(architecture) {
        return finding(false, format!("guests of {architecture} cannot run on this processor"));
    }
    if let Err(error) = kvm_opens() {
        return finding(false, format!("{KVM_DEVICE} cannot be used: {error}"));
    }
    if !boot::fits(architecture) {
        return finding(true, format!("{KVM_DEVICE} opens; there is no boot probe for {architecture}"));
    }
    match boot::boot(program, "kvm").await {
        Ok(duration) => finding(true, format!("guest code ran on kvm ({} ms)", duration.as_millis())),
        Err(problem) => finding(false, format!("{KVM_DEVICE} opens, but guests do not run on it: {problem}")),
    }
}

async fn tcg(program: &Path, architecture: &str) -> Finding {
    let finding = |reason: String| Finding { name: "tcg".to_owned(), usable: true, reason };
    if !boot::fits(architecture) {
        return finding("guest code is translated".to_owned());
    }
    match boot::boot(program, "tcg").await {
        Ok(duration) => finding(format!("guest code ran on tcg ({} ms)", duration.as_millis())),
        // There is nothing to fall back to; a host so busy still builds, slowly.
        Err(problem) => finding(format!("guest code is translated, though the boot probe failed: {problem}")),
    }
}

fn kvm_opens() -> std::io::Result<()> {
    std::fs::OpenOptions::new().read(true).write(true).open(KVM_DEVICE).map(drop)
}

fn architecture_of_host() -> &'static str {
    family(std::env::consts::ARCH)
}

/// Architectures whose guests run on each other's hosts.
fn family(architecture: &str) -> &str {
    match architecture {
        "x86_64" | "i386" | "i686" | "x86" => "x86",
        "ppc64" | "ppc64le" | "powerpc64" | "ppc" => "ppc",
        other => other,
    }
}

#[cfg(test)]
mod tests;
