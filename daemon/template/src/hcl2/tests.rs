//! Tests of whole templates: builds, options, and golden diagnostics.

use std::path::PathBuf;

use insta::assert_snapshot;

use super::*;
use crate::files::MemoryFiles;
use crate::schema::{ComponentType, OptionKind, OptionSpec, Schema};
use crate::{Options, Style};

const QEMU: Schema = Schema {
    kind: "qemu",
    options: &[
        OptionSpec::new("iso_url", OptionKind::String, "", "").required(),
        OptionSpec::new("memory", OptionKind::Integer, "512", ""),
        OptionSpec::new("headless", OptionKind::Bool, "", ""),
        OptionSpec::new("boot_wait", OptionKind::Duration, "10s", ""),
        OptionSpec::new("boot_command", OptionKind::Strings, "", "").late(),
        OptionSpec::new("qemuargs", OptionKind::StringLists, "", ""),
        OptionSpec::new("http_content", OptionKind::Map, "", ""),
        OptionSpec::new("ssh_password", OptionKind::String, "", "").sensitive(),
        OptionSpec::new(
            "qemu_img_args",
            OptionKind::Block(&[OptionSpec::new("create", OptionKind::Strings, "", "")]),
            "",
            "",
        ),
    ],
    groups: &[],
};

const SHELL: Schema = Schema {
    kind: "shell",
    options: &[
        OptionSpec::new("inline", OptionKind::Strings, "", ""),
        OptionSpec::new("environment_vars", OptionKind::Strings, "", ""),
        OptionSpec::new("execute_command", OptionKind::String, "", "").late(),
    ],
    groups: &[],
};

const MANIFEST: Schema =
    Schema { kind: "manifest", options: &[OptionSpec::new("output", OptionKind::String, "", "")], groups: &[] };

struct TestCatalog;

impl Catalog for TestCatalog {
    fn schema(&self, component: ComponentType, kind: &str) -> Option<&'static Schema> {
        match (component, kind) {
            (ComponentType::Builder, "qemu") => Some(&QEMU),
            (ComponentType::Provisioner, "shell") => Some(&SHELL),
            (ComponentType::PostProcessor, "manifest") => Some(&MANIFEST),
            _ => None,
        }
    }

    fn kinds(&self, component: ComponentType) -> Vec<&'static str> {
        match component {
            ComponentType::Builder => vec!["qemu"],
            ComponentType::Provisioner => vec!["shell"],
            ComponentType::PostProcessor => vec!["manifest"],
            ComponentType::DataSource => vec![],
        }
    }
}

fn inputs(path: &str) -> Inputs {
    Inputs {
        path: PathBuf::from(path),
        cwd: "/w".into(),
        vars: Vec::new(),
        var_files: Vec::new(),
        env: BTreeMap::new(),
        only: Vec::new(),
        except: Vec::new(),
        now: "2020-01-02T03:04:05Z".parse().unwrap(),
        warn_on_undeclared_var: true,
    }
}

fn load_text(text: &str) -> Loaded {
    load_with(text, &inputs("t.pkr.hcl"))
}

fn load_with(text: &str, inputs: &Inputs) -> Loaded {
    let files = MemoryFiles::new().with("/w/t.pkr.hcl", text).with("/w/x.txt", "content");
    load(inputs, Arc::new(files), &TestCatalog)
}

/// Loads and decodes everything; returns all diagnostics as text.
fn problems(text: &str) -> String {
    let loaded = load_text(text);
    let mut diagnostics = loaded.diagnostics;
    if let Some(evaluated) = &loaded.evaluated {
        check_options(evaluated, &mut diagnostics);
        diagnostics.dedup();
    }
    diagnostics.render(&loaded.sources, &Style::default())
}

fn options_of(text: &str) -> Options {
    let loaded = load_text(text);
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics.render(&loaded.sources, &Style::default()));
    let (options, diagnostics) = loaded.evaluated.unwrap().builds[0].source.decode(&Generated::plan());
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(&loaded.sources, &Style::default()));
    options.unwrap()
}

#[test]
fn a_whole_template() {
    let loaded = load_text(
        r#"
        packer {
          required_version = ">= 1.7.0"
          required_plugins {
            qemu = { version = "~> 1", source = "github.com/hashicorp/qemu" }
          }
        }
        variable "memory" { default = 1024 }
        variable "password" {
          type      = string
          sensitive = true
          default   = "s3cret!"
        }
        locals {
          b = "${local.a}-b"
          a = "a"
        }
        source "qemu" "web" {
          iso_url      = "http://x/${local.b}.iso"
          memory       = var.memory * 2
          boot_wait    = "1m30s"
          boot_command = ["http://{{ .HTTPIP }}/", "x"]
          qemuargs     = [["-cpu", "host"], ["-smp", 2]]
          ssh_password = var.password
          http_content = { "/b" = "2", "/a" = file("x.txt") }
          qemu_img_args { create = ["-o"] }
        }
        build {
          name    = "rel"
          sources = ["source.qemu.web"]
          source "qemu.web" {
            name     = "alt"
            headless = true
          }
          provisioner "shell" {
            inline           = ["echo ${build.ID} ${source.name} {{ build `Host` }}", "echo ${var.password}"]
            pause_before     = "5s"
            max_retries      = 3
            override = { alt = { environment_vars = ["A=1"] } }
          }
          provisioner "shell" {
            only   = ["qemu.alt"]
            inline = ["x"]
          }
          post-processors {
            post-processor "manifest" {}
            post-processor "manifest" { keep_input_artifact = false }
          }
        }
        "#,
    );
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics.render(&loaded.sources, &Style::default()));
    let evaluated = loaded.evaluated.unwrap();
    assert_eq!(evaluated.sensitive, ["s3cret!"]);
    let names: Vec<&str> = evaluated.builds.iter().map(|build| build.name.as_str()).collect();
    assert_eq!(names, ["rel.qemu.web", "rel.qemu.alt"]);
    let [web, alt] = evaluated.builds.as_slice() else { panic!() };
    let (options, _) = web.source.decode(&Generated::plan());
    let options = options.unwrap();
    assert_eq!(options.string("iso_url"), Some("http://x/a-b.iso"));
    assert_eq!(options.integer("memory"), Some(2048));
    assert_eq!(options.duration("boot_wait").unwrap().as_secs(), 90);
    assert_eq!(options.strings("boot_command")[0], "http://{{ .HTTPIP }}/");
    assert_eq!(options.string_lists("qemuargs")[1], ["-smp", "2"]);
    assert_eq!(options.map("http_content").get("/a").unwrap(), "content");
    assert_eq!(options.block("qemu_img_args").unwrap().strings("create"), ["-o"]);
    assert_eq!(options.to_redacted_json()["ssh_password"], "<sensitive>");
    assert_eq!(options.to_json()["ssh_password"], "s3cret!");
    assert!(!options.is_set("headless"));
    assert_eq!(alt.source_name, "web");
    assert_eq!(alt.source.decode(&Generated::plan()).0.unwrap().bool("headless"), Some(true));
    assert_eq!((web.provisioners.len(), alt.provisioners.len()), (1, 2));
    let provisioner = &alt.provisioners[0];
    assert_eq!((provisioner.pause_before.as_secs(), provisioner.max_retries), (5, 3));
    let shell = provisioner.component.decode(&Generated::plan().with("ID", "7").with("Host", "h")).0.unwrap();
    assert_eq!(shell.strings("inline")[0], "echo 7 alt h");
    assert_eq!(shell.strings("environment_vars"), ["A=1"]);
    assert_eq!(shell.to_redacted_json()["inline"], "<sensitive>");
    assert_eq!(web.post_processors[0][1].keep_input_artifact, Some(false));
}

#[test]
fn values_come_from_everywhere() {
    let files = MemoryFiles::new()
        .with("/w/t/a.pkr.hcl", "variable \"a\" {}\nvariable \"b\" {}\nvariable \"c\" {}\nvariable \"l\" { type = list(number) }\nvariable \"e\" { default = env(\"E\") }\nsource \"qemu\" \"x\" { iso_url = \"${var.a} ${var.b} ${var.c} ${join(\"+\", var.l)} ${var.e}\" }\nbuild { sources = [\"qemu.x\"] }\n")
        .with("/w/t/x.auto.pkrvars.hcl", "a = \"auto\"\nb = \"auto\"\nc = \"auto\"\nl = [1]\n")
        .with("/w/v.json", "{\"b\": \"file ${x}\", \"c\": \"file\"}");
    let mut inputs = inputs("t");
    inputs.env = [("PKR_VAR_a", "env"), ("E", "from-env")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    inputs.var_files = vec!["v.json".into()];
    inputs.vars = vec!["c=flag".into(), "l=[1, 2]".into()];
    let loaded = load(&inputs, Arc::new(files), &TestCatalog);
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics.render(&loaded.sources, &Style::default()));
    let options = loaded.evaluated.unwrap().builds[0].source.decode(&Generated::plan()).0.unwrap();
    assert_eq!(options.string("iso_url"), Some("auto file ${x} flag 1+2 from-env"));
}

#[test]
fn dynamic_blocks_expand() {
    let loaded = load_text(
        r#"
        source "qemu" "x" { iso_url = "y" }
        build {
          sources = ["qemu.x"]
          dynamic "provisioner" {
            for_each = ["a", "b"]
            labels   = ["shell"]
            iterator = each
            content { inline = ["echo ${each.value} ${each.key}"] }
          }
        }
        "#,
    );
    let builds = loaded.evaluated.unwrap().builds;
    let inline: Vec<String> = builds[0]
        .provisioners
        .iter()
        .map(|provisioner| provisioner.component.decode(&Generated::plan()).0.unwrap().strings("inline")[0].clone())
        .collect();
    assert_eq!(inline, ["echo a 0", "echo b 1"]);
}

#[test]
fn only_and_except_select() {
    let text = "source \"qemu\" \"a\" { iso_url = \"x\" }\nsource \"amazon-ebs\" \"b\" {}\nbuild {\n sources = [\"qemu.a\", \"amazon-ebs.b\"]\n post-processors {\n post-processor \"manifest\" {}\n post-processor \"manifest\" { name = \"late\" }\n}\n}\n";
    let mut inputs = inputs("t.pkr.hcl");
    inputs.only = vec!["qemu.*".into()];
    inputs.except = vec!["late".into()];
    let loaded = load_with(text, &inputs);
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics.render(&loaded.sources, &Style::default()));
    let builds = loaded.evaluated.unwrap().builds;
    assert_eq!((builds.len(), builds[0].post_processors[0].len()), (1, 1));
    inputs.only = vec!["qmu.a".into()];
    let loaded = load_with(text, &inputs);
    assert_snapshot!(loaded.diagnostics.render(&loaded.sources, &Style::default()), @"");
}

#[test]
fn json_templates_are_the_same_language() {
    let text = r#"{
      "variable": {"m": {"type": "number", "default": 3}},
      "locals": {"x": "${var.m + 1}"},
      "source": {"qemu": {"a": {"iso_url": "u${local.x}", "memory": "${var.m}", "qemu_img_args": {"create": ["-o"]}}}},
      "build": {"sources": ["source.qemu.a"], "provisioner": [{"shell": {"inline": ["a"]}}, {"shell": {"inline": ["b"]}}]}
    }"#;
    let files = MemoryFiles::new().with("/w/t.pkr.json", text);
    let loaded = load(&inputs("t.pkr.json"), Arc::new(files), &TestCatalog);
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics.render(&loaded.sources, &Style::default()));
    let builds = loaded.evaluated.unwrap().builds;
    let options = builds[0].source.decode(&Generated::plan()).0.unwrap();
    assert_eq!((options.string("iso_url"), options.integer("memory")), (Some("u4"), Some(3)));
    assert_eq!(options.block("qemu_img_args").unwrap().strings("create"), ["-o"]);
    assert_eq!(builds[0].provisioners.len(), 2);
}

#[test]
fn null_is_unset_and_types_convert() {
    let options = options_of(
        "source \"qemu\" \"x\" {\n iso_url = 5\n memory = \"64\"\n headless = \"true\"\n ssh_password = null\n}\nbuild { sources = [\"qemu.x\"] }\n",
    );
    assert_eq!(options.string("iso_url"), Some("5"));
    assert_eq!(options.integer("memory"), Some(64));
    assert_eq!(options.bool("headless"), Some(true));
    assert!(!options.is_set("ssh_password"));
}

#[test]
fn all_problems_are_told_at_once() {
    assert_snapshot!(problems(
        r#"
variable "unset" {}
variable "typed" {
  type    = nubmer
  default = 1
}
locals {
  x = local.y
  y = local.x
}
source "qemu" "web" {
  iso_ulr      = "x"
  memory       = "lots"
  boot_wait    = "10"
  headless     = var.hedless
  ssh_password = "{{ usr `x` }}"
  http_content { a = "b" }
}
build {
  sources = ["source.qemu.wbe", "qemu.web"]
  provisioner "shel" {}
  provisioner "ansible" {}
  post-processor "manifest" { only = "x" }
}
"#
    ), @"");
}

#[test]
fn syntax_errors_are_shown_with_carets() {
    assert_snapshot!(problems("source \"qemu\" \"web\" {\n  iso_url = \"a\n  memory  = [1, 2\n}\nbuild {\n  sources = ['x']\n}\n"), @"");
}

#[test]
fn validation_rules_are_checked() {
    let text = r#"
variable "size" {
  default = 5
  validation {
    condition     = var.size > 10
    error_message = "The size must be above 10."
  }
  validation {
    condition     = var.other > 10
    error_message = "no sentence"
  }
}
"#;
    assert_snapshot!(problems(text), @"");
}

#[test]
fn command_line_values_are_checked() {
    let mut inputs = inputs("t.pkr.hcl");
    inputs.vars = vec!["nope=1".into(), "n=abc".into(), "l=[1".into(), "l=foo".into(), "bad".into()];
    let loaded = load_with("variable \"n\" { type = number }\nvariable \"l\" { type = list(string) }\n", &inputs);
    assert_snapshot!(loaded.diagnostics.render(&loaded.sources, &Style::default()), @"");
}

#[test]
fn old_versions_are_refused() {
    assert_snapshot!(problems("packer {\n  required_version = \"= 1.6.6\"\n}\nnonsense {}\n"), @"");
}

#[test]
fn hostile_texts_do_not_crash() {
    for text in
        ["\u{0}", "\u{feff}", "a = \"\u{1b}[31m\n", "}\n", "source", "\"", "<<EOT", "a = <<-\n", "${", "%{", "\\"]
    {
        let _ = problems(text);
    }
    let files = MemoryFiles::new().with("/w/t.pkr.hcl", vec![b'a', b'=', 0xff, 0xfe, b'\n']);
    let loaded = load(&inputs("t.pkr.hcl"), Arc::new(files), &TestCatalog);
    assert!(loaded.diagnostics.has_errors());
    for path in ["missing.pkr.hcl", "t.pkr.hcl/x.pkr.hcl"] {
        assert!(load(&inputs(path), Arc::new(MemoryFiles::new()), &TestCatalog).diagnostics.has_errors());
    }
}
