//! Keys and keyboards: the physical keys of a US keyboard under the names and numbers that hypervisors use for them.

mod table;

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::error::KeyboardError;
pub use table::Key;

/// A machine's keyboard.
pub trait Keyboard: Send + Sync {
    /// Presses and releases keys, in order, no faster than the guest takes them (see [`KeyPacing`]), and returns when the guest has taken the
    /// last one. Hand over a whole stretch of text at once: it is typed faster than key by key.
    ///
    /// Calls of several tasks do not mix: one waits for the other. If the future is dropped, the keys pressed so far stay as they
    /// are; keys held by this keyboard can be let go with [`release_all`](Self::release_all).
    ///
    /// # Errors
    ///
    /// The machine is gone or does not take keys.
    fn press<'a>(&'a self, events: &'a [KeyEvent]) -> BoxFuture<'a, Result<(), KeyboardError>>;

    /// Lets go of every key that is held down.
    ///
    /// # Errors
    ///
    /// As [`press`](Self::press).
    fn release_all(&self) -> BoxFuture<'_, Result<(), KeyboardError>>;
}

/// A key going down or up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyEvent {
    /// The key.
    pub key: Key,
    /// Down, or else up.
    pub down: bool,
}

impl KeyEvent {
    /// `key` going down.
    pub const fn down(key: Key) -> Self {
        Self { key, down: true }
    }

    /// `key` going up.
    pub const fn up(key: Key) -> Self {
        Self { key, down: false }
    }

    /// `key` pressed and released, with Shift held around it if `shift`.
    pub fn stroke(key: Key, shift: bool) -> impl Iterator<Item = Self> {
        let around = |event: Self| shift.then_some(event);
        [
            around(Self::down(Key::ShiftLeft)),
            Some(Self::down(key)),
            Some(Self::up(key)),
            around(Self::up(Key::ShiftLeft)),
        ]
        .into_iter()
        .flatten()
    }

    /// Everything needed to type `text`, or the first character that a US keyboard does not have.
    pub fn text(text: &str) -> Result<Vec<Self>, char> {
        let mut events = Vec::with_capacity(text.len() * 2);
        for character in text.chars() {
            let (key, shift) = key_for_char(character).ok_or(character)?;
            events.extend(Self::stroke(key, shift));
        }
        Ok(events)
    }
}

/// How fast keys are pressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyPacing {
    /// As fast as the guest reads them, watched on its keyboard controller; at a safe rate where that cannot be seen.
    #[default]
    Adaptive,
    /// A pause after each event, as Packer's `boot_key_interval`.
    Fixed {
        /// The pause. A character takes two events, one with Shift four.
        per_event: Duration,
    },
}

/// Finds the key that types `character` on a US keyboard, and whether Shift is held. Blank, tab (`\t`) and newline (`\n`, Enter) are included; Packer
/// types neither of the last two, so a boot command's literal ones should be left out by its caller.
pub fn key_for_char(character: char) -> Option<(Key, bool)> {
    match character {
        ' ' => Some((Key::Space, false)),
        '\t' => Some((Key::Tab, false)),
        '\n' => Some((Key::Enter, false)),
        _ => *BY_CHARACTER.get(usize::try_from(u32::from(character)).ok()?)?,
    }
}

/// The key of each ASCII character, and whether Shift is held.
static BY_CHARACTER: [Option<(Key, bool)>; 128] = by_character();

const fn by_character() -> [Option<(Key, bool)>; 128] {
    let mut keys = [None; 128];
    // A key that types it without Shift comes first.
    let (mut pass, mut index) = (0, 0);
    while pass < 2 {
        if let Some((plain, shifted)) = table::ALL[index].characters() {
            let place = if pass == 0 { plain } else { shifted } as usize;
            if keys[place].is_none() {
                keys[place] = Some((table::ALL[index], pass == 1));
            }
        }
        index += 1;
        if index == table::ALL.len() {
            (pass, index) = (pass + 1, 0);
        }
    }
    keys
}

/// Every key there is.
#[cfg(test)]
pub(crate) fn all_keys() -> impl Iterator<Item = Key> {
    table::ALL.iter().copied()
}

#[cfg(test)]
mod tests;
