//! Tests of conversions, unification and JSON.

use super::convert::{convert, unify};
use super::*;

fn numbers(values: &[i64]) -> Vec<Value> {
    values.iter().map(|&value| value.into()).collect()
}

#[test]
fn primitives_convert() {
    assert_eq!(convert(&5i64.into(), &Type::String).unwrap(), "5".into());
    assert_eq!(convert(&"5".into(), &Type::Number).unwrap(), 5i64.into());
    assert_eq!(convert(&"1".into(), &Type::Bool).unwrap(), true.into());
    assert!(convert(&"True".into(), &Type::Bool).unwrap_err().to_string().contains("lowercase"));
    assert!(convert(&true.into(), &Type::Number).is_err());
}

#[test]
fn tuples_become_lists_and_sets() {
    let tuple = Value::tuple(vec!["b".into(), 1i64.into(), "b".into()]);
    assert_eq!(convert(&tuple, &Type::list(Type::String)).unwrap(), Value::list_of_strings(["b", "1", "b"]));
    let set = convert(&tuple, &Type::set(Type::Dynamic)).unwrap();
    assert_eq!(json::encode(&set), r#"["1","b"]"#);
}

#[test]
fn places_of_failures_are_named() {
    let tuple = Value::tuple(vec![1i64.into(), "x".into()]);
    let error = convert(&tuple, &Type::list(Type::Number)).unwrap_err();
    assert_eq!(error.to_string(), "element 1: a number is required");
}

#[test]
fn types_unify_as_in_cty() {
    assert_eq!(unify(&[Type::Number, Type::String], true), Some(Type::String));
    assert_eq!(unify(&[Type::Number, Type::Bool], true), None);
    let one = Value::tuple(numbers(&[1])).ty();
    let two = Value::tuple(numbers(&[1, 2])).ty();
    assert_eq!(unify(&[one.clone(), two], true), Some(Type::list(Type::Number)));
    assert_eq!(unify(&[one.clone(), Type::list(Type::String)], true), Some(Type::list(Type::String)));
    assert_eq!(unify(&[one, Type::String], true), None);
}

#[test]
fn secrets_stay_marked() {
    let secret = Value::from("x").marked(true);
    assert!(convert(&Value::tuple(vec![secret.clone()]), &Type::set(Type::String)).unwrap().is_sensitive_within());
    assert!(convert(&secret, &Type::String).unwrap().is_sensitive());
}

#[test]
fn json_round_trips() {
    let text = r#"{"a":[1,2.5,"x\u003c"],"b":null}"#;
    assert_eq!(json::encode(&json::decode(text).unwrap()), text);
    assert_eq!(json::decode("\"\\ud83d\\ude00\"").unwrap(), "😀".into());
    for bad in ["", "{", "[1,]", "01", "1.", "\"\u{1}\"", "{} x", "nul", &"[".repeat(5000)] {
        assert!(json::decode(bad).is_err(), "{bad:?}");
    }
}
