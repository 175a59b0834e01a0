//! The commands that work on templates, as commands: what they print where, how they exit, and that no daemon is started.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kiln_tests::{Home, Ran, corpus};
use serde_json::Value as Json;

const TEMPLATE: &str = r#"variable "x" {
  default = "hello"
}
variable "secret" {
  default   = "s3cretvalue"
  sensitive = true
}
locals {
  y = "${var.x}-1"
}
source "null" "a" {
  communicator = "none"
}
build {
  sources = ["source.null.a"]
}
"#;

const OLD: &str =
    r#"{"variables": {"u": "v"}, "builders": [{"type": "null", "communicator": "none", "ssh_wait_timeout": "1m"}]}"#;

/// Runs kiln with this on its standard input.
fn fed(home: &Home, arguments: &[&str], input: &str) -> Ran {
    let file = home.work("input");
    std::fs::write(&file, input).unwrap();
    home.start_with(arguments, Stdio::from(std::fs::File::open(file).unwrap())).wait()
}

fn assert_no_daemon(home: &Home) {
    assert!(!home.socket().exists(), "a daemon was started");
}

#[test]
fn validate_needs_no_daemon_and_tells_everything_on_standard_output() {
    let home = Home::new();
    home.write("t.pkr.hcl", TEMPLATE);
    let ran = home.kiln(["validate", "t.pkr.hcl"]).expect(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("The configuration is valid.\n", ""));
    let ran = home.kiln(["validate", "-syntax-only", "t.pkr.hcl"]).expect(0);
    assert_eq!(ran.stdout, "Syntax-only check passed. Everything looks okay.\n");
    let ran = home.kiln(["validate", "-var", "xx=1", "-only=null.b", "t.pkr.hcl"]).expect(1);
    assert!(ran.stdout.contains("Undefined -var variable") && ran.stdout.contains("did you mean \"x\"?"), "{ran:?}");
    assert!(ran.stdout.contains("-only=null.b matched nothing") && ran.stdout.contains("did you mean \"null.a\"?"));
    let ran = home.kiln(["-machine-readable", "validate", "-var", "xx=1", "t.pkr.hcl"]).expect(1);
    assert!(ran.stdout.contains(",,ui,error,Error: Undefined -var variable\\n"), "{ran:?}");
    let ran = fed(&home, &["validate", "-"], r#"{"builders": [{"type": "null"}]}"#).expect(1);
    assert!(ran.stdout.contains("<standard input> line 1") && ran.stdout.contains("ssh_host"), "{ran:?}");
    assert_no_daemon(&home);
}

#[test]
fn problems_come_as_json_for_editors() {
    let home = Home::new();
    home.write("t.pkr.hcl", &TEMPLATE.replace("communicator", "comunicator"));
    let ran = home.kiln(["validate", "--json", "t.pkr.hcl"]).expect(1);
    let report: Json = serde_json::from_str(&ran.stdout).unwrap();
    let problem = &report["diagnostics"][0];
    assert_eq!((&report["valid"], &problem["severity"]), (&Json::Bool(false), &"error".into()), "{report}");
    assert_eq!((&problem["range"]["start"]["line"], &problem["range"]["start"]["column"]), (&12.into(), &3.into()));
    assert!(problem["hint"].as_str().unwrap().contains("communicator"), "{report}");
    let ran = home.kiln(["validate", "--json", "-syntax-only", "t.pkr.hcl"]).expect(0);
    assert_eq!(serde_json::from_str::<Json>(&ran.stdout).unwrap()["valid"], true);
}

#[test]
fn secrets_are_in_no_output() {
    let home = Home::new();
    let wrong = TEMPLATE.replace("communicator = \"none\"", "ssh_port = base64encode(var.secret)");
    home.write("t.pkr.hcl", &wrong);
    for arguments in [
        &["validate", "t.pkr.hcl"][..],
        &["validate", "--json", "t.pkr.hcl"],
        &["inspect", "t.pkr.hcl"],
        &["inspect", "--json", "t.pkr.hcl"],
        &["-machine-readable", "inspect", "t.pkr.hcl"],
        &["console", "t.pkr.hcl"],
    ] {
        let ran = fed(&home, arguments, "{ a = base64encode(var.secret), b = var.secret }\n");
        let all = format!("{}{}", ran.stdout, ran.stderr);
        // In Base64, from its beginning: czNjcmV0dmFsdWU=
        assert!(!all.contains("s3cret") && !all.contains("czNjcmV0"), "{arguments:?}: {all}");
        assert!(arguments[0] == "validate" || all.contains("<sensitive>"), "{arguments:?}: {all}");
    }
}

/// Answers one request with `42`; returns what was asked.
fn answer_one(server: &TcpListener) -> String {
    let (mut connection, _) = server.accept().unwrap();
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && connection.read(&mut byte).unwrap() > 0 {
        request.push(byte[0]);
    }
    connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n42").unwrap();
    String::from_utf8(request).unwrap().to_ascii_lowercase()
}

#[test]
fn data_sources_are_fetched_when_asked_for_and_by_builds() {
    let home = Home::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let page =
        format!("url = \"http://{}/page\"\n  request_headers = {{ X-Test = \"yes\" }}", server.local_addr().unwrap());
    home.write(
        "t.pkr.hcl",
        &format!(
            "data \"http\" \"page\" {{\n  {page}\n}}\nsource \"file\" \"a\" {{\n  content = data.http.page.body\n  \
             target  = \"out.txt\"\n}}\nbuild {{\n  sources = [\"file.a\"]\n}}\n"
        ),
    );
    let answers = std::thread::spawn(move || [answer_one(&server), answer_one(&server)]);
    home.kiln(["validate", "-evaluate-datasources", "t.pkr.hcl"]).expect(0);
    home.kiln(["build", "t.pkr.hcl"]).expect(0);
    assert_eq!(std::fs::read_to_string(home.work("out.txt")).unwrap(), "42");
    for request in answers.join().unwrap() {
        assert!(request.starts_with("get /page http/1.1\r\n") && request.contains("x-test: yes\r\n"), "{request}");
    }
    // Nobody listens any more.
    let ran = home.kiln(["validate", "-evaluate-datasources", "t.pkr.hcl"]).expect(1);
    assert!(ran.stdout.contains("Data source failed") && ran.stdout.contains("t.pkr.hcl line 1"), "{ran:?}");
    home.kiln(["validate", "t.pkr.hcl"]).expect(0);
}

#[test]
fn fmt_writes_checks_and_shows() {
    let home = Home::new();
    home.write("a.pkr.hcl", "x=1\n");
    home.write("d/b.pkrvars.hcl", "yy=1\ny=2\n");
    home.write("d/e/c.pkr.hcl", "z=1\n");
    home.write("d/.hidden.pkr.hcl", "z=1\n");
    home.write("d/f.txt", "z=1\n");
    let ran = home.kiln(["fmt", "-check", "-recursive", "."]).expect(3);
    assert_eq!(ran.stdout, "a.pkr.hcl\nd/b.pkrvars.hcl\nd/e/c.pkr.hcl\n");
    let ran = home.kiln(["fmt", "-write=false", "-diff", "a.pkr.hcl"]).expect(0);
    assert_eq!(ran.stdout, "a.pkr.hcl\n--- old/a.pkr.hcl\n+++ new/a.pkr.hcl\n@@ -1 +1 @@\n-x=1\n+x = 1\n");
    let ran = home.kiln(["fmt", "d", "a.pkr.hcl"]).expect(0);
    assert_eq!(ran.stdout, "d/b.pkrvars.hcl\na.pkr.hcl\n");
    assert_eq!(std::fs::read_to_string(home.work("d/b.pkrvars.hcl")).unwrap(), "yy = 1\ny  = 2\n");
    assert_eq!(std::fs::read_to_string(home.work("d/e/c.pkr.hcl")).unwrap(), "z=1\n", "not recursive");
    assert_eq!(home.kiln(["fmt", "-check", "a.pkr.hcl"]).expect(0).stdout, "");
    assert_eq!(fed(&home, &["fmt", "-"], "x=1\n").expect(0).stdout, "x = 1\n");
    assert_eq!(fed(&home, &["fmt", "-check", "-"], "x=1\n").expect(3).stdout, "");
    // One file that is wrong does not keep the others from being formatted.
    home.write("w/bad.pkr.hcl", "x = (\n");
    home.write("w/good.pkr.hcl", "x=1\n");
    let ran = home.kiln(["fmt", "w", "none", "d/f.txt"]).expect(1);
    assert_eq!(ran.stdout, "w/good.pkr.hcl\n");
    for part in ["w/bad.pkr.hcl line", "There is no file or directory none", "d/f.txt"] {
        assert!(ran.stderr.contains(part), "{part}: {ran:?}");
    }
    assert_no_daemon(&home);
}

#[test]
fn fix_and_hcl2_upgrade_work_on_json_templates() {
    let home = Home::new();
    home.write("t.json", OLD);
    let ran = home.kiln(["fix", "t.json"]).expect(0);
    assert!(ran.stdout.contains("\"ssh_timeout\": \"1m\"") && ran.stderr.is_empty(), "{ran:?}");
    assert_eq!(fed(&home, &["fix", "-"], OLD).expect(0).stdout, ran.stdout);
    home.write("bad.json", "{\"x\": 1}");
    let ran = home.kiln(["fix", "bad.json"]).expect(1);
    assert!(ran.stdout.contains("\"x\": 1") && ran.stderr.contains("Unknown root level key"), "{ran:?}");
    home.kiln(["fix", "-validate=false", "bad.json"]).expect(0);
    home.write("t.pkr.hcl", TEMPLATE);
    home.kiln(["fix", "t.pkr.hcl"]).expect(1);
    let ran = home.kiln(["hcl2_upgrade", "t.json"]).expect(0);
    assert_eq!(ran.stdout, "Successfully created t.json.pkr.hcl\n");
    let written = std::fs::read_to_string(home.work("t.json.pkr.hcl")).unwrap();
    home.kiln(["validate", "t.json.pkr.hcl"]);
    let ran = home.kiln(["hcl2_upgrade", "-output-file=-", "t.json"]).expect(0);
    assert_eq!(ran.stdout, written);
    home.kiln(["hcl2_upgrade", "-output-file=o.pkr.hcl", "-with-annotations", "t.json"]).expect(0);
    assert!(std::fs::read_to_string(home.work("o.pkr.hcl")).unwrap().contains("\n# "));
    assert_eq!(std::fs::metadata(home.work("o.pkr.hcl")).unwrap().permissions().mode() & 0o777 & !0o666, 0);
    home.kiln(["hcl2_upgrade", "none.json"]).expect(1);
    assert_no_daemon(&home);
}

#[test]
fn plugins_are_built_in_or_told() {
    let home = Home::new();
    let required = |source: &str, version: &str| {
        let plugin = format!("a = {{ source = \"{source}\", version = \"{version}\" }}");
        format!("packer {{\n  required_plugins {{\n    {plugin}\n  }}\n}}\n")
    };
    home.write("good.pkr.hcl", &required("github.com/hashicorp/qemu", "~> 1"));
    let ran = home.kiln(["init", "good.pkr.hcl"]).expect(0);
    assert_eq!((ran.stdout.lines().count(), ran.stderr.as_str()), (1, ""), "{ran:?}");
    assert!(ran.stdout.starts_with("github.com/hashicorp/qemu: built in"), "{ran:?}");
    home.write("pinned.pkr.hcl", &required("github.com/hashicorp/qemu", "= 0.0.1"));
    let ran = home.kiln(["init", "-upgrade", "pinned.pkr.hcl"]).expect(0);
    assert!(ran.stderr.contains("Warning: Another plugin version"), "{ran:?}");
    home.write("foreign.pkr.hcl", &required("github.com/hashicorp/amazon", ">= 1"));
    let ran = home.kiln(["init", "foreign.pkr.hcl"]).expect(0);
    assert!(ran.stderr.contains("Warning: Plugin not available") && ran.stderr.contains("hashicorp/qemu"), "{ran:?}");
    let ran = home.kiln(["plugins", "required", "foreign.pkr.hcl"]).expect(0);
    assert_eq!(ran.stdout, "a github.com/hashicorp/amazon \">= 1\" [not available]\n");
    home.write("wrong.pkr.hcl", &required("amazon", ">= 1"));
    home.kiln(["init", "wrong.pkr.hcl"]).expect(1);
    home.write("t.json", OLD);
    home.kiln(["init", "t.json"]).expect(1);
    assert!(home.kiln(["plugins", "installed"]).expect(0).stdout.contains("hashicorp/qemu v"));
    home.kiln(["plugins", "install", "github.com/hashicorp/qemu", ">= 1.0"]).expect(0);
    home.kiln(["plugins", "install", "github.com/hashicorp/amazon"]).expect(1);
    home.kiln(["plugins", "remove", "github.com/hashicorp/qemu"]).expect(1);
    assert_eq!(home.kiln(["plugins"]).code(), 1);
    assert_no_daemon(&home);
}

#[test]
fn a_piped_console_prints_the_last_result() {
    let home = Home::new();
    home.write("t.pkr.hcl", TEMPLATE);
    let console = |input: &str| fed(&home, &["console", "t.pkr.hcl"], input);
    assert_eq!(console("var.x\nupper(local.y)\n").expect(0).stdout, "HELLO-1\n");
    assert_eq!(console("upper(var.x)").expect(0).stdout, "HELLO\n");
    assert_eq!(console("").expect(0).stdout, "\n");
    assert_eq!(console("var.x\nexit\nvar.nosuch\n").expect(0).stdout, "hello\n");
    let ran = console("var.xx\nvar.x\n").expect(1);
    assert_eq!(ran.stdout, "hello\n");
    assert!(ran.stderr.contains("<console-input> line 1, column 5") && ran.stderr.contains("did you mean"), "{ran:?}");
    let listed = "> input-variables:\n\nvar.secret: \"<sensitive>\"\nvar.x: \"hello\"\n\n> local-variables:\n\nlocal.y: \"hello-1\"\n\n";
    assert_eq!(console("variables\n").expect(0).stdout, listed);
    assert!(console("help\n").expect(0).stdout.contains("variables"));
    home.write("t.json", OLD);
    assert_eq!(fed(&home, &["console", "t.json"], "{{user `u`}}-{{upper `b`}}\n").expect(0).stdout, "v-B\n");
    assert_eq!(fed(&home, &["console", "-config-type=hcl2"], "1 + 1\n").expect(0).stdout, "2\n");
    assert_eq!(fed(&home, &["console", "-var", "n=7"], "{{user `n`}}\n").expect(0).stdout, "7\n");
    assert_no_daemon(&home);
}

/// The machine-readable recordings have their time replaced.
fn without_times(records: &str) -> String {
    let line = |line: &str| match line.split_once(',') {
        Some((time, rest)) if time.bytes().all(|byte| byte.is_ascii_digit()) => format!("TS,{rest}\n"),
        _ => format!("{line}\n"),
    };
    records.lines().map(line).collect()
}

/// The commands print byte for byte what Packer 1.6.6 printed, where the library does (its own tests say where not, and
/// look at every template).
#[test]
fn commands_print_what_packer_printed() {
    let Some(corpus) = corpus() else { return };
    let home = Home::new();
    let recorded = std::fs::read_to_string(corpus.join("packer-1.6.6.jsonl")).unwrap();
    let records: Vec<Json> = recorded.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut compared: BTreeMap<&str, u32> = BTreeMap::new();
    let mut wrong = Vec::new();
    for record in records.iter().step_by(5).filter(|record| !is_other(record)) {
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        let (directory, path) = (corpus.join("templates").join(text(&record["dir"])), text(&record["path"]));
        let mut compare = |name: &'static str, arguments: &[&str], clean: fn(&str) -> String| {
            let said = &record[name];
            if said["rc"] != 0 {
                return;
            }
            *compared.entry(name).or_default() += 1;
            let mut command = home.command("kiln");
            let output = command.env_clear().args(arguments).arg(&path).current_dir(&directory).output().unwrap();
            let printed = clean(&String::from_utf8_lossy(&output.stdout));
            if !output.status.success() || printed != text(&said["out"]) {
                wrong.push(format!("{} {path}: {name}", text(&record["dir"])));
            }
        };
        compare("inspect", &["inspect"], str::to_owned);
        compare("inspect_machine", &["-machine-readable", "inspect"], without_times);
        compare("fix", &["fix"], str::to_owned);
        if record["hcl2_upgrade"]["rc"] == 0 {
            // The library's own tests hold its answer against the recorded one.
            *compared.entry("hcl2_upgrade").or_default() += 1;
            let source = std::fs::read_to_string(directory.join(&path)).unwrap();
            let expected = kiln_template::hcl2_upgrade(&path, &source, true).text.unwrap();
            home.write("template.json", &source);
            home.kiln(["hcl2_upgrade", "-with-annotations", "template.json"]).expect(0);
            if std::fs::read_to_string(home.work("template.json.pkr.hcl")).unwrap() != expected {
                wrong.push(format!("{} {path}: hcl2_upgrade", text(&record["dir"])));
            }
        }
        for (file, said) in record["fmt"].as_object().into_iter().flatten().filter(|(_, said)| said["rc"] == 0) {
            let Some(expected) = said["out"].as_str() else { continue };
            *compared.entry("fmt").or_default() += 1;
            let source = find(&directory, &path, file);
            let ran = fed(&home, &["fmt", "-"], &std::fs::read_to_string(source).unwrap()).expect(0);
            if ran.stdout != expected {
                wrong.push(format!("{} {file}: fmt", text(&record["dir"])));
            }
        }
    }
    assert!(wrong.is_empty(), "{compared:?}, of which differ:\n{}", wrong.join("\n"));
    for name in ["inspect", "inspect_machine", "fix", "hcl2_upgrade", "fmt"] {
        assert!(compared.get(name).is_some_and(|&count| count >= 5), "{compared:?}");
    }
}

/// Templates on which the library and Packer 1.6.6 differ with reason (`daemon/template/tests/it/corpus.rs` has the reasons).
fn is_other(record: &Json) -> bool {
    const OTHER: &[(&str, &str)] = &[
        ("OpenNebula+one-apps", ""),
        ("d-strobel+vagrant-box-windows", "."),
        ("dafyddj+packer-windows@26fbeac", "update"),
        ("osuosl+packer-templates", ""),
        ("chef+bento", "packer_templates"),
        ("kubernetes-sigs+image-builder", "images/capi/packer/ova/"),
        ("tenthirtyam+packer-vmware-desktop-ubuntu-daily", "."),
        ("greg-hellings+vms", "sources"),
    ];
    let (directory, path) = (record["dir"].as_str().unwrap(), record["path"].as_str().unwrap());
    OTHER.iter().any(|(other, start)| *other == directory && path.starts_with(start))
}

/// Files are recorded relative to the template or to its directory.
fn find(directory: &Path, path: &str, file: &str) -> PathBuf {
    let candidates = [directory.join(file), directory.join(path).join(file), directory.join(path).with_file_name(file)];
    candidates.into_iter().find(|candidate| candidate.is_file()).unwrap_or_else(|| panic!("{file} of {path}"))
}
