//! Tests of the parser: trees in a compact spelling, and what is reported where.

use proptest::prelude::*;

use super::*;

/// Parses a body and spells the diagnostics as `line:column summary`.
fn parsed(text: &str) -> (Body, Vec<String>) {
    let mut sources = SourceMap::new();
    let file = sources.add("t.pkr.hcl", text);
    let mut diagnostics = Diagnostics::new();
    let body = parse_body(&mut sources, file, &mut diagnostics);
    let spelled = diagnostics.iter().map(|item| {
        let at = sources.get(file).unwrap().position(item.subject.unwrap().start);
        format!("{}:{} {}", at.line, at.column, item.summary)
    });
    (body, spelled.collect())
}

fn problems(text: &str) -> Vec<String> {
    parsed(text).1
}

fn body(text: &str) -> Body {
    let mut sources = SourceMap::new();
    let file = sources.add("t.pkr.hcl", text);
    let mut diagnostics = Diagnostics::new();
    let body = parse_body(&mut sources, file, &mut diagnostics);
    assert_eq!(diagnostics.len(), 0, "{}", diagnostics.render(&sources, &crate::Style::default()));
    body
}

#[test]
fn blocks_and_arguments() {
    let body = body("a = 1\nsource \"qemu\" \"web\" {\n  b = [1,\n 2]\n  c { d = 1 }\n}\n# end");
    assert_eq!(body.attributes.len(), 1);
    assert_eq!(&*body.blocks[0].labels[1].text, "web");
    assert_eq!(body.blocks[0].body.blocks[0].body.attributes.len(), 1);
}

#[test]
fn every_broken_item_is_reported() {
    let text = "a = \nb = [1, 2\nc = 3\nblock {\n  d = 'x'\n  e = \"unclosed\n  f = 1 2\n}\ng = ;\n";
    assert_eq!(
        problems(text),
        [
            "1:5 Invalid expression",
            "2:5 Unterminated tuple constructor expression",
            "5:7 Invalid character",
            "6:16 Invalid multi-line string",
            "7:9 Missing newline after argument",
            "9:5 Invalid character",
        ]
    );
}

#[test]
fn structure_errors() {
    assert_eq!(problems("a {\n b = 1\n"), ["1:3 Unclosed configuration block"]);
    assert_eq!(problems("a\n"), ["1:1 Argument or block definition required"]);
    assert_eq!(problems("a \"b\"\n{\n}\n")[0], "1:6 Invalid block definition");
    assert_eq!(problems("a = 1\na = 2\n"), ["2:1 Attribute redefined"]);
    assert_eq!(problems("\"a\" = 1\n"), ["1:1 Invalid argument name"]);
    assert_eq!(problems("a { b = 1\n}\n"), ["1:10 Invalid single-argument block definition"]);
}

/// Go's HCL points at the bracket only where the file ends behind a whole item; else at what comes next.
#[test]
fn what_is_never_closed_is_pointed_at() {
    let cases = [
        ("a = [", "1:5 Unterminated tuple constructor expression"),
        ("a = [1,\n2,\n", "1:5 Unterminated tuple constructor expression"),
        ("a = [1, 2\nb = 3\n", "1:5 Unterminated tuple constructor expression"),
        ("a = [\n  1,\n  2,\nb = 3\n", "1:5 Unterminated tuple constructor expression"),
        ("a = [\n  \"x\"\n\nb \"c\" {\n}\n", "1:5 Unterminated tuple constructor expression"),
        ("x {\n  a = [1, 2\n}\n", "2:7 Unterminated tuple constructor expression"),
        ("x {\n  a = [\n    1,\n  b = 3\n}\n", "2:7 Unterminated tuple constructor expression"),
        ("a = [[1, 2]\nb = 3\n", "1:5 Unterminated tuple constructor expression"),
        ("a = {b = [1}\n", "1:10 Unterminated tuple constructor expression"),
        ("a = [for x in y : x", "1:5 Unterminated tuple constructor expression"),
        ("a = \"${[1}\"\n", "1:8 Unterminated tuple constructor expression"),
        ("a = {", "1:5 Unterminated object constructor expression"),
        ("a = {\n b = 1\n", "1:5 Unterminated object constructor expression"),
        ("a = { b = 1", "1:5 Unterminated object constructor expression"),
        ("a = { b", "1:5 Unterminated object constructor expression"),
        ("a = { b =", "1:5 Unterminated object constructor expression"),
        ("a = {\n  x = 1\n\nb \"c\" {\n}\n}\n", "1:5 Unterminated object constructor expression"),
        ("a = [{b = 1]\n", "1:6 Unterminated object constructor expression"),
        ("a = f(1", "1:6 Unterminated function call"),
        ("a = f(", "1:6 Unterminated function call"),
        ("a = f(1\nb = 2\n", "1:6 Unterminated function call"),
        ("x {\n  a = f(\n}\n", "2:8 Unterminated function call"),
        ("a = (1", "1:5 Unbalanced parentheses"),
        ("a = (1 +", "1:5 Unbalanced parentheses"),
        ("a = (1\nb = 2\n", "1:5 Unbalanced parentheses"),
        ("a = b[1\nc = 2\n", "1:6 Missing close bracket on index"),
        // In a heredoc its end marker ends everything.
        ("locals {\n a = <<EOT\n${upper(\"x\"\nEOT\n}\n", "3:8 Unterminated function call"),
        ("a = <<EOT\n${f(1,\nEOT\n", "2:4 Unterminated function call"),
        ("a = <<EOT\n${f(\nEOT\nb = 1\n", "2:4 Unterminated function call"),
        ("a = <<EOT\n x ${[1\nEOT\n", "2:6 Unterminated tuple constructor expression"),
        ("a = <<EOT\n${{ b = 1\nEOT\n", "2:3 Unterminated object constructor expression"),
        ("a = <<-EOT\n${(1\n  EOT\n", "2:3 Unbalanced parentheses"),
        ("a = <<EOT\n${b[1\nEOT\n", "2:4 Missing close bracket on index"),
        ("a = <<EOT\n%{ if f(b\nEOT\n", "2:8 Unterminated function call"),
        ("a = f(<<EOT\n${b\nEOT\n)\n", "2:1 Unclosed template interpolation sequence"),
        ("a = <<EOT\n${b\nEOT\n", "2:1 Unclosed template interpolation sequence"),
        ("a = <<EOT\n${\nEOT\nb = 1\n", "2:1 Unclosed template interpolation sequence"),
        ("a = <<EOT\n%{ for x in y\nEOT\n", "2:1 Unclosed template interpolation sequence"),
        // A block on a single line.
        ("locals { a = 1", "1:8 Unclosed configuration block"),
        ("locals { a = 1\n", "1:8 Unclosed configuration block"),
        ("locals { a = 1 # b\n\n", "1:8 Unclosed configuration block"),
        ("locals { a = 1\nb \"c\" {\n}\n", "1:8 Unclosed configuration block"),
        ("x {\n  y { a = 1\n  b = 2\n}\n", "2:5 Unclosed configuration block"),
        ("x {\n  y { a = 1\n}\n", "2:5 Unclosed configuration block"),
        // These are closed; something else is wrong.
        ("a = [1 2]\n", "1:8 Missing item separator"),
        ("a = [\n  b = 1\n]\n", "2:5 Missing item separator"),
        ("a = [1, )]\n", "1:9 Invalid expression"),
        ("a = {\nb = 1 2\n}\n", "2:7 Missing attribute separator"),
        ("a = f(1 2)\n", "1:9 Missing argument separator"),
        ("a = (1 2)\n", "1:8 Unbalanced parentheses"),
        ("a = <<EOT\n${f(1 2)}\nEOT\n", "2:7 Missing argument separator"),
        ("x { a = 1\n  b = 2\n}\n", "1:10 Invalid single-argument block definition"),
        ("x { a = 1 b = 2 }\n", "1:11 Invalid single-argument block definition"),
        ("x { a = 1; }\n", "1:10 Invalid character"),
    ];
    for (text, wanted) in cases {
        assert_eq!(problems(text)[0], wanted, "{text:?}");
    }
    let detail = |text: &str| crate::check_syntax("t.pkr.hcl", text).0.iter().next().map(|item| item.detail.clone());
    let wanted = "A closing brace on line 3 comes before the closing bracket (\"]\") of this list.";
    assert_eq!(detail("x {\n  a = [1, 2\n}\n").as_deref(), Some(wanted));
}

/// What follows the heredoc is read as it would be if the bracket were closed.
#[test]
fn nothing_else_is_said_of_what_is_never_closed() {
    for text in [
        "locals {\n a = <<EOT\n${upper(\"x\"\nEOT\n b = 2\n}\nc = 3\n",
        "a = [<<EOT\n${b\nEOT\n, 1]\nc = 3\n",
        "locals { a = 1\nb = 2\n",
        "x {\n  y { a = 1\n}\nb = 2\n",
    ] {
        assert_eq!(problems(text).len(), 1, "{text:?}: {:?}", problems(text));
    }
    let twice = "a = <<EOT\n${f(\nEOT\nb = <<EOT\n${[\nEOT\nc = ;\n";
    let wanted =
        ["2:4 Unterminated function call", "5:3 Unterminated tuple constructor expression", "7:5 Invalid character"];
    assert_eq!(problems(twice), wanted);
    // A name that is the marker is one where a line goes on behind it, or where the sequence is closed.
    body("a = <<EOT\n${f(\nEOT)}\nEOT\n");
    body("a = <<EOT\n${f(b,\nEOT\n)}\nEOT\n");
}

#[test]
fn a_comment_that_is_never_closed_is_named_where_it_begins() {
    let cases = [
        ("/* abc", "1:1"),
        ("/*", "1:1"),
        ("/**", "1:1"),
        ("/*/", "1:1"),
        ("/* a */ /* b\nc = 1\n", "1:9"),
        ("a = 1 /* abc\n", "1:7"),
        ("a = /* abc\n", "1:5"),
        ("a = [1, /* abc\n]\n", "1:9"),
        ("a = [1 /* abc\n]\n", "1:8"),
        ("a = f(1 /* abc\n", "1:9"),
        ("a = \"${b /* abc}\"\n", "1:10"),
        ("a = <<EOT\n${b /* abc\nEOT\n", "2:5"),
        ("a /* abc\n", "1:3"),
        ("a \"b\" /* abc\n{\n}\n", "1:7"),
        ("x { a = 1 /* abc\n}\n", "1:11"),
        ("x { /* abc\n}\n", "1:5"),
        ("x {\n  /* abc\n  a = 1\n}\n", "2:3"),
        ("x {\n  a = 1\n}\n/* abc\ny {\n}\n", "4:1"),
    ];
    for (text, place) in cases {
        assert_eq!(problems(text), [format!("{place} Unterminated comment")], "{text:?}");
    }
    // Whatever is wrong before it is said too.
    assert_eq!(problems("a = ;\n/* abc\n"), ["2:1 Unterminated comment", "1:5 Invalid character"]);
    // Where no comment can be, it is text.
    body("a = \"/* x\"\nb = <<EOT\n/* x\nEOT\n# /* x\n");
}

#[test]
fn template_errors() {
    assert_eq!(problems("a = \"${b\"\n")[0], "1:6 Unclosed template interpolation sequence");
    assert_eq!(problems("a = \"${b c}\"\n"), ["1:10 Extra characters after interpolation expression"]);
    assert_eq!(problems("a = \"%{iff x}%{endif}\"\n"), ["1:8 Invalid template control keyword"]);
    assert_eq!(problems("a = \"%{if x}y\"\n"), ["1:6 Unexpected end of template"]);
    assert_eq!(problems("a = \"%{endif}\"\n"), ["1:6 Unexpected endif directive"]);
    assert_eq!(problems("a = \"\\q\"\nb = \"\\w\"\n"), ["1:6 Invalid escape sequence", "2:6 Invalid escape sequence"]);
    assert_eq!(problems("a = <<EOT\nx\nEOT"), ["1:5 Unterminated template string"]);
}

#[test]
fn deep_nesting_is_refused() {
    for open in ["[", "{a=", "(", "-", "!", "f(", "x[", "\"${", "[*][*].a[", "b {\n"] {
        let text = format!("a = {}", open.repeat(20_000));
        assert!(!problems(&text).is_empty(), "{open}");
    }
    let chain = format!("a = 1{}\n", " + 1".repeat(20_000));
    assert!(problems(&chain).is_empty());
    let blocks = "b {\n".repeat(10_000);
    assert!(problems(&blocks).iter().any(|problem| problem.ends_with("Nesting too deep")));
}

#[test]
fn byte_order_marks_and_line_ends_do_not_matter() {
    body("\u{feff}a = 1\r\nb = <<EOT\r\nx\r\nEOT\r\n");
}

/// What comes behind a bracket that is never closed is read as if it were.
#[test]
fn what_follows_a_bracket_that_is_never_closed_is_kept() {
    for text in [
        "a = [1\nb = 2\n",
        "a = [1,\nb = 2\n",
        "a = [\n  1,\n\nb = 2\n",
        "a = [1 # c\nb = 2\n",
        "a = [[1]\nb = 2\n",
        "a = f(1\nb = 2\n",
        "a = f(1,\nb = 2\n",
        "a = (1\nb = 2\n",
        "a = x[1\nb = 2\n",
        "a = [for x in y : x\nb = 2\n",
    ] {
        let (body, problems) = parsed(text);
        assert_eq!(problems.len(), 1, "{text:?}: {problems:?}");
        let names: Vec<&str> = body.attributes.iter().map(|attribute| &*attribute.name.text).collect();
        assert_eq!(names, ["a", "b"], "{text:?}");
    }
    let (body, problems) = parsed("x {\n  a = [1,\n  b {\n  }\n  c = (1\n  d = ;\n}\ne \"f\" {\n}\n");
    let wanted =
        ["2:7 Unterminated tuple constructor expression", "5:7 Unbalanced parentheses", "6:7 Invalid character"];
    assert_eq!(problems, wanted);
    assert_eq!((body.blocks.len(), body.blocks[0].body.blocks.len()), (2, 1));
}

/// An expression of nothing but brackets in each other, on one line.
fn bracketed() -> impl Strategy<Value = String> {
    let part = Just("1".to_owned()).prop_recursive(4, 24, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.join(", "));
        prop_oneof![
            several.clone().prop_map(|parts| format!("[{parts}]")),
            several.prop_map(|parts| format!("f({parts})")),
            inner.clone().prop_map(|part| format!("({part})")),
            inner.prop_map(|part| format!("x[{part}]")),
        ]
    });
    part.prop_map(|part| format!("[{part}]"))
}

/// Returns where the innermost bracket is open that is never closed, and what comes before its end, if something does:
/// another's end, or a comma where there can be one thing only.
fn never_closed(expression: &str) -> (usize, Option<usize>) {
    let mut open = Vec::new();
    let mut before = ' ';
    for (at, c) in expression.char_indices() {
        match (c, open.last()) {
            ('[' | '(', _) => open.push((
                at,
                if c == '[' { ']' } else { ')' },
                matches!((before, c), ('f', _) | (' ' | '[' | '(', '[')),
            )),
            (']' | ')', Some(&(_, close, _))) if close == c => _ = open.pop(),
            (']' | ')', Some(&(opened, ..))) | (',', Some(&(opened, _, false))) => return (opened, Some(at)),
            _ => {}
        }
        before = c;
    }
    (open.last().unwrap().0, None)
}

proptest! {
    /// Whatever bracket is left out, one thing is said of it, at the bracket that it should have closed (or, where another of
    /// its kind follows on the line, at what stands in its place).
    #[test]
    fn one_bracket_that_is_left_out_is_told_of_once(
        whole in bracketed(),
        which in any::<prop::sample::Index>(),
        wrapper in prop::sample::select(vec![
            ("a = ", "\n"),
            ("a = \"${", "}\"\n"),
            ("a = <<EOT\n${", "}\nEOT\n"),
            ("a = <<EOT\n${", "\nEOT\n"),
        ]),
    ) {
        let closes: Vec<usize> = whole.char_indices().filter(|(_, c)| matches!(c, ']' | ')')).map(|(at, _)| at).collect();
        let mut broken = whole;
        broken.remove(*which.get(&closes));
        let (before, after) = wrapper;
        let text = format!("{before}{broken}{after}b = 2\n");
        let found = problems(&text);
        prop_assert_eq!(found.len(), 1, "{:?}: {:?}", text, found);
        let place = |at: usize| {
            let line = before.matches('\n').count() + 1;
            format!("{line}:{}", before.len() - before.rfind('\n').map_or(0, |newline| newline + 1) + at + 1)
        };
        let (opened, closed) = never_closed(&broken);
        let told = found[0].split(' ').next().unwrap();
        prop_assert!(
            told == place(opened) || closed.is_some_and(|closed| told == place(closed)),
            "{:?}: {:?}, not {} or {:?}", text, found, place(opened), closed.map(place)
        );
    }
}
