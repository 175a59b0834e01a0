//! Owns the reading of CSV as Go does it, which refuses quotes in odd places.

use thiserror::Error;

/// A record that is no CSV.
#[derive(Debug, Error)]
#[error("line {line}, column {column}: {what}")]
pub(super) struct Malformed {
    line: usize,
    /// In bytes, from 1.
    column: usize,
    what: &'static str,
}

const BARE: &str =
    "a quote stands inside a field that does not begin with one; put the field in quotes and double the quote inside";
const AFTER: &str =
    "something other than a comma or the end of the line follows the closing quote; double a quote that is meant";
const UNCLOSED: &str = "the field that begins with a quote has no closing one";

/// The records of a text, one after the other.
pub(super) struct Records<'a> {
    rest: &'a str,
    /// The number of the line that was read last.
    read: usize,
    /// Where the record that was read last begins.
    record: usize,
}

impl<'a> Records<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, read: 0, record: 0 }
    }

    /// Returns the line on which the last record began.
    pub(super) fn line(&self) -> usize {
        self.record
    }

    /// Takes the next line: what it holds, and its end as it counts in a field.
    fn take_line(&mut self) -> Option<(&'a str, &'static str)> {
        if self.rest.is_empty() {
            return None;
        }
        self.read += 1;
        let (line, end) = match self.rest.split_once('\n') {
            Some((line, rest)) => {
                self.rest = rest;
                (line, "\n")
            }
            None => (std::mem::take(&mut self.rest), ""),
        };
        Some((line.strip_suffix('\r').unwrap_or(line), end))
    }

    /// Reads the next record; lines with nothing in them are skipped.
    pub(super) fn next(&mut self) -> Result<Option<Vec<String>>, Malformed> {
        let (mut line, mut end) = loop {
            match self.take_line() {
                None => return Ok(None),
                Some(("", _)) => {}
                Some(found) => break found,
            }
        };
        self.record = self.read;
        let mut fields = Vec::new();
        // The part of the line that is not read yet.
        let mut rest = line;
        loop {
            let Some(quoted) = rest.strip_prefix('"') else {
                let (field, after) = rest.split_once(',').map_or((rest, None), |(field, after)| (field, Some(after)));
                if let Some(at) = field.find('"') {
                    return Err(self.malformed(line.len() - rest.len() + at, BARE));
                }
                fields.push(field.to_owned());
                match after {
                    Some(after) => rest = after,
                    None => return Ok(Some(fields)),
                }
                continue;
            };
            let mut field = String::new();
            rest = quoted;
            loop {
                let Some((inside, after)) = rest.split_once('"') else {
                    field.push_str(rest);
                    field.push_str(end);
                    let Some(next) = self.take_line() else {
                        return Err(self.malformed(line.len(), UNCLOSED));
                    };
                    (line, end) = next;
                    rest = line;
                    continue;
                };
                field.push_str(inside);
                rest = after;
                match rest.strip_prefix('"') {
                    Some(after) => {
                        field.push('"');
                        rest = after;
                    }
                    None => break,
                }
            }
            fields.push(field);
            match rest.strip_prefix(',') {
                Some(after) => rest = after,
                None if rest.is_empty() => return Ok(Some(fields)),
                None => return Err(self.malformed(line.len() - rest.len(), AFTER)),
            }
        }
    }

    fn malformed(&self, at: usize, what: &'static str) -> Malformed {
        Malformed { line: self.read, column: at + 1, what }
    }
}
