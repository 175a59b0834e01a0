//! Writes seeds: a few templates, and calls of every function. `seeds DIRECTORY [CORPUS]` makes a folder per target; with a
//! corpus of real templates, small ones of them too.

// The coverage instrumentation calls into libFuzzer.
use libfuzzer_sys as _;

use std::io;
use std::path::{Path, PathBuf};

/// Largest real template that is taken in bytes.
const MAX_TEMPLATE: u64 = 4096;
/// Most real templates taken for a target.
const MAX_TEMPLATES: usize = 150;

const HCL: [&str; 4] = [
    "packer {\n  required_version = \">= 1.7\"\n  required_plugins { qemu = { version = \"~> 1\", source = \"github.com/hashicorp/qemu\" } }\n}\nvariable \"a\" {\n  type      = list(string)\n  default   = [\"x\", \"y\"]\n  sensitive = true\n  validation {\n    condition     = length(var.a) > 0\n    error_message = \"Empty.\"\n  }\n}\nlocals { b = [for i, v in var.a : upper(v) if i > 0] }\nlocal \"c\" {\n  expression = { for v in var.a : v => local.b... }\n}\n",
    "source \"qemu\" \"a\" {\n  iso_url = \"http://${var.h}/x\"\n  dynamic \"drive\" {\n    for_each = [\"a\", \"b\"]\n    labels   = []\n    content { file = drive.value }\n  }\n}\nvariable \"h\" { default = \"x\" }\nbuild {\n  name    = \"n\"\n  sources = [\"qemu.a\"]\n  source \"qemu.a\" { name = \"c\" }\n  provisioner \"shell\" {\n    inline       = [\"echo ${build.ID}\", <<-EOT\n      one ${source.name}\n        two %{ if true ~} x %{ endif }\n    EOT\n    ]\n    only         = [\"qemu.a\"]\n    pause_before = \"1s\"\n    override     = { a = { inline = [\"x\"] } }\n  }\n  post-processors {\n    post-processor \"manifest\" { keep_input_artifact = true }\n  }\n}\n",
    "data \"null\" \"d\" { input = templatefile(\"x.txt\", { name = \"n\" }) }\nlocals {\n  a = data.null.d.output\n  b = try(local.c, null)\n  c = 1 == 2 ? -3 : (4 % 3)\n  # comment\n  d = \"a\\tb\\u00e9\" // other\n  e = local.f[0].g.*.h\n  f = [{ g = [{ h = 1 }] }] /* third */\n}\n",
    "build {\n  sources=[\"null.a\"]\n  error-cleanup-provisioner \"shell\" { inline=[\"x\"] }\n}\nsource \"null\" \"a\" {\ncommunicator=\"none\"\n}\n",
];

const JSON: [&str; 3] = [
    r#"{"variables":{"a":"x","b":"{{env `HOME`}}"},"sensitive-variables":["a"],"builders":[{"type":"qemu","name":"n","iso_url":"{{user `a`}}","drive":[{"file":"f"}]}],"provisioners":[{"type":"shell","inline":["a"],"only":["n"],"override":{"n":{"inline":["b"]}}}],"post-processors":["manifest",["manifest",{"type":"manifest","keep_input_artifact":true}]],"min_packer_version":"1.2"}"#,
    r#"{"builders":[{"type":"qemu","iso_md5":"0","ssh_wait_timeout":"1m","iso_checksum_type":"md5","iso_checksum":"0"}],"_comment":"x"}"#,
    r#"{"variable":{"a":{"type":"string","default":"${1 + 1}"}},"source":{"qemu":{"n":{"iso_url":"${var.a}","drive":[{"file":"f"}]}}},"build":{"sources":["qemu.n"],"provisioner":[{"shell":{"inline":["a"]}}]}}"#,
];

const EXPRESSIONS: &[&str] = &[
    "[for k, v in {a = 1} : \"${k}-${v}\" if v > 0]",
    "{for v in [1, 2] : v => v...}",
    "1e400 * 0.1 / 3",
    "!true || false && 1 != 2",
    "\"%{ for x in [1] ~} ${x} %{ endfor }\"",
    "[1, [2]][1][0]",
    "{a = {b = [1]}}.a.b[*]",
    "try(x.y, can(1), 3)",
    "convert(\"1\", number)",
    "cidrsubnet(\"10.0.0.0/8\", 8, 2)",
    "cidrsubnets(\"fd00::/16\", 4, 8)",
    "cidrhost(\"10.0.0.0/8\", -1)",
    "cidrnetmask(\"10.0.0.0/12\")",
    "formatdate(\"EEEE, DD-MMM-YY hh:mm:ss ZZZ\", \"2018-01-02T23:12:01Z\")",
    "timeadd(\"2018-01-02T23:12:01Z\", \"-1h\")",
    "format(\"%#v %05.2f %q %x %+d %-8s|\", [1], 2.5, \"a\", 255, 3, \"x\")",
    "formatlist(\"%s-%d\", [\"a\", \"b\"], 1)",
    "jsondecode(\"{\\\"a\\\": [1e3, null]}\")",
    "jsonencode({a = [1, null, \"<\"]})",
    "yamldecode(\"a: [1, &x 2, *x]\\nb: |\\n  t\")",
    "yamlencode({a = [1, null], b = \"x: y\"})",
    "csvdecode(\"a,b\\n1,\\\"2\\n3\\\"\")",
    "setproduct([1, 2], [\"a\", \"b\"])",
    "zipmap([\"a\"], [1])",
    "merge({a = 1}, {b = 2})",
    "slice([1, 2, 3], 1, 2)",
    "chunklist([1, 2, 3], 2)",
    "range(1, 10, 2)",
    "flatten([[1], [[2]]])",
    "element([1, 2], 3)",
    "lookup({a = 1}, \"b\", 2)",
    "coalesce(null, 1)",
    "coalescelist([], [1])",
    "compact([\"\", \"a\"])",
    "distinct([1, 1])",
    "index([1], 1)",
    "keys({a = 1})",
    "values({a = 1})",
    "reverse([1, 2])",
    "sort([\"b\", \"a\"])",
    "sum([1, 2])",
    "transpose({a = [\"b\"]})",
    "min(1, 2)",
    "max([1]...)",
    "parseint(\"ff\", 16)",
    "pow(2, 0.5)",
    "log(8, 2)",
    "signum(-1)",
    "ceil(1.5)",
    "floor(-1.5)",
    "abs(-1)",
    "substr(\"añb\", 1, -1)",
    "strrev(\"e\u{301}a\")",
    "title(\"a b\")",
    "indent(2, \"a\\nb\")",
    "chomp(\"a\\n\")",
    "trim(\"xax\", \"x\")",
    "trimprefix(\"ab\", \"a\")",
    "split(\",\", \"a,b\")",
    "join(\"-\", [\"a\", \"b\"])",
    "replace(\"aab\", \"/a(.)/\", \"$1\")",
    "regex(\"(?P<n>a+)\", \"baa\")",
    "regexall(\"[[:alpha:]]\", \"ab1\")",
    "regex_replace(\"ab\", \"(a)\", \"$1$1\")",
    "base64encode(\"a\")",
    "base64decode(\"YQ==\")",
    "textencodebase64(\"a\", \"UTF-16LE\")",
    "textdecodebase64(\"YQA=\", \"UTF-16LE\")",
    "base64gzip(\"a\")",
    "urlencode(\"a b\")",
    "md5(\"\")",
    "sha256(\"\")",
    "rsadecrypt(\"\", \"\")",
    "uuidv5(\"dns\", \"a\")",
    "legacy_isotime(\"2006-01-02\")",
    "legacy_strftime(\"%Y\")",
    "templatefile(\"/w/x.txt\", {name = \"a\"})",
    "fileset(\"/w\", \"**\")",
    "setintersection([1], [1, 2])",
    "startswith(\"ab\", \"a\")",
    "alltrue([true])",
    "contains([1], 1)",
    "length(\"a\u{301}\")",
    "basename(\"/a/b\")",
    "pathexpand(\"~/a\")",
    "abspath(\"a\")",
    "1 == 1.0 ? \"a\" : 2",
    "<<EOT\na ${1}\nEOT\n",
    "-[1]",
    "null == null",
    "{\"a b\" = 1}[\"a b\"]",
];

const GO_TEMPLATES: &[&str] = &[
    "{{ .A }} {{- \"x\" -}} {{ printf \"%05d %q %v\" 3 \"a\" .L }}",
    "{{ range $i, $e := .L }}{{ $i }}={{ $e }}{{ else }}none{{ end }}",
    "{{ if and .A (not .B) }}x{{ else if eq 1 2 }}y{{ end }}",
    "{{ with .M }}{{ .k }}{{ end }}",
    "{{ define \"t\" }}a{{ . }}{{ end }}{{ template \"t\" .A }}",
    "{{ index .L 0 }}{{ len .A }}{{ slice .A 0 1 }}",
    "{{ isotime \"2006-01-02\" }}{{ timestamp }}",
    "{{ user `a` }}{{ env `HOME` }}{{ build `ID` }}",
    "{{ .A | upper | printf \"%s\" }}",
    "{{ split .A \"x\" 0 }}",
    "{{ replace_all \"a\" \"b\" .A }}",
    "{{ clean_resource_name .A }}",
    "{{/* c */}}",
    "{{ $x := 1 }}{{ $x = 2 }}{{ $x }}",
    "{{ break }}{{ range .L }}{{ continue }}{{ end }}",
    "{{ html .A }}{{ js .A }}{{ urlquery .A }}",
    "{{ 'a' }}{{ 0x1p-2 }}{{ 1e3 }}",
    "{{ block \"b\" . }}x{{ end }}",
    "{{ template_dir }}{{ pwd }}{{ uuid }}",
    "{{ strftime \"%Y\" }}{{ vault \"a\" \"b\" }}",
];

const REGEXES: &[&str] = &[
    "a(b|c)*?d\nabcd",
    "(?i)[[:^alpha:]\\d\\pL]+\nx1",
    "^\\Qa.b\\E$\na.b",
    "(?P<n>\\x{1F600}|\\n)\nx",
    "(?s:.)(?-s:.)\\b\\B\\A\\z\nab",
    "a{2,3}?\naaa",
    "[^a-z\\-\\]]\nA",
    "(((((((a)))))))\na",
    "\\C\\1",
    "(?<n>a)\na",
];

const BOOT_COMMANDS: &[&str] = &[
    "<esc><wait>install <wait5s>auto=true <enter>",
    "<leftCtrlOn>c<leftCtrlOff><wait1m30s>",
    "<aOn><aOff><<>>On><wait0>",
    "<tab> text<F10><wait500ms><return>\u{e9}",
];

fn write(directory: &Path, target: &str, seeds: impl IntoIterator<Item = String>) -> io::Result<usize> {
    let directory = directory.join(target);
    std::fs::create_dir_all(&directory)?;
    let mut made = 0;
    for seed in seeds {
        std::fs::write(directory.join(format!("seed-{made:03}")), seed)?;
        made += 1;
    }
    Ok(made)
}

/// Returns small files below `folder` with one of the endings, in the order of their names.
fn templates(folder: &Path, endings: &[&str]) -> io::Result<Vec<String>> {
    let (mut folders, mut paths) = (vec![folder.to_path_buf()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.to_string_lossy();
            if path.is_dir() {
                folders.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending)) && path.metadata()?.len() <= MAX_TEMPLATE {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let step = (paths.len() / MAX_TEMPLATES).max(1);
    Ok(paths.iter().step_by(step).filter_map(|path| std::fs::read_to_string(path).ok()).collect())
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let directory = arguments.next().expect("usage: seeds DIRECTORY [CORPUS]");
    let (mut hcl, mut json) = (Vec::new(), Vec::new());
    if let Some(corpus) = arguments.next() {
        hcl = templates(&corpus.join("templates"), &[".hcl"])?;
        json = templates(&corpus.join("templates"), &[".json"])?;
    }
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let in_locals = EXPRESSIONS.iter().map(|text| format!("locals {{ a = {text} }}\n"));
    let made = [
        write(&directory, "hcl", own(&HCL).into_iter().chain(in_locals).chain(hcl))?,
        write(&directory, "json", own(&JSON).into_iter().chain(json))?,
        write(&directory, "expression", own(EXPRESSIONS))?,
        write(&directory, "go_template", own(GO_TEMPLATES))?,
        write(&directory, "regex", own(REGEXES))?,
        write(&directory, "boot_command", own(BOOT_COMMANDS))?,
    ];
    println!("{} seeds", made.iter().sum::<usize>());
    Ok(())
}
