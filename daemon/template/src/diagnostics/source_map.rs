//! Owns the texts that were read and the places inside them: [`Span`], [`SourceMap`].

use std::borrow::Cow;
use std::sync::Arc;

use super::redact::Redactor;

use serde::{Deserialize, Serialize};

/// Names one text of a [`SourceMap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileId(u32);

/// A range of bytes of one source text, half open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// The text the bytes belong to.
    pub file: FileId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte; equal to `start` for a place between two bytes.
    pub end: u32,
}

impl Span {
    /// Returns the smallest span that holds both; `other` must be of the same file.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { file: self.file, start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Returns the empty span at the end of this one.
    #[must_use]
    pub fn after(self) -> Self {
        Self { start: self.end, ..self }
    }

    /// Returns the empty span at the start of this one.
    #[must_use]
    pub fn before(self) -> Self {
        Self { end: self.start, ..self }
    }

    /// Reports whether `other` lies within this span.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.file == other.file && self.start <= other.start && other.end <= self.end
    }
}

/// A place in a text as people count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in grapheme clusters, from 1.
    pub column: u32,
    /// Offset in bytes, from 0.
    pub byte: u32,
}

/// One text that was read.
#[derive(Debug, Clone)]
pub struct SourceFile {
    name: String,
    text: Arc<str>,
    line_starts: Vec<u32>,
    blocks: Vec<(Span, String)>,
    /// Places of sensitive values, which are never shown.
    hidden: Vec<Span>,
}

impl SourceFile {
    /// Returns the name shown to people: the path as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the whole text.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Returns the line numbered `line` (from 1) without its end-of-line bytes.
    #[must_use]
    pub fn line(&self, line: u32) -> &str {
        let index = line.saturating_sub(1) as usize;
        let Some(&start) = self.line_starts.get(index) else { return "" };
        let end = self.line_starts.get(index + 1).map_or(self.text.len(), |&next| next as usize);
        self.text.get(start as usize..end).unwrap_or_default().trim_end_matches(['\n', '\r'])
    }

    /// Returns a line as it may be shown: each byte of a sensitive value is a star, so that columns stay what they are.
    pub(crate) fn shown_line(&self, line: u32) -> Cow<'_, str> {
        let text = self.line(line);
        let start = self.line_start(line);
        let end = start + to_u32(text.len());
        let mut shown = Cow::Borrowed(text);
        for hidden in self.hidden.iter().filter(|hidden| hidden.start < end && start < hidden.end) {
            let from = (hidden.start.max(start) - start) as usize;
            let to = (hidden.end.min(end) - start) as usize;
            if shown.is_char_boundary(from) && shown.is_char_boundary(to) {
                shown.to_mut().replace_range(from..to, &"*".repeat(to - from));
            }
        }
        shown
    }

    /// Returns the offset of the first byte of a line (from 1).
    #[must_use]
    pub fn line_start(&self, line: u32) -> u32 {
        self.line_starts.get(line.saturating_sub(1) as usize).copied().unwrap_or(0)
    }

    /// Returns where a byte stands.
    #[must_use]
    pub fn position(&self, byte: u32) -> Position {
        let byte = byte.min(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        let line = self.line_starts.partition_point(|&start| start <= byte);
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start as usize..byte as usize).unwrap_or_default();
        // Nothing of a line joins in ASCII: a generated text may be one line of many megabytes.
        let column = if before.is_ascii() {
            before.len()
        } else {
            unicode_segmentation::UnicodeSegmentation::graphemes(before, true).count()
        };
        Position { line: to_u32(line), column: to_u32(column + 1), byte }
    }
}

/// All texts of one load: template files, variable files, command-line values.
#[derive(Debug, Clone, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
    /// Hides what diagnostics must not show of these texts, and of values made from them.
    redactor: Redactor,
}

impl SourceMap {
    /// Returns a map without texts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hides here what is hidden there.
    pub(crate) fn share_redactor(&mut self, redactor: &Redactor) {
        self.redactor = redactor.clone();
    }

    /// Keeps `secrets` out of every diagnostic that is shown with these texts.
    pub(crate) fn hide_texts(&self, secrets: &[String]) {
        self.redactor.add_all(secrets.iter().map(String::as_str));
    }

    /// Returns what hides secrets in everything that is said of these texts; it learns of those that are computed later.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Replaces what is hidden in `text`.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.redactor.redact(text)
    }

    /// Adds a text under the name people know it by.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> FileId {
        let text = text.into();
        let mut line_starts = vec![0];
        line_starts.extend(text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| to_u32(at + 1)));
        self.files.push(SourceFile { name: name.into(), text, line_starts, blocks: Vec::new(), hidden: Vec::new() });
        FileId(to_u32(self.files.len() - 1))
    }

    /// Returns a text, if the name is of this map.
    #[must_use]
    pub fn get(&self, file: FileId) -> Option<&SourceFile> {
        self.files.get(file.0 as usize)
    }

    /// Returns all texts in the order they were read.
    pub fn files(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        self.files.iter().enumerate().map(|(index, file)| (FileId(to_u32(index)), file))
    }

    /// Returns the text a span covers; empty when the span is not of this map.
    #[must_use]
    pub fn text(&self, span: Span) -> &str {
        self.get(span.file).and_then(|file| file.text.get(span.start as usize..span.end as usize)).unwrap_or_default()
    }

    /// Keeps a sensitive value out of every excerpt.
    pub(crate) fn hide(&mut self, span: Span) {
        if let Some(file) = self.files.get_mut(span.file.0 as usize) {
            file.hidden.push(span);
        }
    }

    /// Remembers that a block with this header covers `span`, so that diagnostics can say `in source "qemu" "web"`.
    pub(crate) fn add_block(&mut self, span: Span, header: String) {
        if let Some(file) = self.files.get_mut(span.file.0 as usize) {
            file.blocks.push((span, header));
        }
    }

    /// Returns the headers of the blocks around a place, outermost first.
    #[must_use]
    pub fn blocks_around(&self, span: Span) -> Vec<&str> {
        let Some(file) = self.get(span.file) else { return Vec::new() };
        let mut around: Vec<_> = file.blocks.iter().filter(|(block, _)| block.contains(span)).collect();
        around.sort_by_key(|(block, _)| (block.start, std::cmp::Reverse(block.end)));
        around.into_iter().map(|(_, header)| header.as_str()).collect()
    }
}

/// Converts a length; texts over 4 GiB are refused before they get here.
fn to_u32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_segmentation::UnicodeSegmentation as _;

    use super::*;

    proptest! {
        /// Lines and columns are those that people count, also where they are not counted one by one.
        #[test]
        fn positions_are_as_people_count(text in "[a-z\t\r\n \u{301}é\u{1f469}\u{200d}]{0,60}") {
            let mut sources = SourceMap::new();
            let file = sources.add("t", text.as_str());
            let source = sources.get(file).unwrap();
            for (byte, _) in text.char_indices().chain([(text.len(), ' ')]) {
                let before = &text[..byte];
                let line = before.matches('\n').count() + 1;
                let start = before.rfind('\n').map_or(0, |newline| newline + 1);
                let column = before[start..].graphemes(true).count() + 1;
                let at = source.position(to_u32(byte));
                prop_assert_eq!((at.line, at.column, at.byte), (to_u32(line), to_u32(column), to_u32(byte)));
            }
        }
    }
}
