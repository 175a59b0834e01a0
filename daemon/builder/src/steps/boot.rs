//! Waits for the guest to start and types the boot command.

use std::time::Duration;

use kiln_hypervisors::{Key, KeyEvent, Keyboard, Machine, key_for_char};

use crate::boot_command::{self, BootAction, Stroke};
use crate::context::BuildContext;
use crate::error::StepError;
use crate::plan::BootPlan;
use kiln_template::GoDuration;

/// A wait in a boot command that nobody needs to be told of.
const SHORT_WAIT: Duration = Duration::from_secs(2);

/// Waits `boot_wait`, renders the commands and types them. Without any it is waited for only where `nothing_else_waits` for the guest: who
/// connects to it gains nothing from that.
pub(crate) async fn type_commands(
    plan: &BootPlan,
    nothing_else_waits: bool,
    machine: &dyn Machine,
    render: &(dyn Fn(&str) -> Result<String, StepError> + Send + Sync),
    context: &BuildContext,
) -> Result<(), StepError> {
    if plan.commands.is_empty() && !nothing_else_waits {
        return Ok(());
    }
    if !plan.wait.is_zero() {
        context.say(format!("Waiting {} for boot...", GoDuration(plan.wait)));
        let _wait = context.waiting("boot_wait", Some(plan.wait));
        tokio::time::sleep(plan.wait).await;
    }
    if plan.commands.is_empty() {
        return Ok(());
    }
    let keyboard = machine
        .keyboard()
        .ok_or_else(|| StepError::new("this hypervisor offers no keyboard to type the boot command on"))?;
    context.say("Typing the boot command...");
    for (command, description) in &plan.commands {
        if let Some(description) = description {
            context.say(format!("Typing boot command for: {description}"));
        }
        let text = render(command)?;
        let actions = boot_command::parse(&text).map_err(StepError::wrap)?;
        perform(&actions, keyboard, plan.key_interval, context).await?;
    }
    Ok(())
}

async fn perform(
    actions: &[BootAction],
    keyboard: &dyn Keyboard,
    interval: Option<Duration>,
    context: &BuildContext,
) -> Result<(), StepError> {
    let mut pending: Vec<KeyEvent> = Vec::new();
    for action in actions {
        match action {
            BootAction::Wait(duration) => {
                send(keyboard, &mut pending).await?;
                // Most waits are short, and there are many.
                let _wait = (*duration > SHORT_WAIT).then(|| context.waiting("boot command", Some(*duration)));
                tokio::time::sleep(*duration).await;
            }
            BootAction::Special(name, stroke) => strike(&mut pending, special_key(name)?, *stroke, false),
            BootAction::Character(character, stroke) => {
                let (key, shift) = key_for_char(*character).ok_or_else(|| {
                    StepError::new(format!("the boot command has {character:?}, which a US keyboard cannot type"))
                        .with_hint("boot commands are typed on a US keyboard; use a file on the HTTP server, a CD or a floppy for such text")
                })?;
                strike(&mut pending, key, *stroke, shift);
            }
        }
        // With an explicit interval every key is its own group, as the template's author expects. Otherwise a keyboard makes groups of what
        // it is given, the fewer the more that is, and a cancel comes between two of them.
        if let Some(interval) = interval {
            send(keyboard, &mut pending).await?;
            tokio::time::sleep(interval).await;
        }
    }
    send(keyboard, &mut pending).await
}

async fn send(keyboard: &dyn Keyboard, pending: &mut Vec<KeyEvent>) -> Result<(), StepError> {
    if pending.is_empty() {
        return Ok(());
    }
    keyboard.press(pending).await.map_err(StepError::wrap)?;
    pending.clear();
    Ok(())
}

fn strike(pending: &mut Vec<KeyEvent>, key: Key, stroke: Stroke, shift: bool) {
    let down = matches!(stroke, Stroke::Press | Stroke::On);
    let up = matches!(stroke, Stroke::Press | Stroke::Off);
    if shift && down {
        pending.push(KeyEvent { key: Key::ShiftLeft, down: true });
    }
    if down {
        pending.push(KeyEvent { key, down: true });
    }
    if up {
        pending.push(KeyEvent { key, down: false });
    }
    if shift && up {
        pending.push(KeyEvent { key: Key::ShiftLeft, down: false });
    }
}

fn special_key(name: &str) -> Result<Key, StepError> {
    Key::from_boot_command_name(name).ok_or_else(|| StepError::new(format!("there is no key named <{name}>")))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::BoxFuture;
    use kiln_hypervisors::KeyboardError;

    use super::*;
    use crate::steps::output_directory::tests::Job;

    /// A keyboard that notes how it is called.
    #[derive(Default)]
    struct Noting(Mutex<Vec<Vec<KeyEvent>>>);

    impl Keyboard for Noting {
        fn press<'a>(&'a self, events: &'a [KeyEvent]) -> BoxFuture<'a, Result<(), KeyboardError>> {
            self.0.lock().unwrap().push(events.to_vec());
            Box::pin(async { Ok(()) })
        }

        fn release_all(&self) -> BoxFuture<'_, Result<(), KeyboardError>> {
            Box::pin(async { Ok(()) })
        }
    }

    #[tokio::test]
    async fn the_keyboard_is_given_all_that_is_typed_between_two_waits() {
        let context = Job::new().context(false);
        let (text, keyboard) = ("abc ".repeat(200), Noting::default());
        let actions = boot_command::parse(&format!("{text}<enter><wait10ms>{text}")).unwrap();
        perform(&actions, &keyboard, None, &context).await.unwrap();
        let calls = keyboard.0.lock().unwrap().clone();
        assert_eq!(calls.iter().map(Vec::len).collect::<Vec<_>>(), [2 * text.len() + 2, 2 * text.len()]);
        assert_eq!(calls[1], KeyEvent::text(&text).unwrap());
        let slowly = Noting::default();
        perform(&boot_command::parse("ab").unwrap(), &slowly, Some(Duration::from_millis(1)), &context).await.unwrap();
        assert_eq!(slowly.0.lock().unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn every_special_key_is_on_the_keyboard() {
        for name in boot_command::SPECIAL_KEYS {
            assert!(special_key(name).is_ok(), "{name}");
        }
    }
}
