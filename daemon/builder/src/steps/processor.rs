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

/// How long a machine that no build has started is waited for.
const STRANGER_LIMIT: Duration = Duration::from_secs(5 * 60);

/// How soon it is tried again to join the queue, which others do in no time.
const JOIN_RETRY: Duration = Duration::from_millis(5);

/// Waits until the machine's driver may have the processor, and says for whom it waits. The claim is to be held until the machine is gone;
/// `None`: the machine gets along with all others.
pub(crate) async fn claim(
    spec: &MachineSpec,
    hypervisor: &dyn Hypervisor,
    backends: &Backends,
    context: &BuildContext,
) -> Option<Arc<ProcessorClaim>> {
    let wanted = hypervisor.processor_use(spec).await?;
    match wait(&wanted, STRANGER_LIMIT, backends, context).await {
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
    limit: Duration,
    backends: &Backends,
    context: &BuildContext,
) -> io::Result<Arc<ProcessorClaim>> {
    let job = job_of(context);
    let claim = loop {
        let (wanted, job, build) = (wanted.clone(), job.clone(), context.build.clone());
        let made = blocking("claiming the processor", move |_| ProcessorClaim::make(&wanted, &job, &build));
        match made.await? {
            Some(claim) => break Arc::new(claim),
            None => tokio::time::sleep(JOIN_RETRY).await,
        }
    };
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
        match occupant {
            Occupant::Build { .. } => stranger_since = None,
            Occupant::Machine { .. } => {
                let since = *stranger_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= limit {
                    drop(told.take());
                    context.error(format!("Warning: {} still runs: going on beside it", words(&occupant, &job)));
                    return Ok(claim);
                }
            }
        }
        if told.as_ref().is_none_or(|(before, _)| *before != occupant) {
            drop(told.take());
            let whom = words(&occupant, &job);
            context.say(format!("Waiting for {whom}: {driver} does not run beside it"));
            told = Some((occupant, context.waiting(&whom, None)));
        }
        tokio::time::sleep(RETRY).await;
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
