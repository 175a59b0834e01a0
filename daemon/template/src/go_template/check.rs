//! Owns what Go finds wrong with a template before it runs: functions and variables that do not exist.

use super::error::RenderError;
use super::functions;
use super::syntax::{Node, Operand, Pipeline, Place, parse};
use super::walk::visit;

/// Checks that a text can be parsed and names only functions that exist.
///
/// # Errors
/// When it is not a Go template.
pub fn check(text: &str) -> Result<(), RenderError> {
    if !text.contains("{{") {
        return Ok(());
    }
    check_functions(&parse(text)?)
}

/// Go looks functions up while it parses, so a wrong one is an error even where it would not be reached.
pub(super) fn check_functions(nodes: &[Node]) -> Result<(), RenderError> {
    let mut problem = None;
    visit(nodes, &mut |operand| {
        if let Operand::Function(name, at) = operand
            && let Err(message) = functions::exists(name)
        {
            let error = RenderError { message, offset: at.start, length: at.end - at.start };
            problem.get_or_insert(error);
        }
    });
    match problem {
        Some(problem) => Err(problem),
        None => check_variables(nodes, &mut vec![String::new()]),
    }
}

/// Go finds undefined variables while it parses, too.
fn check_variables(nodes: &[Node], known: &mut Vec<String>) -> Result<(), RenderError> {
    let outer = known.len();
    for node in nodes {
        let here = known.len();
        match node {
            Node::Text(_) | Node::Break | Node::Continue => {}
            Node::Action(pipeline) => check_pipeline(pipeline, known)?,
            Node::If { condition: value, yes, no }
            | Node::With { value, yes, no }
            | Node::Range { value, body: yes, empty: no } => {
                check_pipeline(value, known)?;
                check_variables(yes, known)?;
                check_variables(no, known)?;
                known.truncate(here);
            }
            Node::Template { argument, .. } => {
                if let Some(argument) = argument {
                    check_pipeline(argument, known)?;
                }
            }
            Node::Define { body, .. } => check_variables(body, &mut vec![String::new()])?,
        }
    }
    known.truncate(outer);
    Ok(())
}

fn check_pipeline(pipeline: &Pipeline, known: &mut Vec<String>) -> Result<(), RenderError> {
    if !pipeline.assign {
        known.extend(pipeline.variables.iter().cloned());
    }
    let used = pipeline.commands.iter().flat_map(|command| &command.operands);
    let undefined = |name: &str, at: Place| RenderError {
        message: format!("undefined variable \"${name}\""),
        offset: at.start,
        length: at.end - at.start,
    };
    for name in pipeline.variables.iter().filter(|_| pipeline.assign) {
        if !known.contains(name) {
            return Err(undefined(name, pipeline.at));
        }
    }
    for operand in used {
        match operand {
            Operand::Variable(name, _, at) if !known.contains(name) => return Err(undefined(name, *at)),
            Operand::Group(inner, ..) => check_pipeline(inner, known)?,
            _ => {}
        }
    }
    Ok(())
}
