//! Go templates, as they stand in option texts.
#![no_main]

use kiln_template::go_template::{Context, Value, check, fields, render};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(input) else { return Corpus::Reject };
    let context = || {
        let list = Value::List(vec![Value::Integer(1), Value::String("b".to_owned()), Value::Nil]);
        let map = Value::Map([("k".to_owned(), Value::Bool(true))].into());
        Context::default().field("A", "x").field("L", list).field("M", map)
    };
    let rendered = render(text, &context());
    if rendered.is_ok() {
        assert!(check(text).is_ok(), "what can be rendered is well formed");
    }
    if !text.contains("uuid") {
        assert_eq!(rendered.ok(), render(text, &context()).ok(), "rendered twice");
    }
    let _ = fields(text);
    Corpus::Keep
});
