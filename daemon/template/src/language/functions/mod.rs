//! Owns the functions of the language: the table, and how calls are checked before a function runs.

mod collection;
mod crypto;
mod csv;
mod date;
mod disclosure;
mod encoding;
mod filesystem;
mod format;
mod network;
mod numeric;
mod pattern;
mod rsa;
mod set;
mod special;
mod text;
mod unknown;
mod yaml;

#[cfg(test)]
mod tests;

pub(crate) use filesystem::clean as clean_path;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::world::data::DataMode;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::eval::{Budget, Scope, evaluate};
use crate::world::files::Files;
use crate::diagnostics::redact::Redactor;
use crate::diagnostics::source_map::Span;
use crate::language::syntax::ast::{Expr, Name};
use crate::language::value::convert::convert;
use crate::language::value::{Data, Type, Value};

/// What functions know of the world.
#[derive(Clone)]
pub(crate) struct Environment {
    pub(crate) files: Arc<dyn Files>,
    /// The template's folder, absolute: where `file` and its like begin.
    pub(crate) root: PathBuf,
    /// The caller's current folder, absolute.
    pub(crate) cwd: PathBuf,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) now: Timestamp,
    /// What is done where the world is needed.
    pub(crate) data: DataMode,
    /// Is told of what is computed from secrets.
    pub(crate) redactor: Redactor,
    /// What evaluation may still cost.
    pub(crate) budget: Arc<Budget>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("root", &self.root).field("cwd", &self.cwd).finish_non_exhaustive()
    }
}

/// Which functions can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FunctionSet {
    /// None: values in variable files.
    None,
    /// Only `env`: defaults of variables.
    Environment,
    /// All but `env`.
    All,
    /// All but `env` and `templatefile`: inside a template file.
    InsideTemplate,
}

impl FunctionSet {
    fn contains(self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Environment => name == "env",
            Self::All => name != "env",
            Self::InsideTemplate => name != "env" && name != "templatefile",
        }
    }
}

/// Why a function refuses its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Index of the argument at fault, if it is one.
    argument: Option<usize>,
    message: String,
}

impl Failure {
    fn new(message: impl Into<String>) -> Self {
        Self { argument: None, message: message.into() }
    }

    fn at(argument: usize, message: impl Into<String>) -> Self {
        Self { argument: Some(argument), message: message.into() }
    }
}

type Answer = Result<Value, Failure>;

/// What a function is called with. Arguments are converted, known and, unless the parameter allows it, not null.
struct Call<'a> {
    arguments: &'a [Value],
    environment: &'a Environment,
}

impl Call<'_> {
    fn value(&self, index: usize) -> &Value {
        static NULL: std::sync::LazyLock<Value> = std::sync::LazyLock::new(Value::null);
        self.arguments.get(index).unwrap_or(&NULL)
    }

    fn text(&self, index: usize) -> &str {
        self.value(index).as_str().unwrap_or_default()
    }

    fn number(&self, index: usize) -> crate::language::value::Number {
        self.value(index).as_number().cloned().unwrap_or_else(crate::language::value::Number::zero)
    }

    /// Returns a whole number that fits, or says what is wrong with it.
    fn integer(&self, index: usize) -> Result<i64, Failure> {
        let number = self.number(index);
        if !number.is_integer() {
            return Err(Failure::at(index, "value must be a whole number"));
        }
        number.to_i64().ok_or_else(|| Failure::at(index, "value is out of range"))
    }

    fn elements(&self, index: usize) -> Vec<Value> {
        self.value(index).as_elements().map(|elements| elements.to_vec()).unwrap_or_default()
    }
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Any,
    Text,
    Number,
    /// list of string
    Texts,
    /// list of any one type
    List,
    /// list of bool
    Bools,
    /// set of any one type
    Set,
}

impl Kind {
    fn ty(self) -> Type {
        match self {
            Self::Any => Type::Dynamic,
            Self::Text => Type::String,
            Self::Number => Type::Number,
            Self::Texts => Type::list(Type::String),
            Self::List => Type::list(Type::Dynamic),
            Self::Bools => Type::list(Type::Bool),
            Self::Set => Type::set(Type::Dynamic),
        }
    }
}

/// One parameter of a function.
#[derive(Debug, Clone, Copy)]
struct Parameter {
    name: &'static str,
    kind: Kind,
    /// Whether null may be given.
    null: bool,
}

const fn text(name: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Text, null: false }
}

const fn number(name: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Number, null: false }
}

const fn any(name: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Any, null: false }
}

const fn of(kind: Kind, name: &'static str) -> Parameter {
    Parameter { name, kind, null: false }
}

impl Parameter {
    const fn or_null(mut self) -> Self {
        self.null = true;
        self
    }
}

/// A row of the function table.
struct Function {
    name: &'static str,
    parameters: &'static [Parameter],
    /// The parameter that may be repeated at the end.
    rest: Option<Parameter>,
    /// Whether it only moves elements about, and so can do with some that are unknown.
    moves: bool,
    run: fn(&Call<'_>) -> Answer,
}

const fn function(name: &'static str, parameters: &'static [Parameter], run: fn(&Call<'_>) -> Answer) -> Function {
    Function { name, parameters, rest: None, moves: false, run }
}

impl Function {
    const fn rest(mut self, parameter: Parameter) -> Self {
        self.rest = Some(parameter);
        self
    }

    const fn moves(mut self) -> Self {
        self.moves = true;
        self
    }
}

/// All tables.
const TABLES: &[&[Function]] = &[
    collection::FUNCTIONS,
    crypto::FUNCTIONS,
    date::FUNCTIONS,
    encoding::FUNCTIONS,
    filesystem::FUNCTIONS,
    format::FUNCTIONS,
    network::FUNCTIONS,
    numeric::FUNCTIONS,
    pattern::FUNCTIONS,
    set::FUNCTIONS,
    special::FUNCTIONS,
    text::FUNCTIONS,
    yaml::FUNCTIONS,
];

/// Tables of functions that make new texts of texts; the others only hand on what they are given.
const DERIVING: &[&[Function]] = &[
    crypto::FUNCTIONS,
    date::FUNCTIONS,
    encoding::FUNCTIONS,
    format::FUNCTIONS,
    network::FUNCTIONS,
    pattern::FUNCTIONS,
    text::FUNCTIONS,
    yaml::FUNCTIONS,
];

/// Steps that a call takes beside those of its arguments.
const CALL: u64 = 8;

/// Functions whose arguments are not evaluated before the call.
const LAZY: &[&str] = &["try", "can", "convert"];

fn find(name: &str) -> Option<&'static Function> {
    TABLES.iter().flat_map(|table| table.iter()).find(|function| function.name == name)
}

/// Returns the names of all functions, sorted.
pub(crate) fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = TABLES.iter().flat_map(|table| table.iter()).map(|function| function.name).collect();
    names.extend(LAZY);
    names.sort_unstable();
    names
}

/// Evaluates a call.
pub(crate) fn call(
    name: &Name,
    arguments: &[Expr],
    expand: bool,
    arguments_span: Span,
    span: Span,
    scope: &Scope<'_>,
    diagnostics: &mut Diagnostics,
) -> Value {
    let function = find(&name.text);
    if (function.is_none() && !LAZY.contains(&&*name.text)) || !scope.functions.contains(&name.text) {
        diagnostics.push(unknown::explain(name, scope.functions));
        return Value::unknown();
    }
    let Some(function) = function else {
        return special::lazy(&name.text, arguments, arguments_span, span, scope, diagnostics);
    };
    let errors = diagnostics.len();
    let mut values: Vec<(Value, Span)> =
        arguments.iter().map(|argument| (evaluate(argument, scope, diagnostics), argument.span)).collect();
    if diagnostics.len() > errors {
        return Value::unknown();
    }
    if expand && !expand_last(&mut values, diagnostics) {
        return Value::unknown();
    }
    if !check_count(function, name, &values, arguments_span, diagnostics) {
        return Value::unknown();
    }
    let Some(converted) = convert_arguments(function, name, &values, span, diagnostics) else {
        return Value::unknown();
    };
    let budget = &scope.environment.budget;
    if !budget.spend(CALL) || !converted.iter().all(|argument| budget.spend_weight(argument.weight())) {
        Budget::complain(span, diagnostics);
        return Value::unknown();
    }
    let sensitive = converted.iter().any(Value::is_sensitive_within);
    let known = |value: &Value| match value.data() {
        Data::Unknown(_) => false,
        _ => function.moves || value.is_wholly_known(),
    };
    if !converted.iter().all(known) {
        return Value::unknown().marked(sensitive);
    }
    match (function.run)(&Call { arguments: &converted, environment: scope.environment }) {
        Ok(value) => {
            if sensitive && DERIVING.iter().any(|table| table.iter().any(|other| other.name == function.name)) {
                disclosure::remember(&value, &scope.environment.redactor);
            }
            value.marked(sensitive)
        }
        Err(mut failure) => {
            if sensitive && disclosure::gives_away(&failure.message, &converted) {
                failure.message = "the reason is not shown, because it would show a part of a sensitive value".into();
            }
            let diagnostic = match failure.argument {
                Some(index) => Diagnostic::error(
                    "Invalid function argument",
                    format!("Invalid value for {:?} parameter: {}.", parameter_name(function, index), failure.message),
                )
                .at(values.get(index).map_or(span, |(_, span)| *span)),
                None => Diagnostic::error(
                    "Error in function call",
                    format!("Call to function {:?} failed: {}.", name.text, failure.message),
                )
                .at(span),
            };
            diagnostics.push(diagnostic.within(span));
            Value::unknown()
        }
    }
}

fn parameter(function: &Function, index: usize) -> Option<Parameter> {
    function.parameters.get(index).copied().or(function.rest)
}

fn parameter_name(function: &Function, index: usize) -> &'static str {
    parameter(function, index).map_or("", |parameter| parameter.name)
}

fn expand_last(values: &mut Vec<(Value, Span)>, diagnostics: &mut Diagnostics) -> bool {
    let Some((last, span)) = values.pop() else { return true };
    if last.is_unknown() {
        // An unknown number of arguments makes the answer unknown.
        values.push((Value::unknown(), span));
        return true;
    }
    match last.as_elements() {
        Some(elements) => {
            values.extend(elements.iter().map(|value| (value.clone().marked(last.is_sensitive()), span)));
            true
        }
        None => {
            let detail = "The argument before \"...\" must be a list, set or tuple.";
            diagnostics.push(Diagnostic::error("Invalid expanding argument value", detail).at(span));
            false
        }
    }
}

fn check_count(
    function: &Function,
    name: &Name,
    values: &[(Value, Span)],
    arguments_span: Span,
    diagnostics: &mut Diagnostics,
) -> bool {
    let wanted = function.parameters.len();
    if values.len() < wanted {
        let missing = function.parameters[values.len()].name;
        let detail = format!(
            "Function {:?} expects {}{wanted} argument(s). Missing value for {missing:?}.",
            name.text,
            if function.rest.is_some() { "at least " } else { "" },
        );
        diagnostics.push(Diagnostic::error("Not enough function arguments", detail).at(arguments_span));
        return false;
    }
    if values.len() > wanted && function.rest.is_none() {
        let detail = format!("Function {:?} expects only {wanted} argument(s).", name.text);
        let span = values.get(wanted).map_or(arguments_span, |(_, span)| *span);
        diagnostics.push(Diagnostic::error("Too many function arguments", detail).at(span));
        return false;
    }
    true
}

fn convert_arguments(
    function: &Function,
    name: &Name,
    values: &[(Value, Span)],
    span: Span,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Value>> {
    let mut converted = Vec::with_capacity(values.len());
    for (index, (value, argument_span)) in values.iter().enumerate() {
        let parameter = parameter(function, index)?;
        let problem = match convert(value, &parameter.kind.ty()) {
            Ok(value) if value.is_null() && !parameter.null => "argument must not be null".to_owned(),
            Ok(value) => {
                converted.push(value);
                continue;
            }
            Err(error) => error.to_string(),
        };
        let detail = format!("Invalid value for {:?} parameter of {:?}: {problem}.", parameter.name, name.text);
        diagnostics.push(Diagnostic::error("Invalid function argument", detail).at(*argument_span).within(span));
        return None;
    }
    Some(converted)
}
