//! HCL templates: load, diagnose, decode; formatting changes nothing but blanks, and nothing the second time.
#![no_main]

use kiln_template::{check_syntax, format_hcl};
use kiln_template_fuzz::meaning;
use libfuzzer_sys::{Corpus, fuzz_target};

/// Functions that answer something else each time.
const RANDOM: [&str; 2] = ["uuid", "bcrypt"];

fn without_blanks(text: &str) -> String {
    text.trim_start_matches('\u{feff}').chars().filter(|character| !matches!(character, ' ' | '\t')).collect()
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let text = String::from_utf8_lossy(input);
    // Its cost is an argument, as in every tool that has it; a cost of 31 takes hours everywhere.
    if text.contains("bcrypt") {
        return Corpus::Reject;
    }
    let before = meaning("t.pkr.hcl", &text);
    let (diagnostics, _) = check_syntax("t.pkr.hcl", &text);
    match format_hcl("t.pkr.hcl", &text) {
        Err(_) => assert!(diagnostics.has_errors()),
        Ok(formatted) => {
            assert!(!diagnostics.has_errors());
            assert_eq!(without_blanks(&formatted), without_blanks(&text));
            assert_eq!(format_hcl("t.pkr.hcl", &formatted).ok().as_ref(), Some(&formatted), "formatted twice");
            if !RANDOM.iter().any(|name| text.contains(name)) {
                assert_eq!(meaning("t.pkr.hcl", &formatted), before, "the meaning changed");
            }
        }
    }
    Corpus::Keep
});
