//! What is submitted, and the checks that it has to pass, by whichever way it came.

use kiln_protocol::{ImageTask, JobKind, JobSubmission, MAX_IMAGE_ITEMS};

use crate::event_log::{KILN_MAX_LOG_MIB, limit_of};

/// Longest idempotency key, in bytes.
const MAX_KEY_BYTES: usize = 200;

/// Longest path that a process can use (`PATH_MAX`, limits.h(0p)). What is submitted of them is in every list of jobs.
pub(super) const MAX_PATH_BYTES: usize = 4096;

/// A job as it is submitted.
#[derive(Clone, Debug)]
pub struct Submission {
    /// What is asked for.
    pub request: JobSubmission,
    /// Makes it repeatable: the same key and digest give the same job.
    pub key: Option<String>,
    /// Digest of the request as it came, to tell a repetition from a mistake.
    pub digest: String,
}

/// Reports that a submission cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct InvalidSubmission {
    /// What is wrong with it.
    pub detail: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
}

/// Cuts what stands where a path is submitted and is none (what a task on images is about names many of them), or is from a time without a limit.
pub(super) fn cut_path(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_PATH_BYTES));
    text.shrink_to_fit();
    text
}

impl InvalidSubmission {
    fn new(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), hint: None }
    }
}

impl Submission {
    /// Refuses what cannot be a job.
    pub(super) fn check(&self) -> Result<(), InvalidSubmission> {
        if let Some(key) = &self.key
            && !((1..=MAX_KEY_BYTES).contains(&key.len())
                && key.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')))
        {
            let detail = format!("the idempotency key is not 1 to {MAX_KEY_BYTES} printable characters");
            return Err(InvalidSubmission::new(detail));
        }
        check(&self.request)
    }
}

/// Refuses what no process can be started with.
fn check(submission: &JobSubmission) -> Result<(), InvalidSubmission> {
    let invalid = |detail: &str| Err(InvalidSubmission::new(detail));
    match (submission.kind, &submission.image) {
        (JobKind::Convert, Some(ImageTask::Convert(request))) => {
            let counts =
                [request.inputs.len(), request.outputs.len(), request.options.len(), request.machine.nics.len()];
            if counts.into_iter().any(|count| count > MAX_IMAGE_ITEMS) {
                return invalid("the conversion has too many inputs, outputs or options");
            }
            if request.inputs.is_empty() || request.outputs.is_empty() {
                return invalid("the conversion has no input or no output");
            }
        }
        (JobKind::Image, Some(task)) if !matches!(task, ImageTask::Convert(_)) => {}
        (JobKind::Build, None) if submission.template.is_empty() => {
            return invalid("`template` is empty");
        }
        (JobKind::Build, None) => {}
        _ => return invalid("`image` does not fit the `kind`"),
    }
    if let Some(image) = &submission.image
        && image.paths().any(|path| path.is_empty() || path.contains('\0'))
    {
        return invalid("a path is empty or holds a zero byte");
    }
    if !submission.working_directory.starts_with('/') {
        return invalid("`working_directory` is not an absolute path");
    }
    let names = submission.environment.keys().any(|name| name.is_empty() || name.contains(['=', '\0']));
    if names || submission.environment.values().any(|value| value.contains('\0')) {
        return invalid("`environment` holds a name or a value that no process can have");
    }
    if let Err(error) = limit_of(submission.environment.get(KILN_MAX_LOG_MIB).map(String::as_str)) {
        let hint = format!("unset {KILN_MAX_LOG_MIB}: a job's log is then kept to 64 MiB");
        return Err(InvalidSubmission { detail: error.to_string(), hint: Some(hint) });
    }
    for (name, path) in [("template", &submission.template), ("working_directory", &submission.working_directory)] {
        if path.len() > MAX_PATH_BYTES {
            let detail = format!("`{name}` has {} bytes; a path has {MAX_PATH_BYTES} at most", path.len());
            return Err(InvalidSubmission::new(detail));
        }
    }
    if submission.working_directory.contains('\0') || submission.template.contains('\0') {
        return invalid("a path holds a zero byte");
    }
    Ok(())
}
