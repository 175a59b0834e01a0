//! `kiln jobs` and what stands behind it: `rm`, `show`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use kiln_protocol::{BuildState, Job, JobKind};

use super::answer::how_to_answer;
use super::build::HCL2_ON_STANDARD_INPUT;
use super::clock;
use super::context::{Context, find_job};
use super::first_line::first_line;
use super::note::note;
use super::prompt::GUEST;
use super::{steps, waiting};
use crate::arguments::{JobsArguments, JobsCommand};
use crate::error::CommandError;
use crate::{terminal, visible};

pub(super) async fn jobs(context: Context, arguments: JobsArguments) -> Result<u8, CommandError> {
    match arguments.command {
        Some(JobsCommand::Rm { jobs }) => return remove(context, &jobs).await,
        Some(JobsCommand::Show { json, job }) => return show(context, &job, json).await,
        None => {}
    }
    let JobsArguments { limit, all, status, since, .. } = &arguments;
    let list = context.client.jobs_in(*limit, *all, status, *since).await?;
    if arguments.json {
        terminal::print_json(&list)?;
    } else if list.jobs.is_empty() {
        note(if status.is_empty() && since.is_none() { "no jobs yet" } else { "no such jobs" });
    } else {
        write!(terminal::stdout(), "{}", table(&list.jobs, &clock::time_zone(), Timestamp::now()))?;
    }
    Ok(0)
}

/// Shows one job: its line, what matters below it, and the steps of its builds.
async fn show(context: Context, job: &str, json: bool) -> Result<u8, CommandError> {
    let id = find_job(&context.client, job).await?;
    let job = context.client.job(&id).await?;
    if json {
        terminal::print_json(&job)?;
        return Ok(0);
    }
    let (zone, now) = (clock::time_zone(), Timestamp::now());
    let lines = table(std::slice::from_ref(&job), &zone, now);
    write!(terminal::stdout(), "{lines}{}", steps::of(&job, &zone, now))?;
    Ok(0)
}

/// Removes each of the jobs that can be removed, and tells of the others.
async fn remove(context: Context, jobs: &[String]) -> Result<u8, CommandError> {
    let mut failed = 0;
    for text in jobs {
        let removed = match find_job(&context.client, text).await {
            Ok(id) => context.client.remove(&id).await.map_err(CommandError::from).map(|()| id),
            Err(error) => Err(error),
        };
        match removed {
            Ok(id) => note(&format!("job {id} is removed")),
            Err(error) => {
                failed += 1;
                error.print(&mut terminal::stderr())?;
            }
        }
    }
    Ok(u8::from(failed > 0))
}

fn table(jobs: &[Job], zone: &TimeZone, now: Timestamp) -> String {
    let mut text =
        format!("{:10}  {:10}  {:16}  {:>4}  {:>6}  {}\n", "ID", "STATE", "SUBMITTED", "AGE", "TOOK", "WHAT");
    for job in jobs {
        let created = job.created_at.parse::<Timestamp>().ok();
        let submitted = created.map_or_else(
            || job.created_at.clone(),
            |time| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string(),
        );
        let age = created.map_or_else(String::new, |time| clock::age(time.duration_until(now).as_secs()));
        let (id, state, took, what) = (&job.id, job.state, took(job, now), visible::name(&what(job)).into_owned());
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{id:10}  {state:10}  {submitted:16}  {age:>4}  {took:>6}  {what}");
        for line in details(job) {
            let _ = writeln!(text, "{:10}  {}", "", visible::name(&line));
        }
    }
    text
}

/// Says how long the job has been running, or ran.
fn took(job: &Job, now: Timestamp) -> String {
    let time = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
    match (time(&job.started_at), time(&job.finished_at)) {
        (Some(started), Some(finished)) => clock::span(started.duration_until(finished).as_secs()),
        (Some(started), None) => clock::span(started.duration_until(now).as_secs()),
        (None, _) => "-".to_owned(),
    }
}

/// Says in a few words what the job does.
fn what(job: &Job) -> String {
    let mut text = match job.kind {
        JobKind::Build => template(job),
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
    text
}

/// Names a template; one that is the working directory, or a directory above it, has no name but that directory's.
fn template(job: &Job) -> String {
    if job.template == "-" || job.template == HCL2_ON_STANDARD_INPUT {
        return "standard input".to_owned();
    }
    let mut directory = PathBuf::from(&job.working_directory);
    for component in Path::new(&job.template).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(directory.pop()),
            _ => return job.template.clone(),
        }
    }
    directory.to_string_lossy().into_owned()
}

/// Returns what stands below a job's line: what it waits for, why it failed, and what it asks.
fn details(job: &Job) -> Vec<String> {
    let mut lines: Vec<_> = waiting::holders(job).into_iter().collect();
    lines.extend(job.error.iter().map(|error| format!("error: {}", first_line(error))));
    for build in &job.builds {
        if let Some(error) = &build.error {
            lines.push(format!("{}: {}", build.name, first_line(error)));
        }
    }
    lines.extend(job.notes.iter().map(|text| format!("note: {text}")));
    for question in &job.questions {
        let build = question.build.as_ref().map_or_else(String::new, |build| format!("{build}: "));
        lines.push(format!("asks: {build}{}", first_line(&question.text)));
        lines.extend(question.guest.iter().map(|guest| format!("{GUEST}{guest}")));
        lines.push(format!("answer: `{}`", how_to_answer(&job.id, question, job.questions.len() > 1)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_is_a_directory_without_a_name_is_called_as_the_directory() {
        for (typed, shown) in [
            (".", "/w/web"),
            ("./", "/w/web"),
            ("..", "/w"),
            ("../..", "/"),
            ("-", "standard input"),
            ("<standard input>.pkr.hcl", "standard input"),
            ("./a.pkr.hcl", "./a.pkr.hcl"),
            ("../web", "../web"),
            ("/", "/"),
            ("sub", "sub"),
        ] {
            let job = serde_json::json!({"id": "aaaaaaaaaa", "kind": "build", "template": typed, "working_directory": "/w/web",
                "state": "failed", "created_at": "2026-01-02T03:04:05.678Z", "last_event": 0, "builds": []});
            assert_eq!(what(&serde_json::from_value(job).unwrap()), shown, "{typed}");
        }
    }

    #[test]
    fn a_job_is_a_line_and_what_matters_stands_below_it() {
        let jobs: Vec<Job> = serde_json::from_str(
            r#"[{"id":"aaaaaaaaaa","kind":"build","template":"web.pkr.hcl","working_directory":"/w","state":"running",
                 "created_at":"2026-01-02T03:04:05.678Z","started_at":"2026-01-02T03:04:07.000Z","last_event":3,
                 "builds":[{"name":"qemu.web","state":"running","step":"provision","artifacts":[]}],
                 "questions":[{"prompt":"1","build":"qemu.web","text":"[c] or [a]?","guest":"ssh -p 2222 root@127.0.0.1",
                    "choices":[{"key":"c","label":"c"},{"key":"a","label":"a"}],"asked_at":"2026-01-02T03:04:09Z"}]},
                {"id":"bbbbbbbbbb","kind":"build","template":"db\u001b[2J.pkr.hcl","working_directory":"/w","state":"queued",
                 "queue_position":1,"waits_for":[{"job":"aaaaaaaaaa","asks":true}],"created_at":"2026-01-02T03:04:06.000Z","last_event":0,"builds":[]},
                {"id":"cccccccccc","kind":"build","template":"c.pkr.hcl","working_directory":"/w","state":"failed",
                 "created_at":"2026-01-01T03:04:06.000Z","started_at":"2026-01-01T03:04:06.000Z",
                 "finished_at":"2026-01-01T03:09:04.000Z","last_event":9,"error":"the worker died",
                 "notes":["the last record of its steps was cut short"],
                 "builds":[{"name":"qemu.c","state":"failed","error":"no SSH\nafter 10 m","artifacts":[]}]}]"#,
        )
        .unwrap();
        let expected = "\
ID          STATE       SUBMITTED          AGE    TOOK  WHAT
aaaaaaaaaa  running     2026-01-01 22:04    1m   1m01s  web.pkr.hcl, qemu.web: provision
            asks: qemu.web: [c] or [a]?
            The guest is reached by: ssh -p 2222 root@127.0.0.1
            answer: `kiln answer aaaaaaaaaa c|a`
bbbbbbbbbb  queued      2026-01-01 22:04    1m       -  db^[[2J.pkr.hcl (1 before it)
            waits for: aaaaaaaaaa (asks something: `kiln answer aaaaaaaaaa`)
cccccccccc  failed      2025-12-31 22:04    1d   4m58s  c.pkr.hcl
            error: the worker died
            qemu.c: no SSH
            note: the last record of its steps was cut short
";
        let zone = TimeZone::get("America/New_York").expect("the system's zone files");
        assert_eq!(table(&jobs, &zone, "2026-01-02T03:05:08Z".parse().unwrap()), expected);
    }
}
