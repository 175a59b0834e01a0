//! Owns Go's `text/template` language with Packer's functions: the `{{ … }}` in option texts.

mod execute;
mod functions;
mod printf;
pub(crate) mod rewrite;
mod syntax;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;

use crate::world::data::DataMode;

/// Version of Packer that `packer_version` and `packer.version` name, and that `required_version` is compared with.
pub const PACKER_VERSION: &str = "1.16.0";

/// A value inside a Go template.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Go's `nil`.
    Nil,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other real number.
    Float(f64),
    /// A number with a real and an imaginary part.
    Complex(f64, f64),
    /// A text.
    String(String),
    /// A list.
    List(Vec<Self>),
    /// Values by name.
    Map(BTreeMap<String, Self>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Integer(i64::from(number))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// What a Go template can refer to.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// Data of the component: `{{ .HTTPIP }}`. A name that is not in here is an error, unless the data is open.
    pub fields: BTreeMap<String, Value>,
    /// Whether a name that is not in `fields` is `<no value>`, as Go has it where Packer's data is a map. Where there are no
    /// fields at all, which Go calls `nil`, that is so anyway.
    pub open: bool,
    /// What `{{ user "NAME" }}` gives; unknown names give an empty text, as in Packer.
    pub variables: Arc<BTreeMap<String, String>>,
    /// What `{{ build "ID" }}` gives.
    pub build: BTreeMap<String, String>,
    /// What `{{ env "NAME" }}` gives; nothing where Packer refuses `env`.
    pub environment: Option<BTreeMap<String, String>>,
    /// What is done where `consul_key` and `vault` need the world.
    pub data: DataMode,
    /// `{{ build_name }}`: the source's own name.
    pub build_name: Option<String>,
    /// `{{ build_type }}`: the builder's kind.
    pub build_type: Option<String>,
    /// `{{ template_dir }}`.
    pub template_dir: Option<PathBuf>,
    /// `{{ pwd }}`.
    pub cwd: PathBuf,
    /// Time of `{{ timestamp }}`, `{{ isotime }}` and `{{ strftime }}`.
    pub now: Timestamp,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            fields: BTreeMap::new(),
            open: false,
            variables: Arc::default(),
            build: BTreeMap::new(),
            environment: None,
            data: DataMode::Refuse,
            build_name: None,
            build_type: None,
            template_dir: None,
            cwd: PathBuf::new(),
            now: Timestamp::UNIX_EPOCH,
        }
    }
}

impl Context {
    /// Adds one field of the component's data.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }
}

/// A Go template that cannot be parsed or rendered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct RenderError {
    /// What is wrong, in one sentence.
    pub message: String,
    /// Offset in bytes of the wrong part inside the text.
    pub offset: usize,
    /// Its length in bytes.
    pub length: usize,
}

/// Parses and renders a text.
///
/// # Errors
/// When the text is not a Go template, refers to something the context does not have, or a function fails.
pub fn render(text: &str, context: &Context) -> Result<String, RenderError> {
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    let nodes = syntax::parse(text)?;
    check_functions(&nodes)?;
    execute::run(&nodes, context)
}

/// Checks that a text can be parsed and names only functions that exist.
///
/// # Errors
/// When it is not a Go template.
pub fn check(text: &str) -> Result<(), RenderError> {
    if !text.contains("{{") {
        return Ok(());
    }
    check_functions(&syntax::parse(text)?)
}

/// Returns the names of the fields (`.Name`) that a template refers to at its top level of data.
#[must_use]
pub fn fields(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    if let Ok(nodes) = syntax::parse(text) {
        visit(&nodes, &mut |operand| {
            if let syntax::Operand::Field(path, _) = operand
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
    if let Ok(nodes) = syntax::parse(text) {
        visit_commands(&nodes, &mut |command| {
            if let [syntax::Operand::Function(name, _), syntax::Operand::Literal(Value::String(variable)), ..] =
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
    if let Ok(nodes) = syntax::parse(text) {
        visit(&nodes, &mut |operand| {
            found |= matches!(operand, syntax::Operand::Function(name, _) if name == wanted);
        });
    }
    found
}

/// Go looks functions up while it parses, so a wrong one is an error even where it would not be reached.
fn check_functions(nodes: &[syntax::Node]) -> Result<(), RenderError> {
    let mut problem = None;
    visit(nodes, &mut |operand| {
        if let syntax::Operand::Function(name, at) = operand
            && let Err(message) = functions::check(name)
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
fn check_variables(nodes: &[syntax::Node], known: &mut Vec<String>) -> Result<(), RenderError> {
    use syntax::Node;
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

fn check_pipeline(pipeline: &syntax::Pipeline, known: &mut Vec<String>) -> Result<(), RenderError> {
    if !pipeline.assign {
        known.extend(pipeline.variables.iter().cloned());
    }
    let used = pipeline.commands.iter().flat_map(|command| &command.operands);
    let undefined = |name: &str, at: syntax::Place| RenderError {
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
            syntax::Operand::Variable(name, _, at) if !known.contains(name) => return Err(undefined(name, *at)),
            syntax::Operand::Group(inner, ..) => check_pipeline(inner, known)?,
            _ => {}
        }
    }
    Ok(())
}

fn visit(nodes: &[syntax::Node], each: &mut dyn FnMut(&syntax::Operand)) {
    visit_commands(nodes, &mut |command| command.operands.iter().for_each(&mut *each));
}

/// Calls `each` with every command, also those in parentheses.
fn visit_commands(nodes: &[syntax::Node], each: &mut dyn FnMut(&syntax::Command)) {
    use syntax::Node;
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

fn visit_pipeline(pipeline: &syntax::Pipeline, each: &mut dyn FnMut(&syntax::Command)) {
    for command in &pipeline.commands {
        each(command);
        for operand in &command.operands {
            if let syntax::Operand::Group(inner, ..) = operand {
                visit_pipeline(inner, each);
            }
        }
    }
}
