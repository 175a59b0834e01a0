//! Single expressions, as the console evaluates them: every function with every argument.
#![no_main]

use std::sync::LazyLock;

use kiln_template::Console;
use libfuzzer_sys::{Corpus, fuzz_target};

static CONSOLE: LazyLock<Console> = LazyLock::new(kiln_template_fuzz::console);

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(input) else { return Corpus::Reject };
    if text.contains("bcrypt") {
        return Corpus::Reject;
    }
    let _ = CONSOLE.evaluate(text);
    Corpus::Keep
});
