//! Owns the reading of template and variable files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostics::source_map::{SourceMap, Span};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::go::path::clean;
use crate::language::syntax::ast::Body;
use crate::language::syntax::json_body;
use crate::language::syntax::parse_body;
use crate::world::files::Files;
use crate::world::inputs::Inputs;
use crate::world::read::read_text;

/// The bodies of a template.
pub(super) struct Found {
    /// The template's folder as it was given.
    pub(super) root: PathBuf,
    pub(super) bodies: Vec<Arc<Body>>,
    /// Automatic variable files, HCL before JSON, then those of `-var-file`.
    pub(super) variable_files: Vec<Body>,
    /// Whether a whole block of the template may have been lost to a syntax error, or a file.
    pub(super) torn: bool,
    /// Whether something of the variable files could not be read.
    pub(super) variables_torn: bool,
}

/// Reads everything; nothing when there is no template.
pub(super) fn read(
    inputs: &Inputs,
    files: &dyn Files,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) -> Option<Found> {
    let path = inputs.cwd.join(&inputs.path);
    let mut template_files = Vec::new();
    let mut automatic = Vec::new();
    let root = if files.is_dir(&path) {
        let listed = match files.list(&path) {
            Ok(listed) => listed,
            Err(error) => {
                let detail = format!("{} cannot be listed: {error}.", inputs.path.display());
                diagnostics.push(Diagnostic::error("Cannot read folder", detail));
                return None;
            }
        };
        let shown: Vec<PathBuf> = listed
            .iter()
            .filter(|file| !files.is_dir(file))
            .filter_map(|file| Some(inputs.path.join(file.file_name()?)))
            .collect();
        template_files.extend(with_suffix(&shown, ".pkr.hcl"));
        template_files.extend(with_suffix(&shown, ".pkr.json"));
        automatic.extend(with_suffix(&shown, ".auto.pkrvars.hcl"));
        automatic.extend(with_suffix(&shown, ".auto.pkrvars.json"));
        if template_files.is_empty() {
            let detail = format!("{} has no file that ends with .pkr.hcl or .pkr.json.", inputs.path.display());
            diagnostics.push(Diagnostic::error("Could not find any config file", detail));
            return None;
        }
        inputs.path.clone()
    } else {
        if !files.exists(&path) {
            // A symbolic link that leads back to itself is there all the same.
            if let Err(error) = files.read(&path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                let detail = format!("{} cannot be read: {error}.", inputs.path.display());
                diagnostics.push(Diagnostic::error("Cannot read file", detail));
                return None;
            }
            let detail = format!("There is no file {}.", inputs.path.display());
            diagnostics.push(
                Diagnostic::error("Template not found", detail)
                    .hint("name a .pkr.hcl file, a JSON template, or a folder with .pkr.hcl files"),
            );
            return None;
        }
        template_files.push(inputs.path.clone());
        match inputs.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        }
    };
    let mut found = Found { root, bodies: Vec::new(), variable_files: Vec::new(), torn: false, variables_torn: false };
    for file in template_files {
        if let Some(body) = read_body(&inputs.cwd, &file, Purpose::Template, files, sources, diagnostics) {
            found.torn |= body.torn;
            found.bodies.push(Arc::new(body));
        } else {
            found.torn = true;
        }
    }
    let mut told = Diagnostics::new();
    for file in automatic.iter().chain(&inputs.var_files) {
        let guessed = matches!(file.extension().and_then(|extension| extension.to_str()), Some("hcl" | "json"));
        if !guessed {
            let detail = format!(
                "The format of the variable file {} is not clear from its name, which must end with .hcl or .json.",
                file.display()
            );
            told.push(Diagnostic::error(format!("Could not guess format of {}", file.display()), detail));
            continue;
        }
        if let Some(body) = read_body(&inputs.cwd, file, Purpose::Variables, files, sources, &mut told) {
            found.variable_files.push(body);
        }
    }
    found.variables_torn = told.has_errors();
    diagnostics.extend(told);
    Some(found)
}

fn with_suffix(files: &[PathBuf], suffix: &str) -> Vec<PathBuf> {
    let matches = |file: &&PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().ends_with(suffix));
    files.iter().filter(matches).cloned().collect()
}

/// What a file is read as.
#[derive(Clone, Copy, PartialEq)]
enum Purpose {
    Template,
    Variables,
}

fn read_body(
    cwd: &Path,
    path: &Path,
    purpose: Purpose,
    files: &dyn Files,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) -> Option<Body> {
    let mut file = read_text(cwd, path, files, sources, diagnostics)?;
    if let Some(target) = link_text(cwd, path, &sources.get(file)?.text().clone(), files) {
        let detail = format!(
            "{} holds nothing but the path of another file, as git leaves a symbolic link where there are none. {} is \
             read in its place.",
            path.display(),
            target.display()
        );
        let whole = Span { file, start: 0, end: 0 };
        diagnostics.push(Diagnostic::warning("Symbolic link as a text", detail).at(whole));
        file = read_text(cwd, &target, files, sources, diagnostics)?;
    }
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    Some(match (is_json, purpose) {
        (false, _) => parse_body(sources, file, diagnostics),
        (true, Purpose::Template) => json_body::parse_template(sources, file, diagnostics),
        (true, Purpose::Variables) => json_body::parse_variables(sources, file, diagnostics),
    })
}

/// Returns the path that a text consists of, if it is that of a file of the same kind.
fn link_text(cwd: &Path, path: &Path, text: &str, files: &dyn Files) -> Option<PathBuf> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    if text.contains(['\n', '"', '=', '{', ' ']) || Path::new(text).extension()? != path.extension()? {
        return None;
    }
    let target = clean(&path.parent()?.join(text));
    (target != path && files.is_file(&cwd.join(&target))).then_some(target)
}
