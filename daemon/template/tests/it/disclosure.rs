//! Secrets and what functions make of them: whatever goes wrong with them, no message shows them.

use std::sync::Arc;

use kiln_template::{Inputs, MemoryFiles, Report, Style, load};

use crate::surroundings::{Components, inputs, load_hcl, said};

const SECRET: &str = "Xq7&Zw\"9<Kv4 Rb2";

/// Returns what is said of an expression, for people and for programs.
fn told(expression: &str, sensitive: bool) -> String {
    let text = format!(
        "variable \"secret\" {{\n  type      = string\n  sensitive = {sensitive}\n}}\nvariable \"list\" {{\n  type      = \
         list(string)\n  sensitive = {sensitive}\n  default = []\n}}\nlocals {{\n  x = {expression}\n}}\n"
    );
    let files = MemoryFiles::new().with("/w/t.pkr.hcl", text).with("/w/t.tpl", "${secret} ${nope}");
    let inputs = Inputs { vars: vec![format!("secret={SECRET}")], ..inputs("t.pkr.hcl") };
    let loaded = load(&inputs, Arc::new(files), &Components::Nothing);
    let reports = loaded.diagnostics.reports(&loaded.sources);
    let mut said = loaded.diagnostics.render(&loaded.sources, &Style::default());
    // Excerpts show the expression, which is no secret; what is looked for is not in it.
    said.push_str(&serde_json::to_string(&reports).unwrap());
    said
}

/// Parts of the secret of four characters and more, in any case and direction.
fn parts() -> Vec<String> {
    let characters: Vec<char> = SECRET.chars().collect();
    let forward = characters.windows(4).map(|run| run.iter().collect::<String>());
    let backward = characters.windows(4).map(|run| run.iter().rev().collect::<String>());
    forward.chain(backward).flat_map(|part| [part.to_lowercase(), part.to_uppercase(), part]).collect()
}

/// Calls of every function that takes a text, with the secret in every place.
const CALLS: &[&str] = &[
    "abs(S)",
    "abspath(S)",
    "base64decode(S)",
    "base64encode(S)",
    "base64gzip(S)",
    "basename(S)",
    "bcrypt(S, 4)",
    "ceil(S)",
    "chomp(S)",
    "cidrhost(S, 1)",
    "cidrhost(\"10.0.0.0/8\", S)",
    "cidrnetmask(S)",
    "cidrsubnet(S, 1, 1)",
    "cidrsubnets(S, 1)",
    "convert(S, number)",
    "convert(S, bool)",
    "csvdecode(S)",
    "csvdecode(\"a\\n${S},1\")",
    "dirname(S)",
    "element([1], S)",
    "file(S)",
    "filebase64(S)",
    "fileset(S, \"*\")",
    "fileset(\".\", S)",
    "fileset(\".\", \"[${S}\")",
    "floor(S)",
    "format(S, 1)",
    "format(\"%d\", S)",
    "format(\"%z${S}\", S)",
    "formatdate(S, \"2020-01-01T00:00:00Z\")",
    "formatdate(\"YYYY\", S)",
    "formatlist(\"%d\", [S])",
    "indent(S, \"a\")",
    "index([1], S)",
    "join(\",\", [S])",
    "jsondecode(S)",
    "jsondecode(\"{${S}\")",
    "jsonencode(S)",
    "jsonencode({ a = S })",
    "keys(S)",
    "length(S)",
    "log(S, 2)",
    "lookup({}, S)",
    "lower(S)",
    "max(S)",
    "md5(S)",
    "merge(S)",
    "min(S)",
    "parseint(S, 10)",
    "pathexpand(S)",
    "pathexpand(\"~${S}\")",
    "pow(S, 1)",
    "range(S)",
    "regex(S, \"a\")",
    "regex(\"(${S}\", \"a\")",
    "regex(\"a\", S)",
    "regex(\"..\", S)",
    "regexall(\".{5}\", S)",
    "regex_replace(S, \"(\", \"\")",
    "regex_replace(S, \"q\", \"_\")",
    "replace(S, \"q\", \"_\")",
    "reverse(S)",
    "rsadecrypt(S, S)",
    "setproduct(S, S)",
    "sha1(S)",
    "sha256(S)",
    "sha512(S)",
    "signum(S)",
    "slice([1], S, S)",
    "sort([S])",
    "split(\"q\", S)",
    "strrev(S)",
    "substr(S, 1, 8)",
    "substr(S, S, 8)",
    "sum([S])",
    "templatefile(\"t.tpl\", { secret = S })",
    "templatefile(S, {})",
    "templatefile(\"t.tpl\", { (S) = 1 })",
    "textdecodebase64(S, \"UTF-16LE\")",
    "textencodebase64(S, \"UTF-16LE\")",
    "textencodebase64(S, \"UTF-16BE\")",
    "textencodebase64(\"a\", S)",
    "timeadd(S, \"1h\")",
    "timeadd(\"2020-01-01T00:00:00Z\", S)",
    "title(S)",
    "trim(S, \"X\")",
    "trimprefix(S, \"X\")",
    "trimspace(S)",
    "trimsuffix(S, \"2\")",
    "upper(S)",
    "urlencode(S)",
    "uuidv5(S, \"a\")",
    "uuidv5(\"dns\", S)",
    "values(S)",
    "yamldecode(S)",
    "yamldecode(\"{${S}\")",
    "yamldecode(\"*${S}\")",
    "yamlencode(S)",
    "zipmap([S], [1, 2])",
    "try(tobool(S), S + 1)",
    "S + 1",
    "S && true",
    "!S",
    "-S",
    "S[0]",
    "S.a",
    "[1][S]",
    "{ a = 1 }[S]",
    "{ (S) = 1, (S) = 2 }.b",
    "{ for x in [1, 2] : S => x }",
    "S ? 1 : 2",
    "[for x in S : x]",
    "\"${{ a = S }}\"",
    "cidrhost(\"${S}/8\", 1)",
    "legacy_strftime(S)",
    "legacy_isotime(S)",
    "startswith(S, \"X\")",
    "strcontains(S, \"X\")",
];

#[test]
fn no_message_shows_a_secret() {
    let parts = parts();
    for call in CALLS {
        let value = call.replace('S', "var.secret");
        // As it is, and its result in places where messages quote the value.
        let uses = [
            value.clone(),
            format!("[1][{value}]"),
            format!("{{ a = 1 }}[\"x${{{value}}}\"]"),
            format!("{{ a = 1 }}[{value}]"),
            format!("parseint(\"${{{value}}}\", 10)"),
            format!("regex(\"(${{{value}}}\", \"a\")"),
            format!("jsondecode(jsonencode([{value}])).x"),
            format!("file(\"x${{{value}}}\")"),
            format!("lookup({{}}, base64encode(upper(\"${{{value}}}\")))"),
        ];
        for expression in uses {
            let said = told(&expression, true);
            if let Some(part) = parts.iter().find(|part| said.contains(*part)) {
                panic!("{expression} shows {part:?}:\n{said}");
            }
        }
    }
}

/// The messages above would show it, were it no secret.
#[test]
fn the_same_messages_show_what_is_no_secret() {
    let shown = CALLS
        .iter()
        .filter(|call| {
            let said = told(&format!("{{ a = 1 }}[\"x${{{}}}\"]", call.replace('S', "var.secret")), false);
            parts().iter().any(|part| said.contains(part))
        })
        .count();
    assert!(shown > 30, "{shown}");
}

/// What is computed from a secret is one too.
#[test]
fn results_are_hidden() {
    for (call, known) in [
        ("sha256(var.secret)", "a"),
        ("md5(var.secret)", "a"),
        ("base64gzip(var.secret)", "a"),
        ("uuidv5(\"dns\", var.secret)", "a"),
        ("textencodebase64(var.secret, \"UTF-16LE\")", "a"),
    ] {
        let expression = format!("{{ {known} = 1 }}[{call}]");
        let open = told(&expression, false);
        let hidden = told(&expression, true);
        let result = open.split("The given key \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert!(result.len() > 8 && !hidden.contains(result), "{call} shows {result}:\n{hidden}");
        assert!(hidden.contains("<sensitive>"), "{hidden}");
    }
}

#[test]
fn parsers_do_not_quote_the_first_character_of_a_secret() {
    let said = told("jsondecode(var.secret)", true);
    assert!(said.contains("the reason is not shown") && !said.contains("'X'"), "{said}");
    assert!(told("jsondecode(var.secret)", false).contains("'X'"));
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
    let loaded = load_hcl(text, &inputs);
    let shown = said(&loaded);
    assert!(shown.contains("too short") && shown.matches("Error: ").count() >= 3, "{shown}");
    assert!(!shown.contains("hidden"), "{shown}");
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
        let loaded = load_hcl(&text, &inputs("t.pkr.hcl"));
        assert!(loaded.diagnostics.has_errors(), "{broken}");
        for item in &loaded.diagnostics {
            let shown = item.render(&loaded.sources, &Style::default());
            let json = serde_json::to_string(&Report::new(item, &loaded.sources)).unwrap();
            assert!(!shown.contains(secret) && !json.contains(secret), "{shown}\n{json}");
        }
    }
}
