//! Owns the reading of texts into the source map.

use std::path::Path;

use super::files::Files;
use crate::diagnostics::source_map::{FileId, SourceMap, Span};
use crate::diagnostics::{Diagnostic, Diagnostics};

/// Reads a text into the source map. Text that is not UTF-8 is reported and read with replacement characters.
pub(crate) fn read_text(
    cwd: &Path,
    path: &Path,
    files: &dyn Files,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) -> Option<FileId> {
    let bytes = match files.read(&cwd.join(path)) {
        Ok(bytes) => bytes,
        Err(error) => {
            let detail = match error.kind() {
                std::io::ErrorKind::NotFound => format!("There is no file {}.", path.display()),
                _ => format!("{} cannot be read: {error}.", path.display()),
            };
            diagnostics.push(Diagnostic::error("Failed to read file", detail));
            return None;
        }
    };
    let name = path.display().to_string();
    match String::from_utf8(bytes) {
        Ok(text) => Some(sources.add(name, text)),
        Err(error) => {
            let start = u32::try_from(error.utf8_error().valid_up_to()).unwrap_or(u32::MAX);
            let file = sources.add(name, String::from_utf8_lossy(error.as_bytes()).into_owned());
            let detail = "Template files must be UTF-8. Make sure that the editor saves the file in this encoding.";
            let span = Span { file, start, end: start.saturating_add(3) };
            let diagnostic = Diagnostic::error("Invalid character encoding", detail).at(span);
            // Of a file in another encoding nothing can be understood.
            if error.as_bytes().contains(&0) {
                diagnostics.push(diagnostic.hint("the file seems to be UTF-16"));
                return None;
            }
            diagnostics.push(diagnostic);
            Some(file)
        }
    }
}
