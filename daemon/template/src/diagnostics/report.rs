//! Owns the face of a diagnostic for programs: [`Report`], whose JSON form is stable. Fields may be added, none changes.

use serde::{Deserialize, Serialize};

use super::diagnostic::{Diagnostic, Severity};
use super::render::{MAX_EXCERPT_LINES, told};
use super::source_map::{Position, SourceFile, SourceMap, Span};
use super::suggest::suggested;

/// Bytes before and behind a place that are reported of a very long line: a generated text may be one line of megabytes.
const AROUND: usize = 4096;

/// A diagnostic with its place spelled out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How bad it is: `error` or `warning`.
    pub severity: Severity,
    /// What is wrong, in a few words.
    pub summary: String,
    /// What is wrong, in sentences.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What the text at the place may have been meant to be, nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suggestions: Vec<String>,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<ReportRange>,
    /// A wider place that is worth showing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<ReportRange>,
    /// Another place that has to do with it, such as that of a first declaration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub related: Option<RelatedPlace>,
    /// The lines of the place, of which only the first few are given. Sensitive values are stars.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excerpt: Vec<ExcerptLine>,
    /// Headers of the blocks around the place, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<String>,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRange {
    /// Name of the file as it was given.
    pub file: String,
    /// First place.
    pub start: Position,
    /// Place after the last.
    pub end: Position,
}

impl ReportRange {
    fn new(span: Span, file: &SourceFile) -> Self {
        Self { file: file.name().to_owned(), start: file.position(span.start), end: file.position(span.end) }
    }
}

/// A place and what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelatedPlace {
    /// What is there, such as "first declared here".
    pub what: String,
    /// Where it is.
    pub range: ReportRange,
}

/// One line of the text around a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExcerptLine {
    /// Its number, from 1.
    pub line: u32,
    /// Its text without line end; of more than 8 KiB only the part around the place, with `…` for the rest.
    pub text: String,
}

impl Report {
    /// Spells out the place of a diagnostic.
    #[must_use]
    pub fn new(diagnostic: &Diagnostic, sources: &SourceMap) -> Self {
        let placed = |span: Option<Span>| span.and_then(|span| sources.get(span.file).map(|file| (span, file)));
        let place = placed(diagnostic.subject);
        Self {
            severity: diagnostic.severity,
            summary: told(&diagnostic.summary, sources),
            detail: told(&diagnostic.detail, sources),
            hint: diagnostic.hint.as_deref().map(|hint| told(hint, sources)),
            suggestions: diagnostic
                .hint
                .as_deref()
                .and_then(suggested)
                .into_iter()
                .map(|text| sources.redact(text))
                .collect(),
            range: place.map(|(span, file)| ReportRange::new(span, file)),
            context: placed(diagnostic.context).map(|(span, file)| ReportRange::new(span, file)),
            related: diagnostic.related.as_deref().and_then(|&(span, what)| {
                let file = sources.get(span.file)?;
                Some(RelatedPlace { what: what.to_owned(), range: ReportRange::new(span, file) })
            }),
            excerpt: place.map(|(span, file)| excerpt(span, file, sources)).unwrap_or_default(),
            blocks: place
                .map(|(span, _)| sources.blocks_around(span).into_iter().map(str::to_owned).collect())
                .unwrap_or_default(),
        }
    }
}

fn excerpt(span: Span, file: &SourceFile, sources: &SourceMap) -> Vec<ExcerptLine> {
    let first = file.position(span.start).line;
    let last = file.position(span.end.max(span.start + 1) - 1).line.clamp(first, first + MAX_EXCERPT_LINES - 1);
    (first..=last).map(|line| ExcerptLine { line, text: shown(line, span.start, file, sources) }).collect()
}

/// Returns a line without secrets, or of a very long one the part around a place, cut where no secret is cut.
fn shown(line: u32, place: u32, file: &SourceFile, sources: &SourceMap) -> String {
    let whole = file.shown_line(line);
    if whole.len() <= 2 * AROUND {
        return sources.redact(&whole);
    }
    let redactor = sources.redactor();
    let margin = AROUND + redactor.reach();
    let at = whole.floor_char_boundary(place.saturating_sub(file.line_start(line)) as usize);
    let from = whole.floor_char_boundary(at.saturating_sub(margin));
    let to = whole.floor_char_boundary(at.saturating_add(margin));
    let start = if at > AROUND { from + redactor.place_to_cut(&whole[from..at], at - from - AROUND) } else { 0 };
    let end = if whole.len() - at > AROUND { at + redactor.place_to_cut(&whole[at..to], AROUND) } else { whole.len() };
    let (before, after) = (if start > 0 { "…" } else { "" }, if end < whole.len() { "…" } else { "" });
    format!("{before}{}{after}", sources.redact(&whole[start..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports a place in a text of one line.
    fn excerpt_at(text: &str, start: usize, secrets: &[String]) -> (u32, String) {
        let mut sources = SourceMap::new();
        let file = sources.add("t.json", text);
        sources.hide_texts(secrets);
        let start = u32::try_from(start).unwrap();
        let report = Report::new(&Diagnostic::error("x", "y").at(Span { file, start, end: start + 1 }), &sources);
        (report.range.unwrap().start.column, report.excerpt[0].text.clone())
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_reported() {
        let text = format!("{}X{}", "a".repeat(1 << 20), "é".repeat(1 << 20));
        let (column, shown) = excerpt_at(&text, 1 << 20, &[]);
        assert_eq!(column, (1 << 20) + 1);
        assert!(shown.starts_with("…aaa") && shown.contains("aXé") && shown.ends_with("é…") && shown.len() < 9000);
        assert!(excerpt_at(&text, 0, &[]).1.starts_with("aaa") && excerpt_at(&text, 0, &[]).1.ends_with("a…"));
        assert!(excerpt_at(&text, text.len() - 2, &[]).1.ends_with("éé"));
        let short = "é".repeat(AROUND);
        assert_eq!(excerpt_at(&short, 4, &[]), (3, short.clone()));
    }

    #[test]
    fn no_secret_is_cut() {
        let secret = "s3cret-".repeat(40);
        for shift in 0..secret.len() {
            let text =
                format!("{}{secret}{}{secret}{}", "a".repeat(AROUND), "b".repeat(2 * AROUND - 140), "c".repeat(AROUND));
            let (_, shown) = excerpt_at(&text, 2 * AROUND + shift, std::slice::from_ref(&secret));
            assert!(!shown.contains("s3") && !shown.contains("ret-"), "{shift}: {shown}");
        }
    }
}
