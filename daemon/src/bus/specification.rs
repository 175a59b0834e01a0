//! What is submitted over D-Bus: the fields of the HTTP API (`JobSubmission`) as an `a{sv}`, with `options` as another one in it.

use kiln_protocol::JobSubmission;
use serde_json::{Map, Value};
use zbus::Variant;

use super::failure::{Failure, INVALID_SUBMISSION};
use super::options::Named;

/// Containers inside each other.
const MAX_DEPTH: usize = 16;

/// Reads a specification.
pub(super) fn submission(named: &Named) -> Result<JobSubmission, Failure> {
    let mut fields = Map::new();
    for (name, value) in named {
        fields.insert(name.clone(), json(value, name, MAX_DEPTH)?);
    }
    fields.entry("kind").or_insert_with(|| "build".into());
    if let Some(Value::Object(options)) = fields.get_mut("options") {
        list_variables(options);
    }
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| Failure::new(INVALID_SUBMISSION, format!("the specification does not fit: {error}")))
}

/// Makes the list of the HTTP API of variables that came as a dictionary (`a{ss}`), which is what programs have.
fn list_variables(options: &mut Map<String, Value>) {
    if let Some(Value::Object(variables)) = options.get("variables") {
        let entry = |(name, value): (&String, &Value)| serde_json::json!({"name": name, "value": value});
        let list = variables.iter().map(entry).collect();
        options.insert("variables".to_owned(), Value::Array(list));
    }
}

/// Returns a value as one of JSON; `name` is where it stands.
fn json(value: &Variant<'_>, name: &str, depth: usize) -> Result<Value, Failure> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Failure::argument(format!("`{name}` has containers in each other without end")));
    };
    Ok(match value {
        Variant::U8(value) => (*value).into(),
        Variant::Bool(value) => (*value).into(),
        Variant::I16(value) => (*value).into(),
        Variant::U16(value) => (*value).into(),
        Variant::I32(value) => (*value).into(),
        Variant::U32(value) => (*value).into(),
        Variant::I64(value) => (*value).into(),
        Variant::U64(value) => (*value).into(),
        Variant::F64(value) => (*value).into(),
        Variant::Str(text) => text.as_str().into(),
        Variant::Variant(value) => json(value, name, depth)?,
        Variant::Array(array) => {
            array.inner().iter().map(|value| json(value, name, depth)).collect::<Result<Vec<_>, _>>()?.into()
        }
        Variant::Dict(entries) => {
            let mut fields = Map::new();
            for (key, value) in entries.iter() {
                let key = String::try_from(key)
                    .map_err(|_| Failure::argument(format!("`{name}` has a key that is no text")))?;
                let value = json(value, &key, depth)?;
                fields.insert(key, value);
            }
            fields.into()
        }
        other => {
            let signature = other.value_signature();
            return Err(Failure::argument(format!("`{name}` is of type `{signature}`, which nothing here is")));
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn named(values: Vec<(&str, Variant<'static>)>) -> Named {
        values.into_iter().map(|(name, value)| (name.to_owned(), value.try_into_owned().unwrap())).collect()
    }

    #[test]
    fn a_specification_is_what_the_http_api_takes() {
        let options: HashMap<&str, Variant<'_>> = HashMap::from([
            ("variables", HashMap::from([("password", "a=b c")]).into()),
            ("only", vec!["qemu.*"].into()),
            ("force", true.into()),
            ("on_error", "abort".into()),
            ("parallel_builds", 2u32.into()),
        ]);
        let given = submission(&named(vec![
            ("template", "a.pkr.hcl".into()),
            ("working_directory", "/w".into()),
            ("environment", HashMap::from([("PATH", "/bin")]).into()),
            ("options", options.into()),
        ]))
        .unwrap();
        let text = r#"{"kind":"build","template":"a.pkr.hcl","working_directory":"/w","environment":{"PATH":"/bin"},
            "options":{"variables":[{"name":"password","value":"a=b c"}],"only":["qemu.*"],"force":true,
                "on_error":"abort","parallel_builds":2}}"#;
        assert!(given == serde_json::from_str(text).unwrap());
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let base = || vec![("template", Variant::from("a")), ("working_directory", Variant::from("/w"))];
        let refused = |name, value| {
            let mut values = base();
            values.push((name, value));
            submission(&named(values)).unwrap_err().text
        };
        assert!(refused("templates", "a".into()).contains("unknown field `templates`"));
        assert!(refused("umask", "a".into()).contains("invalid type"));
        assert!(refused("options", HashMap::from([("forced", Variant::from(true))]).into()).contains("`forced`"));
        assert!(refused("options", HashMap::from([(7u32, "a")]).into()).contains("a key that is no text"));
        let deep = (0..30).fold(Variant::from("a"), |inner, _| Variant::Variant(Box::new(inner)));
        assert!(json(&deep, "options", MAX_DEPTH).is_err());
        let secret = submission(&named(vec![("environment", "hunter2".into())])).unwrap_err();
        assert!(secret.text.contains("does not fit"), "{secret:?}");
    }
}
