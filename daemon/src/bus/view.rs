//! What a job, its builds, their images and its questions look like on the bus.

use std::path::Path;

use jiff::Timestamp;
use kiln_protocol::{Artifact, BuildState, BuildSummary, JobState, Question};

use super::place::Place;
use super::value::{Value, Values};
use crate::jobs::{JobCounts, Observed};
use crate::version::VERSION;

/// A progress that nobody knows.
const UNKNOWN: f64 = -1.0;

/// Optional abilities, for programs that meet several versions.
const FEATURES: [&str; 4] = ["events", "images", "log", "screenshot"];

/// Describes the manager.
pub(super) fn manager(counts: JobCounts) -> Values {
    let count = |count: usize| Value::Small(u32::try_from(count).unwrap_or(u32::MAX));
    Values::from([
        ("Version", Value::from(VERSION)),
        ("Features", Value::Texts(FEATURES.map(str::to_owned).to_vec())),
        ("NRunning", count(counts.running)),
        ("NQueued", count(counts.queued)),
    ])
}

/// Describes a job; its builds and questions are at the places given.
pub(super) fn job(observed: &Observed, builds: &[Place], waiting: Option<&Place>) -> Values {
    let job = &observed.job;
    let running = || job.builds.iter().filter(|build| build.state == BuildState::Running);
    // Of several at work the first is told; each has an object of its own.
    let at_work = running().next().or(job.builds.last());
    let (step, index, count) = at_work.map_or((String::new(), 0, 0), steps);
    let shares: Vec<f64> = running().filter_map(|build| observed.transfers.get(&build.name).copied()).collect();
    #[expect(clippy::cast_precision_loss, reason = "a job has few builds")]
    let progress = match (job.state, shares.len()) {
        (JobState::Succeeded, _) => 1.0,
        (_, 0) => UNKNOWN,
        (_, transfers) => shares.iter().sum::<f64>() / transfers as f64,
    };
    let why = job.error.clone().or_else(|| job.builds.iter().find_map(|build| build.error.clone()));
    Values::from([
        ("Id", Value::from(job.id.as_str())),
        ("Owner", Value::Small(observed.owner)),
        ("Kind", Value::from(job.kind.as_str())),
        ("Template", Value::from(job.template.as_str())),
        ("CreatedAt", time(Some(&job.created_at))),
        ("StartedAt", time(job.started_at.as_deref())),
        ("FinishedAt", time(job.finished_at.as_deref())),
        ("State", Value::from(job.state.as_str())),
        ("Step", Value::from(step)),
        ("StepIndex", Value::Small(index)),
        ("StepCount", Value::Small(count)),
        ("Progress", Value::Share(progress)),
        ("Cancelable", Value::Truth(!job.state.is_over() && job.state != JobState::Cancelling)),
        ("Waiting", Value::Path(waiting.map_or_else(|| "/".to_owned(), Place::to_string))),
        ("ExitCode", Value::Signed(job.exit_code.map_or(-1, i32::from))),
        ("Error", Value::from(why.filter(|_| job.state == JobState::Failed).unwrap_or_default())),
        ("Builds", Value::Paths(builds.iter().map(Place::to_string).collect())),
    ])
}

/// Describes a build; its images are at the places given.
pub(super) fn build(observed: &Observed, build: &BuildSummary, images: &[Place]) -> Values {
    let (step, index, count) = steps(build);
    let transfer = observed.transfers.get(&build.name).copied().filter(|_| build.state == BuildState::Running);
    let done = if build.state == BuildState::Succeeded { 1.0 } else { UNKNOWN };
    let state = match build.state {
        BuildState::Running => "running",
        BuildState::Succeeded => "succeeded",
        BuildState::Failed => "failed",
        BuildState::Cancelled => "cancelled",
    };
    let files = build.artifacts.iter().flat_map(|artifact| artifact.files.iter().cloned());
    Values::from([
        ("Job", Value::Path(Place::Job(observed.job.id.clone()).to_string())),
        ("Name", Value::from(build.name.as_str())),
        ("State", Value::from(state)),
        ("Step", Value::from(step)),
        ("StepIndex", Value::Small(index)),
        ("StepCount", Value::Small(count)),
        ("Progress", Value::Share(transfer.unwrap_or(done))),
        ("Error", Value::from(build.error.clone().unwrap_or_default())),
        ("Files", Value::Texts(files.collect())),
        ("Images", Value::Paths(images.iter().map(Place::to_string).collect())),
    ])
}

/// Describes what the build of this number has left, as its worker has told it: no file is looked at.
pub(super) fn image(observed: &Observed, build: usize, artifact: &Artifact) -> Values {
    let job = &observed.job.id;
    // Where the job was submitted is known here alone.
    let directory = Path::new(&observed.job.working_directory);
    let files = artifact.files.iter().map(|file| directory.join(file).to_string_lossy().into_owned());
    Values::from([
        ("Build", Value::Path(Place::Build(job.clone(), build).to_string())),
        ("Builder", Value::from(artifact.builder_id.as_str())),
        ("Description", Value::from(artifact.text.clone().unwrap_or_default())),
        ("Files", Value::Texts(files.collect())),
        ("Id", Value::from(artifact.id.as_str())),
        ("Job", Value::Path(Place::Job(job.clone()).to_string())),
        ("Owner", Value::Small(observed.owner)),
    ])
}

/// Returns how many bytes the files of an image are, as [`image`] names them.
pub(super) fn size_of_files(observed: &Observed, artifact: &Artifact) -> usize {
    let before = observed.job.working_directory.len() + 1;
    let size = |file: &String| size_of::<String>() + file.len() + if file.starts_with('/') { 0 } else { before };
    artifact.files.iter().map(size).fold(0, usize::saturating_add)
}

/// Describes a question.
pub(super) fn prompt(observed: &Observed, question: &Question) -> Values {
    let job = &observed.job;
    let asks = |build: &BuildSummary| question.build.as_ref() == Some(&build.name);
    let build = job.builds.iter().position(asks).map(|number| Place::Build(job.id.clone(), number).to_string());
    let choices = question.choices.iter().map(|choice| (choice.key.clone(), choice.label.clone()));
    Values::from([
        ("Job", Value::Path(Place::Job(job.id.clone()).to_string())),
        ("Build", Value::Path(build.unwrap_or_else(|| "/".to_owned()))),
        ("Text", Value::from(question.text.as_str())),
        ("Choices", Value::Pairs(choices.collect())),
        ("Default", Value::from(question.default.clone().unwrap_or_default())),
        ("Guest", Value::from(question.guest.clone().unwrap_or_default())),
        ("AskedAt", time(Some(&question.asked_at))),
    ])
}

/// Returns a build's step, its number, and how many there are; 0 while that is not known.
fn steps(build: &BuildSummary) -> (String, u32, u32) {
    let index = build.steps.iter().map(|step| step.number).max().unwrap_or(0);
    let count = if build.state == BuildState::Running { 0 } else { index };
    (build.step.clone().unwrap_or_default(), index, count)
}

/// Returns a time as microseconds since 1970, as systemd has them; 0 when there is none.
pub(super) fn time(text: Option<&str>) -> Value {
    let time = text.and_then(|text| text.parse::<Timestamp>().ok());
    Value::Large(time.and_then(|time| u64::try_from(time.as_microsecond()).ok()).unwrap_or(0))
}
