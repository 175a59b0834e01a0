//! Owns the parser's core: what is read next, and how problems are kept. The other files add one part of the language each.

use super::brackets::{Heredoc, Open};
use crate::diagnostics::source_map::Span;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::limits::MAX_DEPTH;
use crate::language::syntax::ast::Name;
use crate::language::syntax::lexer::{MAX_TOKENS, too_large};
use crate::language::syntax::token::{Token, TokenKind};

/// Syntax errors reported for one text at most.
const MAX_ERRORS: usize = 50;

/// Reads tokens into a tree. An error inside an item sets `failed`, which makes everything up to the item return at
/// once; the item then skips to where the next one begins.
pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    pub(super) tokens: Vec<Token>,
    /// Index of the next token.
    pub(super) at: usize,
    /// Whether line ends count, for each bracket around; the file itself counts them.
    pub(super) newlines: Vec<bool>,
    /// The brackets of expressions around.
    pub(super) open: Vec<Open>,
    /// The heredocs around.
    pub(super) heredocs: Vec<Heredoc<'a>>,
    /// Whether a comment that is never closed takes in the rest of the text, which has been said.
    pub(super) swallowed: bool,
    /// Column of the argument or block that is being read.
    pub(super) item_column: usize,
    pub(super) failed: bool,
    /// Whether it has been said that the nesting is too deep.
    pub(super) too_deep: bool,
    pub(super) depth: u32,
    pub(super) diagnostics: Diagnostics,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str, mut tokens: Vec<Token>) -> Self {
        let mut diagnostics = Diagnostics::new();
        if tokens.len() > MAX_TOKENS
            && let Some(last) = tokens.pop()
        {
            diagnostics.push(too_large(text.len(), last.span));
            tokens = vec![last];
        }
        let mut parser = Self {
            text,
            tokens,
            at: 0,
            newlines: vec![true],
            open: Vec::new(),
            heredocs: Vec::new(),
            swallowed: false,
            item_column: 0,
            failed: false,
            too_deep: false,
            depth: 0,
            diagnostics,
        };
        parser.tell_of_comment();
        parser
    }

    /// Says that a comment is never closed: before anything else, because what else is wrong may come of it.
    pub(super) fn tell_of_comment(&mut self) {
        let Some(comment) = self.tokens.iter().find(|token| token.kind == TokenKind::UnclosedComment) else { return };
        let detail = "This comment goes on to the end of the text: no \"*/\" closes it.";
        self.diagnostics.push(
            Diagnostic::error("Unterminated comment", detail)
                .at(comment.span)
                .hint("a comment that begins with \"#\" or \"//\" ends with its line"),
        );
        self.swallowed = true;
    }

    pub(super) fn slice(&self, span: Span) -> &'a str {
        self.text.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// Returns the kind a token has here: a comment that ends a line is a line end where those count, else nothing.
    pub(super) fn effective(&self, token: Token) -> Option<TokenKind> {
        let newlines = self.newlines.last().copied().unwrap_or(true);
        match token.kind {
            TokenKind::Comment if newlines && !self.slice(token.span).starts_with("/*") => Some(TokenKind::Newline),
            TokenKind::Comment => None,
            TokenKind::Newline if !newlines => None,
            kind => Some(kind),
        }
    }

    pub(super) fn next_index(&self) -> usize {
        let mut index = self.at;
        while let Some(&token) = self.tokens.get(index) {
            if self.effective(token).is_some() {
                break;
            }
            index += 1;
        }
        index.min(self.tokens.len().saturating_sub(1))
    }

    pub(super) fn peek(&self) -> Token {
        let fallback = Token { kind: TokenKind::EndOfFile, span: Span::default() };
        let token = self.tokens.get(self.next_index()).copied().unwrap_or(fallback);
        Token { kind: self.effective(token).unwrap_or(TokenKind::EndOfFile), ..token }
    }

    pub(super) fn read(&mut self) -> Token {
        let token = self.peek();
        let index = self.next_index();
        // The end of the file may be read any number of times.
        self.at = if token.kind == TokenKind::EndOfFile { index } else { index + 1 };
        token
    }

    pub(super) fn previous(&self) -> Span {
        self.tokens[..self.at.min(self.tokens.len())].last().map(|token| token.span).unwrap_or_default()
    }

    pub(super) fn accept(&mut self, kind: TokenKind) -> Option<Token> {
        (self.peek().kind == kind).then(|| self.read())
    }

    /// Reports a problem of the current item; only the first of each item is of use.
    pub(super) fn error(&mut self, diagnostic: Diagnostic) {
        if !self.failed && !self.too_deep && !self.is_swallowed(&diagnostic) && self.diagnostics.len() < MAX_ERRORS {
            let marker = self.heredoc_marker(&diagnostic);
            let cause = self.unclosed(&diagnostic, marker);
            self.diagnostics.push(cause.unwrap_or(diagnostic));
            if let Some(marker) = marker {
                self.end_heredoc(marker);
            }
        }
        self.failed = true;
    }

    /// Reports whether a problem is only that an unclosed comment, of which was told, is where something else should be.
    pub(super) fn is_swallowed(&self, problem: &Diagnostic) -> bool {
        let comment = |span: Span| self.slice(span) == "/*" || span.start as usize >= self.text.len();
        self.swallowed && problem.subject.is_some_and(comment)
    }

    /// Reports a problem without giving up on the current item.
    pub(super) fn complain(&mut self, diagnostic: Diagnostic) {
        if !self.too_deep && self.diagnostics.len() < MAX_ERRORS {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Runs `inside` one level deeper, or reports that the nesting is too deep.
    pub(super) fn deeper<T>(&mut self, fallback: T, inside: impl FnOnce(&mut Self) -> T) -> T {
        if self.depth >= MAX_DEPTH {
            let span = self.peek().span;
            self.error(
                Diagnostic::error(
                    "Nesting too deep",
                    format!("Blocks and expressions can be nested at most {MAX_DEPTH} levels deep."),
                )
                .at(span),
            );
            // Nobody wrote this by hand: what follows is not looked at, and nothing is said of brackets that stay open.
            self.at = self.tokens.len().saturating_sub(1);
            self.too_deep = true;
            return fallback;
        }
        self.depth += 1;
        let result = inside(self);
        self.depth -= 1;
        result
    }

    /// Runs `inside` with line ends counting or not.
    pub(super) fn with_newlines<T>(&mut self, count: bool, inside: impl FnOnce(&mut Self) -> T) -> T {
        self.newlines.push(count);
        let result = inside(self);
        self.newlines.pop();
        result
    }

    pub(super) fn name(&self, token: Token) -> Name {
        Name { text: self.slice(token.span).into(), span: token.span }
    }

    /// Explains characters that have no meaning anywhere.
    pub(super) fn stray(&self, token: Token) -> Option<Diagnostic> {
        let text = self.slice(token.span);
        let diagnostic = match token.kind {
            TokenKind::Apostrophe => Diagnostic::error(
                "Invalid character",
                "Single quotes have no meaning here; strings stand in double quotes (\").",
            ),
            TokenKind::Backquote => Diagnostic::error(
                "Invalid character",
                "The \"`\" character has no meaning here. For a string of several lines use a heredoc, such as \"<<EOT\".",
            ),
            TokenKind::Semicolon => Diagnostic::error(
                "Invalid character",
                "The \";\" character has no meaning here. Arguments and blocks are separated by line ends, items of \
                 lists and objects by commas.",
            ),
            TokenKind::BitOperator => {
                let instead = match text {
                    "&" => " Did you mean boolean AND (\"&&\")?",
                    "|" => " Did you mean boolean OR (\"||\")?",
                    "~" => " Did you mean boolean NOT (\"!\")?",
                    _ => "",
                };
                Diagnostic::error("Unsupported operator", format!("There are no bitwise operators.{instead}"))
            }
            TokenKind::QuotedNewline => Diagnostic::error(
                "Invalid multi-line string",
                "A quoted string cannot go on over the end of the line. Write \\n for a line end in it, or use a \
                 heredoc.",
            ),
            TokenKind::Invalid if text.starts_with(['\u{201c}', '\u{201d}', '\u{201e}']) => Diagnostic::error(
                "Invalid character",
                "Curly quotes are not valid. These can come from text editors and web pages; use straight quotes (\").",
            ),
            TokenKind::Invalid => Diagnostic::error(
                "Invalid character",
                format!("The character {text:?} has no meaning in this language."),
            ),
            _ => return None,
        };
        Some(diagnostic)
    }
}
