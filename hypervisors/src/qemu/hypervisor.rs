//! The backend itself: which QEMU, which accelerator, and the start of machines.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};

use super::check;
#[cfg(feature = "libvirt")]
use super::libvirt;
use super::look;
use super::machine::QemuMachine;
use super::machine_spec::{NAME, QemuMachineSpec};
use super::network::{self, HOST_SEEN_BY_GUEST};
use super::overrides::{Overrides, accelerator_of_machine};
use super::probe::{Findings, ProbeError, Prober};
use super::start::{self, ChildLauncher, Decisions, GREETING_LIMIT, Launcher};
use super::tpm;
use crate::error::{MachineError, StartError, Unsupported};
use crate::guest_network::HostSeenByGuest;
use crate::ledger::ResourceLedger;
use crate::machine::{Availability, ChosenAccelerator, GivenBack, Hypervisor, Machine};
use crate::process::find_program;
use crate::processor::ProcessorUse;
use crate::qemu::spec::Accelerator;
use crate::spec::{MachineSpec, NetworkMode};

/// The program that is probed when no template has named another.
const DEFAULT_PROGRAM: &str = "qemu-system-x86_64";

/// The accelerator that takes the processor's virtualization for itself.
const KVM: &str = "kvm";

/// Runs machines with QEMU.
#[derive(Debug)]
pub struct QemuHypervisor {
    prober: Prober,
    /// The URI of the libvirt that runs QEMU; `None`: this process does.
    libvirt: Option<String>,
    /// Longest time until QEMU greets, as a child of this process; `None`: its own. A test's.
    limit: Option<Duration>,
    /// The TPM's emulator; a test has others.
    tpm_program: String,
}

impl QemuHypervisor {
    /// A backend that keeps the results of its probes in `cache_dir` (made when needed).
    pub fn new(cache_dir: PathBuf) -> Self {
        Self { prober: Prober::new(cache_dir), libvirt: None, limit: None, tpm_program: tpm::PROGRAM.to_owned() }
    }

    /// Runs the machines through the libvirt behind `uri`, as `qemu:///session`. Without the feature `libvirt` each is refused, which says
    /// why.
    #[must_use]
    pub fn through_libvirt(self, uri: String) -> Self {
        Self { libvirt: Some(uri), ..self }
    }

    /// The same, which waits no longer than `limit` for QEMU's greeting.
    #[cfg(test)]
    pub(super) fn with_limit(self, limit: Duration) -> Self {
        Self { prober: self.prober.with_limit(limit), limit: Some(limit), ..self }
    }

    /// The same, with another emulator of TPMs.
    #[cfg(test)]
    pub(super) fn with_tpm_program(self, program: String) -> Self {
        Self { tpm_program: program, ..self }
    }

    /// What cannot be done because of how QEMU is run.
    fn complaints(&self, spec: &MachineSpec) -> Vec<Unsupported> {
        match &self.libvirt {
            None => Vec::new(),
            #[cfg(feature = "libvirt")]
            Some(uri) => QemuMachineSpec::of(spec).map(|spec| libvirt::complaints(spec, uri)).unwrap_or_default(),
            #[cfg(not(feature = "libvirt"))]
            Some(_) => {
                let _ = spec;
                let (problem, hint) = no_libvirt();
                vec![Unsupported { setting: "KILN_LIBVIRT", problem, hint: Some(hint) }]
            }
        }
    }

    fn launcher(&self) -> Box<dyn Launcher> {
        #[cfg(feature = "libvirt")]
        if let Some(uri) = &self.libvirt {
            return Box::new(libvirt::LibvirtLauncher::new(uri, self.limit));
        }
        Box::new(ChildLauncher)
    }

    /// Why what runs QEMU cannot be reached, and what to do about it.
    async fn unreachable(&self) -> Option<(String, String)> {
        let uri = self.libvirt.as_ref()?;
        #[cfg(feature = "libvirt")]
        return libvirt::connect_problem(uri, self.limit).await;
        #[cfg(not(feature = "libvirt"))]
        {
            let _ = uri;
            Some(no_libvirt())
        }
    }

    /// Decides what runs the guest's code: the name for `accel=`, and what to tell about it.
    fn choose(
        &self,
        spec: QemuMachineSpec<'_>,
        findings: &Findings,
    ) -> (Option<String>, ChosenAccelerator, Vec<String>) {
        let chosen = |name: &str, reason: &str| ChosenAccelerator { name: name.to_owned(), reason: reason.to_owned() };
        if let Some((name, option)) = in_other_options(spec)
            && spec.qemu.accelerator == Accelerator::Auto
        {
            return (None, chosen(&name, &format!("set in {option}")), Vec::new());
        }
        match &spec.qemu.accelerator {
            Accelerator::None => (None, chosen("none", "the template leaves it to QEMU"), Vec::new()),
            Accelerator::Named(name) => {
                let broken = findings.accelerators.iter().find(|one| one.name == *name && !one.usable);
                let warnings = broken.map(|one| one.reason.clone()).into_iter().collect();
                (Some(name.clone()), chosen(name, "asked for by the template"), warnings)
            }
            Accelerator::Auto => {
                let usable = findings.accelerators.iter().find(|one| one.usable);
                let name = usable.map_or("tcg", |one| one.name.as_str());
                // What was passed over says why this one was taken.
                let passed_over = findings.accelerators.iter().find(|one| !one.usable);
                let reason = passed_over.or(usable).map_or("the only one", |one| one.reason.as_str());
                (Some(name.to_owned()), chosen(name, reason), Vec::new())
            }
        }
    }

    /// Whether the machine may run on KVM: because the template says so, or because that is what its own probe has found or would try.
    fn may_use_kvm(&self, spec: &MachineSpec) -> bool {
        let Ok(spec) = QemuMachineSpec::of(spec) else { return false };
        if spec.qemu.accelerator == Accelerator::Named(KVM.to_owned()) {
            return true;
        }
        if let Some((name, _)) = in_other_options(spec) {
            return name == KVM;
        }
        let program = || find_program(&spec.qemu.binary);
        spec.qemu.accelerator == Accelerator::Auto && program().is_some_and(|it| self.prober.kvm_may_be_usable(&it))
    }

    async fn look_at_names(&self, spec: &MachineSpec) -> Result<(), StartError> {
        let spec = QemuMachineSpec::of(spec).map_err(StartError::Unsupported)?;
        // What is missing is told where it is needed.
        let Some(program) = find_program(&spec.qemu.binary) else { return Ok(()) };
        if let Some((problem, hint)) = self.unreachable().await {
            let command = "looking for what runs QEMU".to_owned();
            return Err(StartError::Refused { command, problem, hint: Some(hint) });
        }
        match look::first(spec, &program, &self.prober).await {
            Ok(complaints) if complaints.is_empty() => Ok(()),
            Ok(complaints) => Err(StartError::Unsupported(complaints)),
            // It speaks, and does not answer this.
            Err(ProbeError::Ask(..)) => Ok(()),
            Err(error) => Err(start_error(spec, error)),
        }
    }

    async fn start_machine(
        &self,
        spec: &MachineSpec,
        ledger: Arc<dyn ResourceLedger>,
    ) -> Result<Box<dyn Machine>, StartError> {
        let read = QemuMachineSpec::of(spec).map_err(StartError::Unsupported)?;
        let complaints = self.complaints(spec);
        if !complaints.is_empty() {
            return Err(StartError::Unsupported(complaints));
        }
        let spec = read;
        let program = find_program(&spec.qemu.binary).ok_or_else(|| StartError::ProgramMissing {
            program: spec.qemu.binary.clone(),
            hint: check::package_hint(&spec.qemu.binary),
        })?;
        // Who names the accelerator does not wait for others to be tried.
        let findings = match is_named(spec) {
            true => self.prober.facts(&program).await,
            false => self.prober.findings(&program).await,
        };
        let findings = findings.map_err(|error| start_error(spec, error))?;
        let (accelerator, chosen, mut warnings) = self.choose(spec, &findings);
        tracing::info!(accelerator = chosen.name, "{}", chosen.reason);
        let launcher = self.launcher();
        let decisions = Decisions {
            program: program.clone(),
            launcher: &*launcher,
            accelerator,
            sandbox: findings.sandbox,
            greeting_limit: self.limit.unwrap_or(GREETING_LIMIT),
            tpm_program: &self.tpm_program,
        };
        let mut started = start::start(spec, &decisions, &ledger).await?;
        started.line.warnings.append(&mut warnings);
        Ok(Box::new(QemuMachine::new(spec, started, program, chosen)?))
    }
}

/// What is wrong where libvirt is asked for and was left out, and what to do about it.
#[cfg(not(feature = "libvirt"))]
fn no_libvirt() -> (String, String) {
    let hint = "unset KILN_LIBVIRT, or build Kiln with `--features libvirt` (needs libvirt-dev)";
    ("this Kiln was built without the feature libvirt".to_owned(), hint.to_owned())
}

/// Tells whether the template decides what runs the guest's code.
fn is_named(spec: QemuMachineSpec<'_>) -> bool {
    spec.qemu.accelerator != Accelerator::Auto || in_other_options(spec).is_some()
}

/// The accelerator that the template names elsewhere than in `accelerator`, and the option in which it does.
fn in_other_options(spec: QemuMachineSpec<'_>) -> Option<(String, &'static str)> {
    let overrides = Overrides::new(&spec.qemu.arguments);
    let in_arguments = overrides.accelerator().map(|name| (name, "qemuargs"));
    // Switches of the template's own replace the one that carries the machine type.
    let type_counts = !overrides.has("-machine") && !overrides.has("-M");
    let in_type = || accelerator_of_machine(spec.machine_type()).filter(|_| type_counts);
    in_arguments.or_else(|| Some((in_type()?, "machine_type")))
}

fn start_error(spec: QemuMachineSpec<'_>, error: ProbeError) -> StartError {
    match error {
        ProbeError::Run(program, problem) => StartError::Spawn { program, source: std::io::Error::other(problem) },
        ProbeError::NotQemu(_, problem) => StartError::Refused {
            command: format!("asking {} what it can do", spec.qemu.binary),
            problem: format!("it does not work as a QEMU: {problem}"),
            hint: Some(
                "set qemu_binary to a QEMU system emulator that runs here (`qemu-system-x86_64 --version`)".to_owned(),
            ),
        },
        ProbeError::Ask(_, error) => StartError::Setup(error),
    }
}

impl Hypervisor for QemuHypervisor {
    fn name(&self) -> &'static str {
        NAME
    }

    fn probe(&self) -> BoxFuture<'_, Availability> {
        async move {
            let Some(program) = find_program(DEFAULT_PROGRAM) else {
                return Availability {
                    reason: Some(format!("{DEFAULT_PROGRAM} is not in PATH")),
                    hint: Some(check::package_hint(DEFAULT_PROGRAM)),
                    ..Availability::default()
                };
            };
            if let Some((reason, hint)) = self.unreachable().await {
                return Availability { reason: Some(reason), hint: Some(hint), ..Availability::default() };
            }
            match self.prober.findings(&program).await {
                Ok(findings) => Availability {
                    version: Some(findings.version),
                    accelerators: findings.accelerators.into_iter().map(Into::into).collect(),
                    ..Availability::default()
                },
                Err(error) => Availability {
                    reason: Some(error.to_string()),
                    hint: Some(format!(
                        "see what `{} --version` says; {}",
                        program.display(),
                        check::package_hint(DEFAULT_PROGRAM)
                    )),
                    ..Availability::default()
                },
            }
        }
        .boxed()
    }

    fn check(&self, spec: &MachineSpec) -> Result<(), Vec<Unsupported>> {
        check::check(spec)?;
        let complaints = self.complaints(spec);
        if complaints.is_empty() { Ok(()) } else { Err(complaints) }
    }

    fn look_first<'a>(&'a self, spec: &'a MachineSpec) -> BoxFuture<'a, Result<(), StartError>> {
        self.look_at_names(spec).boxed()
    }

    fn start<'a>(
        &'a self,
        spec: &'a MachineSpec,
        ledger: Arc<dyn ResourceLedger>,
    ) -> BoxFuture<'a, Result<Box<dyn Machine>, StartError>> {
        self.start_machine(spec, ledger).boxed()
    }

    fn processor_use<'a>(&'a self, spec: &'a MachineSpec) -> BoxFuture<'a, Option<ProcessorUse>> {
        async { self.may_use_kvm(spec).then(|| ProcessorUse::of_host("KVM")) }.boxed()
    }

    fn starts_paused(&self) -> bool {
        true
    }

    fn host_seen_by_guest(&self, network: &NetworkMode) -> Option<HostSeenByGuest> {
        match network {
            NetworkMode::User { .. } => {
                Some(HostSeenByGuest { name: HOST_SEEN_BY_GUEST.to_owned(), listen: Ipv4Addr::LOCALHOST.into() })
            }
            NetworkMode::Bridge { bridge } => {
                let address = network::host_on_bridge(bridge)?;
                Some(HostSeenByGuest { name: address.to_string(), listen: address })
            }
        }
    }

    fn give_back<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<GivenBack, MachineError>> {
        // However machines are run now: those of the dead worker were run as it was told to.
        #[cfg(feature = "libvirt")]
        if let Some(id) = libvirt::DomainId::parse(id) {
            return libvirt::give_back(id).boxed();
        }
        #[cfg(not(feature = "libvirt"))]
        if id.starts_with("libvirt ") {
            let (message, _) = no_libvirt();
            return async { Err(MachineError::Refused { command: "virDomainDestroy".to_owned(), message }) }.boxed();
        }
        let _ = id;
        // QEMU keeps no machines: each is a process, and dies with this one.
        async { Ok(GivenBack::WasGone) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::spec::QemuSpec;

    #[test]
    fn wherever_an_accelerator_is_named_no_other_is_tried() {
        let spec = |accelerator, machine_type: &str, arguments: &[&[&str]]| {
            let owned = |line: &&[&str]| line.iter().map(|&word| word.to_owned()).collect();
            let qemu = QemuSpec {
                accelerator,
                machine_type: Some(machine_type.to_owned()),
                arguments: arguments.iter().map(owned).collect(),
                ..QemuSpec::default()
            };
            MachineSpec::new("x", "/tmp", qemu)
        };
        let seen = |spec: &MachineSpec| {
            let spec = QemuMachineSpec::of(spec).unwrap();
            (is_named(spec), in_other_options(spec))
        };
        let auto = || Accelerator::Auto;
        for machine_type in ["pc", "q35,usb=on", ""] {
            assert_eq!(seen(&spec(auto(), machine_type, &[])), (false, None), "{machine_type:?}");
        }
        assert_eq!(seen(&spec(Accelerator::Named("tcg".to_owned()), "pc", &[])), (true, None));
        assert_eq!(seen(&spec(Accelerator::None, "pc", &[])), (true, None));
        for machine_type in ["pc,accel=tcg", "q35,usb=on,accel=tcg:kvm"] {
            let found = Some(("tcg".to_owned(), "machine_type"));
            assert_eq!(seen(&spec(auto(), machine_type, &[])), (true, found), "{machine_type:?}");
        }
        for own in [&["-machine", "q35"][..], &["-M", "q35"]] {
            assert_eq!(seen(&spec(auto(), "pc,accel=tcg", &[own])), (false, None), "{own:?} replaces it");
        }
        for arguments in [&["-machine", "q35,accel=kvm:tcg"][..], &["-accel", "kvm"], &["--enable-kvm"]] {
            let found = Some(("kvm".to_owned(), "qemuargs"));
            assert_eq!(seen(&spec(auto(), "pc,accel=tcg", &[arguments])), (true, found), "{arguments:?}");
        }
    }

    #[cfg(not(feature = "libvirt"))]
    #[tokio::test]
    async fn without_the_feature_libvirt_is_refused_and_not_left_out() {
        let hypervisor = QemuHypervisor::new("/nonexistent".into()).through_libvirt("qemu:///session".to_owned());
        let spec = MachineSpec::new("x", "/tmp", QemuSpec { binary: "/bin/true".to_owned(), ..QemuSpec::default() });
        let complaints = hypervisor.check(&spec).unwrap_err();
        assert_eq!((complaints.len(), complaints[0].setting), (1, "KILN_LIBVIRT"));
        assert!(complaints[0].hint.as_ref().is_some_and(|hint| hint.contains("--features libvirt")));
        let started = hypervisor.start(&spec, Arc::new(crate::ledger::NoLedger)).await;
        assert!(matches!(started.err(), Some(StartError::Unsupported(all)) if all == complaints));
        let left = hypervisor.give_back("libvirt 67e55044-10b1-426f-9247-bb680e5fe0c8 qemu:///session").await;
        assert!(matches!(left, Err(MachineError::Refused { .. })), "nobody can say that it is gone: {left:?}");
    }
}
