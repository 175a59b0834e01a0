//! The names that an attestation will say, as far as they are known before a build: who learns only after hours that a name holds a secret has
//! built for nothing.

use std::path::Path;

use kiln_template::{Generated, PostProcessor};

use crate::built::PlannedBuild;
use crate::generated;
use crate::plan::SourcePlan;
use crate::sources;

/// Options of post-processors that name the file which the ones behind it get.
const OUTPUTS: [(&str, &str); 2] = [("compress", "output"), ("vagrant", "output")];

/// Each name with the option that gives it.
pub(crate) fn of(planned: &PlannedBuild) -> Vec<(String, String)> {
    let source = match &planned.plan.source {
        SourcePlan::File(plan) => Some(("target".to_owned(), file_name(&plan.target))),
        plan => sources::machine(plan).map(|builder| ("vm_name".to_owned(), builder.guest().vm_name.to_owned())),
    };
    let mut names: Vec<(String, String)> = Vec::new();
    for sequence in &planned.build.post_processors {
        let Some(end) = sequence.iter().position(is_provenance) else { continue };
        let (before, from) = sequence.split_at(end);
        // The nearest that makes a file of its own names it; where none does, the builder has.
        match before.iter().rev().find_map(output) {
            Some(found) => names.extend(found),
            None => names.extend(source.clone()),
        }
        names.extend(from.iter().filter(|one| is_provenance(one)).filter_map(|one| text(one, "build_type")));
    }
    names.sort();
    names.dedup();
    names
}

fn is_provenance(one: &PostProcessor) -> bool {
    one.component.kind == "provenance"
}

/// What the post-processor makes instead of what it gets: its name, where that is known; nothing when it makes nothing.
fn output(one: &PostProcessor) -> Option<Option<(String, String)>> {
    if one.component.kind == "artifice" {
        return Some(None);
    }
    let (_, option) = OUTPUTS.iter().find(|(kind, _)| *kind == one.component.kind)?;
    Some(text(one, option).map(|(option, path)| (option, file_name(Path::new(&path)))))
}

/// An option's text as far as it stands in the template; what the build will put into it is not known.
fn text(one: &PostProcessor, option: &str) -> Option<(String, String)> {
    // What is wrong with them has been said.
    let (options, _) = one.component.decode_partly(&generated::names());
    let text = options.string(option).filter(|text| !text.contains(Generated::UNKNOWN))?;
    Some((format!("{} of {}", option, one.component.kind), text.to_owned()))
}

/// What of a path an attestation says.
fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
