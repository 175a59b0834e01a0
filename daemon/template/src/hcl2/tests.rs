//! Tests of whole templates: builds, options, and golden diagnostics.

use std::path::PathBuf;

use insta::assert_snapshot;

use super::*;
use crate::components::evaluated::Evaluated;
use crate::components::generated::Generated;
use crate::components::schema::{ComponentType, OptionKind, OptionSpec, Schema};
use crate::world::files::MemoryFiles;
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
    crate::load(inputs, Arc::new(files), &TestCatalog)
}

/// Loads and decodes everything; returns all diagnostics as text.
fn problems(text: &str) -> String {
    let loaded = load_text(text);
    let mut diagnostics = loaded.diagnostics;
    for component in loaded.evaluated.iter().chain(&loaded.incomplete).flat_map(Evaluated::components) {
        diagnostics.extend(component.decode(&Generated::plan()).1);
    }
    diagnostics.dedup();
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
    let loaded = crate::load(&inputs, Arc::new(files), &TestCatalog);
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
fn dynamic_sources_are_named_by_their_iterators() {
    let named = |iterator: &str, name: &str| {
        load_text(&format!(
            r#"
            source "qemu" "x" {{}}
            build {{
              dynamic "source" {{
                for_each = {{ base = "b", db = "d" }}
                {iterator}
                labels   = ["qemu.x"]
                content {{
                  name    = {name}
                  iso_url = "u"
                }}
              }}
            }}
            "#
        ))
    };
    let cases = [
        ("", "source.key", ["qemu.base", "qemu.db"]),
        ("", r#""${source.key}-${source.value}""#, ["qemu.base-b", "qemu.db-d"]),
        ("iterator = var", "var.value", ["qemu.b", "qemu.d"]),
    ];
    for (iterator, name, wanted) in cases {
        let loaded = named(iterator, name);
        assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics.render(&loaded.sources, &Style::default()));
        let builds = loaded.evaluated.unwrap().builds;
        assert_eq!(builds.iter().map(|build| &*build.name).collect::<Vec<_>>(), wanted);
    }
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
    assert_snapshot!(loaded.diagnostics.render(&loaded.sources, &Style::default()), @r#"
Warning: An option -only matched nothing

-only=qmu.a matched nothing; the builds are qemu.a, amazon-ebs.b.
hint: did you mean "qemu.a"?

Warning: An option -except matched nothing

-except=late matched nothing; the builds are qemu.a, amazon-ebs.b.
"#);
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
    let loaded = crate::load(&inputs("t.pkr.json"), Arc::new(files), &TestCatalog);
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
    ), @r#"
Error: Invalid type specification

  on t.pkr.hcl line 4, column 13, in variable "typed":
    4:   type    = nubmer
                   ^^^^^^

The keyword "nubmer" is not a valid type specification.
hint: did you mean "number"?

Error: Unset variable "unset"

  on t.pkr.hcl line 2, column 10, in variable "unset":
    2: variable "unset" {}
                ^^^^^^^

A variable must be set or have a default value, even if nothing uses it.
hint: pass -var 'unset=…', set PKR_VAR_unset in the environment, or put it into
a variable file

Error: Cycle in local values

  on t.pkr.hcl line 8, column 3, in locals:
    8:   x = local.y
         ^

These values refer to each other in a circle: local.x → local.y → local.x.

Error: Unknown source qemu.wbe

  on t.pkr.hcl line 20, column 14, in build:
   20:   sources = ["source.qemu.wbe", "qemu.web"]
                    ^^^^^^^^^^^^^^^^^

There is no source "qemu.wbe". Known: qemu.web.
hint: did you mean "qemu.web"?

Error: Unknown provisioner "shel"

  on t.pkr.hcl line 21, column 15, in build, provisioner "shel":
   21:   provisioner "shel" {}
                     ^^^^^^

There is no provisioner of this kind. Available: shell.
hint: did you mean "shell"?

Error: Unknown provisioner "ansible"

  on t.pkr.hcl line 22, column 15, in build, provisioner "ansible":
   22:   provisioner "ansible" {}
                     ^^^^^^^^^

Kiln has no provisioner of this kind and runs no plugins. Available: shell.

Error: Incorrect attribute value type

  on t.pkr.hcl line 23, column 38, in build, post-processor "manifest":
   23:   post-processor "manifest" { only = "x" }
                                            ^^^

Inappropriate value for attribute "only": list of string required.

Error: Unsupported argument

  on t.pkr.hcl line 12, column 3, in source "qemu" "web":
   12:   iso_ulr      = "x"
         ^^^^^^^

An argument named "iso_ulr" is not expected here.
hint: did you mean "iso_url"?

Error: Incorrect attribute value type

  on t.pkr.hcl line 13, column 18, in source "qemu" "web":
   13:   memory       = "lots"
                        ^^^^^^

Inappropriate value for attribute "memory": a number is required.

Error: Invalid duration

  on t.pkr.hcl line 14, column 18, in source "qemu" "web":
   14:   boot_wait    = "10"
                        ^^^^

Error decoding "boot_wait": time: missing unit in duration "10".
hint: durations need a unit: "90s", "5m", "1h30m"

Error: Unsupported attribute

  on t.pkr.hcl line 15, column 22, in source "qemu" "web":
   15:   headless     = var.hedless
                            ^^^^^^^

There is no input variable named "hedless".
hint: declare it with: variable "hedless" {}

Error: Error interpolating an option

  on t.pkr.hcl line 16, column 22, in source "qemu" "web":
   16:   ssh_password = "{{ usr `x` }}"
                            ^^^

The Go template "{{ usr `x` }}" in "ssh_password" cannot be rendered: function
"usr" not defined (did you mean "user"?).

Error: Unsupported block type

  on t.pkr.hcl line 17, column 3, in source "qemu" "web", http_content:
   17:   http_content { a = "b" }
         ^^^^^^^^^^^^

Blocks of type "http_content" are not expected here.
hint: http_content is an argument: write http_content = … with an equals sign
"#);
}

#[test]
fn syntax_errors_are_shown_with_carets() {
    assert_snapshot!(problems("source \"qemu\" \"web\" {\n  iso_url = \"a\n  memory  = [1, 2\n}\nbuild {\n  sources = ['x']\n}\n"), @r#"
Error: Invalid multi-line string

  on t.pkr.hcl line 2, column 15, in source "qemu" "web":
    2:   iso_url = "a
                     ^

A quoted string cannot go on over the end of the line. Write \n for a line end
in it, or use a heredoc.

Error: Unterminated tuple constructor expression

  on t.pkr.hcl line 3, column 13, in source "qemu" "web":
    3:   memory  = [1, 2
                   ^
  it should be closed before this, on t.pkr.hcl line 4:
    4: }
       ^

A closing brace on line 4 comes before the closing bracket ("]") of this list.

Error: Invalid character

  on t.pkr.hcl line 6, column 14, in build:
    6:   sources = ['x']
                    ^

Single quotes have no meaning here; strings stand in double quotes (").
"#);
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
    assert_snapshot!(problems(text), @r#"
Error: Invalid value for variable

  on t.pkr.hcl line 2, column 10, in variable "size":
    2: variable "size" {
                ^^^^^^

The size must be above 10.

This was checked by the validation rule at t.pkr.hcl:5.

Error: Invalid reference in variable validation

  on t.pkr.hcl line 9, column 21, in variable "size", validation:
    9:     condition     = var.other > 10
                           ^^^^^^^^^

The condition for variable "size" can refer only to the variable itself, using
var.size.
"#);
}

#[test]
fn command_line_values_are_checked() {
    let mut inputs = inputs("t.pkr.hcl");
    inputs.vars = vec!["nope=1".into(), "n=abc".into(), "l=[1".into(), "l=foo".into(), "bad".into()];
    let loaded = load_with("variable \"n\" { type = number }\nvariable \"l\" { type = list(string) }\n", &inputs);
    assert_snapshot!(loaded.diagnostics.render(&loaded.sources, &Style::default()), @r#"
Error: Undefined -var variable

A "nope" variable was passed in the command line but was not found in known
variables.
hint: declare it with: variable "nope" {}

Error: Invalid value for variable

  on <value for var.n from arguments> line 1, column 1:
    1: abc
       ^^^

The value for "n" from the arguments is not compatible with the variable's type
constraint: a number is required.

Error: Unterminated tuple constructor expression

  on <value for var.l from arguments> line 1, column 1:
    1: [1
       ^

The file ends before the closing bracket ("]") of this list.

Error: Variables not allowed

  on <value for var.l from arguments> line 1, column 1:
    1: foo
       ^^^

References cannot be used here; only literal values can.

Error: Invalid -var option

No '=' value in arg: bad.
hint: write -var NAME=VALUE
"#);
}

#[test]
fn old_versions_are_refused() {
    assert_snapshot!(problems("packer {\n  required_version = \"= 1.6.6\"\n}\nnonsense {}\n"), @r#"
Error: Unsupported Packer Core version

  on t.pkr.hcl line 2, column 22, in packer:
    2:   required_version = "= 1.6.6"
                            ^^^^^^^^^

This template asks for Packer = 1.6.6. Kiln understands the language of Packer
1.16.0, which does not satisfy that.
hint: relax required_version if the template does not depend on that version
"#);
}

#[test]
fn hostile_texts_do_not_crash() {
    for text in
        ["\u{0}", "\u{feff}", "a = \"\u{1b}[31m\n", "}\n", "source", "\"", "<<EOT", "a = <<-\n", "${", "%{", "\\"]
    {
        let _ = problems(text);
    }
    let files = MemoryFiles::new().with("/w/t.pkr.hcl", vec![b'a', b'=', 0xff, 0xfe, b'\n']);
    let loaded = crate::load(&inputs("t.pkr.hcl"), Arc::new(files), &TestCatalog);
    assert!(loaded.diagnostics.has_errors());
    for path in ["missing.pkr.hcl", "t.pkr.hcl/x.pkr.hcl"] {
        assert!(crate::load(&inputs(path), Arc::new(MemoryFiles::new()), &TestCatalog).diagnostics.has_errors());
    }
}

struct Page;

impl crate::DataSources for Page {
    fn http(&self, request: &crate::HttpRequest) -> Result<crate::HttpResponse, String> {
        if request.url.ends_with("missing") {
            return Err("the server answered 404 Not Found".into());
        }
        let body = format!("{} {}", request.method, request.url).into_bytes();
        Ok(crate::HttpResponse { body, headers: vec![("A".into(), "1".into()), ("A".into(), "2".into())] })
    }
}

#[test]
fn data_sources_are_fetched() {
    let text = "locals { base = data.null.x.output }\ndata \"null\" \"x\" { input = \"http://h\" }\ndata \"http\" \"p\" { url = \"${local.base}/page\" }\nsource \"qemu\" \"a\" { iso_url = \"${data.http.p.body} ${data.http.p.request_headers.A}\" }\nbuild { sources = [\"qemu.a\"] }\n";
    let load = |text: &str, data| {
        let files = MemoryFiles::new().with("/w/t.pkr.hcl", text);
        crate::load_with(&inputs("t.pkr.hcl"), Arc::new(files), &TestCatalog, data)
    };
    let url = |loaded: &Loaded| {
        let options = loaded.evaluated.as_ref().unwrap().builds[0].source.decode(&Generated::plan()).0.unwrap();
        options.string("iso_url").unwrap().to_owned()
    };
    assert_eq!(url(&load(text, DataMode::Fetch(Arc::new(Page)))), "GET http://h/page 1, 2");
    assert_eq!(url(&load(text, DataMode::Unknown)), Generated::UNKNOWN);
    assert!(load(text, DataMode::Refuse).diagnostics.has_errors());
    let missing = load(&text.replace("/page", "/missing"), DataMode::Fetch(Arc::new(Page)));
    assert!(missing.diagnostics.iter().any(|item| item.detail.contains("404")));
}

#[test]
fn a_sensitive_value_is_in_no_excerpt() {
    let text = r#"
variable "default" {
  type      = number
  default   = "hidden-default"
  sensitive = true
}
variable "argument" {
  sensitive = true
  validation {
    condition     = length(var.argument) > 100
    error_message = "The argument is too short."
  }
}
variable "environment" {
  type      = list(string)
  sensitive = true
}
"#;
    let mut inputs = inputs("t.pkr.hcl");
    inputs.vars.push("argument=hidden-argument".to_owned());
    inputs.env.insert("PKR_VAR_environment".to_owned(), "hidden-environment".to_owned());
    let loaded = load_with(text, &inputs);
    let shown = loaded.diagnostics.render(&loaded.sources, &Style::default());
    assert!(shown.contains("too short") && shown.matches("Error: ").count() >= 3, "{shown}");
    assert!(!shown.contains("hidden"), "{shown}");
}

#[test]
fn a_stray_brace_is_the_only_thing_told_about_what_it_spills() {
    let text = "source \"qemu\" \"web\" {\n  }\n  iso_url = \"a\"\n  memory = 1\n}\n";
    let shown = problems(text);
    assert!(shown.contains("line 5, column 1") && !shown.contains("outside of all blocks"), "{shown}");
    assert!(problems("memory = 1\n").contains("outside of all blocks"));
}

/// Errors that keep the template from being complete do not show what is secret either.
#[test]
fn secrets_stay_hidden_when_evaluation_fails() {
    let secret = "Sup3rS3cretValue!";
    for broken in [
        "locals { x = file(var.secret) }",
        "locals { x = parseint(var.secret, 10) }",
        "locals { x = {a = 1}[var.secret] }",
    ] {
        let text = format!("variable \"secret\" {{\n  default = \"{secret}\"\n  sensitive = true\n}}\n{broken}\n");
        let loaded = load_text(&text);
        assert!(loaded.diagnostics.has_errors(), "{broken}");
        for item in &loaded.diagnostics {
            let shown = item.render(&loaded.sources, &Style::default());
            let json = serde_json::to_string(&crate::Report::new(item, &loaded.sources)).unwrap();
            assert!(!shown.contains(secret) && !json.contains(secret), "{shown}\n{json}");
        }
    }
}

/// Asserts that what is told of a template holds all of `wanted` and none of `unwanted`.
fn check_told(text: &str, wanted: &[&str], unwanted: &[&str]) {
    let told = problems(text);
    let missing: Vec<_> = wanted.iter().filter(|part| !told.contains(**part)).collect();
    let surplus: Vec<_> = unwanted.iter().filter(|part| told.contains(**part)).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing {missing:?}, surplus {surplus:?} in:\n{told}");
}

#[test]
fn what_depends_on_the_source_is_unknown_in_locals() {
    let text = "locals {\n  a = \"x-${source.name}\"\n  b = source.type\n}\nsource \"qemu\" \"a\" { iso_url = local.a }\n\
                build { sources = [\"qemu.a\"] }\n";
    assert_eq!(problems(text), "");
}

#[test]
fn names_that_are_wrong_in_locals_are_suggested() {
    let text = r#"
        data "http" "index" { url = "http://h/" }
        data "htp" "x" { url = "http://h/" }
        data "hcp-packer-image" "x" {}
        locals {
          a         = local.usersnam
          usersname = "u"
          b         = data.http.indx.body
          c         = data.htpp.index.body
        }
    "#;
    let wanted = [
        "There is no local value named \"usersnam\"",
        "did you mean \"usersname\"?",
        "There is no data source \"http\" named \"indx\".",
        "did you mean \"index\"?",
        "The template has no data source of the type \"htpp\".",
        "There is no data source of the type \"htp\". Kiln has http and null.",
        "The data source \"hcp-packer-image\" belongs to a plugin",
    ];
    check_told(text, &wanted, &["attribute named"]);
}

#[test]
fn parts_of_a_build_without_sources_are_looked_at() {
    let text = r#"
        build {
          sources = ["qemu.nope"]
          provisioner "shel" {}
          provisioner "shell" {
            only   = ["qemu.other"]
            inline = [var.gone, source.name]
            inlin  = []
          }
          post-processors {
            post-processor "manifes" {}
            post-processor "manifest" { output = local.gone }
          }
        }
    "#;
    let wanted = [
        "Unknown source qemu.nope",
        "Unknown provisioner \"shel\"",
        "named \"inlin\"",
        "no input variable named \"gone\"",
        "Unknown post-processor \"manifes\"",
        "no local value named \"gone\"",
    ];
    check_told(text, &wanted, &["Unknown builder"]);
}

#[test]
fn an_override_of_a_post_processor_is_its_own() {
    let text = r#"
        source "qemu" "a" { iso_url = "u" }
        build {
          sources = ["qemu.a"]
          post-processor "manifest" { override = { virtualbox = { output = "x" } } }
          provisioner "shell" { override = { virtualbox = { inline = ["x"] } } }
        }
    "#;
    assert_eq!(problems(text).matches("which is no source of this build block").count(), 1);
}

#[test]
fn what_packer_refuses_is_refused() {
    let text = r#"
        packer {
          required_plugins {
            qemu = { version = ">= 1.0.0-beta", source = "github.com/hashicorp/qemu" }
          }
        }
        variable "l" { type = list }
        variable "m" { type = map }
        variable "n" { default = "x" }
        hcp_packer_registry { bucket_name = "ab" }
        source "qemu" "a" { iso_url = "u" }
        build {
          hcp_packer_registry { bucket_name = "with_underscore" }
          source "qemu.a" { name = var.n }
        }
        build {
          dynamic "source" {
            for_each = ["qemu.a"]
            labels   = [source.value]
            content { name = upper("a") }
          }
        }
        build {
          dynamic "source" {
            for_each = ["qemu.a"]
            iterator = each
            labels   = [each.value]
            content { name = source.name }
          }
        }
        build {
          source "qemu.a" { name = null }
        }
    "#;
    let wanted = [
        "The versions of plugins must not be pre-releases",
        "The list type needs an argument, such as list(string).",
        "The map type needs an argument, such as map(string).",
        "not \"ab\"",
        "not \"with_underscore\"",
        "The name of a source inside a build block must be literal",
        "must not be null",
    ];
    check_told(text, &wanted, &[]);
}

#[test]
fn quotes_from_the_template_are_bounded() {
    let long = "x".repeat(1 << 20);
    let text = format!(
        "source \"qemu\" \"a\" {{\n  iso_url = \"{{{{ upper 1 2 `{long}` }}}}\"\n}}\nbuild {{\n  sources = [\"qemu.a\"]\n}}\n"
    );
    let told = problems(&text);
    assert!(told.contains("cannot be rendered") && told.len() < 4000, "{} bytes", told.len());
}

#[test]
#[cfg(unix)]
fn a_link_to_itself_is_called_what_it_is() {
    let folder = std::env::temp_dir().join(format!("kiln-loop-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("t.pkr.hcl");
    std::os::unix::fs::symlink(&path, &path).unwrap();
    let loaded = crate::load(&inputs(path.to_str().unwrap()), Arc::new(crate::OsFiles), &TestCatalog);
    std::fs::remove_dir_all(&folder).unwrap();
    let told = loaded.diagnostics.render(&loaded.sources, &Style::default());
    assert!(told.contains("symbolic links"), "{told}");
}
