//! The guest's keyboard, typed on as fast as the guest reads.
//!
//! A PS/2 keyboard's queue in QEMU has 16 bytes and loses what does not fit, and a BIOS keeps 15 keys and loses the rest. Both can be seen from outside: the
//! keyboard controller's status port says whether a byte waits to be read, and the BIOS keeps the two ends of its ring in
//! known memory. So each stroke is sent as one command (a host that is held up between press and release would make Linux repeat the key), and
//! the next one only when the guest has taken it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use qapi_qmp::{
    InputEvent, InputKeyEvent, InputKeyEventWrapper, KeyValue, QKeyCode, QKeyCodeWrapper, input_send_event,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::qmp::QmpClient;
use crate::error::{KeyboardError, MachineError};
use crate::keyboard::{Key, KeyEvent, KeyPacing, Keyboard};

/// Bytes in the queue of QEMU's PS/2 keyboard (`PS2_QUEUE_SIZE` in `hw/input/ps2.c`, the protocol's own limit).
const PS2_QUEUE_BYTES: usize = 16;

/// Status port of the keyboard controller, and its bit for "a byte waits to be read" (IBM PC/AT technical reference).
const CONTROLLER_STATUS_PORT: u16 = 0x64;
const OUTPUT_BUFFER_FULL: u8 = 1;

/// Where the BIOS keeps the head and the tail of its ring of keys, two bytes each, and the places they can have (BIOS data area, 40:1A).
const BIOS_RING_ENDS: u16 = 0x41a;
const BIOS_RING_PLACES: std::ops::RangeInclusive<u16> = 0x1e..=0x3c;
const BIOS_RING_BYTES: u16 = 0x20;

/// Keys in the BIOS's ring at which typing waits; it holds 15.
const BIOS_RING_ENOUGH: u16 = 8;

/// Least time between two strokes where the guest's reading can be seen: room for queues inside the guest that cannot be.
const STROKE_INTERVAL: Duration = Duration::from_millis(5);

/// Time after a key that makes the guest do something (Enter, Escape, cursor keys, …). A program that then throws away what was typed ahead, as `login` does
/// before it asks for the password, has done so; Packer leaves 200 ms between any two strokes.
const ACTION_INTERVAL: Duration = Duration::from_millis(200);

/// Time per event where the guest's reading cannot be seen. A USB keyboard is asked every 10 ms and queues 16 events.
const UNSEEN_EVENT_INTERVAL: Duration = Duration::from_millis(20);

/// How long the guest may leave keys unread: a kernel that starts takes seconds before it looks at its keyboard.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long each further stroke waits once the guest did not read within [`PATIENCE`]: Packer's pace.
const LITTLE_PATIENCE: Duration = Duration::from_millis(200);

/// First and longest pause between two looks at the controller. There is no event for "the guest has read a byte".
const LOOK_INTERVAL: (Duration, Duration) = (Duration::from_micros(250), Duration::from_millis(4));

/// What of the guest's reading can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wiring {
    /// A PS/2 keyboard; `bios`: also the BIOS's ring.
    Ps2 { bios: bool },
    /// Something else, as USB.
    Unseen,
}

/// A machine's keyboard.
pub(super) struct QemuKeyboard {
    qmp: Arc<QmpClient>,
    pacing: KeyPacing,
    wiring: Wiring,
    state: Mutex<State>,
}

struct State {
    held: Vec<Key>,
    not_before: Instant,
    patience: Duration,
}

impl QemuKeyboard {
    pub(super) fn new(qmp: Arc<QmpClient>, pacing: KeyPacing, wiring: Wiring) -> Self {
        let state = State { held: Vec::new(), not_before: Instant::now(), patience: PATIENCE };
        Self { qmp, pacing, wiring, state: Mutex::new(state) }
    }

    async fn type_all(&self, events: &[KeyEvent]) -> Result<(), KeyboardError> {
        let mut state = self.state.lock().await;
        for group in groups(events, self.pacing) {
            self.wait_until_read(&mut state).await?;
            tokio::time::sleep_until(state.not_before).await;
            for event in group {
                state.held.retain(|key| *key != event.key);
                if event.down {
                    state.held.push(event.key);
                }
            }
            let command = input_send_event { device: None, head: None, events: wire(group)? };
            self.qmp.run(command).await.map_err(KeyboardError::from)?;
            state.not_before = Instant::now() + self.interval(group);
        }
        self.wait_until_read(&mut state).await?;
        Ok(())
    }

    fn interval(&self, group: &[KeyEvent]) -> Duration {
        let count = u32::try_from(group.len()).unwrap_or(u32::MAX);
        let acts = group.iter().any(|event| !event.down && is_action(event.key));
        match (self.pacing, self.wiring) {
            (KeyPacing::Fixed { per_event }, _) => per_event.saturating_mul(count),
            (KeyPacing::Adaptive, _) if acts => ACTION_INTERVAL,
            (KeyPacing::Adaptive, Wiring::Ps2 { .. }) => STROKE_INTERVAL,
            (KeyPacing::Adaptive, Wiring::Unseen) => UNSEEN_EVENT_INTERVAL.saturating_mul(count),
        }
    }

    /// Waits until the guest has taken what was typed, but no longer than is sensible for a guest that reads no keyboard.
    async fn wait_until_read(&self, state: &mut State) -> Result<(), MachineError> {
        let Wiring::Ps2 { bios } = self.wiring else { return Ok(()) };
        let deadline = Instant::now() + state.patience;
        let mut pause = LOOK_INTERVAL.0;
        loop {
            let waiting = self.byte_waits().await? || (bios && self.keys_in_bios_ring().await? > BIOS_RING_ENOUGH);
            if !waiting {
                state.patience = PATIENCE;
                return Ok(());
            }
            if Instant::now() >= deadline {
                if state.patience == PATIENCE {
                    tracing::warn!(
                        "the guest has not read its keyboard for {} s; keys may get lost",
                        PATIENCE.as_secs()
                    );
                }
                state.patience = LITTLE_PATIENCE;
                return Ok(());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_INTERVAL.1);
        }
    }

    /// Tells whether the keyboard controller has a byte that the guest has not read. Looking has no effect on the guest.
    async fn byte_waits(&self) -> Result<bool, MachineError> {
        let answer = self.qmp.human(&format!("i /1xb {CONTROLLER_STATUS_PORT:#x}")).await?;
        Ok(last_number(&answer).is_some_and(|status| status != 0xff && status & u16::from(OUTPUT_BUFFER_FULL) != 0))
    }

    /// Number of keys that the BIOS has and nobody asked for yet; 0 when that memory holds something else.
    async fn keys_in_bios_ring(&self) -> Result<u16, MachineError> {
        let answer = self.qmp.human(&format!("xp /2hx {BIOS_RING_ENDS:#x}")).await?;
        Ok(ring_length(&answer).unwrap_or(0))
    }
}

/// Finds out what can be seen of a guest's keyboard; `usb`: it has one on USB, which QEMU prefers once the guest has found it.
pub(super) async fn wiring(qmp: &QmpClient, usb: bool, bios: bool) -> Result<Wiring, MachineError> {
    let devices = qmp.human("info qtree").await?;
    let has_controller = devices.lines().any(|line| {
        let line = line.trim_start();
        line.starts_with("dev: i8042,") || line.starts_with("dev: i8042-mmio,")
    });
    Ok(if has_controller && !usb { Wiring::Ps2 { bios } } else { Wiring::Unseen })
}

/// The last number of what `i` and `xp` print: `portb[0x0064] = 0x1c`.
fn last_number(answer: &str) -> Option<u16> {
    number(answer.split_whitespace().last()?)
}

fn number(word: &str) -> Option<u16> {
    u16::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

/// Reads `000000000000041a: 0x001e 0x0022`.
fn ring_length(answer: &str) -> Option<u16> {
    let mut words = answer.split_whitespace().skip(1).map(number);
    let (head, tail) = (words.next()??, words.next()??);
    let valid = |end: u16| BIOS_RING_PLACES.contains(&end) && end.is_multiple_of(2);
    (valid(head) && valid(tail)).then(|| (tail + BIOS_RING_BYTES - head) % BIOS_RING_BYTES / 2)
}

/// Tells whether a guest may do more on `key` than take a character.
fn is_action(key: Key) -> bool {
    let modifier = matches!(
        key,
        Key::ShiftLeft
            | Key::ShiftRight
            | Key::ControlLeft
            | Key::ControlRight
            | Key::AltLeft
            | Key::AltRight
            | Key::SuperLeft
            | Key::SuperRight
    );
    !modifier && key != Key::Space && key != Key::Backspace && !key.types_character()
}

/// Cuts events into commands: whole strokes, as far as they fit into the keyboard's queue; single events for a fixed pace.
fn groups(events: &[KeyEvent], pacing: KeyPacing) -> Vec<&[KeyEvent]> {
    if matches!(pacing, KeyPacing::Fixed { .. }) {
        return events.chunks(1).collect();
    }
    let mut groups = Vec::new();
    let (mut start, mut bytes, mut down) = (0, 0, 0_usize);
    for (index, event) in events.iter().enumerate() {
        let size = event.key.ps2_bytes(event.down);
        if bytes + size > PS2_QUEUE_BYTES {
            groups.push(&events[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += size;
        down = if event.down { down + 1 } else { down.saturating_sub(1) };
        // Nothing is down any more, or a key goes up that went down in an earlier call.
        if down == 0 {
            groups.push(&events[start..=index]);
            (start, bytes) = (index + 1, 0);
        }
    }
    if start < events.len() {
        groups.push(&events[start..]);
    }
    groups.retain(|group| !group.is_empty());
    groups
}

fn wire(events: &[KeyEvent]) -> Result<Vec<InputEvent>, MachineError> {
    let one = |event: &KeyEvent| {
        let code: QKeyCode = event.key.qcode().parse().map_err(|()| MachineError::Unexpected {
            command: "input-send-event".to_owned(),
            problem: format!("QEMU's schema has no key {:?}", event.key.qcode()),
        })?;
        let key = KeyValue::qcode(QKeyCodeWrapper { data: code });
        Ok(InputEvent::key(InputKeyEventWrapper { data: InputKeyEvent { down: event.down, key } }))
    };
    events.iter().map(one).collect()
}

impl Keyboard for QemuKeyboard {
    fn press<'a>(&'a self, events: &'a [KeyEvent]) -> BoxFuture<'a, Result<(), KeyboardError>> {
        self.type_all(events).boxed()
    }

    fn release_all(&self) -> BoxFuture<'_, Result<(), KeyboardError>> {
        async move {
            let held = self.state.lock().await.held.clone();
            let events: Vec<_> = held.into_iter().map(KeyEvent::up).collect();
            self.type_all(&events).await
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(events: &[KeyEvent], pacing: KeyPacing) -> Vec<usize> {
        groups(events, pacing).iter().map(|group| group.len()).collect()
    }

    #[test]
    fn strokes_stay_whole() {
        let events = KeyEvent::text("aB\n").unwrap();
        assert_eq!(sizes(&events, KeyPacing::Adaptive), [2, 4, 2]);
        let fixed = KeyPacing::Fixed { per_event: Duration::from_millis(1) };
        assert_eq!(sizes(&events, fixed), [1; 8]);
        assert_eq!(sizes(&[], KeyPacing::Adaptive), Vec::<usize>::new());
    }

    #[test]
    fn held_keys_make_groups_that_fit_the_queue() {
        let mut events = vec![KeyEvent::down(Key::ControlRight)];
        for _ in 0..40 {
            events.extend(KeyEvent::stroke(Key::Delete, false));
        }
        events.push(KeyEvent::up(Key::ControlRight));
        let groups = groups(&events, KeyPacing::Adaptive);
        assert_eq!(groups.concat(), events);
        for group in groups {
            let bytes: usize = group.iter().map(|event| event.key.ps2_bytes(event.down)).sum();
            assert!(bytes <= PS2_QUEUE_BYTES, "{bytes}");
        }
        // A release alone, of a key held since an earlier call.
        assert_eq!(sizes(&[KeyEvent::up(Key::A), KeyEvent::down(Key::B)], KeyPacing::Adaptive), [1, 1]);
    }

    #[test]
    fn every_key_is_one_of_qemus_schema() {
        for key in crate::keyboard::all_keys() {
            let sent = serde_json::to_value(wire(&[KeyEvent::down(key)]).unwrap()).unwrap();
            let code = serde_json::json!({ "type": "qcode", "data": key.qcode() });
            assert_eq!(sent, serde_json::json!([{ "type": "key", "data": { "down": true, "key": code } }]));
        }
    }

    #[test]
    fn reads_what_the_monitor_prints() {
        assert_eq!(last_number("portb[0x0064] = 0x1c\r\n"), Some(0x1c));
        assert_eq!(last_number("unknown command: 'i'"), None);
        let ring = |ends: &str| ring_length(&format!("000000000000041a: {ends}\r\n"));
        assert_eq!(ring("0x001e 0x001e"), Some(0));
        assert_eq!(ring("0x001e 0x0022"), Some(2));
        assert_eq!(ring("0x003c 0x001e"), Some(1));
        assert_eq!(ring("0x001e 0x003c"), Some(15));
        assert_eq!(ring("0x0000 0x0000"), None);
        assert_eq!(ring("0x001f 0x0022"), None);
        assert_eq!(ring("0xffff"), None);
    }

    #[test]
    fn keys_that_make_the_guest_act() {
        for key in [Key::Enter, Key::Escape, Key::Tab, Key::F10, Key::ArrowDown] {
            assert!(is_action(key), "{key:?}");
        }
        for key in [Key::A, Key::Space, Key::ShiftLeft, Key::Backspace, Key::Slash] {
            assert!(!is_action(key), "{key:?}");
        }
    }
}
