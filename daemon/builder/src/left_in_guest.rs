//! Files of ours that are still in a guest which went away before they could be removed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_communicators::{Communicator, DiscardedOutput, Exit, quote_guest_path};

/// The paths, in the order in which they came. They are removed when the guest is reached again for another reason: nothing waits for it
/// because of them, for it may be gone for good.
#[derive(Debug, Default)]
pub(crate) struct LeftInGuest(Mutex<Vec<String>>);

impl LeftInGuest {
    /// Notes a file that is to be removed.
    pub(crate) fn note(&self, path: &str) {
        self.paths().push(path.to_owned());
    }

    /// Whether there is nothing to remove.
    pub(crate) fn is_empty(&self) -> bool {
        self.paths().is_empty()
    }

    /// Removes what was noted, waiting for the guest as long as `communicator` does: give it a limit. May be dropped; what is not
    /// removed by then stays noted.
    pub(crate) async fn remove(&self, communicator: &dyn Communicator) {
        loop {
            let Some(path) = self.paths().first().cloned() else { return };
            let command = format!("rm -f {}", quote_guest_path(&path));
            match communicator.execute(&command, &DiscardedOutput).await {
                Ok(Exit::Code(0)) => {}
                // The guest will not let it go another time either.
                Ok(exit @ (Exit::Code(_) | Exit::Signal(_))) => {
                    tracing::debug!(path, %exit, "a file stays in the guest");
                }
                Ok(Exit::Disconnected) => return,
                Err(error) => {
                    tracing::debug!(path, %error, "a file cannot be removed from the guest yet");
                    return;
                }
            }
            self.paths().retain(|noted| *noted != path);
        }
    }

    /// Says what is still there, once and for all; nothing when that is nothing.
    pub(crate) fn last_words(&self) -> Option<String> {
        let paths = std::mem::take(&mut *self.paths());
        let still = if paths.len() == 1 { "it may still be there" } else { "they may still be there" };
        (!paths.is_empty())
            .then(|| format!("The guest went away before {} could be removed: {still}.", paths.join(" and ")))
    }

    fn paths(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use kiln_communicators::fake::{Answer, FakeCommunicator};

    use super::*;

    #[tokio::test]
    async fn what_is_removed_is_forgotten_and_the_rest_is_told() {
        let (left, guest) = (LeftInGuest::default(), FakeCommunicator::new());
        assert_eq!((left.is_empty(), left.last_words()), (true, None));
        for path in ["/tmp/a b", "/tmp/b", "/tmp/c"] {
            left.note(path);
        }
        guest.on_command("/tmp/b", Answer::Disconnect);
        left.remove(&guest).await;
        assert_eq!(
            guest.commands(),
            ["rm -f /tmp/a\\ b", "rm -f /tmp/b"],
            "a guest that goes away again is left alone"
        );
        assert!(!left.is_empty());
        let told = left.last_words().unwrap();
        assert_eq!(told, "The guest went away before /tmp/b and /tmp/c could be removed: they may still be there.");
        assert!(left.is_empty());
    }

    #[tokio::test]
    async fn what_the_guest_will_not_remove_is_not_tried_for_ever() {
        let (left, guest) = (LeftInGuest::default(), FakeCommunicator::new());
        left.note("/tmp/a");
        guest.on_command("rm", Answer::code(1));
        left.remove(&guest).await;
        assert!(left.is_empty() && guest.commands().len() == 1);
    }
}
