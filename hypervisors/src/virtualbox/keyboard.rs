//! The guest's keyboard: scan codes in groups that fit into its queue.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::holdings::Holdings;
use crate::error::{KeyboardError, MachineError};
use crate::keyboard::{Key, KeyEvent, KeyPacing, Keyboard};

/// Most codes of one call: VirtualBox's keyboard loses what does not fit into its queue, of 32 codes. Packer's number.
const GROUP_CODES: usize = 25;

/// A machine's keyboard.
pub(super) struct VirtualBoxKeyboard {
    holdings: Arc<Holdings>,
    uuid: String,
    pacing: KeyPacing,
    /// Least time from one group to the next.
    interval: Duration,
    state: Mutex<State>,
}

struct State {
    held: Vec<Key>,
    not_before: Instant,
}

impl VirtualBoxKeyboard {
    pub(super) fn new(holdings: Arc<Holdings>, uuid: String, pacing: KeyPacing, interval: Duration) -> Self {
        let state = Mutex::new(State { held: Vec::new(), not_before: Instant::now() });
        Self { holdings, uuid, pacing, interval, state }
    }

    async fn type_all(&self, events: &[KeyEvent]) -> Result<(), KeyboardError> {
        let mut state = self.state.lock().await;
        for group in groups(events, self.pacing) {
            if !self.holdings.is_alive() {
                return Err(MachineError::Gone.into());
            }
            // The guest's reading cannot be seen, so it is given time; the call itself mostly takes longer.
            tokio::time::sleep_until(state.not_before).await;
            for event in group {
                state.held.retain(|key| *key != event.key);
                if event.down {
                    state.held.push(event.key);
                }
            }
            let mut call = vec!["controlvm".to_owned(), self.uuid.clone(), "keyboardputscancode".to_owned()];
            call.extend(codes(group).map(|code| format!("{code:02x}")));
            let begun = Instant::now();
            self.holdings.program.run(&call).await.map_err(|failure| self.error(failure.of_machine()))?;
            state.not_before = begun + self.interval_after(group);
        }
        Ok(())
    }

    fn error(&self, error: MachineError) -> MachineError {
        if self.holdings.is_alive() { error } else { MachineError::Gone }
    }

    fn interval_after(&self, group: &[KeyEvent]) -> Duration {
        match self.pacing {
            KeyPacing::Fixed { per_event } => {
                per_event.saturating_mul(u32::try_from(group.len()).unwrap_or(u32::MAX)).max(self.interval)
            }
            KeyPacing::Adaptive => self.interval,
        }
    }
}

fn codes(events: &[KeyEvent]) -> impl Iterator<Item = u8> {
    events.iter().flat_map(|event| event.key.scan_codes(event.down))
}

/// Cuts events into calls, each full but for a key that would not fit whole; single events for a fixed pace.
fn groups(events: &[KeyEvent], pacing: KeyPacing) -> Vec<&[KeyEvent]> {
    if matches!(pacing, KeyPacing::Fixed { .. }) {
        return events.chunks(1).collect();
    }
    let mut groups = Vec::new();
    // `whole`: the end of the last stroke that fits.
    let (mut start, mut whole, mut down) = (0, 0, 0_usize);
    for (index, event) in events.iter().enumerate() {
        if codes(&events[start..=index]).count() > GROUP_CODES {
            let end = if whole > start { whole } else { index };
            groups.push(&events[start..end]);
            start = end;
        }
        down = if event.down { down + 1 } else { down.saturating_sub(1) };
        if down == 0 {
            whole = index + 1;
        }
    }
    if start < events.len() {
        groups.push(&events[start..]);
    }
    groups
}

impl Keyboard for VirtualBoxKeyboard {
    fn press<'a>(&'a self, events: &'a [KeyEvent]) -> BoxFuture<'a, Result<(), KeyboardError>> {
        self.type_all(events).boxed()
    }

    fn release_all(&self) -> BoxFuture<'_, Result<(), KeyboardError>> {
        async move {
            let held = self.state.lock().await.held.clone();
            let events: Vec<KeyEvent> = held.into_iter().rev().map(KeyEvent::up).collect();
            self.type_all(&events).await
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyboard::all_keys;

    #[test]
    fn groups_are_full_lose_nothing_and_split_no_stroke() {
        let text = "linux console=ttyS0 AUTO=\"http://10.0.2.2:8000/a.cfg\" <>|~ quiet\n".repeat(5);
        let events = KeyEvent::text(&text).unwrap();
        let cut = groups(&events, KeyPacing::Adaptive);
        assert_eq!(cut.concat(), events);
        for group in &cut {
            assert!(codes(group).count() <= GROUP_CODES);
            let downs = group.iter().filter(|event| event.down).count();
            assert_eq!(downs * 2, group.len(), "whole strokes only");
        }
        // No more calls than Packer, which cuts between keys, too, but not within one with Shift.
        let strokes: Vec<usize> = text
            .chars()
            .map(|c| {
                crate::keyboard::key_for_char(c)
                    .map_or(0, |(key, shift)| codes(&KeyEvent::stroke(key, shift).collect::<Vec<_>>()).count())
            })
            .collect();
        let (mut packers, mut filled) = (1, 0);
        for codes in strokes {
            if filled + codes > GROUP_CODES {
                (packers, filled) = (packers + 1, 0);
            }
            filled += codes;
        }
        assert!(cut.len() <= packers, "{} calls, Packer makes {packers}", cut.len());
    }

    #[test]
    fn keys_that_are_held_are_cut_where_they_must() {
        let mut events = vec![KeyEvent::down(Key::ControlRight)];
        events.extend(all_keys().flat_map(|key| KeyEvent::stroke(key, false)));
        let cut = groups(&events, KeyPacing::Adaptive);
        assert_eq!(cut.concat(), events);
        assert!(cut.iter().all(|group| !group.is_empty() && codes(group).count() <= GROUP_CODES));
        assert_eq!(groups(&events, KeyPacing::Fixed { per_event: Duration::ZERO }).len(), events.len());
        assert!(groups(&[], KeyPacing::Adaptive).is_empty());
    }

    #[test]
    fn codes_are_those_of_a_pc_keyboard() {
        let codes = |key| codes(&[KeyEvent::down(key), KeyEvent::up(key)]).collect::<Vec<_>>();
        assert_eq!(codes(Key::Enter), [0x1c, 0x9c]);
        assert_eq!(codes(Key::ArrowUp), [0xe0, 0x48, 0xe0, 0xc8]);
    }
}
