//! The wait for the processor, where another hypervisor's machines have it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_hypervisors::{Hypervisor, MachineSpec, Occupant, ProcessorClaim, ProcessorUse};

use crate::backends::Backends;
use crate::blocking::blocking;
use crate::context::{BuildContext, Waiting};

/// How often it is looked whether the processor is free: nothing tells when it is.
const RETRY: Duration = Duration::from_millis(250);

/// How soon it is tried again to join the queue, which others do in no time.
const JOIN_RETRY: Duration = Duration::from_millis(5);

/// How long it takes to join the queue before people are told of it.
const JOIN_TOLD: Duration = Duration::from_secs(1);

/// How long others are waited for: who holds a name of the queue need not be a build that gets anywhere, nor one at all.
#[derive(Clone, Copy)]
struct Limits {
    /// For joining the queue.
    join: Duration,
    /// For a machine that no build has started.
    stranger: Duration,
    /// For builds, all of them together.
    builds: Duration,
}

const LIMITS: Limits = Limits {
    join: Duration::from_secs(30),
    stranger: Duration::from_secs(5 * 60),
    builds: Duration::from_secs(24 * 60 * 60),
};

/// Waits until the machine's driver may have the processor, and says for whom it waits. The claim is to be held until the machine is gone;
/// `None`: the machine gets along with all others.
pub(crate) async fn claim(
    spec: &MachineSpec,
    hypervisor: &dyn Hypervisor,
    backends: &Backends,
    context: &BuildContext,
) -> Option<Arc<ProcessorClaim>> {
    let wanted = hypervisor.processor_use(spec).await?;
    match wait(&wanted, LIMITS, backends, context).await {
        Ok(claim) => Some(claim),
        // Most builds have the processor for themselves; the hypervisor says so where one has not.
        Err(error) => {
            let driver = wanted.driver;
            context.error(format!("Warning: it cannot be seen whether another hypervisor than {driver} runs: {error}"));
            None
        }
    }
}

async fn wait(
    wanted: &ProcessorUse,
    limits: Limits,
    backends: &Backends,
    context: &BuildContext,
) -> io::Result<Arc<ProcessorClaim>> {
    let job = job_of(context);
    let claim = join(wanted, limits.join, &job, context).await?;
    let begun = Instant::now();
    let mut told: Option<(Occupant, Waiting)> = None;
    let mut stranger_since = None;
    loop {
        let (asking, hypervisors, driver) = (claim.clone(), backends.hypervisors.clone(), wanted.driver);
        let looking = blocking("looking for who has the processor", move |_| {
            let of_others = || hypervisors.values().filter_map(|one| one.unclaimed_machine());
            Ok::<_, io::Error>(asking.in_the_way()?.or_else(|| of_others().find(|one| one.driver() != driver)))
        });
        let Some(occupant) = looking.await? else { return Ok(claim) };
        // Who has started it may mean it to run for ever: then the hypervisor says what it makes of that.
        let (since, limit) = match occupant {
            Occupant::Build { .. } => {
                stranger_since = None;
                (begun, limits.builds)
            }
            Occupant::Machine { .. } => (*stranger_since.get_or_insert_with(Instant::now), limits.stranger),
        };
        if since.elapsed() >= limit {
            drop(told.take());
            context.error(format!("Warning: {} still runs: going on beside it", words(&occupant, &job)));
            return Ok(claim);
        }
        if told.as_ref().is_none_or(|(before, _)| *before != occupant) {
            drop(told.take());
            let whom = words(&occupant, &job);
            context.say(format!("Waiting for {whom}: {driver} does not run beside it"));
            let left = limit.saturating_sub(since.elapsed());
            told = Some((occupant, context.waiting(&whom, Some(left))));
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Joins the queue for the processor.
async fn join(
    wanted: &ProcessorUse,
    limit: Duration,
    job: &str,
    context: &BuildContext,
) -> io::Result<Arc<ProcessorClaim>> {
    let begun = Instant::now();
    let mut told: Option<Waiting> = None;
    loop {
        let (wanted, job, build) = (wanted.clone(), job.to_owned(), context.build.clone());
        let made = blocking("claiming the processor", move |_| ProcessorClaim::make(&wanted, &job, &build));
        if let Some(claim) = made.await? {
            return Ok(Arc::new(claim));
        }
        if begun.elapsed() >= limit {
            let words = format!("another process has been in the way of joining the queue for {} s", limit.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, words));
        }
        if told.is_none() && begun.elapsed() >= JOIN_TOLD.min(limit / 2) {
            context.say("Waiting for another process, which is just joining the queue for the processor");
            told = Some(context.waiting("the queue for the processor", Some(limit)));
        }
        tokio::time::sleep(JOIN_RETRY).await;
    }
}

/// The job's name, which its directory has.
fn job_of(context: &BuildContext) -> String {
    let name = context.settings.job_dir.file_name();
    name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// For whom somebody of the job `own` waits.
fn words(occupant: &Occupant, own: &str) -> String {
    match occupant {
        Occupant::Build { driver, job, build } if job == own => {
            format!("the build {build} of this job, which runs {driver}")
        }
        Occupant::Build { driver, job, build } => format!("the build {build} of job {job}, which runs {driver}"),
        Occupant::Machine { driver, name } => format!("{name} of {driver}, which no build that is alive has started"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use kiln_communicators::fake::{FakeCommunicator, FakeConnector};

    use super::*;
    use crate::steps::output_directory::tests::Job;

    const LIMITS: Limits = Limits {
        join: Duration::from_millis(40),
        stranger: Duration::from_millis(40),
        builds: Duration::from_millis(40),
    };

    fn backends() -> Backends {
        Backends {
            hypervisors: kiln_hypervisors::registry::by_name([]),
            connector: Arc::new(FakeConnector(FakeCommunicator::new())),
            fault: None,
        }
    }

    /// The use of a processor that only this test knows.
    fn kvm() -> ProcessorUse {
        ProcessorUse { driver: "KVM", processor: uuid::Uuid::new_v4().simple().to_string() }
    }

    fn take(name: &str) -> UnixDatagram {
        UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn whoever_keeps_a_name_of_the_queue_keeps_nobody_for_ever() {
        let (job, wanted) = (Job::new(), kvm());
        let context = job.context(false);
        let prefix = format!("kiln-processor-{}-", wanted.processor);
        let turn = take(&format!("{prefix}turn"));
        let error = wait(&wanted, LIMITS, &backends(), &context).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert!(job.said().iter().any(|line| line.contains("joining the queue")), "{:?}", job.said());
        drop(turn);
        // A name that comes before all others and never goes.
        let _first = take(&format!("{prefix}0/VirtualBox/job/build"));
        let begun = Instant::now();
        // A program that a neighbouring test is just starting has a copy of the name for a moment.
        let limits = Limits { join: Duration::from_secs(30), ..LIMITS };
        wait(&wanted, limits, &backends(), &context).await.unwrap();
        assert!(begun.elapsed() >= LIMITS.builds);
        let said = job.said();
        assert!(said.iter().any(|line| line.contains("Waiting for the build build of job job")), "{said:?}");
    }
}
