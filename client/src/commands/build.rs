//! `kiln build`: what the shell has becomes a submission.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use kiln_protocol::{Job, JobKind, JobOptions, JobState, JobSubmission, MAX_REQUEST_BYTES};
use rustix::fs::Mode;

use super::context::Context;
use super::follow::Follow;
use super::note::note;
use super::prompt::Prompts;
use super::signals::Signals;
use super::waiting;
use crate::api::Client;
use crate::arguments::{BuildArguments, TemplateFlags};
use crate::error::CommandError;
use crate::terminal;

/// Is said before somebody is asked for the password with which a job is not confined.
const UNCONFINED: &str = "the template wants what leaves its guest, and that wants an administrator's password here: with it the build is \
                          submitted once more. Ctrl-C leaves it; members of the group kiln-builders are not asked";

pub(super) async fn build(context: Context, arguments: BuildArguments) -> Result<u8, CommandError> {
    let is_hcl2 = arguments.template_flags.config_type.as_deref() == Some("hcl2");
    let options = JobOptions {
        force: arguments.force,
        on_error: arguments.on_error,
        // Packer takes anything below one for no limit.
        parallel_builds: u32::try_from(arguments.parallel_builds).unwrap_or(0),
        debug: arguments.debug,
        warn_on_undeclared_variables: arguments.warn_on_undeclared_var,
        ..template_options(arguments.template_flags)?
    };
    let mut submission = submission(JobKind::Build, arguments.template, options)?;
    if submission.template_text.is_some() && is_hcl2 {
        // The name says which language it is.
        submission.template = HCL2_ON_STANDARD_INPUT.to_owned();
    }
    let job = submit(&context.client, &submission).await?;
    if arguments.detach {
        writeln!(terminal::stdout(), "{}", job.id)?;
        note(&format!("`kiln attach {}` shows it, `kiln cancel {}` stops it", job.id, job.id));
        return Ok(0);
    }
    let prompts = if context.machine_readable { Prompts::Default } else { Prompts::OrDefault };
    let follow = |job: Job| {
        let queued = job.state == JobState::Queued;
        if queued {
            note(&waiting::notice(&job));
        }
        let mut follow = Follow::new(context.clone(), job.id);
        follow.queued = queued;
        follow.colour = arguments.color;
        follow.timestamps = arguments.timestamp_ui;
        follow.json = arguments.json;
        follow.debug = arguments.debug;
        follow.prompts = prompts;
        follow.run_to_end()
    };
    // Nobody was asked for a password yet: most templates want nothing of this machine, and which do shows in the job.
    let followed = follow(job).await?;
    // Raw lines are of one job.
    if !followed.is_confined || arguments.json || !context.client.may_ask() {
        return Ok(followed.exit_code);
    }
    note(UNCONFINED);
    let mut signals = Signals::new()?;
    let job = tokio::select! {
        job = submit_asking(&context.client, &submission) => job?,
        _ = signals.next() => return Ok(followed.exit_code),
    };
    follow(job).await.map(|followed| followed.exit_code)
}

fn template_options(flags: TemplateFlags) -> Result<JobOptions, CommandError> {
    let text = |path: PathBuf| text(path, "the variable file");
    Ok(JobOptions {
        variables: flags.var.into_iter().map(|variable| variable.0).collect(),
        variable_files: flags.var_file.into_iter().map(text).collect::<Result<_, _>>()?,
        only: flags.only.into_iter().filter(|pattern| !pattern.is_empty()).collect(),
        except: flags.except.into_iter().filter(|pattern| !pattern.is_empty()).collect(),
        ..JobOptions::default()
    })
}

pub(super) fn submission(kind: JobKind, template: PathBuf, options: JobOptions) -> Result<JobSubmission, CommandError> {
    let directory = std::env::current_dir()
        .map_err(|error| CommandError::new(format!("cannot find out the working directory: {error}")))?;
    let template_text = if template == Path::new("-") { Some(read_template()?) } else { None };
    Ok(JobSubmission {
        kind,
        template: text(template, "the template")?,
        template_text,
        working_directory: text(directory, "the working directory")?,
        environment: environment(),
        umask: Some(umask()),
        image: None,
        options,
    })
}

/// Submits; once more when the answer was lost. The key makes sure that there is one job all the same.
pub(super) async fn submit(client: &Client, submission: &JobSubmission) -> Result<Job, CommandError> {
    let key = random_key()?;
    match client.submit(submission, &key).await {
        Err(error) if error.is_lost_connection() => Ok(client.submit(submission, &key).await?),
        other => Ok(other?),
    }
}

/// The same, with somebody asked for a password.
async fn submit_asking(client: &Client, submission: &JobSubmission) -> Result<Job, CommandError> {
    let key = random_key()?;
    match client.submit_asking(submission, &key).await {
        Err(error) if error.is_lost_connection() => Ok(client.submit_asking(submission, &key).await?),
        other => Ok(other?),
    }
}

fn read_template() -> Result<String, CommandError> {
    let mut text = String::new();
    io::stdin()
        .lock()
        .take(MAX_REQUEST_BYTES as u64)
        .read_to_string(&mut text)
        .map_err(|error| CommandError::new(format!("cannot read the template from standard input: {error}")))?;
    Ok(text)
}

/// What a template is called that came from standard input and is HCL2.
pub(super) const HCL2_ON_STANDARD_INPUT: &str = "<standard input>.pkr.hcl";

/// Returns the environment, without what JSON cannot carry.
fn environment() -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => {
                environment.insert(name, value);
            }
            (Ok(name), Err(_)) => {
                note(&format!("warning: the value of {name} is not UTF-8; the build does not see it"));
            }
            (Err(name), _) => note(&format!("warning: the variable {name:?} is not UTF-8; the build does not see it")),
        }
    }
    environment
}

/// Returns the file mode creation mask. It can only be read by setting it; nothing else runs in this process yet.
fn umask() -> u32 {
    let mask = rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::process::umask(mask);
    mask.bits()
}

fn random_key() -> Result<String, CommandError> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn text(path: PathBuf, what: &str) -> Result<String, CommandError> {
    path.into_os_string()
        .into_string()
        .map_err(|path| CommandError::new(format!("{what} {path:?} has a name that is not UTF-8")))
}
