//! Go's own HCL, cty, text/template and regexp.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use kiln_template::{Console, MemoryFiles, format_hcl, go_template};

use super::generate::{Random, expression};
use super::{corpus, expect_none, files_below, inputs, skip};

/// Builds the judge, or says what is missing.
pub(crate) fn oracle(test: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/lab/go-oracle");
    let source = std::env::var_os("KILN_ORACLE").map_or(beside, PathBuf::from).join("main.go");
    if !source.is_file() {
        // Not part of the project: its tests must pass without it wherever they run.
        eprintln!("ignored: {test} needs the judge's source {}", source.display());
        return None;
    }
    if !Path::new("/usr/share/gocode/src/github.com/hashicorp/hcl/v2").is_dir() {
        return skip(test, "golang-github-hashicorp-hcl-v2-dev");
    }
    // One build for all tests of the process.
    static BUILT: std::sync::OnceLock<Result<PathBuf, String>> = std::sync::OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-oracle");
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(&binary)
            .arg(&source)
            .env("GO111MODULE", "off")
            .env("GOPATH", "/usr/share/gocode")
            .output();
        match built {
            Ok(output) if output.status.success() => Ok(binary),
            Ok(output) => Err(format!("a judge that builds: {}", String::from_utf8_lossy(&output.stderr))),
            Err(error) => Err(format!("golang-go ({error})")),
        }
    });
    match built {
        Ok(binary) => Some(binary.clone()),
        Err(reason) => skip(test, reason),
    }
}

/// Gives the judge lines and returns its lines.
fn ask(oracle: &Path, verb: &str, lines: &[String]) -> Vec<String> {
    let mut child = Command::new(oracle).arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = lines.join("\n") + "\n";
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Functions whose answers differ from those of Go's library on purpose, because Packer has its own.
fn own_meaning(expression: &str) -> bool {
    // Packer's length counts characters of strings, its coalesce skips empty strings, its lookup has an optional third
    // argument; a remainder by zero is an error here.
    ["length(", "coalesce(", "%"].iter().any(|part| expression.contains(part))
}

#[test]
fn expressions() {
    let Some(oracle) = oracle("expressions") else { return };
    let console = Console::empty(&inputs(), Arc::new(MemoryFiles::new()));
    let mut random = Random(7);
    let lines: Vec<String> = (0..6000)
        .map(|index| expression(&mut random, 1 + index % 3))
        .filter(|text| !own_meaning(text))
        .map(|text| format!("jsonencode({text})"))
        .collect();
    let answers = ask(&oracle, "eval", &lines);
    assert_eq!(answers.len(), lines.len());
    let mut wrong = Vec::new();
    for (line, answer) in lines.iter().zip(&answers) {
        let mine = console.evaluate(line);
        let theirs = answer.split_once('\t').map(|(json, _)| serde_json::from_str::<String>(json).unwrap());
        let matches = match (&mine.text, &theirs) {
            (Some(mine), Some(theirs)) => mine == theirs,
            (None, None) => true,
            _ => false,
        };
        // Numbers here have no negative zero.
        if !matches && !answer.contains("-0") {
            let problems: Vec<String> = mine.diagnostics.iter().map(|item| item.detail.clone()).collect();
            wrong.push(format!("{line}\n  Go:   {answer}\n  Kiln: {:?} {}", mine.text, problems.join("; ")));
        }
    }
    expect_none(&wrong, lines.len());
}

#[test]
fn go_templates() {
    let Some(oracle) = oracle("go_templates") else { return };
    let mut random = Random(11);
    const PIECES: &[&str] = &[
        "{{.A}}",
        "{{ .B }}",
        "{{if .C}}",
        "{{else}}",
        "{{end}}",
        "{{range .L}}",
        "{{.}}",
        "{{printf \"%5d|%-4s|%q\" .N .A .B}}",
        "{{len .L}}",
        "{{index .L 1}}",
        "{{with .A}}",
        "{{- 1 -}}",
        " x ",
        "{{/* c */}}",
        "{{eq .N 5}}",
        "{{and .C .A}}",
        "{{or .E .B}}",
        "{{not .C}}",
        "{{$x := .N}}",
        "{{$x}}",
        "{{define \"t\"}}",
        "{{template \"t\" .}}",
        "{{`raw`}}",
        "{{\"q\\n\"}}",
        "{{.Nope}}",
        "{{1.5}}",
        "{{'a'}}",
        "{{html \"<a>\"}}",
        "{{print 1 2 \"x\"}}",
        "{{.A | printf \"%s\"}}",
        "{{slice .A 1 2}}",
        "{{lt 1 2}}",
        "{{break}}",
        "{{else if .E}}",
        "{{true}}",
        "{{nil}}",
        "{{(len .A)}}",
        "{{ .A -}}  ",
        "{{printf \"%v %t %x %05.1f\" .L .C .A 3.14159}}",
        "{{println .A}}",
        "{{js \"a'b\"}}",
        "{{urlquery \"a b&c\"}}",
        "{{printf `%v` 3+2i}}",
        "{{print.x}}",
        "{{block \"t\" .}}",
        "{{0x1p4}}{{1_0}}",
        "{{3+2}}",
    ];
    let data = serde_json::json!({"A": "abc", "B": "", "C": true, "E": false, "L": ["p", "q"], "N": "5"});
    let templates: Vec<String> =
        (0..1500).map(|_| (0..1 + random.next(6)).map(|_| random.pick(PIECES)).collect()).collect();
    let lines: Vec<String> =
        templates.iter().map(|text| serde_json::json!({"template": text, "data": data}).to_string()).collect();
    let answers = ask(&oracle, "gotemplate", &lines);
    assert_eq!(answers.len(), lines.len());
    let context = go_template::Context::default()
        .field("A", "abc")
        .field("B", "")
        .field("C", true)
        .field("E", false)
        .field("L", go_template::Value::List(vec!["p".into(), "q".into()]))
        .field("N", "5");
    let mut wrong = Vec::new();
    for (text, answer) in templates.iter().zip(&answers) {
        let mine = go_template::render(text, &context);
        let theirs = serde_json::from_str::<String>(answer).ok();
        // Data here is a map, of which Go prints "<no value>" for what is missing; Packer's data are structs.
        if mine.is_err() && text.contains(".Nope") && theirs.is_some() {
            continue;
        }
        if mine.as_ref().ok() != theirs.as_ref() {
            wrong.push(format!("{text}\n  Go:   {answer}\n  Kiln: {mine:?}"));
        }
    }
    // The same where Packer gives no data at all.
    let lines: Vec<String> =
        templates.iter().map(|text| serde_json::json!({"template": text, "data": null}).to_string()).collect();
    let answers = ask(&oracle, "gotemplate", &lines);
    for (text, answer) in templates.iter().zip(&answers) {
        let mine = go_template::render(text, &go_template::Context::default());
        let theirs = serde_json::from_str::<String>(answer).ok();
        if mine.as_ref().ok() != theirs.as_ref() {
            wrong.push(format!("without data: {text}\n  Go:   {answer}\n  Kiln: {mine:?}"));
        }
    }
    expect_none(&wrong, 2 * templates.len());
}

#[test]
fn regular_expressions() {
    let Some(oracle) = oracle("regular_expressions") else { return };
    let mut random = Random(13);
    const PIECES: &[&str] = &[
        "a",
        "b",
        "[a-c]",
        "[^a]",
        "\\d",
        "\\w+",
        "\\s*",
        "\\b",
        "(",
        ")",
        "(?:",
        "|",
        "*",
        "+",
        "?",
        "{2}",
        "{1,3}",
        "{",
        "}",
        "[",
        "]",
        "^",
        "$",
        ".",
        "\\.",
        "[[:alpha:]]",
        "(?i)",
        "(?P<n>",
        "\\Qa.b\\E",
        "\\x41",
        "\\pL",
        "[\\d-]",
        "é",
        "\\n",
        "-",
        "&&",
        "[a&&b]",
        "\\z",
        "\\A",
        "[]a]",
        "{1001}",
        "\\101",
        "\\1",
        "(?<n>",
        "\\-",
        "\\/",
    ];
    const SUBJECTS: &[&str] = &["abc", "a1 b2-c3", "aaa", "A.b a.b", "é{x}", "", "abab&&-]", "12\n34"];
    let cases: Vec<(String, &str)> = (0..3000)
        .map(|_| ((0..1 + random.next(5)).map(|_| random.pick(PIECES)).collect(), random.pick(SUBJECTS)))
        .collect();
    let lines: Vec<String> =
        cases.iter().map(|(pattern, text)| serde_json::json!([pattern, text]).to_string()).collect();
    let answers = ask(&oracle, "regexp", &lines);
    assert_eq!(answers.len(), lines.len());
    let console = Console::empty(&inputs(), Arc::new(MemoryFiles::new()));
    let mut wrong = Vec::new();
    for ((pattern, text), answer) in cases.iter().zip(&answers) {
        if pattern.contains("?P<n>") && pattern.contains('(') {
            // Mixed groups and duplicate names are refused by the function, not by the pattern.
            continue;
        }
        let quote = |text: &str| serde_json::to_string(text).unwrap().replace("${", "$${").replace("%{", "%%{");
        let mine = console.evaluate(&format!("jsonencode(regexall({}, {}))", quote(pattern), quote(text)));
        let theirs: Option<Vec<Vec<String>>> =
            if answer == "null" { Some(Vec::new()) } else { serde_json::from_str(answer).ok() };
        let matches = match (&mine.text, theirs) {
            (None, None) => true,
            (Some(mine), Some(theirs)) => {
                let plain: Vec<serde_json::Value> = serde_json::from_str(mine).unwrap();
                plain.len() == theirs.len()
                    && plain.iter().zip(&theirs).all(|(mine, theirs)| match mine {
                        serde_json::Value::String(whole) => *whole == theirs[0],
                        groups => groups
                            .as_array()
                            .unwrap()
                            .iter()
                            .zip(&theirs[1..])
                            .all(|(mine, theirs)| mine.as_str().unwrap_or_default() == theirs),
                    })
            }
            _ => false,
        };
        if !matches {
            wrong.push(format!(
                "{pattern:?} on {text:?}\n  Go:   {answer}\n  Kiln: {:?} {:?}",
                mine.text,
                mine.diagnostics.iter().next().map(|item| &item.detail)
            ));
        }
    }
    expect_none(&wrong, cases.len());
}

/// Formats every HCL file of the corpus as HCL's own formatter does.
#[test]
fn formatting() {
    let Some(oracle) = oracle("formatting") else { return };
    let Some(corpus) = corpus("formatting") else { return };
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for path in files_below(&corpus, &[".hcl"]) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let Ok(mine) = format_hcl("t.pkr.hcl", &text) else { continue };
        let output = Command::new(&oracle).arg("fmt").arg(&path).output().unwrap();
        checked += 1;
        let theirs = String::from_utf8(output.stdout).unwrap();
        if mine != theirs {
            let line = mine.lines().zip(theirs.lines()).find(|(mine, theirs)| mine != theirs);
            wrong.push(format!("{}: {line:?}", path.display()));
        }
    }
    expect_none(&wrong, checked);
    assert!(checked > 300, "only {checked} files");
}
