//! Tests of Go templates against recorded results of Go.

use std::sync::Arc;

use super::*;

fn context() -> Context {
    let mut context = Context { now: "2020-01-02T03:04:05Z".parse().unwrap(), ..Context::default() };
    context.variables = Arc::new([("x".to_owned(), "value".to_owned())].into());
    context.build.insert("ID".into(), "7".into());
    context.build_name = Some("web".into());
    context
        .field("HTTPIP", "10.0.2.2")
        .field("HTTPPort", 8123u16)
        .field("List", Value::List(vec!["a".into(), "b".into()]))
}

fn ok(text: &str) -> String {
    render(text, &context()).unwrap()
}

#[test]
fn fields_and_functions() {
    assert_eq!(ok("http://{{ .HTTPIP }}:{{.HTTPPort}}/"), "http://10.0.2.2:8123/");
    assert_eq!(ok("{{user `x`}} {{ user \"y\" }}|{{build_name}} {{build `ID`}}"), "value |web 7");
    assert_eq!(ok("{{isotime \"2006-01\"}} {{timestamp}}"), "2020-01 1577934245");
    assert_eq!(ok("{{ .HTTPIP | upper | printf \"%5s|%-12s|\" `a` }}"), "    a|10.0.2.2    |");
    assert_eq!(ok("{{split `a-b` `-` 1}}{{replace_all `-` `/` `a-b-c`}}"), "ba/b/c");
}

#[test]
fn control_structures() {
    assert_eq!(ok("{{if eq .HTTPPort 8123}}yes{{else}}no{{end}}"), "yes");
    assert_eq!(ok("{{if false}}1{{else if true}}2{{else}}3{{end}}4"), "24");
    assert_eq!(ok("{{range $i, $e := .List}}{{$i}}{{$e}};{{end}}"), "0a;1b;");
    assert_eq!(ok("{{range .List}}{{if eq . `b`}}{{break}}{{end}}{{.}}{{end}}"), "a");
    assert_eq!(ok("{{with .HTTPIP}}{{.}}{{end}}{{$x := 3}}{{$x}}{{$x = 4}}{{$x}}"), "10.0.2.234");
    assert_eq!(ok("{{define `t`}}<{{.}}>{{end}}{{template `t` .HTTPIP}}"), "<10.0.2.2>");
    assert_eq!(ok("a {{- /* note */ -}} b{{/* c */}}"), "ab");
    assert_eq!(ok("a  {{- 1 -}}  b"), "a1b");
    assert_eq!(ok("{{and true 0}} {{or 0 `x`}} {{not 1}} {{len `abc`}} {{index .List 1}}"), "0 x false 3 b");
}

#[test]
fn problems_have_places() {
    let error = |text: &str| render(text, &context()).unwrap_err();
    let found = error("abc {{ .Nope }}");
    assert_eq!((found.offset, found.length), (7, 5));
    assert!(found.message.starts_with("can't evaluate field Nope; available here"), "{found}");
    assert!(error("{{ usr `x` }}").message.contains("did you mean \"user\""));
    assert!(error("{{ if true }}x").message.contains("unexpected EOF"));
    assert!(error("{{ env `HOME` }}").message.contains("not allowed here"));
    for bad in
        ["{{", "{{}}", "{{ end }}", "{{ .a b }}", "{{ 1 2 }}", "{{ \"x }}", "{{ | upper }}", "{{ (1 }}", "{{$y}}"]
    {
        assert!(render(bad, &context()).is_err(), "{bad}");
    }
}

#[test]
fn definitions_numbers_and_fields_as_in_go() {
    // Recorded from Go's text/template.
    let accepted = [
        ("{{define `a`}}{{end}}{{define `a`}}2{{end}}{{template `a`}}", "2"),
        ("{{define `a`}}1{{end}}{{define `a`}} {{/* c */}}{{end}}{{template `a`}}", "1"),
        ("{{block `a` .}}2{{end}}{{block `a` .}}{{end}}", "22"),
        ("{{if true}}{{block `a` .}}1{{end}}{{end}}", "1"),
        (
            "{{printf `%v` 3+2i}} {{2i}} {{-3-2.5i}} {{010i}} {{0x1p-2i}} {{1+2_0i}}",
            "(3+2i) (0+2i) (-3-2.5i) (0+10i) (0+0.25i) (1+20i)",
        ),
        (
            "{{printf `%.2f|%T|%e|%d` 3+2i 3+2i 3+2i 3+0i}}",
            "(3.00+2.00i)|complex128|(3.000000e+00+2.000000e+00i)|%!d(complex128=(3+0i))",
        ),
        (
            "{{printf `%8.1f|%+v|%-12v|%012v|% v` 3+2i 3+2i 3+2i 3+2i 3+2i}}",
            "(     3.0    +2.0i)|(3+2i)|(3           +2          i)|(000000000003+00000000002i)|( 3+2i)",
        ),
        ("{{if 0i}}a{{else}}b{{end}}{{if 1i}}a{{end}}{{eq 3+2i 3+2i}} {{print 3+2i 1 `a`}}", "batrue (3+2i) 1a"),
        (
            "{{1_000}} {{0b11}} {{0o17}} {{017}} {{0x_f}} {{0x1p4}} {{1_000.5}} {{.5}} {{5.}} {{+3}} {{0x.8p1}} {{-9223372036854775808}}",
            "1000 3 15 15 15 16 1000.5 0.5 5 3 1 -9223372036854775808",
        ),
        ("{{if false}}{{build_name.x}}{{print.x.y}}{{len.x}}{{(print 1).x}}{{end}}", ""),
    ];
    for (text, wanted) in accepted {
        assert_eq!(render(text, &context()).as_deref(), Ok(wanted), "{text}");
    }
    let refused = [
        "{{define `a`}}1{{end}}{{define `a`}}2{{end}}",
        "{{define `a`}}1{{end}}{{block `a` .}}2{{end}}",
        "{{if true}}{{define `a`}}1{{end}}{{end}}",
        "{{define `a`}}1{{define `b`}}{{end}}{{end}}",
        "{{if false}}{{true.x}}{{end}}",
        "{{if false}}{{nil.x}}{{end}}",
        "{{if false}}{{`a`.x}}{{end}}",
        "{{if false}}{{..x}}{{end}}",
        "{{build_name.x}}",
        "{{3+2}}",
        "{{3i+2}}",
        "{{1i-2i}}",
        "{{1-2-3i}}",
        "{{3+2ix}}",
        "{{3 + 2i}}",
        "{{0x10i}}",
        "{{0x1+2i}}",
        "{{1__0}}",
        "{{08}}",
        "{{0b12}}",
        "{{1.x}}",
        "{{1e400}}",
        "{{99999999999999999999}}",
        "{{lt 3+2i 3+3i}}",
        "{{len 3+2i}}",
    ];
    for text in refused {
        assert!(render(text, &context()).is_err(), "{text}");
    }
    let error = render("x{{define `a`}}1{{end}}{{define `a`}}2{{end}}", &context()).unwrap_err();
    assert!(error.message.contains("multiple definition of template \"a\"") && error.offset > 20, "{error:?}");
}

#[test]
fn hostile_templates_end() {
    let deep = format!("{}x{}", "{{if true}}".repeat(5000), "{{end}}".repeat(5000));
    assert!(render(&deep, &context()).is_err());
    assert!(render(&format!("{{{{ {} }}}}", "(".repeat(5000)), &context()).is_err());
    assert!(render("{{define `t`}}{{template `t`}}{{end}}{{template `t`}}", &context()).is_err());
}

#[test]
fn without_data_everything_is_no_value() {
    let shown = |text: &str, context: &Context| render(text, context).unwrap();
    let nothing = Context::default();
    assert_eq!(shown("docker ps --format '{{.Names}}'", &nothing), "docker ps --format '<no value>'");
    assert_eq!(
        shown("{{.A.B}}|{{.}}|{{if .A}}1{{else}}2{{end}}{{range .L}}x{{end}}", &nothing),
        "<no value>|<no value>|2"
    );
    assert!(render("{{.A | upper}}", &nothing).is_err());
    let open = Context { open: true, ..context() };
    assert_eq!(shown("{{.HTTPIP}} {{.Names}}", &open), "10.0.2.2 <no value>");
}
