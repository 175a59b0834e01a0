//! `kiln jobs`.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use kiln_protocol::{BuildState, Job, JobKind};

use super::Context;
use crate::arguments::JobsArguments;
use crate::error::CommandError;

pub(super) async fn jobs(context: Context, arguments: JobsArguments) -> Result<u8, CommandError> {
    let list = context.client.jobs(arguments.limit, arguments.all).await?;
    let mut stdout = io::stdout().lock();
    if arguments.json {
        writeln!(stdout, "{}", serde_json::to_string_pretty(&list).map_err(CommandError::new)?)?;
    } else if list.jobs.is_empty() {
        super::note("no jobs yet");
    } else {
        write!(stdout, "{}", table(&list.jobs, &TimeZone::system()))?;
    }
    Ok(0)
}

fn table(jobs: &[Job], zone: &TimeZone) -> String {
    let mut text = format!("{:10}  {:10}  {:16}  {}\n", "ID", "STATE", "SUBMITTED", "WHAT");
    for job in jobs {
        let submitted = job.created_at.parse::<Timestamp>();
        let submitted = submitted.map_or_else(
            |_| job.created_at.clone(),
            |time| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string(),
        );
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{:10}  {:10}  {submitted:16}  {}", job.id, job.state, what(job));
    }
    text
}

/// Says in a few words what the job does, or what became of it.
fn what(job: &Job) -> String {
    let mut text = match job.kind {
        JobKind::Build => job.template.clone(),
        kind => format!("{} {}", kind.as_str(), job.template),
    };
    match job.queue_position {
        Some(0) => text.push_str(" (next)"),
        Some(ahead) => text.push_str(&format!(" ({ahead} before it)")),
        None => {}
    }
    let running = job.builds.iter().filter(|build| build.state == BuildState::Running && !job.state.is_over());
    for build in running {
        text.push_str(&format!(", {}", build.name));
        if let Some(step) = &build.step {
            text.push_str(&format!(": {step}"));
        }
    }
    if let Some(error) = &job.error {
        text.push_str(&format!(" ({error})"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_a_line() {
        let jobs: Vec<Job> = serde_json::from_str(
            r#"[{"id":"aaaaaaaaaa","kind":"build","template":"web.pkr.hcl","working_directory":"/w","state":"running",
                 "created_at":"2026-01-02T03:04:05.678Z","last_event":3,
                 "builds":[{"name":"qemu.web","state":"running","step":"connect","artifacts":[]}]},
                {"id":"bbbbbbbbbb","kind":"build","template":"db.pkr.hcl","working_directory":"/w","state":"queued",
                 "queue_position":1,"created_at":"2026-01-02T03:04:06.000Z","last_event":0,"builds":[]}]"#,
        )
        .unwrap();
        let expected = "\
ID          STATE       SUBMITTED         WHAT
aaaaaaaaaa  running     2026-01-02 03:04  web.pkr.hcl, qemu.web: connect
bbbbbbbbbb  queued      2026-01-02 03:04  db.pkr.hcl (1 before it)
";
        assert_eq!(table(&jobs, &TimeZone::UTC), expected);
    }
}
