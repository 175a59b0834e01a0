//! Owns the parser: text → [`Node`]s.

use super::lexer::split;
use super::token::{Item, Kind, Token};
use super::tree::{Command, Node, Operand, Pipeline, Place, error};
use crate::go_template::error::RenderError;
use crate::go_template::value::Value;

/// Nested control structures and parentheses allowed.
const MAX_DEPTH: u32 = 100;

/// Parses a template.
pub(in crate::go_template) fn parse(text: &str) -> Result<Vec<Node>, RenderError> {
    let mut parser = Parser { items: split(text)?.into_iter(), depth: 0, end: text.len(), in_range: 0 };
    let (nodes, end) = parser.list()?;
    match end {
        None => Ok(nodes),
        Some((word, at)) => Err(error(format!("unexpected {{{{{word}}}}}"), at)),
    }
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
                "define" if self.depth > 0 => {
                    let at = words.place();
                    return Err(error(
                        "{{define}} stands inside another action; move it out, to the outermost level",
                        at,
                    ));
                }
                "define" | "block" => {
                    words.at += 1;
                    words.spaces();
                    let name = words.name(&keyword)?;
                    let argument = if keyword == "block" { Some(words.pipeline(&keyword, self.depth)?) } else { None };
                    words.finish(&keyword)?;
                    let body = self.body(&keyword, at)?;
                    nodes.push(Node::Define { name: name.clone(), body, at });
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
                    self.function(name, at)
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

    /// Returns a function's name, or the fields of what it gives without arguments.
    fn function(&mut self, name: String, at: Place) -> Operand {
        let names = self.fields();
        let function = Operand::Function(name, at);
        if names.is_empty() {
            return function;
        }
        let call = Command { operands: vec![function], at };
        Operand::Group(Pipeline { variables: Vec::new(), assign: false, commands: vec![call], at }, names, at)
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
