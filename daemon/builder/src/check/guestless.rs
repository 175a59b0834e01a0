//! Owns one rule of whole builds: a provisioner that works in the guest needs a source with a way into one.

use kiln_template::{Diagnostic, Diagnostics, EvaluatedBuild, Options};

use crate::provisioners;

/// Complains about each provisioner that needs a guest where the source has no communicator.
pub(super) fn check(build: &EvaluatedBuild, source: &Options, diagnostics: &mut Diagnostics) {
    let reason = if build.source_type == "file" {
        "makes a file and has no guest"
    } else if source.string("communicator") == Some("none") {
        "has communicator = \"none\""
    } else {
        return;
    };
    let name = &build.name;
    for provisioner in build.provisioners.iter().chain(&build.cleanup_provisioner) {
        let component = &provisioner.component;
        if !provisioners::needs_guest(&component.kind) {
            continue;
        }
        let detail =
            format!("The provisioner {:?} works in the guest, but the source {name:?} {reason}.", component.kind);
        let way_in = if build.source_type == "file" { "" } else { "set communicator = \"ssh\" in the source, " };
        let hint = format!(
            "{way_in}leave the source out by the provisioner's `except`, or use shell-local, which runs on this machine"
        );
        diagnostics.push(Diagnostic::error("Provisioner without a guest", detail).at(component.span).hint(hint));
    }
}
