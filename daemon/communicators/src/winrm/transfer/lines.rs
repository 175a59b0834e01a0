//! The lines of a transfer: written into envelopes as large as the guest takes, and read from output as it comes.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::winrm::error::Attempt;
use crate::winrm::shell::Shell;
use crate::winrm::soap::request::ENVELOPE;

/// The longest line that is read: a file's bytes in Base64, as `send.ps1` cuts them, and more.
const MAX_LINE: usize = 1 << 20;

/// How much text one envelope of so many bytes can bring: it is in Base64 there.
fn text_in(envelope: usize) -> usize {
    envelope.saturating_sub(ENVELOPE) / 4 * 3
}

/// How many bytes of a file one envelope can bring: a line of Base64, which is in Base64 again.
pub(crate) fn room(envelope: usize) -> usize {
    (text_in(envelope).saturating_sub(2) / 4 * 3).max(3)
}

/// Lines on their way into the guest, collected until an envelope is full.
pub(super) struct Feed<'a> {
    shell: &'a Shell,
    limit: usize,
    text: String,
}

impl<'a> Feed<'a> {
    pub(super) fn new(shell: &'a Shell, envelope: usize) -> Self {
        Self { shell, limit: text_in(envelope), text: String::new() }
    }

    /// Makes room for a line.
    async fn fit(&mut self, length: usize) -> Result<(), Attempt> {
        if self.text.len() + length + 2 > self.limit { self.flush(false).await } else { Ok(()) }
    }

    /// Adds a line that begins with `sign` and names something below the destination.
    pub(super) async fn name(&mut self, sign: char, name: &str) -> Result<(), Attempt> {
        let encoded = STANDARD.encode(name);
        self.fit(encoded.len() + 1).await?;
        let _ = write!(self.text, "{sign}{encoded}\r\n");
        Ok(())
    }

    /// Adds a line of a file's bytes.
    pub(super) async fn bytes(&mut self, bytes: &[u8]) -> Result<(), Attempt> {
        self.fit(bytes.len().div_ceil(3) * 4).await?;
        STANDARD.encode_string(bytes, &mut self.text);
        self.text.push_str("\r\n");
        Ok(())
    }

    /// Adds the line that ends a file.
    pub(super) async fn sum(&mut self, size: u64, hash: &str) -> Result<(), Attempt> {
        self.fit(100).await?;
        let _ = write!(self.text, "={size} {hash}\r\n");
        Ok(())
    }

    /// Sends what there is; `end`: nothing follows.
    pub(super) async fn flush(&mut self, end: bool) -> Result<(), Attempt> {
        if self.text.is_empty() && !end {
            return Ok(());
        }
        let encoded = STANDARD.encode(&self.text);
        self.text.clear();
        self.shell.send(&encoded, end).await
    }
}

/// Cuts output into lines.
#[derive(Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes a piece and returns the lines that it ends; nothing when a line grows too long.
    pub(super) fn take(&mut self, piece: &[u8]) -> Option<Vec<String>> {
        self.begun.extend_from_slice(piece);
        let mut lines = Vec::new();
        let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') else {
            return (self.begun.len() <= MAX_LINE).then_some(lines);
        };
        let rest = self.begun.split_off(end + 1);
        let whole = std::mem::replace(&mut self.begun, rest);
        for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            lines.push(String::from_utf8_lossy(line).into_owned());
        }
        (self.begun.len() <= MAX_LINE).then_some(lines)
    }
}

/// A SHA-256 as both scripts write it.
pub(super) fn hex(hash: &[u8]) -> String {
    hash.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_line_fits_its_envelope() {
        for envelope in [8 << 10, 150 << 10, 500 << 10, 1 << 20] {
            let line = room(envelope).div_ceil(3) * 4 + 2;
            assert!(line <= text_in(envelope) && line.div_ceil(3) * 4 + ENVELOPE <= envelope + 4, "{envelope}");
            assert_eq!(room(envelope) % 3, 0);
        }
        assert_eq!(room(0), 3);
    }

    #[test]
    fn lines_come_in_any_pieces() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"ab"), Some(vec![]));
        assert_eq!(lines.take(b"c\r\nd\n\ne"), Some(vec!["abc".to_owned(), "d".to_owned()]));
        assert_eq!(lines.take(b"\n"), Some(vec!["e".to_owned()]));
        assert_eq!(lines.take(&vec![b'x'; MAX_LINE + 1]), None);
    }
}
