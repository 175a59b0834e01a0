//! Shuts the guest down and waits until it is off.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use kiln_communicators::{Communicator, CommunicatorError, Exit};
use kiln_hypervisors::{ExitReport, Machine, MachineError};

use super::{evidence, unreachable};
use crate::context::BuildContext;
use crate::error::StepError;
use crate::line_output::LineOutput;
use crate::plan::{ShutdownPlan, ShutdownWay};
use kiln_template::GoDuration;

/// How long a guest that is to be powered off hard is waited for because of files that are to be removed from it.
const CLEAN_LIMIT: Duration = Duration::from_secs(60);

/// How long a guest may still take to be off, or to answer no longer, whose shutdown command's last word was that there is no such command: what
/// stands before that in it may have worked.
const NOT_RUN_LIMIT: Duration = if cfg!(test) { Duration::from_millis(20) } else { Duration::from_secs(30) };

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
            let ended = OnceLock::new();
            let off = async {
                tokio::select! {
                    // The guest may be off before its command's exit status can come back.
                    exit = machine.exited() => Some(exit),
                    result = command_after_cleaning(command, &*communicator, &output, context) => {
                        match result {
                            Ok(exit) => off_after(ended.get_or_init(|| exit), machine, &*communicator).await,
                            Err(error) => {
                                tracing::debug!(%error, "the shutdown command ended with its connection");
                                Some(machine.exited().await)
                            }
                        }
                    }
                }
            };
            let exit = tokio::time::timeout(plan.timeout, off).await;
            output.finish();
            tell_what_is_left(context);
            match exit {
                Ok(Some(exit)) => judge(exit),
                Ok(None) => Err(not_run(ended.get())),
                Err(_) => Err(still_running(plan, machine, ended.get(), context).await),
            }
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
        return Err(still_running(plan, machine, None, context).await);
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

/// Waits for the guest to be off whose command has ended; `None`: there is nothing to wait for.
async fn off_after(command: &Exit, machine: &dyn Machine, communicator: &dyn Communicator) -> Option<ExitReport> {
    if !matches!(command, Exit::Code(126 | 127)) {
        return Some(machine.exited().await);
    }
    if let Ok(exit) = tokio::time::timeout(NOT_RUN_LIMIT, machine.exited()).await {
        return Some(exit);
    }
    tokio::select! {
        exit = machine.exited() => return Some(exit),
        runs_on = unreachable::answers(communicator) => {
            if runs_on {
                return None;
            }
        }
    }
    // It is shutting down, however slowly.
    Some(machine.exited().await)
}

fn not_run(ended: Option<&Exit>) -> StepError {
    let ended = ended.map_or_else(String::new, Exit::to_string);
    StepError::new(format!("shutdown_command was not run: it ended with {ended}, and the guest runs on")).with_hint(
        "126 and 127 are the shell's words for a command that it may not run or does not find; what it wrote is above. Correct \
         shutdown_command; a build with -on-error=ask waits meanwhile, and you can shut the guest down yourself",
    )
}

async fn still_running(
    plan: &ShutdownPlan,
    machine: &dyn Machine,
    command: Option<&Exit>,
    context: &BuildContext,
) -> StepError {
    // Nobody could tell a guest that was lost to shut down.
    if context.sightings.is_lost() {
        evidence::show(machine, context).await;
    }
    let hint = context.sightings.crash_hint();
    let failed = command.filter(|exit| !matches!(exit, Exit::Code(0) | Exit::Disconnected));
    let command = failed.map_or_else(String::new, |exit| format!(" Its shutdown_command had ended with {exit}."));
    StepError::new(format!(
        "Timeout while waiting for machine to shut down. (It was still running after {}.){command}",
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

#[cfg(test)]
mod tests {
    use kiln_communicators::fake::{Answer, FakeCommunicator};
    use kiln_hypervisors::fake::{FakeHypervisor, FakeSpec};
    use kiln_hypervisors::{Hypervisor as _, MachineSpec};

    use super::*;
    use crate::context::tests::a_build;

    #[tokio::test]
    async fn how_the_command_ended_is_told_and_one_that_was_not_run_is_not_waited_for() {
        let (context, job) = a_build();
        let guest = FakeCommunicator::new();
        guest.on_command("powerof", Answer::code(127)).on_command("halt", Answer::code(1));
        let spec = MachineSpec::new("web", job.path(), FakeSpec { registered: false });
        let machine = FakeHypervisor::default().start(&spec, context.registrations.clone()).await.unwrap();
        machine.resume().await.unwrap();
        let run_with = async |command: &str, timeout| {
            let (command, way, delay) = (Some(command.to_owned()), ShutdownWay::Command, Duration::ZERO);
            let plan = ShutdownPlan { command, timeout, way, delay };
            run(&plan, &*machine, Some(&guest), &context).await.unwrap_err()
        };
        let error = run_with("powerof", Duration::from_secs(3600)).await;
        assert!(error.to_string().contains("it ended with exit code 127, and the guest runs on"), "{error}");
        assert!(error.hint().unwrap().contains("Correct shutdown_command"), "{error:?}");
        let error = run_with("halt", Duration::from_secs(3)).await;
        assert!(error.to_string().ends_with(" Its shutdown_command had ended with exit code 1."), "{error}");
    }

    #[tokio::test]
    async fn a_guest_that_shuts_down_slowly_is_waited_for_whatever_its_command_said_last() {
        for answer in [Answer::Hang, Answer::GoAway] {
            let (context, job) = a_build();
            let guest = FakeCommunicator::new();
            guest.on_command("poweroff; missing", Answer::code(127)).on_command("exit 0", answer.clone());
            let spec = MachineSpec::new("web", job.path(), FakeSpec { registered: false });
            let machine = FakeHypervisor::default().start(&spec, context.registrations.clone()).await.unwrap();
            machine.resume().await.unwrap();
            let (command, way) = (Some("poweroff; missing".to_owned()), ShutdownWay::Command);
            let plan = ShutdownPlan { command, timeout: Duration::from_secs(3600), way, delay: Duration::ZERO };
            let off = async {
                while !guest.commands().iter().any(|command| command == "exit 0") {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                machine.power_off().await;
            };
            let run = run(&plan, &*machine, Some(&guest), &context);
            tokio::pin!(run);
            let ended = tokio::select! {
                ended = &mut run => ended,
                () = off => run.await,
            };
            let told = ended.err().map_or_else(String::new, |error| error.to_string());
            assert!(!told.contains("shutdown_command was not run"), "{answer:?}: {told}");
        }
    }
}
