//! Owns legacy JSON templates: from a file to builds.

mod builds;
mod parse;
mod variables;

use std::path::PathBuf;
use std::sync::Arc;

use crate::components::config::JsonBase;
use crate::components::evaluated::Loaded;
use crate::components::schema::Catalog;
use crate::diagnostics::source_map::SourceMap;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::go::path::clean;
use crate::language::syntax::json::parse_json;
use crate::world::data::{DataMode, Unset};
use crate::world::files::Files;
use crate::world::inputs::Inputs;
use crate::world::read::read_text;

pub(crate) use parse::{Builder, PostProcessor, Provisioner, Selection, Template, structure};

/// Reads a template's structure; nothing when it is not JSON at all.
pub(crate) fn read(
    inputs: &Inputs,
    files: &dyn Files,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) -> Option<Template> {
    let path = inputs.cwd.join(&inputs.path);
    if !files.exists(&path) {
        let detail = format!("There is no file {}.", inputs.path.display());
        diagnostics.push(
            Diagnostic::error("Template not found", detail)
                .hint("name a .pkr.hcl file, a JSON template, or a folder with .pkr.hcl files"),
        );
        return None;
    }
    let file = read_text(&inputs.cwd, &inputs.path, files, sources, diagnostics)?;
    let errors = diagnostics.len();
    let json = parse_json(sources, file, diagnostics);
    if diagnostics.len() > errors
        && let Some(last) = diagnostics.last_mut()
        && last.hint.is_none()
    {
        last.hint = Some("names of HCL2 templates end with .pkr.hcl; every other file is read as JSON".into());
    }
    Some(parse::template(&json?, diagnostics))
}

/// Reads a template and gives its variables their values.
pub(crate) fn prepare(
    inputs: &Inputs,
    files: &dyn Files,
    data: DataMode,
    unset: Unset,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) -> Option<(Template, Arc<JsonBase>)> {
    let template = read(inputs, files, sources, diagnostics)?;
    let path = clean(&inputs.cwd.join(&inputs.path));
    let template_dir = path.parent().map_or_else(|| inputs.cwd.clone(), PathBuf::from);
    let (variables, sensitive) =
        variables::resolve(&template, inputs, &template_dir, files, data, unset, sources, diagnostics);
    sources.hide_texts(&sensitive);
    let base =
        JsonBase { variables: Arc::new(variables), sensitive, template_dir, cwd: inputs.cwd.clone(), now: inputs.now };
    Some((template, Arc::new(base)))
}

/// Loads a legacy JSON template.
pub(crate) fn load(inputs: &Inputs, files: &dyn Files, catalog: &dyn Catalog, data: DataMode) -> Loaded {
    let mut sources = SourceMap::new();
    let mut diagnostics = Diagnostics::new();
    let evaluated =
        prepare(inputs, files, data, Unset::Refused, &mut sources, &mut diagnostics).map(|(template, base)| {
            let mut evaluated = builds::evaluate(inputs, &template, &base, catalog, &mut diagnostics);
            evaluated.sensitive.clone_from(&base.sensitive);
            evaluated.description.clone_from(&template.description);
            evaluated
        });
    diagnostics.dedup();
    Loaded::new(evaluated, diagnostics, sources)
}
