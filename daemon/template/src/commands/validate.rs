//! Owns the checks of templates that are not loaded: of their syntax, and of their structure.

use std::sync::Arc;

use crate::diagnostics::Diagnostics;
use crate::diagnostics::source_map::SourceMap;
use crate::language::syntax::{json_body, parse_body};
use crate::load::is_hcl2;
use crate::world::files::Files;
use crate::world::inputs::Inputs;
use crate::{hcl2, legacy};

/// Checks a template's text and structure: nothing is evaluated, and variables may be without values.
#[must_use]
pub fn check_template_syntax(inputs: &Inputs, files: &Arc<dyn Files>) -> (Diagnostics, SourceMap) {
    let mut sources = SourceMap::new();
    let mut diagnostics = Diagnostics::new();
    if is_hcl2(inputs, &**files) {
        hcl2::check_structure(inputs, files, &mut sources, &mut diagnostics);
    } else {
        legacy::read(inputs, &**files, &mut sources, &mut diagnostics);
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
        json_body::parse_template(&mut sources, file, &mut diagnostics);
    } else {
        parse_body(&mut sources, file, &mut diagnostics);
    }
    (diagnostics, sources)
}
