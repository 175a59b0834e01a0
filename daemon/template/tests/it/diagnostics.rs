//! What people are told: golden texts, each read and found better than what Packer says of the same template.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_template::{Diagnostics, Evaluated, Files, Generated, Inputs, MemoryFiles, load};

use crate::surroundings::{CATALOG, inputs, problems};

/// Compares with the recorded text of the calling test.
macro_rules! golden {
    ($text:expr) => {
        insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!($text) })
    };
}

/// Returns what is said of each text, under its title.
fn told(path: &str, cases: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (title, text) in cases {
        let files = MemoryFiles::new().with(format!("/w/{path}"), *text);
        _ = write!(out, "######## {title}\n\n{}", problems(&inputs(path), Arc::new(files)));
    }
    out
}

const SOURCE: &str = "source \"qemu\" \"web\" {\n  iso_url = \"x\"\n}\n";

fn with_source(text: &str) -> String {
    format!("{SOURCE}{text}")
}

fn hcl(cases: &[(&str, &str)]) -> String {
    told("t.pkr.hcl", cases)
}

#[test]
fn typos() {
    let attribute = with_source(
        "build {\n  source \"source.qemu.web\" {}\n  provisioner \"shell\" {\n    inline = [build.Hots, source.nam]\n  }\n}\n",
    );
    golden!(hcl(&[
        (
            "option",
            "source \"qemu\" \"web\" {\n  iso_url = \"x\"\n  memroy  = 1024\n}\nbuild { sources = [\"qemu.web\"] }\n"
        ),
        ("variable", "variable \"image\" { default = \"x\" }\nlocals { a = var.imgae }\n"),
        ("local", "locals {\n  image = \"x\"\n  path  = local.imag\n}\n"),
        ("source", &with_source("build {\n  sources = [\"source.qemu.wbe\"]\n}\n")),
        ("function", "locals { a = upperr(\"x\") }\n"),
        ("function of Terraform", "locals { a = tostring(5) }\n"),
        ("attribute of build and source", &attribute),
        ("attribute of an object", "locals {\n  disk = { size = 1 }\n  a = local.disk.sise\n}\n"),
        ("kind of builder", "source \"qemuu\" \"web\" {}\nbuild { sources = [\"qemuu.web\"] }\n"),
        ("kind of provisioner", &with_source("build {\n  sources = [\"qemu.web\"]\n  provisioner \"shel\" {}\n}\n")),
        ("root block", "sauce \"qemu\" \"web\" {}\n"),
        ("meta argument", "variable \"a\" {\n  defualt = 1\n}\n"),
        ("type", "variable \"a\" {\n  type = strng\n}\n"),
        ("namespace", "variable \"a\" { default = 1 }\nlocals { b = vars.a }\n"),
        (
            "only",
            &with_source(
                "build {\n  sources = [\"qemu.web\"]\n  provisioner \"shell\" {\n    onyl = [\"qemu.web\"]\n  }\n}\n"
            )
        ),
    ]));
}

#[test]
fn structure() {
    golden!(hcl(&[
        ("required option", "source \"qemu\" \"web\" {\n}\nbuild { sources = [\"qemu.web\"] }\n"),
        (
            "argument twice",
            "source \"qemu\" \"web\" {\n  iso_url = \"x\"\n  iso_url = \"y\"\n}\nbuild { sources = [\"qemu.web\"] }\n"
        ),
        ("variable twice", "variable \"a\" { default = 1 }\nvariable \"a\" { default = 2 }\n"),
        ("source twice", &with_source(SOURCE)),
        ("labels", "source \"qemu\" {\n}\n"),
        (
            "block for an argument",
            &with_source(
                "build {\n  sources = [\"qemu.web\"]\n  provisioner \"shell\" {\n    inline { a = 1 }\n  }\n}\n"
            )
        ),
        (
            "argument that must be redefined",
            &with_source("build {\n  source \"qemu.web\" {\n    iso_url = \"y\"\n  }\n}\n")
        ),
        ("circle of locals", "locals {\n  a = local.b\n  b = \"${local.c}-x\"\n  c = upper(local.a)\n}\n"),
        (
            "only and except",
            &with_source(
                "build {\n  sources = [\"qemu.web\"]\n  provisioner \"shell\" {\n    only = [\"qemu.web\"]\n    except = [\"qemu.web\"]\n  }\n}\n"
            )
        ),
        (
            "a default that is computed",
            "variable \"a\" { default = \"x\" }\nvariable \"b\" {\n  default = \"${var.a}-${upper(\"y\")}\"\n}\n"
        ),
        ("another Packer", "packer {\n  required_version = \">= 2.0.0\"\n}\nnew_block {}\n"),
    ]));
}

#[test]
fn values() {
    let bad = |option: &str| {
        format!("source \"qemu\" \"web\" {{\n  iso_url = \"x\"\n  {option}\n}}\nbuild {{ sources = [\"qemu.web\"] }}\n")
    };
    golden!(hcl(&[
        ("number", &bad("memory = \"much\"")),
        ("bool", &bad("headless = \"perhaps\"")),
        ("duration", &bad("boot_wait = \"10\"")),
        ("list", &bad("boot_command = { a = 1 }")),
        ("a list inside", &bad("qemuargs = [[\"-m\", [1]]]")),
        ("null in a list", &bad("boot_command = [\"a\", null]")),
        ("operator", "locals { a = \"x\" + 1 }\n"),
        ("condition", "locals { a = \"maybe\" ? 1 : 2 }\n"),
        ("index", "locals { a = [1, 2][5] }\n"),
        ("argument of a function", "locals { a = substr(\"abc\", \"x\", 1) }\n"),
        ("number of arguments", "locals { a = substr(\"abc\") }\n"),
        ("pattern", "locals { a = regex(\"a(\", \"b\") }\n"),
        ("division by zero", "locals { a = 1 % 0 }\n"),
        ("null in a text", "locals { a = \"x${null}\" }\n"),
        ("default of another type", "variable \"a\" {\n  type    = list(number)\n  default = [\"x\"]\n}\n"),
        (
            "validation",
            "variable \"a\" {\n  default = 5\n  validation {\n    condition     = var.a > 10\n    error_message = \"More than ten.\"\n  }\n}\n"
        ),
        ("variable without a value", "variable \"a\" {}\n"),
        ("Go template", &bad("iso_url = \"{{ isotme }}\"").replacen("  iso_url = \"x\"\n", "", 1)),
    ]));
}

#[test]
fn syntax() {
    golden!(hcl(&[
        ("unclosed block", "source \"qemu\" \"web\" {\n  iso_url = \"x\"\n"),
        ("unclosed string", "locals {\n  a = \"x\n  b = 1\n}\n"),
        ("unclosed sequence", "locals {\n  a = \"x${upper(\"y\")\"\n}\n"),
        ("unclosed heredoc", "locals {\n  a = <<EOT\n  text\n}\n"),
        ("no value", "locals {\n  a =\n}\n"),
        ("single quotes", "locals { a = 'x' }\n"),
        ("no equals sign", "locals {\n  a \"x\"\n}\n"),
        ("colon", "locals {\n  a: 1\n}\n"),
        ("two on a line", "locals { a = 1 b = 2 }\n"),
        ("operators of other languages", "locals {\n  a = true & false\n  b = 1 === 1\n}\n"),
        ("template keyword", "locals { a = \"%{ iff true }x%{ endif }\" }\n"),
        ("comma missing", "locals { a = [1 2] }\n"),
    ]));
}

#[test]
fn legacy_json() {
    let bad = |part: &str| {
        format!("{{\n  \"builders\": [{{\n    \"type\": \"qemu\",\n    \"iso_url\": \"x\"\n  }}]{part}\n}}\n")
    };
    golden!(told(
        "t.json",
        &[
            (
                "option",
                "{\n  \"builders\": [{\n    \"type\": \"qemu\",\n    \"iso_url\": \"x\",\n    \"memroy\": 5\n  }]\n}\n"
            ),
            ("required option", "{\"builders\": [{\"type\": \"qemu\"}]}\n"),
            ("comma", "{\n  \"builders\": [\n    {\"type\": \"qemu\", \"iso_url\": \"x\"},\n  ]\n}\n"),
            ("comment", "{\n  // builders\n  \"builders\": []\n}\n"),
            ("duplicate", "{\n  \"builders\": [{\"type\": \"qemu\", \"iso_url\": \"x\", \"iso_url\": \"y\"}]\n}\n"),
            ("root key", &bad(",\n  \"provisoners\": []")),
            ("variable that is a number", &bad(",\n  \"variables\": {\"a\": 5}")),
            ("circle of variables", &bad(",\n  \"variables\": {\"a\": \"{{user `b`}}\", \"b\": \"{{user `a`}}\"}")),
            ("unknown function", &bad(",\n  \"variables\": {\"a\": \"{{uper `b`}}\"}")),
            ("only", &bad(",\n  \"provisioners\": [{\"type\": \"shell\", \"only\": [\"qeum\"]}]")),
            ("no builders", "{}\n"),
            ("number", "{\"builders\": [{\"type\": \"qemu\", \"iso_url\": \"x\", \"memory\": \"much\"}]}\n"),
        ]
    ));
}

/// A template with a mistake of every stage: each is told once, and nothing that only follows from another.
#[test]
fn everything_at_once() {
    let text = "variable \"broken\" {\n  type = strng\n}\nvariable \"unset\" {}\nvariable \"good\" {\n  default = nope()\n}\n\
                locals {\n  follows = \"${var.broken}-${var.good}-${local.alos}\"\n  circle  = local.other\n  other   = local.circle\n}\n\
                source \"qemu\" \"web\" {\n  iso_url  = var.unset\n  memory   = local.follows\n  headles  = true\n  boot_wait = \"soon\"\n}\n\
                source \"qemu\" \"bad\" {\n  memory = \"x\"\n}\nbuild {\n  sources = [\"qemu.web\", \"qemu.bad\", \"qemu.none\"]\n\
                \x20 provisioner \"shell\" {\n    inlin = [local.circle]\n  }\n  provisioner \"shell\" {\n    inline = [1, 2\n  }\n}\n";
    golden!(hcl(&[("all at once", text)]));
}

#[test]
fn secrets_are_not_shown() {
    let text = "variable \"password\" {\n  default   = \"hunter2-hunter2\"\n  sensitive = true\n  type      = number\n}\nlocal \"token\" {\n  sensitive  = true\n  \
                expression = \"abcdef${upper(1, 2)}\"\n}\nlocals { a = var.password + 1 }\n";
    let told = hcl(&[("secrets", text)]);
    assert!(!told.contains("hunter2"), "{told}");
    golden!(told);
}

/// The form for editors, as `--json` gives it.
#[test]
fn json_form() {
    let text =
        "source \"qemu\" \"web\" {\n  iso_url = \"ü\"\n  memroy  = 1024\n}\nbuild {\n  sources = [\"qemu.web\"]\n}\n";
    let files = MemoryFiles::new().with("/w/t.pkr.hcl", text);
    let loaded = load(&inputs("t.pkr.hcl"), Arc::new(files), &CATALOG);
    assert!(loaded.diagnostics.is_empty());
    let loaded_problems = loaded.evaluated.iter().flat_map(Evaluated::components);
    let found: Diagnostics = loaded_problems.flat_map(|component| component.decode(&Generated::plan()).1).collect();
    let reports = found.reports(&loaded.sources);
    golden!(serde_json::to_string_pretty(&reports).unwrap());
}

/// Files that cannot be read: each error names the file.
struct Unreadable;

impl Files for Unreadable {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "Permission denied"))
    }

    fn list(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "Permission denied"))
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.ends_with("folder")
    }

    fn is_file(&self, _: &Path) -> bool {
        true
    }
}

#[test]
fn bad_input() {
    let mut out = String::new();
    let mut tell = |title: &str, inputs: Inputs, files: Arc<dyn Files>| {
        let told = problems(&inputs, files);
        // Long texts are told by their beginning.
        let told: String = told.lines().map(|line| line.chars().take(100).collect::<String>() + "\n").collect();
        _ = write!(out, "######## {title}\n\n{told}");
    };
    let one = |text: &[u8]| -> Arc<dyn Files> { Arc::new(MemoryFiles::new().with("/w/t.pkr.hcl", text.to_vec())) };
    let here = || inputs("t.pkr.hcl");
    tell(
        "deep nesting",
        here(),
        one(format!("locals {{ a = {}1{} }}\n", "[".repeat(5000), "]".repeat(5000)).as_bytes()),
    );
    tell("deep blocks", here(), one(format!("{}{}", "a {\n".repeat(5000), "}\n".repeat(5000)).as_bytes()));
    tell(
        "deep template",
        here(),
        one(format!("locals {{ a = {}1{} }}\n", "\"${".repeat(2000), "}\"".repeat(2000)).as_bytes()),
    );
    tell("deep operators", here(), one(format!("locals {{ a = {}1 }}\n", "!".repeat(100_000)).as_bytes()));
    tell(
        "huge heredoc",
        here(),
        one(format!("locals {{\n  a = <<EOT\n{}EOT\n  b = nope\n}}\n", "line of text\n".repeat(300_000)).as_bytes()),
    );
    tell("invalid UTF-8", here(), one(b"locals {\n  a = \"\xff\xfe\"\n}\n"));
    tell("UTF-16", here(), one(b"\xff\xfel\0o\0c\0a\0l\0s\0"));
    tell("byte order mark, which is fine", here(), one(b"\xef\xbb\xbflocals { a = 1 }\n"));
    tell("CRLF", here(), one(b"locals {\r\n  a = nope\r\n  b = <<EOT\r\nx\r\nEOT\r\n}\r\n"));
    tell("NUL", here(), one(b"locals {\n  a = \0\n}\n"));
    tell("a folder without templates", inputs("folder"), Arc::new(MemoryFiles::new().with("/w/folder/readme", "")));
    tell("a folder named like a template", here(), Arc::new(MemoryFiles::new().with("/w/t.pkr.hcl/readme", "")));
    tell(
        "a folder named like a JSON template",
        inputs("t.json"),
        Arc::new(MemoryFiles::new().with("/w/t.json/readme", "")),
    );
    tell("nothing", inputs("missing.pkr.hcl"), Arc::new(MemoryFiles::new()));
    tell("unreadable file", here(), Arc::new(Unreadable));
    tell("unreadable JSON template", inputs("t.json"), Arc::new(Unreadable));
    tell("unreadable folder", inputs("folder"), Arc::new(Unreadable));
    let link = MemoryFiles::new()
        .with("/w/folder/a.pkr.hcl", "../common.pkr.hcl")
        .with("/w/common.pkr.hcl", "locals { a = nope }\n");
    tell("a symbolic link that git left as a text", inputs("folder"), Arc::new(link));
    let recursive = MemoryFiles::new()
        .with("/w/t.pkr.hcl", "locals { a = templatefile(\"x.tpl\", {}) }\n")
        .with("/w/x.tpl", "${templatefile(\"x.tpl\", {})}");
    tell("templatefile including itself", here(), Arc::new(recursive));
    let variables = MemoryFiles::new()
        .with("/w/t.pkr.hcl", "variable \"memory\" { default = 1 }\n")
        .with("/w/v.pkrvars.hcl", "memroy = 2\ncpus = 3\n")
        .with("/w/v.json", "{\"memroy\": 2, \"memory\": [}")
        .with("/w/v.yaml", "memory: 2\n");
    let variables: Arc<dyn Files> = Arc::new(variables);
    for file in ["v.pkrvars.hcl", "v.json", "v.yaml", "missing.pkrvars.hcl"] {
        let inputs = Inputs { var_files: vec![file.into()], ..here() };
        tell(&format!("variable file {file}"), inputs, variables.clone());
    }
    let inputs = Inputs { vars: vec!["memroy=2".into(), "memory".into()], ..here() };
    tell("-var", inputs, variables.clone());
    tell("deep JSON", inputs_of_json(), Arc::new(MemoryFiles::new().with("/w/t.json", "[".repeat(100_000))));
    tell(
        "JSON that is not UTF-8",
        inputs_of_json(),
        Arc::new(MemoryFiles::new().with("/w/t.json", b"{\"a\": \"\xff\"}".to_vec())),
    );
    tell("JSON with a byte order mark", inputs_of_json(), Arc::new(MemoryFiles::new().with("/w/t.json", "\u{feff}{}")));
    golden!(out);
}

fn inputs_of_json() -> Inputs {
    inputs("t.json")
}
