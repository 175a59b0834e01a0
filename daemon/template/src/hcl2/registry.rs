//! Owns what is checked of `hcp_packer_registry` blocks, which do nothing here, and that their authors are told.

use super::meta::Meta;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::shape::expect_only;
use crate::language::syntax::ast::{Block, Body};

/// Checks a block inside a build block.
pub(super) fn check(block: &Meta<'_>, diagnostics: &mut Diagnostics) {
    const ARGUMENTS: &[&str] = &["bucket_name", "description", "labels", "bucket_labels", "build_labels", "channels"];
    expect_only(block.body, ARGUMENTS, &[], diagnostics);
    if let Some(name) = block.text("bucket_name", diagnostics) {
        check_bucket(&name, block.body, diagnostics);
    }
}

/// Warns that a block has no effect, which its author learns nowhere else.
pub(super) fn without_effect(block: &Block) -> Diagnostic {
    let detail =
        "Kiln builds on this machine and has no part in HCP Packer: the block is checked, and nothing is published.";
    Diagnostic::warning("hcp_packer_registry has no effect", detail).at(block.header).hint(
        "the post-processors manifest and provenance record what was built; the data source kiln-image finds it again",
    )
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
