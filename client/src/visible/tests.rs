//! What passes, what is shown, and that nothing else gets through.

use proptest::prelude::*;

use super::*;

const NO_COLOURS: Rules = Rules { colours: false, ascii: false };
const ASCII: Rules = Rules { colours: true, ascii: true };

fn shown_by(rules: Rules, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut filter, mut output) = (Filter::new(rules), Vec::new());
    for piece in pieces {
        filter.push(piece, &mut output);
    }
    filter.finish(&mut output);
    output
}

fn shown(text: &[u8]) -> String {
    String::from_utf8(shown_by(Rules::ALL, &[text])).unwrap()
}

#[test]
fn what_drives_a_terminal_is_shown() {
    for (text, expected) in [
        (&b"\x1b]0;owned\x07"[..], "^[]0;owned^G"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "^[]8;;http://x^[\\link^[]8;;^[\\"),
        (b"\x1b]52;c;cm0gLXJm\x07", "^[]52;c;cm0gLXJm^G"),
        (b"\x1b[2J\x1b[H\x1b[6n", "^[[2J^[[H^[[6n"),
        (b"\x1bP$q\"p\x1b\\", "^[P$q\"p^[\\"),
        (b"\x1bc\x1b(0\x1b7", "^[c^[(0^[7"),
        (b"password\x08\x08\x08rd", "password^H^H^Hrd"),
        (b"50 %\r60 %\r\n", "50 %^M60 %\n"),
        (b"a\r", "a^M"),
        (b"\x00\x0b\x0c\x0e\x7f", "^@^K^L^N^?"),
        ("\u{9b}2J\u{90}q\u{9d}0;x\u{9c}".as_bytes(), "\\u{9b}2J\\u{90}q\\u{9d}0;x\\u{9c}"),
        (b"\x9b2J\x9d0;x\x9c", "\\x9b2J\\x9d0;x\\x9c"),
        ("a\u{202e}gnp.exe\u{2066}\u{200f}".as_bytes(), "a\\u{202e}gnp.exe\\u{2066}\\u{200f}"),
        ("a\u{2028}b\u{feff}\u{e0041}".as_bytes(), "a\\u{2028}b\\u{feff}\\u{e0041}"),
        // xterm's modifyOtherKeys and private modes end with an m, too.
        (b"\x1b[>4;1m\x1b[?1m\x1b[1 m", "^[[>4;1m^[[?1m^[[1 m"),
        (b"\xf0\x9f\x98", "\\xf0\\x9f\\x98"),
        (b"\xf0\x9f\x1b[2J\xc3(", "\\xf0\\x9f^[[2J\\xc3("),
        (b"\xed\xa0\x80\xc0\xaf\xff", "\\xed\\xa0\\x80\\xc0\\xaf\\xff"),
    ] {
        assert_eq!(shown(text), expected, "{:?}", text.escape_ascii().to_string());
    }
}

#[test]
fn texts_and_colours_pass_and_colours_end_with_their_line() {
    for text in ["plain\n\ttext\n", "Grüße, 世界 👩‍🚀 e\u{301}", "\x1b[1;31mred\x1b[0m\n", "\x1b[38;2;1;2;3mx\x1b[m\n"]
    {
        assert_eq!(shown(text.as_bytes()), text);
    }
    assert_eq!(shown(b"\x1b[31mred\nplain"), "\x1b[31mred\x1b[0m\nplain");
    assert_eq!(shown(b"\x1b[4:3mwave"), "\x1b[4:3mwave\x1b[0m");
    assert_eq!(shown(b"\x1b[38;5;0mblack\n"), "\x1b[38;5;0mblack\x1b[0m\n", "its last number ends nothing");
    let long = format!("\x1b[{}m", "1;".repeat(1000));
    assert!(shown(long.as_bytes()).starts_with("^[[1;1;"), "a sequence without an end holds nothing up");
    assert_eq!(shown_by(NO_COLOURS, &[b"\x1b[31mred\x1b[0m\x1b[K\n"]), b"red^[[K\n");
    assert_eq!(shown_by(ASCII, &["é\u{9b}\x1b[1mb".as_bytes()]), b"\\u{e9}\\u{9b}\x1b[1mb\x1b[0m");
}

#[test]
fn a_writer_holds_what_is_cut() {
    let mut output = Vec::new();
    {
        let mut writer = Visible::new(&mut output, Rules::ALL);
        for piece in [&b"a\x1b"[..], b"[3", b"1mb", b"\xc2", b"\x9bc\r", b"\nd\x1b", b"[2"] {
            writer.write_all(piece).unwrap();
            writer.flush().unwrap();
        }
    }
    assert_eq!(output, b"a\x1b[31mb\\u{9b}c\x1b[0m\nd^[[2");
}

#[test]
fn names_stay_in_their_line() {
    assert_eq!(name("qemu.web"), "qemu.web");
    assert_eq!(name("a\nb\t\x1b[31mc\u{85}\u{202e}"), "a^Jb^I^[[31mc\\u{85}\\u{202e}");
}

#[test]
fn json_keeps_its_value() {
    let text = r#"{"text":"\u001b[2J ä"}"#;
    assert_eq!(json(text), text);
    let value = serde_json::json!({"text": "\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{e0041}é"});
    let text = value.to_string();
    let escaped = json(&text);
    assert!(escaped.contains(r"\u007f\u009b\u202e\udb40\udc41é"), "{escaped}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
}

/// Removes SGR sequences; what is left must hold no control but line feed and tab.
fn is_harmless(mut output: &[u8]) -> bool {
    let mut rest = Vec::new();
    while let Some((&byte, after)) = output.split_first() {
        output = after;
        if byte == 0x1b {
            let Some(after) = after.strip_prefix(b"[") else { return false };
            let length = after.iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b';' | b':')).count();
            let Some(after) = after[length..].strip_prefix(b"m") else { return false };
            output = after;
        } else {
            rest.push(byte);
        }
    }
    let Ok(text) = std::str::from_utf8(&rest) else { return false };
    !text.chars().any(|character| (character.is_control() && !"\n\t".contains(character)) || is_control(character))
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let bait = prop::sample::select(vec![
        &b"\x1b"[..],
        b"\x1b[",
        b"\x1b[31m",
        b"m",
        b"1;",
        b"\r",
        b"\n",
        b"\x9b",
        b"\xc2",
        b"\xe2\x80",
        b"\xae",
        "é".as_bytes(),
        "\u{202e}".as_bytes(),
        b"text",
    ]);
    let piece = prop_oneof![bait.prop_map(<[u8]>::to_vec), prop::collection::vec(any::<u8>(), 0..6)];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn nothing_but_line_feeds_tabs_and_colours_gets_through(text in hostile(), colours: bool, ascii: bool) {
        let output = shown_by(Rules { colours, ascii }, &[&text]);
        prop_assert!(is_harmless(&output), "{:?}", output.escape_ascii().to_string());
        prop_assert!(colours || !output.contains(&0x1b));
        prop_assert!(!ascii || output.is_ascii());
        let named = name(&String::from_utf8_lossy(&text)).into_owned();
        prop_assert!(is_harmless(named.as_bytes()) && !named.contains(['\n', '\t', '\x1b']));
    }

    #[test]
    fn where_a_text_is_cut_makes_no_difference(text in hostile(), at in 0usize..100, then in 0usize..100) {
        let at = at.min(text.len());
        let then = (at + then).min(text.len());
        let cut = shown_by(Rules::ALL, &[&text[..at], &text[at..then], &text[then..]]);
        prop_assert_eq!(cut, shown_by(Rules::ALL, &[&text]));
    }
}
