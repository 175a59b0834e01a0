//! Boot commands: Packer's `<enter><wait5s>text` notation, parsed into what to press and when to wait.

use std::time::Duration;

use crate::go_duration;

/// The special keys of the notation, spelled as templates spell them (compared without regard to case).
pub(crate) const SPECIAL_KEYS: [&str; 41] = [
    "bs",
    "del",
    "enter",
    "return",
    "esc",
    "tab",
    "up",
    "down",
    "left",
    "right",
    "spacebar",
    "insert",
    "home",
    "end",
    "pageup",
    "pagedown",
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "f6",
    "f7",
    "f8",
    "f9",
    "f10",
    "f11",
    "f12",
    "menu",
    "leftalt",
    "rightalt",
    "leftctrl",
    "rightctrl",
    "leftshift",
    "rightshift",
    "leftsuper",
    "rightsuper",
    "leftcommand",
    "rightcommand",
    "leftoption",
    "rightoption",
];

/// What happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stroke {
    /// Down and up.
    Press,
    /// Down only, until [`Stroke::Off`].
    On,
    /// Up.
    Off,
}

/// One element of a boot command, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BootAction {
    /// Nothing is typed for this long.
    Wait(Duration),
    /// A key that has a name; lower case, one of [`SPECIAL_KEYS`].
    Special(&'static str, Stroke),
    /// A character; Shift is added for those that need it on a US layout.
    Character(char, Stroke),
}

/// Says what is wrong with a boot command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BootCommandError {
    /// `<wait0>` and the like.
    #[error("boot command: <{0}> must wait for longer than nothing")]
    WaitNotPositive(String),
}

/// Parses a rendered boot command. What is not a known `<…>` form is typed as it stands, as in Packer.
///
/// # Errors
///
/// A wait that is not positive.
pub(crate) fn parse(text: &str) -> Result<Vec<BootAction>, BootCommandError> {
    let mut actions = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '<'
            && let Some(close) = rest[1..].find('>')
            && let Some(action) = parse_tag(&rest[1..=close])?
        {
            actions.push(action);
            rest = &rest[close + 2..];
            continue;
        }
        // `<>On>` and `<>Off>` hold the key `>` itself, which the search above cuts short.
        if let Some((action, length)) = parse_held_bracket(rest) {
            actions.push(action);
            rest = &rest[length..];
            continue;
        }
        actions.push(BootAction::Character(first, Stroke::Press));
        rest = &rest[first.len_utf8()..];
    }
    Ok(actions)
}

fn parse_held_bracket(text: &str) -> Option<(BootAction, usize)> {
    let tail = text.strip_prefix("<>")?;
    for (name, stroke) in [("on>", Stroke::On), ("off>", Stroke::Off)] {
        if tail.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) {
            return Some((BootAction::Character('>', stroke), 2 + name.len()));
        }
    }
    None
}

fn parse_tag(tag: &str) -> Result<Option<BootAction>, BootCommandError> {
    if let Some(amount) = tag.strip_prefix("wait") {
        return parse_wait(tag, amount);
    }
    if let Some(name) = special(tag) {
        return Ok(Some(BootAction::Special(name, Stroke::Press)));
    }
    for (suffix, stroke) in [("on", Stroke::On), ("off", Stroke::Off)] {
        let Some(split) = tag.len().checked_sub(suffix.len()) else { continue };
        if !tag.is_char_boundary(split) || !tag[split..].eq_ignore_ascii_case(suffix) {
            continue;
        }
        let key = &tag[..split];
        if let Some(name) = special(key) {
            return Ok(Some(BootAction::Special(name, stroke)));
        }
        let mut characters = key.chars();
        if let (Some(character), None) = (characters.next(), characters.next()) {
            return Ok(Some(BootAction::Character(character, stroke)));
        }
    }
    Ok(None)
}

fn parse_wait(tag: &str, amount: &str) -> Result<Option<BootAction>, BootCommandError> {
    let duration = if amount.is_empty() {
        Duration::from_secs(1)
    } else if let Ok(seconds) = amount.parse::<u64>() {
        Duration::from_secs(seconds)
    } else if amount.contains('-') && go_duration::parse(&amount.replace('-', "")).is_ok() {
        Duration::ZERO
    } else if let Ok(duration) = go_duration::parse(amount) {
        duration
    } else {
        return Ok(None);
    };
    if duration.is_zero() {
        return Err(BootCommandError::WaitNotPositive(tag.to_owned()));
    }
    Ok(Some(BootAction::Wait(duration)))
}

fn special(name: &str) -> Option<&'static str> {
    SPECIAL_KEYS.iter().copied().find(|key| key.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests;
