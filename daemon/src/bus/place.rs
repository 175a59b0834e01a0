//! Where the objects are: the paths below `/org/kiln/Kiln1`.

use std::fmt;

use kiln_protocol::JobId;

use super::interface::{BUILD, IMAGE, JOB, MANAGER, PROMPT};

/// The object that has the manager, and below which all others are.
pub(super) const ROOT: &str = "/org/kiln/Kiln1";

/// An object's place. Identifiers stand behind a `_`: a name that begins with a digit is none in some languages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The manager.
    Manager,
    /// A job.
    Job(JobId),
    /// A build of a job, by its number among them, from 0. Its name says more than everybody may know.
    Build(JobId, usize),
    /// What a build has left: the number of the build, and of the artifact among its own, each from 0.
    Image(JobId, usize, usize),
    /// A question of a job, by its number among all that it has asked since it is shown, from 1.
    Prompt(JobId, u64),
}

impl Place {
    /// Reads a path; nothing when there can be no such object.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let rest = path.strip_prefix(ROOT)?;
        if rest.is_empty() {
            return Some(Self::Manager);
        }
        let mut parts = rest.strip_prefix("/job/_")?.split('/');
        let job: JobId = parts.next()?.parse().ok()?;
        let number = |part: &str| part.strip_prefix('_')?.parse::<usize>().ok();
        let place = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (None, ..) => Self::Job(job),
            (Some("build"), Some(build), None, None) => Self::Build(job, number(build)?),
            (Some("build"), Some(build), Some("image"), Some(image)) => {
                Self::Image(job, number(build)?, number(image)?)
            }
            (Some("prompt"), Some(prompt), None, None) => Self::Prompt(job, prompt.strip_prefix('_')?.parse().ok()?),
            _ => return None,
        };
        // Another spelling of the same number is another path.
        (place.to_string() == path).then_some(place)
    }

    /// Returns the job that it is, or belongs to.
    pub(super) fn job(&self) -> Option<&JobId> {
        match self {
            Self::Manager => None,
            Self::Job(job) | Self::Build(job, _) | Self::Prompt(job, _) | Self::Image(job, ..) => Some(job),
        }
    }

    /// Returns the name of its own interface.
    pub(super) fn interface(&self) -> &'static str {
        match self {
            Self::Manager => MANAGER,
            Self::Job(_) => JOB,
            Self::Build(..) => BUILD,
            Self::Prompt(..) => PROMPT,
            Self::Image(..) => IMAGE,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manager => formatter.write_str(ROOT),
            Self::Job(job) => write!(formatter, "{ROOT}/job/_{job}"),
            Self::Build(job, number) => write!(formatter, "{ROOT}/job/_{job}/build/_{number}"),
            Self::Prompt(job, number) => write!(formatter, "{ROOT}/job/_{job}/prompt/_{number}"),
            Self::Image(job, build, number) => {
                write!(formatter, "{ROOT}/job/_{job}/build/_{build}/image/_{number}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_they_are_written_and_in_no_other_spelling() {
        let job = JobId::from_random_bits(7);
        for place in [
            Place::Manager,
            Place::Job(job.clone()),
            Place::Build(job.clone(), 12),
            Place::Prompt(job.clone(), 3),
            Place::Image(job.clone(), 12, 3),
        ] {
            assert_eq!(Place::parse(&place.to_string()), Some(place));
        }
        let path = Place::Job(job).to_string();
        for wrong in [
            "/",
            "/org/kiln",
            "/org/kiln/Kiln1/",
            "/org/kiln/Kiln12",
            "/org/kiln/Kiln1/job",
            "/org/kiln/Kiln1/job/_..",
            &format!("{path}/build"),
            &format!("{path}/build/_01"),
            &format!("{path}/build/_+1"),
            &format!("{path}/prompt/_1/x"),
            &format!("{path}/guest/_1"),
            &format!("{path}/build/_1/image"),
            &format!("{path}/build/_1/image/_01"),
            &format!("{path}/prompt/_1/image/_1"),
            &format!("{path}/build/_1/image/_1/x"),
        ] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }
}
