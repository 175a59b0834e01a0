//! The export post-processor, Kiln's own: the artifact's disk in further formats.
//!
//! Where it heads a sequence of a machine's build, the builder's one pass over the guest's disk has written its
//! files already ([`planned`]); what is left to do here is to hand them on.

use std::path::{Path, PathBuf};

use kiln_disk_formats::package::MachineDescription;
use kiln_disk_formats::{Format, FormatOptions, OpenPolicy, Output, detect};
use kiln_template::PostProcessor;

use super::context::{PostProcessContext, Processed};
use crate::artifact::{Artifact, Ownership};
use crate::build_data::BuildData;
use crate::error::StepError;
use crate::export::{self, GuestDisk};
use crate::generated;
use crate::option_values::OptionValues;

/// Its name in templates.
pub(crate) const NAME: &str = "export";

/// The outputs that the exports at the heads of `sequences` will want from the guest's disk.
pub(crate) fn planned(
    sequences: &[Vec<PostProcessor>],
    data: &BuildData,
    directory: &Path,
    machine: &MachineDescription,
) -> Result<Vec<Output>, StepError> {
    let mut outputs: Vec<Output> = Vec::new();
    for post_processor in sequences.iter().filter_map(|sequence| sequence.first()) {
        if post_processor.component.kind != NAME {
            continue;
        }
        let (options, _) = post_processor.component.decode(&generated::values(data));
        // What is wrong with the options is said when the post-processor runs.
        let Some(options) = options else { continue };
        let values = OptionValues::new(&options, post_processor.component.schema());
        for output in self::outputs(values, directory, machine)? {
            match outputs.iter().find(|other| other.path == output.path) {
                Some(other) if other.kind != output.kind => return Err(written_differently(&output.path)),
                Some(_) => {}
                None => outputs.push(output),
            }
        }
    }
    Ok(outputs)
}

/// What the check of the template says when it knows the path.
fn written_differently(path: &Path) -> StepError {
    StepError::new(format!("two exports would write {} with different options", path.display()))
        .with_hint("give one of them a file_name or an output_directory of its own")
}

/// What an export with these options writes; `beside` is where the files of its artifact lie.
pub(crate) fn outputs(
    options: OptionValues<'_>,
    beside: &Path,
    machine: &MachineDescription,
) -> Result<Vec<Output>, StepError> {
    let directory = options.given("output_directory").map_or(beside, Path::new);
    let name = options.given("file_name").unwrap_or(&machine.name);
    let given = options.map("format_options");
    let mut given = FormatOptions::new(given.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let words = options.texts("formats");
    words.iter().map(|word| export::output(word, directory, name, machine, &mut given)).collect()
}

pub(crate) async fn run(
    context: &PostProcessContext,
    options: OptionValues<'_>,
    input: &Artifact,
) -> Result<Processed, StepError> {
    let machine = context
        .machine
        .clone()
        .unwrap_or_else(|| MachineDescription { name: context.source_name.clone(), ..MachineDescription::default() });
    let beside = input.files.first().and_then(|file| file.parent()).unwrap_or(Path::new(".")).to_owned();
    let outputs = outputs(options, &beside, &machine)?;
    // Each output that the builder's pass has written already.
    let written = |output: &Output| context.exported.iter().find(|exported| exported.output.path == output.path);
    if let Some(output) =
        outputs.iter().find(|output| written(output).is_some_and(|other| other.output.kind != output.kind))
    {
        return Err(written_differently(&output.path));
    }
    let missing: Vec<Output> =
        outputs.iter().filter(|output| written(output).is_none() || !output.path.exists()).cloned().collect();
    let mut made = Vec::new();
    if !missing.is_empty() {
        let disk = disk_of(input)?;
        for loss in export::losses(&missing, &machine) {
            context.build.error(format!("Warning: {loss}"));
        }
        let files: Vec<PathBuf> = export::files(&missing, std::slice::from_ref(&disk))?.into_iter().flatten().collect();
        made = export::write(&context.build, vec![disk], missing, &files, context.build.settings.force).await?;
    }
    let made = |output: &Output| made.iter().find(|files| files.first() == Some(&output.path));
    let files = outputs.iter().filter_map(|output| made(output).or_else(|| Some(&written(output)?.files)));
    let files: Vec<PathBuf> = files.flatten().cloned().collect();
    for file in &files {
        context.build.say(format!("Exported {}", file.display()));
    }
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let artifact = Artifact {
        builder_id: "kiln.post-processor.export".to_owned(),
        id: machine.name,
        text: format!("Exported files: {}", names.join(", ")),
        ownership: Ownership::Files(files.clone()),
        files,
    };
    Ok(Processed { artifact, keep_input: true, force_keep: false })
}

/// The first file of the artifact that is a disk image.
fn disk_of(input: &Artifact) -> Result<GuestDisk, StepError> {
    for path in &input.files {
        if let Ok(format) = detect(path)
            && (format != Format::Raw
                || path.extension().is_none_or(|suffix| {
                    suffix.to_str().is_some_and(|suffix| Format::from_name(suffix) == Some(Format::Raw))
                }))
        {
            return Ok(GuestDisk { path: path.clone(), format, policy: OpenPolicy::deny() });
        }
    }
    Err(StepError::new("the artifact has no disk image that could be exported")
        .with_hint("put the export post-processor first, right after a builder that leaves a disk"))
}
