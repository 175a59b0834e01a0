//! What others wrote, made safe for a terminal: the one place through which all text for people goes.
//!
//! Guests, commands, servers and templates can put anything into a text. Line feeds and tabs pass, and so do colours (SGR,
//! `ESC [ … m`), which end with their line. Every other control is shown and not sent:
//!
//! ```text
//! C0 and DEL        ^[ ^H ^G ^?         also ESC of a sequence that is no SGR; its rest stands behind it as plain text
//! CR                nothing before a line feed, else ^M
//! C1, bidi, U+2028… \u{9b} \u{202e}
//! not UTF-8         \x9b
//! ```
//!
//! JSON keeps every byte and needs another way: [`json`] escapes in it what serde leaves as it is.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Longest SGR sequence that passes, in bytes; a longer one is shown.
const MAX_SGR: usize = 64;

/// Ends all colours.
const RESET: &[u8] = b"\x1b[0m";

/// What passes besides printable characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Colours pass; otherwise they are left out.
    pub colours: bool,
    /// The terminal reads no UTF-8: bytes above 0x7f mean something else to it, perhaps a control.
    pub ascii: bool,
}

impl Rules {
    /// Colours and all of Unicode.
    pub const ALL: Self = Self { colours: true, ascii: false };
}

/// What has begun and is not yet decided; it may go on in the next piece of the text.
#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    /// A carriage return that may stand before a line feed.
    Return,
    /// `ESC`, or `ESC [` and parameters; in `pending`.
    Escape,
    /// The beginning of a character; in `pending`.
    Character,
}

/// Makes a text visible piece by piece. A sequence may be cut anywhere.
#[derive(Debug)]
pub struct Filter {
    rules: Rules,
    state: State,
    pending: Vec<u8>,
    /// Whether a colour is on.
    coloured: bool,
}

impl Filter {
    /// Begins a text.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, state: State::Ground, pending: Vec::new(), coloured: false }
    }

    /// Takes a piece and adds what can be shown of it already.
    pub fn push(&mut self, bytes: &[u8], output: &mut Vec<u8>) {
        output.reserve(bytes.len());
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            // Most of every text is this, and passes as it is.
            let plain =
                if self.state == State::Ground { rest.iter().take_while(|&&byte| is_plain(byte)).count() } else { 0 };
            if plain > 0 {
                output.extend_from_slice(&rest[..plain]);
                rest = &rest[plain..];
            } else {
                self.take(first, output);
                rest = &rest[1..];
            }
        }
    }

    /// Ends the text: shows what was cut off, and ends colours.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        self.give_up(output);
        if std::mem::take(&mut self.coloured) {
            output.extend_from_slice(RESET);
        }
    }

    fn take(&mut self, byte: u8, output: &mut Vec<u8>) {
        match self.state {
            State::Ground => self.take_first(byte, output),
            State::Return => {
                if byte != b'\n' {
                    output.extend_from_slice(b"^M");
                }
                self.state = State::Ground;
                self.take_first(byte, output);
            }
            State::Escape => match (self.pending.len(), byte) {
                (1, b'[') => self.pending.push(byte),
                (2..MAX_SGR, b'0'..=b'9' | b';' | b':') => self.pending.push(byte),
                (2.., b'm') => self.colour(output),
                _ => {
                    self.give_up(output);
                    self.take_first(byte, output);
                }
            },
            State::Character => {
                self.pending.push(byte);
                match std::str::from_utf8(&self.pending) {
                    Ok(text) => {
                        text.chars().for_each(|character| push_character(character, self.rules, output));
                        self.pending.clear();
                        self.state = State::Ground;
                    }
                    Err(error) if error.error_len().is_none() => {}
                    Err(_) => {
                        // The byte belongs to something else.
                        self.pending.pop();
                        self.give_up(output);
                        self.take_first(byte, output);
                    }
                }
            }
        }
    }

    fn take_first(&mut self, byte: u8, output: &mut Vec<u8>) {
        match byte {
            b'\n' => {
                if std::mem::take(&mut self.coloured) {
                    output.extend_from_slice(RESET);
                }
                output.push(byte);
            }
            _ if is_plain(byte) => output.push(byte),
            b'\r' => self.state = State::Return,
            0x1b => self.begin(State::Escape, byte),
            0xc2..=0xf4 => self.begin(State::Character, byte),
            _ => push_byte(byte, output),
        }
    }

    fn begin(&mut self, state: State, byte: u8) {
        self.state = state;
        self.pending.push(byte);
    }

    /// Passes the SGR sequence that is now whole.
    fn colour(&mut self, output: &mut Vec<u8>) {
        if self.rules.colours {
            output.extend_from_slice(&self.pending);
            output.push(b'm');
            // `ESC [ m` and `ESC [ 0 m` end colours. Others may do so too; then one more end does no harm.
            self.coloured = self.pending[2..].iter().any(|&byte| byte != b'0');
        }
        self.pending.clear();
        self.state = State::Ground;
    }

    /// Shows what has begun as the bytes that it is.
    fn give_up(&mut self, output: &mut Vec<u8>) {
        if self.state == State::Return {
            output.extend_from_slice(b"^M");
        }
        for byte in self.pending.drain(..) {
            push_byte(byte, output);
        }
        self.state = State::Ground;
    }
}

/// Whether the byte is shown as it is, wherever it stands outside of a sequence.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~')
}

fn push_byte(byte: u8, output: &mut Vec<u8>) {
    match byte {
        b' '..=b'~' => output.push(byte),
        0..=0x1f | 0x7f => output.extend_from_slice(&[b'^', byte ^ 0x40]),
        _ => output.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
    }
}

fn push_character(character: char, rules: Rules, output: &mut Vec<u8>) {
    if rules.ascii || is_control(character) {
        output.extend_from_slice(character.escape_unicode().to_string().as_bytes());
    } else {
        output.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// Characters above ASCII that steer a terminal, turn the reading direction, or break lines without being line feeds.
fn is_control(character: char) -> bool {
    matches!(
        character,
        '\u{80}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// An output for people: everything that is written to it is made visible.
#[derive(Debug)]
pub struct Visible<W: Write> {
    output: W,
    filter: Filter,
    buffer: Vec<u8>,
}

impl<W: Write> Visible<W> {
    /// Puts itself before an output.
    pub fn new(output: W, rules: Rules) -> Self {
        Self { output, filter: Filter::new(rules), buffer: Vec::new() }
    }
}

impl<W: Write> Write for Visible<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.clear();
        self.filter.push(bytes, &mut self.buffer);
        self.output.write_all(&self.buffer)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

impl<W: Write> Drop for Visible<W> {
    fn drop(&mut self) {
        self.buffer.clear();
        self.filter.finish(&mut self.buffer);
        // Nobody is left to tell when the terminal is gone.
        let _ = self.output.write_all(&self.buffer);
    }
}

/// Returns a name for one line: no colours either, and line feeds and tabs are shown.
#[must_use]
pub fn name(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|character| character.is_control() || is_control(character)) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\0'..='\x1f' | '\x7f' => shown.extend(['^', char::from(character as u8 ^ 0x40)]),
            _ if is_control(character) => shown.extend(character.escape_unicode()),
            _ => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// Escapes in a JSON text what JSON allows and a terminal obeys. The value stays the same.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    let obeyed = |character: char| character == '\x7f' || is_control(character);
    if !text.chars().any(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if obeyed(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a text cannot fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests;
