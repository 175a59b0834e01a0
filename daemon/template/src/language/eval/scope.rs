//! Owns [`Scope`]: the names and functions that an expression can use. The other files add its evaluation to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::language::environment::Environment;
use crate::language::value::Value;

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
    pub(super) fn contains(self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Environment => name == "env",
            Self::All => name != "env",
            Self::InsideTemplate => name != "env" && name != "templatefile",
        }
    }
}

/// The names an expression can refer to, and the functions it can call.
#[derive(Debug, Clone)]
pub(crate) struct Scope<'a> {
    parent: Option<&'a Self>,
    names: BTreeMap<Arc<str>, Value>,
    /// The current element of a splat.
    item: Option<Value>,
    pub(crate) functions: FunctionSet,
    pub(crate) environment: &'a Environment,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(environment: &'a Environment, functions: FunctionSet, names: BTreeMap<Arc<str>, Value>) -> Self {
        Self { parent: None, names, item: None, functions, environment }
    }

    /// Returns a scope inside this one with more names.
    pub(crate) fn child(&'a self, names: impl IntoIterator<Item = (Arc<str>, Value)>) -> Self {
        Self {
            parent: Some(self),
            names: names.into_iter().collect(),
            item: None,
            functions: self.functions,
            environment: self.environment,
        }
    }

    pub(super) fn with_item(&'a self, item: Value) -> Self {
        Self { item: Some(item), ..self.child([]) }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.names.get(name).or_else(|| self.parent.and_then(|parent| parent.get(name)))
    }

    pub(super) fn splat_item(&self) -> Option<&Value> {
        self.item.as_ref().or_else(|| self.parent.and_then(Self::splat_item))
    }

    pub(super) fn all_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.names.keys().map(|name| &**name).collect();
        if let Some(parent) = self.parent {
            names.extend(parent.all_names());
        }
        names
    }
}
