//! Owns the syntax of Go templates: text → [`Node`]s.

use super::{RenderError, Value};

/// Nested control structures and parentheses allowed.
const MAX_DEPTH: u32 = 100;

/// One piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    /// `{{ pipeline }}`
    Action(Pipeline),
    If {
        condition: Pipeline,
        yes: Vec<Self>,
        no: Vec<Self>,
    },
    With {
        value: Pipeline,
        yes: Vec<Self>,
        no: Vec<Self>,
    },
    Range {
        value: Pipeline,
        body: Vec<Self>,
        empty: Vec<Self>,
    },
    /// `{{ template "name" pipeline }}`
    Template {
        name: String,
        argument: Option<Pipeline>,
        at: Place,
    },
    /// `{{ define "name" }}`
    Define {
        name: String,
        body: Vec<Self>,
    },
    Break,
    Continue,
}

/// Bytes of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// `$a, $b := command | command`
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    /// Whether the variables exist already (`=` in place of `:=`).
    pub(super) assign: bool,
    pub(super) commands: Vec<Command>,
    pub(super) at: Place,
}

/// An operand with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
    pub(super) at: Place,
}

/// One word of a command.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Literal(Value),
    /// `.` or `.a.b`
    Field(Vec<String>, Place),
    /// `$x.a.b`; `$` alone has an empty name.
    Variable(String, Vec<String>, Place),
    /// A function's name.
    Function(String, Place),
    /// `(pipeline).a.b`
    Group(Pipeline, Vec<String>, Place),
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Identifier(String),
    Field(String),
    Variable(String),
    Literal(Value),
    Dot,
    Pipe,
    Open,
    Close,
    Comma,
    Assign,
    Declare,
    Space,
}

#[derive(Debug, Clone, PartialEq)]
struct Token {
    kind: Kind,
    at: Place,
}

/// Literal text or the inside of one action.
enum Item {
    Text(String),
    Action(Vec<Token>, Place),
}

fn error(message: impl Into<String>, at: Place) -> RenderError {
    RenderError { message: message.into(), offset: at.start, length: at.end.saturating_sub(at.start).max(1) }
}

/// Parses a template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, RenderError> {
    let mut parser = Parser { items: split(text)?.into_iter(), depth: 0, end: text.len(), in_range: 0 };
    let (nodes, end) = parser.list()?;
    match end {
        None => Ok(nodes),
        Some((word, at)) => Err(error(format!("unexpected {{{{{word}}}}}"), at)),
    }
}

/// Splits a template into literal text and actions.
fn split(text: &str) -> Result<Vec<Item>, RenderError> {
    let mut items = Vec::new();
    let mut at = 0;
    let mut trim = false;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find("{{")) {
        let open = at + found;
        let mut start = open + 2;
        let rest = &text[start..];
        let trims_before = rest.starts_with('-') && rest[1..].starts_with([' ', '\t', '\r', '\n']);
        let mut literal = &text[at..open];
        if trim {
            literal = literal.trim_start_matches([' ', '\t', '\r', '\n']);
        }
        if trims_before {
            literal = literal.trim_end_matches([' ', '\t', '\r', '\n']);
            start += 1;
        }
        if !literal.is_empty() {
            items.push(Item::Text(literal.to_owned()));
        }
        let inner = text[start..].trim_start_matches([' ', '\t', '\r', '\n']);
        let comment = text.len() - inner.len();
        if inner.starts_with("/*") && (trims_before || comment == start) {
            let unclosed = || error("unclosed comment", Place { start: open, end: open + 2 });
            let end = comment + 2 + text[comment + 2..].find("*/").ok_or_else(unclosed)? + 2;
            let after = text[end..].trim_start_matches([' ', '\t', '\r', '\n']);
            let after_at = text.len() - after.len();
            if text[end..].starts_with("}}") {
                (at, trim) = (end + 2, false);
            } else if after.starts_with("-}}") && after_at > end {
                (at, trim) = (after_at + 3, true);
            } else {
                return Err(error("comment ends before closing delimiter", Place { start: open, end }));
            }
            continue;
        }
        let (tokens, end, trims_after) = tokenize(text, open, start)?;
        items.push(Item::Action(tokens, Place { start: open, end }));
        (at, trim) = (end, trims_after);
    }
    let mut literal = text.get(at..).unwrap_or_default();
    if trim {
        literal = literal.trim_start_matches([' ', '\t', '\r', '\n']);
    }
    if !literal.is_empty() {
        items.push(Item::Text(literal.to_owned()));
    }
    Ok(items)
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Reads the tokens of an action up to its `}}`.
fn tokenize(text: &str, open: usize, start: usize) -> Result<(Vec<Token>, usize, bool), RenderError> {
    let mut tokens = Vec::new();
    let mut at = start;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        if rest.starts_with("}}") {
            return Ok((tokens, at + 2, false));
        }
        let Some(c) = rest.chars().next() else {
            return Err(error("unclosed action", Place { start: open, end: text.len() }));
        };
        let word = |from: usize| {
            let rest = &rest[from..];
            from + rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        };
        let (kind, length) = match c {
            ' ' | '\t' | '\r' | '\n' => {
                let length = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
                if rest[length..].starts_with("-}}") {
                    return Ok((tokens, at + length + 3, true));
                }
                (Kind::Space, length)
            }
            '|' => (Kind::Pipe, 1),
            '(' => (Kind::Open, 1),
            ')' => (Kind::Close, 1),
            ',' => (Kind::Comma, 1),
            '=' => (Kind::Assign, 1),
            ':' if rest.starts_with(":=") => (Kind::Declare, 2),
            '"' => string(rest, at)?,
            '`' => {
                let length = rest[1..].find('`').map(|end| end + 2);
                let at = Place { start: at, end: text.len() };
                let length = length.ok_or_else(|| error("unterminated raw quoted string", at))?;
                (Kind::Literal(rest[1..length - 1].into()), length)
            }
            '\'' => character(rest, at)?,
            '$' => {
                let length = word(1);
                (Kind::Variable(rest[1..length].to_owned()), length)
            }
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let length = word(1);
                if length == 1 { (Kind::Dot, 1) } else { (Kind::Field(rest[1..length].to_owned()), length) }
            }
            '+' | '-' | '.' | '0'..='9' => number(rest, at)?,
            c if is_word(c) => {
                let length = word(0);
                let kind = match &rest[..length] {
                    "true" => Kind::Literal(true.into()),
                    "false" => Kind::Literal(false.into()),
                    name => Kind::Identifier(name.to_owned()),
                };
                (kind, length)
            }
            c => {
                let at = Place { start: at, end: at + c.len_utf8() };
                return Err(error(format!("unexpected {c:?} in command"), at));
            }
        };
        tokens.push(Token { kind, at: Place { start: at, end: at + length } });
        at += length;
    }
}

fn string(rest: &str, at: usize) -> Result<(Kind, usize), RenderError> {
    let mut out = String::new();
    let mut index = 1;
    loop {
        let here = &rest[index.min(rest.len())..];
        match here.chars().next() {
            Some('"') => return Ok((Kind::Literal(out.into()), index + 1)),
            None | Some('\n') => {
                return Err(error("unterminated quoted string", Place { start: at, end: at + index }));
            }
            Some('\\') => {
                let (c, length) = escape(here).ok_or_else(|| {
                    error("invalid escape in quoted string", Place { start: at + index, end: at + index + 2 })
                })?;
                out.push(c);
                index += length;
            }
            Some(c) => {
                out.push(c);
                index += c.len_utf8();
            }
        }
    }
}

fn character(rest: &str, at: usize) -> Result<(Kind, usize), RenderError> {
    let bad = || error("malformed character constant", Place { start: at, end: at + 1 });
    let inner = &rest[1..];
    let (c, length) = match inner.chars().next().ok_or_else(bad)? {
        '\\' if inner.starts_with("\\'") => ('\'', 2),
        '\\' => escape(inner).ok_or_else(bad)?,
        '\'' | '\n' => return Err(bad()),
        c => (c, c.len_utf8()),
    };
    if !inner[length..].starts_with('\'') {
        return Err(bad());
    }
    Ok((Kind::Literal(i64::from(u32::from(c)).into()), length + 2))
}

/// Reads one escape of Go's interpreted strings.
fn escape(text: &str) -> Option<(char, usize)> {
    let code = |from: usize, digits: usize, radix: u32| {
        let digits_text = text.get(from..from + digits)?;
        digits_text.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(())?;
        Some((char::from_u32(u32::from_str_radix(digits_text, radix).ok()?)?, from + digits))
    };
    let c = match text.as_bytes().get(1)? {
        b'a' => '\u{7}',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'v' => '\u{b}',
        b'\\' => '\\',
        b'"' => '"',
        b'x' => return code(2, 2, 16),
        b'u' => return code(2, 4, 16),
        b'U' => return code(2, 8, 16),
        b'0'..=b'7' => return code(1, 3, 8),
        _ => return None,
    };
    Some((c, 2))
}

fn number(rest: &str, at: usize) -> Result<(Kind, usize), RenderError> {
    let sign = usize::from(rest.starts_with(['+', '-']));
    let hexadecimal = rest[sign..].starts_with("0x") || rest[sign..].starts_with("0X");
    let mut length = sign;
    let bytes = rest.as_bytes();
    while let Some(&byte) = bytes.get(length) {
        let exponent_sign = matches!(byte, b'+' | b'-') && !hexadecimal && matches!(bytes[length - 1], b'e' | b'E');
        if (length > sign || !matches!(byte, b'+' | b'-'))
            && !(byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_' || exponent_sign)
        {
            break;
        }
        length += 1;
    }
    let text = rest[..length].replace('_', "");
    let digits = &text[sign.min(text.len())..];
    let negative = text.starts_with('-');
    let radix = |prefix: &str, radix| {
        let digits = digits.strip_prefix(prefix).or_else(|| digits.strip_prefix(prefix.to_uppercase().as_str()))?;
        i64::from_str_radix(digits, radix).ok()
    };
    let octal = (digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| i64::from_str_radix(digits, 8).ok())
        .flatten();
    let whole = radix("0x", 16).or_else(|| radix("0b", 2)).or_else(|| radix("0o", 8)).or(octal);
    let value = match whole.or_else(|| digits.parse::<i64>().ok()) {
        Some(value) => Value::Integer(if negative { -value } else { value }),
        None => match text.parse::<f64>() {
            Ok(value) if value.is_finite() && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
                Value::Float(value)
            }
            _ => return Err(error(format!("bad number syntax: {text:?}"), Place { start: at, end: at + length })),
        },
    };
    Ok((Kind::Literal(value), length))
}

/// The word that ended a list of nodes: `end`, or `else` with what follows it.
type ListEnd = Option<(String, Place)>;

struct Parser {
    items: std::vec::IntoIter<Item>,
    depth: u32,
    end: usize,
    in_range: u32,
}

impl Parser {
    /// Reads nodes up to `{{end}}`, `{{else}}` or the end of the text.
    fn list(&mut self) -> Result<(Vec<Node>, ListEnd), RenderError> {
        let mut nodes = Vec::new();
        while let Some(item) = self.items.next() {
            let (tokens, at) = match item {
                Item::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Item::Action(tokens, at) => (tokens, at),
            };
            let mut words = Words { tokens: &tokens, at: 0, end: at };
            words.spaces();
            let keyword = match words.peek() {
                Some(Kind::Identifier(name)) => name.clone(),
                _ => String::new(),
            };
            match keyword.as_str() {
                "end" => {
                    words.at += 1;
                    words.finish("end")?;
                    return Ok((nodes, Some(("end".into(), at))));
                }
                "else" => {
                    words.at += 1;
                    words.spaces();
                    if let Some(Kind::Identifier(next)) = words.peek()
                        && (next == "if" || next == "with")
                    {
                        let next = next.clone();
                        words.at += 1;
                        // `else if` is an `if` inside the `else`, sharing its `end`.
                        let node = self.control(&next, &mut words, at)?;
                        nodes.push(node);
                        return Ok((nodes, Some(("else if".into(), at))));
                    }
                    words.finish("else")?;
                    return Ok((nodes, Some(("else".into(), at))));
                }
                "if" | "with" | "range" => {
                    words.at += 1;
                    nodes.push(self.control(&keyword, &mut words, at)?);
                }
                "define" | "block" => {
                    words.at += 1;
                    words.spaces();
                    let name = words.name(&keyword)?;
                    let argument = if keyword == "block" { Some(words.pipeline(&keyword, self.depth)?) } else { None };
                    words.finish(&keyword)?;
                    let body = self.body(&keyword, at)?;
                    nodes.push(Node::Define { name: name.clone(), body });
                    if argument.is_some() {
                        nodes.push(Node::Template { name, argument, at });
                    }
                }
                "template" => {
                    words.at += 1;
                    words.spaces();
                    let name = words.name("template")?;
                    words.spaces();
                    let argument =
                        if words.peek().is_some() { Some(words.pipeline("template", self.depth)?) } else { None };
                    words.finish("template")?;
                    nodes.push(Node::Template { name, argument, at });
                }
                "break" | "continue" if self.in_range > 0 => {
                    words.at += 1;
                    words.finish(&keyword)?;
                    nodes.push(if keyword == "break" { Node::Break } else { Node::Continue });
                }
                _ => {
                    let pipeline = words.pipeline("command", self.depth)?;
                    words.finish("command")?;
                    nodes.push(Node::Action(pipeline));
                }
            }
        }
        Ok((nodes, None))
    }

    fn deeper(&mut self, at: Place) -> Result<(), RenderError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(error("template is nested too deeply", at)) } else { Ok(()) }
    }

    /// Reads a body that must be closed by `end`.
    fn body(&mut self, keyword: &str, at: Place) -> Result<Vec<Node>, RenderError> {
        self.deeper(at)?;
        let (nodes, end) = self.list()?;
        self.depth -= 1;
        match end {
            Some((word, _)) if word == "end" => Ok(nodes),
            Some((word, at)) => Err(error(format!("unexpected {{{{{word}}}}} in {keyword}"), at)),
            None => Err(error("unexpected EOF", Place { start: self.end, end: self.end })),
        }
    }

    fn control(&mut self, keyword: &str, words: &mut Words<'_>, at: Place) -> Result<Node, RenderError> {
        let value = words.pipeline(keyword, self.depth)?;
        words.finish(keyword)?;
        self.deeper(at)?;
        self.in_range += u32::from(keyword == "range");
        let (yes, end) = self.list()?;
        self.in_range -= u32::from(keyword == "range");
        let mut no = Vec::new();
        let mut end = end;
        if let Some((word, _)) = &end
            && word == "else"
        {
            let (nodes, next) = self.list()?;
            no = nodes;
            end = next;
            if let Some((word, at)) = &end
                && word != "end"
            {
                return Err(error(format!("expected end; found {{{{{word}}}}}"), *at));
            }
        }
        self.depth -= 1;
        let mut yes = yes;
        match &end {
            None => return Err(error("unexpected EOF", Place { start: self.end, end: self.end })),
            // The nested `if` of an `else if` was put at the end of the list before it, and has eaten the `end`.
            Some((word, _)) if word == "else if" => no = yes.pop().into_iter().collect(),
            Some(_) => {}
        }
        Ok(match keyword {
            "if" => Node::If { condition: value, yes, no },
            "with" => Node::With { value, yes, no },
            _ => Node::Range { value, body: yes, empty: no },
        })
    }
}

struct Words<'a> {
    tokens: &'a [Token],
    at: usize,
    end: Place,
}

impl Words<'_> {
    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn place(&self) -> Place {
        self.tokens.get(self.at).map_or(Place { start: self.end.end.saturating_sub(2), ..self.end }, |token| token.at)
    }

    fn spaces(&mut self) {
        while self.peek() == Some(&Kind::Space) {
            self.at += 1;
        }
    }

    fn finish(&mut self, context: &str) -> Result<(), RenderError> {
        self.spaces();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(error(format!("unexpected token in {context}"), self.place())),
        }
    }

    fn name(&mut self, context: &str) -> Result<String, RenderError> {
        match self.peek() {
            Some(Kind::Literal(Value::String(name))) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(error(format!("a quoted name is required in {context} clause"), self.place())),
        }
    }

    fn pipeline(&mut self, context: &str, depth: u32) -> Result<Pipeline, RenderError> {
        if depth > MAX_DEPTH {
            return Err(error("template is nested too deeply", self.place()));
        }
        self.spaces();
        let start = self.place().start;
        let (variables, assign) = self.declarations(context);
        let mut commands = Vec::new();
        loop {
            self.spaces();
            match self.peek() {
                Some(Kind::Close) | None => break,
                Some(Kind::Pipe) if !commands.is_empty() => {
                    self.at += 1;
                    self.spaces();
                    if matches!(self.peek(), None | Some(Kind::Close | Kind::Pipe)) {
                        return Err(error(format!("missing value for {context}"), self.place()));
                    }
                }
                Some(_) if commands.is_empty() => {}
                Some(_) => return Err(error(format!("unexpected token in {context}"), self.place())),
            }
            commands.push(self.command(depth)?);
        }
        if commands.is_empty() {
            return Err(error(format!("missing value for {context}"), self.place()));
        }
        for command in &commands[1..] {
            if matches!(command.operands.first(), Some(Operand::Literal(_) | Operand::Field(..)))
                && !matches!(command.operands.first(), Some(Operand::Field(names, _)) if !names.is_empty())
            {
                return Err(error("non executable command in pipeline", command.at));
            }
        }
        Ok(Pipeline { variables, assign, commands, at: Place { start, end: self.place().start.max(start) } })
    }

    /// Reads `$a :=`, `$a =` and, for `range`, `$a, $b :=`.
    fn declarations(&mut self, context: &str) -> (Vec<String>, bool) {
        let begin = self.at;
        let mut names = Vec::new();
        while let Some(Kind::Variable(name)) = self.peek() {
            names.push(name.clone());
            self.at += 1;
            self.spaces();
            match self.peek() {
                Some(Kind::Declare) => {
                    self.at += 1;
                    return (names, false);
                }
                Some(Kind::Assign) => {
                    self.at += 1;
                    return (names, true);
                }
                Some(Kind::Comma) if context == "range" && names.len() == 1 => {
                    self.at += 1;
                    self.spaces();
                }
                _ => break,
            }
        }
        self.at = begin;
        (Vec::new(), false)
    }

    fn command(&mut self, depth: u32) -> Result<Command, RenderError> {
        let start = self.place().start;
        let mut operands = Vec::new();
        loop {
            self.spaces();
            let at = self.place();
            let Some(kind) = self.peek().cloned() else { break };
            let operand = match kind {
                Kind::Pipe | Kind::Close => break,
                Kind::Literal(value) => {
                    self.at += 1;
                    Operand::Literal(value)
                }
                Kind::Identifier(name) if name == "nil" => {
                    self.at += 1;
                    Operand::Literal(Value::Nil)
                }
                Kind::Identifier(name) => {
                    self.at += 1;
                    Operand::Function(name, at)
                }
                Kind::Dot => {
                    self.at += 1;
                    Operand::Field(Vec::new(), at)
                }
                Kind::Field(name) => {
                    self.at += 1;
                    let mut names = vec![name];
                    names.extend(self.fields());
                    Operand::Field(names, at)
                }
                Kind::Variable(name) => {
                    self.at += 1;
                    Operand::Variable(name, self.fields(), at)
                }
                Kind::Open => {
                    self.at += 1;
                    let inner = self.pipeline("parenthesized pipeline", depth + 1)?;
                    if self.peek() != Some(&Kind::Close) {
                        return Err(error("unclosed left paren", at));
                    }
                    self.at += 1;
                    Operand::Group(inner, self.fields(), at)
                }
                Kind::Comma | Kind::Assign | Kind::Declare | Kind::Space => {
                    return Err(error("unexpected token in operand", at));
                }
            };
            operands.push(operand);
            match self.peek() {
                Some(Kind::Space | Kind::Pipe | Kind::Close) | None => {}
                Some(_) => return Err(error("unexpected token in operand; missing space?", self.place())),
            }
        }
        if operands.is_empty() {
            return Err(error("empty command", self.place()));
        }
        if operands.len() > 1 && matches!(operands.first(), Some(Operand::Literal(_))) {
            return Err(error("can't give argument to non-function", Place { start, end: self.place().start }));
        }
        Ok(Command { operands, at: Place { start, end: self.place().start } })
    }

    /// Reads `.a.b` that follows without a space.
    fn fields(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(Kind::Field(name)) = self.peek() {
            names.push(name.clone());
            self.at += 1;
        }
        names
    }
}
