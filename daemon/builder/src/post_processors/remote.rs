//! What a post-processor makes at a service: noted before it is asked for, with all that giving it back needs, so that a worker that is killed
//! leaves nothing there that costs money.
//!
//! ```text
//! ledger: remote, what, note ─► NOTE (mode 0600): who asks, where, what was asked for ─► the request ─► NOTE: what the answer names
//!                                  └─ give back: on failure and cancel by the build, after a crash by the sweep ─┘
//! ```
//!
//! The note has the credentials, also those of the user's own files; it goes when the thing is done or given back. Where that does not work it
//! keeps what to do by hand, and loses the credentials when they do not let in any more, or an hour after the job's end.

use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::atomic_file;
use crate::cleanup::CleanupId;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::ledger::{Ledger, Resource};
use crate::regular_file;

/// A larger file is no note.
const MAX_NOTE: u64 = 1 << 20;

/// Who gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The build itself, right after it has failed.
    Build,
    /// A sweep, perhaps long after: by then others may use what lies there.
    Sweep,
}

/// All that giving something back needs.
pub(super) trait Remote: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The kind of service, in the note.
    const SERVICE: &'static str;

    /// Removes what is there; one line for each thing that went, or stays because others use it. Where it cannot, the error says what is left,
    /// and where.
    fn give_back(&self, by: By) -> impl Future<Output = Result<Vec<String>, String>> + Send;

    /// What to do where Kiln cannot.
    fn by_hand(&self) -> String;

    /// The same without what lets anybody in.
    #[must_use]
    fn without_credentials(self) -> Self;

    /// Whether who asks is not let in, by the error of [`give_back`](Self::give_back): the same credentials will not help later.
    fn is_shut_out(error: &str) -> bool;
}

/// What the file has.
#[derive(Serialize)]
struct Note<'a, R> {
    service: &'static str,
    credentials_removed: bool,
    #[serde(flatten)]
    remote: &'a R,
}

/// What a build may have at a service; let go without [`keep`](Self::keep) it stays in the ledger.
pub(super) struct Claim {
    build: BuildContext,
    held: Arc<HeldNote>,
    cleanup: CleanupId,
}

struct HeldNote {
    ledger: Arc<Ledger>,
    resource: Resource,
    path: PathBuf,
}

impl HeldNote {
    /// Nothing is to be given back any more. Each of the two is enough for a sweep to leave what is there; the ledger comes first, so that no
    /// note that stays takes along what is meant to stay.
    fn done(&self) {
        if let Err(error) = self.ledger.released_for_good(&self.resource) {
            tracing::warn!(resource = ?self.resource, %error, "the resource ledger cannot be written");
        }
        if let Err(error) = forget(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a note of what lies at a service cannot be removed");
        }
    }
}

/// Sees that it is given back at the build's next clean-up.
fn arm<R: Remote>(build: &BuildContext, held: Arc<HeldNote>, what: String) -> CleanupId {
    let again = build.clone();
    build.on_cleanup("post-process", format!("give back {what}"), move || async move {
        let mut attempt = Attempt::<R> { build: again, held, what, is_done: false, of: PhantomData };
        let lines = give_back::<R>(&attempt.held.path, By::Build).await?;
        lines.iter().for_each(|line| attempt.build.say(format!("Cleaning up: {line}")));
        attempt.held.done();
        attempt.is_done = true;
        Ok(())
    })
}

/// A try to give something back; unless it has worked, the build's next clean-up tries it again. So it is when it was too slow or was cancelled.
struct Attempt<R: Remote> {
    build: BuildContext,
    held: Arc<HeldNote>,
    what: String,
    is_done: bool,
    of: PhantomData<R>,
}

impl<R: Remote> Drop for Attempt<R> {
    fn drop(&mut self) {
        if !self.is_done {
            arm::<R>(&self.build, self.held.clone(), self.what.clone());
        }
    }
}

impl Claim {
    /// Notes what is going to be asked for; `what` is said of it in the ledger. From here on it is given back unless it is kept.
    ///
    /// # Errors
    ///
    /// It cannot be noted, so it had better not be asked for.
    pub(super) fn begin<R: Remote>(build: &BuildContext, what: &str, remote: &R) -> Result<Self, StepError> {
        let path = build.settings.job_dir.join(format!("remote-{}.json", uuid::Uuid::new_v4().simple()));
        let resource = Resource::Remote { what: what.to_owned(), note: path.clone() };
        build.ledger.note(&resource).map_err(cannot)?;
        let held = Arc::new(HeldNote { ledger: build.ledger.clone(), resource, path });
        let cleanup = arm::<R>(build, held.clone(), what.to_owned());
        let claim = Self { build: build.clone(), held, cleanup };
        claim.update(remote)?;
        Ok(claim)
    }

    /// Notes what is known now, or asked for next.
    ///
    /// # Errors
    ///
    /// It cannot be noted.
    pub(super) fn update<R: Remote>(&self, remote: &R) -> Result<(), StepError> {
        write(&self.held.path, remote, false).map_err(cannot)
    }

    /// It is meant to stay, or has never come to be.
    pub(super) fn keep(self) {
        self.build.disarm(self.cleanup);
        self.held.done();
    }
}

fn cannot(error: io::Error) -> StepError {
    StepError::new("cannot note what a service is asked for").with_source(error)
}

/// The name of a note that is being written.
fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("partial")
}

/// Removes a note, and what a crash has left of the next one: both have credentials.
pub(crate) fn forget(path: &Path) -> io::Result<()> {
    for path in [path, &unfinished(path)] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The kind of service that a note is of; `None`: there is no note, so nothing was asked for.
pub(super) fn service_of(path: &Path) -> Result<Option<String>, String> {
    Ok(read(path)?.map(|note| note["service"].as_str().unwrap_or_default().to_owned()))
}

/// Whether the note at `path` has the credentials that giving back needs.
pub(crate) fn has_credentials(path: &Path) -> Result<bool, String> {
    Ok(read(path)?.is_some_and(|note| !credentials_are_removed(&note)))
}

/// Gives back what the note at `path` names; one line for each thing that went.
pub(super) async fn give_back<R: Remote>(path: &Path, by: By) -> Result<Vec<String>, String> {
    let Some(Known { remote, credentials_removed }) = known::<R>(path)? else { return Ok(Vec::new()) };
    if credentials_removed {
        return Err(format!("its credentials are not kept any more. {}", remote.by_hand()));
    }
    let given_back = remote.give_back(by).await;
    if let Err(error) = &given_back
        && by == By::Sweep
        && R::is_shut_out(error)
        && let Err(error) = write(path, &remote.without_credentials(), true)
    {
        tracing::warn!(path = %path.display(), %error, "credentials that let nobody in cannot be removed");
    }
    given_back
}

/// Removes the credentials from the note at `path`, and leaves what it says of what is there.
pub(super) fn forget_credentials<R: Remote>(path: &Path) -> Result<(), String> {
    let Some(Known { remote, credentials_removed: false }) = known::<R>(path)? else { return Ok(()) };
    let written = write(path, &remote.without_credentials(), true);
    written.map_err(|error| format!("cannot remove the credentials from {}: {error}", path.display()))
}

/// What a note says.
struct Known<R> {
    remote: R,
    credentials_removed: bool,
}

fn known<R: Remote>(path: &Path) -> Result<Option<Known<R>>, String> {
    let Some(note) = read(path)? else { return Ok(None) };
    let credentials_removed = credentials_are_removed(&note);
    let remote = serde_json::from_value(note).map_err(|error| format!("{} is damaged: {error}", path.display()))?;
    Ok(Some(Known { remote, credentials_removed }))
}

fn credentials_are_removed(note: &Json) -> bool {
    note["credentials_removed"] == true
}

fn write<R: Remote>(path: &Path, remote: &R, credentials_removed: bool) -> io::Result<()> {
    let text = serde_json::to_vec(&Note { service: R::SERVICE, credentials_removed, remote })?;
    atomic_file::write_by_way_of(&unfinished(path), path, &text, 0o600)
}

fn read(path: &Path) -> Result<Option<Json>, String> {
    use std::io::Read as _;
    let read = || -> io::Result<Json> {
        let mut text = Vec::new();
        regular_file::open_to_read(path)?.take(MAX_NOTE).read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    };
    match read() {
        Ok(note) => Ok(Some(note)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::context::tests::a_build;
    use crate::ledger::Held;

    /// What cannot be given back as long as a file is there.
    #[derive(Serialize, Deserialize)]
    struct Thing {
        hindrance: PathBuf,
    }

    impl Remote for Thing {
        const SERVICE: &'static str = "thing";

        async fn give_back(&self, _: By) -> Result<Vec<String>, String> {
            if self.hindrance.exists() { Err("it cannot be reached".to_owned()) } else { Ok(vec!["went".to_owned()]) }
        }

        fn by_hand(&self) -> String {
            String::new()
        }

        fn without_credentials(self) -> Self {
            self
        }

        fn is_shut_out(_: &str) -> bool {
            false
        }
    }

    fn holds(job: &Path) -> bool {
        Held::read(job).unwrap() != Held::default()
    }

    #[tokio::test]
    async fn what_is_kept_is_kept_although_its_note_cannot_be_removed() {
        let (build, _job) = a_build();
        let job = build.settings.job_dir.clone();
        let claim = Claim::begin(&build, "a thing", &Thing { hindrance: job.join("none") }).unwrap();
        assert!(holds(&job));
        let note = claim.held.path.clone();
        std::fs::remove_file(&note).unwrap();
        // What is no file is not removed as one.
        std::fs::create_dir(&note).unwrap();
        claim.keep();
        assert!(note.exists() && !holds(&job));
    }

    #[tokio::test]
    async fn what_a_step_before_could_not_give_back_keeps_no_later_step_from_its_retry() {
        let (build, _job) = a_build();
        let hindrance = build.settings.job_dir.join("hindrance");
        std::fs::write(&hindrance, "").unwrap();
        let hold = |hindrance: &Path| {
            drop(Claim::begin(&build, "a thing", &Thing { hindrance: hindrance.to_owned() }).unwrap());
        };
        hold(&hindrance);
        build.clean_up(None).await;
        let before = build.newest_clean_up();
        assert!(!build.has_clean_ups_after(before), "the step begins with nothing of its own");
        hold(&build.settings.job_dir.join("none"));
        assert!(build.has_clean_ups_after(before));
        build.clean_up_after(before).await;
        assert!(!build.has_clean_ups_after(before), "what is of the step before was tried again, and is younger now");
        assert!(build.has_clean_ups_after(CleanupId::default()), "and is still to be given back");
        build.let_go();
    }

    #[tokio::test]
    async fn what_could_not_be_given_back_is_tried_again_by_the_next_clean_up() {
        let (build, _job) = a_build();
        let job = build.settings.job_dir.clone();
        let hindrance = job.join("hindrance");
        std::fs::write(&hindrance, "").unwrap();
        drop(Claim::begin(&build, "a thing", &Thing { hindrance: hindrance.clone() }).unwrap());
        build.clean_up(None).await;
        assert!(build.has_clean_ups_after(CleanupId::default()) && holds(&job));
        std::fs::remove_file(&hindrance).unwrap();
        build.clean_up(None).await;
        assert!(!build.has_clean_ups_after(CleanupId::default()) && !holds(&job));
        build.let_go();
    }
}
