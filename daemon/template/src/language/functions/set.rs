//! Owns the functions on sets.

use super::table::{Answer, Call, Failure, Function, Kind, any, function, of};
use crate::language::limits::MAX_ELEMENTS;
use crate::language::value::convert::{convert, unify};
use crate::language::value::{Data, Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    function("setintersection", &[of(Kind::Set, "first_set")], intersection).rest(of(Kind::Set, "other_sets")),
    function("setproduct", &[], product).rest(any("sets")),
    function("setunion", &[of(Kind::Set, "first_set")], union).rest(of(Kind::Set, "other_sets")),
];

/// Converts all sets to one element type.
fn unified(call: &Call<'_>) -> Result<(Type, Vec<Value>), Failure> {
    // Only an empty set of no type at all has no say in the type of the answer.
    let has_say = |set: &&Value| {
        let empty = set.as_elements().is_none_or(|elements| elements.is_empty());
        !empty || set.ty().element().is_some_and(|ty| *ty != Type::Dynamic)
    };
    let types: Vec<Type> =
        call.arguments.iter().filter(has_say).filter_map(|set| set.ty().element().cloned()).collect();
    let ty = match types.is_empty() {
        true => Type::Dynamic,
        false => {
            unify(&types, true).ok_or_else(|| Failure::new("given sets must all have compatible element types"))?
        }
    };
    let sets: Result<Vec<Value>, _> = call.arguments.iter().map(|set| convert(set, &Type::set(ty.clone()))).collect();
    Ok((ty, sets.map_err(|error| Failure::new(error.to_string()))?))
}

fn intersection(call: &Call<'_>) -> Answer {
    let (ty, sets) = unified(call)?;
    let mut sets = sets.iter().map(|set| set.as_elements().map(|elements| elements.to_vec()).unwrap_or_default());
    let mut kept = sets.next().unwrap_or_default();
    for other in sets {
        kept.retain(|element| other.contains(element));
    }
    Ok(Value::set(ty, kept))
}

fn union(call: &Call<'_>) -> Answer {
    let (ty, sets) = unified(call)?;
    let all = sets.iter().flat_map(|set| set.as_elements().map(|elements| elements.to_vec()).unwrap_or_default());
    Ok(Value::set(ty, all.collect()))
}

fn product(call: &Call<'_>) -> Answer {
    if call.arguments.len() < 2 {
        return Err(Failure::new("at least two arguments are required"));
    }
    let mut results: Vec<Vec<Value>> = vec![Vec::new()];
    let mut element_types: Vec<Type> = Vec::new();
    let mut all_sets = true;
    for (index, value) in call.arguments.iter().enumerate() {
        let Some(elements) = value.as_elements() else {
            return Err(Failure::at(index, "a set or a list is required"));
        };
        all_sets &= matches!(value.data(), Data::Set(..));
        let types: Vec<Type> = elements.iter().map(Value::ty).collect();
        let ty = match value.ty().element() {
            Some(ty) => ty.clone(),
            None if types.is_empty() => Type::Dynamic,
            None => unify(&types, true).ok_or_else(|| Failure::at(index, "all elements must be of the same type"))?,
        };
        if results.len().saturating_mul(elements.len()).saturating_mul(index + 1) > MAX_ELEMENTS {
            return Err(Failure::new("the result has too many elements"));
        }
        let mut next = Vec::with_capacity(results.len() * elements.len());
        for prefix in &results {
            for element in elements.iter() {
                let element = convert(element, &ty).map_err(|error| Failure::at(index, error.to_string()))?;
                next.push(prefix.iter().cloned().chain([element]).collect());
            }
        }
        results = next;
        element_types.push(ty);
    }
    let ty = Type::Tuple(element_types.into());
    let tuples: Vec<Value> = results.into_iter().map(Value::tuple).collect();
    Ok(if all_sets { Value::set(ty, tuples) } else { Value::list(ty, tuples) })
}
