//! Owns the rewriting of Go templates: each action is replaced by what a translator makes of it.

use super::check::check_functions;
use super::error::RenderError;
use super::printf;
use super::syntax::{Command, Node, Operand, Pipeline, parse};
use super::value::Value;
use super::walk::visit;

/// A piece of a rewritten text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Literal text; may hold actions that stay as they are, braces included.
    Text(String),
    /// What the translator made of an action, in its own language.
    Expression(String),
}

/// Says what becomes of function calls.
pub(crate) trait Translator {
    /// Returns what stands for a call; nothing when the action must stay as it is.
    fn call(&mut self, name: &str, arguments: &[Vec<Piece>]) -> Option<Vec<Piece>>;

    /// Is told of an action that stays as it is although it calls a function: its text without braces.
    fn kept(&mut self, action: &str);
}

/// Rewrites a text. Fields are written `{{ .Name }}`; a text with control structures stays as it is.
///
/// # Errors
/// When the text is not a Go template, or names a function that does not exist.
pub(crate) fn rewrite(text: &str, translator: &mut dyn Translator) -> Result<Vec<Piece>, RenderError> {
    if !text.contains("{{") {
        return Ok(vec![Piece::Text(text.to_owned())]);
    }
    let nodes = parse(text)?;
    check_functions(&nodes)?;
    let simple = nodes.iter().all(|node| match node {
        Node::Text(_) => true,
        Node::Action(pipeline) => pipeline.variables.is_empty(),
        _ => false,
    });
    if !simple {
        let mut calls = false;
        visit(&nodes, &mut |operand| calls |= matches!(operand, Operand::Function(..)));
        if calls {
            translator.kept(text);
        }
        return Ok(vec![Piece::Text(text.to_owned())]);
    }
    let mut pieces = Vec::new();
    for node in &nodes {
        match node {
            Node::Text(literal) => push(&mut pieces, Piece::Text(literal.clone())),
            Node::Action(pipeline) => match of_pipeline(pipeline, translator) {
                Some(made) => made.into_iter().for_each(|piece| push(&mut pieces, piece)),
                None => {
                    let action = text.get(pipeline.at.start..pipeline.at.end).unwrap_or_default().trim();
                    if calls_function(pipeline) {
                        translator.kept(action);
                    }
                    push(&mut pieces, Piece::Text(format!("{{{{ {action} }}}}")));
                }
            },
            _ => {}
        }
    }
    Ok(pieces)
}

/// Appends a piece; neighbouring texts become one.
fn push(pieces: &mut Vec<Piece>, piece: Piece) {
    match (pieces.last_mut(), piece) {
        (Some(Piece::Text(last)), Piece::Text(more)) => last.push_str(&more),
        (_, piece) => pieces.push(piece),
    }
}

fn calls_function(pipeline: &Pipeline) -> bool {
    pipeline.commands.iter().flat_map(|command| &command.operands).any(|operand| match operand {
        Operand::Function(..) => true,
        Operand::Group(inner, ..) => calls_function(inner),
        _ => false,
    })
}

fn of_pipeline(pipeline: &Pipeline, translator: &mut dyn Translator) -> Option<Vec<Piece>> {
    let mut value = None;
    for command in &pipeline.commands {
        value = Some(of_command(command, value, translator)?);
    }
    value
}

/// Returns what stands for a command whose last argument may come from the command before it.
fn of_command(command: &Command, piped: Option<Vec<Piece>>, translator: &mut dyn Translator) -> Option<Vec<Piece>> {
    let (first, rest) = command.operands.split_first()?;
    if let Operand::Function(name, _) = first {
        let mut arguments = Vec::new();
        for operand in rest {
            arguments.push(of_operand(operand, translator)?);
        }
        arguments.extend(piped);
        return translator.call(name, &arguments);
    }
    if !rest.is_empty() || piped.is_some() {
        return None;
    }
    of_operand(first, translator)
}

fn of_operand(operand: &Operand, translator: &mut dyn Translator) -> Option<Vec<Piece>> {
    match operand {
        Operand::Literal(value @ (Value::String(_) | Value::Integer(_) | Value::Bool(_) | Value::Float(_))) => {
            Some(vec![Piece::Text(printf::shown(value))])
        }
        Operand::Field(path, _) if !path.is_empty() => {
            Some(vec![Piece::Text(format!("{{{{ .{} }}}}", path.join(".")))])
        }
        Operand::Function(name, _) => translator.call(name, &[]),
        Operand::Group(inner, fields, _) if fields.is_empty() => of_pipeline(inner, translator),
        _ => None,
    }
}
