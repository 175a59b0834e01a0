//! Owns conversions between types and the search for one type that several convert to, as cty does both.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::data::{Data, Entries, Value};
use super::number::Number;
use super::types::Type;

/// Why a value does not convert.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}{reason}")]
pub(crate) struct ConvertError {
    /// Where in the value, such as `element 2: `; empty for the value itself.
    path: String,
    reason: String,
}

impl ConvertError {
    fn new(reason: impl Into<String>) -> Self {
        Self { path: String::new(), reason: reason.into() }
    }

    fn within(mut self, step: impl Into<String>) -> Self {
        let rest = std::mem::take(&mut self.path);
        self.path = if rest.is_empty() { format!("{}: ", step.into()) } else { format!("{}, {rest}", step.into()) };
        self
    }
}

/// Converts a value, also where that may fail (`"5"` to a number).
pub(crate) fn convert(value: &Value, to: &Type) -> Result<Value, ConvertError> {
    if *to == Type::Dynamic {
        return Ok(value.clone());
    }
    let from = value.ty();
    if from == *to {
        return Ok(value.clone());
    }
    if !possible(&from, to, true) {
        return Err(ConvertError::new(required(&from, to)));
    }
    convert_possible(value, to).map(|converted| converted.marked(value.is_sensitive()))
}

/// Returns "… required" for a conversion that no value of the type could make.
fn required(from: &Type, to: &Type) -> String {
    match (from, to) {
        (Type::Tuple(have), Type::Tuple(want)) if have.len() != want.len() => {
            format!("a tuple of {} elements is required, not of {}", want.len(), have.len())
        }
        (Type::Tuple(have), Type::Tuple(want)) => {
            let bad = have.iter().zip(want.iter()).position(|(have, want)| !possible(have, want, true));
            match bad {
                Some(index) => format!("element {index}: {}", required(&have[index], &want[index])),
                None => "tuple required".to_owned(),
            }
        }
        (Type::Object(have), Type::Object(want)) => {
            let missing: Vec<String> =
                want.keys().filter(|name| !have.contains_key(*name)).map(|name| format!("{name:?}")).collect();
            match missing.len() {
                0 => want
                    .iter()
                    .find_map(|(name, want)| {
                        let have = have.get(name)?;
                        (!possible(have, want, true)).then(|| format!("attribute {name:?}: {}", required(have, want)))
                    })
                    .unwrap_or_else(|| "object required".to_owned()),
                1 => format!("attribute {} is required", missing[0]),
                _ => format!("attributes {} are required", missing.join(", ")),
            }
        }
        (Type::Tuple(have), Type::List(want) | Type::Set(want)) if **want != Type::Dynamic => {
            let bad = have.iter().position(|have| !possible(have, want, true));
            match bad {
                Some(index) => format!("element {index}: {}", required(&have[index], want)),
                None => format!("{to} required"),
            }
        }
        (Type::Object(have), Type::Map(want)) if **want != Type::Dynamic => {
            let bad = have.iter().find(|(_, have)| !possible(have, want, true));
            match bad {
                Some((name, have)) => format!("element {name:?}: {}", required(have, want)),
                None => format!("{to} required"),
            }
        }
        (Type::Tuple(_), Type::List(_) | Type::Set(_)) => "all elements must have the same type".to_owned(),
        (Type::Object(_), Type::Map(_)) => "all elements must have the same type".to_owned(),
        _ => format!("{to} required"),
    }
}

/// Reports whether values of one type convert to another; without `lossy` only where no value can fail.
pub(crate) fn possible(from: &Type, to: &Type, lossy: bool) -> bool {
    match (from, to) {
        (_, Type::Dynamic) => true,
        (Type::Dynamic, _) => lossy,
        (from, to) if from == to => true,
        (Type::Number | Type::Bool, Type::String) => true,
        (Type::String, Type::Number | Type::Bool) => lossy,
        (Type::Object(have), Type::Object(want)) => {
            want.iter().all(|(name, want)| have.get(name).is_some_and(|have| possible(have, want, lossy)))
        }
        (Type::Tuple(have), Type::Tuple(want)) => {
            have.len() == want.len() && have.iter().zip(want.iter()).all(|(have, want)| possible(have, want, lossy))
        }
        (Type::List(have) | Type::Set(have), Type::List(want))
        | (Type::Set(have), Type::Set(want))
        | (Type::Map(have), Type::Map(want)) => possible(have, want, lossy),
        (Type::List(have), Type::Set(want)) => lossy && possible(have, want, lossy),
        (Type::Tuple(have), Type::List(want) | Type::Set(want)) => match element_type(have, want, lossy) {
            Some(want) => have.iter().all(|have| possible(have, &want, lossy)),
            None => false,
        },
        (Type::Object(have), Type::Map(want)) => {
            let types: Vec<Type> = have.values().cloned().collect();
            match element_type(&types, want, lossy) {
                Some(want) => have.values().all(|have| possible(have, &want, lossy)),
                None => false,
            }
        }
        (Type::Map(have), Type::Object(want)) => lossy && want.values().all(|want| possible(have, want, lossy)),
        _ => false,
    }
}

/// Returns the element type a collection made of these elements gets: the wanted one, or for `any` a common one.
fn element_type(have: &[Type], want: &Type, lossy: bool) -> Option<Type> {
    if *want != Type::Dynamic || have.is_empty() {
        return Some(want.clone());
    }
    unify(have, lossy)
}

fn convert_possible(value: &Value, to: &Type) -> Result<Value, ConvertError> {
    match value.data() {
        Data::Unknown(_) => return Ok(Value::unknown_of(to.clone())),
        Data::Null(from) => return Ok(Value::null_of(if to.has_dynamic() { from.clone() } else { to.clone() })),
        _ => {}
    }
    let is_any = |ty: &Type| *ty == Type::Dynamic;
    match (value.data(), to) {
        (Data::Number(number), Type::String) => Ok(Value::string(&number.to_string())),
        (Data::Bool(truth), Type::String) => Ok(Value::string(if *truth { "true" } else { "false" })),
        (Data::String(text), Type::Number) => {
            Number::parse(text).map(Value::from).ok_or_else(|| ConvertError::new("a number is required"))
        }
        (Data::String(text), Type::Bool) => match &**text {
            "true" | "1" => Ok(true.into()),
            "false" | "0" => Ok(false.into()),
            other if other.eq_ignore_ascii_case("true") || other.eq_ignore_ascii_case("false") => {
                let lower = other.to_ascii_lowercase();
                Err(ConvertError::new(format!("a bool is required; to convert from string, use lowercase \"{lower}\"")))
            }
            _ => Err(ConvertError::new("a bool is required")),
        },
        // Collections keep the type of their elements where any will do, also when they have none.
        (Data::List(have, _) | Data::Set(have, _), Type::List(want)) if is_any(want) && !is_any(have) => {
            convert_possible(value, &Type::list(have.clone()))
        }
        (Data::List(have, _) | Data::Set(have, _), Type::Set(want)) if is_any(want) && !is_any(have) => {
            convert_possible(value, &Type::set(have.clone()))
        }
        (Data::Map(have, _), Type::Map(want)) if is_any(want) && !is_any(have) => Ok(value.clone()),
        (Data::List(_, elements) | Data::Set(_, elements) | Data::Tuple(elements), Type::List(want)) => {
            let (ty, elements) = elements_to(elements, want)?;
            Ok(Value::list(ty, elements))
        }
        (Data::List(_, elements) | Data::Set(_, elements) | Data::Tuple(elements), Type::Set(want)) => {
            let (ty, elements) = elements_to(elements, want)?;
            Ok(Value::set(ty, elements))
        }
        (Data::Map(_, entries) | Data::Object(entries), Type::Map(want)) => {
            let values: Vec<Value> = entries.values().cloned().collect();
            let types: Vec<Type> = values.iter().map(Value::ty).collect();
            let want = element_type(&types, want, true)
                .ok_or_else(|| ConvertError::new("all elements must have the same type"))?;
            let mut converted = Entries::new();
            for (key, value) in entries.iter() {
                let value = convert(value, &want).map_err(|error| error.within(format!("element {key:?}")))?;
                converted.insert(key.clone(), value);
            }
            let ty = common_type(converted.values(), &want)?;
            Ok(Value::map(ty, converted))
        }
        (Data::Tuple(elements), Type::Tuple(want)) => {
            let converted: Result<Vec<Value>, _> = elements
                .iter()
                .zip(want.iter())
                .enumerate()
                .map(|(index, (value, want))| {
                    convert(value, want).map_err(|error| error.within(format!("element {index}")))
                })
                .collect();
            Ok(Value::tuple(converted?))
        }
        (Data::Object(entries) | Data::Map(_, entries), Type::Object(want)) => {
            let mut converted = BTreeMap::new();
            for (name, want) in want.iter() {
                let Some(value) = entries.get(name) else {
                    return Err(ConvertError::new(format!("attribute {name:?} is required")));
                };
                let value = convert(value, want).map_err(|error| error.within(format!("attribute {name:?}")))?;
                converted.insert(name.clone(), value);
            }
            Ok(Value::object(converted))
        }
        _ => Err(ConvertError::new(format!("{to} required"))),
    }
}

fn elements_to(elements: &[Value], want: &Type) -> Result<(Type, Vec<Value>), ConvertError> {
    let types: Vec<Type> = elements.iter().map(Value::ty).collect();
    let want =
        element_type(&types, want, true).ok_or_else(|| ConvertError::new("all elements must have the same type"))?;
    let converted: Result<Vec<Value>, _> = elements
        .iter()
        .enumerate()
        .map(|(index, value)| convert(value, &want).map_err(|error| error.within(format!("element {index}"))))
        .collect();
    let converted = converted?;
    let ty = common_type(converted.iter(), &want)?;
    Ok((ty, converted))
}

/// Returns the type that all elements really have now; a wanted type with `any` inside becomes exact.
fn common_type<'a>(mut values: impl Iterator<Item = &'a Value>, want: &Type) -> Result<Type, ConvertError> {
    if !want.has_dynamic() {
        return Ok(want.clone());
    }
    let Some(first) = values.next().map(Value::ty) else { return Ok(want.clone()) };
    if values.all(|value| value.ty() == first || value.is_null()) {
        Ok(first)
    } else {
        Err(ConvertError::new("all elements must have the same type"))
    }
}

/// Finds the type that all of these convert to; nothing when there is none.
pub(crate) fn unify(types: &[Type], lossy: bool) -> Option<Type> {
    let dynamic = types.contains(&Type::Dynamic);
    let all = |test: fn(&Type) -> bool| types.iter().all(|ty| *ty == Type::Dynamic || test(ty));
    let any = |test: fn(&Type) -> bool| types.iter().any(test);
    let is_map = |ty: &Type| matches!(ty, Type::Map(_));
    let is_list = |ty: &Type| matches!(ty, Type::List(_));
    let is_set = |ty: &Type| matches!(ty, Type::Set(_));
    let is_object = |ty: &Type| matches!(ty, Type::Object(_));
    let is_tuple = |ty: &Type| matches!(ty, Type::Tuple(_));
    if types.is_empty() {
        return None;
    }
    if any(is_map) && all(is_map) {
        return unify_collections(types, dynamic, lossy, Type::map);
    }
    if any(is_map) && all(|ty| matches!(ty, Type::Map(_) | Type::Object(_))) {
        let objects: Vec<Type> = types.iter().filter(|ty| is_object(ty)).cloned().collect();
        if let Some(map) = objects_to_map(&objects, lossy) {
            let types: Vec<Type> =
                types.iter().map(|ty| if is_object(ty) { map.clone() } else { ty.clone() }).collect();
            if let Some(ty @ Type::Map(_)) = unify(&types, lossy) {
                return Some(ty);
            }
        }
    } else if any(is_list) && all(is_list) {
        return unify_collections(types, dynamic, lossy, Type::list);
    } else if any(is_list) && all(|ty| matches!(ty, Type::List(_) | Type::Tuple(_))) {
        let tuples: Vec<Type> = types.iter().filter(|ty| is_tuple(ty)).cloned().collect();
        if let Some(list) = tuples_to_list(&tuples, lossy) {
            let types: Vec<Type> =
                types.iter().map(|ty| if is_tuple(ty) { list.clone() } else { ty.clone() }).collect();
            if let Some(ty @ Type::List(_)) = unify(&types, lossy) {
                return Some(ty);
            }
        }
    } else if any(is_set) && all(is_set) {
        return unify_collections(types, dynamic, lossy, Type::set);
    } else if any(is_object) && all(is_object) {
        return if dynamic { Some(Type::Dynamic) } else { unify_objects(types, lossy) };
    } else if any(is_tuple) && all(is_tuple) {
        return if dynamic { Some(Type::Dynamic) } else { unify_tuples(types, lossy) };
    } else if any(is_object) && any(is_tuple) {
        return None;
    }
    let mut preferred: Vec<&Type> = types.iter().collect();
    preferred.sort_by_key(|ty| generality(ty));
    preferred.into_iter().find(|want| types.iter().all(|ty| possible(ty, want, lossy))).cloned()
}

/// Orders types so that those to which others convert come first.
fn generality(ty: &Type) -> u8 {
    match ty {
        Type::Dynamic => 0,
        Type::String => 1,
        Type::List(_) | Type::Map(_) => 2,
        Type::Set(_) => 3,
        Type::Number | Type::Bool => 4,
        Type::Tuple(_) | Type::Object(_) => 5,
    }
}

fn unify_collections(types: &[Type], dynamic: bool, lossy: bool, make: fn(Type) -> Type) -> Option<Type> {
    if dynamic {
        return Some(Type::Dynamic);
    }
    let elements: Vec<Type> = types.iter().filter_map(Type::element).cloned().collect();
    let result = make(unify(&elements, lossy)?);
    types.iter().all(|ty| possible(ty, &result, lossy)).then_some(result)
}

fn unify_objects(types: &[Type], lossy: bool) -> Option<Type> {
    let objects: Vec<&Arc<BTreeMap<Arc<str>, Type>>> = types
        .iter()
        .filter_map(|ty| match ty {
            Type::Object(attributes) => Some(attributes),
            _ => None,
        })
        .collect();
    let first = objects.first()?;
    if objects.iter().any(|object| !object.keys().eq(first.keys())) {
        return objects_to_map(types, lossy);
    }
    let mut result = BTreeMap::new();
    for name in first.keys() {
        let across: Vec<Type> = objects.iter().filter_map(|object| object.get(name).cloned()).collect();
        result.insert(name.clone(), unify(&across, lossy)?);
    }
    let result = Type::Object(Arc::new(result));
    if types.iter().all(|ty| possible(ty, &result, lossy)) { Some(result) } else { objects_to_map(types, lossy) }
}

fn objects_to_map(types: &[Type], lossy: bool) -> Option<Type> {
    let mut elements = Vec::new();
    for ty in types {
        if let Type::Object(attributes) = ty {
            elements.extend(attributes.values().cloned());
        }
    }
    let result = Type::map(unify(&elements, lossy)?);
    types.iter().all(|ty| possible(ty, &result, lossy)).then_some(result)
}

fn unify_tuples(types: &[Type], lossy: bool) -> Option<Type> {
    let tuples: Vec<&Arc<[Type]>> = types
        .iter()
        .filter_map(|ty| match ty {
            Type::Tuple(elements) => Some(elements),
            _ => None,
        })
        .collect();
    let length = tuples.first()?.len();
    if tuples.iter().any(|tuple| tuple.len() != length) {
        return tuples_to_list(types, lossy);
    }
    let mut result = Vec::new();
    for index in 0..length {
        let across: Vec<Type> = tuples.iter().filter_map(|tuple| tuple.get(index).cloned()).collect();
        result.push(unify(&across, lossy)?);
    }
    let result = Type::Tuple(result.into());
    if types.iter().all(|ty| possible(ty, &result, lossy)) { Some(result) } else { tuples_to_list(types, lossy) }
}

fn tuples_to_list(types: &[Type], lossy: bool) -> Option<Type> {
    let mut elements = Vec::new();
    for ty in types {
        if let Type::Tuple(tuple) = ty {
            elements.extend(tuple.iter().cloned());
        }
    }
    let result = Type::list(unify(&elements, lossy)?);
    types.iter().all(|ty| possible(ty, &result, lossy)).then_some(result)
}
