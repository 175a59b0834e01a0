//! Owns the face of a diagnostic for people: text with an excerpt.

use std::fmt::Write as _;

use unicode_segmentation::UnicodeSegmentation as _;

use super::diagnostic::{Diagnostic, Severity};
use super::source_map::{SourceFile, SourceMap, Span};

/// Lines of an excerpt shown at most; the rest is elided.
pub(super) const MAX_EXCERPT_LINES: u32 = 6;
/// Grapheme clusters of one excerpt line shown at most.
const MAX_EXCERPT_WIDTH: usize = 160;

/// Characters of a text of a diagnostic that are shown; what is quoted from a template has no limit of its own.
const MAX_TEXT: usize = 2000;

/// Hides secrets in a text of a diagnostic and then cuts the middle of a very long one: a secret that is cut would not be found.
pub(super) fn told(text: &str, sources: &SourceMap) -> String {
    let clean = sources.redact(text);
    if clean.len() <= MAX_TEXT {
        return clean;
    }
    let ends = clean.char_indices().nth(MAX_TEXT / 5).zip(clean.char_indices().rev().nth(MAX_TEXT / 5));
    match ends {
        Some(((first, _), (last, _))) if first < last => format!("{} … {}", &clean[..first], &clean[last..]),
        _ => clean,
    }
}

/// How diagnostics are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether ANSI colours are used.
    pub colour: bool,
    /// Columns after which the detail is wrapped; 0 never wraps.
    pub width: usize,
}

impl Default for Style {
    /// Plain text of 80 columns, as Packer writes it.
    fn default() -> Self {
        Self { colour: false, width: 80 }
    }
}

impl Diagnostic {
    /// Returns the problem as text, in Packer's form: summary, place, excerpt, detail, hint.
    #[must_use]
    pub fn render(&self, sources: &SourceMap, style: &Style) -> String {
        render(self, sources, style)
    }
}

/// Writes one diagnostic, ending with an empty line.
pub(super) fn render(diagnostic: &Diagnostic, sources: &SourceMap, style: &Style) -> String {
    let paint = Paint { on: style.colour };
    let (word, colour) = match diagnostic.severity {
        Severity::Error => ("Error", "31"),
        Severity::Warning => ("Warning", "33"),
    };
    let mut out = format!("{}: {}\n\n", paint.bold(colour, word), paint.bold("", &told(&diagnostic.summary, sources)));
    let place = diagnostic.subject.and_then(|span| sources.get(span.file).map(|file| (span, file)));
    if let Some((span, file)) = place {
        let at = file.position(span.start);
        _ = write!(out, "  on {} line {}, column {}", file.name(), at.line, at.column);
        let blocks = sources.blocks_around(span);
        if !blocks.is_empty() {
            _ = write!(out, ", in {}", shortened(&blocks));
        }
        out.push_str(":\n");
        excerpt(&mut out, file, span, diagnostic.context, &paint, colour);
        if let Some(&(other, what)) = diagnostic.related.as_deref()
            && let Some(file) = sources.get(other.file)
        {
            _ = writeln!(out, "  {what}, on {} line {}:", file.name(), file.position(other.start).line);
            excerpt(&mut out, file, other, None, &paint, "36");
        }
        out.push('\n');
    }
    if !diagnostic.detail.is_empty() {
        out.push_str(&wrap(&told(&diagnostic.detail, sources), style.width));
        out.push('\n');
    }
    if let Some(hint) = &diagnostic.hint {
        _ = writeln!(
            out,
            "{}: {}",
            paint.bold("36", "hint"),
            wrap(&told(hint, sources), style.width.saturating_sub(6))
        );
    }
    if !diagnostic.detail.is_empty() || diagnostic.hint.is_some() {
        out.push('\n');
    }
    // The detail was cleaned before it was wrapped; this is for excerpts and hints.
    sources.redact(&out)
}

/// Names the blocks around a place; of many, only the outermost and the innermost.
fn shortened(blocks: &[&str]) -> String {
    match blocks {
        [first, second, .., last] if blocks.len() > 4 => format!("{first}, {second}, …, {last}"),
        _ => blocks.join(", "),
    }
}

/// Writes the lines of `span` (and a few of `context`) with carets under the exact bytes.
fn excerpt(out: &mut String, file: &SourceFile, span: Span, context: Option<Span>, paint: &Paint, colour: &str) {
    let first = file.position(span.start).line;
    let last = file.position(span.end.max(span.start + 1) - 1).line.max(first);
    let shown_first =
        context.map_or(first, |wide| file.position(wide.start).line.min(first)).max(first.saturating_sub(2));
    let shown_last = last.min(first + MAX_EXCERPT_LINES - 1);
    let digits = shown_last.to_string().len().max(3);
    for line in shown_first.max(1)..=shown_last {
        let whole = &*file.shown_line(line);
        // Of a line that is too long the part around the place is shown.
        let hidden = skipped_bytes(whole, if line == first { span.start - file.line_start(line) } else { 0 });
        let text = &whole[hidden as usize..];
        let line_start = file.line_start(line) + hidden;
        let shown = if hidden > 0 { format!("…{}", clipped(text)) } else { clipped(text) };
        _ = writeln!(out, "{}", format!("  {line:>digits$}: {shown}").trim_end());
        let from = span.start.max(line_start) - line_start;
        let to = (span.end.max(line_start) - line_start).min(u32::try_from(text.len()).unwrap_or(u32::MAX));
        if line < first || line > last || (from >= to && !(line == first && span.start == span.end)) {
            continue;
        }
        let from = (from as usize).min(text.len());
        let (before, rest) = text.split_at_checked(from).unwrap_or((text, ""));
        let within = rest.get(..(to as usize).saturating_sub(from)).unwrap_or(rest);
        let skipped = if line > first { within.len() - within.trim_start().len() } else { 0 };
        let mark = if hidden > 0 { " " } else { "" };
        let mut pad = String::new();
        push_blanks(&mut pad, &clipped(before));
        push_blanks(&mut pad, &within[..skipped]);
        let length = width(within[skipped..].trim_end()).max(1);
        if before.len() < MAX_EXCERPT_WIDTH || before.graphemes(true).nth(MAX_EXCERPT_WIDTH - 1).is_none() {
            let carets = "^".repeat(length.min(MAX_EXCERPT_WIDTH));
            _ = writeln!(out, "  {:>digits$}  {mark}{pad}{}", "", paint.bold(colour, &carets));
        }
    }
    if last > shown_last {
        _ = writeln!(out, "  {:>digits$}: …", "");
    }
}

/// Returns how many bytes of a long line are left out so that the byte at `offset` can be seen.
fn skipped_bytes(text: &str, offset: u32) -> u32 {
    let before = text.get(..offset as usize).unwrap_or(text);
    if before.len() < MAX_EXCERPT_WIDTH * 3 / 4 {
        return 0;
    }
    // From the place to the left, because the line may be very long.
    let starts = || before.grapheme_indices(true).rev().map(|(start, _)| start);
    let shown = starts().nth(MAX_EXCERPT_WIDTH * 3 / 4 - 1).and_then(|_| starts().nth(MAX_EXCERPT_WIDTH / 4 - 1));
    shown.and_then(|start| u32::try_from(start).ok()).unwrap_or(0)
}

/// Cuts a line that is too long to be shown, and hides bytes that would move the cursor.
fn clipped(text: &str) -> String {
    let end = if is_plain(text) {
        text.len().min(MAX_EXCERPT_WIDTH)
    } else {
        text.grapheme_indices(true).nth(MAX_EXCERPT_WIDTH).map_or(text.len(), |(start, _)| start)
    };
    text[..end].chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Whether each byte is a cluster, of one column. Most lines are; to find clusters in them takes longer than all else that is done here.
fn is_plain(text: &str) -> bool {
    text.is_ascii() && !text.as_bytes().contains(&b'\r')
}

/// Returns the terminal columns of a text.
fn width(text: &str) -> usize {
    if is_plain(text) { text.len() } else { text.graphemes(true).map(columns).sum() }
}

/// Adds as many blanks as the text has columns; tabs stay.
fn push_blanks(out: &mut String, text: &str) {
    if is_plain(text) {
        out.extend(text.bytes().map(|byte| if byte == b'\t' { '\t' } else { ' ' }));
        return;
    }
    for cluster in text.graphemes(true) {
        out.push_str(if cluster == "\t" { "\t" } else { &"  "[..columns(cluster)] });
    }
}

/// Returns the terminal columns of a cluster: 2 for East Asian wide and emoji, else 1.
fn columns(cluster: &str) -> usize {
    let first = cluster.chars().next().map_or(0, u32::from);
    let wide = matches!(first, 0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1f64f | 0x1f900..=0x1f9ff | 0x20000..=0x3fffd);
    if wide { 2 } else { 1 }
}

/// Wraps each paragraph at `width` columns; lines that start with a space are left alone.
fn wrap(text: &str, width: usize) -> String {
    if width == 0 {
        return text.to_owned();
    }
    let mut out = String::new();
    for (index, paragraph) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        if paragraph.starts_with([' ', '\t']) {
            out.push_str(paragraph);
            continue;
        }
        let mut column = 0;
        for word in paragraph.split(' ') {
            let length = word.chars().count();
            if column > 0 && column + 1 + length > width {
                out.push('\n');
                column = 0;
            } else if column > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += length;
        }
    }
    out
}

/// Wraps text in ANSI sequences, or not.
struct Paint {
    on: bool,
}

impl Paint {
    /// Returns bold text of a colour given as SGR number; empty for the terminal's own colour.
    fn bold(&self, colour: &str, text: &str) -> String {
        match (self.on, colour) {
            (false, _) => text.to_owned(),
            (true, "") => format!("\u{1b}[1m{text}\u{1b}[0m"),
            (true, colour) => format!("\u{1b}[1;{colour}m{text}\u{1b}[0m"),
        }
    }
}
