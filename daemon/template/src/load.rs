//! Owns [`load`]: from paths and flags to builds.

use std::sync::Arc;

use crate::world::data::DataMode;
use crate::diagnostics::Diagnostics;
use crate::components::evaluated::Loaded;
use crate::world::files::Files;
use crate::world::inputs::Inputs;
use crate::components::schema::Catalog;
use crate::diagnostics::source_map::SourceMap;

/// Reads, resolves and evaluates a template.
///
/// Never fails outright: whatever is wrong is in the diagnostics of the answer.
#[must_use]
pub fn load(inputs: &Inputs, files: Arc<dyn Files>, catalog: &dyn Catalog) -> Loaded {
    load_with(inputs, files, catalog, DataMode::Refuse)
}

/// As [`load`], saying also what is done about data sources.
#[must_use]
pub fn load_with(inputs: &Inputs, files: Arc<dyn Files>, catalog: &dyn Catalog, data: DataMode) -> Loaded {
    if is_hcl2(inputs, &*files) {
        crate::hcl2::load(inputs, files, catalog, data)
    } else {
        crate::legacy::load(inputs, &*files, catalog, data)
    }
}

/// Reports whether a path names an HCL2 template: a folder, or a file with one of the two endings.
#[must_use]
pub fn is_hcl2(inputs: &Inputs, files: &dyn Files) -> bool {
    let name = inputs.path.to_string_lossy();
    name.ends_with(".pkr.hcl") || name.ends_with(".pkr.json") || files.is_dir(&inputs.cwd.join(&inputs.path))
}

/// Checks a template's text and structure: nothing is evaluated, and variables may be without values.
#[must_use]
pub fn check_template_syntax(inputs: &Inputs, files: &Arc<dyn Files>) -> (Diagnostics, SourceMap) {
    let mut sources = SourceMap::new();
    let mut diagnostics = Diagnostics::new();
    if is_hcl2(inputs, &**files) {
        crate::hcl2::check_structure(inputs, files, &mut sources, &mut diagnostics);
    } else {
        crate::legacy::read(inputs, &**files, &mut sources, &mut diagnostics);
    }
    diagnostics.dedup();
    (diagnostics, sources)
}

/// Checks only the syntax of an HCL2 text (JSON syntax when the name ends in `.json`).
#[must_use]
pub fn check_syntax(name: &str, text: &str) -> (Diagnostics, SourceMap) {
    let mut sources = SourceMap::new();
    let file = sources.add(name, text);
    let mut diagnostics = Diagnostics::new();
    if name.ends_with(".json") {
        crate::language::syntax::json::parse_template(&mut sources, file, &mut diagnostics);
    } else {
        crate::language::syntax::parse_body(&mut sources, file, &mut diagnostics);
    }
    (diagnostics, sources)
}
