//! Kiln's own words in events, apart from what guests and commands have said.

use std::borrow::Cow;

use kiln_protocol::{EventBody, value_without_codes, without_codes};

/// Takes the numbers of the system's errors out of what Kiln says itself. What a guest or a command has written stays as it is.
pub(super) fn without_system_codes(body: &mut EventBody) {
    match body {
        EventBody::Say { text, .. }
        | EventBody::Error { text, output: false, .. }
        | EventBody::Prompt { text, .. }
        | EventBody::Diagnostics { text, .. } => clean(text),
        EventBody::Failure { text, hint } => {
            clean(text);
            hint.iter_mut().for_each(clean);
        }
        EventBody::StepFinished { error, .. }
        | EventBody::BuildFinished { error, .. }
        | EventBody::JobFinished { error, .. } => error.iter_mut().for_each(clean),
        _ => {}
    }
    if let EventBody::Diagnostics { diagnostics, .. } = body {
        diagnostics.iter_mut().for_each(value_without_codes);
    }
}

fn clean(text: &mut String) {
    if let Cow::Owned(cleaned) = without_codes(text) {
        *text = cleaned;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cleaned(body: serde_json::Value) -> String {
        let mut body: EventBody = serde_json::from_value(body).unwrap();
        without_system_codes(&mut body);
        serde_json::to_string(&body).unwrap()
    }

    #[test]
    fn numbers_go_from_our_words_and_stay_in_those_of_others() {
        let text = "x: No such file or directory (os error 2)";
        for body in [
            json!({"kind": "say", "text": text}),
            json!({"kind": "error", "text": text}),
            json!({"kind": "prompt", "prompt": "1", "text": text}),
            json!({"kind": "diagnostics", "severity": "error", "text": text, "diagnostics": [{"detail": [text]}]}),
            json!({"kind": "failure", "text": text, "hint": text}),
            json!({"kind": "step_finished", "step": "a", "elapsed_us": 1, "error": text}),
            json!({"kind": "build_finished", "elapsed_us": 1, "error": text}),
            json!({"kind": "job_finished", "state": "failed", "exit_code": 1, "elapsed_us": 1, "error": text}),
        ] {
            let kind = body["kind"].clone();
            let line = cleaned(body);
            assert!(line.contains("No such file") && !line.contains("os error"), "{kind}: {line}");
        }
        for body in [json!({"kind": "message", "text": text}), json!({"kind": "error", "text": text, "output": true})] {
            assert!(cleaned(body.clone()).contains("(os error 2)"), "{body}");
        }
    }
}
