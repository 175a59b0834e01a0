//! The provisioners of a build, each a step of its own, on a guest that may stop under them.

use std::time::Duration;

use kiln_communicators::CommunicatorKind;
use kiln_hypervisors::Machine;
use kiln_template::Provisioner;

use super::unreachable;
use crate::context::OnError;
use crate::error::{Answer, BuildError, StepError};
use crate::provisioners::{self, ProvisionContext};
use crate::step::{PROVISION, Step};

/// How long the clean-up waits for a guest that does not answer. Whoever failed may have waited for it already, and the cause is to be known.
const CLEAN_UP_PATIENCE: Duration = Duration::from_mins(2);

/// How long a provisioner may take to notice that its guest has gone, before it is told.
const NOTICE: Duration = Duration::from_secs(5);

/// Runs `provisioners` in order, but those that the guest has behind it already, and stops when `machine` stops; on a failure runs `cleanup`, if there is one.
pub(crate) async fn run(
    context: &ProvisionContext,
    provisioners: &[Provisioner],
    cleanup: Option<&Provisioner>,
    machine: Option<&dyn Machine>,
) -> Result<(), BuildError> {
    for (provisioner, number) in provisioners.iter().zip(1..) {
        if context.build.chain.pass_over() {
            continue;
        }
        let step = Step::provision(number, &provisioner.component.kind).on(machine);
        let result = context.build.step(step, || run_one(context, "provisioner", provisioner, machine)).await;
        if let Err(error) = result {
            clean_up(context, cleanup, machine, &error).await?;
            return Err(error);
        }
    }
    if !provisioners.is_empty() {
        context.build.pause_after(PROVISION).await;
    }
    Ok(())
}

/// Runs the error-cleanup-provisioner, unless everything is to stay as it is or the guest it works in is gone. Why it runs is told first; its own
/// failure is only told.
async fn clean_up(
    context: &ProvisionContext,
    cleanup: Option<&Provisioner>,
    machine: Option<&dyn Machine>,
    failure: &BuildError,
) -> Result<(), BuildError> {
    let build = &context.build;
    let abort = build.settings.on_error == OnError::Abort || failure.answer() == Some(Answer::Abort);
    // Who cancels, be it at the question about a failure, wants the end of it.
    if failure.is_cancelled() || build.cancel().is_cancelled() || abort {
        return Ok(());
    }
    if cleanup.is_some() {
        build.error(format!("{failure}"));
        failure.explanation().iter().for_each(|line| build.error(line));
    }
    build.say("Provisioning step had errors: Running the cleanup provisioner, if present...");
    let Some(cleanup) = cleanup else { return Ok(()) };
    if provisioners::needs_guest(&cleanup.component.kind) && !answers(context, machine).await {
        if build.cancel().is_cancelled() {
            return Err(BuildError::cancelled(PROVISION));
        }
        build.error("The error-cleanup-provisioner is not run: the guest does not answer.");
        return Ok(());
    }
    let step = Step::clean_up_provisioner(&cleanup.component.kind);
    match build.step(step, || run_one(context, "error-cleanup-provisioner", cleanup, machine)).await {
        Err(error) if error.is_cancelled() => Err(error),
        Err(error) => {
            build.error(format!("The error-cleanup-provisioner failed too: {error}"));
            error.explanation().iter().for_each(|line| build.error(line));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Whether the guest does anything at all, before long and before the job is cancelled.
async fn answers(context: &ProvisionContext, machine: Option<&dyn Machine>) -> bool {
    if context.communicator_kind() == CommunicatorKind::None {
        return true;
    }
    let _wait = context.build.waiting("the guest to answer", Some(CLEAN_UP_PATIENCE));
    let stopped = async {
        match machine {
            Some(machine) => drop(machine.exited().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        answers = unreachable::answers(&*context.communicator) => answers,
        () = stopped => false,
        () = context.build.cancel().cancelled() => false,
        () = tokio::time::sleep(CLEAN_UP_PATIENCE) => false,
    }
}

/// Runs one provisioner, and ends it when its machine stops; what there is to see of that is shown, too.
async fn run_one(
    context: &ProvisionContext,
    block: &str,
    provisioner: &Provisioner,
    machine: Option<&dyn Machine>,
) -> Result<(), StepError> {
    let work = provisioners::run(context, block, provisioner, machine);
    let Some(machine) = machine else { return work.await };
    tokio::pin!(work);
    tokio::select! {
        result = &mut work => return result,
        _ = machine.exited() => {}
    }
    match tokio::time::timeout(NOTICE, work).await {
        Ok(result) => result,
        Err(_) => {
            let error = StepError::new("the provisioner was cut off").lost_when(true);
            Err(unreachable::explain_loss(error, context.communicator_kind(), Some(machine), &context.build).await)
        }
    }
}
