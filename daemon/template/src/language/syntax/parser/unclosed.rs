//! Owns what is said of a bracket, or a sequence in a heredoc, that is never closed.
//!
//! The parser notices only where something else stands than what may follow. The cause is the bracket, wherever it opened.

use super::brackets::{Enclosed, Heredoc, Open};
use super::core::Parser;
use crate::diagnostics::Diagnostic;
use crate::diagnostics::source_map::Span;
use crate::language::syntax::lexer::lex_from;
use crate::language::syntax::token::{Token, TokenKind};

impl Parser<'_> {
    /// Runs `inside` in a bracket, with line ends counting or not.
    pub(super) fn bracketed<T>(
        &mut self,
        token: Token,
        enclosed: Enclosed,
        newlines: bool,
        inside: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.open.push(Open { token, enclosed });
        let result = self.with_newlines(newlines, inside);
        self.open.pop();
        result
    }

    /// Runs `inside` in a heredoc that `token` opens.
    pub(super) fn in_heredoc<T>(&mut self, token: Token, inside: impl FnOnce(&mut Self) -> T) -> T {
        let marker = self.slice(token.span).trim_start_matches(['<', '-']).trim_end();
        self.heredocs.push(Heredoc { marker, sequence: None, outside: self.open.len() });
        let result = inside(self);
        self.heredocs.pop();
        result
    }

    /// Returns the index of the end marker of the heredoc around, if a problem inside a sequence of it is there or is the
    /// next thing behind it: the sequence, or a bracket in it, takes the marker for a name.
    pub(super) fn heredoc_marker(&self, problem: &Diagnostic) -> Option<usize> {
        let heredoc = self.heredocs.last().filter(|heredoc| heredoc.sequence.is_some())?;
        let index = self.index_of(problem.subject?);
        let alone = |index: usize| {
            let token = self.tokens.get(index)?;
            let before = self.text.get(..token.span.start as usize)?;
            let after = self.text.get(token.span.end as usize..)?;
            let starts_line = before.trim_end_matches([' ', '\t']).ends_with('\n');
            let ends_line = after.trim_start_matches([' ', '\t', '\r']).starts_with('\n');
            (token.kind == TokenKind::Identifier && starts_line && ends_line).then(|| self.slice(token.span))
        };
        let blank = |token: &Token| matches!(token.kind, TokenKind::Newline | TokenKind::Comment);
        let before = self.tokens.get(..index)?.iter().rposition(|token| !blank(token));
        [Some(index), before].into_iter().flatten().find(|index| alone(*index) == Some(heredoc.marker))
    }

    /// Goes on behind the end marker at this index as if the sequence before it had been closed.
    pub(super) fn end_heredoc(&mut self, marker: usize) {
        let Some(token) = self.tokens.get_mut(marker) else { return };
        token.kind = TokenKind::CloseHeredoc;
        let Span { file, end, .. } = token.span;
        self.tokens.truncate(marker + 1);
        self.tokens.extend(lex_from(file, self.text, end as usize));
        self.at = marker;
        if !self.swallowed {
            self.tell_of_comment();
        }
    }

    fn index_of(&self, place: Span) -> usize {
        self.tokens.partition_point(|token| token.span.start < place.start)
    }

    /// Returns what is to be said of a problem whose cause is that the innermost bracket is never closed, or the template
    /// sequence around; `marker` is the end marker of a heredoc that comes before.
    pub(super) fn unclosed(&self, problem: &Diagnostic, marker: Option<usize>) -> Option<Diagnostic> {
        let inside = self.heredocs.last().map_or(0, |heredoc| heredoc.outside);
        let open = self.open.last().filter(|_| self.open.len() > inside || marker.is_none());
        if let (None, Some(marker), Some(heredoc)) = (open, marker, self.heredocs.last()) {
            let detail = format!(
                "The end marker {} on line {} comes before the closing brace of this sequence.",
                heredoc.marker,
                self.line(self.tokens.get(marker)?.span)
            );
            let diagnostic = Diagnostic::error("Unclosed template interpolation sequence", detail);
            return Some(diagnostic.at(heredoc.sequence?.span));
        }
        let open = open?;
        let subject = problem.subject?;
        let index = marker.unwrap_or_else(|| self.index_of(subject));
        let found = *self.tokens.get(index)?;
        let line = || self.line(found.span);
        let found_here = if marker.is_some() {
            format!("The end marker {} on line {} comes", self.slice(found.span), line())
        } else if found.kind == TokenKind::EndOfFile {
            "The file ends".to_owned()
        } else if self.closes_another(open.enclosed, index) {
            format!("{} on line {} comes", capitalized(found.kind.noun()), line())
        } else if self.begins_item(open, index) {
            format!("An argument or block begins on line {}", line())
        } else {
            return None;
        };
        let detail = format!("{found_here} before the {}.", open.enclosed.missing());
        let diagnostic = Diagnostic::error(open.enclosed.summary(), detail).at(open.token.span);
        Some(match found.kind {
            TokenKind::EndOfFile => diagnostic,
            _ => diagnostic.related(found.span, "it should be closed before this"),
        })
    }

    /// Reports whether a token closes something else, and nothing closes the bracket on the rest of its line.
    fn closes_another(&self, enclosed: Enclosed, index: usize) -> bool {
        let closes = [TokenKind::CloseBrace, TokenKind::CloseBracket, TokenKind::CloseParen, TokenKind::TemplateEnd];
        let rest = self.tokens.get(index..).unwrap_or_default();
        let wrong = rest.first().is_some_and(|token| token.kind != enclosed.close() && closes.contains(&token.kind));
        let line = rest.iter().take_while(|token| !matches!(token.kind, TokenKind::Newline | TokenKind::QuotedNewline));
        wrong && line.into_iter().all(|token| token.kind != enclosed.close())
    }

    /// Reports whether a token is at the beginning of a line that looks like the next argument or block: not further to the
    /// right than the item that is being read.
    fn begins_item(&self, open: &Open, index: usize) -> bool {
        let kind = |index: usize| self.tokens.get(index).map(|token| token.kind);
        let starts_line = |index: usize| {
            index.checked_sub(1).and_then(|before| self.tokens.get(before)).is_some_and(|before| match before.kind {
                TokenKind::Newline => true,
                TokenKind::Comment => self.slice(before.span).ends_with('\n'),
                _ => false,
            })
        };
        let first = [Some(index), index.checked_sub(1)].into_iter().flatten().find(|index| starts_line(*index));
        let Some(first) = first.filter(|first| kind(*first) == Some(TokenKind::Identifier)) else { return false };
        // In an object, names with an equals sign behind them are its own.
        let is_item = match kind(first + 1) {
            Some(TokenKind::Equal) => open.enclosed != Enclosed::Object,
            Some(TokenKind::OpenBrace | TokenKind::OpenQuote) => true,
            _ => false,
        };
        is_item && self.tokens[first].span.start > open.token.span.start && self.column(first) <= self.item_column
    }
}

fn capitalized(noun: &str) -> String {
    let mut characters = noun.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}
