//! Finds out what QEMU can do here by doing it: which version it is, and which accelerators really run guest code.
//!
//! That `/dev/kvm` exists proves nothing: nested and paravirtual hosts have one that starts QEMU and the BIOS, and dies on the first kernel. So a boot
//! sector that runs what kernels run (see `payload.s`) is booted on each accelerator. The answer holds until the host is booted anew, QEMU is
//! replaced, or the permission to use `/dev/kvm` changes. That QEMU could not begin on one, as where another hypervisor has the processor, is
//! asked again the next time.

mod block_driver;
mod boot;
mod cache;
mod findings;
mod names;
mod run;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qapi_qmp::{query_command_line_options, query_target};

use super::architecture::Architecture;
#[cfg(test)]
pub(crate) use boot::PAYLOAD;
use cache::Cache;
pub(super) use findings::{Finding, Findings, ProbeError};
pub(super) use names::Names;
use run::{QUESTION_LIMIT, run};

/// The kernel's door to hardware virtualisation.
const KVM_DEVICE: &str = "/dev/kvm";

/// The accelerator's name.
const KVM: &str = "kvm";

/// Probes QEMU programs, each once.
#[derive(Debug)]
pub(super) struct Prober {
    cache: std::sync::Mutex<Cache>,
    /// Held by whoever boots guests, so that several callers at once wait for one probe.
    booting: tokio::sync::Mutex<()>,
    /// Held by whoever asks a QEMU what it is, for the same reason.
    asking: tokio::sync::Mutex<()>,
    /// How long QEMU may take to tell about itself.
    limit: Duration,
}

impl Prober {
    pub(super) fn new(cache_dir: PathBuf) -> Self {
        Self {
            cache: std::sync::Mutex::new(Cache::new(cache_dir)),
            booting: tokio::sync::Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            limit: QUESTION_LIMIT,
        }
    }

    /// The same with less patience.
    #[cfg(test)]
    pub(super) fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
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
        let mut findings = self.facts(program).await?;
        findings.accelerators =
            vec![kvm(program, &findings.architecture).await, tcg(program, &findings.architecture).await];
        for finding in &findings.accelerators {
            tracing::info!(accelerator = finding.name, usable = finding.usable, "{}", finding.reason);
        }
        if !findings.accelerators.iter().any(|one| one.passes) {
            self.keep(program, &findings);
        }
        Ok(findings)
    }

    /// Whether guests of `program` run on KVM; before it is found out, whether that is to be tried.
    pub(super) fn kvm_may_be_usable(&self, program: &Path) -> bool {
        let known = self.known(program).filter(|findings| !findings.accelerators.is_empty());
        match known {
            Some(findings) => findings.accelerators.iter().any(|one| one.name == KVM && one.usable),
            None => {
                kvm_opens().is_ok()
                    && Architecture::of_program(&program.to_string_lossy()) == Architecture::of_program(KVM)
            }
        }
    }

    /// What `program` says of itself, without booting anything: `accelerators` is empty unless they were probed before.
    /// Takes some 100 ms the first time.
    pub(super) async fn facts(&self, program: &Path) -> Result<Findings, ProbeError> {
        if let Some(findings) = self.known(program) {
            return Ok(findings);
        }
        let _asking = self.asking.lock().await;
        if let Some(findings) = self.known(program) {
            return Ok(findings);
        }
        let facts = ask(program, self.limit).await?;
        self.keep(program, &facts);
        Ok(facts)
    }

    /// What `program` has now, by name. What is kept may be of yesterday: devices and displays come as modules, in packages of their own,
    /// and leave the program as it was.
    pub(super) async fn names_now(&self, program: &Path) -> Result<Names, ProbeError> {
        let facts = ask(program, self.limit).await?;
        let accelerators = self.known(program).map(|known| known.accelerators).unwrap_or_default();
        let names = facts.names.clone();
        self.cache().put(cache::key(program, kvm_problem()), Findings { accelerators, ..facts });
        Ok(names)
    }

    /// Whether `program` reads from web servers. Asked anew each time: the module comes in a package of its own.
    pub(super) async fn reads_urls(&self, program: &Path) -> Result<bool, ProbeError> {
        let (process, qmp) = run(program, alone(), Vec::new(), self.limit).await?;
        let answer = qmp.run_within(block_driver::question(), self.limit).await;
        process.kill();
        process.ended().await;
        block_driver::is_there(answer).map_err(|error| ProbeError::Ask(program.to_owned(), error))
    }

    fn known(&self, program: &Path) -> Option<Findings> {
        self.cache().get(&cache::key(program, kvm_problem()))
    }

    /// Keeps `findings`, unless more is known already.
    fn keep(&self, program: &Path, findings: &Findings) {
        let key = cache::key(program, kvm_problem());
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

/// The arguments of a QEMU without a machine.
fn alone() -> Vec<OsString> {
    ["-machine", "none", "-nodefaults", "-display", "none", "-S"].map(OsString::from).to_vec()
}

/// Starts QEMU without a machine and asks it.
async fn ask(program: &Path, limit: Duration) -> Result<Findings, ProbeError> {
    let (process, qmp) = run(program, alone(), Vec::new(), limit).await?;
    let wrong = |error| ProbeError::Ask(program.to_owned(), error);
    let target = qmp.run_within(query_target {}, limit).await.map_err(wrong)?;
    // Refused when the option does not exist, that is, without seccomp.
    let sandbox = qmp.run_within(query_command_line_options { option: Some("sandbox".to_owned()) }, limit).await;
    let findings = Findings {
        version: qmp.version().to_owned(),
        architecture: target["arch"].as_str().unwrap_or_default().to_owned(),
        sandbox: sandbox.is_ok_and(|answer| answer[0]["parameters"].as_array().is_some_and(|all| !all.is_empty())),
        accelerators: Vec::new(),
        names: Names::ask(program, &qmp, limit).await,
    };
    process.kill();
    process.ended().await;
    Ok(findings)
}

async fn kvm(program: &Path, architecture: &str) -> Finding {
    let finding = |usable, reason: String| Finding { name: KVM.to_owned(), usable, reason, passes: false };
    if architecture_of_host() != family(architecture) {
        return finding(false, format!("guests of {architecture} cannot run on this processor"));
    }
    if let Err(error) = kvm_opens() {
        return finding(false, format!("{KVM_DEVICE} cannot be used: {error}{}", what_to_do(error.kind())));
    }
    if !boot::fits(architecture) {
        return finding(true, format!("{KVM_DEVICE} opens; there is no boot probe for {architecture}"));
    }
    match boot::boot(program, "kvm").await {
        Ok(duration) => finding(true, format!("guest code ran on kvm ({} ms)", duration.as_millis())),
        Err(failure) => {
            let passes = matches!(failure, boot::Failure::BeforeTheGuest(_));
            let reason = format!("{KVM_DEVICE} opens, but guests do not run on it: {}", failure.problem());
            Finding { passes, ..finding(false, reason) }
        }
    }
}

async fn tcg(program: &Path, architecture: &str) -> Finding {
    let finding = |reason: String| Finding { name: "tcg".to_owned(), usable: true, reason, passes: false };
    if !boot::fits(architecture) {
        return finding("guest code is translated".to_owned());
    }
    match boot::boot(program, "tcg").await {
        Ok(duration) => finding(format!("guest code ran on tcg ({} ms)", duration.as_millis())),
        // There is nothing to fall back to; a host so busy still builds, slowly.
        Err(failure) => {
            finding(format!("guest code is translated, though the boot probe failed: {}", failure.problem()))
        }
    }
}

/// What can be done about a device that cannot be opened, to be put behind the problem.
fn what_to_do(problem: std::io::ErrorKind) -> &'static str {
    match problem {
        std::io::ErrorKind::PermissionDenied => {
            " (become a member of the group that it belongs to, `sudo usermod -aG kvm USER` on most systems, log in again, and end the \
             daemon that was started before: `kiln daemon stop`)"
        }
        std::io::ErrorKind::NotFound => {
            " (load its driver, `sudo modprobe kvm_intel` or `kvm_amd`, and see that virtualization is switched on in the host's firmware)"
        }
        _ => "",
    }
}

fn kvm_problem() -> Option<std::io::ErrorKind> {
    kvm_opens().err().map(|error| error.kind())
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
