//! What builds are doing, as far as their events tell. A pure function of events and of the time that is handed in.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use kiln_protocol::{Event, EventBody};

use super::line::{Row, Transfer};

/// Milliseconds after which a step or a wait is worth a line.
const LONG_MS: i64 = 2_000;

/// Milliseconds after which a transfer is.
const LONG_TRANSFER_MS: i64 = 500;

/// Milliseconds of a build's silence after which it is told what goes on.
const HEARTBEAT_MS: i64 = 30_000;

/// Milliseconds over which a rate is measured, and those without which it would say nothing.
const RATE_MS: i64 = 10_000;
const LEAST_RATE_MS: i64 = 1_000;

/// Part of the screen that lines may take: a third.
const SCREEN_PART: usize = 3;

/// What goes on, in the order in which it began.
#[derive(Default)]
pub(super) struct Activities {
    all: Vec<Activity>,
    /// When each build was heard last, or told of.
    heard: HashMap<Option<String>, Timestamp>,
}

struct Activity {
    build: Option<String>,
    what: String,
    since: Timestamp,
    kind: Kind,
}

enum Kind {
    /// A step of a build, which is told of when it says nothing more exact.
    Step,
    Wait {
        limit_ms: Option<i64>,
    },
    Transfer {
        done: u64,
        total: Option<u64>,
        /// When how much was done, over the last seconds.
        samples: VecDeque<(Timestamp, u64)>,
    },
}

impl Activities {
    /// Notes what the event says.
    pub(super) fn event(&mut self, event: &Event) {
        let time = event.time.parse().unwrap_or(Timestamp::UNIX_EPOCH);
        let build = &event.build;
        // The job's own work is told of until anything is known of it.
        self.all.retain(|activity| activity.build.is_some() || !matches!(activity.kind, Kind::Step));
        match &event.body {
            EventBody::JobStarted { .. } => {
                self.all.clear();
                self.begin(&None, "working", time, Kind::Step);
            }
            EventBody::StepStarted { step } => self.begin(build, step, time, Kind::Step),
            // Nothing outlives its step, whatever became of the event that says so.
            EventBody::StepFinished { .. } => self.all.retain(|activity| activity.build != *build),
            EventBody::Waiting { what, limit_us } => {
                let limit_ms = limit_us.and_then(|limit| i64::try_from(limit / 1000).ok());
                self.begin(build, what, time, Kind::Wait { limit_ms });
            }
            EventBody::WaitFinished { what } => self.end_wait(build, what),
            EventBody::Progress { what, done, total } => self.advance(build, what, time, *done, *total),
            EventBody::Say { .. } | EventBody::Message { .. } | EventBody::Error { .. } => {
                self.heard.insert(build.clone(), time);
            }
            EventBody::BuildFinished { .. } => self.all.retain(|activity| activity.build != *build),
            EventBody::JobFinished { .. } => self.all.clear(),
            _ => {}
        }
    }

    /// Whether nothing goes on.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Notes a wait without a limit.
    pub(super) fn begin_wait(&mut self, build: Option<String>, what: &str, time: Timestamp) {
        self.begin(&build, what, time, Kind::Wait { limit_ms: None });
    }

    fn begin(&mut self, build: &Option<String>, what: &str, since: Timestamp, kind: Kind) {
        self.all.push(Activity { build: build.clone(), what: what.to_owned(), since, kind });
    }

    /// Ends the wait, and the transfers that it was for.
    fn end_wait(&mut self, build: &Option<String>, what: &str) {
        let ended = self.all.iter().rposition(|activity| {
            activity.build == *build && activity.what == what && matches!(activity.kind, Kind::Wait { .. })
        });
        let Some(ended) = ended else { return };
        let mut index = 0;
        self.all.retain(|activity| {
            let transfer = activity.build == *build && matches!(activity.kind, Kind::Transfer { .. });
            let goes = index == ended || (index > ended && transfer);
            index += 1;
            !goes
        });
    }

    fn advance(&mut self, build: &Option<String>, what: &str, time: Timestamp, done: u64, total: Option<u64>) {
        let known = self.all.iter_mut().find(|activity| activity.build == *build && activity.what == what);
        match known {
            Some(Activity { kind: Kind::Transfer { done: d, total: t, samples }, .. }) => {
                (*d, *t) = (done, total);
                // One that begins anew is measured anew.
                if samples.back().is_some_and(|(_, before)| *before > done) {
                    samples.clear();
                }
                samples.push_back((time, done));
                while samples.get(1).is_some_and(|(second, _)| millis(*second, time) > RATE_MS) {
                    samples.pop_front();
                }
            }
            _ => {
                let samples = VecDeque::from([(time, done)]);
                self.begin(build, what, time, Kind::Transfer { done, total, samples });
            }
        }
    }

    /// Returns a line for each thing that has gone on for long enough, at most a third of the screen.
    pub(super) fn lines(&self, now: Timestamp, width: usize, rows: usize) -> Vec<String> {
        // The last column stays free: a terminal that wraps there would draw two rows.
        let width = width.saturating_sub(1).max(1);
        let mut lines: Vec<String> = self.worth_telling(now).map(|activity| activity.row(now).fit(width)).collect();
        let most = (rows / SCREEN_PART).max(1);
        if lines.len() > most {
            let more = lines.len() - most + 1;
            lines.truncate(most - 1);
            lines.push(format!("and {more} more"));
        }
        lines
    }

    /// Returns what goes on in builds that have been silent for half a minute.
    pub(super) fn heartbeat(&mut self, now: Timestamp) -> Vec<String> {
        let mut due = Vec::new();
        let mut told = Vec::new();
        for activity in self.worth_telling(now) {
            // Silence began with the first of what a build does now, however often that has changed since.
            let first = self.of(&activity.build).map(|other| other.since).min().unwrap_or(activity.since);
            let heard = self.heard.get(&activity.build).copied().unwrap_or(first);
            if millis(heard.max(first), now) >= HEARTBEAT_MS {
                due.push(activity.row(now).plain());
                told.push(activity.build.clone());
            }
        }
        self.heard.extend(told.into_iter().map(|build| (build, now)));
        due
    }

    /// Returns what has gone on for long enough, and in place of what stands still meanwhile a wait that has just begun: what is
    /// told is what goes on now.
    fn worth_telling(&self, now: Timestamp) -> impl Iterator<Item = &Activity> {
        self.all.iter().filter(move |activity| {
            let mut others = self.of(&activity.build);
            match activity.kind {
                Kind::Step => activity.is_long(now) && !others.any(|other| other.is_wait() || self.moves(other, now)),
                Kind::Transfer { .. } => self.moves(activity, now),
                Kind::Wait { .. } => {
                    let tells = |other: &Activity| self.moves(other, now) || (other.is_wait() && other.is_long(now));
                    activity.is_long(now)
                        || (others.any(|other| other.is_long(now)) && !self.of(&activity.build).any(tells))
                }
            }
        })
    }

    /// Whether it is a transfer that goes on: one stands still while a wait lasts that began after its last bytes.
    fn moves(&self, transfer: &Activity, now: Timestamp) -> bool {
        let Kind::Transfer { samples, .. } = &transfer.kind else { return false };
        let last = samples.back().map_or(transfer.since, |(time, _)| *time);
        let is_held = |other: &Activity| other.is_wait() && other.since >= last;
        transfer.is_long(now) && !self.of(&transfer.build).any(is_held)
    }

    fn of<'a>(&'a self, build: &'a Option<String>) -> impl Iterator<Item = &'a Activity> {
        self.all.iter().filter(move |activity| activity.build == *build)
    }
}

impl Activity {
    fn is_wait(&self) -> bool {
        matches!(self.kind, Kind::Wait { .. })
    }

    /// Whether it has gone on for so long that people want to know; a transfer, while there is more to come.
    fn is_long(&self, now: Timestamp) -> bool {
        let age = millis(self.since, now);
        match &self.kind {
            Kind::Transfer { done, total, .. } => age >= LONG_TRANSFER_MS && total.is_none_or(|total| *done < total),
            _ => age >= LONG_MS,
        }
    }

    fn row(&self, now: Timestamp) -> Row<'_> {
        let build = self.build.as_deref();
        let seconds = |ms: i64| u64::try_from(ms / 1000).unwrap_or(0);
        let elapsed = seconds(millis(self.since, now));
        match &self.kind {
            Kind::Step => Row { build, what: step_words(&self.what), elapsed, limit: None, transfer: None },
            Kind::Wait { limit_ms } => {
                Row { build, what: &self.what, elapsed, limit: limit_ms.map(seconds), transfer: None }
            }
            Kind::Transfer { done, total, samples } => {
                let transfer = Transfer { done: *done, total: *total, rate: rate(samples, now) };
                Row { build, what: &self.what, elapsed, limit: None, transfer: Some(transfer) }
            }
        }
    }
}

/// Returns bytes a second over the last seconds, when they are enough to tell.
fn rate(samples: &VecDeque<(Timestamp, u64)>, now: Timestamp) -> Option<u64> {
    let (&(first, before), &(last, after)) = (samples.front()?, samples.back()?);
    // One that has stopped gets slower and slower.
    let ms = if millis(last, now) > LEAST_RATE_MS { millis(first, now) } else { millis(first, last) };
    let ms = u64::try_from(ms).ok().filter(|_| ms >= LEAST_RATE_MS)?;
    let rate = u128::from(after.saturating_sub(before)) * 1000 / u128::from(ms);
    u64::try_from(rate).ok()
}

fn millis(from: Timestamp, to: Timestamp) -> i64 {
    to.as_millisecond().saturating_sub(from.as_millisecond())
}

/// Returns what a step does, for people.
fn step_words(step: &str) -> &str {
    match step {
        "fetch" => "getting the image",
        "output" => "taking the output directory",
        "work" => "making room for files",
        "media" => "writing floppy and CD",
        "disk" => "making the disks",
        "firmware" => "copying the firmware's variables",
        "serve" => "starting the HTTP server",
        "key" => "making an SSH key",
        "start" => "starting the machine",
        "boot" => "booting",
        "connect" => "connecting",
        "provision" => "provisioning",
        "shut-down" => "shutting down",
        "export" => "exporting the disks",
        "keep" => "moving the result into place",
        "post-process" => "post-processing",
        "write" => "writing the file",
        other => other,
    }
}

#[cfg(test)]
mod tests;
