//! Owns what is checked of `hcp_packer_registry` blocks, which do nothing here.

use super::meta::Meta;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::shape::expect_only;
use crate::language::syntax::ast::Body;

/// Checks a block inside a build block.
pub(super) fn check(block: &Meta<'_>, diagnostics: &mut Diagnostics) {
    const ARGUMENTS: &[&str] = &["bucket_name", "description", "labels", "bucket_labels", "build_labels", "channels"];
    expect_only(block.body, ARGUMENTS, &[], diagnostics);
    if let Some(name) = block.text("bucket_name", diagnostics) {
        check_bucket(&name, block.body, diagnostics);
    }
}

/// Checks the name of a bucket of HCP Packer.
pub(super) fn check_bucket(name: &str, body: &Body, diagnostics: &mut Diagnostics) {
    let fits = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !fits || !(3..=36).contains(&name.len()) {
        let detail = format!("A bucket_name has 3 to 36 letters, digits and hyphens, not {name:?}.");
        let span = body.attribute("bucket_name").map(|attribute| attribute.value.span);
        diagnostics.push(Diagnostic::error("Invalid bucket_name", detail).at_maybe(span));
    }
}
