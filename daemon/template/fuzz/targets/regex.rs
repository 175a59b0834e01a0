//! Regular expressions in Go's syntax: the first line is the pattern, the rest the text.
#![no_main]

use std::sync::LazyLock;

use kiln_template::Console;
use kiln_template_fuzz::quoted;
use libfuzzer_sys::{Corpus, fuzz_target};

static CONSOLE: LazyLock<Console> = LazyLock::new(kiln_template_fuzz::console);

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(input) = std::str::from_utf8(input) else { return Corpus::Reject };
    let (pattern, text) = input.split_once('\n').unwrap_or((input, "abc"));
    let (pattern, text) = (quoted(pattern), quoted(text));
    let ok = |expression: String| !CONSOLE.evaluate(&expression).diagnostics.has_errors();
    let all = ok(format!("regexall({pattern}, {text})"));
    let first = ok(format!("regex({pattern}, {text})"));
    assert!(all || !first, "a pattern that matches once is a pattern");
    ok(format!("regex_replace({text}, {pattern}, \"[$0$1]\")"));
    Corpus::Keep
});
