//! Where the values of variables, locals and data sources come from, and what is said of those that do not fit.

use std::sync::Arc;

use insta::assert_snapshot;
use kiln_template::{
    DataMode, DataSources, Generated, HttpRequest, HttpResponse, KnownImage, Loaded, MemoryFiles, load, load_with,
};

use crate::surroundings::{CATALOG, inputs, load_hcl, problems_of_hcl, said};

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
    let loaded = load(&inputs, Arc::new(files), &CATALOG);
    assert!(loaded.diagnostics.is_empty(), "{}", said(&loaded));
    let options = loaded.evaluated.unwrap().builds[0].source.decode(&Generated::plan()).0.unwrap();
    assert_eq!(options.string("iso_url"), Some("auto file ${x} flag 1+2 from-env"));
}

#[test]
fn it_is_known_what_the_environment_gave_and_no_secret_of_it() {
    let text = "variable \"a\" {}\nvariable \"b\" {}\nvariable \"n\" { type = number }\nvariable \"s\" { sensitive = true }\nvariable \"d\" { default = 1 }\nsource \"qemu\" \"x\" {}\nbuild { sources = [\"qemu.x\"] }\n";
    let mut inputs = inputs("t.pkr.hcl");
    let given = ["a", "b", "n", "s", "undeclared"].map(|name| (format!("PKR_VAR_{name}"), "7".to_owned()));
    inputs.env = given.into();
    inputs.vars = vec!["b=flag".into()];
    let loaded = load_hcl(text, &inputs);
    assert!(loaded.diagnostics.is_empty(), "{}", said(&loaded));
    let found = loaded.evaluated.unwrap().of_environment;
    let expected = [("a", "7"), ("n", "7")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(found, expected.into());
}

#[test]
fn null_is_unset_and_types_convert() {
    let loaded = load_hcl(
        "source \"qemu\" \"x\" {\n iso_url = 5\n memory = \"64\"\n headless = \"true\"\n ssh_password = null\n}\nbuild { sources = [\"qemu.x\"] }\n",
        &inputs("t.pkr.hcl"),
    );
    assert!(loaded.diagnostics.is_empty(), "{}", said(&loaded));
    let (options, diagnostics) = loaded.evaluated.unwrap().builds[0].source.decode(&Generated::plan());
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let options = options.unwrap();
    assert_eq!(options.string("iso_url"), Some("5"));
    assert_eq!(options.integer("memory"), Some(64));
    assert_eq!(options.bool("headless"), Some(true));
    assert!(!options.is_set("ssh_password"));
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
    assert_snapshot!(problems_of_hcl(text), @r#"
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
    let loaded = load_hcl("variable \"n\" { type = number }\nvariable \"l\" { type = list(string) }\n", &inputs);
    assert_snapshot!(said(&loaded), @r#"
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

struct Page;

impl DataSources for Page {
    fn http(&self, request: &HttpRequest) -> Result<HttpResponse, String> {
        if request.url.ends_with("missing") {
            return Err("the server answered 404 Not Found".into());
        }
        let body = format!("{} {}", request.method, request.url).into_bytes();
        assert_eq!((&*request.asker, &*request.asked), ("data.http.p", "http://h/page"));
        Ok(HttpResponse { body, headers: vec![("A".into(), "1".into()), ("A".into(), "2".into())] })
    }

    fn image(&self, name: &str, channel: &str) -> Result<KnownImage, String> {
        if name != "base" {
            return Err("there are: base (latest)".into());
        }
        let (format, checksum, size) = ("qcow2".into(), "sha256:aa".into(), 17);
        let (build, run_uuid, created) = ("qemu.base".into(), "u".into(), "2026-11-30T00:00:00Z".into());
        Ok(KnownImage { path: format!("/images/{channel}"), format, checksum, size, build, run_uuid, created })
    }
}

#[test]
fn an_image_of_an_earlier_build_is_looked_up() {
    let text = "data \"kiln-image\" \"b\" { image_name = \"base\" }\ndata \"kiln-image\" \"s\" {\n  image_name = data.kiln-image.b.image_name\n  \
                channel = \"stable\"\n}\nsource \"qemu\" \"a\" { iso_url = \"${data.kiln-image.b.path} ${data.kiln-image.s.path} \
                ${data.kiln-image.s.checksum} ${data.kiln-image.s.size} ${data.kiln-image.s.format}\" }\nbuild { sources = [\"qemu.a\"] }\n";
    let load = |text: &str, data| {
        let files = MemoryFiles::new().with("/w/t.pkr.hcl", text);
        load_with(&inputs("t.pkr.hcl"), Arc::new(files), &CATALOG, data)
    };
    let loaded = load(text, DataMode::Fetch(Arc::new(Page)));
    let options = loaded.evaluated.as_ref().unwrap().builds[0].source.decode(&Generated::plan()).0.unwrap();
    assert_eq!(options.string("iso_url"), Some("/images/latest /images/stable sha256:aa 17 qcow2"));
    let unknown = load(text, DataMode::Unknown);
    let options = unknown.evaluated.as_ref().unwrap().builds[0].source.decode(&Generated::plan()).0.unwrap();
    assert_eq!(options.string("iso_url"), Some(Generated::UNKNOWN));
    assert!(load(text, DataMode::Refuse).diagnostics.has_errors());
    for (wrong, words) in [
        (text.replace("\"base\"", "\"bass\""), "there are: base (latest)"),
        (text.replace("image_name = \"base\"", ""), "is required"),
        (text.replace("{ image_name = \"base\" }", "{\n image_name = \"base\"\n naem = 1\n}"), "naem"),
    ] {
        let loaded = load(&wrong, DataMode::Fetch(Arc::new(Page)));
        let told = loaded.diagnostics.iter().any(|item| item.detail.contains(words));
        assert!(told && loaded.diagnostics.has_errors(), "{words}: {:?}", loaded.diagnostics);
    }
}

#[test]
fn data_sources_are_fetched() {
    let text = "locals { base = data.null.x.output }\ndata \"null\" \"x\" { input = \"http://h\" }\ndata \"http\" \"p\" { url = \"${local.base}/page\" }\nsource \"qemu\" \"a\" { iso_url = \"${data.http.p.body} ${data.http.p.request_headers.A}\" }\nbuild { sources = [\"qemu.a\"] }\n";
    let load = |text: &str, data| {
        let files = MemoryFiles::new().with("/w/t.pkr.hcl", text);
        load_with(&inputs("t.pkr.hcl"), Arc::new(files), &CATALOG, data)
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
fn what_depends_on_the_source_is_unknown_in_locals() {
    let text = "locals {\n  a = \"x-${source.name}\"\n  b = source.type\n}\nsource \"qemu\" \"a\" { iso_url = local.a }\n\
                build { sources = [\"qemu.a\"] }\n";
    assert_eq!(problems_of_hcl(text), "");
}
