//! The name by which an image calls the file below it, as QEMU reads it: a path, `file:` and a path, or `json:` and a node's options.
//!
//! ```text
//! json:{"driver":"qcow2","file":{"driver":"file","filename":"base.qcow2"}}     the same: json:{"file.filename":"base.qcow2", …}
//! ```

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::format::Format;

/// QEMU's drivers for a local file.
const LOCAL: [&str; 2] = ["file", "host_device"];
/// Options that change nothing of what is read.
const HARMLESS: [&str; 10] = [
    "aio",
    "auto-read-only",
    "cache.direct",
    "cache.no-flush",
    "detect-zeroes",
    "discard",
    "force-share",
    "locking",
    "node-name",
    "read-only",
];

/// The file below an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackingFile {
    /// Its path; a relative one begins at the directory of the image that names it (with QEMU, a `json:` name's at its own).
    pub path: String,
    /// Its format in the image's words, where it is recorded.
    pub format: Option<String>,
}

impl BackingFile {
    /// Reads a name, with the format that is recorded beside it; an error says why it is no file that can be opened.
    pub(crate) fn named(name: &str, format: Option<&str>) -> Result<Self, String> {
        let recorded = format.map(str::to_owned);
        let Some(options) = name.strip_prefix("json:") else {
            return Ok(Self { path: path(name)?.to_owned(), format: recorded });
        };
        let json = serde_json::from_str::<Map<String, Value>>(&double_quoted(options));
        let json = json.map_err(|error| format!("no JSON ({error})"))?;
        let mut flat = BTreeMap::new();
        flatten("", &json, &mut flat)?;
        let (path, driver) = read(flat)?;
        match (&recorded, &driver) {
            (Some(recorded), Some(driver)) if Format::from_name(recorded) != Format::from_name(driver) => {
                Err(format!("which says {driver:?}, while the recorded format is {recorded:?}"))
            }
            _ => Ok(Self { path, format: recorded.or(driver) }),
        }
    }
}

/// Returns the path that a name is, without JSON.
pub(crate) fn path(name: &str) -> Result<&str, String> {
    let plain = name.strip_prefix("file:").filter(|rest| !rest.starts_with("//")).unwrap_or(name);
    // "nbd://", "host:port": QEMU would interpret them, a path never needs them.
    let scheme = plain.split_once(':').map(|(scheme, _)| scheme);
    if plain.is_empty() || scheme.is_some_and(|scheme| !scheme.contains('/')) {
        return Err("which is not a path".to_owned());
    }
    Ok(plain)
}

/// Puts strings into double quotes: QEMU's JSON has them in single ones too, and `\'` in both.
fn double_quoted(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut quote = None;
    let mut characters = json.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (None, '"' | '\'') => {
                quote = Some(c);
                out.push('"');
            }
            (Some(open), _) if open == c => {
                quote = None;
                out.push('"');
            }
            (Some('\''), '"') => out.push_str("\\\""),
            (Some(_), '\\') => match characters.next() {
                Some('\'') => out.push('\''),
                escaped => out.extend([c].into_iter().chain(escaped)),
            },
            _ => out.push(c),
        }
    }
    out
}

/// Writes nested options with dots, as QEMU takes them too.
fn flatten(prefix: &str, from: &Map<String, Value>, to: &mut BTreeMap<String, Value>) -> Result<(), String> {
    for (key, value) in from {
        let key = format!("{prefix}{key}");
        match value {
            Value::Object(nested) => flatten(&format!("{key}."), nested, to)?,
            value => {
                if to.insert(key.clone(), value.clone()).is_some() {
                    return Err(format!("which says {key:?} twice"));
                }
            }
        }
    }
    Ok(())
}

/// Returns the path, and the format if one is said.
fn read(mut options: BTreeMap<String, Value>) -> Result<(String, Option<String>), String> {
    let mut text = |key: &str| match options.remove(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("whose {key:?} is no text")),
    };
    let (driver, protocol) = (text("driver")?, text("file.driver")?);
    let paths = [text("filename")?, text("file.filename")?];
    let is_local = |driver: &Option<String>| driver.as_deref().is_some_and(|driver| LOCAL.contains(&driver));
    if let Some(driver) = driver.as_ref().filter(|driver| !LOCAL.contains(&driver.as_str()))
        && Format::from_name(driver).is_none()
    {
        return Err(format!("which needs QEMU's driver {driver:?}"));
    }
    if let Some(protocol) = protocol.as_ref().filter(|driver| !LOCAL.contains(&driver.as_str())) {
        return Err(format!("which needs QEMU's driver {protocol:?}"));
    }
    let harmless = |key: &str| HARMLESS.contains(&key.strip_prefix("file.").unwrap_or(key));
    if let Some(other) = options.keys().find(|key| !harmless(key)) {
        return Err(format!("with the option {other:?}"));
    }
    let path = match paths {
        [Some(path), None] if protocol.is_none() => path,
        [None, Some(path)] if !is_local(&driver) => path,
        _ => return Err("which does not name one file".to_owned()),
    };
    if path.is_empty() {
        return Err("which is not a path".to_owned());
    }
    // A protocol without a format on top shows the bytes as they are.
    Ok((path, driver.map(|driver| if LOCAL.contains(&driver.as_str()) { "raw".to_owned() } else { driver })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, format: Option<&str>) -> Result<(String, Option<String>), String> {
        BackingFile::named(name, format).map(|file| (file.path, file.format))
    }

    #[test]
    fn paths_and_nodes_of_local_files_are_read() {
        let qcow2 = |path: &str| Ok((path.to_owned(), Some("qcow2".to_owned())));
        assert_eq!(named("b.qcow2", Some("qcow2")), qcow2("b.qcow2"));
        assert_eq!(named("file:b", None), Ok(("b".to_owned(), None)));
        for name in [
            r#"json:{"driver":"qcow2","file":{"driver":"file","filename":"a:b"}}"#,
            r#"json:{"driver":"qcow2","file.driver":"file","file.filename":"a:b"}"#,
            r#"json:{ "file" : {"filename":"a:b","locking":"off"}, "driver":"qcow2", "cache":{"direct":true} }"#,
            r#"json:{'driver':'qcow2','file':{'driver':'file',"filename":'a:b'}}"#,
        ] {
            assert_eq!(named(name, None), qcow2("a:b"), "{name}");
            assert_eq!(named(name, Some("qcow2")), qcow2("a:b"), "{name}");
            assert!(named(name, Some("raw")).unwrap_err().contains("recorded format"), "{name}");
        }
        let node = r#"json:{"driver":"file","filename":"b"}"#;
        assert_eq!(named(node, None), Ok(("b".to_owned(), Some("raw".to_owned()))));
        assert_eq!(named(r#"json:{"file.filename":"b"}"#, None), Ok(("b".to_owned(), None)));
        assert_eq!(named(r#"json:{"file.filename":"b"}"#, Some("qcow2")), qcow2("b"));
        for (written, path) in [
            (r#"json:{'file.filename':'it\'s'}"#, "it's"),
            (r#"json:{"file.filename":"it's"}"#, "it's"),
            (r#"json:{"file.filename":"it\'s"}"#, "it's"),
            (r#"json:{'file.filename':'a"b'}"#, "a\"b"),
            (r#"json:{'file.filename':'a\"b'}"#, "a\"b"),
            (r#"json:{'file.filename':'a\\'}"#, "a\\"),
        ] {
            assert_eq!(named(written, None), Ok((path.to_owned(), None)), "{written}");
        }
    }

    #[test]
    fn everything_else_says_why_not() {
        for (name, why) in [
            ("", "not a path"),
            ("nbd://host/x", "not a path"),
            ("file:///etc/passwd", "not a path"),
            ("json:", "no JSON"),
            ("json:[]", "no JSON"),
            ("json:{", "no JSON"),
            ("json:{'file.filename':'b\"}", "no JSON"),
            ("json:{'file.filename':'b\\", "no JSON"),
            ("json:{}", "does not name one file"),
            (r#"json:{"driver":"nbd","host":"h"}"#, "driver \"nbd\""),
            (r#"json:{"driver":"qcow2","file":{"driver":"ssh","filename":"b"}}"#, "driver \"ssh\""),
            (r#"json:{"driver":"raw","offset":512,"file.filename":"b"}"#, "option \"offset\""),
            (r#"json:{"driver":"qcow2","backing":null,"file.filename":"b"}"#, "option \"backing\""),
            (r#"json:{"driver":"raw","file":{"driver":"qcow2","file":{"filename":"b"}}}"#, "driver \"qcow2\""),
            (r#"json:{"file":{"filename":"a"},"file.filename":"b"}"#, "twice"),
            (r#"json:{"filename":"a","file.filename":"b"}"#, "does not name one file"),
            (r#"json:{"driver":"file","file.filename":"b"}"#, "does not name one file"),
            (r#"json:{"filename":7}"#, "is no text"),
            (r#"json:{"filename":""}"#, "not a path"),
        ] {
            let told = named(name, None).unwrap_err();
            assert!(told.contains(why), "{name}: {told}");
        }
        let deep = format!("json:{}", "{\"a\":".repeat(200));
        assert!(named(&deep, None).unwrap_err().contains("no JSON"));
    }
}
