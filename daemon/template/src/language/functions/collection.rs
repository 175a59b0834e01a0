//! Owns the functions on lists, tuples, maps and objects.

use unicode_segmentation::UnicodeSegmentation as _;

use super::table::{Answer, Call, Failure, Function, Kind, any, function, number, of, text};
use crate::language::limits::MAX_ELEMENTS;
use crate::language::value::convert::{convert, unify};
use crate::language::value::{Data, Entries, Number, Type, Value};

/// Elements that `range` makes at most, as in Terraform and Packer.
const MAX_RANGE: usize = 1024;

pub(super) const FUNCTIONS: &[Function] = &[
    function("alltrue", &[of(Kind::Bools, "list")], |call| {
        Ok(call.elements(0).iter().all(|value| value.as_bool() == Some(true)).into())
    }),
    function("anytrue", &[of(Kind::Bools, "list")], |call| {
        Ok(call.elements(0).iter().any(|value| value.as_bool() == Some(true)).into())
    }),
    function("chunklist", &[of(Kind::List, "list"), number("size")], chunklist),
    function("coalesce", &[], coalesce).rest(any("vals").or_null()),
    function("coalescelist", &[], coalescelist).rest(any("vals").or_null()),
    function("compact", &[of(Kind::Texts, "list")], |call| {
        let kept = call.elements(0).into_iter().filter(|value| value.as_str().is_some_and(|text| !text.is_empty()));
        Ok(Value::list(Type::String, kept.collect()))
    }),
    function("concat", &[], concat).rest(any("seqs")).moves(),
    function("contains", &[any("list"), any("value").or_null()], contains),
    function("distinct", &[of(Kind::List, "list")], distinct),
    function("element", &[any("list"), number("index")], element).moves(),
    function("flatten", &[any("list")], flatten),
    function("index", &[any("list"), any("value").or_null()], index),
    function("keys", &[any("inputMap")], keys).moves(),
    function("length", &[any("value")], length),
    function("lookup", &[any("inputMap"), text("key")], lookup).rest(any("default").or_null()),
    function("merge", &[], merge).rest(any("maps").or_null()).moves(),
    function("range", &[], range).rest(number("params")),
    function("reverse", &[any("list")], reverse),
    function("slice", &[any("list"), number("start_index"), number("end_index")], slice),
    function("sort", &[of(Kind::Texts, "list")], sort),
    function("values", &[any("mapping")], values).moves(),
    function("zipmap", &[of(Kind::Texts, "keys"), any("values")], zipmap),
];

fn need_sequence<'a>(call: &'a Call<'_>, argument: usize, message: &str) -> Result<&'a [Value], Failure> {
    match call.value(argument).data() {
        Data::List(_, elements) | Data::Tuple(elements) => Ok(elements),
        _ => Err(Failure::at(argument, message)),
    }
}

/// Rebuilds a list as a list and a tuple as a tuple.
fn like(model: &Value, elements: Vec<Value>) -> Value {
    match model.data() {
        Data::List(ty, _) => Value::list(ty.clone(), elements),
        _ => Value::tuple(elements),
    }
}

fn chunklist(call: &Call<'_>) -> Answer {
    let size = usize::try_from(call.integer(1)?).map_err(|_| Failure::at(1, "the size argument must be positive"))?;
    let list = call.value(0);
    let elements = call.elements(0);
    let chunks: Vec<Value> = match size {
        0 if elements.is_empty() => Vec::new(),
        0 => vec![list.clone()],
        size => elements.chunks(size).map(|chunk| like(list, chunk.to_vec())).collect(),
    };
    Ok(Value::list(list.ty(), chunks))
}

fn coalesce(call: &Call<'_>) -> Answer {
    let types: Vec<Type> = call.arguments.iter().map(Value::ty).collect();
    let ty = unify(&types, true).ok_or_else(|| Failure::new("all arguments must have the same type"))?;
    for value in call.arguments.iter().filter(|value| !value.is_null()) {
        let converted = convert(value, &ty).map_err(|error| Failure::new(error.to_string()))?;
        // An empty text counts as nothing, as in Packer.
        if converted.as_str() != Some("") {
            return Ok(converted);
        }
    }
    Err(Failure::new("no non-null, non-empty-string arguments"))
}

fn coalescelist(call: &Call<'_>) -> Answer {
    let is_list = |value: &Value| matches!(value.data(), Data::List(..) | Data::Tuple(_));
    if let Some(index) = call.arguments.iter().position(|value| !value.is_null() && !is_list(value)) {
        return Err(Failure::at(index, "coalescelist arguments must be lists or tuples"));
    }
    let found = call.arguments.iter().find(|value| value.as_elements().is_some_and(|elements| !elements.is_empty()));
    found.cloned().ok_or_else(|| Failure::new("no non-null arguments"))
}

fn concat(call: &Call<'_>) -> Answer {
    let mut elements = Vec::new();
    let mut lists = Vec::new();
    for (index, value) in call.arguments.iter().enumerate() {
        match value.data() {
            Data::List(ty, items) => {
                lists.push(Type::list(ty.clone()));
                elements.extend(items.iter().cloned());
            }
            Data::Tuple(items) => elements.extend(items.iter().cloned()),
            _ => return Err(Failure::at(index, "all arguments must be lists or tuples")),
        }
    }
    if call.arguments.is_empty() {
        return Err(Failure::new("at least one argument is required"));
    }
    if elements.len() > MAX_ELEMENTS {
        return Err(Failure::new("the result has too many elements"));
    }
    // Only lists give a list; any tuple makes the result a tuple.
    if lists.len() == call.arguments.len()
        && let Some(Type::List(ty)) = unify(&lists, true)
    {
        let converted: Result<Vec<Value>, _> = elements.iter().map(|element| convert(element, &ty)).collect();
        if let Ok(converted) = converted {
            return Ok(Value::list((*ty).clone(), converted));
        }
    }
    Ok(Value::tuple(elements))
}

fn contains(call: &Call<'_>) -> Answer {
    let Some(elements) = call.value(0).as_elements() else {
        return Err(Failure::at(0, "argument must be list, tuple, or set"));
    };
    let wanted = call.value(1);
    Ok(elements.iter().any(|element| same(element, wanted)).into())
}

/// Compares after converting both to a common type, as cty's `Equals` after unification does for primitives.
fn same(left: &Value, right: &Value) -> bool {
    left.equals(right) == Some(true)
}

fn distinct(call: &Call<'_>) -> Answer {
    let mut kept: Vec<Value> = Vec::new();
    for element in call.elements(0) {
        if !kept.iter().any(|other| same(other, &element)) {
            kept.push(element);
        }
    }
    Ok(like(call.value(0), kept))
}

fn element(call: &Call<'_>) -> Answer {
    let elements = need_sequence(call, 0, "cannot read elements from this value: a list or tuple is required")?;
    let index = call.integer(1)?;
    if index < 0 {
        return Err(Failure::at(1, "cannot use element function with a negative index"));
    }
    if elements.is_empty() {
        return Err(Failure::at(0, "cannot use element function with an empty list"));
    }
    let index = usize::try_from(index).unwrap_or(usize::MAX) % elements.len();
    Ok(elements[index].clone())
}

fn flatten(call: &Call<'_>) -> Answer {
    fn push(value: &Value, into: &mut Vec<Value>) {
        match value.as_elements() {
            Some(elements) if !value.is_null() => {
                elements.iter().for_each(|element| push(&element.clone().marked(value.is_sensitive()), into));
            }
            _ => into.push(value.clone()),
        }
    }
    if call.value(0).as_elements().is_none() {
        return Err(Failure::at(0, "can only flatten lists, sets and tuples"));
    }
    let mut elements = Vec::new();
    push(call.value(0), &mut elements);
    Ok(Value::tuple(elements))
}

fn index(call: &Call<'_>) -> Answer {
    let elements = need_sequence(call, 0, "argument must be a list or tuple")?;
    if elements.is_empty() {
        return Err(Failure::new("cannot search an empty list"));
    }
    let found = elements.iter().position(|element| same(element, call.value(1)));
    found.map(Value::from).ok_or_else(|| Failure::new("item not found"))
}

fn keys(call: &Call<'_>) -> Answer {
    let Some(entries) = call.value(0).as_entries() else {
        return Err(Failure::at(0, "must have map or object type"));
    };
    let keys = entries.keys().map(|key| Value::string(key));
    Ok(match call.value(0).data() {
        Data::Object(_) => Value::tuple(keys.collect()),
        _ => Value::list(Type::String, keys.collect()),
    })
}

fn length(call: &Call<'_>) -> Answer {
    let value = call.value(0);
    let length = match value.as_str() {
        Some(text) => text.graphemes(true).count(),
        None => value
            .as_elements()
            .map(|elements| elements.len())
            .or_else(|| value.as_entries().map(|entries| entries.len()))
            .ok_or_else(|| Failure::at(0, "argument must be a string, a collection type, or a structural type"))?,
    };
    Ok(length.into())
}

fn lookup(call: &Call<'_>) -> Answer {
    let Some(entries) = call.value(0).as_entries() else {
        return Err(Failure::at(0, "lookup() requires a map as the first argument"));
    };
    if call.arguments.len() > 3 {
        return Err(Failure::new("lookup() takes two or three arguments"));
    }
    let key = call.text(1);
    if let Some(found) = entries.get(key) {
        return Ok(found.clone());
    }
    if call.arguments.len() < 3 {
        return Err(Failure::new(format!("lookup failed to find {key:?}")));
    }
    match call.value(0).data() {
        Data::Map(ty, _) => convert(call.value(2), ty)
            .map_err(|_| Failure::at(2, "the default value must have the same type as the map elements")),
        _ => Ok(call.value(2).clone()),
    }
}

fn merge(call: &Call<'_>) -> Answer {
    let mut entries = Entries::new();
    let mut element: Option<Type> = None;
    let mut maps = true;
    for (index, value) in call.arguments.iter().enumerate() {
        if value.is_null() && matches!(value.ty(), Type::Dynamic) {
            continue;
        }
        match value.data() {
            Data::Map(ty, map) => {
                maps &= element.as_ref().is_none_or(|other| other == ty);
                element = Some(ty.clone());
                entries.extend(map.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            Data::Object(object) => {
                maps = false;
                entries.extend(object.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            Data::Null(Type::Map(_) | Type::Object(_)) => {}
            _ => {
                let message = format!("arguments must be maps or objects, got {:?}", value.ty().to_string());
                return Err(Failure::at(index, message));
            }
        }
    }
    Ok(match element {
        Some(element) if maps => Value::map(element, entries),
        _ => Value::object(entries),
    })
}

fn range(call: &Call<'_>) -> Answer {
    let one = || Number::from(1i64);
    let (start, end, step) = match call.arguments.len() {
        1 => (Number::from(0i64), call.number(0), None),
        2 => (call.number(0), call.number(1), None),
        3 => (call.number(0), call.number(1), Some(call.number(2))),
        _ => return Err(Failure::new("must have one, two, or three arguments")),
    };
    let down = end < start;
    let step = step.unwrap_or_else(|| if down { one().negate() } else { one() });
    match (step.sign(), down) {
        (0, _) => return Err(Failure::at(2, "step must not be zero")),
        (1, true) => return Err(Failure::at(2, "end must be greater than start when step is positive")),
        (-1, false) if start != end => {
            return Err(Failure::at(2, "end must be less than start when step is negative"));
        }
        _ => {}
    }
    let mut numbers = Vec::new();
    let mut next = start;
    while if down { next > end } else { next < end } {
        if numbers.len() >= MAX_RANGE {
            return Err(Failure::new(format!(
                "more than {MAX_RANGE} values were generated; either decrease the difference between start and end or use a smaller step"
            )));
        }
        numbers.push(next.clone().into());
        next = next.add(&step).map_err(|error| Failure::new(error.to_string()))?;
    }
    Ok(Value::list(Type::Number, numbers))
}

fn reverse(call: &Call<'_>) -> Answer {
    let value = call.value(0);
    let elements: Vec<Value> = match value.as_elements() {
        Some(elements) => elements.iter().rev().cloned().collect(),
        None => return Err(Failure::at(0, "can only reverse list or tuple values")),
    };
    Ok(match value.data() {
        Data::List(ty, _) | Data::Set(ty, _) => Value::list(ty.clone(), elements),
        _ => Value::tuple(elements),
    })
}

fn slice(call: &Call<'_>) -> Answer {
    let elements = need_sequence(call, 0, "must be a list or tuple value")?;
    let (start, end) = (call.integer(1)?, call.integer(2)?);
    let start = usize::try_from(start).map_err(|_| Failure::at(1, "start index must not be less than zero"))?;
    let end = usize::try_from(end).map_err(|_| Failure::at(2, "end index must not be less than zero"))?;
    if start > elements.len() {
        return Err(Failure::at(1, "start index must not be greater than the length of the list"));
    }
    if end > elements.len() {
        return Err(Failure::at(2, "end index must not be greater than the length of the list"));
    }
    if start > end {
        return Err(Failure::at(1, "start index must not be greater than end index"));
    }
    Ok(like(call.value(0), elements[start..end].to_vec()))
}

fn sort(call: &Call<'_>) -> Answer {
    let mut texts: Vec<String> = Vec::new();
    for (index, element) in call.elements(0).iter().enumerate() {
        match element.as_str() {
            Some(text) => texts.push(text.to_owned()),
            None => {
                return Err(Failure::at(
                    0,
                    format!("given list element {index} is null; a null string cannot be sorted"),
                ));
            }
        }
    }
    texts.sort();
    Ok(Value::list_of_strings(texts))
}

fn values(call: &Call<'_>) -> Answer {
    match call.value(0).data() {
        Data::Object(entries) => Ok(Value::tuple(entries.values().cloned().collect())),
        Data::Map(ty, entries) => Ok(Value::list(ty.clone(), entries.values().cloned().collect())),
        _ => Err(Failure::at(0, "values() requires a map as the first argument")),
    }
}

fn zipmap(call: &Call<'_>) -> Answer {
    let keys = call.elements(0);
    let values = need_sequence(call, 1, "values argument must be a list or tuple value")?;
    if keys.len() != values.len() {
        let message = format!("number of keys ({}) does not match number of values ({})", keys.len(), values.len());
        return Err(Failure::new(message));
    }
    let entries: Entries =
        keys.iter().zip(values).filter_map(|(key, value)| Some((key.as_str()?.into(), value.clone()))).collect();
    Ok(match call.value(1).data() {
        Data::List(ty, _) => Value::map(ty.clone(), entries),
        _ => Value::object(entries),
    })
}
