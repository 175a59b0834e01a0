//! Owns the canonical layout of HCL: `fmt`.
//!
//! Only blanks change: the tokens stay as they are. Each line is divided into a lead, an assignment and a comment; leads
//! are indented by open brackets, assignments of neighbouring lines are aligned, and so are their comments. The rules are
//! those of HCL's own formatter, so that files formatted by Packer stay as they are.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation as _;

use super::validate::check_syntax;
use crate::diagnostics::Diagnostics;
use crate::diagnostics::source_map::SourceMap;
use crate::language::syntax::lexer::lex_all;
use crate::language::syntax::token::TokenKind as T;

/// A file that cannot be formatted because it has syntax errors.
#[derive(Debug, Clone)]
pub struct FormatError {
    /// The errors.
    pub diagnostics: Diagnostics,
    /// The text, for rendering them.
    pub sources: SourceMap,
}

/// Formats an HCL text; `name` is for messages.
///
/// # Errors
/// When the text has syntax errors.
pub fn format_hcl(name: &str, text: &str) -> Result<String, FormatError> {
    let (diagnostics, sources) = check_syntax(name, text);
    if diagnostics.has_errors() {
        return Err(FormatError { diagnostics, sources });
    }
    Ok(format_tokens(text))
}

/// Formats a text whatever its structure is.
pub(crate) fn format_tokens(text: &str) -> String {
    let mut pieces = pieces(text);
    let lines = lines(&pieces);
    indent(&mut pieces, &lines);
    space(&mut pieces, &lines);
    align(&mut pieces, &lines);
    let mut out = String::with_capacity(text.len());
    for piece in &pieces {
        out.extend(std::iter::repeat_n(' ', piece.spaces));
        out.push_str(piece.text);
    }
    out
}

/// A token with the blanks before it.
struct Piece<'a> {
    kind: T,
    text: &'a str,
    spaces: usize,
}

impl Piece<'_> {
    fn columns(&self) -> usize {
        self.spaces + self.text.graphemes(true).count()
    }

    fn ends_line(&self) -> bool {
        self.kind == T::Newline || (self.kind == T::Comment && self.text.ends_with('\n'))
    }
}

/// The three parts of a line, as ranges of pieces; the later ones may be empty.
struct Line {
    lead: Range<usize>,
    assign: Range<usize>,
    comment: Range<usize>,
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut sources = SourceMap::new();
    let file = sources.add("", text);
    let tokens = lex_all(file, text);
    let mut end = if text.starts_with('\u{feff}') { 3 } else { 0 };
    tokens
        .into_iter()
        .map(|token| {
            let start = token.span.start as usize;
            let piece = Piece {
                kind: token.kind,
                text: text.get(start..token.span.end as usize).unwrap_or_default(),
                // At the end of the text nothing is worth keeping.
                spaces: if token.kind == T::EndOfFile { 0 } else { start.saturating_sub(end) },
            };
            end = token.span.end as usize;
            piece
        })
        .collect()
}

/// Counts how a token changes the number of open brackets.
fn bracket_change(kind: T) -> i64 {
    match kind {
        T::OpenBrace | T::OpenBracket | T::OpenParen | T::TemplateControl | T::TemplateInterpolation => 1,
        T::CloseBrace | T::CloseBracket | T::CloseParen | T::TemplateEnd => -1,
        _ => 0,
    }
}

fn net_brackets(pieces: &[Piece<'_>]) -> i64 {
    pieces.iter().map(|piece| bracket_change(piece.kind)).sum()
}

fn lines(pieces: &[Piece<'_>]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut start = 0;
    let end = pieces.len().saturating_sub(1);
    for index in 0..end {
        if pieces[index].ends_line() {
            lines.push(line(pieces, start..index + 1));
            start = index + 1;
        }
    }
    lines.push(line(pieces, start..end));
    lines
}

fn line(pieces: &[Piece<'_>], whole: Range<usize>) -> Line {
    let mut lead = whole.clone();
    let mut comment = whole.end..whole.end;
    if lead.len() > 1 && pieces[lead.end - 1].kind == T::Comment {
        comment = lead.end - 1..lead.end;
        lead.end -= 1;
    }
    let mut assign = lead.end..lead.end;
    let equals = (lead.start + 1..lead.end).find(|&index| pieces[index].kind == T::Equal);
    if let Some(equals) = equals
        && net_brackets(&pieces[equals..lead.end]) == 0
    {
        assign = equals..lead.end;
        lead.end = equals;
    }
    Line { lead, assign, comment }
}

fn indent(pieces: &mut [Piece<'_>], lines: &[Line]) {
    // For each level, how many brackets opened it.
    let mut levels: Vec<i64> = Vec::new();
    for line in lines.iter().filter(|line| !line.lead.is_empty()) {
        let first = line.lead.start;
        if pieces[first].kind == T::Newline {
            pieces[first].spaces = 0;
            continue;
        }
        // What stands inside a heredoc does not count.
        let heredoc = line.lead.clone().find(|&index| pieces[index].kind == T::OpenHeredoc);
        let counted = line.lead.start..heredoc.map_or(line.lead.end, |index| index + 1);
        let net = net_brackets(&pieces[counted]) + net_brackets(&pieces[line.assign.clone()]);
        let mut closed = -net;
        while closed > 0 {
            let Some(last) = levels.last_mut() else { break };
            if closed < *last {
                *last -= closed;
                break;
            }
            closed -= *last;
            levels.pop();
        }
        pieces[first].spaces = 2 * levels.len();
        if net > 0 {
            levels.push(net);
        }
    }
}

fn space(pieces: &mut [Piece<'_>], lines: &[Line]) {
    for line in lines {
        for part in [&line.lead, &line.assign] {
            for index in part.clone() {
                if part.start == line.assign.start && index == part.start {
                    pieces[index].spaces = 1;
                }
                if index + 1 >= part.end {
                    continue;
                }
                let before = if index > part.start { Some(pieces[index - 1].kind) } else { None };
                let wanted = space_after(&pieces[index], before, pieces[index + 1].kind);
                pieces[index + 1].spaces = usize::from(wanted);
            }
        }
    }
}

/// Decides whether a blank stands between a token and the next one. The first rule that applies decides.
fn space_after(subject: &Piece<'_>, before: Option<T>, after: T) -> bool {
    let kind = subject.kind;
    let literal = |kind| matches!(kind, T::QuotedText | T::PlainText);
    // `2 .5` (an error) would become the number 2.5 (none).
    if kind == T::Number && after == T::Dot && before != Some(T::Dot) {
        return true;
    }
    if after == T::Newline || (kind == T::Identifier && after == T::OpenParen) || kind == T::Dot || after == T::Dot {
        return false;
    }
    if matches!(after, T::Comma | T::Ellipsis) {
        return false;
    }
    if kind == T::Comma {
        return true;
    }
    if literal(kind) || matches!(kind, T::OpenQuote | T::OpenHeredoc) {
        return false;
    }
    if literal(after) || matches!(after, T::CloseQuote | T::CloseHeredoc) {
        return false;
    }
    if subject.text == "in" && kind == T::Identifier && before == Some(T::Identifier) {
        return true;
    }
    if after == T::OpenBracket && (matches!(kind, T::Identifier | T::Number) || bracket_change(kind) < 0) {
        return false;
    }
    if kind == T::Bang {
        return false;
    }
    if kind == T::Minus {
        // A minus after a value subtracts; anywhere else it is a sign.
        return !matches!(
            before,
            None | Some(
                T::OpenParen
                    | T::OpenBrace
                    | T::OpenBracket
                    | T::Equal
                    | T::Colon
                    | T::Comma
                    | T::Question
                    | T::Plus
                    | T::Star
                    | T::Slash
                    | T::Percent
                    | T::Minus
                    | T::EqualEqual
                    | T::NotEqual
                    | T::Greater
                    | T::GreaterEqual
                    | T::Less
                    | T::LessEqual
                    | T::And
                    | T::Or
                    | T::Bang
            )
        );
    }
    if kind == T::OpenBrace || after == T::CloseBrace {
        return !(kind == T::OpenBrace && after == T::CloseBrace);
    }
    let opens_sequence = |kind| matches!(kind, T::TemplateInterpolation | T::TemplateControl);
    if (opens_sequence(kind) && after == T::OpenBrace) || (kind == T::CloseBrace && after == T::TemplateEnd) {
        return true;
    }
    if kind == T::TemplateEnd && opens_sequence(after) {
        return false;
    }
    bracket_change(kind) <= 0 && bracket_change(after) >= 0
}

/// Aligns the assignments, then the comments, of lines that follow each other.
fn align(pieces: &mut [Piece<'_>], lines: &[Line]) {
    let width = |pieces: &[Piece<'_>], range: &Range<usize>| -> usize {
        pieces[range.clone()].iter().map(Piece::columns).sum()
    };
    for chain in lines.chunk_by(|left, right| left.assign.is_empty() == right.assign.is_empty()) {
        let widest = chain.iter().map(|line| width(pieces, &line.lead)).max().unwrap_or(0);
        for line in chain.iter().filter(|line| !line.assign.is_empty()) {
            pieces[line.assign.start].spaces = widest - width(pieces, &line.lead) + 1;
        }
    }
    for chain in lines.chunk_by(|left, right| left.comment.is_empty() == right.comment.is_empty()) {
        let content = |pieces: &[Piece<'_>], line: &Line| width(pieces, &line.lead) + width(pieces, &line.assign);
        let widest = chain.iter().map(|line| content(pieces, line)).max().unwrap_or(0);
        for line in chain.iter().filter(|line| !line.comment.is_empty()) {
            pieces[line.comment.start].spaces = widest - content(pieces, line) + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn formatted(text: &str) -> String {
        format_hcl("t.pkr.hcl", text).unwrap()
    }

    #[test]
    fn aligns_and_indents() {
        let text = "a=1 # one\nlonger   =   2 # two\nb \"x\"   {\nc=[1,2 ,\n3]\n\n  d  =  -1+ 2\n}\n";
        let expected = "a      = 1 # one\nlonger = 2 # two\nb \"x\" {\n  c = [1, 2,\n  3]\n\n  d = -1 + 2\n}\n";
        assert_eq!(formatted(text), expected);
    }

    #[test]
    fn heredocs_are_left_alone() {
        let text = "a   = <<-EOT\n      x ${ upper( \"y\" ) }\n   EOT\nb=1\n";
        assert_eq!(formatted(text), "a = <<-EOT\n      x ${upper(\"y\")}\n   EOT\nb = 1\n");
    }

    #[test]
    fn a_number_does_not_grow_by_the_index_behind_it() {
        assert_eq!(formatted("a = [2 .5, b.0 .c]\n"), "a = [2 .5, b.0.c]\n");
    }

    #[test]
    fn errors_are_told() {
        assert!(format_hcl("t.pkr.hcl", "a = ").unwrap_err().diagnostics.has_errors());
    }

    proptest! {
        /// Formatting twice is formatting once, and never changes the tokens.
        #[test]
        fn idempotent_and_harmless(parts in prop::collection::vec(prop::sample::select(vec![
            "a = 1\n", "b=\"x${ y }z\"\n", "c  {\n", "}\n", "# note\n", "l=[1,\n2]\n", "\n", "  d =  {a=1,b= -2}\n",
            "e = <<EOT\n  x\nEOT\n", "f=[for k,v in m:  k=>v]\n", "g = a?b: !c\n", "/* c */ h=1 // d\n",
        ]), 0..12)) {
            let text: String = parts.concat();
            if let Ok(once) = format_hcl("t.pkr.hcl", &text) {
                prop_assert_eq!(formatted(&once), once.clone());
                let tokens = |text: &str| pieces(text).iter().map(|piece| piece.text.to_owned()).collect::<Vec<_>>();
                prop_assert_eq!(tokens(&text), tokens(&once));
            }
        }
    }
}
