//! Owns what is checked of `hcp_packer_registry` blocks, which do nothing here.

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::syntax::ast::Body;

/// Checks the name of a bucket of HCP Packer.
pub(super) fn check_bucket(name: &str, body: &Body, diagnostics: &mut Diagnostics) {
    let fits = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !fits || !(3..=36).contains(&name.len()) {
        let detail = format!("A bucket_name has 3 to 36 letters, digits and hyphens, not {name:?}.");
        let span = body.attribute("bucket_name").map(|attribute| attribute.value.span);
        diagnostics.push(Diagnostic::error("Invalid bucket_name", detail).at_maybe(span));
    }
}
