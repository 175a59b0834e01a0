//! Legacy JSON templates: their builds, and what is said of mistakes in them.

use std::sync::Arc;

use insta::assert_snapshot;
use kiln_template::{Generated, Inputs, Loaded, MemoryFiles, Options, go_template, load};

use crate::surroundings::{self, CATALOG, said};

fn inputs() -> Inputs {
    Inputs { env: [("HOME".to_owned(), "/root".to_owned())].into(), ..surroundings::inputs("t/t.json") }
}

fn files(text: &str) -> Arc<MemoryFiles> {
    Arc::new(MemoryFiles::new().with("/w/t/t.json", text).with("/w/v.json", r#"{"b": "file", "new": "x"}"#))
}

fn problems(text: &str) -> String {
    surroundings::problems(&inputs(), files(text))
}

fn source_options(loaded: &Loaded, index: usize) -> Options {
    assert!(!loaded.diagnostics.has_errors(), "{}", said(loaded));
    let (options, diagnostics) = loaded.evaluated.as_ref().unwrap().builds[index].source.decode(&Generated::plan());
    options.unwrap_or_else(|| panic!("{diagnostics:?}"))
}

#[test]
fn a_whole_template() {
    let text = r#"{
      "_comment": "x",
      "description": "d",
      "min_packer_version": "1.2.0",
      "variables": {"a": "{{user `b`}}/{{env `HOME`}}", "b": "default", "req": null, "pw": "s3cret", "late": "{{ .Vars }}"},
      "sensitive-variables": ["pw"],
      "builders": [
        {"type": "qemu", "name": "z", "iso_url": "{{user `a`}}", "memory": "2048", "headless": "{{user `req`}}",
         "boot_wait": "5s", "boot_command": "a{{ .HTTPIP }},b", "iso_urls": "x,y", "qemuargs": [["-m", 5]],
         "http_content": {"/{{build_name}}": true}, "vm_name": "{{user `pw`}}"},
        {"type": "qemu", "iso_url": "{{template_dir}}/{{isotime `2006`}}"},
        {"type": "amazon-ebs"}
      ],
      "provisioners": [
        {"type": "shell", "inline": ["{{build `ID`}}"], "execute_command": "{{user `late`}}", "pause_before": "3s",
         "max_retries": "2", "override": {"z": {"inline": ["over"]}}},
        {"type": "shell", "inline": ["x"], "only": ["z"]}
      ],
      "post-processors": ["compress", [{"type": "compress", "name": "c2", "keep_input_artifact": true}, "compress"]]
    }"#;
    let mut inputs = inputs();
    inputs.vars = vec!["req=true".into()];
    inputs.var_files = vec!["v.json".into()];
    inputs.only = vec!["z".into(), "qemu".into()];
    inputs.except = vec!["c2".into()];
    let loaded = load(&inputs, files(text), &CATALOG);
    let options = source_options(&loaded, 1);
    let evaluated = loaded.evaluated.as_ref().unwrap();
    assert_eq!(evaluated.sensitive, ["s3cret"]);
    assert_eq!(evaluated.description.as_deref(), Some("d"));
    let names: Vec<&str> = evaluated.builds.iter().map(|build| build.name.as_str()).collect();
    assert_eq!(names, ["qemu", "qemu.z"]);
    assert_eq!(options.string("iso_url"), Some("file//root"));
    assert_eq!((options.integer("memory"), options.bool("headless")), (Some(2048), Some(true)));
    assert_eq!(options.strings("boot_command"), ["a{{ .HTTPIP }}", "b"]);
    assert_eq!(options.strings("iso_urls"), ["x", "y"]);
    assert_eq!(options.string_lists("qemuargs"), [["-m", "5"]]);
    assert_eq!(options.map("http_content").get("/z").unwrap(), "1");
    assert_eq!(options.to_redacted_json()["vm_name"], "<sensitive>");
    assert_eq!(source_options(&loaded, 0).string("iso_url"), Some("/w/t/2020"));
    let z = &evaluated.builds[1];
    assert_eq!((z.source_name.as_str(), z.provisioners.len(), z.post_processors.len()), ("z", 2, 1));
    assert_eq!((z.provisioners[0].pause_before.as_secs(), z.provisioners[0].max_retries), (3, 2));
    let shell = z.provisioners[0].component.decode(&Generated::plan()).0.unwrap();
    assert_eq!(shell.strings("inline"), ["over"]);
    let context = z.provisioners[0].component.template_context(&Generated::plan());
    assert_eq!(go_template::render(shell.string("execute_command").unwrap(), &context).unwrap(), "{{ .Vars }}");
}

#[test]
fn structure_problems_are_told_at_once() {
    assert_snapshot!(problems(
        r#"{
  "variables": {"n": 5, "c1": "{{user `c2`}}", "c2": "{{user `c1`}}", "u": "{{user `nope`}}"},
  "bulders": [],
  "builders": [{"name": "x"}, {"type": "qemu", "type": "qemu"}, {"type": "vsphere-iso", "name": "v"}],
  "provisioners": [{"type": "shell", "only": ["qmu"], "timeout": "10"}],
  "post-processors": [{"type": "compress", "keep_input_artifact": "true"}, 5]
}"#
    ), @r#"
Error: Duplicate field

  on t/t.json line 4, column 48:
    4:   "builders": [{"name": "x"}, {"type": "qemu", "type": "qemu"}, {"type": "vsphere-iso", "name": "v"}],
                                                      ^^^^^^

The template has a duplicate field: type.

Error: Wrong type

  on t/t.json line 2, column 22:
    2:   "variables": {"n": 5, "c1": "{{user `c2`}}", "c2": "{{user `c1`}}", "u": "{{user `nope`}}"},
                            ^

The variable "n" must be a string or null, not a number.
hint: put the value in quotes

Error: Unknown root level key

  on t/t.json line 3, column 3:
    3:   "bulders": [],
         ^^^^^^^^^

Unknown root level key in template: 'bulders'.
hint: did you mean "builders"?

Error: Missing type of builder

  on t/t.json line 4, column 16:
    4:   "builders": [{"name": "x"}, {"type": "qemu", "type": "qemu"}, {"type": "vsphere-iso", "name": "v"}],
                      ^^^^^^^^^^^^^

The builder has no 'type'.

Error: Wrong type

  on t/t.json line 6, column 67:
    6:   "post-processors": [{"type": "compress", "keep_input_artifact": "true"}, 5]
                                                                         ^^^^^^

"keep_input_artifact" must be true or false, not a string.

Error: Wrong type

  on t/t.json line 6, column 76:
    6:   "post-processors": [{"type": "compress", "keep_input_artifact": "true"}, 5]
                                                                                  ^

A post-processor must be a string or an object, not a number.

Error: Unknown builder name

  on t/t.json line 5, column 47:
    5:   "provisioners": [{"type": "shell", "only": ["qmu"], "timeout": "10"}],
                                                     ^^^^^

'only' specified builder 'qmu' not found; the builders are qemu, v.
hint: did you mean "qemu"?

Error: Cycle in variables

  on t/t.json line 2, column 31:
    2:   "variables": {"n": 5, "c1": "{{user `c2`}}", "c2": "{{user `c1`}}", "u": "{{user `nope`}}"},
                                     ^^^^^^^^^^^^^^^

These variables refer to each other in a circle: c1 → c2 → c1.

Error: Unknown variable

  on t/t.json line 2, column 76:
    2:   "variables": {"n": 5, "c1": "{{user `c2`}}", "c2": "{{user `c1`}}", "u": "{{user `nope`}}"},
                                                                                  ^^^^^^^^^^^^^^^^^

The variable "u" refers to the variable "nope", which is not set.

Error: Unknown builder "vsphere-iso"

  on t/t.json line 4, column 74:
    4:   "builders": [{"name": "x"}, {"type": "qemu", "type": "qemu"}, {"type": "vsphere-iso", "name": "v"}],
                                                                                ^^^^^^^^^^^^^

This builder belongs to the plugin for VMware vSphere. Kiln builds on this
machine and runs no plugins. Available: qemu.
hint: select the local builds of the template with -only, or leave this one out
with -except

Error: Missing required option

  on t/t.json line 4, column 40:
    4:   "builders": [{"name": "x"}, {"type": "qemu", "type": "qemu"}, {"type": "vsphere-iso", "name": "v"}],
                                              ^^^^^^

The option "iso_url" is required, but is not set.
"#);
}

#[test]
fn option_problems_are_told_at_once() {
    assert_snapshot!(problems(
        r#"{"builders": [{
  "type": "qemu",
  "memory": "lots",
  "headless": "yes",
  "boot_wait": "10",
  "iso_checksum_type": "md5",
  "iso_ulr": "x",
  "ssh_password": "{{ env `PW` }}",
  "http_content": "x"
}]}"#
    ), @r#"
Error: Wrong type of option

  on t/t.json line 3, column 13:
    3:   "memory": "lots",
                   ^^^^^^

The option "memory" must be a whole number, not "lots".

Error: Wrong type of option

  on t/t.json line 4, column 15:
    4:   "headless": "yes",
                     ^^^^^

The option "headless" must be true or false, not "yes".

Error: Invalid duration

  on t/t.json line 5, column 16:
    5:   "boot_wait": "10",
                      ^^^^

Error decoding 'boot_wait': time: missing unit in duration "10".
hint: durations need a unit: "90s", "5m", "1h30m"

Error: Unknown configuration key "iso_checksum_type"

  on t/t.json line 6, column 3:
    6:   "iso_checksum_type": "md5",
         ^^^^^^^^^^^^^^^^^^^

There is no option "iso_checksum_type" here.
hint: this option is of an older Packer; `kiln fix` rewrites it

Error: Unknown configuration key "iso_ulr"

  on t/t.json line 7, column 3:
    7:   "iso_ulr": "x",
         ^^^^^^^^^

There is no option "iso_ulr" here.
hint: did you mean "iso_url"?

Error: Error interpolating an option

  on t/t.json line 8, column 23:
    8:   "ssh_password": "{{ env `PW` }}",
                             ^^^

The Go template "{{ env `PW` }}" in "ssh_password" cannot be rendered: error
calling env: env vars are not allowed here.

Error: Wrong type of option

  on t/t.json line 9, column 19:
    9:   "http_content": "x"
                         ^^^

The option "http_content" must be an object of strings, not "x".
"#);
}

#[test]
fn syntax_problems_have_places() {
    assert_snapshot!(problems("{\n  \"builders\": [\n    {\"type\": \"qemu\",}\n  ]\n}\n"), @r#"
Error: Error parsing JSON

  on t/t.json line 3, column 21:
    3:     {"type": "qemu",}
                           ^

invalid character '}' looking for the beginning of an object key string.
hint: JSON allows no comma before a closing bracket
"#);
}

#[test]
fn hostile_texts_do_not_crash() {
    for text in
        ["", "[", "null", "5", "\"", "{\"builders\": null}", "{\"builders\": 5}", &"[".repeat(100_000), "\u{feff}{}"]
    {
        assert!(!problems(text).is_empty(), "{text:.20}");
    }
}

#[test]
fn decoding_is_as_weak_as_go_does_it() {
    let text = r#"{
      "variables": null, "provisioners": [
        {"type": "shell", "Inline": "x", "valid_exit_codes": "0,2", "pause_before": 10, "timeout": 1.5},
        {"type": "shell", "inline": "x", "valid_exit_codes": "", "override": null, "only": null}
      ], "post-processors": null, "description": null,
      "Builders": [{"type": "qemu", "name": 5, "ISO_url": "u", "Memory": 1, "Boot_Wait": 10}]
    }"#;
    let loaded = load(&inputs(), files(text), &CATALOG);
    let options = source_options(&loaded, 0);
    assert_eq!((options.string("iso_url"), options.integer("memory")), (Some("u"), Some(1)));
    assert_eq!(options.duration("boot_wait").unwrap().as_nanos(), 10);
    let build = &loaded.evaluated.as_ref().unwrap().builds[0];
    assert_eq!(build.source_name, "5");
    let provisioner = &build.provisioners[0];
    assert_eq!((provisioner.pause_before.as_nanos(), provisioner.timeout.unwrap().as_nanos()), (10, 1));
    let options = provisioner.component.decode(&Generated::plan()).0.unwrap();
    assert_eq!((options.integers("valid_exit_codes"), options.strings("inline")), (&[0, 2][..], &["x".to_owned()][..]));
    let twice = r#"{"builders": [{"type": "qemu", "iso_url": "u", "ISO_URL": "v"}]}"#;
    assert!(problems(twice).contains("Unknown configuration key \"ISO_URL\""));
    assert!(problems(r#"{"builders": [{"type": "qemu", "iso_url": "u", "MEMROY": "v"}]}"#).contains("\"memory\""));
}

/// The console shows builds as `qemu.web`, which `-only` does not take.
#[test]
fn builds_that_are_chosen_by_kind_and_name() {
    let files = files(r#"{"builders": [{"type": "qemu", "name": "web", "iso_url": "u"}]}"#);
    let told = surroundings::problems(&Inputs { only: vec!["qemu.web".into(), "wed".into()], ..inputs() }, files);
    assert!(told.contains("builds of a JSON template go by the builder's name alone: -only=web"), "{told}");
    assert!(told.contains("did you mean \"web\"?"), "{told}");
}
