//! Owns what a function is: its row in a table, what it is called with, and how it refuses.

use crate::language::environment::Environment;
use crate::language::value::{Number, Type, Value};

/// Why a function refuses its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Index of the argument at fault, if it is one.
    pub(crate) argument: Option<usize>,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { argument: None, message: message.into() }
    }

    pub(crate) fn at(argument: usize, message: impl Into<String>) -> Self {
        Self { argument: Some(argument), message: message.into() }
    }
}

pub(crate) type Answer = Result<Value, Failure>;

/// What a function is called with. Arguments are converted, known and, unless the parameter allows it, not null.
pub(crate) struct Call<'a> {
    pub(crate) arguments: &'a [Value],
    pub(crate) environment: &'a Environment,
}

impl Call<'_> {
    pub(crate) fn value(&self, index: usize) -> &Value {
        static NULL: std::sync::LazyLock<Value> = std::sync::LazyLock::new(Value::null);
        self.arguments.get(index).unwrap_or(&NULL)
    }

    pub(crate) fn text(&self, index: usize) -> &str {
        self.value(index).as_str().unwrap_or_default()
    }

    pub(crate) fn number(&self, index: usize) -> Number {
        self.value(index).as_number().cloned().unwrap_or_else(Number::zero)
    }

    /// Returns a whole number that fits, or says what is wrong with it.
    pub(crate) fn integer(&self, index: usize) -> Result<i64, Failure> {
        let number = self.number(index);
        if !number.is_integer() {
            return Err(Failure::at(index, "value must be a whole number"));
        }
        number.to_i64().ok_or_else(|| Failure::at(index, "value is out of range"))
    }

    pub(crate) fn elements(&self, index: usize) -> Vec<Value> {
        self.value(index).as_elements().map(|elements| elements.to_vec()).unwrap_or_default()
    }
}

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
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
    pub(crate) fn ty(self) -> Type {
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
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether null may be given.
    pub(crate) null: bool,
}

pub(crate) const fn text(name: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Text, null: false }
}

pub(crate) const fn number(name: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Number, null: false }
}

pub(crate) const fn any(name: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Any, null: false }
}

pub(crate) const fn of(kind: Kind, name: &'static str) -> Parameter {
    Parameter { name, kind, null: false }
}

impl Parameter {
    pub(crate) const fn or_null(mut self) -> Self {
        self.null = true;
        self
    }
}

/// A row of the function table.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) parameters: &'static [Parameter],
    /// The parameter that may be repeated at the end.
    pub(crate) rest: Option<Parameter>,
    /// Whether it only moves elements about, and so can do with some that are unknown.
    pub(crate) moves: bool,
    pub(crate) run: fn(&Call<'_>) -> Answer,
}

pub(crate) const fn function(
    name: &'static str,
    parameters: &'static [Parameter],
    run: fn(&Call<'_>) -> Answer,
) -> Function {
    Function { name, parameters, rest: None, moves: false, run }
}

impl Function {
    pub(crate) const fn rest(mut self, parameter: Parameter) -> Self {
        self.rest = Some(parameter);
        self
    }

    pub(crate) const fn moves(mut self) -> Self {
        self.moves = true;
        self
    }
}
