//! Boot commands: Packer's `<enter><wait5s>text` notation, parsed into what to press and when to wait.

use std::time::Duration;

use kiln_template::parse_go_duration;

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

/// Says what is wrong with a boot command, and at which byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("boot command: <{tag}> {problem}")]
pub(crate) struct BootCommandError {
    pub(crate) offset: usize,
    pub(crate) tag: String,
    pub(crate) problem: &'static str,
}

/// Longest `<…>` that is looked at; what is longer is text.
const LONGEST_TAG: usize = 256;

/// Parses a rendered boot command. What is not a known `<…>` form is typed as it stands, as in Packer.
///
/// # Errors
///
/// A wait that is negative or longer than Go's durations.
pub(crate) fn parse(text: &str) -> Result<Vec<BootAction>, BootCommandError> {
    Ok(parse_places(text)?.into_iter().map(|(_, action)| action).collect())
}

/// As [`parse`], each action with the byte where it is written.
///
/// # Errors
///
/// As [`parse`].
pub(crate) fn parse_places(text: &str) -> Result<Vec<(usize, BootAction)>, BootCommandError> {
    let mut actions = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let offset = text.len() - rest.len();
        let (action, length) = if let Some(tag) = tag_of(rest)
            && let Some(action) = parse_tag(tag).map_err(|problem| problem.at(offset, tag))?
        {
            (action, tag.len() + 2)
        } else if let Some(held) = parse_held_bracket(rest) {
            // `<>On>` and `<>Off>` hold the key `>` itself, which cuts the tag short.
            held
        } else {
            (BootAction::Character(first, Stroke::Press), first.len_utf8())
        };
        actions.push((offset, action));
        rest = &rest[length..];
    }
    Ok(actions)
}

/// What is written like a form but is none, and so is typed as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnknownForm<'t> {
    /// The byte where it begins.
    pub(crate) offset: usize,
    /// All of it, with its brackets: `<bogus>`, `<wait 5>`, `<wait5` without an end.
    pub(crate) text: &'t str,
    /// The form that it would be without its blanks, or with its end.
    pub(crate) meant: Option<String>,
}

/// Returns all of them, in order.
pub(crate) fn unknown_forms<'t>(text: &'t str, actions: &[(usize, BootAction)]) -> Vec<UnknownForm<'t>> {
    let typed = actions.iter().filter(|(_, action)| *action == BootAction::Character('<', Stroke::Press));
    typed.filter_map(|(offset, _)| unknown_form(text, *offset)).collect()
}

fn unknown_form(text: &str, offset: usize) -> Option<UnknownForm<'_>> {
    let rest = &text[offset..];
    let found = |length: usize, meant| Some(UnknownForm { offset, text: &rest[..length], meant });
    if let Some(tag) = tag_of(rest) {
        if tag.starts_with(|c: char| c.is_ascii_alphabetic()) && tag.chars().all(belongs_to_form) {
            return found(tag.len() + 2, None);
        }
        let joined: String = tag.chars().filter(|c| !matches!(c, ' ' | '\t')).collect();
        if joined.len() < tag.len() && is_named(&joined) {
            return found(tag.len() + 2, Some(format!("<{joined}>")));
        }
    }
    // Without its end: nothing follows, or the next form does. A wait is one whatever follows.
    let inner = &rest[1..];
    let length = inner.find(|c| !belongs_to_form(c)).unwrap_or(inner.len());
    let (tag, after) = inner.split_at(length);
    let ends = after.is_empty() || after.starts_with('<') || tag.starts_with("wait");
    if ends && is_named(tag) { found(1 + length, Some(format!("<{tag}>"))) } else { None }
}

fn belongs_to_form(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '+' | '-' | '_')
}

/// Reports whether a tag is a wait or a key with a name.
fn is_named(tag: &str) -> bool {
    match parse_tag(tag) {
        Ok(action) => matches!(action, Some(BootAction::Wait(_) | BootAction::Special(..))),
        Err(_) => true,
    }
}

/// What stands between `<` at the start and the next `>`.
fn tag_of(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('<')?;
    let close = inner.bytes().take(LONGEST_TAG).position(|byte| byte == b'>')?;
    Some(&inner[..close])
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

fn parse_tag(tag: &str) -> Result<Option<BootAction>, WaitProblem> {
    if let Some(amount) = tag.strip_prefix("wait") {
        return Ok(parse_wait(amount)?.map(BootAction::Wait));
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

/// Why a wait that is written as one cannot be waited.
struct WaitProblem(&'static str);

impl WaitProblem {
    fn at(self, offset: usize, tag: &str) -> BootCommandError {
        BootCommandError { offset, tag: tag.to_owned(), problem: self.0 }
    }
}

/// Reads what follows `wait`: nothing, whole seconds, or numbers with units. Numbers have neither `+` nor zeros in front,
/// and digits on both sides of a point; all else is no wait, but text.
fn parse_wait(amount: &str) -> Result<Option<Duration>, WaitProblem> {
    const TOO_LONG: WaitProblem = WaitProblem("is longer than can be waited");
    if amount.is_empty() {
        return Ok(Some(Duration::from_secs(1)));
    }
    if whole_number(amount) == Some("") {
        let seconds = amount.parse().map_err(|_| TOO_LONG)?;
        let longest = i64::MAX.unsigned_abs() / 1_000_000_000;
        return if seconds <= longest { Ok(Some(Duration::from_secs(seconds))) } else { Err(TOO_LONG) };
    }
    let mut rest = amount;
    while !rest.is_empty() {
        let Some(after) = number_with_unit(rest) else { return Ok(None) };
        rest = after;
    }
    let (negative, magnitude) = amount.strip_prefix('-').map_or((false, amount), |magnitude| (true, magnitude));
    if magnitude.contains('-') {
        return Err(WaitProblem("has a sign in its middle"));
    }
    let duration = parse_go_duration(magnitude).map_err(|_| TOO_LONG)?.unsigned_abs();
    if negative && !duration.is_zero() {
        return Err(WaitProblem("waits for less than nothing; expecting a positive wait value"));
    }
    Ok(Some(duration))
}

/// Returns what follows a whole number: `0`, or digits that begin with another.
fn whole_number(text: &str) -> Option<&str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    match text.as_bytes() {
        [b'0', ..] => Some(&text[1..]),
        _ if digits > 0 => Some(&text[digits..]),
        _ => None,
    }
}

fn number_with_unit(text: &str) -> Option<&str> {
    let mut rest = whole_number(text.strip_prefix('-').unwrap_or(text))?;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        rest = fraction.get(digits..).filter(|_| digits > 0)?;
    }
    // Those of two letters first: `ms` is no minute.
    ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].iter().find_map(|unit| rest.strip_prefix(unit))
}

fn special(name: &str) -> Option<&'static str> {
    SPECIAL_KEYS.iter().copied().find(|key| key.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests;
