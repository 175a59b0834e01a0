//! What `validate` says of templates with several mistakes: all of them, each once, and nothing that only follows.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use kiln_builder::{CheckRequest, Wanted, validate};

/// Returns `line: summary` of each error.
fn told(name: &str, text: &str) -> Vec<String> {
    let errors = problems(name, text).into_iter().filter_map(|(is_error, told)| is_error.then_some(told));
    errors.collect()
}

/// Returns each problem, whether it is an error, and in which line.
fn problems(name: &str, text: &str) -> Vec<(bool, String)> {
    let request = CheckRequest {
        template: PathBuf::from(name),
        text: Some(text.to_owned()),
        cwd: std::env::current_dir().unwrap(),
        warn_on_undeclared_var: true,
        ..CheckRequest::default()
    };
    let validation = validate(&request, Path::new("/nonexistent"), Wanted::Both);
    let problems = validation.problems.iter().map(|problem| {
        let (line, summary) = (&problem.json["range"]["start"]["line"], problem.json["summary"].as_str().unwrap());
        (problem.is_error, format!("{line}: {summary}"))
    });
    let problems: Vec<(bool, String)> = problems.collect();
    assert_eq!(validation.valid, problems.iter().all(|(is_error, _)| !is_error));
    problems
}

/// Variables, locals, options, rules between options, and parts of a build whose builder is unknown.
#[test]
fn all_at_once() {
    let text = r#"variable "needed" {}
locals {
  wrong   = nope("x")
  follows = "${local.wrong}-x"
}
source "qemu" "a" {
  iso_url      = var.needed
  iso_checksum = local.wrong
  disk_size    = "10GB"
  headless     = local.follows
  cpus         = local.wrong
  ssh_username = "x"
  vnc_port_min = 10
}
source "amazon-ebs" "c" {
  region = "x"
}
build {
  sources = ["qemu.a", "amazon-ebs.c"]
  provisioner "shell" {
    inline = ["a"]
    script = "nope.sh"
  }
  provisioner "file" {
    source = "/nonexistent/file"
  }
  post-processor "checksum" {
    checksum_types = ["shax"]
  }
}
build {
  sources = ["amazon-ebs.c"]
  provisioner "shell" {}
}
"#;
    let expected = [
        "1: Unset variable \"needed\"",
        "3: Call to unknown function",
        "15: Unknown builder \"amazon-ebs\"",
        "13: Value out of range",
        "9: Invalid disk size",
        "22: More than one kind of script",
        "22: No such script",
        "24: Missing required argument",
        "25: No such file",
        "28: Unrecognized checksum type",
        "33: Nothing to run",
    ];
    assert_eq!(told("t.pkr.hcl", text), expected);
}

/// A syntax error makes unknown what it may have swallowed, and hides nothing else.
#[test]
fn beside_a_syntax_error() {
    let text = r#"variable "lost" {
  default = [
}
locals
  x = 1
}
source "qemu" "a" {
  iso_url      = "${var.lost}/${local.x}"
  iso_checksum = "none"
  ssh_username = "x"
  memroy       = 1
}
build {
  sources = ["qemu.a"]
  provisioner "shell" {
    inline = ["a" "b"]
    pause_before = "soon"
  }
  provisioner "shell-local" {
  }
}
"#;
    let expected = [
        "2: Unterminated tuple constructor expression",
        "4: Argument or block definition required",
        "16: Missing item separator",
        "17: Invalid duration",
        "11: Unsupported argument",
        "19: Nothing to run",
    ];
    let found = told("t.pkr.hcl", text);
    let missing: Vec<_> = expected.iter().filter(|wanted| !found.iter().any(|one| one == *wanted)).collect();
    assert!(missing.is_empty(), "{missing:?} not in {found:#?}");
    assert!(
        !found
            .iter()
            .any(|one| one.contains("Unsupported attribute") || one.contains("Missing") && !one.contains("item")),
        "{found:#?}"
    );
}

#[test]
fn what_sources_share_is_told_once() {
    let text = r#"source "null" "a" {
  communicator = "none"
}
source "null" "b" {
  communicator = "none"
}
build {
  sources = ["null.a", "null.b"]
  provisioner "shell-local" {
    inlin = ["x"]
  }
}
"#;
    assert_eq!(told("t.pkr.hcl", text), ["10: Unsupported argument"]);
}

#[test]
fn parts_without_a_source_are_checked_too() {
    let text = r#"source "null" "a" {
  communicator = "none"
}
build {
  sources = ["null.a"]
  provisioner "shell-local" {
    only         = ["nul.a"]
    inlin        = ["x"]
    pause_before = "10"
    max_retries  = -1
  }
}
"#;
    assert_eq!(told("t.pkr.hcl", text), ["8: Unsupported argument", "9: Invalid duration", "10: Invalid number"]);
}

#[test]
fn in_json_templates() {
    let text = r#"{
  "variables": {
    "needed": null,
    "follows": "{{user `needed`}}-x",
    "wrong": "{{nope}}"
  },
  "builders": [
    {
      "type": "qemu",
      "iso_url": "{{user `follows`}}",
      "iso_checksum": "{{user `wrong`}}",
      "disk_size": "{{user `wrong`}}",
      "headless": "{{user `needed`}}",
      "boot_wait": "{{user `wrong`}}",
      "ssh_username": "{{user `needed`}}",
      "format": "floppy"
    }
  ],
  "provisioners": [
    {
      "type": "shell"
    },
    {
      "type": "file",
      "source": "{{user `needed`}}"
    }
  ]
}
"#;
    let expected = [
        "3: Unset variable \"needed\"",
        "5: Error interpolating a variable",
        "16: Unsupported value",
        "21: Nothing to run",
        "24: Missing required option",
    ];
    assert_eq!(told("t.json", text), expected);
}

/// What Packer renders when it prepares a build fails here before the build, too.
#[test]
fn templates_that_are_rendered_later() {
    let wrong = [
        "{{env `HOME`}}",
        "{{sed `a` `b`}}",
        "{{upper}}",
        "{{user}}",
        "{{isotime 3}}",
        "{{build `nope`}}",
        "{{template `x`}}",
        "{{clean_resource_name `x`}}",
        "{{pwd 1}}",
        "{{.Names}} {{env `HOME`}}",
        "{{build `ID`}} {{lower `a` `b`}}",
    ];
    let right = [
        "docker ps --format {{.Names}}",
        "{{build `Host`}} {{build `PackerBuildName`}}",
        "{{isotime}} {{upper `x`}}",
        "{{split (build `Host`) `.` 3}}",
        "{{ .ID }} {{ build_name }} {{ user `x` }}",
    ];
    let kinds = ["shell", "shell-local", "powershell", "windows-shell"];
    for (texts, summary) in [(&wrong[..], Some("Invalid template")), (&right[..], None)] {
        for inline in texts {
            for kind in kinds {
                let text = format!(
                    "source \"null\" \"a\" {{\n  ssh_host = \"x\"\n  ssh_username = \"x\"\n  ssh_password = \"x\"\n}}\n\
                     build {{\n  sources = [\"null.a\"]\n  \
                     provisioner \"{kind}\" {{\n    inline = [\n      \"true\",\n      \"{inline}\",\n    ]\n  }}\n}}\n"
                );
                let expected: Vec<String> = summary.iter().map(|summary| format!("11: {summary}")).collect();
                assert_eq!(told("t.pkr.hcl", &text), expected, "{kind} {inline}");
            }
            let text = format!(
                "{{\"builders\": [{{\"type\": \"null\", \"ssh_host\": \"x\", \"ssh_username\": \"x\", \"ssh_password\": \
                 \"x\"}}],\n\"provisioners\": [{{\"type\": \"ansible\", \"playbook_file\": \"/dev/null\", \"extra_arguments\": [\n\"{inline}\"]}}],\n\
                 \"post-processors\": [{{\"type\": \"shell-local\", \"inline\": [\n\"{inline}\"]}}]}}"
            );
            let expected = summary.iter().flat_map(|summary| [format!("3: {summary}"), format!("5: {summary}")]);
            assert_eq!(told("t.json", &text), expected.collect::<Vec<_>>(), "{inline}");
        }
    }
}

#[test]
fn one_element_of_a_list() {
    let text = r#"source "vmware-iso" "a" {
  iso_url = "x"
  iso_checksum = "none"
  ssh_username = "x"
  disable_vnc  = true
  boot_command = [
    "a<wait>",
    "b<wait-1s>",
    "{{ .Nope }}",
  ]
  floppy_files = [
    "/dev/null",
    "/nonexistent",
  ]
  temporary_key_pair_bits = 512
  vnc_port_max            = 70000
}
build {
  sources = ["vmware-iso.a"]
  provisioner "shell" {
    scripts = [
      "/dev/null",
      "/nonexistent",
    ]
    environment_vars = [
      "A=1",
      "B",
    ]
  }
  provisioner "shell-local" {
    inline            = ["x"]
    use_linux_pathing = true
    only_on = [
      "linux",
      "lin",
    ]
  }
  post-processor "checksum" {
    checksum_types = [
      "md5",
      "shax",
    ]
  }
}
source "vmware-vmx" "b" {
  source_path  = "x.ova"
  linked       = true
  ssh_username = "x"
}
build {
  sources = ["vmware-vmx.b"]
}
"#;
    let mut told = told("t.pkr.hcl", text);
    told.sort();
    let expected = [
        "13: No such file",
        "15: Value out of range",
        "16: Value out of range",
        "23: No such script",
        "27: Invalid variable",
        "32: Options that exclude each other",
        "35: Unsupported value",
        "41: Unrecognized checksum type",
        "47: Options that exclude each other",
        "5: Options that exclude each other",
        "8: Invalid boot command",
        "9: Unknown template field",
    ];
    assert_eq!(told, expected);
}

/// A provisioner that works in the guest needs a way into one; what a source is left out of, or works beside it, does not.
#[test]
fn provisioners_without_a_guest() {
    let template = |builder: &str, provisioner: &str| {
        format!(
            "source {builder} {{\n  communicator = \"none\"\n}}\nsource \"null\" \"ssh\" {{\n  ssh_host = \"x\"\n  \
             ssh_username = \"x\"\n  ssh_password = \"x\"\n}}\nbuild {{\n  sources = [\"null.none\", \"null.ssh\"]\n  \
             {provisioner}\n  post-processor \"shell-local\" {{\n    inline = [\"true\"]\n  }}\n}}\n"
        )
    };
    let without = "11: Provisioner without a guest".to_owned();
    let refused = [
        "provisioner \"shell\" {\n inline = [\"true\"]\n }",
        "provisioner \"shell\" {\n inline = [\"true\"]\n only = [\"null.none\"]\n }",
        "provisioner \"file\" {\n source = \"/dev/null\"\n destination = \"/x\"\n }",
        "provisioner \"ansible\" {\n playbook_file = \"/dev/null\"\n }",
        "provisioner \"powershell\" {\n inline = [\"x\"]\n }",
        "error-cleanup-provisioner \"shell\" {\n inline = [\"true\"]\n }",
    ];
    for provisioner in refused {
        assert_eq!(
            told("t.pkr.hcl", &template("\"null\" \"none\"", provisioner)),
            std::slice::from_ref(&without),
            "{provisioner}"
        );
    }
    let valid = [
        "provisioner \"shell-local\" {\n inline = [\"true\"]\n }",
        "provisioner \"breakpoint\" {}",
        "provisioner \"sleep\" {\n duration = \"1ms\"\n }",
        "provisioner \"shell\" {\n inline = [\"true\"]\n except = [\"null.none\"]\n }",
        "provisioner \"shell\" {\n inline = [\"true\"]\n only = [\"null.ssh\"]\n }",
        "",
    ];
    for provisioner in valid {
        assert!(told("t.pkr.hcl", &template("\"null\" \"none\"", provisioner)).is_empty(), "{provisioner}");
    }
    let file = "source \"file\" \"f\" {\n  content = \"x\"\n  target = \"y\"\n}\nbuild {\n  sources = [\"file.f\"]\n  \
                provisioner \"shell\" {\n    inline = [\"true\"]\n  }\n}\n";
    assert_eq!(told("t.pkr.hcl", file), ["7: Provisioner without a guest"]);
    for (except, expected) in [("", &["2: Provisioner without a guest"][..]), (", \"except\": [\"null\"]", &[])] {
        let json = format!(
            "{{\"builders\": [{{\"type\": \"null\", \"communicator\": \"none\"}}], \"provisioners\": [\n\
             {{\"type\": \"shell\", \"inline\": [\"true\"]{except}}},\n{{\"type\": \"shell-local\", \"inline\": [\"true\"]}}]}}"
        );
        assert_eq!(told("t.json", &json), expected, "{except}");
    }
}

/// Fields have values in few options. Elsewhere they read `<no value>`, which is seldom meant.
#[test]
fn fields_without_a_value() {
    let text = r#"source "qemu" "a" {
  iso_url          = "x"
  iso_checksum     = "md5:00000000000000000000000000000000"
  ssh_username     = "x"
  shutdown_command = "x"
  http_content     = { "/{{ .Name }}" = "{{ .SSHPublicKey }} {{ isotime }}" }
  cd_content       = { "user-data" = "port {{ .HTTPPort }}" }
  boot_command     = ["{{ .HTTPPort }} {{ .Name }}"]
  vm_name          = "{{ `{{ .Kept }}` }}"
}
build {
  sources = ["qemu.a"]
  provisioner "shell" {
    environment_vars = ["A={{ .Vars }}"]
    inline = [
      "echo {{ .ID }} {{ build `ID` }}",
      "docker ps --format '{{ .Names }}'",
    ]
    execute_command = "{{ .Vars }} {{ .Path }}"
  }
  post-processor "manifest" {
    output = "{{ .BuildName }}.json"
  }
}
"#;
    let lines = ["6", "6", "7", "14", "17", "22"];
    let expected: Vec<(bool, String)> =
        lines.iter().map(|line| (false, format!("{line}: Template field without a value"))).collect();
    assert_eq!(problems("t.pkr.hcl", text), expected);
    let json = r#"{"builders": [{"type": "file", "target": "x", "content":
"{{ .Name }}"}]}"#;
    assert_eq!(problems("t.json", json), [(false, "2: Template field without a value".to_owned())]);
}

/// What boot commands hold beside keys and waits: Packer's grammar types it, and no keyboard has all characters.
#[test]
fn boot_commands_with_what_is_no_key() {
    let template = |command: &str| {
        format!(
            "source \"qemu\" \"a\" {{\n  iso_url = \"x\"\n  iso_checksum = \"md5:00000000000000000000000000000000\"\n  ssh_username = \"x\"\n  \
             shutdown_command = \"x\"\n  boot_command = [\n    \"<enter>\",\n    \"{command}\",\n  ]\n}}\n\
             build {{\n  sources = [\"qemu.a\"]\n}}\n"
        )
    };
    let unknown = "8: Unknown key in a boot command";
    let cases: [(&str, bool, &[&str]); 15] = [
        ("<wait0>a<wait>b\\n<wait0s>", false, &[]),
        ("<wait.25m>", false, &[unknown]),
        ("<wait05> <wait05>", false, &[unknown]),
        ("<wait+5s>", false, &[unknown]),
        ("<bogus>", false, &[unknown]),
        ("<wait10q><space>", false, &[unknown, unknown]),
        ("<wait 5>", false, &[unknown]),
        ("<wait5", false, &[unknown]),
        ("<enter<wait5", false, &[unknown, unknown]),
        ("<wait99999999999999999999>", true, &["8: Invalid boot command"]),
        ("<wait-5s>", true, &["8: Invalid boot command"]),
        ("é", true, &["8: Character without a key"]),
        ("<éOn>éé", true, &["8: Character without a key"]),
        ("{{ `é` }} {{/* é */}}", false, &[]),
        ("{{ `a` }}é{{ `b` }}", true, &["8: Character without a key"]),
    ];
    for (command, is_error, expected) in cases {
        let expected: Vec<(bool, String)> = expected.iter().map(|told| (is_error, (*told).to_owned())).collect();
        assert_eq!(problems("t.pkr.hcl", &template(command)), expected, "{command}");
    }
}

/// Whoever writes a name wrong hears of that only.
#[test]
fn a_wrong_name_has_no_consequences() {
    let text = r#"source "qemu" "a" {
  iso_ulr      = "x"
  iso_chekcsum = "none"
  ssh_usrname  = "x"
}
build {
  sources = ["qemu.a"]
  provisioner "shell" {
    scirpts = ["x"]
  }
  provisioner "file" {
    source      = "/dev/null"
    destinatoin = "x"
  }
}
"#;
    let expected = ["2", "3", "4", "9", "13"].map(|line| format!("{line}: Unsupported argument"));
    assert_eq!(told("t.pkr.hcl", text), expected);
}

#[test]
fn private_keys_that_are_none() {
    let text = r#"source "null" "a" {
  ssh_host             = "x"
  ssh_username         = "x"
  ssh_private_key_file = "Cargo.toml"
}
build {
  sources = ["null.a"]
}
"#;
    assert_eq!(told("t.pkr.hcl", text), ["4: Unusable private key"]);
}
