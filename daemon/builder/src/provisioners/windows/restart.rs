//! The windows-restart provisioner: restarts a Windows guest, and waits until it is back and has nothing more to do.

use std::time::{Duration, Instant};

use kiln_communicators::{CollectedOutput, Communicator, CommunicatorError, Exit};

use super::encoded;
use super::start::start;
use crate::error::StepError;
use crate::option_values::OptionValues;
use crate::provisioners::ProvisionContext;

/// Asks for a restart in a minute, to see whether one is under way.
const TRY: &str = "shutdown /r /f /t 60 /c \"packer restart test\"";

/// Takes that back.
const ABORT: &str = "shutdown /a";

/// Windows' codes for "a shutdown is under way" and "one is planned", with which a restart is begun all the same.
const UNDER_WAY: [i32; 2] = [1115, 1190];

/// The same, and "the shutdown cannot be begun now", as answers to [`TRY`].
const BUSY: [i32; 3] = [1115, 1190, 1717];

/// Pace of that question while the answer is the same.
const BUSY_PACE: Duration = Duration::from_secs(10);

/// Pace of the questions to a guest that comes up.
const PACE: Duration = Duration::from_secs(5);

/// What is kept of answers.
const MAX_ANSWER: usize = 64 << 10;

/// What a guest that is back answers.
const BACK: &str = "restarted.";

pub(in crate::provisioners) async fn run(
    context: &ProvisionContext,
    options: OptionValues<'_>,
) -> Result<(), StepError> {
    let build = &context.build;
    build.say("Restarting Machine");
    let limit = options.positive_duration("restart_timeout");
    let until = Instant::now() + limit;
    let command = options.text("restart_command").unwrap_or_default();
    match start(context, &[], &command, limit).await? {
        Exit::Code(0) | Exit::Disconnected | Exit::Signal(_) => {}
        Exit::Code(code) if UNDER_WAY.contains(&code) => {}
        Exit::Code(code) => {
            return Err(StepError::new(format!("Restart script exited with non-zero exit status: {code}"))
                .with_hint("restart_command is the command; the guest's user must be allowed to restart it"));
        }
    }
    build.say("Waiting for machine to restart...");
    let _wait = build.waiting("the machine to restart", Some(limit));
    let guest = context.communicator.until(until);
    let back = async {
        goes_down(&*guest).await?;
        came_back(&*guest, options).await
    };
    match tokio::time::timeout_at(until.into(), back).await {
        Ok(result) => result?,
        Err(_) => {
            return Err(StepError::new("Timeout waiting for machine to restart.")
                .with_hint("raise restart_timeout, or see with `kiln screen` what the guest does")
                .lost_when(build.sightings.is_lost()));
        }
    }
    build.say("Machine successfully restarted, moving on");
    Ok(())
}

/// Waits until the restart has begun, or is over already.
async fn goes_down(guest: &dyn Communicator) -> Result<(), StepError> {
    loop {
        match ask(guest, TRY).await? {
            Some((Exit::Code(0), _)) => {
                // Nothing was under way any more: it is up again, or never went down, which the next questions show.
                ask(guest, ABORT).await?;
                return Ok(());
            }
            Some((Exit::Code(code), _)) if BUSY.contains(&code) => tokio::time::sleep(BUSY_PACE).await,
            _ => return Ok(()),
        }
    }
}

/// Waits until the guest answers as one that is up.
async fn came_back(guest: &dyn Communicator, options: OptionValues<'_>) -> Result<(), StepError> {
    let own = options.given("restart_check_command");
    let default = encoded::command("Write-Output (\"{0} restarted.\" -f $env:COMPUTERNAME)");
    let mut own_is_done = own.is_none();
    loop {
        if !own_is_done && let Some(command) = own {
            own_is_done = matches!(ask(guest, command).await?, Some((Exit::Code(0), _)));
        }
        let answer = if own_is_done { ask(guest, &default).await? } else { None };
        let is_back = answer.is_some_and(|(exit, said)| exit.is_success() && said.contains(BACK));
        if is_back && !(options.flag("check_registry") && is_pending(guest, options).await?) {
            return Ok(());
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Whether a key says that a restart is still needed.
async fn is_pending(guest: &dyn Communicator, options: OptionValues<'_>) -> Result<bool, StepError> {
    for key in options.texts("registry_keys") {
        let question = encoded::command(&format!("Test-Path '{}'", key.replace('\'', "''")));
        match ask(guest, &question).await? {
            Some((_, said)) if said.contains("True") => return Ok(true),
            Some(_) => {}
            None => return Ok(true),
        }
    }
    Ok(false)
}

/// How a command ended and what it wrote; nothing from a guest that is not there.
async fn ask(guest: &dyn Communicator, command: &str) -> Result<Option<(Exit, String)>, CommunicatorError> {
    let output = CollectedOutput::new(MAX_ANSWER);
    match guest.execute(command, &output).await {
        Ok(Exit::Disconnected) => Ok(None),
        Ok(exit) => Ok(Some((exit, output.stdout_text()))),
        Err(error) if error.is_transport() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use kiln_communicators::fake::{Answer, FakeCommunicator};

    use super::*;
    use crate::provisioners::harness::run;
    use crate::provisioners::windows::encoded::decoded;

    #[tokio::test]
    async fn a_guest_that_goes_down_and_comes_back_has_restarted() {
        let guest = FakeCommunicator::new();
        guest.on_command("packer restart\"", Answer::code(1190)).on_command(TRY, Answer::Disconnect);
        guest.on_command("EncodedCommand", Answer::stdout("WIN restarted.\r\n"));
        let ran = run("windows-restart", "", &guest).await;
        ran.result.unwrap();
        let commands = guest.commands();
        assert_eq!(commands[..2], ["shutdown /r /f /t 0 /c \"packer restart\"", TRY]);
        let asked = decoded(&commands[2]).unwrap();
        assert!(commands.len() == 3 && asked.contains("$env:COMPUTERNAME"), "{asked}");
        let said =
            ["Restarting Machine", "Waiting for machine to restart...", "Machine successfully restarted, moving on"];
        assert_eq!(ran.said, said);
    }

    #[tokio::test]
    async fn a_restart_that_is_over_already_is_not_begun_again() {
        let guest = FakeCommunicator::new();
        guest.on_command("my-restart", Answer::Disconnect).on_command("my-check", Answer::code(0));
        guest.on_command("EncodedCommand", Answer::stdout("WIN restarted."));
        let body = "restart_command = \"my-restart\"\nrestart_check_command = \"my-check\"\ncheck_registry = true\n\
                    registry_keys = [\"HKLM:a'b\"]";
        run("windows-restart", body, &guest).await.result.unwrap();
        let commands = guest.commands();
        assert_eq!(commands[..4], ["my-restart", TRY, ABORT, "my-check"]);
        assert!(decoded(&commands[5]).unwrap().ends_with("Test-Path 'HKLM:a''b'"), "{commands:?}");
    }

    #[tokio::test]
    async fn what_goes_wrong_is_told() {
        let guest = FakeCommunicator::new();
        guest.on_command("shutdown", Answer::code(5));
        let error = run("windows-restart", "", &guest).await.result.unwrap_err().to_string();
        assert_eq!(error, "Restart script exited with non-zero exit status: 5");
        let guest = FakeCommunicator::new();
        let error = run("windows-restart", "restart_timeout = \"50ms\"", &guest).await.result.unwrap_err().to_string();
        assert_eq!(error, "Timeout waiting for machine to restart.", "{:?}", guest.commands());
    }
}
