//! The backend itself: which VirtualBox, and the start of machines.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};

use super::NAME;
use super::ask;
use super::check;
use super::driver::{self, Driver};
use super::facts;
use super::give_back;
use super::identity::Identity;
use super::known::Known;
use super::look;
use super::machine::{VirtualBoxMachine, is_nat};
use super::problem::Problem;
use super::program::VBoxManage;
use super::start;
use super::vm_process;
use crate::error::{MachineError, StartError, Unsupported};
use crate::guest_network::HostSeenByGuest;
use crate::ledger::ResourceLedger;
use crate::machine::{Availability, GivenBack, Hypervisor, Machine};
use crate::process::find_program;
use crate::processor::{Occupant, ProcessorUse};
use crate::spec::{MachineSpec, NetworkMode};

/// VirtualBox's tool.
pub(super) const PROGRAM: &str = "VBoxManage";

/// Without this a VirtualBox runs guests on KVM, if it was built to, or not at all.
const DRIVER: &str = "/dev/vboxdrv";

/// The first version that has all options by which machines are made here (of its sound, and of NAT).
const OLDEST_MAJOR: u32 = 7;

/// How people are told of its driver.
const DRIVER_NAME: &str = "VirtualBox";

/// The host as guests behind VirtualBox's NAT see it.
const HOST_SEEN_BY_GUEST: &str = "10.0.2.2";

/// Runs machines with VirtualBox.
#[derive(Debug, Clone)]
pub struct VirtualBoxHypervisor {
    /// A program to use instead of the one in `PATH`.
    program: Option<PathBuf>,
    /// The device of the driver by which it takes the processor.
    pub(super) driver: &'static str,
    /// What it has told before a machine was made, and need not be asked again for that machine.
    known: Arc<Known>,
    /// How long its calls may take, where a test has no time.
    #[cfg(test)]
    pub(super) limit: Option<std::time::Duration>,
    /// The same of those that move whole disks.
    #[cfg(test)]
    pub(super) long_limit: Option<std::time::Duration>,
}

impl Default for VirtualBoxHypervisor {
    fn default() -> Self {
        Self::new()
    }
}

impl VirtualBoxHypervisor {
    /// The VirtualBox whose `VBoxManage` is in `PATH`.
    pub fn new() -> Self {
        Self {
            program: None,
            driver: DRIVER,
            known: Arc::default(),
            #[cfg(test)]
            limit: None,
            #[cfg(test)]
            long_limit: None,
        }
    }

    /// The VirtualBox that has this `VBoxManage`.
    pub fn with_program(program: PathBuf) -> Self {
        Self {
            program: Some(program),
            driver: DRIVER,
            known: Arc::default(),
            #[cfg(test)]
            limit: None,
            #[cfg(test)]
            long_limit: None,
        }
    }

    fn program(&self) -> Option<VBoxManage> {
        let name = self.program.as_deref().and_then(|path| path.to_str()).unwrap_or(PROGRAM);
        let program = find_program(name).map(VBoxManage::new)?;
        #[cfg(test)]
        let program = match self.limit {
            Some(limit) => program.with_limit(limit),
            None => program,
        };
        #[cfg(test)]
        let program = match self.long_limit {
            Some(limit) => program.with_long_limit(limit),
            None => program,
        };
        Some(program)
    }

    async fn start_machine(
        &self,
        spec: &MachineSpec,
        ledger: Arc<dyn ResourceLedger>,
    ) -> Result<Box<dyn Machine>, StartError> {
        let part = check::part_of(spec).map_err(StartError::Unsupported)?;
        let program = self.program().ok_or_else(|| StartError::ProgramMissing {
            program: PROGRAM.to_owned(),
            hint: Problem::CannotRun.hint().unwrap_or_default().to_owned(),
        })?;
        self.refuse_unusable(&program).await?;
        let started = start::start(spec, part, &program, &self.known, ledger.clone()).await?;
        Ok(Box::new(VirtualBoxMachine::new(spec, part, started, ledger)))
    }

    async fn find_out(&self) -> Availability {
        let unusable = |reason: String, hint: Option<String>| Availability {
            reason: Some(reason),
            hint,
            ..Availability::default()
        };
        let Some(program) = self.program() else {
            return unusable(format!("{PROGRAM} is not in PATH"), Problem::CannotRun.hint().map(ToOwned::to_owned));
        };
        let path = program.path().display();
        let anew = || Some(format!("see what `{path} --version` says, or install VirtualBox anew"));
        // Without a driver it still answers, with warnings around the version.
        match program.run(&["--version"]).await {
            Ok(said) => match version(&said) {
                Some(version) => match too_old(&version) {
                    None => self.with_driver(&program, &said, version),
                    old => Availability { reason: old, hint: Some(NEWER.to_owned()), ..Availability::default() },
                },
                None => unusable(format!("{path} does not tell its version"), anew()),
            },
            Err(failure) => {
                let hint = failure.problem.hint().map(ToOwned::to_owned);
                unusable(format!("{path} does not work: {failure}"), hint.or_else(anew))
            }
        }
    }

    /// What can be done with a VirtualBox that answers. Machines can be looked at and made without a driver.
    fn with_driver(&self, program: &VBoxManage, said: &str, version: String) -> Availability {
        let version = Some(version);
        match driver::look(Path::new(self.driver), program.path(), said) {
            Driver::Ready => Availability { version, ..Availability::default() },
            Driver::Missing(trouble) => Availability {
                version,
                limit: Some(trouble.reason),
                hint: Some(trouble.hint),
                ..Availability::default()
            },
            Driver::Forbidden(trouble) => Availability {
                version,
                reason: Some(trouble.reason),
                hint: Some(trouble.hint),
                ..Availability::default()
            },
        }
    }

    /// Refuses a VirtualBox that is too old or starts no guest, before anything is made.
    async fn refuse_unusable(&self, program: &VBoxManage) -> Result<(), StartError> {
        let call = ["--version"];
        let said = match self.known.version() {
            Some(said) => said,
            None => program.run(&call).await?,
        };
        let version = version(&said).ok_or_else(|| ask::senseless(&call, &said, "is no version"))?;
        if let Some(problem) = too_old(&version) {
            let (command, hint) = (format!("{PROGRAM} --version"), Some(NEWER.to_owned()));
            return Err(StartError::Refused { command, problem, hint });
        }
        match driver::look(Path::new(self.driver), program.path(), &said) {
            Driver::Ready => {
                self.known.keep_version(&said);
                Ok(())
            }
            Driver::Missing(trouble) | Driver::Forbidden(trouble) => Err(StartError::Refused {
                command: "looking for VirtualBox's driver".to_owned(),
                problem: trouble.reason,
                hint: Some(trouble.hint),
            }),
        }
    }
}

/// The version in what `VBoxManage --version` says: `7.2.4_Debianr170995`, `7.0.10r158379`.
fn version(said: &str) -> Option<String> {
    let line = said.lines().map(str::trim).rfind(|line| line.starts_with(|c: char| c.is_ascii_digit()))?;
    let end = line.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(line.len());
    Some(line[..end].trim_end_matches('.').to_owned())
}

/// What can be done about one that is too old.
const NEWER: &str = "install VirtualBox 7.0 or newer, from Oracle or a newer release of the distribution";

/// Why this version cannot be used; `None`: it can.
fn too_old(version: &str) -> Option<String> {
    let major: u32 = version.split('.').next()?.parse().ok()?;
    (major < OLDEST_MAJOR).then(|| format!("VirtualBox {OLDEST_MAJOR}.0 or newer is needed; this is {version}"))
}

impl Hypervisor for VirtualBoxHypervisor {
    fn name(&self) -> &'static str {
        NAME
    }

    fn probe(&self) -> BoxFuture<'_, Availability> {
        self.find_out().boxed()
    }

    fn check(&self, spec: &MachineSpec) -> Result<(), Vec<Unsupported>> {
        check::check(spec, self.program().is_some())
    }

    fn look_first<'a>(&'a self, spec: &'a MachineSpec) -> BoxFuture<'a, Result<(), StartError>> {
        async move {
            let part = check::part_of(spec).map_err(StartError::Unsupported)?;
            // What is missing is told where it is needed.
            let Some(program) = self.program() else { return Ok(()) };
            self.refuse_unusable(&program).await?;
            look::first(spec, part, &program, &self.known).await
        }
        .boxed()
    }

    fn processor_use<'a>(&'a self, _spec: &'a MachineSpec) -> BoxFuture<'a, Option<ProcessorUse>> {
        async { Path::new(self.driver).exists().then(|| ProcessorUse::of_host(DRIVER_NAME)) }.boxed()
    }

    fn unclaimed_machine(&self) -> Option<Occupant> {
        let (pid, name) = Path::new(self.driver).exists().then(|| vm_process::all().next())??;
        Some(Occupant::Machine { driver: DRIVER_NAME, name: format!("the machine {name} (process {pid})") })
    }

    fn starts_paused(&self) -> bool {
        false
    }

    fn host_seen_by_guest(&self, network: &NetworkMode) -> Option<HostSeenByGuest> {
        is_nat(network)
            .then(|| HostSeenByGuest { name: HOST_SEEN_BY_GUEST.to_owned(), listen: Ipv4Addr::LOCALHOST.into() })
    }

    fn start<'a>(
        &'a self,
        spec: &'a MachineSpec,
        ledger: Arc<dyn ResourceLedger>,
    ) -> BoxFuture<'a, Result<Box<dyn Machine>, StartError>> {
        self.start_machine(spec, ledger).boxed()
    }

    fn give_back<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<GivenBack, MachineError>> {
        async move {
            let program = self.program().ok_or_else(|| MachineError::Refused {
                command: format!("removing the machine {id}"),
                message: format!("{PROGRAM} is not in PATH"),
            })?;
            give_back::after_a_dead_process(&program, &Identity::parse(id)).await
        }
        .boxed()
    }

    fn shown<'a>(&'a self, id: &'a str) -> BoxFuture<'a, String> {
        async move {
            let (uuid, own_words) = match Identity::parse(id) {
                Identity::Importing(directory) => return format!("that was imported into {}", directory.display()),
                Identity::Made(uuid) => (uuid.clone(), uuid),
                Identity::Borrowed(borrowed) => (borrowed.uuid.clone(), borrowed.uuid),
            };
            let Some(program) = self.program() else { return own_words };
            let known = ask::machines(&program).await.unwrap_or_default();
            known.into_iter().find(|machine| machine.uuid == uuid).map_or(own_words, |machine| machine.name)
        }
        .boxed()
    }

    fn guest_tools<'a>(&'a self, _flavour: &'a str) -> BoxFuture<'a, Option<PathBuf>> {
        async move {
            let properties = self.program()?.run(&["list", "systemproperties"]).await.ok()?;
            let path = PathBuf::from(facts::property(&properties, "Default Guest Additions ISO")?);
            path.is_file().then_some(path)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_processor_is_taken_by_its_driver_where_there_is_one() {
        let spec = MachineSpec::new("x", "/tmp", super::super::VirtualBoxSpec::default());
        let of_host = Some(ProcessorUse::of_host("VirtualBox"));
        for (driver, wanted) in [("/dev/null", of_host), ("/nonexistent", None)] {
            let hypervisor = VirtualBoxHypervisor { driver, ..VirtualBoxHypervisor::new() };
            assert_eq!(hypervisor.processor_use(&spec).await, wanted, "{driver}");
        }
        let driverless = VirtualBoxHypervisor { driver: "/nonexistent", ..VirtualBoxHypervisor::new() };
        assert_eq!(driverless.unclaimed_machine(), None);
    }

    #[test]
    fn versions() {
        assert_eq!(version("7.2.4_Debianr170995\n").as_deref(), Some("7.2.4"));
        assert_eq!(
            version("WARNING: The vboxdrv kernel module is not loaded.\n7.0.10r158379\n").as_deref(),
            Some("7.0.10")
        );
        assert_eq!(version("garbage\n"), None);
        assert_eq!(too_old("6.1.50").unwrap(), "VirtualBox 7.0 or newer is needed; this is 6.1.50");
        assert_eq!((too_old("7.0.10"), too_old("10.0")), (None, None));
    }
}
