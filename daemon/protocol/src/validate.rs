//! What the client and `kilnd validate` say to each other: a request on its standard input, lines of JSON on its standard output,
//! the last of which is the report.
//!
//! Validation needs no daemon: it queues nothing, keeps nothing and leaves nothing. The client starts the program as its own
//! child, with its directory and its environment.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::{Event, Severity};
use crate::job::Assignment;

/// A template to check. Its debug form shows neither text nor values.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidateRequest {
    /// The template: a file or a directory, relative to the working directory.
    pub template: String,
    /// Its text, when it does not lie in a file.
    pub template_text: Option<String>,
    /// `-var`, in the order given.
    pub variables: Vec<Assignment>,
    /// `-var-file`, in the order given.
    pub variable_files: Vec<String>,
    /// `-only`.
    pub only: Vec<String>,
    /// `-except`.
    pub except: Vec<String>,
    /// Whether to warn about variables in files that the template does not declare.
    pub warn_on_undeclared_variables: bool,
    /// `-evaluate-datasources`.
    pub evaluate_datasources: bool,
    /// Whether texts for people have colours.
    pub colour: bool,
    /// Whether it is a program that wants to know: reports in place of texts.
    #[serde(default)]
    pub reports: bool,
}

impl fmt::Debug for ValidateRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ValidateRequest").field("template", &self.template).finish_non_exhaustive()
    }
}

/// A line of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValidateLine {
    /// What goes on meanwhile: whom data sources wait for.
    Event(Event),
    /// What was found. The last line.
    Report(ValidateReport),
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidateReport {
    /// Every selected build could be built.
    pub valid: bool,
    /// All problems, in order.
    pub problems: Vec<TemplateProblem>,
}

/// One problem of a template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemplateProblem {
    /// How bad it is.
    pub severity: Severity,
    /// For people, with an excerpt; empty when reports are wanted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// For programs: summary, detail, hint, range; null when texts are wanted.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub report: serde_json::Value,
}
