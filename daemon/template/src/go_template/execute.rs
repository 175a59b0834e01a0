//! Owns the execution of parsed Go templates.

use std::collections::BTreeMap;

use super::context::Context;
use super::error::RenderError;
use super::syntax::{Command, Node, Operand, Pipeline, Place};
use super::value::Value;
use super::{functions, printf};

/// Bytes of output at most: 64 MiB.
const MAX_OUTPUT: usize = 64 << 20;
/// Steps at most, so that nested ranges end.
const MAX_STEPS: u64 = 10_000_000;
/// `{{template}}` calls inside one another at most.
const MAX_CALLS: u32 = 50;

/// Why a list of nodes stopped.
#[derive(PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// Runs a template.
pub(super) fn run(nodes: &[Node], context: &Context) -> Result<String, RenderError> {
    let mut definitions = BTreeMap::new();
    collect(nodes, &mut definitions)?;
    let dot = if context.fields.is_empty() { Value::Nil } else { Value::Map(context.fields.clone()) };
    let mut machine = Machine {
        context,
        definitions: &definitions,
        out: String::new(),
        variables: vec![(String::new(), dot.clone())],
        steps: 0,
        calls: 0,
    };
    machine.nodes(nodes, &dot)?;
    Ok(machine.out)
}

/// Finds the templates that a template defines. Two of one name are an error, unless one of them is empty: then it is the
/// other.
pub(super) fn collect<'a>(nodes: &'a [Node], into: &mut BTreeMap<String, &'a [Node]>) -> Result<(), RenderError> {
    for node in nodes {
        match node {
            Node::Define { name, body, at } => {
                collect(body, into)?;
                match into.get(name) {
                    Some(known) if !is_empty(known) && !is_empty(body) => {
                        let message = format!("multiple definition of template {name:?}; rename or remove one of them");
                        return fail(message, *at);
                    }
                    Some(_) if is_empty(body) => {}
                    _ => _ = into.insert(name.clone(), body),
                }
            }
            Node::If { yes, no, .. } | Node::With { yes, no, .. } => {
                collect(yes, into)?;
                collect(no, into)?;
            }
            Node::Range { body, empty, .. } => {
                collect(body, into)?;
                collect(empty, into)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reports whether a template has nothing but blanks.
fn is_empty(nodes: &[Node]) -> bool {
    nodes.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}

struct Machine<'a> {
    context: &'a Context,
    definitions: &'a BTreeMap<String, &'a [Node]>,
    out: String,
    variables: Vec<(String, Value)>,
    steps: u64,
    calls: u32,
}

fn fail<T>(message: impl Into<String>, at: Place) -> Result<T, RenderError> {
    Err(RenderError { message: message.into(), offset: at.start, length: at.end.saturating_sub(at.start).max(1) })
}

impl Machine<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, RenderError> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn step(&mut self, at: Place) -> Result<(), RenderError> {
        self.steps += 1;
        if self.steps > MAX_STEPS || self.out.len() > MAX_OUTPUT {
            return fail("the template produces too much", at);
        }
        Ok(())
    }

    fn scoped(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, RenderError> {
        let variables = self.variables.len();
        let flow = self.nodes(nodes, dot);
        self.variables.truncate(variables);
        flow
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, RenderError> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Action(pipeline) => {
                self.step(pipeline.at)?;
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.out.push_str(&printf::shown(&value));
                }
            }
            Node::If { condition, yes, no } => {
                let variables = self.variables.len();
                let chosen = if self.pipeline(condition, dot)?.is_true() { yes } else { no };
                let flow = self.scoped(chosen, dot);
                self.variables.truncate(variables);
                return flow;
            }
            Node::With { value, yes, no } => {
                let variables = self.variables.len();
                let inner = self.pipeline(value, dot)?;
                let flow = if inner.is_true() { self.scoped(yes, &inner) } else { self.scoped(no, dot) };
                self.variables.truncate(variables);
                return flow;
            }
            Node::Range { value, body, empty } => self.range(value, body, empty, dot)?,
            Node::Template { name, argument, at } => {
                self.step(*at)?;
                let Some(body) = self.definitions.get(name).copied() else {
                    return fail(format!("template {name:?} not defined"), *at);
                };
                let inner = match argument {
                    Some(argument) => self.pipeline(argument, dot)?,
                    None => Value::Nil,
                };
                if self.calls >= MAX_CALLS {
                    return fail("exceeded maximum template depth", *at);
                }
                self.calls += 1;
                let outer = std::mem::replace(&mut self.variables, vec![(String::new(), inner.clone())]);
                let result = self.nodes(body, &inner);
                self.variables = outer;
                self.calls -= 1;
                result?;
            }
            Node::Define { .. } => {}
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn range(&mut self, value: &Pipeline, body: &[Node], empty: &[Node], dot: &Value) -> Result<(), RenderError> {
        let variables = self.variables.len();
        let quiet = Pipeline { variables: Vec::new(), ..value.clone() };
        let collection = self.pipeline(&quiet, dot)?;
        let pairs: Vec<(Value, Value)> = match collection {
            Value::List(items) => items
                .into_iter()
                .enumerate()
                .map(|(index, item)| (Value::Integer(i64::try_from(index).unwrap_or(i64::MAX)), item))
                .collect(),
            Value::Map(entries) => entries.into_iter().map(|(key, item)| (key.into(), item)).collect(),
            Value::Nil => Vec::new(),
            other => return fail(format!("range can't iterate over {}", printf::shown(&other)), value.at),
        };
        if pairs.is_empty() {
            self.scoped(empty, dot)?;
            return Ok(());
        }
        for (key, item) in pairs {
            self.step(value.at)?;
            match value.variables.as_slice() {
                [single] => self.variables.push((single.clone(), item.clone())),
                [first, second] => {
                    self.variables.push((first.clone(), key));
                    self.variables.push((second.clone(), item.clone()));
                }
                _ => {}
            }
            let flow = self.scoped(body, &item);
            self.variables.truncate(variables);
            if flow? == Flow::Break {
                break;
            }
        }
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, RenderError> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, value, dot)?);
        }
        let value = value.unwrap_or(Value::Nil);
        for name in &pipeline.variables {
            if !pipeline.assign {
                self.variables.push((name.clone(), value.clone()));
                continue;
            }
            match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
                Some((_, slot)) => *slot = value.clone(),
                None => return fail(format!("undefined variable ${name}"), pipeline.at),
            }
        }
        Ok(value)
    }

    fn command(&mut self, command: &Command, last: Option<Value>, dot: &Value) -> Result<Value, RenderError> {
        let Some((first, rest)) = command.operands.split_first() else { return Ok(Value::Nil) };
        if let Operand::Function(name, at) = first {
            return self.call(name, rest, last, dot, *at);
        }
        if !rest.is_empty() || last.is_some() {
            return fail("can't give argument to non-function", command.at);
        }
        if matches!(first, Operand::Literal(Value::Nil)) {
            return fail("nil is not a command", command.at);
        }
        self.operand(first, dot)
    }

    fn call(
        &mut self,
        name: &str,
        rest: &[Operand],
        last: Option<Value>,
        dot: &Value,
        at: Place,
    ) -> Result<Value, RenderError> {
        // `and` and `or` stop at the first value that decides.
        if name == "and" || name == "or" {
            let mut value = None;
            for operand in rest {
                let next = self.operand(operand, dot)?;
                let decided = next.is_true() == (name == "or");
                value = Some(next);
                if decided {
                    return Ok(value.unwrap_or(Value::Nil));
                }
            }
            return match last.or(value) {
                Some(value) => Ok(value),
                None => fail(format!("wrong number of args for {name}: want at least 1 got 0"), at),
            };
        }
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(last);
        match functions::call(name, &arguments, self.context) {
            Ok(value) => Ok(value),
            Err(message) => fail(message, at),
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, RenderError> {
        match operand {
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Field(names, at) => fields(dot, names, self.context.open, *at),
            Operand::Variable(name, names, at) => {
                let found =
                    self.variables.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
                match found {
                    Some(value) => fields(&value, names, self.context.open, *at),
                    None => fail(format!("undefined variable \"${name}\""), *at),
                }
            }
            Operand::Function(name, at) => self.call(name, &[], None, dot, *at),
            Operand::Group(inner, names, at) => {
                let value = self.pipeline(inner, dot)?;
                fields(&value, names, self.context.open, *at)
            }
        }
    }
}

fn fields(value: &Value, names: &[String], open: bool, at: Place) -> Result<Value, RenderError> {
    let mut value = value;
    for name in names {
        value = match value {
            Value::Map(entries) => match entries.get(name) {
                Some(found) => found,
                None if open => return Ok(Value::Nil),
                None => {
                    let known: Vec<&str> = entries.keys().map(String::as_str).collect();
                    return fail(format!("can't evaluate field {name}; available here: .{}", known.join(", .")), at);
                }
            },
            // What nothing has is nothing, as in Go.
            Value::Nil => return Ok(Value::Nil),
            _ => return fail(format!("can't evaluate field {name} in {}", printf::shown(value)), at),
        };
    }
    Ok(value.clone())
}
