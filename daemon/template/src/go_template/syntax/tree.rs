//! Owns what a template is parsed to: [`Node`]s.

use crate::go_template::error::RenderError;
use crate::go_template::value::Value;

/// One piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::go_template) enum Node {
    Text(String),
    /// `{{ pipeline }}`
    Action(Pipeline),
    If {
        condition: Pipeline,
        yes: Vec<Self>,
        no: Vec<Self>,
    },
    With {
        value: Pipeline,
        yes: Vec<Self>,
        no: Vec<Self>,
    },
    Range {
        value: Pipeline,
        body: Vec<Self>,
        empty: Vec<Self>,
    },
    /// `{{ template "name" pipeline }}`
    Template {
        name: String,
        argument: Option<Pipeline>,
        at: Place,
    },
    /// `{{ define "name" }}`
    Define {
        name: String,
        body: Vec<Self>,
        at: Place,
    },
    Break,
    Continue,
}

/// Bytes of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::go_template) struct Place {
    pub(in crate::go_template) start: usize,
    pub(in crate::go_template) end: usize,
}

/// `$a, $b := command | command`
#[derive(Debug, Clone, PartialEq)]
pub(in crate::go_template) struct Pipeline {
    pub(in crate::go_template) variables: Vec<String>,
    /// Whether the variables exist already (`=` in place of `:=`).
    pub(in crate::go_template) assign: bool,
    pub(in crate::go_template) commands: Vec<Command>,
    pub(in crate::go_template) at: Place,
}

/// An operand with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::go_template) struct Command {
    pub(in crate::go_template) operands: Vec<Operand>,
    pub(in crate::go_template) at: Place,
}

/// One word of a command.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::go_template) enum Operand {
    Literal(Value),
    /// `.` or `.a.b`
    Field(Vec<String>, Place),
    /// `$x.a.b`; `$` alone has an empty name.
    Variable(String, Vec<String>, Place),
    /// A function's name.
    Function(String, Place),
    /// `(pipeline).a.b`
    Group(Pipeline, Vec<String>, Place),
}

pub(super) fn error(message: impl Into<String>, at: Place) -> RenderError {
    RenderError { message: message.into(), offset: at.start, length: at.end.saturating_sub(at.start).max(1) }
}
