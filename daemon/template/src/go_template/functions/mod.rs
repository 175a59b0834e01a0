//! Owns the functions of Go templates: Go's own and Packer's.

mod arguments;
mod go;
mod packer;

use arguments::Arguments;

use super::context::Context;
use super::value::Value;
use crate::diagnostics::suggest::did_you_mean;

/// Go's functions that stop at the first argument that decides; who executes a template knows them.
const LAZY: &[&str] = &["and", "or"];

fn names() -> impl Iterator<Item = &'static str> + Clone {
    let packer = packer::FUNCTIONS.iter().map(|(name, _)| *name);
    LAZY.iter().copied().chain(go::FUNCTIONS.iter().map(|(name, _)| *name)).chain(packer)
}

/// Reports whether a function exists; the error says so as Go does.
pub(super) fn exists(name: &str) -> Result<(), String> {
    if names().any(|known| known == name) {
        return Ok(());
    }
    let hint = did_you_mean(name, names());
    Err(format!("function {name:?} not defined{}", hint.map_or_else(String::new, |hint| format!(" ({hint})"))))
}

/// Calls a function.
pub(super) fn call(name: &str, values: &[Value], context: &Context) -> Result<Value, String> {
    exists(name)?;
    let arguments = Arguments { name, values };
    if let Some((_, function)) = go::FUNCTIONS.iter().find(|(known, _)| *known == name) {
        return function(&arguments);
    }
    match packer::FUNCTIONS.iter().find(|(known, _)| *known == name) {
        Some((_, function)) => function(&arguments, context),
        None => Err(format!("error calling {name}: it is no function that can be called")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_one_row_and_answers() {
        let known: Vec<&str> = names().collect();
        let distinct: std::collections::BTreeSet<&str> = known.iter().copied().collect();
        assert_eq!(known.len(), distinct.len());
        let context = Context::default();
        for name in known {
            assert_eq!(exists(name), Ok(()));
            // With arguments of any number and type: a value or a reason, never a panic.
            for values in [
                vec![],
                vec![Value::Nil],
                vec!["a".into()],
                vec![1i64.into(), "b".into()],
                vec!["a".into(), "b".into(), (-1i64).into()],
                vec!["a".into(), "b".into(), 1i64.into(), Value::List(vec![])],
                vec![Value::Map([("k".to_owned(), Value::Nil)].into()), "k".into(), Value::Float(0.5), true.into()],
            ] {
                if let Err(reason) = call(name, &values, &context) {
                    assert!(!reason.is_empty(), "{name}");
                }
            }
        }
        assert_eq!(exists("uper").unwrap_err(), "function \"uper\" not defined (did you mean \"upper\"?)");
        assert!(call("nope", &[], &context).is_err());
    }

    #[test]
    fn the_number_of_arguments_is_checked() {
        let refused = |name: &str, values: &[Value]| call(name, values, &Context::default()).unwrap_err();
        assert_eq!(refused("len", &[]), "wrong number of args for len: want 1 got 0");
        assert_eq!(refused("upper", &["a".into(), "b".into()]), "wrong number of args for upper: want 1 got 2");
        assert_eq!(refused("printf", &[]), "wrong number of args for printf: want 1 got 0");
        assert_eq!(
            refused("isotime", &["a".into(), "b".into()]),
            "wrong number of args for isotime: want at least 0 got 2"
        );
        assert_eq!(refused("upper", &[1i64.into()]), "wrong type for argument 1 of upper: expected string; found 1");
        assert_eq!(refused("split", &["a".into(), "b".into(), "c".into()]), "expected integer; found c");
    }
}
