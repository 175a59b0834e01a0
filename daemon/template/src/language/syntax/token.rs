//! Owns the tokens of HCL: together with the blanks between them they are the whole text, so a formatter can use them.

use crate::diagnostics::source_map::Span;

/// The kinds of token, as HCL's specification divides text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TokenKind {
    OpenBrace,
    CloseBrace,
    OpenBracket,
    CloseBracket,
    OpenParen,
    CloseParen,
    OpenQuote,
    CloseQuote,
    /// `<<EOT` or `<<-EOT` with its line end.
    OpenHeredoc,
    /// The line with the end marker, without its line end.
    CloseHeredoc,
    Star,
    Slash,
    Plus,
    Minus,
    Percent,
    Equal,
    EqualEqual,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    And,
    Or,
    Bang,
    Dot,
    Comma,
    Ellipsis,
    FatArrow,
    Question,
    Colon,
    /// `${` or `${~`.
    TemplateInterpolation,
    /// `%{` or `%{~`.
    TemplateControl,
    /// `}` or `~}` that ends either.
    TemplateEnd,
    /// Literal text inside quotes, escapes not yet resolved.
    QuotedText,
    /// Literal text inside a heredoc or bare template; at most one line.
    PlainText,
    Number,
    Identifier,
    /// `# …` and `// …` with their line end, or `/* … */`.
    Comment,
    /// `/*` that no `*/` follows; what comes after it is one comment.
    UnclosedComment,
    Newline,
    EndOfFile,
    /// `&`, `|`, `^`, `~`.
    BitOperator,
    Apostrophe,
    Backquote,
    Semicolon,
    /// A line end inside a quoted template.
    QuotedNewline,
    Invalid,
}

/// One token and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

impl TokenKind {
    /// Returns what the token is called in "found …".
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::OpenBrace => "an opening brace",
            Self::CloseBrace => "a closing brace",
            Self::OpenBracket => "an opening bracket",
            Self::CloseBracket => "a closing bracket",
            Self::OpenParen => "an opening parenthesis",
            Self::CloseParen => "a closing parenthesis",
            Self::OpenQuote | Self::CloseQuote => "a quote",
            Self::OpenHeredoc | Self::CloseHeredoc => "a heredoc marker",
            Self::Equal => "an equals sign",
            Self::Comma => "a comma",
            Self::Colon => "a colon",
            Self::Question => "a question mark",
            Self::Dot => "a dot",
            Self::Ellipsis => "an ellipsis",
            Self::FatArrow => "an arrow",
            Self::TemplateInterpolation | Self::TemplateControl | Self::TemplateEnd => "a template sequence",
            Self::QuotedText | Self::PlainText => "text",
            Self::Number => "a number",
            Self::Identifier => "a name",
            Self::Comment | Self::UnclosedComment => "a comment",
            Self::Newline | Self::QuotedNewline => "the end of the line",
            Self::EndOfFile => "the end of the file",
            Self::Star
            | Self::Slash
            | Self::Plus
            | Self::Minus
            | Self::Percent
            | Self::EqualEqual
            | Self::NotEqual
            | Self::Less
            | Self::LessEqual
            | Self::Greater
            | Self::GreaterEqual
            | Self::And
            | Self::Or
            | Self::Bang
            | Self::BitOperator => "an operator",
            Self::Apostrophe | Self::Backquote | Self::Semicolon | Self::Invalid => "a character without meaning",
        }
    }
}
