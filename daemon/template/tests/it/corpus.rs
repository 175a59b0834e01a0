//! Real templates and recorded results of Packer, from the folder that `KILN_CORPUS` names (else `../shared/corpus`
//! beside the repository).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_template::{
    Console, Files, Inputs, MemoryFiles, OptionSpec, OsFiles, Schema, Severity, Style, fix, go_template, inspect, load,
};
use serde_json::Value as Json;

use crate::surroundings::{self, Components, corpus};

fn json(path: &Path) -> Json {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn inputs(path: PathBuf, cwd: PathBuf) -> Inputs {
    Inputs {
        cwd,
        env: [("HOME".to_owned(), "/root".to_owned())].into(),
        warn_on_undeclared_var: false,
        ..surroundings::inputs(path)
    }
}

/// Examples whose recorded output is of Packer 1.6.6 and which a current Packer answers differently, or which give
/// another answer each time.
const OTHER_ANSWERS: &[&str] = &[
    // Random or dependent on the time and place of the recording.
    "bcrypt(\"hello world\")",
    "timestamp()",
    "uuidv4()",
    "abspath(path.root)",
    // The recording was made by passing the line through a shell, which ate the quotes.
    "formatdate(\"H 'o''clock'\", \"2018-01-02T23:12:01-08:00\")",
];

#[test]
fn documented_examples() {
    let Some(corpus) = corpus() else { return };
    let console = Console::empty(&inputs(".".into(), "/tmp".into()), Arc::new(MemoryFiles::new()));
    let suite = json(&corpus.join("suites/hcl_doc_examples.json"));
    let mut wrong = Vec::new();
    let mut checked = 0;
    for case in suite["cases"].as_array().unwrap() {
        let expression = case["expr"].as_str().unwrap();
        let kind = case["packer166"].as_str().unwrap();
        if !matches!(kind, "agree" | "differ" | "agree-error") || OTHER_ANSWERS.contains(&expression) {
            continue;
        }
        checked += 1;
        let answer = console.evaluate(expression);
        let expected = case["packer166_out"].as_str().unwrap();
        match answer.text {
            None if kind == "agree-error" => {}
            Some(text) if kind != "agree-error" && text.trim_end() == expected => {}
            other => wrong.push(format!(
                "{expression}\n  expected {expected:?}\n  got {other:?} {}",
                answer.diagnostics.render(&answer.sources, &Style::default())
            )),
        }
    }
    assert!(wrong.is_empty(), "{} of {checked} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 150, "only {checked} examples were checked");
}

#[test]
fn template_engine() {
    let Some(corpus) = corpus() else { return };
    let suite = json(&corpus.join("suites/template_engine.json"));
    let cases = suite["cases"].as_array().unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        let mut context = go_template::Context {
            now: "2020-01-02T03:04:05Z".parse().unwrap(),
            build_name: Some("qemu-build-1".into()),
            build_type: Some("qemu".into()),
            template_dir: Some("/tpl/dir".into()),
            cwd: "/tmp/corpus".into(),
            ..go_template::Context::default()
        };
        if let Some(user) = case["user"].as_object() {
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            context.variables = Arc::new(user.iter().map(|(key, value)| (key.clone(), text(value))).collect());
        }
        if let Some(data) = case["data"].as_object() {
            for (key, value) in data {
                context = match value.as_i64() {
                    Some(number) => context.field(key, number),
                    None => context.field(key, value.as_str().unwrap()),
                };
            }
        }
        context.environment = (case["env"] == true).then(BTreeMap::new);
        let input = case["input"].as_str().unwrap();
        let expected = case["want"].as_str().unwrap().replace("1.6.6", go_template::PACKER_VERSION);
        match go_template::render(input, &context) {
            Ok(text) if text == expected => {}
            // Each call gives a new identifier.
            Ok(_) if input.contains("uuid") => {}
            other => wrong.push(format!("{input}\n  expected {expected:?}\n  got {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Of a folder only the files that belong to the template are listed.
struct CorpusFiles {
    files: Vec<String>,
}

impl Files for CorpusFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        OsFiles.read(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths = OsFiles.list(path)?;
        let belongs = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            self.files.is_empty() || !name.contains(".pkr.") || self.files.contains(&name)
        };
        paths.retain(belongs);
        Ok(paths)
    }

    fn is_dir(&self, path: &Path) -> bool {
        OsFiles.is_dir(path)
    }

    fn is_file(&self, path: &Path) -> bool {
        OsFiles.is_file(path)
    }
}

/// For every component no options.
static ANY: Schema = Schema { kind: "any", options: NO_OPTIONS, groups: &[] };
const NO_OPTIONS: &[OptionSpec] = &[];

/// Summaries that say nothing against the template itself: values that the user has to give, files that the corpus
/// leaves empty or out, and options, which this test knows none of.
const NOT_THE_TEMPLATE: &[&str] =
    &["Unset variable", "Unsupported argument", "Unsupported block type", "Unknown configuration key"];

/// Loads every template of a kind that is expected to be valid, and returns what is said against them.
fn problems_of_valid(corpus: &Path, kind: &str) -> (usize, Vec<String>) {
    let index = json(&corpus.join("index.json"));
    let mut wrong = Vec::new();
    let mut checked = 0;
    for entry in index.as_array().unwrap().iter().filter(|entry| entry["kind"] == kind) {
        let dir = corpus.join("templates").join(entry["dir"].as_str().unwrap());
        let path = entry["path"].as_str().unwrap();
        let expect = entry["expect"].as_str().unwrap_or("unknown");
        if !expect.starts_with("valid") {
            continue;
        }
        checked += 1;
        let files = entry["files"].as_array().into_iter().flatten().map(|file| file.as_str().unwrap().to_owned());
        let files = CorpusFiles { files: files.collect() };
        let mut inputs = inputs(path.into(), dir);
        inputs.env.insert("USER".into(), "user".into());
        let loaded = load(&inputs, Arc::new(files), &Components::Anything(&ANY));
        let found: Vec<String> = loaded
            .diagnostics
            .reports(&loaded.sources)
            .into_iter()
            .filter(|report| report.severity == Severity::Error)
            .filter(|report| !NOT_THE_TEMPLATE.iter().any(|start| report.summary.starts_with(start)))
            .map(|report| {
                let place =
                    report.range.map_or_else(String::new, |range| format!("{}:{}", range.file, range.start.line));
                format!("    {place} {}: {}", report.summary, report.detail)
            })
            .collect();
        if !found.is_empty() {
            wrong.push(format!("{} {path} ({expect})\n{}", entry["dir"].as_str().unwrap(), found.join("\n")));
        }
    }
    (checked, wrong)
}

#[test]
fn every_hcl_template_loads() {
    let Some(corpus) = corpus() else { return };
    let (checked, wrong) = problems_of_valid(&corpus, "hcl2");
    assert!(wrong.is_empty(), "{} of {checked} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 100, "only {checked} templates were checked");
}

#[test]
fn every_json_template_loads() {
    let Some(corpus) = corpus() else { return };
    let (checked, wrong) = problems_of_valid(&corpus, "json");
    assert!(wrong.is_empty(), "{} of {checked} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 100, "only {checked} templates were checked");
}

/// Templates (their folder, and the beginning of their path) of which `inspect` rightly says something else than Packer
/// 1.6.6 did.
const INSPECTED_OTHERWISE: &[(&str, &str)] = &[
    // Read here with their symbolic links, there without.
    ("OpenNebula+one-apps", ""),
    // Builds with a provisioner that 1.6.6 did not know were left out.
    ("d-strobel+vagrant-box-windows", "."),
    ("dafyddj+packer-windows@26fbeac", "update"),
    ("osuosl+packer-templates", "windows_"),
    // 1.6.6 did not know data sources.
    ("chef+bento", "packer_templates"),
    // 1.6.6 lists required variables in a random order.
    ("kubernetes-sigs+image-builder", "images/capi/packer/ova/"),
    // Contains today's date.
    ("tenthirtyam+packer-vmware-desktop-ubuntu-daily", "."),
    // A local value that needs an unset variable is unknown here, and others that do not need it are not.
    ("greg-hellings+vms", "sources"),
];

/// `inspect` says byte for byte what Packer 1.6.6 said.
#[test]
fn inspections() {
    let Some(corpus) = corpus() else { return };
    let index = json(&corpus.join("index.json"));
    let recorded = std::fs::read_to_string(corpus.join("packer-1.6.6.jsonl")).unwrap();
    let recorded: BTreeMap<String, Json> = recorded
        .lines()
        .map(|line| serde_json::from_str::<Json>(line).unwrap())
        .map(|record| (record["id"].as_str().unwrap().to_owned(), record))
        .collect();
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for entry in index.as_array().unwrap() {
        let Some(record) = recorded.get(entry["id"].as_str().unwrap()) else { continue };
        let dir = corpus.join("templates").join(entry["dir"].as_str().unwrap());
        let path = entry["path"].as_str().unwrap();
        let files = entry["files"].as_array().into_iter().flatten().map(|file| file.as_str().unwrap().to_owned());
        let files = CorpusFiles { files: files.collect() };
        let mut inputs = inputs(path.into(), dir);
        inputs.env = BTreeMap::new();
        let inspection = inspect(&inputs, Arc::new(files));
        let expected = record["inspect"]["out"].as_str().unwrap();
        let dir = entry["dir"].as_str().unwrap();
        if INSPECTED_OTHERWISE.iter().any(|(other, start)| dir == *other && path.starts_with(start)) {
            continue;
        }
        checked += 1;
        if record["inspect"]["rc"] != 0 {
            if !inspection.lines.is_empty() {
                wrong.push(format!("{path}: inspected, but Packer said {expected:.200}"));
            }
            continue;
        }
        let text = inspection.text();
        if text != expected {
            let line = text.lines().zip(expected.lines()).find(|(mine, theirs)| mine != theirs);
            let problems: Vec<&str> = inspection.diagnostics.iter().map(|item| item.summary.as_str()).collect();
            wrong.push(format!("{dir} {path}: {line:.300?} {problems:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {checked} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// `fix` says byte for byte what Packer 1.6.6 said.
#[test]
fn fixes() {
    let Some(corpus) = corpus() else { return };
    let recorded = std::fs::read_to_string(corpus.join("packer-1.6.6.jsonl")).unwrap();
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for record in recorded.lines().map(|line| serde_json::from_str::<Json>(line).unwrap()) {
        let Some(expected) = record["fix"]["out"].as_str().filter(|_| record["fix"]["rc"] == 0) else { continue };
        let path =
            corpus.join("templates").join(record["dir"].as_str().unwrap()).join(record["path"].as_str().unwrap());
        checked += 1;
        let fixed = fix(&std::fs::read_to_string(&path).unwrap()).unwrap();
        if format!("{fixed}\n") != expected {
            let line = fixed.lines().zip(expected.lines()).find(|(mine, theirs)| mine != theirs);
            wrong.push(format!("{}: {line:.300?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{} of {checked} differ:\n{}", wrong.len(), wrong.join("\n"));
}
