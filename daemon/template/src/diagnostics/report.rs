//! Owns the face of a diagnostic for programs: [`Report`], whose JSON form is stable. Fields may be added, none changes.

use serde::{Deserialize, Serialize};

use super::render::{MAX_EXCERPT_LINES, told};
use super::{Diagnostic, Severity};
use crate::source_map::{Position, SourceFile, SourceMap, Span};
use crate::suggest::suggested;

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
    /// Its text without line end.
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
    (first..=last).map(|line| ExcerptLine { line, text: sources.redact(&file.shown_line(line)) }).collect()
}
