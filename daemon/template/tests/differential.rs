//! Compares with Go's own HCL, cty, text/template and regexp, where Go and those packages are installed
//! (`apt-get install golang-go golang-github-hashicorp-hcl-v2-dev golang-github-zclconf-go-cty-dev`) and the judge's
//! source is in the folder that `KILN_ORACLE` names (else `../shared/lab/go-oracle` beside the repository).

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use kiln_template::{Console, Inputs, MemoryFiles, check_syntax, format_hcl, go_template};

/// Builds the judge, or says what is missing.
fn oracle() -> Option<PathBuf> {
    let skip = |reason: String| {
        assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "needs {reason}");
        eprintln!("ignored: needs {reason}");
        None
    };
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/lab/go-oracle");
    let source = std::env::var_os("KILN_ORACLE").map_or(beside, PathBuf::from).join("main.go");
    if !source.is_file() {
        // Not part of the project: its tests must pass without it wherever they run.
        eprintln!("ignored: needs the judge's source {}", source.display());
        return None;
    }
    if !Path::new("/usr/share/gocode/src/github.com/hashicorp/hcl/v2").is_dir() {
        return skip("golang-github-hashicorp-hcl-v2-dev".into());
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
        Err(reason) => skip(reason.clone()),
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

fn inputs() -> Inputs {
    Inputs {
        path: "t.pkr.hcl".into(),
        cwd: "/w".into(),
        vars: Vec::new(),
        var_files: Vec::new(),
        env: BTreeMap::new(),
        only: Vec::new(),
        except: Vec::new(),
        now: "2020-01-02T03:04:05Z".parse().unwrap(),
        warn_on_undeclared_var: false,
    }
}

/// A small deterministic generator.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.next(from.len())]
    }
}

const ATOMS: &[&str] = &[
    "0",
    "1",
    "2",
    "-3",
    "1.5",
    "10",
    "0.1",
    "1e3",
    "123456789012345678901234567890",
    "true",
    "false",
    "null",
    "\"a\"",
    "\"b\"",
    "\"\"",
    "\"5\"",
    "\"true\"",
    "\"héllo\"",
    "\"1.50\"",
    "[]",
    "{}",
    "[1, 2, 3]",
    "[\"a\", \"b\"]",
    "[1, \"a\", true]",
    "{a = 1, b = 2}",
    "{a = \"x\"}",
    "{b = [1], a = {c = null}}",
    "[[1], [2, 3]]",
    "[{a = 1}, {a = 2}]",
];

fn expression(random: &mut Random, depth: u32) -> String {
    if depth == 0 {
        return random.pick(ATOMS).to_owned();
    }
    let part = |random: &mut Random| expression(random, depth - 1);
    match random.next(16) {
        0..=2 => {
            let operator = random.pick(&["+", "-", "*", "/", "%", "==", "!=", "<", ">=", "&&", "||"]);
            format!("({} {operator} {})", part(random), part(random))
        }
        3 => format!("({} ? {} : {})", part(random), part(random), part(random)),
        4 => format!("[for x in {}: {}]", part(random), random.pick(&["x", "\"${x}!\"", "[x]", "x == 1"])),
        5 => format!("[for k, v in {}: \"${{k}}\" if {}]", part(random), random.pick(&["true", "v != null", "k != 1"])),
        6 => format!("{{for k, v in {}: k => v}}", part(random)),
        7 => format!("{{for v in {}: \"k${{length(\"${{v}}\") }}\" => v...}}", part(random)),
        8 => format!("\"x${{{}}}y\"", part(random)),
        9 => format!("\"%{{if {}}}t%{{else}}f%{{endif}}\"", part(random)),
        10 => format!("{}[{}]", part(random), random.pick(&["0", "1", "\"a\"", "*", "\"1\""])),
        11 => format!("{}.*.a", part(random)),
        12 => format!("{}{}", random.pick(&["!", "-"]), part(random)),
        13 => format!("[{}, {}]", part(random), part(random)),
        14 => {
            let function = random.pick(&[
                "length",
                "keys",
                "values",
                "reverse",
                "flatten",
                "distinct",
                "sort",
                "compact",
                "upper",
                "abs",
                "ceil",
                "floor",
                "signum",
                "jsonencode",
                "strrev",
                "title",
                "trimspace",
                "chomp",
                "csvdecode",
                "jsondecode",
            ]);
            format!("{function}({})", part(random))
        }
        _ => {
            let (name, extra) = *[
                ("concat", 1),
                ("contains", 1),
                ("element", 1),
                ("merge", 1),
                ("join", 1),
                ("split", 1),
                ("max", 1),
                ("min", 2),
                ("coalesce", 1),
                ("lookup", 2),
                ("range", 1),
                ("slice", 2),
                ("setunion", 1),
                ("setproduct", 1),
                ("setintersection", 1),
                ("zipmap", 1),
                ("format", 1),
                ("formatlist", 1),
                ("substr", 2),
                ("replace", 2),
                ("trim", 1),
                ("try", 1),
                ("can", 0),
                ("chunklist", 1),
                ("pow", 1),
                ("parseint", 1),
                ("coalescelist", 1),
                ("indent", 1),
            ]
            .get(random.next(28))
            .unwrap();
            let arguments: Vec<String> = (0..=extra).map(|_| part(random)).collect();
            format!("{name}({})", arguments.join(", "))
        }
    }
}

/// Functions whose answers differ from those of Go's library on purpose, because Packer has its own.
fn own_meaning(expression: &str) -> bool {
    // Packer's length counts characters of strings, its coalesce skips empty strings, its lookup has an optional third
    // argument; a remainder by zero is an error here.
    ["length(", "coalesce(", "%"].iter().any(|part| expression.contains(part))
}

#[test]
fn expressions() {
    let Some(oracle) = oracle() else { return };
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
    let shown = wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {} differ:\n{shown}", wrong.len(), lines.len());
}

#[test]
fn go_templates() {
    let Some(oracle) = oracle() else { return };
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
        if theirs.as_ref().is_some_and(|text| text.contains("<no value>")) {
            continue;
        }
        if mine.as_ref().ok() != theirs.as_ref() {
            wrong.push(format!("{text}\n  Go:   {answer}\n  Kiln: {mine:?}"));
        }
    }
    let shown = wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {} differ:\n{shown}", wrong.len(), templates.len());
}

#[test]
fn regular_expressions() {
    let Some(oracle) = oracle() else { return };
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
    let shown = wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {} differ:\n{shown}", wrong.len(), cases.len());
}

/// Broken configurations: what is accepted, and where the first error is.
#[test]
fn syntax() {
    let Some(oracle) = oracle() else { return };
    const SEED: &str = "source \"qemu\" \"web\" {\n  memory = 1024 # mb\n  list = [1, \"two\", {a = 1, \"b\" : 2}]\n  cmd = <<-EOT\n    hello ${upper(\"x\")}\n    %{ if true ~}\n    yes\n    %{ endif }\n  EOT\n  nested { a = b.c[0].*.d }\n  f = [for k, v in {a=1}: \"${k}\" if v > 0 && !false]\n  /* c */\n  g = a ? b : -c\n}\n";
    const INSERTS: &[&str] = &[
        "\"", "{", "}", "[", "]", "(", ")", ",", "=", "\n", "${", "%{", "~", "'", ";", "&", ".", "*", "<<A\n", "#",
        "/*", "?", ":", "for", "5", "x", " ", "\\", "`", "...", "=>",
    ];
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    std::fs::create_dir_all(&dir).unwrap();
    let mut random = Random(17);
    let mut paths = Vec::new();
    let mut texts = Vec::new();
    for index in 0..1500 {
        let mut text = SEED.to_owned();
        for _ in 0..1 + random.next(2) {
            let at = random.next(text.len() + 1);
            match random.next(3) {
                0 => text.insert_str(at, random.pick(INSERTS)),
                1 if at < text.len() => _ = text.remove(at),
                _ => {
                    let end = (at + random.next(6)).min(text.len());
                    text.replace_range(at..end, random.pick(INSERTS));
                }
            }
        }
        let path = dir.join(format!("{index}.hcl"));
        std::fs::write(&path, &text).unwrap();
        paths.push(path);
        texts.push(text);
    }
    let output = Command::new(&oracle).arg("parse").args(&paths).output().unwrap();
    let answers: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), texts.len());
    let (mut wrong, mut moved, mut same_line, mut rejected) = (Vec::new(), Vec::new(), 0, 0);
    for (text, answer) in texts.iter().zip(&answers) {
        let (diagnostics, sources) = check_syntax("t.pkr.hcl", text);
        let mine = diagnostics.reports(&sources).into_iter().next();
        let theirs = answer.starts_with("BAD");
        if mine.is_some() != theirs {
            wrong.push(format!("{text}\n  Go:   {answer}\n  Kiln: {mine:?}"));
        } else if let Some(mine) = mine {
            // Go points at the end of what is never closed, Kiln at its beginning, which is where it must be mended.
            if ["Unterminated template string", "Unexpected end of template"].contains(&mine.summary.as_str()) {
                continue;
            }
            rejected += 1;
            let line = answer.split(".hcl:").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
            let same = mine.range.as_ref().is_some_and(|range| range.start.line.to_string() == line);
            same_line += usize::from(same);
            if !same {
                moved.push(format!(
                    "{answer}\n  Kiln: {:?} {}",
                    mine.range.map(|range| (range.start.line, range.start.column)),
                    mine.summary
                ));
            }
        }
    }
    let shown = wrong.iter().take(15).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {} differ:\n{shown}", wrong.len(), texts.len());
    assert!(
        same_line * 10 >= rejected * 9,
        "the first error is on the same line in {same_line} of {rejected}:\n{}",
        moved.join("\n")
    );
}

/// Formats every HCL file of the corpus as HCL's own formatter does.
#[test]
fn formatting() {
    let Some(oracle) = oracle() else { return };
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let corpus = std::env::var_os("KILN_CORPUS").map_or(corpus, PathBuf::from).join("templates");
    let mut folders = vec![corpus];
    let (mut wrong, mut checked) = (Vec::new(), 0);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "hcl") {
                continue;
            }
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
    }
    assert!(wrong.is_empty(), "{} of {checked} differ:\n{}", wrong.len(), wrong.join("\n"));
}
