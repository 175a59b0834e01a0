//! Renders a job's events as Packer would have printed them. A pure function of the events: no clock, no terminal.

mod count;
mod duration;
mod image;
mod output;

use std::io::{self, Write};

use jiff::Timestamp;
use kiln_protocol::{Artifact, Event, EventBody, JobState, Severity, without_codes};

pub(crate) use count::error_count;
pub use duration::spell_duration;
pub use image::Results;
pub(crate) use image::bytes;
pub use output::Look;
use output::{Tone, Voice};

/// Text for a build that was cut short and gives no reason.
const CANCELLED: &str = "build was cancelled";

/// Turns events into lines.
#[derive(Debug)]
pub struct Renderer {
    look: Look,
    debug: bool,
    builds: Vec<Build>,
    results: Results,
    /// Whether builds are still being announced.
    announcing: bool,
}

#[derive(Debug)]
struct Build {
    name: String,
    finished: bool,
    error: Option<String>,
    /// Errors that its lines have told already.
    told: Vec<String>,
    artifacts: Vec<Artifact>,
}

impl Renderer {
    /// Makes a renderer; `debug` says that `-debug` was given.
    #[must_use]
    pub fn new(look: Look, debug: bool) -> Self {
        Self { look, debug, builds: Vec::new(), results: Results::default(), announcing: false }
    }

    /// Writes what people see of an event.
    ///
    /// # Errors
    ///
    /// The output is closed.
    pub fn event(&mut self, event: &Event, output: &mut dyn Write) -> io::Result<()> {
        let time = event.time.parse().unwrap_or(Timestamp::UNIX_EPOCH);
        if self.announcing && !matches!(event.body, EventBody::BuildPlanned { .. }) {
            self.announcing = false;
            self.end_announcements(time, output)?;
        }
        let build = event.build.as_deref();
        match &event.body {
            EventBody::BuildPlanned { .. } => self.announce(time, build.unwrap_or_default(), output),
            EventBody::Diagnostics { severity, text, diagnostics } => {
                let tone = if *severity == Severity::Error { Tone::Error } else { Tone::Say };
                // One empty line after each, as there is in Packer's.
                let mut text = format!("{}\n", without_codes(text.trim_end()));
                let errors = diagnostics.iter().filter(|problem| problem["severity"] == "error").count();
                if let Some(count) = error_count(errors).filter(|_| !self.look.machine_readable) {
                    text += &format!("\n{count}\n");
                }
                self.look.message(output, time, Voice::Job, tone, &text)
            }
            EventBody::Say { text, target } => {
                self.said(time, build, target.as_deref(), Tone::Say, &without_codes(text), output)
            }
            EventBody::Message { text, target } => {
                self.said(time, build, target.as_deref(), Tone::Output, text, output)
            }
            EventBody::Error { text, target, output: true } => {
                self.said(time, build, target.as_deref(), Tone::ErrorOutput, text, output)
            }
            EventBody::Error { text, target, output: false } => {
                if let Some(build) = build {
                    let index = self.index(build);
                    self.builds[index].told.push(text.clone());
                }
                self.said(time, build, target.as_deref(), Tone::Error, &without_codes(text), output)
            }
            EventBody::Result { result } => {
                let text = self.results.describe(result);
                self.look.message(output, time, Voice::Job, Tone::Say, text.trim_end())
            }
            EventBody::Failure { text, hint } => {
                let hint = hint.as_ref().map_or_else(String::new, |hint| format!("\nhint: {hint}"));
                self.look.message(output, time, Voice::Job, Tone::Error, &without_codes(&format!("{text}{hint}")))
            }
            EventBody::Artifact(artifact) => {
                let index = self.index(build.unwrap_or_default());
                self.builds[index].artifacts.push(artifact.clone());
                Ok(())
            }
            EventBody::BuildFinished { elapsed_us, error, cancelled } => {
                let error = error.clone().or_else(|| cancelled.then(|| CANCELLED.to_owned()));
                self.finish_build(time, build.unwrap_or_default(), *elapsed_us, error, output)
            }
            EventBody::JobFinished { state, elapsed_us, error, .. } => {
                self.finish_job(time, *state, *elapsed_us, error.as_deref(), output)
            }
            _ => Ok(()),
        }
    }

    /// Writes something of the client's own.
    ///
    /// # Errors
    ///
    /// The output is closed.
    pub fn say(&self, text: &str, output: &mut dyn Write) -> io::Result<()> {
        self.look.message(output, Timestamp::now(), Voice::Job, Tone::Say, text)
    }

    fn announce(&mut self, time: Timestamp, name: &str, output: &mut dyn Write) -> io::Result<()> {
        let index = self.index(name);
        self.announcing = true;
        if self.look.colour && !self.look.machine_readable {
            let look = Look { timestamps: false, ..self.look.clone() };
            let text = format!("{name}: output will be in this color.");
            look.message(output, time, Voice::Build(index), Tone::Say, &text)?;
        }
        Ok(())
    }

    fn end_announcements(&self, time: Timestamp, output: &mut dyn Write) -> io::Result<()> {
        if self.look.colour && !self.look.machine_readable {
            writeln!(output)?;
        }
        if self.debug {
            let text = "Debug mode enabled. Builds will not be parallelized.";
            self.look.message(output, time, Voice::Job, Tone::Say, text)?;
        }
        Ok(())
    }

    fn said(
        &self,
        time: Timestamp,
        build: Option<&str>,
        target: Option<&str>,
        tone: Tone,
        text: &str,
        output: &mut dyn Write,
    ) -> io::Result<()> {
        match build {
            Some(build) => {
                let voice = self.voice(build);
                let text = self.look.prefixed(target.unwrap_or(build), tone, text);
                self.look.message(output, time, voice, tone, &text)
            }
            None => self.look.message(output, time, Voice::Job, tone, text),
        }
    }

    fn finish_build(
        &mut self,
        time: Timestamp,
        name: &str,
        elapsed_us: u64,
        error: Option<String>,
        output: &mut dyn Write,
    ) -> io::Result<()> {
        let index = self.index(name);
        let voice = Voice::Build(index);
        let elapsed = spell_duration(elapsed_us);
        self.builds[index].finished = true;
        match error {
            Some(error) => {
                let build = &mut self.builds[index];
                let text = if self.look.terminal && build.told.contains(&error) {
                    format!("Build '{name}' errored after {elapsed}.")
                } else {
                    format!("Build '{name}' errored after {elapsed}: {}", without_codes(&error))
                };
                build.told.push(error.clone());
                build.error = Some(error);
                self.look.message(output, time, voice, Tone::Error, &text)
            }
            None => {
                let text = format!("Build '{name}' finished after {elapsed}.");
                self.look.message(output, time, voice, Tone::Say, &text)
            }
        }
    }

    fn finish_job(
        &mut self,
        time: Timestamp,
        state: JobState,
        elapsed_us: u64,
        error: Option<&str>,
        output: &mut dyn Write,
    ) -> io::Result<()> {
        let say = |output: &mut dyn Write, text: &str| self.look.message(output, time, Voice::Job, Tone::Say, text);
        if self.builds.is_empty() {
            return self.results.end(elapsed_us).map_or(Ok(()), |text| say(output, text.trim_end()));
        }
        say(output, &format!("\n==> Wait completed after {}", spell_duration(elapsed_us)))?;
        if state == JobState::Cancelled {
            return say(output, "Cleanly cancelled builds after being interrupted.");
        }
        if state == JobState::Failed {
            let reason = error.unwrap_or("the build did not come to its end");
            for build in self.builds.iter_mut().filter(|build| !build.finished) {
                build.error = Some(reason.to_owned());
            }
        }
        self.summarise_errors(time, output)?;
        self.summarise_artifacts(time, output)
    }

    fn summarise_errors(&self, time: Timestamp, output: &mut dyn Write) -> io::Result<()> {
        let failed: Vec<_> =
            self.builds.iter().filter_map(|build| Some((&build.name, build.error.as_deref()?))).collect();
        if failed.is_empty() {
            return Ok(());
        }
        let look = &self.look;
        if look.terminal {
            let builds = if self.builds.len() == 1 { "build" } else { "builds" };
            let title = format!("\n==> {} of {} {builds} failed:", failed.len(), self.builds.len());
            look.message(output, time, Voice::Job, Tone::Error, &title)?;
            for build in self.builds.iter().filter(|build| build.error.is_some()) {
                let error = build.error.as_ref().filter(|error| !build.told.contains(error));
                let error = error.map_or_else(String::new, |error| format!(": {}", without_codes(error)));
                look.message(output, time, Voice::Job, Tone::Error, &format!("--> {}{error}", build.name))?;
            }
            return Ok(());
        }
        look.record(output, time, "", "error-count", &[&failed.len().to_string()])?;
        let title = "\n==> Some builds didn't complete successfully and had errors:";
        look.message(output, time, Voice::Job, Tone::Error, title)?;
        for (name, error) in failed {
            let error = without_codes(error);
            look.record(output, time, name, "error", &[&error])?;
            look.message(output, time, Voice::Job, Tone::Error, &format!("--> {name}: {error}"))?;
        }
        Ok(())
    }

    fn summarise_artifacts(&self, time: Timestamp, output: &mut dyn Write) -> io::Result<()> {
        let look = &self.look;
        let say = |output: &mut dyn Write, text: &str| look.message(output, time, Voice::Job, Tone::Say, text);
        // As in Packer, a build that failed does not list what it left.
        let mut builds =
            self.builds.iter().filter(|build| build.error.is_none() && !build.artifacts.is_empty()).peekable();
        if builds.peek().is_none() {
            return say(output, "\n==> Builds finished but no artifacts were created.");
        }
        say(output, "\n==> Builds finished. The artifacts of successful builds are:")?;
        for build in builds {
            look.record(output, time, &build.name, "artifact-count", &[&build.artifacts.len().to_string()])?;
            for (index, artifact) in build.artifacts.iter().enumerate() {
                let index = index.to_string();
                let record = |output: &mut dyn Write, data: &[&str]| {
                    look.record(output, time, &build.name, "artifact", &[&[index.as_str()], data].concat())
                };
                let text = artifact.text.as_deref().unwrap_or("<nothing>");
                if artifact.text.is_some() {
                    record(output, &["builder-id", &artifact.builder_id])?;
                    record(output, &["id", &artifact.id])?;
                    record(output, &["string", text])?;
                    record(output, &["files-count", &artifact.files.len().to_string()])?;
                    for (number, file) in artifact.files.iter().enumerate() {
                        record(output, &["file", &number.to_string(), file])?;
                    }
                } else {
                    record(output, &["nil"])?;
                }
                record(output, &["end"])?;
                say(output, &format!("--> {}: {text}", build.name))?;
            }
        }
        Ok(())
    }

    /// Returns the voice of a build, also when it speaks as `name (post-processor)`.
    fn voice(&self, name: &str) -> Voice {
        let base = name.split_once(" (").map_or(name, |(base, _)| base);
        let position = self.builds.iter().position(|build| build.name == name || build.name == base);
        Voice::Build(position.unwrap_or(0))
    }

    /// Returns the position of a build; one that was never announced comes last.
    fn index(&mut self, name: &str) -> usize {
        self.builds.iter().position(|build| build.name == name).unwrap_or_else(|| {
            self.builds.push(Build {
                name: name.to_owned(),
                finished: false,
                error: None,
                told: Vec::new(),
                artifacts: Vec::new(),
            });
            self.builds.len() - 1
        })
    }
}

/// Writes the version, in Packer's form.
///
/// # Errors
///
/// The output is closed.
pub fn write_version(look: &Look, time: Timestamp, version: &str, output: &mut dyn Write) -> io::Result<()> {
    look.record(output, time, "", "version", &[version])?;
    // Spelled as Packer spells it.
    look.record(output, time, "", "version-prelease", &[""])?;
    look.record(output, time, "", "version-commit", &[""])?;
    look.message(output, time, Voice::Job, Tone::Say, &format!("Kiln v{version}"))
}

#[cfg(test)]
mod tests;
