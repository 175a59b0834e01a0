//! Templates that ask for more than any machine can do: each is refused with a reason, in little time.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_template::{Inputs, MemoryFiles, Style, load};

use crate::surroundings::{Components, inputs};

/// What one template may take here, in a debug build on a busy machine.
const LIMIT: Duration = Duration::from_secs(40);

/// Returns what is said of a template, all of it if it is short.
fn told(text: &str) -> String {
    let started = Instant::now();
    let files = MemoryFiles::new().with("/w/t.pkr.hcl", text).with(
        "/w/loop.tpl",
        "%{ for a in list }%{ for b in list }%{ for c in list }x%{ endfor }%{ endfor }%{ endfor }",
    );
    let loaded = load(&inputs("t.pkr.hcl"), Arc::new(files), &Components::Nothing);
    let said = loaded.diagnostics.render(&loaded.sources, &Style::default());
    assert!(started.elapsed() < LIMIT, "took {:?}: {}", started.elapsed(), text.get(..200).unwrap_or(text));
    said
}

fn local(expression: &str) -> String {
    told(&format!("locals {{\n  x = {expression}\n}}\n"))
}

#[test]
fn nested_loops_end() {
    let explodes = "[for a in range(1000) : [for b in range(1000) : [for c in range(1000) : a + b + c]]]";
    for expression in [
        explodes.to_owned(),
        format!("try({explodes}, 1)"),
        "\"%{ for a in range(1000) }%{ for b in range(1000) }%{ for c in range(1000) }${a}%{ endfor }%{ endfor }%{ endfor }\"".to_owned(),
        "length(templatefile(\"loop.tpl\", { list = range(1000) }))".to_owned(),
        "[for a in range(1000) : [for b in range(1000) : sha512(\"${a}${b}\")]]".to_owned(),
    ] {
        let said = local(&expression);
        assert!(
            ["asks for too much work", "Value too large", "too long"].iter().any(|known| said.contains(known)),
            "{expression}: {said}"
        );
    }
}

#[test]
fn shared_parts_do_not_multiply() {
    let mut text = String::from("locals {\n  a0 = [1, 1]\n");
    for level in 1..60 {
        _ = writeln!(text, "  a{level} = [local.a{}, local.a{}]", level - 1, level - 1);
    }
    text.push_str("  json = jsonencode(local.a59)\n  same = local.a59 == local.a58\n}\n");
    let said = told(&text);
    // What is too large is unknown from there on, so it takes as long again to become too large.
    assert!((1..=3).contains(&said.matches("Error: Value too large").count()), "{said}");
}

#[test]
fn texts_do_not_multiply() {
    let mut text = String::from("locals {\n  a0 = \"0123456789abcdef\"\n");
    for level in 1..60 {
        _ = writeln!(text, "  a{level} = \"${{local.a{}}}${{local.a{}}}\"", level - 1, level - 1);
    }
    text.push_str("}\n");
    assert!(told(&text).contains("Value too large"));
    let long = "join(\"\", [for x in range(1000) : format(\"%1000s\", x)])";
    for growing in [
        "range(0, 1e12)",
        "range(1e300)",
        "join(format(\"%10000s\", \"\"), split(\"\", format(\"%10000s\", \"\")))",
        "replace(format(\"%10000s\", \"\"), \" \", format(\"%10000s\", \"\"))",
        "regex_replace(format(\"%10000s\", \"\"), \" \", format(\"%10000s\", \"\"))",
        "indent(1e9, \"a\\nb\\nc\")",
        "indent(1e18, \"a\\nb\\nc\")",
        "setproduct(range(1000), range(1000), range(1000))",
        "bcrypt(\"x\", 31)",
        "bcrypt(\"x\", 19)",
    ] {
        let said = local(growing);
        assert!(said.starts_with("Error: ") && said.contains("hint: ") | said.contains("x = "), "{growing}: {said}");
    }
    let said = local(&format!("[for y in range(1000) : {long}]"));
    assert!(said.contains("Value too large") || said.contains("too much work"), "{said}");
}

#[test]
fn values_do_not_nest_without_end() {
    let mut text = String::from("locals {\n  a0 = []\n");
    for level in 1..3000 {
        _ = writeln!(text, "  a{level} = [local.a{}]", level - 1);
    }
    text.push_str("}\n");
    let said = told(&text);
    assert!((1..=5).contains(&said.matches("Error: Value too large").count()), "{said}");
}

/// Each refers to the one after it, so the first is evaluated last.
#[test]
fn many_locals() {
    // As many as a debug build does in some seconds on a busy machine; a quadratic step would still be seen.
    let count = 5_000;
    let mut text = String::from("locals {\n");
    for index in 0..count {
        _ = writeln!(text, "  a{index} = local.a{} + 1", index + 1);
    }
    _ = writeln!(text, "  a{count} = 0\n}}");
    assert_eq!(told(&text), "");
    let said = told(&text.replace(&format!("a{count} = 0"), &format!("a{count} = local.a0")));
    assert!(said.contains("Cycle in local values") && said.len() < 2000, "{said}");
    let mut text = String::new();
    for index in 0..count {
        _ = writeln!(text, "variable \"v{index}\" {{\n  default = {index}\n}}");
    }
    assert_eq!(told(&text), "");
}

#[test]
fn texts_with_too_many_words() {
    let lines = "  ${a}\n".repeat(400_000);
    let said = told(&format!("locals {{\n  x = <<EOT\n{lines}EOT\n  y = local.z\n}}\n"));
    assert_eq!(said.matches("Error: ").count(), 1, "{}", said.get(..1000).unwrap_or(&said));
    assert!(said.contains("Template too large") && said.contains("at most 1000000 words and signs"), "{said}");
}

/// A template, the files and the variable files.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

/// JSON has the limit of native syntax, wherever it is read.
#[test]
fn json_with_too_many_words() {
    let items = "\"a\",\n".repeat(600_000);
    let object = format!("{{\"x\": [{items}1]}}");
    let small = "{\"builders\": [{\"type\": \"null\"}]}";
    let cases: [Case<'_>; 5] = [
        ("t.json", &[("/w/t.json", &object)], &[]),
        ("t.pkr.json", &[("/w/t.pkr.json", &object)], &[]),
        ("t.json", &[("/w/t.json", small), ("/w/v.json", &object)], &["v.json"]),
        ("t.pkr.json", &[("/w/t.pkr.json", "{}"), ("/w/v.pkrvars.json", &object)], &["v.pkrvars.json"]),
        ("d", &[("/w/d/t.pkr.json", "{}"), ("/w/d/v.auto.pkrvars.json", &object)], &[]),
    ];
    for (path, files, var_files) in cases {
        let files = files.iter().fold(MemoryFiles::new(), |files, (path, text)| files.with(*path, *text));
        let loaded = load(
            &Inputs { var_files: var_files.iter().map(Into::into).collect(), ..inputs(path) },
            Arc::new(files),
            &Components::Nothing,
        );
        let said = loaded.diagnostics.render(&loaded.sources, &Style::default());
        let told = ["Template too large", "2.9 MiB", "at most 1000000 words and signs", "hint: leave data to files"];
        // The report breaks its lines where there is room.
        let flat = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.iter().all(|part| flat.contains(part)), "{path}: {}", said.get(..2000).unwrap_or(&said));
    }
    assert!(matches!(kiln_template::fix(&object), Err(kiln_template::FixError::TooLarge)));
}
