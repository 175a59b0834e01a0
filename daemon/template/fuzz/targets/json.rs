//! JSON templates of both languages, and fixing the old one.
#![no_main]

use kiln_template::fix;
use kiln_template_fuzz::meaning;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|input: &[u8]| -> Corpus {
    let text = String::from_utf8_lossy(input);
    if text.contains("bcrypt") {
        return Corpus::Reject;
    }
    meaning("t.json", &text);
    meaning("t.pkr.json", &text);
    if let Ok(fixed) = fix(&text) {
        let again = fix(&fixed).expect("what was fixed is a template");
        assert_eq!(again, fixed, "fixed twice");
    }
    Corpus::Keep
});
