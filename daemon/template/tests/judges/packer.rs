//! Debian's Packer 1.6.6: its console and its fixers.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use kiln_template::{Console, MemoryFiles, fix};

use super::generate::{Random, expression};
use super::{expect_none, inputs, skip};

/// Returns the path of Packer 1.6.6, or says that it is missing.
pub(crate) fn packer(test: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("KILN_PACKER").unwrap_or_else(|| "packer".into()));
    let version = Command::new(&path).arg("version").output();
    match version {
        Ok(output) if String::from_utf8_lossy(&output.stdout).contains("v1.6.6") => Some(path),
        Ok(_) => skip(test, "packer 1.6.6, and finds another version"),
        Err(error) => skip(test, &format!("packer 1.6.6 ({error})")),
    }
}

/// What Packer said.
pub(crate) struct Said {
    pub(crate) success: bool,
    pub(crate) text: String,
}

/// Runs Packer without colours, caches and news.
pub(crate) fn run(packer: &Path, arguments: &[&str], folder: &Path, input: &str) -> Said {
    let mut child = Command::new(packer)
        .args(arguments)
        .current_dir(folder)
        .envs([("CHECKPOINT_DISABLE", "1"), ("PACKER_NO_COLOR", "1")])
        .env("PACKER_CACHE_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("packer-cache"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It may end without reading everything.
    _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Said { success: output.status.success(), text: String::from_utf8_lossy(&output.stdout).into_owned() }
}

/// Calls beyond those of the Go judge's expressions: what Packer itself adds.
const CALLS: &[&str] = &[
    "formatdate(\"YYYY-MM-DD'T'hh:mm:ssZ EEE MMM D\", S)",
    "formatdate(\"DD MMMM YY, HH:m:s AA ZZZZZ\", \"2018-01-02T23:12:01+05:30\")",
    "timeadd(\"2018-01-02T23:12:01Z\", S)",
    "timeadd(\"2018-01-02T23:12:01Z\", \"-1h30m\")",
    "regex_replace(S, \"[a-c]\", \"<$0>\")",
    "regex_replace(S, S, S)",
    "base64encode(S)",
    "base64decode(base64encode(S))",
    "base64decode(S)",
    "urlencode(S)",
    "md5(S)",
    "sha1(S)",
    "sha256(S)",
    "sha512(S)",
    "uuidv5(\"dns\", S)",
    "uuidv5(S, S)",
    "cidrhost(\"10.1.2.0/24\", N)",
    "cidrnetmask(\"10.1.2.0/N\")",
    "cidrsubnet(\"172.16.0.0/12\", N, N)",
    "cidrsubnets(\"10.1.0.0/16\", N, N)",
    "cidrhost(\"fd00:1::/64\", N)",
    "basename(S)",
    "dirname(S)",
    "basename(\"/a/b/S\")",
    "dirname(\"/a/b/../c\")",
    "yamlencode([E])",
    "yamldecode(S)",
    "yamldecode(\"a: [1, two]\\nb: {c: ~}\")",
    "jsondecode(jsonencode(E))",
    "convert(E, string)",
    "convert(E, list(string))",
    "convert(E, map(number))",
    "convert(E, set(any))",
    "convert(E, bool)",
    "index(E, E)",
    "length(E)",
    "lookup(E, S, E)",
    "coalesce(E, E)",
    "parseint(S, 16)",
    "join(S, E)",
    "split(S, S)",
    "substr(S, N, N)",
    "title(S)",
    "indent(N, S)",
    "trim(S, S)",
    "trimprefix(S, S)",
    "trimsuffix(S, S)",
    "replace(S, S, S)",
    "format(\"%5.2f|%-6s|%06d|%x|%q|%v|%t\", N, S, N, N, S, E, true)",
    "formatlist(\"%s-%s\", E, S)",
    "E % N",
    "\"%{for x in E~} ${x} %{~endfor}\"",
    "E[N]",
    "E[S]",
    "E.*.a",
    "E.a",
    "{for k, v in E: k => v if k != S}",
    "[for i, v in E: \"${i}=${jsonencode(v)}\"]",
    "merge(E, {a = S})",
    "chunklist(E, N)",
    "element(E, N)",
    "slice(E, N, N)",
    "setproduct(E, E)",
    "S == S ? S : N",
    "true ? E : E",
    "range(N)",
    "range(N, N)",
    "zipmap(E, E)",
    "flatten(E)",
    "distinct(E)",
    "reverse(E)",
    "sort(E)",
    "values(E)",
    "keys(E)",
    "strrev(S)",
    "csvdecode(\"a,b\\n1,2\\n\")",
    "chomp(S)",
    "max(N, N, N)",
    "signum(N)",
    "concat(E, E)",
    "contains(E, E)",
    "compact(E)",
];

const TEXTS: &[&str] = &[
    "",
    "a",
    "abc",
    "a b c",
    "/x/y.txt",
    "2018-01-02T23:12:01Z",
    "2018-01-02",
    "1h",
    "héllo wörld",
    "YWJj",
    "5",
    "-1.5e3",
    "true",
    "a\\nb\\n",
    "<&>",
    "x=1&y=2",
    "[a-z]+",
    "(",
    "$1",
    "ff",
    "  pad  ",
    "日本",
    "key: value",
    "- 1\\n- 2",
];
const NUMBERS: &[&str] = &["0", "1", "2", "3", "8", "16", "-1", "1.5", "100"];

/// Fills a call with random arguments.
fn call(random: &mut Random) -> String {
    let mut out = String::new();
    let pattern = random.pick(CALLS);
    let text: Vec<char> = pattern.chars().collect();
    let is_word = |index: Option<usize>| {
        index.and_then(|index| text.get(index)).is_some_and(|c| c.is_alphanumeric() || *c == '%')
    };
    let mut quoted = false;
    for (index, &c) in text.iter().enumerate() {
        let alone = !is_word(index.checked_sub(1)) && !is_word(Some(index + 1));
        quoted ^= c == '"';
        match c {
            'S' if alone && quoted => out.push_str(random.pick(&["a", "b.c", "x y"])),
            'S' if alone => out.push_str(&format!("\"{}\"", random.pick(TEXTS).replace("${", "$${"))),
            'N' if alone => out.push_str(random.pick(NUMBERS)),
            'E' if alone => {
                let depth = u32::try_from(random.next(2)).unwrap();
                out.push_str(&expression(random, depth));
            }
            c => out.push(c),
        }
    }
    out
}

/// Parts of expressions of which a current Packer says something else than 1.6.6, and why.
const OTHER_ANSWERS: &[(&str, &str)] = &[
    ("yamlencode(\"", "1.6.6 ends plain values with \"...\""),
    ("%{if", "1.6.6 takes a condition that is no boolean for an unknown value"),
    (".*.a.*", "1.6.6 refuses the whole line"),
    ("123456789012345678901234567890", "1.6.6 cuts the arguments of ceil and floor to 64 bits"),
    ("% 0", "1.6.6 gives the left operand for a remainder by zero, which is an error here"),
    ("null", "most functions of 1.6.6 take no null"),
    ("yamldecode(\"\")", "1.6.6 refuses an empty document, which is null"),
    ("-1, 0)", "substr of 1.6.6 takes a length of zero for no length at all when the offset is negative"),
    ("-0", "numbers here have no negative zero"),
];

/// Reports whether 1.6.6 is no judge of an expression.
fn is_answered_otherwise(text: &str) -> bool {
    // Negative prefixes and numbers of networks are nonsense, of which each version makes something else.
    // A condition that is no boolean makes the whole line unknown.
    let condition = |before: &str| before.ends_with("true") || before.ends_with("false") || before.contains(" == \"");
    let conditions = text.matches(" ? ").count();
    if conditions > 1 || text.match_indices(" ? ").any(|(at, _)| !condition(&text[..at])) {
        return true;
    }
    let negative = text.contains("cidrsubnet") && text.contains("-1");
    negative || OTHER_ANSWERS.iter().any(|(part, _)| text.contains(part)) || text.matches(".*").count() > 1
}

/// 4,200 expressions, less what 1.6.6 is no judge of: many in one line, because Packer says only what the last line is.
#[test]
fn console() {
    let Some(packer) = packer("console") else { return };
    let mut random = Random(29);
    let expressions: Vec<String> = (0..4200)
        .map(|index| match index % 3 {
            0 => expression(&mut random, 1 + u32::try_from(index % 2).unwrap()),
            _ => call(&mut random),
        })
        .filter(|text| !is_answered_otherwise(text))
        .collect();
    let console = Console::empty(&inputs(), Arc::new(MemoryFiles::new()));
    let (mut wrong, mut checked, mut valued) = (Vec::new(), 0, 0);
    let mut chunks: Vec<&[String]> = expressions.chunks(60).collect();
    while let Some(chunk) = chunks.pop() {
        let each: Vec<String> = chunk.iter().map(|text| format!("try(jsonencode({text}), \"!\")")).collect();
        let line = format!("jsonencode([{}])\n", each.join(", "));
        let said = run(&packer, &["console", "--config-type=hcl2"], Path::new("/"), &line);
        let Ok(theirs) = serde_json::from_str::<Vec<String>>(&said.text) else {
            match chunk.split_at(chunk.len() / 2) {
                (&[], _) => wrong.push(format!("Packer does not answer: {:.500}\n  {line}", said.text)),
                (left, right) => chunks.extend([left, right]),
            }
            continue;
        };
        for (text, theirs) in chunk.iter().zip(theirs) {
            checked += 1;
            valued += usize::from(theirs != "!");
            let answer = console.evaluate(&format!("jsonencode({text})"));
            let mine = answer.text.clone().unwrap_or_else(|| "!".into());
            if mine != theirs {
                let problems: Vec<&str> = answer.diagnostics.iter().map(|item| item.detail.as_str()).collect();
                wrong.push(format!("{text}\n  Packer: {theirs}\n  Kiln:   {mine} {}", problems.join("; ")));
            }
        }
    }
    expect_none(&wrong, checked);
    assert!(checked >= 2000 && valued >= 1000, "only {checked} expressions, {valued} with a value");
    eprintln!("console: {checked} expressions, {valued} with a value");
}

/// Numbers as they are shown, not encoded.
#[test]
fn numbers() {
    let Some(packer) = packer("numbers") else { return };
    let console = Console::empty(&inputs(), Arc::new(MemoryFiles::new()));
    let line = "[10/3, 1/3, 2/3, 1e100, 1e-100, -0.000001, 1.5, 100000, 1e15, 1e17, 1e18, 1e19, 1e20, 1e21, 0.1, 0.1 + 0.2, \
                123456789.5, 12345678901234567890, 99999999999999999999, 9007199254740993, 0.0001, 0.00001, -7/9, 1e400, \
                -1e400, 1e-400, 0, {a = 1/3}, 1/0, -1/0, \"${1/0}\", can(1/0), can(0/0), 1/(1/0)]\n";
    let said = run(&packer, &["console", "--config-type=hcl2"], Path::new("/"), line);
    assert_eq!(console.evaluate(line.trim()).text.as_deref(), Some(said.text.trim_end()));
}

/// Scalars of YAML, of which go-cty-yaml has its own idea.
const SCALARS: &[&str] = &[
    "y",
    "Y",
    "yes",
    "Yes",
    "YES",
    "yEs",
    "on",
    "On",
    "ON",
    "oN",
    "n",
    "N",
    "no",
    "No",
    "NO",
    "off",
    "Off",
    "OFF",
    "oFF",
    "true",
    "True",
    "TRUE",
    "tRue",
    "false",
    "False",
    "FALSE",
    "0644",
    "0b101",
    "-0644",
    "+12",
    "+0x1f",
    "-0x1F",
    "1_000",
    "0_7",
    "08",
    "09.5",
    ".5",
    "5.",
    "1e3",
    "1E3",
    "-1e3",
    "1.5e+3",
    ".nan",
    ".NaN",
    "2024-01-31",
    "2001-12-14t21:59:43.10-05:00",
    "2001-12-14T21:59:43Z",
    "2001-12-14T21:59:43.000Z",
    "2001-1-4",
    "2001-12-14T21:59:43+00:00",
    "2001-13-01",
    "2001-02-30",
    "~",
    "null",
    "Null",
    "NULL",
    "nUll",
    ".",
    "0x",
    "0xZZ",
    "0b12",
    "12:30:45",
    "9223372036854775808",
    "18446744073709551616",
    "123456789012345678901234567890",
    "0777777777777777777777777",
    "1__0",
    "_1",
    "1_",
    "0.1",
    "3.14159265358979",
    "0",
    "00",
    "0.",
    "+",
    "-.5",
    "+.5",
    "1.2.3",
    "0x1.8p1",
    "<<",
    "=",
    "-y",
    "+yes",
    "1e",
    "1e+",
    ".e1",
    "._",
    ".5_0",
    "-0b11",
    "-0o7",
    "+0",
    "0b",
    "0B1",
    "1.5_5",
    "2024-01-31Z",
    "2024-1-31T1:2:3Z",
    "20240131",
    "2001-12-14 21:59:43.10 -5",
    "2001-12-15 2:59:43.10",
    "2001-12-14 21:59:43 +01:00",
    "2001-12-14 21:59:43",
    "2001-12-14T21:59:43",
    "2001-12-14T1:59:43Z",
    "2001-12-14T21:59:43.123456789012Z",
    r#"!!int "2""#,
    "!!int 2",
    "!!int 0644",
    "!!int x",
    "!!int 1.5",
    "!!int 0x1F",
    "!!float 1",
    r#"!!float "1.5""#,
    "!!float x",
    r#"!!bool "yes""#,
    "!!bool yes",
    "!!bool 1",
    "!!str 1",
    "!!str yes",
    r#"!!null """#,
    "!!null x",
    "!!timestamp 2001-01-01",
    r#"!!timestamp "2001-01-01""#,
    "!!timestamp x",
    "!!binary aGVs bG8=",
    "!!binary aGVsbG8=",
    r#"!!binary "$$""#,
    "! 1",
    "!foo 1",
    r#""yes""#,
    "'0644'",
    "!!float 0x10",
    "!!map x",
    "!!omap x",
    "!!str",
    "!!seq [1]",
    "!foo [1]",
    "yes: 2",
    "{0644: a}",
    "{2001-01-01: a}",
    "{1.5: a}",
    "{~: a}",
];

#[test]
fn yaml() {
    let Some(packer) = packer("yaml") else { return };
    let console = Console::empty(&inputs(), Arc::new(MemoryFiles::new()));
    let expressions: Vec<String> = SCALARS
        .iter()
        .map(|text| format!("jsonencode(yamldecode({}))", serde_json::to_string(&format!("[ {text} ]")).unwrap()))
        .collect();
    let each: Vec<String> = expressions.iter().map(|text| format!("try({text}, \"!\")")).collect();
    let line = format!("jsonencode([{}])\n", each.join(", "));
    let said = run(&packer, &["console", "--config-type=hcl2"], Path::new("/"), &line);
    let theirs: Vec<String> = serde_json::from_str(&said.text).unwrap();
    let mut wrong = Vec::new();
    for (text, theirs) in expressions.iter().zip(theirs) {
        let mine = console.evaluate(text).text.unwrap_or_else(|| "!".into());
        if mine != theirs {
            wrong.push(format!("{text}\n  Packer: {theirs}\n  Kiln:   {mine}"));
        }
    }
    expect_none(&wrong, expressions.len());
}

/// Random options of random builders, among them all that fixers change.
#[test]
fn fixers() {
    let Some(packer) = packer("fixers") else { return };
    const KINDS: &[&str] = &[
        "qemu",
        "virtualbox",
        "virtualbox-iso",
        "virtualbox-ovf",
        "virtualbox-vm",
        "vmware",
        "vmware-iso",
        "vmware-vmx",
        "parallels-iso",
        "parallels-pvm",
        "hyperv-iso",
        "hyperv-vmcx",
        "amazon-ebs",
        "amazon-chroot",
        "docker",
        "scaleway",
        "vsphere-iso",
        "vsphere-clone",
        "azure-chroot",
        "azure-arm",
        "proxmox",
        "googlecompute",
        "null",
    ];
    const NAMES: &[&str] = &[
        "iso_md5",
        "iso_checksum",
        "iso_checksum_type",
        "iso_checksum_url",
        "guest_additions_attach",
        "headless",
        "guest_additions_mode",
        "parallels_tools_host_path",
        "guest_os_distribution",
        "ssh_key_path",
        "ssh_disable_agent",
        "access_key",
        "api_access_key",
        "api_token",
        "shutdown_behaviour",
        "enhanced_networking",
        "temporary_security_group_source_cidr",
        "remote_type",
        "disk_type_id",
        "skip_compaction",
        "vhd_temp_path",
        "clone_from_vmxc_path",
        "cpu",
        "ram_size",
        "ami_name",
        "image_name",
        "spot_price_auto_product",
        "disk_size",
        "ssh_host_port_min",
        "ssh_host_port_max",
        "ssh_skip_nat_mapping",
        "ssh_wait_timeout",
        "ssh_timeout",
        "ssh_private_key_file",
        "ssh_disable_agent_forwarding",
        "organization_id",
        "host_port_min",
        "host_port_max",
        "skip_nat_mapping",
        "network",
        "networkCard",
        "network_card",
        "disk_thin_provisioned",
        "disk_eagerly_scrub",
        "shared_image_destination",
        "boot_command",
        "vm_name",
    ];
    const VALUES: &[&str] = &[
        "\"x\"",
        "\"esx5\"",
        "\"thin\"",
        "\"sha256\"",
        "\"http://h/sums\"",
        "true",
        "false",
        "\"true\"",
        "1024",
        "1.5",
        "\"{{.CreateTime}}-{{ .CreateTime }}\"",
        "\"a{{ . | clean_ami_name }}{{clean_image_name `b`}}\"",
        "\"10.0.0.0/8\"",
        "{\"exlude_from_latest\": true}",
        "\"<a>&\\u00e9\"",
        "[\"{{.CreateTime}}\"]",
    ];
    let mut random = Random(31);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fixers");
    std::fs::create_dir_all(&dir).unwrap();
    let mut wrong = Vec::new();
    let mut builders = Vec::new();
    for _ in 0..600 {
        let mut options = std::collections::BTreeMap::new();
        for _ in 0..1 + random.next(5) {
            options.insert(random.pick(NAMES), random.pick(VALUES));
        }
        let options: Vec<String> = options.iter().map(|(name, value)| format!(", \"{name}\": {value}")).collect();
        builders.push(format!("{{\"type\": \"{}\"{}}}", random.pick(KINDS), options.concat()));
    }
    for chunk in builders.chunks(12) {
        let text = format!("{{\"builders\": [{}]}}", chunk.join(",\n"));
        std::fs::write(dir.join("t.json"), &text).unwrap();
        let theirs = run(&packer, &["fix", "-validate=false", "t.json"], &dir, "");
        let mine = fix(&text).map(|text| text + "\n").unwrap_or_default();
        if theirs.text != mine {
            let line = mine.lines().zip(theirs.text.lines()).position(|(mine, theirs)| mine != theirs).unwrap_or(0);
            let around =
                |text: &str| text.lines().skip(line.saturating_sub(3)).take(8).collect::<Vec<_>>().join("\n    ");
            wrong.push(format!("Packer:\n    {}\n  Kiln:\n    {}", around(&theirs.text), around(&mine)));
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
    expect_none(&wrong, builders.len() / 12);
}
