//! Owns the ways through a parsed template, and what is found on them.

use super::syntax::{Command, Node, Operand, Pipeline, parse};
use super::value::Value;

/// Returns the names of the fields (`.Name`) that a template refers to at its top level of data.
#[must_use]
pub fn fields(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    if let Ok(nodes) = parse(text) {
        visit(&nodes, &mut |operand| {
            if let Operand::Field(path, _) = operand
                && let Some(first) = path.first()
            {
                names.push(first.clone());
            }
        });
    }
    names
}

/// Returns the names of the variables that a template asks for with `user`.
pub(crate) fn user_variables(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    if let Ok(nodes) = parse(text) {
        visit_commands(&nodes, &mut |command| {
            if let [Operand::Function(name, _), Operand::Literal(Value::String(variable)), ..] =
                command.operands.as_slice()
                && name == "user"
            {
                names.push(variable.clone());
            }
        });
    }
    names
}

/// Reports whether a template calls a function.
pub(crate) fn calls(text: &str, wanted: &str) -> bool {
    let mut found = false;
    if let Ok(nodes) = parse(text) {
        visit(&nodes, &mut |operand| {
            found |= matches!(operand, Operand::Function(name, _) if name == wanted);
        });
    }
    found
}

pub(super) fn visit(nodes: &[Node], each: &mut dyn FnMut(&Operand)) {
    visit_commands(nodes, &mut |command| command.operands.iter().for_each(&mut *each));
}

/// Calls `each` with every command, also those in parentheses.
fn visit_commands(nodes: &[Node], each: &mut dyn FnMut(&Command)) {
    for node in nodes {
        match node {
            Node::Text(_) | Node::Break | Node::Continue => {}
            Node::Action(pipeline) => visit_pipeline(pipeline, each),
            Node::If { condition: value, yes, no } | Node::With { value, yes, no } => {
                visit_pipeline(value, each);
                visit_commands(yes, each);
                visit_commands(no, each);
            }
            Node::Range { value, body, empty } => {
                visit_pipeline(value, each);
                visit_commands(body, each);
                visit_commands(empty, each);
            }
            Node::Template { argument, .. } => {
                if let Some(argument) = argument {
                    visit_pipeline(argument, each);
                }
            }
            Node::Define { body, .. } => visit_commands(body, each),
        }
    }
}

fn visit_pipeline(pipeline: &Pipeline, each: &mut dyn FnMut(&Command)) {
    for command in &pipeline.commands {
        each(command);
        for operand in &command.operands {
            if let Operand::Group(inner, ..) = operand {
                visit_pipeline(inner, each);
            }
        }
    }
}
