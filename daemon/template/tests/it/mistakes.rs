//! What is said of mistakes in HCL templates: each once, at its place, with a way out.

use std::sync::Arc;

use insta::assert_snapshot;
use kiln_template::{OsFiles, load};

use crate::surroundings::{CATALOG, check_told, inputs, problems_of_hcl, said};

#[test]
fn all_problems_are_told_at_once() {
    assert_snapshot!(problems_of_hcl(
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
    assert_snapshot!(problems_of_hcl("source \"qemu\" \"web\" {\n  iso_url = \"a\n  memory  = [1, 2\n}\nbuild {\n  sources = ['x']\n}\n"), @r#"
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
fn old_versions_are_refused() {
    assert_snapshot!(problems_of_hcl("packer {\n  required_version = \"= 1.6.6\"\n}\nnonsense {}\n"), @r#"
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
fn a_stray_brace_is_the_only_thing_told_about_what_it_spills() {
    let text = "source \"qemu\" \"web\" {\n  }\n  iso_url = \"a\"\n  memory = 1\n}\n";
    let shown = problems_of_hcl(text);
    assert!(shown.contains("line 5, column 1") && !shown.contains("outside of all blocks"), "{shown}");
    assert!(problems_of_hcl("memory = 1\n").contains("outside of all blocks"));
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
        "There is no data source of the type \"htp\". Kiln has http, null and kiln-image.",
        "The data source \"hcp-packer-image\" belongs to a plugin",
    ];
    check_told(text, &wanted, &["attribute named"]);
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
    let told = problems_of_hcl(&text);
    assert!(told.contains("cannot be rendered") && told.len() < 4000, "{} bytes", told.len());
}

#[test]
#[cfg(unix)]
fn a_link_to_itself_is_called_what_it_is() {
    let folder = std::env::temp_dir().join(format!("kiln-loop-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("t.pkr.hcl");
    std::os::unix::fs::symlink(&path, &path).unwrap();
    let loaded = load(&inputs(path.to_str().unwrap()), Arc::new(OsFiles), &CATALOG);
    std::fs::remove_dir_all(&folder).unwrap();
    let told = said(&loaded);
    // Where its lines end depends on how long the path is.
    let words: Vec<&str> = told.split_whitespace().collect();
    assert!(words.join(" ").contains("symbolic links"), "{told}");
}
