//! What kilnd tells of jobs and questions, read from the properties of its objects.

use std::collections::HashMap;

use zbus::{OwnedObjectPath, OwnedVariant};

/// Whose kilnd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// This person's own, on the session bus.
    Session,
    /// The one of all users, on the system bus.
    System,
}

/// A job or a question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Thing {
    pub(super) place: Place,
    /// Its object.
    pub(super) path: String,
}

/// What was heard.
#[derive(Debug)]
pub(super) enum News {
    Job(Thing, JobNews),
    Prompt(Thing, PromptNews),
    /// It is not there any more.
    Gone(Thing),
    /// All that the kilnd there knows was told, which is this.
    All(Place, Vec<Thing>),
    /// The kilnd there has left.
    Left(Place),
}

/// A job.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct JobNews {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) template: String,
    pub(super) state: String,
    pub(super) step: String,
    pub(super) error: String,
    /// From 0 to 1; less while it is not known.
    pub(super) progress: f64,
    pub(super) owner: u32,
    pub(super) can_cancel: bool,
}

/// A question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PromptNews {
    /// The object of its job.
    pub(super) job: String,
    pub(super) text: String,
    /// How its guest is reached.
    pub(super) guest: String,
    /// Keys and labels.
    pub(super) choices: Vec<(String, String)>,
}

/// Properties of an object, as `GetAll` returns them.
pub(super) type Properties = HashMap<String, OwnedVariant>;

/// Takes a value out; the empty one where it is missing or of another type, as from a kilnd of another version.
fn take<T: TryFrom<OwnedVariant> + Default>(properties: &mut Properties, name: &str) -> T {
    properties.remove(name).and_then(|value| T::try_from(value).ok()).unwrap_or_default()
}

impl JobNews {
    pub(super) fn read(mut properties: Properties) -> Self {
        let properties = &mut properties;
        let progress = properties.remove("Progress").and_then(|value| f64::try_from(value).ok());
        Self {
            id: take(properties, "Id"),
            kind: take(properties, "Kind"),
            template: take(properties, "Template"),
            state: take(properties, "State"),
            step: take(properties, "Step"),
            error: take(properties, "Error"),
            progress: progress.unwrap_or(-1.0),
            // Nobody, where it is not said.
            owner: properties.remove("Owner").and_then(|value| u32::try_from(value).ok()).unwrap_or(u32::MAX),
            can_cancel: take(properties, "Cancelable"),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state.as_str(), "succeeded" | "failed" | "cancelled")
    }
}

impl PromptNews {
    pub(super) fn read(mut properties: Properties) -> Self {
        let job = properties.remove("Job").and_then(|value| OwnedObjectPath::try_from(value).ok());
        Self {
            job: job.map(|job| job.to_string()).unwrap_or_default(),
            text: take(&mut properties, "Text"),
            guest: take(&mut properties, "Guest"),
            choices: take(&mut properties, "Choices"),
        }
    }
}
