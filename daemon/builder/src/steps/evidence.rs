//! What is shown when a guest cannot be reached: its screen, the end of its serial console, and what the network saw.

use std::path::PathBuf;

use kiln_hypervisors::Machine;

use crate::atomic_file;
use crate::context::BuildContext;
use crate::event::Event;
use crate::steps::sightings::Seen;

/// How much of the serial console is shown.
const SERIAL_TAIL: usize = 4 << 10;

/// At most this many of its lines.
const SERIAL_LINES: usize = 20;

/// Saves the guest's screen below the job's directory and says where.
pub(crate) async fn save_screen(machine: &dyn Machine, context: &BuildContext) -> Option<PathBuf> {
    let shot = match machine.screen()?.capture().await {
        Ok(shot) => shot,
        Err(error) => {
            context.error(format!("Cannot capture the guest's screen: {error}"));
            return None;
        }
    };
    let name = format!("{}-screen.png", context.build.replace('/', "_"));
    let path = context.settings.job_dir.join(name);
    if let Err(error) = atomic_file::write(&path, &shot.png, 0o600) {
        context.error(format!("Cannot save the guest's screen to {}: {error}", path.display()));
        return None;
    }
    context.emit(Event::ScreenSaved { build: context.build.to_string(), path: path.clone() });
    Some(path)
}

/// The last lines of the serial console, without control characters.
pub(crate) fn serial_tail(machine: &dyn Machine) -> Option<String> {
    let bytes = machine.serial_tail(SERIAL_TAIL);
    let text = printable(&String::from_utf8_lossy(&bytes));
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let tail = &lines[lines.len().saturating_sub(SERIAL_LINES)..];
    (!tail.is_empty()).then(|| tail.join("\n"))
}

/// Whether the end of the serial console says that the guest's kernel has crashed: Linux's words for it, which end its work.
fn kernel_crashed(machine: &dyn Machine) -> bool {
    let tail = String::from_utf8_lossy(&machine.serial_tail(SERIAL_TAIL)).into_owned();
    ["Kernel panic - not syncing", "end Kernel panic", "Oops: ", "BUG: unable to handle"]
        .iter()
        .any(|words| tail.contains(words))
}

/// Shows everything there is to see.
pub(crate) async fn show(machine: &dyn Machine, context: &BuildContext) {
    if kernel_crashed(machine) {
        context.sightings.note(Seen::KernelCrashed);
    }
    if let Some(told) = context.sightings.told() {
        context.error(told);
    }
    match save_screen(machine, context).await {
        Some(path) => context.error(format!("The guest's screen was saved to {}", path.display())),
        None => context.error("There is no picture of the guest's screen."),
    }
    match serial_tail(machine) {
        Some(tail) => context.error(format!("The last lines of the guest's serial console:\n{tail}")),
        None => context.error("The guest wrote nothing to its serial console."),
    }
}

/// Drops escape sequences and control characters: a guest must not drive the reader's terminal.
fn printable(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                if characters.next_if_eq(&'[').is_some() {
                    while characters.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {}
                } else {
                    characters.next();
                }
            }
            '\n' => result.push('\n'),
            '\t' => result.push(' '),
            control if control.is_control() => {}
            other => result.push(other),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn nothing_drives_the_terminal() {
        assert_eq!(printable("a\u{1b}[2J\u{1b}[1;31mred\u{1b}c\r\n\tb\u{7}\u{9b}"), "ared\n b");
        assert_eq!(printable("cut \u{1b}["), "cut ");
    }
}
