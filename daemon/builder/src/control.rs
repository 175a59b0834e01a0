//! Requests that reach a running job from outside: cancel it, see a guest's screen, answer a question.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use kiln_hypervisors::Machine;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::way_in::WayIn;

/// The outside's handle on a job. Cheap to clone.
#[derive(Clone, Default)]
pub struct Control {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    cancel: CancellationToken,
    machines: Mutex<BTreeMap<String, Arc<dyn Machine>>>,
    ways_in: Mutex<BTreeMap<String, WayIn>>,
    prompts: Mutex<Prompts>,
}

#[derive(Default)]
struct Prompts {
    next: u64,
    /// Nobody is there to answer: questions take their first choice at once.
    unattended: bool,
    open: BTreeMap<u64, (Vec<String>, oneshot::Sender<String>)>,
}

/// Why a request could not be met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The named build has no running guest.
    #[error("{}", .build.as_ref().map_or("no guest is running in this job".to_owned(), |build| format!("no guest of {build} is running")))]
    NoGuest {
        /// The build that was asked for, if one was named.
        build: Option<String>,
    },
    /// This hypervisor shows no screen.
    #[error("the guest of {0} has no screen that can be captured")]
    NoScreen(String),
    /// The hypervisor could not capture the screen.
    #[error("cannot capture the screen of {build}: {reason}")]
    Capture {
        /// The build.
        build: String,
        /// What the hypervisor said.
        reason: String,
    },
    /// The question was answered already, or never asked.
    #[error("no question {0} is waiting for an answer")]
    NoQuestion(u64),
    /// The answer is none of the choices.
    #[error("{given:?} is not one of the accepted answers: {}", .choices.join(", "))]
    NotAChoice {
        /// What was given.
        given: String,
        /// What is accepted.
        choices: Vec<String>,
    },
}

impl Control {
    /// A handle whose questions take their default at once, since nobody can answer.
    pub fn unattended() -> Self {
        let control = Self::default();
        control.prompts().unattended = true;
        control
    }

    /// Asks the job to stop and clean up.
    pub fn cancel(&self) {
        self.inner.cancel.cancel();
    }

    /// The token that [`Control::cancel`] cancels.
    pub fn cancel_token(&self) -> &CancellationToken {
        &self.inner.cancel
    }

    /// Captures the screen of `build`'s guest (or of the only one) as PNG.
    ///
    /// # Errors
    ///
    /// No such guest, no screen, or the hypervisor failed.
    pub async fn screen(&self, build: Option<&str>) -> Result<Vec<u8>, ControlError> {
        let found = {
            let machines = self.inner.machines.lock().unwrap_or_else(PoisonError::into_inner);
            match build {
                Some(name) => machines.get_key_value(name).map(|(name, machine)| (name.clone(), machine.clone())),
                None => machines.iter().next().map(|(name, machine)| (name.clone(), machine.clone())),
            }
        };
        let (build, machine) = found.ok_or_else(|| ControlError::NoGuest { build: build.map(str::to_owned) })?;
        let screen = machine.screen().ok_or_else(|| ControlError::NoScreen(build.clone()))?;
        let shot = screen.capture().await;
        shot.map(|shot| shot.png).map_err(|error| ControlError::Capture { build, reason: error.to_string() })
    }

    /// Answers the question `id`.
    ///
    /// # Errors
    ///
    /// It does not wait (any more), or the answer is none of its choices.
    pub fn answer(&self, id: u64, answer: &str) -> Result<(), ControlError> {
        let mut prompts = self.prompts();
        let (choices, _) = prompts.open.get(&id).ok_or(ControlError::NoQuestion(id))?;
        if !choices.iter().any(|choice| choice == answer) {
            return Err(ControlError::NotAChoice { given: answer.to_owned(), choices: choices.clone() });
        }
        if let Some((_, sender)) = prompts.open.remove(&id) {
            // The asker may have been cancelled meanwhile; then nobody minds.
            let _ = sender.send(answer.to_owned());
        }
        Ok(())
    }

    pub(crate) fn open_prompt(&self, choices: &[&str]) -> (u64, impl Future<Output = String> + use<>) {
        let default = choices.first().map_or(String::new(), |&first| first.to_owned());
        let mut prompts = self.prompts();
        prompts.next += 1;
        let id = prompts.next;
        let receiver = if prompts.unattended {
            None
        } else {
            let (sender, receiver) = oneshot::channel();
            prompts.open.insert(id, (choices.iter().map(|&choice| choice.to_owned()).collect(), sender));
            Some(receiver)
        };
        (id, async move {
            match receiver {
                Some(receiver) => receiver.await.unwrap_or(default),
                None => default,
            }
        })
    }

    pub(crate) fn machine_started(&self, build: &str, machine: Arc<dyn Machine>) {
        self.inner.machines.lock().unwrap_or_else(PoisonError::into_inner).insert(build.to_owned(), machine);
    }

    pub(crate) fn machine_gone(&self, build: &str) {
        self.inner.machines.lock().unwrap_or_else(PoisonError::into_inner).remove(build);
        self.inner.ways_in.lock().unwrap_or_else(PoisonError::into_inner).remove(build);
    }

    /// The build's machine, while it has one.
    pub(crate) fn machine(&self, build: &str) -> Option<Arc<dyn Machine>> {
        self.inner.machines.lock().unwrap_or_else(PoisonError::into_inner).get(build).cloned()
    }

    /// Notes how the build's guest is reached.
    pub(crate) fn guest_at(&self, build: &str, way_in: WayIn) {
        self.inner.ways_in.lock().unwrap_or_else(PoisonError::into_inner).insert(build.to_owned(), way_in);
    }

    /// Returns how the build's guest is reached, while it runs.
    pub(crate) fn way_in(&self, build: &str) -> Option<WayIn> {
        self.inner.ways_in.lock().unwrap_or_else(PoisonError::into_inner).get(build).cloned()
    }

    /// Takes back a question that nobody answered.
    pub(crate) fn close_prompt(&self, id: u64) {
        self.prompts().open.remove(&id);
    }

    fn prompts(&self) -> std::sync::MutexGuard<'_, Prompts> {
        self.inner.prompts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_is_answered_once_and_only_with_a_choice() {
        let control = Control::default();
        let (id, answer) = control.open_prompt(&["clean", "retry"]);
        assert!(matches!(control.answer(id, "maybe"), Err(ControlError::NotAChoice { .. })));
        control.answer(id, "retry").unwrap();
        assert_eq!(answer.await, "retry");
        assert_eq!(control.answer(id, "clean"), Err(ControlError::NoQuestion(id)));
    }

    #[tokio::test]
    async fn unattended_questions_take_the_first_choice() {
        let (_, answer) = Control::unattended().open_prompt(&["clean", "retry"]);
        assert_eq!(answer.await, "clean");
    }

    #[tokio::test]
    async fn no_guest_no_screen() {
        let error = Control::default().screen(Some("qemu.web")).await.unwrap_err();
        assert_eq!(error.to_string(), "no guest of qemu.web is running");
    }
}
