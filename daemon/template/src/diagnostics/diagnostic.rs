//! Owns [`Diagnostic`]: one problem of a template.

use serde::{Deserialize, Serialize};

use super::source_map::Span;

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

    /// Reports whether this is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}
