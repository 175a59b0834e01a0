//! Damaged files: what is accepted, and where the first error is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use kiln_template::{Inputs, MemoryFiles, check_syntax, inspect};

use super::generate::Random;
use super::go::oracle;
use super::packer::{packer, run};
use super::{corpus, expect_none, files_below, inputs};

const SEED: &str = "source \"qemu\" \"web\" {\n  memory = 1024 # mb\n  list = [1, \"two\", {a = 1, \"b\" : 2}]\n  cmd = <<-EOT\n    hello ${upper(\"x\")}\n    %{ if true ~}\n    yes\n    %{ endif }\n  EOT\n  nested { a = b.c[0].*.d }\n  f = [for k, v in {a=1}: \"${k}\" if v > 0 && !false]\n  /* c */\n  g = a ? b : -c\n}\n";

const INSERTS: &[&str] = &[
    "\"", "{", "}", "[", "]", "(", ")", ",", "=", "\n", "${", "%{", "~", "'", ";", "&", ".", "*", "<<A\n", "#", "/*",
    "?", ":", "for", "5", "x", " ", "\\", "`", "...", "=>",
];

/// Damages of a kind each: something in, something out, something else.
fn damage(text: &str, random: &mut Random, inserts: &[&str]) -> String {
    let mut text = text.to_owned();
    let mut at = random.next(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    match random.next(3) {
        0 => text.insert_str(at, random.pick(inserts)),
        1 if at < text.len() => _ = text.remove(at),
        _ => {
            let mut end = (at + random.next(6)).min(text.len());
            while !text.is_char_boundary(end) {
                end += 1;
            }
            text.replace_range(at..end, random.pick(inserts));
        }
    }
    text
}

/// Compares with the judge what is accepted, and in 9 of 10 rejected texts the line of the first error.
fn compare_hcl(test: &str, texts: &[(String, String)]) {
    let Some(oracle) = oracle(test) else { return };
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mutants-{test}"));
    std::fs::create_dir_all(&dir).unwrap();
    let mut answers = Vec::new();
    for (start, chunk) in texts.chunks(500).enumerate() {
        let paths: Vec<PathBuf> = (0..chunk.len()).map(|index| dir.join(format!("{start}-{index}.hcl"))).collect();
        for ((_, text), path) in chunk.iter().zip(&paths) {
            std::fs::write(path, text).unwrap();
        }
        let output = Command::new(&oracle).arg("parse").args(&paths).output().unwrap();
        answers.extend(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>());
    }
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(answers.len(), texts.len());
    let (mut wrong, mut moved, mut same_line, mut rejected) = (Vec::new(), Vec::new(), 0, 0);
    for ((name, text), answer) in texts.iter().zip(&answers) {
        let (diagnostics, sources) = check_syntax("t.pkr.hcl", text);
        let mine = diagnostics.reports(&sources).into_iter().next();
        let theirs = answer.starts_with("BAD");
        if mine.is_some() != theirs {
            wrong.push(format!("{name}\n  Go:   {answer}\n  Kiln: {mine:?}"));
        } else if let Some(mine) = mine {
            // Go points at the end of what is never closed, Kiln at its beginning, which is where it must be mended.
            const AT_BEGINNING: &[&str] = &[
                "Unterminated template string",
                "Unexpected end of template",
                "Unterminated tuple constructor expression",
                "Unterminated object constructor expression",
                "Unterminated function call",
            ];
            if AT_BEGINNING.contains(&mine.summary.as_str()) {
                continue;
            }
            rejected += 1;
            let line = answer.split(".hcl:").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
            let same = mine.range.as_ref().is_some_and(|range| range.start.line.to_string() == line);
            same_line += usize::from(same);
            if !same {
                let place = mine.range.map(|range| (range.start.line, range.start.column));
                moved.push(format!("{answer}\n  Kiln: {place:?} {}", mine.summary));
            }
        }
    }
    expect_none(&wrong, texts.len());
    assert!(
        same_line * 10 >= rejected * 9,
        "the first error is on the same line in {same_line} of {rejected}:\n{}",
        moved.join("\n")
    );
    eprintln!("{test}: {} texts, {rejected} rejected, first error on the same line in {same_line}", texts.len());
}

#[test]
fn of_one_text() {
    let mut random = Random(17);
    let text = |index| {
        let once = damage(SEED, &mut random, INSERTS);
        let text = if random.next(2) == 0 { once } else { damage(&once, &mut random, INSERTS) };
        (format!("mutant {index}\n{text}"), text)
    };
    compare_hcl("of_one_text", &(0..1500).map(text).collect::<Vec<_>>());
}

/// Every HCL file of the corpus, as it is and damaged in five ways.
#[test]
fn of_hcl_files() {
    let Some(corpus) = corpus("of_hcl_files") else { return };
    let mut random = Random(19);
    let mut texts = Vec::new();
    for path in files_below(&corpus, &[".hcl"]) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let name = path.strip_prefix(&corpus).unwrap().display().to_string();
        // Templates of templatefile have the ending too; they are no configuration.
        if name.contains("tpl") {
            continue;
        }
        for index in 0..5 {
            texts.push((format!("{name} mutant {index}"), damage(&text, &mut random, INSERTS)));
        }
        texts.push((name, text));
    }
    assert!(texts.len() > 2000, "only {} texts", texts.len());
    compare_hcl("of_hcl_files", &texts);
}

/// Every JSON template of the corpus, damaged once.
#[test]
fn of_json_templates() {
    let Some(packer) = packer("of_json_templates") else { return };
    let Some(corpus) = corpus("of_json_templates") else { return };
    const INSERTS: &[&str] =
        &["\"", "{", "}", "[", "]", ",", ":", "\\", "1", "null", "x", "\n", "{{", "}}", "`", " ", "\t", "-"];
    let mut random = Random(23);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants-json");
    std::fs::create_dir_all(&dir).unwrap();
    let (mut wrong, mut moved, mut located, mut same, mut checked) = (Vec::new(), Vec::new(), 0, 0, 0);
    for path in files_below(&corpus, &[".json"]) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if path.to_string_lossy().ends_with(".pkr.json") || !text.contains("\"builders\"") {
            continue;
        }
        checked += 1;
        let text = damage(&text, &mut random, INSERTS);
        let file = dir.join("t.json");
        std::fs::write(&file, &text).unwrap();
        let theirs = run(&packer, &["inspect", "t.json"], &dir, "");
        let files = MemoryFiles::new().with("/w/t.json", text.as_str());
        let mine = inspect(&Inputs { path: "t.json".into(), ..inputs() }, Arc::new(files));
        let refused = mine.diagnostics.has_errors();
        let problem = mine.diagnostics.reports(&mine.sources).into_iter().next();
        if refused == theirs.success {
            wrong.push(format!("{}\n  Packer: {:.300}\n  Kiln: {problem:?}", path.display(), theirs.text));
            continue;
        }
        // A line end inside of a string is its last byte here, and the first of the next line for Go.
        if problem.as_ref().is_some_and(|problem| problem.detail.contains("'\\n' in a string")) {
            continue;
        }
        let line = theirs.text.split("At line ").nth(1).and_then(|rest| rest.split(',').next()).map(str::to_owned);
        if let (Some(line), Some(problem)) = (line, problem) {
            located += 1;
            if problem.range.as_ref().is_some_and(|range| range.start.line.to_string() == line) {
                same += 1;
            } else {
                moved.push(format!("{}: Packer line {line}, Kiln {problem:?}", path.display()));
            }
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
    expect_none(&wrong, checked);
    assert!(checked > 200, "only {checked} templates");
    assert!(same * 10 >= located * 9, "the same line in {same} of {located}:\n{}", moved.join("\n"));
    eprintln!("of_json_templates: {checked} texts, {located} with a place, the same line in {same}");
}
