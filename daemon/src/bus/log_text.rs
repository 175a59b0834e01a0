//! A job's log as people read it: the form that `kiln build` prints.

use kiln_protocol::{Event, EventBody};

use crate::event_log::EventLine;

/// Kinds of events that people read.
const KINDS: [&str; 6] = ["say", "message", "error", "diagnostics", "failure", "prompt"];

/// Writes what an event says to people, if it says anything.
pub(super) fn write(log: &mut Vec<u8>, line: &EventLine) {
    if !KINDS.contains(&line.kind.as_str()) {
        return;
    }
    let Ok(event) = serde_json::from_slice::<Event>(&line.text) else { return };
    let (mark, text, target) = match event.body {
        EventBody::Say { text, target } | EventBody::Error { text, target, .. } => ("==> ", text, target),
        EventBody::Message { text, target } => ("    ", text, target),
        EventBody::Prompt { text, .. } => ("==> ", text, None),
        EventBody::Diagnostics { text, .. } => ("", text, None),
        EventBody::Failure { text, hint } => {
            let hint = hint.map_or_else(String::new, |hint| format!("\nhint: {hint}"));
            ("", format!("error: {text}{hint}"), None)
        }
        _ => return,
    };
    let prefix = match target.or(event.build) {
        Some(name) => format!("{mark}{name}: "),
        None => String::new(),
    };
    for line in text.lines() {
        log.extend_from_slice(prefix.as_bytes());
        log.extend_from_slice(line.as_bytes());
        log.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn lines_have_the_names_of_their_builds() {
        let mut log = Vec::new();
        for text in [
            r#"{"seq":1,"time":"t","build":"qemu.a","kind":"say","text":"Booting\nnow"}"#,
            r#"{"seq":2,"time":"t","build":"qemu.a","kind":"message","text":"hello"}"#,
            r#"{"seq":3,"time":"t","build":"qemu.a","kind":"progress","what":"a","done":1}"#,
            r#"{"seq":4,"time":"t","build":"qemu.a","kind":"error","text":"no","target":"qemu.a (manifest)"}"#,
            r#"{"seq":5,"time":"t","kind":"say","text":"done"}"#,
            r#"{"seq":6,"time":"t","kind":"failure","text":"cannot","hint":"try"}"#,
            r#"{"seq":7,"kind":"say","broken":true}"#,
        ] {
            let kind = text.split("\"kind\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
            write(&mut log, &EventLine { seq: 1, kind, text: Bytes::from_static(text.as_bytes()) });
        }
        let expected = "==> qemu.a: Booting\n==> qemu.a: now\n    qemu.a: hello\n==> qemu.a (manifest): no\ndone\n\
                        error: cannot\nhint: try\n";
        assert_eq!(String::from_utf8(log).unwrap(), expected);
    }
}
