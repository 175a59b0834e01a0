//! Owns the functions on numbers.

use dashu_int::IBig;

use super::table::{Answer, Call, Failure, Function, Kind, any, function, number, of};
use crate::language::value::{Number, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    function("abs", &[number("num")], |call| Ok(call.number(0).absolute().into())),
    function("ceil", &[number("num")], |call| Ok(call.number(0).ceil().into())),
    function("floor", &[number("num")], |call| Ok(call.number(0).floor().into())),
    function("log", &[number("num"), number("base")], |call| {
        float(call.number(0).to_f64().ln() / call.number(1).to_f64().ln())
    }),
    function("max", &[], |call| extreme(call, |candidate, best| candidate > best)).rest(number("numbers")),
    function("min", &[], |call| extreme(call, |candidate, best| candidate < best)).rest(number("numbers")),
    function("parseint", &[any("number"), number("base")], parse_int),
    function("pow", &[number("num"), number("power")], |call| {
        float(call.number(0).to_f64().powf(call.number(1).to_f64()))
    }),
    function("signum", &[number("num")], |call| {
        let value = call.integer(0)?;
        Ok(value.signum().into())
    }),
    function("sum", &[of(Kind::Any, "list")], sum),
];

fn float(value: f64) -> Answer {
    Number::from_f64(value).map(Value::from).ok_or_else(|| Failure::new("the result is not a finite number"))
}

fn extreme(call: &Call<'_>, better: fn(&Number, &Number) -> bool) -> Answer {
    let mut best: Option<Number> = None;
    for index in 0..call.arguments.len() {
        let candidate = call.number(index);
        if best.as_ref().is_none_or(|best| better(&candidate, best)) {
            best = Some(candidate);
        }
    }
    best.map(Value::from).ok_or_else(|| Failure::new("must pass at least one number"))
}

fn parse_int(call: &Call<'_>) -> Answer {
    let Some(text) = call.value(0).as_str() else {
        let ty = call.value(0).ty();
        return Err(Failure::at(0, format!("first argument must be a string, not {ty}")));
    };
    let base = call.integer(1)?;
    if !(2..=62).contains(&base) {
        return Err(Failure::at(1, "base must be a whole number between 2 and 62 inclusive"));
    }
    let failed = || Failure::at(0, format!("cannot parse {text:?} as a base {base} integer"));
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 5000 {
        return Err(failed());
    }
    let mut value = IBig::ZERO;
    for c in digits.chars() {
        // Up to base 36 case does not matter; above, lower case comes first.
        let digit = match c {
            '0'..='9' => u32::from(c) - u32::from('0'),
            'a'..='z' => u32::from(c) - u32::from('a') + 10,
            'A'..='Z' if base <= 36 => u32::from(c) - u32::from('A') + 10,
            'A'..='Z' => u32::from(c) - u32::from('A') + 36,
            _ => return Err(failed()),
        };
        if i64::from(digit) >= base {
            return Err(failed());
        }
        value = value * IBig::from(base) + IBig::from(digit);
    }
    Ok(Number::from(if negative { -value } else { value }).into())
}

fn sum(call: &Call<'_>) -> Answer {
    let Some(elements) = call.value(0).as_elements() else {
        let message = format!("argument must be list, set, or tuple. Received {}", call.value(0).ty());
        return Err(Failure::at(0, message));
    };
    if elements.is_empty() {
        return Err(Failure::at(0, "cannot sum an empty list"));
    }
    let mut total: Option<Number> = None;
    for element in elements.iter() {
        let converted = crate::language::value::convert::convert(element, &crate::language::value::Type::Number)
            .ok()
            .filter(|value| !value.is_null())
            .ok_or_else(|| Failure::at(0, "argument must be list, set, or tuple of number values"))?;
        let number = converted.as_number().cloned().unwrap_or_else(Number::zero);
        total = Some(match total {
            None => number,
            Some(total) => total.add(&number).map_err(|error| Failure::new(error.to_string()))?,
        });
    }
    Ok(total.unwrap_or_else(Number::zero).into())
}
