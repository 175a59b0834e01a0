//! The reboot provisioner: restarts the guest, and proves by its boot id that it has restarted.

use std::time::{Duration, Instant};

use kiln_communicators::{CollectedOutput, Communicator, CommunicatorError, Exit};
use kiln_template::GoDuration;

use super::context::ProvisionContext;
use crate::error::StepError;
use crate::generated::Renderer;
use crate::option_values::OptionValues;

/// Pace of the questions to a guest that has not gone down yet, or does not answer; the end of its connection is waited for meanwhile.
const PACE: Duration = Duration::from_millis(500);

/// What is kept of the answers.
const MAX_ANSWER: usize = 4 << 10;

/// What to do about a guest that tells no boot id.
const NO_ID_HINT: &str =
    "boot_id_command must print something that another boot changes, as /proc/sys/kernel/random/boot_id does on Linux";

/// What to do about a guest that does not restart by itself.
const NOT_DOWN_HINT: &str = "the guest stayed up: reboot_command must restart it (with sudo, if its user may not); `kiln screen` shows what \
                             it does";

pub(super) async fn run(
    context: &ProvisionContext,
    options: OptionValues<'_>,
    renderer: &Renderer,
) -> Result<(), StepError> {
    let limit = options.positive_duration("reboot_timeout");
    let until = Instant::now() + limit;
    let guest = context.communicator.until(until);
    let question = options.text("boot_id_command").unwrap_or_default();
    let before = boot_id(&*guest, &question)
        .await?
        .map_err(|exit| StepError::new(format!("the guest does not tell its boot id: {exit}")).with_hint(NO_ID_HINT))?;
    context.build.say("Restarting the guest...");
    let command = renderer.render(&options.text("reboot_command").unwrap_or_default(), &[])?;
    restart(&*guest, &command).await?;
    let _wait = context.build.waiting("the guest to restart", Some(limit));
    let back = came_back(&*guest, &question, &before);
    match tokio::time::timeout_at(until.into(), back).await {
        Ok(after) => {
            let after = after?;
            context.build.say(format!("The guest has restarted: its boot id was {before}, now it is {after}"));
            Ok(())
        }
        Err(_) => {
            let limit = GoDuration(limit);
            Err(StepError::new(format!("the guest did not restart within {limit}: its boot id is still {before}"))
                .with_hint(NOT_DOWN_HINT)
                .lost_when(context.build.sightings.is_lost()))
        }
    }
}

/// Asks for the boot id; how the question ended where there is none.
async fn boot_id(guest: &dyn Communicator, question: &str) -> Result<Result<String, Exit>, CommunicatorError> {
    let output = CollectedOutput::new(MAX_ANSWER);
    let exit = guest.execute(question, &output).await?;
    let answer = output.stdout_text().trim().to_owned();
    Ok(if exit.is_success() && !answer.is_empty() { Ok(answer) } else { Err(exit) })
}

/// Gives the command. That the connection goes with it is what it is for.
async fn restart(guest: &dyn Communicator, command: &str) -> Result<(), StepError> {
    let output = CollectedOutput::new(MAX_ANSWER);
    match guest.execute(command, &output).await {
        Ok(Exit::Code(0) | Exit::Signal(_) | Exit::Disconnected) => Ok(()),
        Ok(exit) => {
            let said = format!("{}{}", output.stdout_text(), output.stderr_text());
            let hint =
                "a user without root's rights needs reboot_command = \"sudo reboot\", and sudo without a password";
            Err(StepError::new(format!("the guest refused to restart: {exit}: {}", said.trim())).with_hint(hint))
        }
        Err(error) if error.is_loss() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Returns the new boot id when there is one.
async fn came_back(guest: &dyn Communicator, question: &str, before: &str) -> Result<String, StepError> {
    loop {
        match boot_id(guest, question).await {
            Ok(Ok(now)) if now != before => return Ok(now),
            // It is going down still, or comes up without what the question needs. Where the connection is gone already this resolves at
            // once; the next question then waits for the guest.
            Ok(_) => drop(tokio::time::timeout(PACE, guest.disconnected()).await),
            Err(error) if error.is_transport() => {
                tracing::debug!(%error, "the guest is not back yet");
                tokio::time::sleep(PACE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_communicators::fake::{Answer, FakeCommunicator};

    use crate::provisioners::harness::run;

    #[tokio::test]
    async fn a_new_boot_id_is_the_proof() {
        let guest = FakeCommunicator::new();
        guest.on_command("boot_id", Answer::stdout("one\n")).on_command("reboot", Answer::Disconnect);
        // It is asked while it goes down, and when it comes up.
        guest.on_command("boot_id", Answer::stdout("one\n")).on_command("boot_id", Answer::Disconnect);
        guest.on_command("boot_id", Answer::code(1)).on_command("boot_id", Answer::stdout("two\n"));
        let ran = run("reboot", "", &guest).await;
        ran.result.unwrap();
        assert!(ran.said.contains(&"The guest has restarted: its boot id was one, now it is two".to_owned()));
    }

    #[tokio::test]
    async fn a_guest_that_stays_up_is_told() {
        let guest = FakeCommunicator::new();
        for _ in 0..10_000 {
            guest.on_command("my-id", Answer::stdout("one\n"));
        }
        let body = "boot_id_command = \"my-id\"\nreboot_command = \"my-reboot\"\nreboot_timeout = \"30ms\"";
        let error = run("reboot", body, &guest).await.result.unwrap_err().to_string();
        assert_eq!(error, "the guest did not restart within 30ms: its boot id is still one");
        assert!(guest.commands().contains(&"my-reboot".to_owned()));
    }

    #[tokio::test]
    async fn a_guest_that_tells_no_boot_id_or_may_not_restart_is_told() {
        let guest = FakeCommunicator::new();
        guest.on_command("boot_id", Answer::code(127));
        let error = run("reboot", "", &guest).await.result.unwrap_err().to_string();
        assert_eq!(error, "the guest does not tell its boot id: exit code 127");
        assert_eq!(guest.commands().len(), 1, "it was not restarted");
        guest.on_command("boot_id", Answer::stdout("one\n")).on_command("reboot", Answer::code(1));
        let error = run("reboot", "", &guest).await.result.unwrap_err().to_string();
        assert!(error.starts_with("the guest refused to restart: exit code 1"), "{error}");
    }
}
