//! Whole templates: which builds they make, and the options of each.

use std::sync::Arc;

use insta::assert_snapshot;
use kiln_template::{Generated, MemoryFiles, load};

use crate::surroundings::{CATALOG, check_told, inputs, load_hcl, problems_of_hcl, said};

#[test]
fn a_whole_template() {
    let loaded = load_hcl(
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
        &inputs("t.pkr.hcl"),
    );
    assert!(loaded.diagnostics.is_empty(), "{}", said(&loaded));
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
fn dynamic_blocks_expand() {
    let loaded = load_hcl(
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
        &inputs("t.pkr.hcl"),
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
        let text = format!(
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
        );
        load_hcl(&text, &inputs("t.pkr.hcl"))
    };
    let cases = [
        ("", "source.key", ["qemu.base", "qemu.db"]),
        ("", r#""${source.key}-${source.value}""#, ["qemu.base-b", "qemu.db-d"]),
        ("iterator = var", "var.value", ["qemu.b", "qemu.d"]),
    ];
    for (iterator, name, wanted) in cases {
        let loaded = named(iterator, name);
        assert!(loaded.diagnostics.is_empty(), "{}", said(&loaded));
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
    let loaded = load_hcl(text, &inputs);
    assert!(loaded.diagnostics.is_empty(), "{}", said(&loaded));
    let builds = loaded.evaluated.unwrap().builds;
    assert_eq!((builds.len(), builds[0].post_processors[0].len()), (1, 1));
    inputs.only = vec!["qmu.a".into()];
    let loaded = load_hcl(text, &inputs);
    assert_snapshot!(said(&loaded), @r#"
Warning: An option -only matched nothing

-only=qmu.a matched nothing; the builds are qemu.a, amazon-ebs.b.
hint: did you mean "qemu.a"?

Warning: An option -except matched nothing

-except=late matched nothing; the builds are qemu.a, amazon-ebs.b.
"#);
}

/// What follows it in its sequence would be given what it was to make.
#[test]
fn an_excluded_post_processor_ends_its_sequence() {
    let text = r#"
        source "qemu" "a" { iso_url = "u" }
        build {
          sources = ["qemu.a"]
          post-processors {
            post-processor "compress" {}
            post-processor "manifest" {}
            post-processor "compress" {}
          }
          post-processor "compress" {}
        }
    "#;
    let mut inputs = inputs("t.pkr.hcl");
    inputs.except.push("manifest".to_owned());
    let loaded = load_hcl(text, &inputs);
    assert!(loaded.diagnostics.is_empty(), "{}", said(&loaded));
    let build = &loaded.evaluated.unwrap().builds[0];
    assert_eq!(build.post_processors.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
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
    let loaded = load(&inputs("t.pkr.json"), Arc::new(files), &CATALOG);
    assert!(loaded.diagnostics.is_empty(), "{}", said(&loaded));
    let builds = loaded.evaluated.unwrap().builds;
    let options = builds[0].source.decode(&Generated::plan()).0.unwrap();
    assert_eq!((options.string("iso_url"), options.integer("memory")), (Some("u4"), Some(3)));
    assert_eq!(options.block("qemu_img_args").unwrap().strings("create"), ["-o"]);
    assert_eq!(builds[0].provisioners.len(), 2);
}

#[test]
fn parts_of_a_build_without_sources_are_looked_at() {
    let text = r#"
        build {
          sources = ["qemu.nope"]
          provisioner "shel" {}
          provisioner "shell" {
            only   = ["qemu.other"]
            inline = [var.gone]
            inlin  = []
          }
          provisioner "shell" { inline = [source.name, "${source.type}"] }
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
    // Nothing is said of what only a source would have.
    let told = problems_of_hcl(text);
    assert_eq!(told.matches("Error: ").count(), wanted.len(), "{told}");
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
    assert_eq!(problems_of_hcl(text).matches("which is no source of this build block").count(), 1);
}

/// Its author learns nowhere else that nothing is published: once, however many builds the block is for.
#[test]
fn a_registry_of_the_cloud_has_no_effect_and_that_is_said() {
    let text = r#"
        hcp_packer_registry { bucket_name = "images" }
        source "qemu" "a" { iso_url = "u" }
        source "qemu" "b" { iso_url = "u" }
        build {
          hcp_packer_registry { bucket_name = "images" }
          sources = ["qemu.a", "qemu.b"]
        }
    "#;
    let told = problems_of_hcl(text);
    assert_eq!(told.matches("Warning: hcp_packer_registry has no effect").count(), 2, "{told}");
    assert_eq!(problems_of_hcl(&text.replace("hcp_packer_registry { bucket_name = \"images\" }", "")), "");
}
