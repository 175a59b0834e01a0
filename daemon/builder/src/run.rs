//! One build from start to end: its source, what to do when it fails, its post-processors.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use kiln_hypervisors::qemu::Architecture;

use crate::abandon;
use crate::attested_names;
use crate::backends::Backends;
use crate::build_data::BuildInputs;
use crate::build_inputs;
use crate::built::{Built, PlannedBuild};
use crate::context::{BuildContext, OnError};
use crate::error::{Answer, BuildError, StepError};
use crate::event::Event;
use crate::machine_build;
use crate::plan::SourcePlan;
use crate::plan_key::PlanKey;
use crate::post_processors::{self, PostProcessContext, provenance};
use crate::sources;
use crate::verify_build::VerifyBuild;

/// Why a build failed, in one line.
#[derive(Debug)]
pub(crate) struct BuildFailure {
    pub(crate) text: String,
    pub(crate) cancelled: bool,
}

/// Runs the build at place `index` of its job.
pub(crate) async fn run_build(
    index: usize,
    planned: &PlannedBuild,
    context: &BuildContext,
    backends: &Backends,
) -> Result<(), BuildFailure> {
    if context.cancel().is_cancelled() {
        return Err(BuildFailure { text: "Build was cancelled.".to_owned(), cancelled: true });
    }
    if let Err(error) = begin(planned, context).await {
        let text = error.to_string();
        context.error(&text);
        return Err(BuildFailure { text, cancelled: false });
    }
    let mut inputs = build_inputs::of(planned);
    tokio::select! {
        digests = build_inputs::digests(planned, &inputs.files) => inputs.digests = digests,
        () = context.cancel().cancelled() => {}
    }
    provenance::warn_of_names(context, &attested_names::of(planned));
    let built = match run_source(index, planned, context, backends).await {
        Ok(built) => built,
        Err(error) => return Err(give_up(error, planned, context).await),
    };
    context.clean_up(None).await;
    let _held = built.held;
    let process = PostProcessContext {
        build: context.clone(),
        data: Arc::new(built.data),
        source_name: planned.build.source_name.clone(),
        source_type: planned.build.source_type.clone(),
        machine: built.machine,
        is_pc: sources::machine(&planned.plan.source).is_none_or(|builder| builder.is_pc()),
        architecture: architecture(&planned.plan.source).to_owned(),
        driver: driver(&planned.plan.source),
        inputs: Arc::new(BuildInputs { digests: inputs.digests, ..build_inputs::of(planned) }),
        exported: built.exported,
        disks: sources::machine(&planned.plan.source).map(|builder| builder.disks()).unwrap_or_default(),
        verifier: Arc::new(VerifyBuild {
            index,
            build: planned.build.clone(),
            plan: planned.plan.clone(),
            context: context.clone(),
            backends: backends.clone(),
            count: AtomicU32::new(0),
        }),
    };
    let outcome = post_processors::run_all(&process, &planned.build.post_processors, built.artifact).await;
    for artifact in &outcome.artifacts {
        context.emit(Event::Artifact {
            build: context.build.to_string(),
            builder_id: artifact.builder_id.clone(),
            id: artifact.id.clone(),
            text: artifact.text.clone(),
            files: artifact.files.clone(),
        });
    }
    match outcome.errors.as_slice() {
        [] => Ok(()),
        errors => {
            let list: Vec<String> = errors.iter().map(|error| format!("* {error}")).collect();
            let mut text = format!("{} error(s) occurred:\n\n{}", errors.len(), list.join("\n"));
            let built = outcome.artifacts.first().filter(|_| outcome.built_stays);
            if let Some(kept) = built.and_then(|built| tell_kept(&built.files, context)) {
                text.push_str(&format!("\n\n{kept}"));
            }
            Err(BuildFailure { text, cancelled: outcome.cancelled })
        }
    }
}

/// Says where the image is that a failed post-processor has left, and how to go on with it; returns the first of this. Files that one has moved
/// or removed are left out.
fn tell_kept(files: &[PathBuf], context: &BuildContext) -> Option<String> {
    let (here, gone): (Vec<&PathBuf>, Vec<&PathBuf>) = files.iter().partition(|path| path.exists());
    let first = here.first()?.display();
    let more = match here.len() - 1 {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    if let Some(missing) = gone.first() {
        let kept = format!("Of what was built is kept: {first}{more}; {} is no longer there", missing.display());
        context.error(&kept);
        return Some(kept);
    }
    let kept = format!("What was built is whole, and kept: {first}{more}");
    context.error(&kept);
    let names: Vec<String> = here.iter().map(|path| format!("{:?}", path.display().to_string())).collect();
    context.error(format!(
        "hint: post-processors run again without the build where a template has a source \"null\" and, in front of them, \
         post-processor \"artifice\" {{ files = [{}] }} (docs/chains.md)",
        names.join(", ")
    ));
    Some(kept)
}

/// The guest's architecture in Go's words, which are Vagrant's.
fn architecture(source: &SourcePlan) -> &'static str {
    let of_host = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "i386",
        other => other,
    };
    match source {
        SourcePlan::Qemu(plan) => match Architecture::of_program(&plan.machine.binary) {
            Architecture::X86 => "amd64",
            Architecture::Aarch64 => "arm64",
            Architecture::Riscv64 => "riscv64",
            Architecture::Other => of_host,
        },
        _ => of_host,
    }
}

/// Whether libvirt is to emulate the guest: that KVM did not work here says nothing of where a box is run.
fn driver(source: &SourcePlan) -> &'static str {
    match source {
        SourcePlan::Qemu(plan) => match plan.machine.accelerator.as_deref() {
            Some("none" | "tcg" | "hvf") => "qemu",
            _ => "kvm",
        },
        _ => "kvm",
    }
}

/// Tells plans apart, also in another process.
pub(crate) fn plan_digest(planned: &PlannedBuild, key: &PlanKey) -> Result<String, StepError> {
    let digest = planned.plan.digest(key);
    let digest = digest.map_err(|error| StepError::new("the plan cannot be written down").with_source(error))?;
    Ok(digest.to_string())
}

/// Notes which plan the steps that follow belong to.
async fn begin(planned: &PlannedBuild, context: &BuildContext) -> Result<(), StepError> {
    let digest = plan_digest(planned, &context.settings.plan_key)?;
    let begun = context.chain.begin(digest, &context.settings.run_uuid).await;
    begun.map_err(|error| {
        StepError::new(format!("cannot note the build in {}", context.chain.path().display())).with_source(error)
    })
}

async fn run_source(
    index: usize,
    planned: &PlannedBuild,
    context: &BuildContext,
    backends: &Backends,
) -> Result<Built, BuildError> {
    match &planned.plan.source {
        SourcePlan::File(plan) => sources::file::run(plan, planned, context).await,
        SourcePlan::Null(plan) => sources::null::run(plan, planned, context, backends).await,
        source => match sources::machine(source) {
            Some(builder) => machine_build::run(index, builder, planned, context, backends).await,
            None => {
                let kind = &planned.build.source_type;
                let error =
                    StepError::new(format!("{kind}: this version of Kiln can check this builder but not run it yet"));
                Err(BuildError::new("start", error))
            }
        },
    }
}

/// Does what `-on-error` says, and turns the error into the build's last word.
async fn give_up(error: BuildError, planned: &PlannedBuild, context: &BuildContext) -> BuildFailure {
    let mut failure = BuildFailure { text: error.to_string(), cancelled: error.is_cancelled() };
    if failure.cancelled {
        // Who cancels wants the machine's resources back, whatever -on-error says about failures.
        context.clean_up(None).await;
        return failure;
    }
    let answer = match error.answer() {
        None if context.settings.on_error == OnError::Ask => Some(context.ask_to_give_up(&error).await),
        None => {
            context.tell(&error);
            None
        }
        answered => answered,
    };
    match (answer, context.settings.on_error) {
        (Some(Answer::CleanUp), _) | (None, OnError::Cleanup | OnError::Ask) => {
            context.clean_up(Some(error.step)).await;
        }
        (Some(Answer::Abort), _) | (None, OnError::Abort | OnError::RunCleanupProvisioner) => {
            context.error(format!("Step {:?} failed, aborting...", error.step));
            let disks = sources::machine(&planned.plan.source).map(|builder| builder.disks()).unwrap_or_default();
            if let Some(place) = abandon::abandon(&disks, sources::qemu::can_begin_with, context).await {
                failure.text.push_str(&format!("\n\nWhat was made is kept: {place}"));
            }
        }
    }
    failure
}
