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

/// Returns what a text types where every action is a plain character.
fn typed(text: &str) -> String {
    let plain = |action| match action {
        BootAction::Character(c, Stroke::Press) => c,
        other => panic!("{other:?}"),
    };
    parse(text).unwrap().into_iter().map(plain).collect()
}

#[test]
fn types_unknown_forms_literally() {
    let texts = ["<foo> <Wait> 1<2", "<wait.25m>", "<wait05>", "<wait+5s>", "<wait01s>", "<wait5.s>", "<wait1.5>"];
    for text in texts.into_iter().chain(["<wait-5>", "<wait00>", "<wait5 >", "<wait1m5>", "<wait10q>", "<wait-.5s>"]) {
        assert_eq!(typed(text), text);
    }
    let long = format!("<{}>", "wait5".repeat(1000));
    assert_eq!(typed(&long), long);
}

#[test]
fn waits_for_what_is_said() {
    let waits = [
        ("<wait0>", Duration::ZERO),
        ("<wait0s>", Duration::ZERO),
        ("<wait-0s>", Duration::ZERO),
        ("<wait10>", Duration::from_secs(10)),
        ("<wait0.25m>", Duration::from_secs(15)),
        ("<wait1m5s>", Duration::from_secs(65)),
        ("<wait5ms>", Duration::from_millis(5)),
        ("<wait1.050s>", Duration::from_millis(1050)),
        ("<wait9223372036>", Duration::from_secs(9_223_372_036)),
    ];
    for (text, wait) in waits {
        assert_eq!(parse(text).unwrap(), [BootAction::Wait(wait)], "{text}");
    }
}

#[test]
fn refuses_waits_that_cannot_be() {
    let refused = [
        "<wait-5s>",
        "<wait1m-5s>",
        "<wait9223372037>",
        "<wait99999999999999999999>",
        "<wait99999999999999999999s>",
        "<wait9999999h>",
    ];
    for text in refused {
        let error = parse(&format!("é<enter>{text}")).unwrap_err();
        assert_eq!((error.offset, format!("<{}>", error.tag)), (9, text.to_owned()));
    }
    assert!(parse(&format!("<wait{}>", "9".repeat(200))).is_err());
}

#[test]
fn finds_what_is_written_like_a_form() {
    let text = "<bogus><enter><wait10q><wait> a < b > c <é> <<space> <wait05><{{ .Name }}><wait";
    let unknown = unknown_forms(text, &parse_places(text).unwrap());
    let names: Vec<&str> = unknown.iter().map(|form| form.text).collect();
    assert_eq!(names, ["<bogus>", "<wait10q>", "<space>", "<wait05>", "<wait"]);
    assert_eq!(unknown[1].offset, text.find("<wait10q>").unwrap());
}

#[test]
fn finds_forms_with_blanks_and_forms_without_an_end() {
    let cases: [(&str, &[(&str, &str)]); 12] = [
        ("<wait 5>", &[("<wait 5>", "<wait5>")]),
        ("< wait5s >x", &[("< wait5s >", "<wait5s>")]),
        ("<enter >< enter>", &[("<enter >", "<enter>"), ("< enter>", "<enter>")]),
        ("<left shift On>", &[("<left shift On>", "<leftshiftOn>")]),
        ("<wait5", &[("<wait5", "<wait5>")]),
        ("<wait5 <enter>", &[("<wait5", "<wait5>")]),
        ("<wait<enter>", &[("<wait", "<wait>")]),
        ("<enter<wait>", &[("<enter", "<enter>")]),
        ("a<tab", &[("<tab", "<tab>")]),
        // Text in which such a word stands by chance.
        ("cat <menu.txt; a <end b; 1 < 2 > 1", &[]),
        ("<up and down> <waiting for it <wait5x", &[]),
        ("<a On>", &[]),
    ];
    for (text, expected) in cases {
        let unknown = unknown_forms(text, &parse_places(text).unwrap());
        let found: Vec<_> = unknown.iter().map(|form| (form.text, form.meant.as_deref().unwrap_or(""))).collect();
        assert_eq!(found, expected, "{text}");
    }
}

/// One pass: each `<` that nothing closes looks a short way ahead.
#[test]
fn reads_unclosed_brackets_in_one_pass() {
    assert_eq!(parse(&"<".repeat(1 << 16)).unwrap().len(), 1 << 16);
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
        BootAction::Wait(duration) => format!("Wait<{}>", kiln_template::GoDuration(*duration)),
        BootAction::Special(key, stroke) => format!("Spec-{}({key})", name(stroke)),
        BootAction::Character(c, stroke) => format!("LIT-{}({c})", name(stroke)),
    }
}
