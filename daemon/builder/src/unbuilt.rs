//! What this version can check but not do yet: told before anything is started, never by silence.

use kiln_template::{Component, ComponentType, Diagnostic, Diagnostics};

use crate::built::PlannedBuild;
use crate::catalog::{self, definitions};
use crate::plan::SourcePlan;
use crate::verify_build::other_builder;

/// Returns an error for each component of the builds that cannot run.
pub(crate) fn complaints(builds: &[PlannedBuild]) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    for PlannedBuild { build, plan, .. } in builds {
        complain(&build.source, ComponentType::Builder, &mut diagnostics);
        let provisioners = build.provisioners.iter().chain(&build.cleanup_provisioner);
        for provisioner in provisioners {
            complain(&provisioner.component, ComponentType::Provisioner, &mut diagnostics);
        }
        for post_processor in build.post_processors.iter().flatten() {
            if post_processor.component.kind == "verify" && !matches!(plan.source, SourcePlan::Qemu(_)) {
                let error = other_builder(&build.source_type);
                let diagnostic = Diagnostic::error("No image that can be verified", format!("{error}."));
                diagnostics
                    .push(diagnostic.at(post_processor.component.span).hint_maybe(error.hint().map(str::to_owned)));
            }
            complain(&post_processor.component, ComponentType::PostProcessor, &mut diagnostics);
        }
    }
    diagnostics.dedup();
    diagnostics
}

fn complain(component: &Component, kind: ComponentType, diagnostics: &mut Diagnostics) {
    let runs = catalog::definition(kind, &component.kind).is_some_and(|definition| definition.runs);
    if runs {
        return;
    }
    let noun = kind.noun();
    let mut running: Vec<&str> = definitions()
        .filter(|definition| definition.component == kind && definition.runs)
        .map(|definition| definition.schema.kind)
        .collect();
    running.sort_unstable();
    let detail = format!(
        "{}: this version of Kiln can check this {noun} but not run it yet. It runs: {}.",
        component.kind,
        running.join(", ")
    );
    let diagnostic = Diagnostic::error(format!("The {noun} {:?} is not built yet", component.kind), detail);
    let diagnostic = diagnostic.at(component.span);
    diagnostics.push(match kind {
        ComponentType::Builder => diagnostic.hint("-only=NAME builds the others"),
        _ => diagnostic,
    });
}
