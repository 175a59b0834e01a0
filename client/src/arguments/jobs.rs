//! What is asked of jobs: lists, what they say, their end, their questions, their screens. Doc comments are the help.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use kiln_protocol::JobState;

use super::values::go_bool;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct JobsArguments {
    #[command(subcommand)]
    pub(crate) command: Option<JobsCommand>,
    /// List finished looks at images (`kiln image`), too
    #[arg(long)]
    pub(crate) all: bool,
    /// Number of jobs to list at most; those that are not over come first
    #[arg(long, value_name = "number", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// List jobs in these states only: queued, starting, running, cancelling, succeeded, failed, cancelled
    #[arg(long, value_name = "a,b", value_delimiter = ',', value_parser = state)]
    pub(crate) status: Vec<JobState>,
    /// List jobs that were submitted since then: 90s, 30m, 2h, 3d, 1w ago, or a date (2026-01-31), or a time (RFC 3339)
    #[arg(long, value_name = "when", value_parser = since)]
    pub(crate) since: Option<Timestamp>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobsCommand {
    /// Show a job: what it is, and the steps of its builds with their times
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// The job, or the beginning of its id
        #[arg(value_name = "job")]
        job: String,
    },
    /// Remove jobs that are over, with all that they said; what they built stays
    Rm {
        /// The jobs, or the beginnings of their ids
        #[arg(value_name = "job", required = true)]
        jobs: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AnswerArguments {
    /// The job, or the beginning of its id
    #[arg(value_name = "job")]
    pub(crate) job: String,
    /// The answer; before it the question's name or its build, when the job asks several
    #[arg(value_names = ["question", "answer"], num_args = 0..=2)]
    pub(crate) words: Vec<String>,
}

/// How output looks.
#[derive(Debug, Args)]
pub(crate) struct ViewFlags {
    /// Use colours; the default is to do so on a terminal
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) color: Option<bool>,
    /// Put the time in front of each message of a build
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) timestamp_ui: bool,
    /// Print the job's events, one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AttachArguments {
    #[command(flatten)]
    pub(crate) view: ViewFlags,
    /// The job, or the beginning of its id
    #[arg(value_name = "job")]
    pub(crate) job: String,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    #[command(flatten)]
    pub(crate) view: ViewFlags,
    /// Go on until the job is over
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// The job, or the beginning of its id
    #[arg(value_name = "job")]
    pub(crate) job: String,
}

#[derive(Debug, Args)]
pub(crate) struct CancelArguments {
    /// Kill the job's worker and clean up after it, instead of asking it to stop
    #[arg(long)]
    pub(crate) now: bool,
    /// Return when the job is over and cleaned up
    #[arg(long)]
    pub(crate) wait: bool,
    /// The job, or the beginning of its id
    #[arg(value_name = "job")]
    pub(crate) job: String,
}

#[derive(Debug, Args)]
pub(crate) struct ScreenArguments {
    /// Where to save the picture (PNG); `-` for standard output
    #[arg(long, short, value_name = "path")]
    pub(crate) output: Option<PathBuf>,
    /// The build whose guest to show, when there are several
    #[arg(long, value_name = "name")]
    pub(crate) build: Option<String>,
    /// The job, or the beginning of its id
    #[arg(value_name = "job")]
    pub(crate) job: String,
}

fn state(text: &str) -> Result<JobState, String> {
    let known = JobState::ALL.into_iter().find(|state| state.as_str() == text);
    known.ok_or_else(|| format!("one of {}", JobState::ALL.map(JobState::as_str).join(", ")))
}

fn since(text: &str) -> Result<Timestamp, String> {
    let now = Timestamp::now();
    if let Some(ago) = duration(text) {
        return now.checked_sub(ago).map_err(|_| "a time that is too long ago".to_owned());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    // Midnight where the person sits.
    let midnight = text.parse::<Date>().ok().and_then(|date| date.to_zoned(TimeZone::system()).ok());
    let expected = "neither a time ago (30m, 2h, 3d) nor a date (2026-01-31) nor a time (2026-01-31T12:00:00Z)";
    midnight.map(|time| time.timestamp()).ok_or_else(|| expected.to_owned())
}

fn duration(text: &str) -> Option<SignedDuration> {
    let unit = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // A larger number is a time, too: one before all others.
    let number = digits.parse::<u32>().map_or(i64::MAX, i64::from);
    Some(SignedDuration::from_secs(number.saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_ago_or_at() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("2h", 7200), ("3d", 259_200), ("1w", 604_800)] {
            let ago = since(text).unwrap().duration_until(Timestamp::now()).as_secs();
            assert!((seconds..seconds + 60).contains(&ago), "{text}: {ago}");
        }
        assert_eq!(since("2026-01-31T12:00:00Z").unwrap().to_string(), "2026-01-31T12:00:00Z");
        let midnight = since("2026-01-31").unwrap().to_zoned(TimeZone::system());
        assert_eq!(midnight.strftime("%F %T").to_string(), "2026-01-31 00:00:00");
        for text in ["", "d", "-1d", "1.5h", "yesterday", "2026-13-01", "99999999999s", "ä", "4294967295w"] {
            assert!(since(text).is_err(), "{text}");
        }
        for text in ["99999999999d", "99999999999s", "4294967295w", "99999999999999999999999w"] {
            assert_eq!(since(text).unwrap_err(), "a time that is too long ago", "{text}");
        }
        assert_eq!(state("failed"), Ok(JobState::Failed));
        assert!(state("broken").unwrap_err().starts_with("one of queued, "));
    }
}
