//! Keys, characters and codes against Packer's tables.

use super::*;

#[test]
fn every_printable_character_has_a_key() {
    for code in 0x20..0x7f_u8 {
        let character = char::from(code);
        let (_, shift) = key_for_char(character).unwrap_or_else(|| panic!("{character:?} has no key"));
        let needs_shift = character.is_ascii_uppercase() || "~!@#$%^&*()_+{}|:\"<>?".contains(character);
        assert_eq!(shift, needs_shift, "{character:?}");
    }
    for character in ['é', '\u{0}', '\u{7f}', '中'] {
        assert_eq!(key_for_char(character), None, "{character:?}");
    }
}

#[test]
fn no_two_keys_share_a_number() {
    for (index, one) in table::ALL.iter().enumerate() {
        for other in &table::ALL[index + 1..] {
            assert_ne!(one.qcode(), other.qcode());
            assert_ne!(one.keysym(), other.keysym(), "{one:?} {other:?}");
            assert!(one.scan_codes(true).ne(other.scan_codes(true)), "{one:?} {other:?}");
        }
    }
}

#[test]
fn scan_codes_as_packers_virtualbox_driver_sends_them() {
    let codes = |key: Key| key.scan_codes(true).chain(key.scan_codes(false)).collect::<Vec<_>>();
    assert_eq!(codes(Key::Enter), [0x1c, 0x9c]);
    assert_eq!(codes(Key::F11), [0x57, 0xd7]);
    assert_eq!(codes(Key::ControlRight), [0xe0, 0x1d, 0xe0, 0x9d]);
    assert_eq!(codes(Key::Menu), [0xe0, 0x5d, 0xe0, 0xdd]);
    // Packer's rows of characters, each from its first code on.
    for (first, row) in [(0x02, "1234567890-="), (0x10, "qwertyuiop[]"), (0x1e, "asdfghjkl;'`"), (0x2b, "\\zxcvbnm,./")]
    {
        for (offset, character) in row.chars().enumerate() {
            let (key, shift) = key_for_char(character).unwrap();
            assert_eq!(key.scan_codes(true).collect::<Vec<_>>(), [first + offset as u8], "{character:?}");
            assert!(!shift);
        }
    }
}

#[test]
fn keysyms_of_characters_are_their_codes() {
    for key in table::ALL {
        if let Some((plain, _)) = key.characters() {
            assert_eq!(key.keysym(), u32::from(plain));
        }
    }
}

#[test]
fn boot_command_names() {
    assert_eq!(Key::from_boot_command_name("PageUp"), Some(Key::PageUp));
    assert_eq!(Key::from_boot_command_name("leftOption"), Some(Key::AltLeft));
    assert_eq!(Key::from_boot_command_name("return"), Key::from_boot_command_name("enter"));
    for other in ["enterOn", "", "a", "spc"] {
        assert_eq!(Key::from_boot_command_name(other), None, "{other:?}");
    }
}

#[test]
fn text_becomes_strokes() {
    let events = KeyEvent::text("aB").unwrap();
    assert_eq!(
        events,
        [
            KeyEvent::down(Key::A),
            KeyEvent::up(Key::A),
            KeyEvent::down(Key::ShiftLeft),
            KeyEvent::down(Key::B),
            KeyEvent::up(Key::B),
            KeyEvent::up(Key::ShiftLeft),
        ]
    );
    assert_eq!(KeyEvent::text("aé"), Err('é'));
}
