//! Owns what is told to people about their templates: [`Diagnostic`], [`Diagnostics`].

pub(crate) mod redact;
mod render;
mod report;
pub(crate) mod source_map;
pub(crate) mod suggest;

pub use render::Style;
pub use report::{ExcerptLine, RelatedPlace, Report, ReportRange};

use serde::{Deserialize, Serialize};

use crate::diagnostics::source_map::{SourceMap, Span};

/// How bad a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The template cannot be used.
    Error,
    /// The template can be used, but probably does not do what was meant.
    Warning,
}

/// One problem of a template, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in a few words, without a full stop.
    pub summary: String,
    /// What is wrong, in sentences; may be empty.
    pub detail: String,
    /// The exact bytes to point at.
    pub subject: Option<Span>,
    /// A wider range worth showing around the subject.
    pub context: Option<Span>,
    /// Another place that has to do with it, and what it is, such as "first declared here".
    pub related: Option<Box<(Span, &'static str)>>,
    /// What to do about it, as one sentence without a full stop.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Returns an error without a place.
    pub fn error(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            summary: summary.into(),
            detail: detail.into(),
            subject: None,
            context: None,
            related: None,
            hint: None,
        }
    }

    /// Returns a warning without a place.
    pub fn warning(summary: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(summary, detail) }
    }

    /// Points at a place.
    #[must_use]
    pub fn at(mut self, subject: Span) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Points at a place, if it is known.
    #[must_use]
    pub fn at_maybe(mut self, subject: Option<Span>) -> Self {
        self.subject = subject;
        self
    }

    /// Shows a wider range around the place.
    #[must_use]
    pub fn within(mut self, context: Span) -> Self {
        self.context = Some(context);
        self
    }

    /// Names another place that has to do with it.
    #[must_use]
    pub fn related(mut self, place: Span, what: &'static str) -> Self {
        self.related = Some(Box::new((place, what)));
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what to do about it, where something is known.
    #[must_use]
    pub fn hint_maybe(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    /// Returns the problem as text, in Packer's form: summary, place, excerpt, detail, hint.
    #[must_use]
    pub fn render(&self, sources: &SourceMap, style: &Style) -> String {
        render::render(self, sources, style)
    }

    /// Reports whether this is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The problems found so far, in the order they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    items: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Returns an empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a problem.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.items.push(diagnostic);
    }

    /// Adds all problems of another list.
    pub fn extend(&mut self, others: impl IntoIterator<Item = Diagnostic>) {
        self.items.extend(others);
    }

    /// Removes problems that are exactly like an earlier one: something wrong in a source that two builds share is
    /// found twice.
    pub fn dedup(&mut self) {
        let mut seen = std::collections::HashSet::new();
        self.items.retain(|item| seen.insert((item.subject, item.summary.clone(), item.detail.clone())));
    }

    /// Returns the problem found last.
    pub(crate) fn last_mut(&mut self) -> Option<&mut Diagnostic> {
        self.items.last_mut()
    }

    /// Reports whether any of the problems is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.items.iter().any(Diagnostic::is_error)
    }

    /// Reports whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the number of problems.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns the problems in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.items.iter()
    }

    /// Returns all problems as text, in Packer's form: summary, place, excerpt, detail, hint.
    #[must_use]
    pub fn render(&self, sources: &SourceMap, style: &Style) -> String {
        self.items.iter().map(|item| render::render(item, sources, style)).collect()
    }

    /// Returns all problems with files, lines and columns, for programs.
    #[must_use]
    pub fn reports(&self, sources: &SourceMap) -> Vec<Report> {
        self.items.iter().map(|item| Report::new(item, sources)).collect()
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { items: vec![diagnostic] }
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(items: I) -> Self {
        let mut list = Self::new();
        list.extend(items);
        list
    }
}
