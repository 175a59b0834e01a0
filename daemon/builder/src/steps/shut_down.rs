//! Shuts the guest down and waits until it is off.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use kiln_communicators::{Communicator, CommunicatorError, Exit};
use kiln_hypervisors::{ExitReport, Machine, MachineError};

use super::evidence;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::line_output::LineOutput;
use crate::plan::{ShutdownPlan, ShutdownWay};
use kiln_template::GoDuration;

/// How long a guest that is to be powered off hard is waited for because of files that are to be removed from it.
const CLEAN_LIMIT: Duration = Duration::from_secs(60);

/// Runs the shutdown command, or powers off hard when there is none, and waits for the machine to be off.
pub(crate) async fn run(
    plan: &ShutdownPlan,
    machine: &dyn Machine,
    communicator: Option<&dyn Communicator>,
    context: &BuildContext,
) -> Result<(), StepError> {
    let _wait = context.waiting("shutdown", Some(plan.timeout));
    end_guest(plan, machine, communicator, context).await?;
    // For people who ask for it: what hypervisors need to settle, they are waited for.
    tokio::time::sleep(plan.delay).await;
    Ok(())
}

async fn end_guest(
    plan: &ShutdownPlan,
    machine: &dyn Machine,
    communicator: Option<&dyn Communicator>,
    context: &BuildContext,
) -> Result<(), StepError> {
    match plan.way {
        ShutdownWay::Command | ShutdownWay::CommandOrPowerOff => {}
        ShutdownWay::PowerButton => {
            remove_what_is_left(machine, communicator, context).await;
            context.say("Pressing the machine's power button...");
            // A guest that is off already needs no button.
            if let Err(error) = machine.power_button().await
                && error != MachineError::Gone
            {
                return Err(StepError::wrap(error));
            }
            return wait_until_off(plan, machine, context).await;
        }
        ShutdownWay::ByItself => {
            remove_what_is_left(machine, communicator, context).await;
            context.say("Waiting for the machine to shut down by itself...");
            return wait_until_off(plan, machine, context).await;
        }
    }
    match (&plan.command, communicator) {
        (Some(command), Some(communicator)) => {
            context.say("Gracefully halting virtual machine...");
            let output = LineOutput::new(context);
            // A guest that is just booting again is waited for as long as there is time to shut it down.
            let communicator = communicator.until(Instant::now() + plan.timeout);
            let off = async {
                tokio::select! {
                    // The guest may be off before its command's exit status can come back.
                    exit = machine.exited() => Ok(exit),
                    result = command_after_cleaning(command, &*communicator, &output, context) => {
                        if let Err(error) = result {
                            tracing::debug!(%error, "the shutdown command ended with its connection");
                        }
                        Ok::<_, StepError>(machine.exited().await)
                    }
                }
            };
            let exit = tokio::time::timeout(plan.timeout, off).await;
            output.finish();
            tell_what_is_left(context);
            let Ok(exit) = exit else { return Err(still_running(plan, machine, context).await) };
            judge(exit?)
        }
        (_, None) if !plan.ends_unseen_guest() => {
            // Without a communicator the guest ends by itself.
            context.say("Waiting for the machine to shut down...");
            wait_until_off(plan, machine, context).await
        }
        (_, communicator) => {
            remove_what_is_left(machine, communicator, context).await;
            // A guest that has come to grief already has no whole disk.
            if let Some(exit) = machine.exited().now_or_never() {
                return judge(exit);
            }
            context.say("Halting the virtual machine...");
            machine.power_off().await;
            Ok(())
        }
    }
}

async fn wait_until_off(plan: &ShutdownPlan, machine: &dyn Machine, context: &BuildContext) -> Result<(), StepError> {
    let Ok(exit) = tokio::time::timeout(plan.timeout, machine.exited()).await else {
        return Err(still_running(plan, machine, context).await);
    };
    judge(exit)
}

async fn remove_what_is_left(machine: &dyn Machine, communicator: Option<&dyn Communicator>, context: &BuildContext) {
    let Some(communicator) = communicator else { return };
    let communicator = communicator.until(Instant::now() + CLEAN_LIMIT);
    let cleaning = tokio::time::timeout(CLEAN_LIMIT, context.left_in_guest.remove(&*communicator));
    tokio::select! {
        _ = cleaning => {}
        _ = machine.exited() => {}
    }
    tell_what_is_left(context);
}

/// Removes what earlier scripts have left in the guest, which has to be reached anyway, and runs the command.
async fn command_after_cleaning(
    command: &str,
    communicator: &dyn Communicator,
    output: &LineOutput,
    context: &BuildContext,
) -> Result<Exit, CommunicatorError> {
    context.left_in_guest.remove(communicator).await;
    communicator.execute(command, output).await
}

fn tell_what_is_left(context: &BuildContext) {
    if let Some(text) = context.left_in_guest.last_words() {
        context.say(text);
    }
}

async fn still_running(plan: &ShutdownPlan, machine: &dyn Machine, context: &BuildContext) -> StepError {
    // Nobody could tell a guest that was lost to shut down.
    if context.sightings.is_lost() {
        evidence::show(machine, context).await;
    }
    let hint = context.sightings.crash_hint();
    StepError::new(format!(
        "Timeout while waiting for machine to shut down. (It was still running after {}.)",
        GoDuration(plan.timeout)
    ))
    .with_hint(hint.unwrap_or_else(|| {
        "check that shutdown_command powers the guest off (for example with -P or -h), or raise shutdown_timeout"
            .to_owned()
    }))
}

/// A guest that restarts where `qemuargs` say `-no-reboot` has ended as its template means it to.
fn judge(exit: ExitReport) -> Result<(), StepError> {
    if exit.is_clean() || exit == ExitReport::GuestReset {
        return Ok(());
    }
    let hint = exit.hint();
    Err(StepError::new(format!("the machine did not shut down in order: {exit}")).with_hint_maybe(hint))
}
