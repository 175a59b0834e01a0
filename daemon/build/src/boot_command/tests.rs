//! Boot commands against the forms of the reference and the recorded real ones.

use super::*;

fn character(c: char) -> BootAction {
    BootAction::Character(c, Stroke::Press)
}

#[test]
fn parses_every_form() {
    let actions = parse("a<enter><leftShiftOn>B<LEFTSHIFTOFF><wait><wait5><wait1m30s><xOn><xOff>").unwrap();
    assert_eq!(
        actions,
        [
            character('a'),
            BootAction::Special("enter", Stroke::Press),
            BootAction::Special("leftshift", Stroke::On),
            character('B'),
            BootAction::Special("leftshift", Stroke::Off),
            BootAction::Wait(Duration::from_secs(1)),
            BootAction::Wait(Duration::from_secs(5)),
            BootAction::Wait(Duration::from_secs(90)),
            BootAction::Character('x', Stroke::On),
            BootAction::Character('x', Stroke::Off),
        ]
    );
}

#[test]
fn types_unknown_forms_literally() {
    let typed: String = parse("<foo> <Wait> 1<2")
        .unwrap()
        .into_iter()
        .map(|action| match action {
            BootAction::Character(c, Stroke::Press) => c,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(typed, "<foo> <Wait> 1<2");
}

#[test]
fn refuses_a_wait_for_nothing() {
    for text in ["<wait0>", "<wait0s>", "<wait-5s>"] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn never_panics_on_odd_text() {
    for text in ["<", "<>", "<é>", "<éOn>", "<onoff>", "<>>", "<waité>", "<<enter>"] {
        parse(text).unwrap();
    }
}

/// The 167 recorded boot commands of public templates, when the corpus is there.
#[test]
fn agrees_with_the_recorded_commands() {
    let path = crate::corpus::path("suites/boot_command.json");
    let Some(text) = crate::corpus::read(&path) else { return };
    let suite: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let cases = suite["cases"].as_array().unwrap();
    assert!(cases.len() >= 160);
    for case in cases {
        let input = case["input"].as_str().unwrap();
        let expected: Vec<&str> = case["exprs"].as_array().unwrap().iter().map(|e| e.as_str().unwrap()).collect();
        let got: Vec<String> = parse(input).unwrap().iter().map(describe).collect();
        assert_eq!(got, expected, "{input}");
    }
}

fn describe(action: &BootAction) -> String {
    let name = |stroke: &Stroke| match stroke {
        Stroke::Press => "Press",
        Stroke::On => "On",
        Stroke::Off => "Off",
    };
    match action {
        BootAction::Wait(duration) => format!("Wait<{}>", go_duration::GoDuration(*duration)),
        BootAction::Special(key, stroke) => format!("Spec-{}({key})", name(stroke)),
        BootAction::Character(c, stroke) => format!("LIT-{}({c})", name(stroke)),
    }
}
