//! Finds exports of one build that would write the same file differently, or a file that is the machine's own.

use std::path::{Path, PathBuf};

use kiln_disk_formats::package::MachineDescription;
use kiln_disk_formats::{Output, OutputKind};
use kiln_template::{Component, Diagnostic, Diagnostics, EvaluatedBuild, Options, Span};

use super::shared_output::place;
use crate::generated;
use crate::machine_build::MachineBuilder;
use crate::option_values::OptionValues;
use crate::post_processors::export;

/// Options that say which files an export writes, and how.
const OPTIONS: [&str; 4] = ["formats", "format_options", "output_directory", "file_name"];

/// A file that an export of the build writes.
struct Export {
    place: PathBuf,
    kind: OutputKind,
    span: Span,
}

/// Complains about each export that would be handed another one's file as its own, and about those in the way of the machine's
/// disks. What is known only while the build runs is looked at then.
pub(super) fn check(build: &EvaluatedBuild, builder: &dyn MachineBuilder, diagnostics: &mut Diagnostics) {
    let is_export = |kind: &str| kind == export::NAME;
    if !build.post_processors.iter().flatten().any(|part| is_export(&part.component.kind)) {
        return;
    }
    let machine = builder.describe();
    let own = own_files(builder);
    let mut known: Vec<Export> = Vec::new();
    for sequence in &build.post_processors {
        // Where the files of the artifact lie that the next post-processor is given.
        let mut beside = Some(builder.guest().output_directory.to_owned());
        for part in sequence.iter().map(|part| &part.component) {
            match part.kind.as_str() {
                // They hand on what they are given.
                "manifest" | "shell-local" => {}
                kind if is_export(kind) => {
                    let (options, _) = part.decode_partly(&generated::names());
                    let outputs = outputs(part, &options, beside.as_deref(), &machine);
                    let span = options.span_of("format_options");
                    let package = outputs.iter().flatten().find(|output| output.kind.row().is_package);
                    if let Some(package) = package.filter(|_| !builder.is_pc()) {
                        diagnostics.push(no_package(&package.path, options.span_of("formats")));
                    }
                    for Output { path, kind } in outputs.iter().flatten() {
                        compare(
                            Export { place: place(path), kind: kind.clone(), span },
                            path,
                            &own,
                            &mut known,
                            diagnostics,
                        );
                    }
                    let first = outputs.as_ref().and_then(|outputs| outputs.first()?.path.parent());
                    beside = first.map(Path::to_owned);
                }
                _ => beside = None,
            }
        }
    }
}

/// The error of an export of a machine that packages have no words for.
fn no_package(path: &Path, span: Span) -> Diagnostic {
    let path = path.display();
    let detail = format!("{path} would describe a PC, with an x86 processor, and this machine has another.");
    Diagnostic::error("No package for this machine", detail).at(span).hint("export its disk: qcow2, raw, vmdk, …")
}

/// What the export will write, as far as that is known.
fn outputs(
    part: &Component,
    options: &Options,
    beside: Option<&Path>,
    machine: &MachineDescription,
) -> Option<Vec<Output>> {
    if OPTIONS.iter().any(|name| options.is_unusable(name)) {
        return None;
    }
    let values = OptionValues::new(options, part.schema());
    let beside = match (beside, values.given("output_directory")) {
        (Some(beside), _) => beside,
        // What is given counts.
        (None, Some(_)) => Path::new(""),
        (None, None) => return None,
    };
    // What is wrong with the options has been said.
    export::outputs(values, beside, machine).ok()
}

/// The files that the machine has, and the one that its disk is written to.
fn own_files(builder: &dyn MachineBuilder) -> Vec<PathBuf> {
    let directory = builder.guest().output_directory;
    let written = builder.output(&builder.describe()).ok().flatten().map(|output| output.path);
    let files = builder.files().into_iter().map(|name| directory.join(name));
    files.chain(written).map(|path| place(&path)).collect()
}

fn compare(new: Export, path: &Path, own: &[PathBuf], known: &mut Vec<Export>, diagnostics: &mut Diagnostics) {
    const HINT: &str = "give the export a file_name or an output_directory of its own";
    if own.contains(&new.place) {
        let detail = format!("{} is a file of the machine itself.", path.display());
        diagnostics.push(Diagnostic::error("Export in place of the build's own file", detail).at(new.span).hint(HINT));
        return;
    }
    match known.iter().find(|other| other.place == new.place) {
        // One file serves both.
        Some(other) if other.kind == new.kind => {}
        Some(other) => {
            let detail = format!("{} would be written twice, with different options.", path.display());
            let diagnostic = Diagnostic::error("Two exports, one file", detail).at(new.span);
            diagnostics.push(diagnostic.related(other.span, "the other export").hint(HINT));
        }
        None => known.push(new),
    }
}
