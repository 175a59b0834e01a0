//! Tests of expressions: results as JSON with their type, recorded from Go's HCL where the comment says so.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::diagnostics::Diagnostics;
use crate::diagnostics::source_map::SourceMap;
use crate::language::environment::Environment;
use crate::language::syntax::parse_expression;
use crate::language::value::Value;
use crate::language::value::json;
use crate::world::files::MemoryFiles;

/// Evaluates an expression to its JSON and type, or `ERR` and the first summary.
pub(crate) fn evaluated(text: &str) -> String {
    let mut sources = SourceMap::new();
    let file = sources.add("line", text);
    let mut diagnostics = Diagnostics::new();
    let expr = parse_expression(&sources, file, &mut diagnostics);
    let files = MemoryFiles::new().with("/t/greeting.tpl", "Hello ${name}!%{ for x in list } ${x}%{ endfor }");
    let environment = Environment {
        files: Arc::new(files),
        root: "/t".into(),
        cwd: "/t".into(),
        variables: BTreeMap::new(),
        now: "2020-01-02T03:04:05Z".parse().unwrap(),
        data: crate::DataMode::Unknown,
        redactor: crate::diagnostics::redact::Redactor::default(),
        budget: Arc::default(),
    };
    let names =
        [("obj".into(), Value::object([("a".into(), 1i64.into())].into_iter().collect()))].into_iter().collect();
    let scope = Scope::new(&environment, FunctionSet::All, names);
    let value = if diagnostics.is_empty() { scope.evaluate(&expr, &mut diagnostics) } else { Value::null() };
    match diagnostics.iter().next() {
        Some(first) => format!("ERR {}", first.summary),
        None => format!("{} {}", json::encode(&value), value.ty()),
    }
}

/// Checks `expression => result` lines.
fn check(lines: &str) {
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let (expression, expected) = line.trim().rsplit_once(" => ").unwrap();
        assert_eq!(evaluated(&expression.replace("\\n", "\n")), expected, "{expression}");
    }
}

#[test]
fn operators() {
    check(
        r#"
        1 + 2 * 3 => 7 number
        (1 + 2) * 3 => 9 number
        10 - 2 - 3 => 5 number
        7 / 2 => 3.5 number
        7 % 4 => 3 number
        "5" + 3 => 8 number
        -"3" => -3 number
        true && "true" => true bool
        !"true" => false bool
        1 < 2 && 2 <= 2 || false => true bool
        1 == "1" => false bool
        [1] == [1] => true bool
        null == null => true bool
        0 / 0 => ERR Operation failed
        1/0 - 1/0 => ERR Operation failed
        1/0 * 0 => ERR Operation failed
        [can(1/0), can(-1/0), can(0/0), 1/0 > 5, -1/0 < 1/0, 1/0 == 1/0, 1/(1/0)] => [true,true,false,true,true,true,0] tuple
        [format("%v", 1/0), "x${-1/0}", try(1/0, 5) == 1/0, max(1/0, 1) == 1/0, floor(1/0) == 1/0] => ["+Inf","x-Inf",true,true,true] tuple
        jsonencode(1/0) => ERR Error in function call
        "a" + 1 => ERR Invalid operand
        null + 1 => ERR Invalid operand
        0.1 + 0.2 == 0.3 => true bool
        10000000000 * 10000000000 => 100000000000000000000 number
        "#,
    );
}

#[test]
fn conditionals_unify() {
    check(
        r#"
        true ? 1 : "a" => "1" string
        false ? 1 : null => null number
        true ? [1] : ["a", "b"] => ["1"] list of string
        true ? {a=1} : {b=2} => {"a":1} map of number
        "true" ? 1 : 2 => 1 number
        null ? 1 : 2 => ERR Null condition
        "x" ? 1 : 2 => ERR Incorrect condition type
        true ? [1] : 2 => ERR Inconsistent conditional result types
        true ? 1 : nope => 1 number
        "#,
    );
}

#[test]
fn collections_and_references() {
    check(
        r#"
        {b=1,a="x",(1+1)=true} => {"2":true,"a":"x","b":1} object
        {"${"k"}"=1} => {"k":1} object
        [1,"a"][1] => "a" string
        [1,2]["1"] => 2 number
        [1][1] => ERR Invalid index
        [1].0 => 1 number
        obj.a => 1 number
        obj["a"] => 1 number
        obj.b => ERR Unsupported attribute
        obj.a.b => ERR Unsupported attribute
        nope => ERR Unknown variable
        {obj.a=1} => ERR Ambiguous attribute key
        [{a=1},{a=2}].*.a => [1,2] tuple
        [{a=[1,2]},{a=[3]}][*].a[0] => [1,3] tuple
        [{a=[1,2]},{a=[3]}].*.a[0] => [1,2] tuple
        obj.*.a => [1] tuple
        null[*] => [] tuple
        "#,
    );
}

#[test]
fn for_expressions() {
    check(
        r#"
        [for x in [1,2,3]: x * 2 if x != 2] => [2,6] tuple
        [for k, v in {b=1,a=2}: "${k}${v}"] => ["a2","b1"] tuple
        {for i, x in ["a","b"]: x => i} => {"a":0,"b":1} object
        {for x in ["a","b","a"]: x => x...} => {"a":["a","a"],"b":["b"]} object
        {for x in ["a","a"]: x => x} => ERR Duplicate object key
        [for x in 5: x] => ERR Iteration over non-iterable value
        [for x in null: x] => ERR Iteration over null value
        [for x in [1]: x if null] => ERR Null condition
        "#,
    );
}

#[test]
fn templates() {
    check(
        r#"
        "a${1 + 1}b" => "a2b" string
        "${[1]}" => [1] tuple
        "x${[1]}" => ERR Invalid template interpolation value
        "x${null}" => ERR Invalid template interpolation value
        "$${a} %%{b} $$${1}" => "${a} %{b} $${1}" string
        "%{if true}yes%{else}no%{endif}" => "yes" string
        "%{for x in [1,2]}${x},%{endfor}" => "1,2," string
        "a  ${~ 1 ~}  b" => "a1b" string
        "\u00e9\U0001F600\t" => "é😀\t" string
        <<EOT\n  a\n b${1}\nEOT\n => "  a\n b1\n" string
        <<-EOT\n    a\n      b\n\n    c\n  EOT\n => "a\n  b\n\nc\n" string
        "#,
    );
}

#[test]
fn functions_are_called() {
    check(
        r#"
        upper(5) => "5" string
        max([1,5,3]...) => 5 number
        nope(1) => ERR Call to unknown function
        upper() => ERR Not enough function arguments
        upper(1,2) => ERR Too many function arguments
        upper(null) => ERR Invalid function argument
        upper([]) => ERR Invalid function argument
        env("HOME") => ERR Call to unknown function
        try(nope.x, obj.zz, "c") => "c" string
        can(obj.a) => true bool
        can(nope) => false bool
        convert("5", number) => 5 number
        convert(["1"], set(number)) => [1] set of number
        templatefile("greeting.tpl", {name = "you", list = [1, 2]}) => "Hello you! 1 2" string
        templatefile("greeting.tpl", {}) => ERR Error in function call
        "#,
    );
}

#[test]
fn numbers_keep_their_precision() {
    // Recorded from Go's cty.
    check(
        r#"
        pow(2,60) => 1152921504606847000 number
        log(10,3) => 2.095903274289385 number
        1e5 => 100000 number
        1.10 => 1.1 number
        5 % 3.5 => 1.5 number
        -5 % 3 => -2 number
        "#,
    );
}
