//! What is shown when a guest cannot be reached: its screen, the end of its serial console, and what the network saw.

use std::path::PathBuf;

use futures_util::FutureExt as _;
use kiln_hypervisors::{ExitReport, Machine};

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

/// Linux's words for a crash that ends its work.
const CRASHES: [&str; 5] = [
    "Kernel panic - not syncing: ",
    "---[ end Kernel panic - not syncing",
    "Oops: ",
    "Internal error: Oops",
    "BUG: unable to handle ",
];

/// Whether the end of the serial console says that the guest's kernel has crashed.
fn kernel_crashed(machine: &dyn Machine) -> bool {
    tells_crash(&String::from_utf8_lossy(&machine.serial_tail(SERIAL_TAIL)))
}

/// Whether one of the lines is the kernel's own word of a crash. Others may write of crashes, too.
fn tells_crash(serial: &str) -> bool {
    let is_told = |line: &str| {
        CRASHES.iter().any(|words| line.match_indices(words).any(|(at, _)| begins_kernel_message(&line[..at])))
    };
    serial.split(['\n', '\r']).any(is_told)
}

/// Whether a message of the kernel may follow `before` in its line: nothing, or its time stamp (and who speaks), which may come
/// behind a prompt.
fn begins_kernel_message(before: &str) -> bool {
    let before = before.trim();
    let Some((_, stamp)) = before.strip_suffix(']').and_then(|before| before.rsplit_once('[')) else {
        return before.is_empty();
    };
    let number = stamp.trim().trim_start_matches(['T', 'C']);
    !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// Whether there is a screen to look at: that of a machine that has ended is gone with it, that of one that only stopped is not.
fn has_screen(machine: &dyn Machine) -> bool {
    match machine.exited().now_or_never() {
        None | Some(ExitReport::InternalError { .. } | ExitReport::DiskError { .. } | ExitReport::GuestPanicked) => {
            true
        }
        Some(_) => false,
    }
}

/// Shows everything there is to see.
pub(crate) async fn show(machine: &dyn Machine, context: &BuildContext) {
    if kernel_crashed(machine) {
        context.sightings.note(Seen::KernelCrashed);
    }
    if let Some(told) = context.sightings.told() {
        context.error(told);
    }
    if has_screen(machine) {
        match save_screen(machine, context).await {
            Some(path) => context.error(format!("The guest's screen was saved to {}", path.display())),
            None => context.error("There is no picture of the guest's screen."),
        }
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
    use super::{printable, tells_crash};

    #[test]
    fn nothing_drives_the_terminal() {
        assert_eq!(printable("a\u{1b}[2J\u{1b}[1;31mred\u{1b}c\r\n\tb\u{7}\u{9b}"), "ared\n b");
        assert_eq!(printable("cut \u{1b}["), "cut ");
    }

    #[test]
    fn only_the_kernel_says_that_it_has_crashed() {
        for crash in [
            "Kernel panic - not syncing: Attempted to kill init!",
            "ready\r\n[    1.203412] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n",
            "guest login: [   33.504821] Kernel panic - not syncing: sysrq triggered crash",
            "[   33.5][  T412] Oops: 0002 [#1] PREEMPT SMP",
            "[   33.5] Oops: Oops: 0002 [#1]",
            "[    3.1] Internal error: Oops: 96000004 [#1] SMP",
            "[    9.9] BUG: unable to handle page fault for address: ffff",
            "[    9.9] ---[ end Kernel panic - not syncing: Fatal exception ]---",
        ] {
            assert!(tells_crash(crash), "{crash}");
        }
        for talk in [
            "",
            "tips: Kernel panic - not syncing is what Linux says when it crashes",
            "tips: Kernel panic - not syncing: what it means",
            "Kernel panic - not syncing",
            "[motd] Oops: read the manual",
            "[] Oops: x",
            "[   33.5] audit: Oops: no crash",
            "Whoops: nothing",
        ] {
            assert!(!tells_crash(talk), "{talk}");
        }
    }
}
