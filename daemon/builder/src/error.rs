//! Why a build failed: which step, what, the causes, and what to do next.

use std::error::Error;
use std::fmt;

use kiln_communicators::{CommunicatorError, ConnectError};

/// A step's failure, before the step is known.
#[derive(Debug)]
pub(crate) struct StepError {
    message: String,
    hint: Option<String>,
    place: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
    /// In a box: errors are returned from everywhere.
    loss: Option<Box<Loss>>,
}

/// How a guest was lost while it was worked in.
#[derive(Debug)]
pub(crate) enum Loss {
    /// What was done in it was cut off.
    CutOff,
    /// It could not be connected to again.
    NotReached(Box<ConnectError>),
}

impl StepError {
    /// A failure with this message.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, place: None, source: None, loss: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what to do next, when something is known.
    #[must_use]
    pub(crate) fn with_hint_maybe(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into);
        self
    }

    /// What to do next, when something is known.
    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Notes that the guest was lost by it, when it was.
    #[must_use]
    pub(crate) fn lost_when(self, lost: bool) -> Self {
        Self { loss: lost.then(|| Box::new(Loss::CutOff)), ..self }
    }

    /// How the guest was lost by it, which is to be looked into once.
    pub(crate) fn take_loss(&mut self) -> Option<Loss> {
        self.loss.take().map(|loss| *loss)
    }

    /// Adds to what is said.
    #[must_use]
    pub(crate) fn with_more(mut self, text: &str) -> Self {
        self.message.push_str(text);
        self
    }

    /// Says something before all else: the cause, of which the rest is what came of it.
    #[must_use]
    pub(crate) fn with_first(mut self, text: &str) -> Self {
        self.message.insert_str(0, text);
        self
    }

    /// Adds which part of the template failed.
    #[must_use]
    pub(crate) fn at(mut self, place: String) -> Self {
        self.place = Some(place);
        self
    }

    /// Says which part of the template failed and what to do next, where that is known: lines behind the error itself, whose
    /// words are Packer's.
    pub(crate) fn explanation(&self) -> Vec<String> {
        let place = self.place.as_ref().map(|place| format!("Failed: {place}"));
        let hint = self.hint.as_ref().map(|hint| format!("hint: {hint}"));
        place.into_iter().chain(hint).collect()
    }

    /// Adds the cause.
    #[must_use]
    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Wraps `error` as it is: its message, and its causes below it.
    pub(crate) fn wrap(error: impl Error + Send + Sync + 'static) -> Self {
        Self::new(Self::wrap_ref(&error))
    }

    /// An error's message with its causes.
    pub(crate) fn wrap_ref(error: &dyn Error) -> String {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some crates repeat their cause in their own text.
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = error.source();
        }
        message
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut cause: Option<&dyn Error> = self.source.as_deref().map(|source| source as &dyn Error);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl Error for StepError {}

/// Errors that know a hint keep it.
macro_rules! keep_hint_of {
    ($($error:ty),*) => {
        $(impl From<$error> for StepError {
            fn from(error: $error) -> Self {
                let hint = error.hint().map(|hint| hint.to_string());
                Self::wrap(error).with_hint_maybe(hint)
            }
        })*
    };
}

impl From<CommunicatorError> for StepError {
    fn from(error: CommunicatorError) -> Self {
        let step = Self::new(Self::wrap_ref(&error)).with_hint_maybe(error.hint());
        let loss = match error {
            CommunicatorError::Reconnect { source, .. } => Some(Loss::NotReached(source)),
            other => other.is_loss().then_some(Loss::CutOff),
        };
        Self { loss: loss.map(Box::new), ..step }
    }
}

keep_hint_of!(kiln_disk_formats::Error, kiln_disk_formats::media::SelectionError, kiln_hypervisors::StartError);

/// A build's failure.
#[derive(Debug)]
pub(crate) struct BuildError {
    /// The step that failed.
    pub step: &'static str,
    kind: Kind,
    answer: Option<Answer>,
}

/// What somebody who was asked about a failure wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Give everything back.
    CleanUp,
    /// Leave everything as it is.
    Abort,
}

#[derive(Debug)]
enum Kind {
    Failed(StepError),
    Cancelled,
}

impl BuildError {
    /// The failure `error` of `step`.
    pub(crate) fn new(step: &'static str, error: StepError) -> Self {
        Self { step, kind: Kind::Failed(error), answer: None }
    }

    /// The cancellation of `step`.
    pub(crate) fn cancelled(step: &'static str) -> Self {
        Self { step, kind: Kind::Cancelled, answer: None }
    }

    /// Notes that it has been told, and what is to be done about it.
    pub(crate) fn answered(self, answer: Answer) -> Self {
        Self { answer: Some(answer), ..self }
    }

    /// What somebody has said is to be done about it; `None` when nobody was asked.
    pub(crate) fn answer(&self) -> Option<Answer> {
        self.answer
    }

    /// True when nobody failed: the job was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self.kind, Kind::Cancelled)
    }

    /// See [`StepError::explanation`].
    pub(crate) fn explanation(&self) -> Vec<String> {
        match &self.kind {
            Kind::Failed(error) => error.explanation(),
            Kind::Cancelled => Vec::new(),
        }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Failed(error) => error.fmt(f),
            Kind::Cancelled => f.write_str("Build was cancelled."),
        }
    }
}

impl Error for BuildError {}
