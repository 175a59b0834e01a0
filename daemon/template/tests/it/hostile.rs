//! Random texts, put together from pieces of the languages: nothing panics, hangs or grows without bounds.

use std::sync::Arc;

use kiln_template::{
    Console, Generated, MemoryFiles, OptionKind, OptionSpec, Schema, Style, fix, format_hcl, go_template, load,
};
use proptest::prelude::*;

use crate::surroundings::{CATALOG, Components, inputs, problems_of_hcl};

const PIECES: &[&str] = &[
    "a",
    "b",
    "source",
    "build",
    "variable",
    "locals",
    "provisioner",
    "dynamic",
    "content",
    "for_each",
    "var.a",
    "local.b",
    "\"",
    "\"x\"",
    "\"${",
    "%{",
    "%{if true}",
    "%{endif}",
    "}",
    "{",
    "[",
    "]",
    "(",
    ")",
    ",",
    "=",
    "=>",
    "==",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "<",
    ">",
    "&&",
    "||",
    "?",
    ":",
    "...",
    ".",
    ".*",
    "[*]",
    "\n",
    " ",
    "#",
    "//",
    "/*",
    "*/",
    "<<EOT\n",
    "<<-EOT\n",
    "EOT\n",
    "\nEOT\n",
    "for x in",
    "if",
    "in",
    "1",
    "1e9",
    "1e99999",
    "0.1",
    "null",
    "true",
    "try(",
    "convert(",
    "range(",
    "format(\"%1000000d\",",
    "regex(\"(\",",
    "jsondecode(\"[",
    "\u{feff}",
    "é",
    "e\u{301}",
    "\u{0}",
    "\r\n",
    "\\",
    "\\u12",
    "~}",
    "${~",
    "'",
    "`",
    ";",
    "&",
    "|",
    "{{",
    "}}",
    "{{ .A }}",
    "{{if",
    "{{end}}",
    "{{range .L}}",
    "\u{1f600}",
    "iso_url",
    "templatefile(\"t.pkr.hcl\", {})",
    "sources = [\"qemu.a\"]",
    "file(\"/dev/zero\")",
    "setproduct(",
    "9999999999",
];

static SCHEMA: Schema = Schema {
    kind: "qemu",
    options: &[
        OptionSpec::new("iso_url", OptionKind::String, "", ""),
        OptionSpec::new("a", OptionKind::Strings, "", ""),
        OptionSpec::new("b", OptionKind::Blocks(&[OptionSpec::new("a", OptionKind::Map, "", "")]), "", ""),
    ],
    groups: &[],
};

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..40).prop_map(|pieces| pieces.concat())
}

/// A template that is well formed but for random expressions.
fn template() -> impl Strategy<Value = String> {
    (text(), text(), text()).prop_map(|(first, second, third)| {
        format!(
            "variable \"a\" {{ default = {first} }}\nlocals {{\n b = {second}\n}}\nsource \"qemu\" \"a\" {{\n iso_url = {third}\n}}\nbuild {{\n sources = [\"qemu.a\"]\n}}\n"
        )
    })
}

fn load_all(path: &str, text: &str) {
    let files = MemoryFiles::new().with(format!("/w/{path}"), text);
    let loaded = load(&inputs(path), Arc::new(files), &Components::Anything(&SCHEMA));
    let _ = loaded.diagnostics.render(&loaded.sources, &Style::default());
    let _ = loaded.diagnostics.reports(&loaded.sources);
    if let Some(evaluated) = loaded.to_check() {
        for component in evaluated.components() {
            let _ = component.decode(&Generated::plan());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn hcl(text in text()) {
        load_all("t.pkr.hcl", &text);
        let _ = format_hcl("t.pkr.hcl", &text);
    }

    #[test]
    fn templates(text in template()) {
        load_all("t.pkr.hcl", &text);
    }

    #[test]
    fn expressions(text in text()) {
        let console = Console::empty(&inputs("."), Arc::new(MemoryFiles::new()));
        let _ = console.evaluate(&text);
    }

    #[test]
    fn json(text in text()) {
        load_all("t.json", &text);
        load_all("t.pkr.json", &text);
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r', '\0'], " ");
        let whole = format!("{{\"variables\": {{\"a\": \"{escaped}\"}}, \"builders\": [{{\"type\": \"qemu\", \"iso_url\": \"{escaped}\"}}]}}");
        load_all("t.json", &whole);
        let _ = fix(&whole);
    }

    #[test]
    fn go_templates(text in text()) {
        let _ = go_template::render(&text, &go_template::Context::default().field("A", "x"));
        let _ = go_template::render(&format!("{{{{ {text} }}}}"), &go_template::Context::default());
        let _ = go_template::check(&text);
    }

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = String::from_utf8_lossy(&bytes);
        load_all("t.pkr.hcl", &text);
        load_all("t.json", &text);
        let _ = go_template::render(&text, &go_template::Context::default());
    }
}

#[test]
fn odd_texts_do_not_crash() {
    for text in
        ["\u{0}", "\u{feff}", "a = \"\u{1b}[31m\n", "}\n", "source", "\"", "<<EOT", "a = <<-\n", "${", "%{", "\\"]
    {
        let _ = problems_of_hcl(text);
    }
    let files = MemoryFiles::new().with("/w/t.pkr.hcl", vec![b'a', b'=', 0xff, 0xfe, b'\n']);
    let loaded = load(&inputs("t.pkr.hcl"), Arc::new(files), &CATALOG);
    assert!(loaded.diagnostics.has_errors());
    for path in ["missing.pkr.hcl", "t.pkr.hcl/x.pkr.hcl"] {
        assert!(load(&inputs(path), Arc::new(MemoryFiles::new()), &CATALOG).diagnostics.has_errors());
    }
}
