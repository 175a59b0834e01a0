//! Post-processors: what is done with an artifact, in sequences that each start from what the builder left.

pub(crate) mod amazon_import;
pub(crate) mod artifice;
pub(crate) mod checksum;
pub(crate) mod compress;
mod context;
pub(crate) mod export;
pub(crate) mod kiln_image;
mod main_file;
pub(crate) mod manifest;
mod new_file;
pub(crate) mod provenance;
mod remote;
pub(crate) mod vagrant;
pub(crate) mod vagrant_registry;
mod verify;

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use kiln_template::PostProcessor;

use self::amazon_import::Import;
use self::context::Processed;
pub(crate) use self::context::{PostProcessContext, Verifier};
use self::remote::{By, Remote as _};
pub(crate) use self::remote::{forget, has_credentials};
use self::vagrant_registry::{Boxes, Service};
use crate::artifact::Artifact;
use crate::cleanup::CleanupId;
use crate::error::StepError;
use crate::generated::{self, Renderer};
use crate::option_values::OptionValues;
use crate::scripts::ShellLocal;
use crate::step::Step;

/// The artifacts that remain, or the errors of the sequences that failed (with what remains all the same).
pub(crate) struct Outcome {
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) errors: Vec<String>,
    /// True when it ended because the job was cancelled.
    pub(crate) cancelled: bool,
    /// The first of the artifacts is the builder's.
    pub(crate) built_stays: bool,
}

/// Runs all sequences over the builder's artifact, by Packer's rules of what is kept (packer.md 1.12).
///
/// One rule is ours: what the builder left goes only when all sequences have run and none has failed. Packer deletes an image that took
/// hours because a checksum could not be written, and takes it from under the sequences that follow.
pub(crate) async fn run_all(
    context: &PostProcessContext,
    sequences: &[Vec<PostProcessor>],
    built: Artifact,
) -> Outcome {
    let mut outcome = Outcome { artifacts: Vec::new(), errors: Vec::new(), cancelled: false, built_stays: false };
    let mut fate = Fate { keep: sequences.is_empty(), ..Fate::default() };
    let mut number = 0;
    for sequence in sequences {
        let mut current = built.clone();
        for (index, post_processor) in sequence.iter().enumerate() {
            number += 1;
            let tries = AtomicU32::new(0);
            // What an earlier step could not give back is not this one's.
            let before = context.build.newest_clean_up();
            let work = || async {
                let is_again = tries.fetch_add(1, Ordering::Relaxed) > 0;
                let done = if is_again && context.build.has_clean_ups_after(before) {
                    try_after_another(context, before, post_processor, &current).await
                } else {
                    run_one(context, post_processor, &current).await
                };
                if done.is_err() {
                    // What it made elsewhere and could not finish: the next try is not to find it, and nothing is to take from it what it finds.
                    context.build.clean_up_after(before).await;
                }
                done.map_err(|error| match context.build.place("post-processor", &post_processor.component) {
                    Some(place) => error.at(place),
                    None => error,
                })
            };
            let step = Step::post_process(number, &post_processor.component.kind);
            let outputs = |processed: &Processed| Some(processed.artifact.output());
            let processed = match context.build.run_step(step, outputs, work).await {
                Ok(processed) => processed,
                Err(error) => {
                    // A cancellation does not let it come to its own end.
                    if error.is_cancelled() {
                        context.build.clean_up(None).await;
                    }
                    outcome.cancelled |= error.is_cancelled();
                    let failure = format!("Post-processor failed: {error}");
                    // Who was asked about it has been told of it.
                    if error.answer().is_none() && !error.is_cancelled() {
                        context.build.error(&failure);
                        error.explanation().iter().for_each(|line| context.build.error(line));
                    }
                    outcome.errors.push(failure);
                    break;
                }
            };
            let keep = keeps_input(&processed, post_processor.keep_input_artifact);
            let holds_built = current.shares_a_file(&built);
            if holds_built {
                fate.wanted |= post_processor.keep_input_artifact == Some(true);
            }
            if index == 0 {
                fate.keep |= keep;
            } else if keep {
                outcome.artifacts.push(current);
            } else {
                fate.dropped |= holds_built;
                if let Err(error) = current.destroy_beside(&built) {
                    outcome.errors.push(StepError::wrap(error).to_string());
                }
            }
            current = processed.artifact;
            if index + 1 == sequence.len() {
                outcome.artifacts.push(current);
                break;
            }
        }
        if outcome.cancelled {
            break;
        }
    }
    if !outcome.errors.is_empty() || fate.stays() {
        outcome.artifacts.insert(0, built);
        outcome.built_stays = true;
    } else if let Err(error) = built.destroy() {
        outcome.errors.push(StepError::wrap(error).to_string());
    }
    outcome
}

/// What the sequences say of the builder's artifact.
#[derive(Debug, Default)]
struct Fate {
    /// The first post-processor of one leaves it.
    keep: bool,
    /// A later one, which was handed its files on, does not.
    dropped: bool,
    /// The template asks for it by `keep_input_artifact = true`.
    wanted: bool,
}

impl Fate {
    fn stays(&self) -> bool {
        self.wanted || (self.keep && !self.dropped)
    }
}

fn keeps_input(processed: &Processed, wanted: Option<bool>) -> bool {
    match wanted {
        Some(false) if processed.keep_input && processed.force_keep => true,
        Some(wanted) => wanted,
        None => processed.keep_input,
    }
}

/// Gives back what a service has of a build, by the note that the build has left; one line for each thing that went.
pub(crate) async fn give_back(note: &Path) -> Result<Vec<String>, String> {
    match remote::service_of(note)?.as_deref() {
        None => Ok(Vec::new()),
        Some(Import::SERVICE) => remote::give_back::<Import>(note, By::Sweep).await,
        Some(Boxes::SERVICE) => remote::give_back::<Boxes>(note, By::Sweep).await,
        Some(other) => Err(format!("{} is of the service {other:?}, which this version does not know", note.display())),
    }
}

/// [`run_one`] when what the try before has made elsewhere could not be removed: that comes first. On top of it this try would publish what
/// is given back later.
async fn try_after_another(
    context: &PostProcessContext,
    before: CleanupId,
    post_processor: &PostProcessor,
    input: &Artifact,
) -> Result<Processed, StepError> {
    context.build.clean_up_after(before).await;
    if context.build.has_clean_ups_after(before) {
        return Err(StepError::new("what the try before has made is still there, and cannot be removed")
            .with_hint("remove what is named above, or see that its service can be reached, and retry"));
    }
    run_one(context, post_processor, input).await
}

async fn run_one(
    context: &PostProcessContext,
    post_processor: &PostProcessor,
    input: &Artifact,
) -> Result<Processed, StepError> {
    let component = &post_processor.component;
    let kind = component.kind.as_str();
    let name = post_processor.name.as_deref().unwrap_or("");
    let suffix = if name == kind { String::new() } else { format!(" (type {kind})") };
    context.build.say(format!("Running post-processor: {name}{suffix}"));
    let values = generated::values(&context.data);
    let (options, diagnostics) = component.decode(&values);
    let Some(decoded) = options.filter(|_| !diagnostics.has_errors()) else {
        return Err(StepError::new(generated::flatten(&diagnostics)));
    };
    let renderer = Renderer::new(component, &values);
    let options = OptionValues::new(&decoded, component.schema());
    let context = &context.speaking_as(kind);
    match kind {
        "manifest" => manifest::run(context, options, input).await,
        "checksum" => checksum::run(context, options, &renderer, input).await,
        "artifice" => artifice::run(context, options, input),
        "compress" => compress::run(context, options, &renderer, input).await,
        "verify" => verify::run(context, post_processor, options, input).await,
        "kiln-image" => kiln_image::run(context, options, input).await,
        "export" => export::run(context, options, input).await,
        "amazon-import" => amazon_import::run(context, options, input).await,
        "provenance" => provenance::run(context, options, input).await,
        "vagrant" => vagrant::run(context, options, &decoded, &renderer, input).await,
        "vagrant-cloud" => vagrant_registry::run(context, Service::Cloud, options, &renderer, input).await,
        "vagrant-registry" | "hcp-vagrant-registry" => {
            vagrant_registry::run(context, Service::Hcp, options, &renderer, input).await
        }
        "shell-local" => shell_local(context, options, &renderer, input).await,
        other => Err(StepError::new(format!("there is no {other} post-processor in this version of Kiln"))),
    }
}

/// Removes the credentials from a note that a build has left.
pub(crate) fn forget_credentials(note: &Path) -> Result<(), String> {
    match remote::service_of(note)?.as_deref() {
        Some(Import::SERVICE) => remote::forget_credentials::<Import>(note),
        Some(Boxes::SERVICE) => remote::forget_credentials::<Boxes>(note),
        _ => Ok(()),
    }
}

async fn shell_local(
    context: &PostProcessContext,
    options: OptionValues<'_>,
    renderer: &Renderer,
    input: &Artifact,
) -> Result<Processed, StepError> {
    let (build, data) = (&context.build, &*context.data);
    ShellLocal { build, data, renderer }.run(options).await?;
    Ok(Processed { artifact: input.clone(), keep_input: true, force_keep: true })
}
