//! Boot commands: what was parsed, written down again, is parsed as the same.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};

// The file alone: the crate they belong to brings network and TLS, which would all be built with instrumentation.
#[rustfmt::skip]
#[path = "../../../builder/src/boot_command.rs"]
mod boot_command;

use boot_command::{BootAction, Stroke};

fn written(actions: &[BootAction]) -> String {
    let held = |stroke| match stroke {
        Stroke::Press => "",
        Stroke::On => "on",
        Stroke::Off => "off",
    };
    let mut text = String::new();
    for action in actions {
        match action {
            BootAction::Wait(time) => text.push_str(&format!("<wait{}>", kiln_template::GoDuration(*time))),
            BootAction::Special(name, stroke) => text.push_str(&format!("<{name}{}>", held(*stroke))),
            BootAction::Character(character, Stroke::Press) => text.push(*character),
            BootAction::Character(character, stroke) => text.push_str(&format!("<{character}{}>", held(*stroke))),
        }
    }
    text
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(input) else { return Corpus::Reject };
    if let Ok(places) = boot_command::parse_places(text) {
        for form in boot_command::unknown_forms(text, &places) {
            assert!(form.text.starts_with('<') && text[form.offset..].starts_with(form.text));
        }
    }
    if let Ok(actions) = boot_command::parse(text) {
        assert!(actions.len() <= text.chars().count());
        assert_eq!(boot_command::parse(&written(&actions)).as_ref(), Ok(&actions), "{:?}", written(&actions));
    }
    Corpus::Keep
});
