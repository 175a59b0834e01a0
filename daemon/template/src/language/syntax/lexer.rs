//! Owns the lexer: text → [`Token`]s, without ever failing.

use super::token::{Token, TokenKind};
use crate::diagnostics::Diagnostic;
use crate::diagnostics::source_map::{FileId, Span};

/// What the lexer is inside of.
enum Mode<'a> {
    /// Expressions and blocks; inside a template sequence `sequence` is set and `braces` counts the open braces.
    Normal { sequence: bool, braces: u32 },
    /// A quoted template.
    Quoted,
    /// A heredoc, up to the line that holds only the marker.
    Heredoc { marker: &'a str },
    /// A whole text that is a template.
    Bare,
}

/// Splits a configuration text into tokens; the last one is [`TokenKind::EndOfFile`]. Of a text with too many there are
/// more than [`MAX_TOKENS`].
pub(crate) fn lex(file: FileId, text: &str) -> Vec<Token> {
    lex_up_to(MAX_TOKENS, file, text)
}

/// Splits a configuration text into tokens, however many.
pub(crate) fn lex_all(file: FileId, text: &str) -> Vec<Token> {
    lex_up_to(usize::MAX, file, text)
}

fn lex_up_to(limit: usize, file: FileId, text: &str) -> Vec<Token> {
    let mode = Mode::Normal { sequence: false, braces: 0 };
    Lexer { file, text, at: bom_length(text), tokens: Vec::new(), modes: vec![mode], line_start: true, limit }.run()
}

/// Splits what follows a byte of a configuration text, as if nothing were open there.
pub(crate) fn lex_from(file: FileId, text: &str, at: usize) -> Vec<Token> {
    let modes = vec![Mode::Normal { sequence: false, braces: 0 }];
    Lexer { file, text, at, tokens: Vec::new(), modes, line_start: true, limit: MAX_TOKENS }.run()
}

/// Splits a text that is a template as a whole, as `templatefile` reads it.
pub(crate) fn lex_template(file: FileId, text: &str) -> Vec<Token> {
    let at = bom_length(text);
    let modes = vec![Mode::Bare];
    Lexer { file, text, at, tokens: Vec::new(), modes, line_start: true, limit: MAX_TOKENS }.run()
}

fn bom_length(text: &str) -> usize {
    if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 }
}

/// Reports whether an identifier may begin with this character.
pub(crate) fn starts_identifier(c: char) -> bool {
    c == '_' || unicode_ident::is_xid_start(c)
}

/// Reports whether an identifier may go on with this character.
pub(crate) fn continues_identifier(c: char) -> bool {
    c == '-' || unicode_ident::is_xid_continue(c)
}

/// Tokens of one text. Each becomes a part of a tree that takes a hundred times its place in memory.
pub(crate) const MAX_TOKENS: usize = 1_000_000;

/// Says that a text of this many bytes has more than [`MAX_TOKENS`], and where they are used up.
pub(crate) fn too_large(bytes: usize, place: Span) -> Diagnostic {
    let size = bytes as f64 / f64::from(1 << 20);
    let detail = format!(
        "The text is {size:.1} MiB long. It can have at most {MAX_TOKENS} words and signs; this is where they are used up."
    );
    Diagnostic::error("Template too large", detail)
        .at(place)
        .hint("leave data to files of its own, which scripts, the HTTP server, a CD or functions such as file() take")
}

struct Lexer<'a> {
    file: FileId,
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
    modes: Vec<Mode<'a>>,
    /// Whether a heredoc is at the start of a line, where its end marker may stand.
    line_start: bool,
    /// Tokens after which it stops.
    limit: usize,
}

impl<'a> Lexer<'a> {
    fn run(mut self) -> Vec<Token> {
        while self.at < self.text.len() && self.tokens.len() < self.limit {
            match self.modes.last() {
                Some(Mode::Quoted) => self.quoted(),
                Some(&Mode::Heredoc { marker }) => self.plain(Some(marker)),
                Some(Mode::Bare) => self.plain(None),
                Some(Mode::Normal { .. }) | None => self.normal(),
            }
        }
        self.push(TokenKind::EndOfFile, 0);
        self.tokens
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, kind: TokenKind, length: usize) {
        let end = self.at + length;
        let place = |offset| u32::try_from(offset).unwrap_or(u32::MAX);
        self.tokens.push(Token { kind, span: Span { file: self.file, start: place(self.at), end: place(end) } });
        self.at = end;
    }

    fn normal(&mut self) {
        let rest = self.rest();
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        if blanks > 0 {
            self.at += blanks;
            return;
        }
        let Some(first) = rest.chars().next() else { return };
        if starts_identifier(first) {
            let length = rest.find(|c| !continues_identifier(c)).unwrap_or(rest.len());
            return self.push(TokenKind::Identifier, length);
        }
        if first.is_ascii_digit() {
            return self.push(TokenKind::Number, number_length(rest));
        }
        if rest.starts_with('#') || rest.starts_with("//") {
            let length = rest.find('\n').map_or(rest.len(), |newline| newline + 1);
            return self.push(TokenKind::Comment, length);
        }
        if let Some(comment) = rest.strip_prefix("/*") {
            match comment.find("*/") {
                Some(length) => self.push(TokenKind::Comment, length + 4),
                None => {
                    self.push(TokenKind::UnclosedComment, 2);
                    if !comment.is_empty() {
                        self.push(TokenKind::Comment, comment.len());
                    }
                }
            }
            return;
        }
        if rest.starts_with("<<")
            && let Some((length, marker)) = heredoc_start(rest)
        {
            self.push(TokenKind::OpenHeredoc, length);
            self.line_start = true;
            return self.modes.push(Mode::Heredoc { marker });
        }
        self.symbol(rest, first);
    }

    fn symbol(&mut self, rest: &str, first: char) {
        use TokenKind as T;
        const LONG: &[(&str, TokenKind)] = &[
            ("\r\n", T::Newline),
            ("...", T::Ellipsis),
            ("==", T::EqualEqual),
            ("!=", T::NotEqual),
            ("<=", T::LessEqual),
            (">=", T::GreaterEqual),
            ("=>", T::FatArrow),
            ("&&", T::And),
            ("||", T::Or),
        ];
        let (in_sequence, braces) = match self.modes.last() {
            Some(Mode::Normal { sequence, braces }) => (*sequence, *braces),
            _ => (false, 0),
        };
        if in_sequence && braces == 0 && (rest.starts_with("~}") || first == '}') {
            self.push(T::TemplateEnd, if first == '}' { 1 } else { 2 });
            self.modes.pop();
            self.line_start = false;
            return;
        }
        if let Some(&(text, kind)) = LONG.iter().find(|(text, _)| rest.starts_with(text)) {
            return self.push(kind, text.len());
        }
        let kind = match first {
            '\n' => T::Newline,
            '{' => T::OpenBrace,
            '}' => T::CloseBrace,
            '[' => T::OpenBracket,
            ']' => T::CloseBracket,
            '(' => T::OpenParen,
            ')' => T::CloseParen,
            '"' => T::OpenQuote,
            '*' => T::Star,
            '/' => T::Slash,
            '+' => T::Plus,
            '-' => T::Minus,
            '%' => T::Percent,
            '=' => T::Equal,
            '<' => T::Less,
            '>' => T::Greater,
            '!' => T::Bang,
            '.' => T::Dot,
            ',' => T::Comma,
            '?' => T::Question,
            ':' => T::Colon,
            '&' | '|' | '^' | '~' => T::BitOperator,
            '\'' => T::Apostrophe,
            '`' => T::Backquote,
            ';' => T::Semicolon,
            _ => T::Invalid,
        };
        self.push(kind, first.len_utf8());
        match (kind, self.modes.last_mut()) {
            (T::OpenQuote, _) => self.modes.push(Mode::Quoted),
            (T::OpenBrace, Some(Mode::Normal { braces, .. })) => *braces += 1,
            (T::CloseBrace, Some(Mode::Normal { braces, .. })) => *braces = braces.saturating_sub(1),
            _ => {}
        }
    }

    /// Begins a template sequence at `${` or `%{`.
    fn sequence(&mut self, kind: TokenKind) {
        let trims = self.rest().as_bytes().get(2) == Some(&b'~');
        self.push(kind, if trims { 3 } else { 2 });
        self.modes.push(Mode::Normal { sequence: true, braces: 0 });
    }

    fn quoted(&mut self) {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let mut length = 0;
        while let Some(&byte) = bytes.get(length) {
            match byte {
                b'"' | b'\n' => break,
                b'\r' if bytes.get(length + 1) == Some(&b'\n') => break,
                b'\\' => length += 1 + bytes.get(length + 1).map_or(0, |&next| usize::from(next != b'\n')),
                b'$' | b'%' if bytes.get(length + 1) == Some(&b'{') => break,
                b'$' | b'%' => length += dollar_length(bytes, length),
                _ => length += 1,
            }
        }
        // An escaped character may be several bytes long.
        let length = ceil_char_boundary(rest, length);
        if length > 0 {
            return self.push(TokenKind::QuotedText, length);
        }
        match bytes.first() {
            Some(b'"') => {
                self.push(TokenKind::CloseQuote, 1);
                self.modes.pop();
            }
            Some(b'$') => self.sequence(TokenKind::TemplateInterpolation),
            Some(b'%') => self.sequence(TokenKind::TemplateControl),
            first => {
                // The error is reported by the parser; ending the text here keeps the following lines readable.
                self.push(TokenKind::QuotedNewline, if first == Some(&b'\r') { 2 } else { 1 });
                self.modes.pop();
            }
        }
    }

    /// Reads one line (or the part before a sequence) of a heredoc or bare template.
    fn plain(&mut self, marker: Option<&str>) {
        let rest = self.rest();
        if self.line_start
            && let Some(marker) = marker
        {
            let newline = rest.find('\n');
            let line = &rest[..newline.unwrap_or(rest.len())];
            // Without a line end after it the marker does not count, as in HCL.
            if newline.is_some() && line.trim_matches([' ', '\t', '\r']) == marker {
                // Blanks after the marker belong to nothing.
                self.push(TokenKind::CloseHeredoc, line.trim_end_matches([' ', '\t', '\r']).len());
                self.modes.pop();
                return;
            }
        }
        let bytes = rest.as_bytes();
        let mut length = 0;
        self.line_start = false;
        while let Some(&byte) = bytes.get(length) {
            match byte {
                b'\n' => {
                    length += 1;
                    self.line_start = true;
                    break;
                }
                b'$' | b'%' if bytes.get(length + 1) == Some(&b'{') => break,
                b'$' | b'%' => length += dollar_length(bytes, length),
                _ => length += 1,
            }
        }
        if length > 0 {
            return self.push(TokenKind::PlainText, length);
        }
        let control = bytes.first() == Some(&b'%');
        self.sequence(if control { TokenKind::TemplateControl } else { TokenKind::TemplateInterpolation });
    }
}

/// Returns how many bytes at a `$` or `%` are literal: `$${` is an escape, anything else only the sign itself.
fn dollar_length(bytes: &[u8], at: usize) -> usize {
    let sign = bytes.get(at);
    if bytes.get(at + 1) == sign && bytes.get(at + 2) == Some(&b'{') { 3 } else { 1 }
}

fn ceil_char_boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

/// Returns the length of `1`, `1.5`, `1e3`, `1.5e-3`; a dot or `e` without digits after it is not part of the number.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut length = digits(0);
    if bytes.get(length) == Some(&b'.') && digits(length + 1) > 0 {
        length += 1 + digits(length + 1);
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        if bytes.len() > length + 1 + sign && digits(length + 1 + sign) > 0 {
            length += 1 + sign + digits(length + 1 + sign);
        }
    }
    length
}

/// Returns the length of `<<MARK` with its line end, and the marker.
fn heredoc_start(text: &str) -> Option<(usize, &str)> {
    let after = text.strip_prefix("<<")?;
    let name = after.strip_prefix('-').unwrap_or(after);
    let length = name.find(|c| !continues_identifier(c)).unwrap_or(name.len());
    let (marker, end) = name.split_at(length);
    if !marker.starts_with(starts_identifier) {
        return None;
    }
    let line_end = if end.starts_with("\r\n") { 2 } else { usize::from(end.starts_with('\n')) };
    if line_end == 0 {
        return None;
    }
    Some((text.len() - end.len() + line_end, marker))
}
