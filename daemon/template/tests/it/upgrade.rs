//! `hcl2_upgrade`: what Packer 1.6.6 said of the corpus, brought to what a current Packer says, byte for byte; and what
//! cannot be seen there.

use std::cell::RefCell;
use std::collections::HashMap;

use kiln_template::{Style, check_syntax, hcl2_upgrade};
use regex::{Captures, Regex};
use serde_json::Value as Json;

use crate::surroundings::corpus;

/// Returns a compiled pattern; each is compiled once.
fn pattern(text: &str) -> Regex {
    thread_local!(static KNOWN: RefCell<HashMap<String, Regex>> = RefCell::default());
    KNOWN.with_borrow_mut(|known| known.entry(text.to_owned()).or_insert_with(|| Regex::new(text).unwrap()).clone())
}

/// Templates that Packer 1.6.6 did not answer, and why.
const UNANSWERED: &[(&str, &str)] = &[
    ("gns3.json", "duplicate field, refused here too"),
    ("templates/windows-8.1-enterprise-eval/packer.json", "duplicate field, refused here too"),
    ("windows/windows-vagrant.json", "duplicate field, refused here too"),
    ("windows/windows.json", "duplicate field, refused here too"),
    ("templates/cic/packer.json", "1.6.6 crashes"),
    ("templates/windows-2012R2-core-standard-eval/packer.json", "1.6.6 crashes"),
    ("templates/windows-2012R2-full-standard-eval/packer.json", "1.6.6 crashes"),
];

/// Templates whose upgrade differs from that of 1.6.6 beyond what [`current`] does, and why.
const UPGRADED_OTHERWISE: &[(&str, &str)] = &[
    ("template.json", "1.6.6 forgets a provisioner's override, which moves the columns of its other arguments"),
    (
        "images/capi/packer/ova/packer-node.json",
        "a call of lower: the rest of the block is upgraded, and the comment is newer",
    ),
    ("images/capi/packer/ova/packer-windows.json", "a call of replace_all: the same"),
];

/// Brings an answer of Packer 1.6.6 to what a current one says; each step is one of the known differences.
fn current(old: &str) -> String {
    // Headings: the command is no longer a beta, and the documentation has moved.
    let text = old.replace("by the BETA 'packer", "by the 'packer");
    let text = text.replace("/docs/from-1.5/variables", "/docs/templates/hcl_templates/variables");
    let text = text.replace("/docs/from-1.5/blocks/", "/docs/templates/hcl_templates/blocks/");
    // A comment in place of an upgrade: 1.6.6 knows neither fields nor quotes inside of templates.
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(found) = rest.find("# could not parse template for following block") {
        // An empty line stands before the comment, and before a source after it.
        let line = rest[..found].rfind('\n').unwrap() + 1;
        out.push_str(rest[..line].strip_suffix('\n').unwrap());
        rest = &rest[found + rest[found..].find('\n').unwrap() + 1..];
        let first = rest.trim_start_matches('\n');
        let indentation = first.len() - first.trim_start().len();
        let close = format!("\n{}}}\n", &first[..indentation]);
        let end = rest.find(&close).unwrap() + close.len();
        out.push_str(&upgraded(&rest[..end]));
        rest = &rest[end..];
    }
    out.push_str(rest);
    // An empty line follows each provisioner, and the clock is there only where it is used.
    let provisioner = pattern(r#"(?ms)^(  (?:error-cleanup-)?provisioner "[^\n]*\{\n.*?^  \}\n)"#);
    let text = provisioner.replace_all(&out, "$1\n");
    // Where there are no variables, there is no heading for them.
    let heading = pattern(r"(?m)^# All generated(?:[^\n]*\n# )*[^\n]* for more info.\n");
    let text = if text.contains("\nvariable \"") { text } else { heading.replace(&text, "") };
    // Variables that are computed become locals.
    let variable = pattern("(?m)^variable \"([^\"]*)\" \\{\n(?:  [^\n]*\n)*\\}\n\n?");
    let mut computed = Vec::new();
    let text = variable.replace_all(&text, |found: &Captures<'_>| {
        if found[0].replace("$${", "").replace("${env(", "").contains("${") {
            computed.push(found[1].to_owned());
            return String::new();
        }
        found[0].to_owned()
    });
    let text = computed
        .iter()
        .fold(text.into_owned(), |text, name| text.replace(&format!("${{var.{name}}}"), &format!("${{local.{name}}}")));
    if text.contains("local.timestamp") { text } else { text.replace(CLOCK, "") }
}

const CLOCK: &str = "
# \"timestamp\" template function replacement
locals { timestamp = regex_replace(timestamp(), \"[- TZ:]\", \"\") }
";

/// Takes out of an upgraded template what 1.6.6 never wrote: the plugins, and variables that are not declared.
fn without_additions(new: &str, old: &str) -> String {
    let plugins = pattern(r"(?ms)^  required_plugins \{\n.*?^  \}\n").replace(new, "");
    let empty = "\n# See https://www.packer.io/docs/templates/hcl_templates/blocks/packer for more info\npacker {\n}\n";
    let text = plugins.replace(empty, "");
    // Locals that were variables, and what 1.6.6 forgot.
    let text = match text.split_once("\n# Variables whose values") {
        Some((before, locals)) => {
            let end = locals.find("\n}\n").unwrap() + 3;
            format!("{before}{}", &locals[end..])
        }
        None => text,
    };
    let text = pattern(r"\n?# The .legacy_(iso|strf)time. function has been[^\n]*\n").replace_all(&text, "");
    let text = pattern(r"(?m)^ *pause_before +=.*\n").replace_all(&text, "");
    let text = pattern(r"(?ms)^    override = \{\n.*?^    \}\n").replace_all(&text, "");
    let variable = pattern("(?m)^variable (\"[^\n]*\") \\{\n  type = string\n\\}\n\n?");
    let kept = |found: &Captures<'_>| {
        if old.contains(&format!("variable {} {{", &found[1])) { found[0].to_owned() } else { String::new() }
    };
    variable.replace_all(&text, kept).into_owned()
}

/// Upgrades the calls in a block that 1.6.6 left alone.
fn upgraded(block: &str) -> String {
    let part = |found: &Captures<'_>, index: usize| found.get(index).map_or("", |part| part.as_str()).to_owned();
    let user = pattern(r#"\{\{ *user *(?:`([^`]*)`|\\"([^"]*)\\") *\}\}"#);
    let text = user.replace_all(block, |found: &Captures<'_>| format!("${{var.{}{}}}", part(found, 1), part(found, 2)));
    let time = pattern(r#"\{\{ *isotime *(?:`([^`]*)`|\\"([^"]*)\\") *\}\}"#);
    let text = time.replace_all(&text, |found: &Captures<'_>| {
        format!("${{legacy_isotime(\"{}{}\")}}", part(found, 1), part(found, 2))
    });
    let plain = [
        ("template_dir", "path.root"),
        ("pwd", "path.cwd"),
        ("build_name", "source.name"),
        ("build_type", "source.type"),
        ("timestamp", "local.timestamp"),
        ("isotime", "local.timestamp"),
    ];
    let text = plain.iter().fold(text.into_owned(), |text, (name, expression)| {
        let call = pattern(&format!(r"\{{\{{ *{name} *\}}\}}"));
        call.replace_all(&text, format!("$${{{expression}}}")).into_owned()
    });
    pattern(r"\{\{ *\.(\w+) *\}\}").replace_all(&text, "{{ .$1 }}").into_owned()
}

#[test]
fn upgrades() {
    let Some(corpus) = corpus() else { return };
    let recorded = std::fs::read_to_string(corpus.join("packer-1.6.6.jsonl")).unwrap();
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for record in recorded.lines().map(|line| serde_json::from_str::<Json>(line).unwrap()) {
        let Some(expected) = record["hcl2_upgrade"]["out"].as_str() else { continue };
        let path = record["path"].as_str().unwrap();
        let text =
            std::fs::read_to_string(corpus.join("templates").join(record["dir"].as_str().unwrap()).join(path)).unwrap();
        let upgraded = hcl2_upgrade(path, &text, true);
        if record["hcl2_upgrade"]["rc"] != 0 {
            assert!(UNANSWERED.iter().any(|(other, _)| *other == path), "{path}");
            continue;
        }
        if UPGRADED_OTHERWISE.iter().any(|(other, _)| *other == path) {
            continue;
        }
        checked += 1;
        let Some(mine) = upgraded.text else {
            wrong.push(format!("{path}: {}", upgraded.diagnostics.render(&upgraded.sources, &Style::default())));
            continue;
        };
        // A computed name is no name in HCL2; Packer writes it all the same, and the warning says what to do.
        let unusable = upgraded.diagnostics.iter().any(|item| item.summary == "Name not usable in HCL2");
        let (problems, sources) = check_syntax("t.pkr.hcl", &mine);
        assert!(unusable || !problems.has_errors(), "{path}: {}", problems.render(&sources, &Style::default()));
        let mine = without_additions(&mine, expected);
        let expected = current(expected);
        if mine != expected {
            let line = mine.lines().zip(expected.lines()).position(|(mine, theirs)| mine != theirs);
            let line = line.unwrap_or(0);
            let column = |text: &str| text.lines().nth(line).unwrap_or_default().to_owned();
            let same = column(&mine).bytes().zip(column(&expected).bytes()).take_while(|(a, b)| a == b).count();
            let part = |text: &str| column(text).get(same.saturating_sub(30)..).unwrap_or_default().to_owned();
            wrong.push(format!(
                "{} {path}:{line}\n    {}\n  Packer:\n    {}",
                record["dir"],
                part(&mine),
                part(&expected)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {checked} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 200, "only {checked} templates were checked");
}

/// What the corpus does not show: each form of option, each function, everything a provisioner and post-processor can have.
const EVERYTHING: &str = r#"{
  "min_packer_version": "1.6.0",
  "description": "all at once",
  "variables": {
    "required": null, "plain": "${x} %{y} \"q\" \\ \n\té", "home": "{{env `HOME`}}", "computed": "{{user `plain`}}-{{isotime \"2006\"}}",
    "secret": "{{vault `a/b` `key`}}", "aws": "{{aws_secretsmanager `app` `key`}}", "password": "hidden"
  },
  "sensitive-variables": ["secret", "password"],
  "builders": [
    {"type": "null", "name": "zed", "communicator": "none", "count": 1, "big": 123456789012345678901, "half": 0.5, "nothing": null,
     "empty": {}, "none": [], "tags": {"a-b": "x", "a b": 1}, "deep": {"x": {"y": "{{user `computed`}}"}}, "lists": [["a"], []],
     "disks": [{"size": 1}, {"size": 2}]},
    {"type": "amazon-ebs", "region": "{{user `region`}}", "source_ami_filter": {"filters": {"name": "u*"}, "most_recent": true}}
  ],
  "provisioners": [
    {"type": "shell", "only": ["zed"], "pause_before": "10m", "timeout": "90s", "max_retries": 5,
     "override": {"amazon-ebs": {"inline": ["{{user `plain`}}"]}},
     "inline": ["{{build `ID`}} {{ build_name }} {{build_type}} {{pwd}} {{template_dir}} {{uuid}} {{packer_version}} {{timestamp}}",
       "{{isotime}} {{strftime `%Y`}} {{.Vars}} {{ .Path }} {{consul_key `k`}} a {{- ` trimmed ` -}} b"]},
    {"type": "shell", "inline": ["{{ user `plain` | lower }} {{replace `a` `b` 1 `abc`}} {{split build_name `-` 0}}"]},
    {"type": "shell", "inline": ["{{if eq build_name `zed`}}one{{else}}two{{end}} {{printf `%s` (user `plain`)}} {{nope}}"]}
  ],
  "error-cleanup-provisioner": {"type": "shell-local", "inline": ["x"]},
  "post-processors": [
    "manifest",
    [{"type": "vagrant", "name": "box", "keep_input_artifact": true, "output": "{{.Provider}}.box"}, {"type": "compress", "except": ["zed"]}]
  ]
}"#;

#[test]
fn everything() {
    let upgraded = hcl2_upgrade("all.json", EVERYTHING, false);
    let warnings = upgraded.diagnostics.render(&upgraded.sources, &Style::default());
    insta::assert_snapshot!("everything", format!("{}---\n{warnings}", upgraded.text.unwrap()));
}

#[test]
fn annotations() {
    let upgraded = hcl2_upgrade("all.json", EVERYTHING, true);
    let text = upgraded.text.unwrap();
    let comments: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
    insta::assert_snapshot!("annotations", comments.join("\n"));
}

#[test]
fn a_template_with_errors_is_not_upgraded() {
    let upgraded =
        hcl2_upgrade("t.json", "{\"builders\": [{\"type\": \"null\", \"a\": 1, \"a\": 2}], \"buildrs\": []}", false);
    assert!(upgraded.text.is_none());
    let summaries: Vec<&str> = upgraded.diagnostics.iter().map(|item| item.summary.as_str()).collect();
    assert_eq!(summaries, ["Duplicate field", "Unknown root level key"]);
}

/// The types are checked before anything is made, wherever the builder stands; what only plugins build is upgraded.
#[test]
fn a_builder_that_nobody_knows_is_refused() {
    for (builders, hint) in [
        (r#"{"type": "gizmo", "x": 1}"#, "write the name of a builder"),
        (
            r#"{"type": "null", "communicator": "none"}, {"type": "gizmo", "name": "null2"}"#,
            "write the name of a builder",
        ),
    ] {
        let template = format!(r#"{{"variables": {{"a": "1"}}, "builders": [{builders}]}}"#);
        let upgraded = hcl2_upgrade("g.json", &template, false);
        assert!(upgraded.text.is_none());
        let said = upgraded.diagnostics.render(&upgraded.sources, &Style::default());
        assert!(said.contains("unknown builder type: \"gizmo\"") && said.contains(hint), "{said}");
    }
    let said = |kind: &str| {
        let upgraded = hcl2_upgrade("g.json", &format!(r#"{{"builders": [{{"type": "{kind}"}}]}}"#), false);
        assert_eq!(upgraded.text.is_none(), upgraded.diagnostics.has_errors());
        upgraded.diagnostics.render(&upgraded.sources, &Style::default())
    };
    assert!(said("vmware").contains("run `kiln fix` on the template first"), "{}", said("vmware"));
    assert!(said("amazon-esb").contains("did you mean \"amazon-ebs\"?"), "{}", said("amazon-esb"));
    for kind in ["amazon-ebs", "azure-arm", "proxmox", "yandex", "vultr", "outscale-bsu"] {
        assert_eq!(said(kind), "", "{kind}");
    }
}

/// A file of variables alone is upgraded too.
#[test]
fn variables_alone() {
    let upgraded = hcl2_upgrade("v.json", "{\"variables\": {\"a\": null}}", false);
    assert_eq!(upgraded.text.as_deref(), Some("\nvariable \"a\" {\n  type = string\n}\n"));
}
