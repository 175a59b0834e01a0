//! Owns Go's `text/template` language with Packer's functions: the `{{ … }}` in option texts.

mod check;
mod context;
mod error;
mod execute;
mod functions;
mod printf;
pub(crate) mod rewrite;
mod syntax;
mod value;
mod version;
mod walk;

#[cfg(test)]
mod tests;

pub use check::check;
pub use context::Context;
pub use error::RenderError;
pub use value::Value;
pub use version::PACKER_VERSION;
pub use walk::fields;
pub(crate) use walk::{calls, user_variables};

/// Parses and renders a text.
///
/// # Errors
/// When the text is not a Go template, refers to something the context does not have, or a function fails.
pub fn render(text: &str, context: &Context) -> Result<String, RenderError> {
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    let nodes = syntax::parse(text)?;
    check::check_functions(&nodes)?;
    execute::run(&nodes, context)
}
