//! What the methods do: each asks the jobs, with the caller, and shows nothing that the caller may not see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kiln_protocol::{CancelMode, Job, JobId, JobState};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use zbus::{Fd, Message, OwnedVariant};

use super::call::{Call, no_object};
use super::failure::{Failure, READ_ONLY, UNKNOWN_INTERFACE, UNKNOWN_METHOD, UNKNOWN_PROPERTY};
use super::interface::{BUILD, INTROSPECTABLE, JOB, MANAGER, OBJECT_MANAGER, PEER, PROMPT, PROPERTIES};
use super::introspection;
use super::options::{Named, Options};
use super::place::Place;
use super::reporter::Reporter;
use super::specification;
use super::streams::{self, Content, Streams};
use super::tree::Tree;
use super::value::{Sent, Value, path, sent};
use super::view;
use crate::caller::Caller;
use crate::jobs::{Follower, Jobs, Submission};
use crate::journal::Wanted;

/// Time for a new job to have its objects.
const SHOWING_TIMEOUT: Duration = Duration::from_millis(500);

/// Jobs in a list when the caller does not say, and at most: a list is one message.
const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;

/// What calls are answered from. Cheap to clone.
#[derive(Clone)]
pub(super) struct Served {
    jobs: Jobs,
    tree: Arc<Mutex<Tree>>,
    /// Changes whenever objects have.
    told: watch::Receiver<()>,
    streams: Streams,
    shutdown: CancellationToken,
}

impl Served {
    pub(super) fn new(jobs: &Jobs, reporter: &Reporter, streams: Streams, shutdown: CancellationToken) -> Self {
        let (tree, told) = (reporter.tree(), reporter.told());
        Self { jobs: jobs.clone(), tree, told, streams, shutdown }
    }

    /// Carries out a call.
    pub(super) async fn carry_out(&self, message: &Message, at: &str, caller: Caller) -> Result<Message, Failure> {
        // Before anything about what is there is said.
        self.jobs.admit(&caller).await?;
        let call = Call::of(message, at, caller)?;
        if let Some(job) = call.place.as_ref().and_then(Place::job)
            && !asks_the_jobs(&call)
        {
            self.jobs.may_see(&caller, job).await?;
            if self.tree().values(call.object()?).is_none() {
                return Err(no_object(at));
            }
        }
        match (call.interface.name, call.method.name) {
            (PEER, "Ping") => call.answer(&()),
            (PEER, _) => call.answer(&(machine_id()?,)),
            (INTROSPECTABLE, _) => {
                let shown = self.seen_by(&caller).await;
                let text = introspection::describe(at, &shown).ok_or_else(|| no_object(at))?;
                call.answer(&(text,))
            }
            (PROPERTIES, "Get") => self.property(&call).await,
            (PROPERTIES, "GetAll") => {
                let (name,): (String,) = call.arguments()?;
                self.with_own_values(&call, &name, |values| call.answer(values)).await
            }
            (PROPERTIES, _) => {
                let (_, name, _): (String, String, OwnedVariant) = call.arguments()?;
                Err(Failure::new(READ_ONLY, format!("{name} cannot be set")))
            }
            (OBJECT_MANAGER, _) => self.managed_objects(&call).await,
            (MANAGER, "Submit") => self.submit(&call).await,
            (MANAGER, "ListJobs") => self.list(&call).await,
            (JOB, "Cancel") => self.cancel(&call).await,
            (JOB, "OpenEvents") => self.open_events(&call).await,
            (JOB, "OpenLog") => self.open_log(&call).await,
            (JOB | BUILD, "Screenshot") => self.screenshot(&call).await,
            (PROMPT, "Answer") => self.answer(&call).await,
            (interface, method) => Err(Failure::new(UNKNOWN_METHOD, format!("{interface}.{method} does nothing"))),
        }
    }

    /// Says whether the caller sees the jobs of all users.
    pub(super) async fn sees_everything(&self, caller: &Caller) -> bool {
        self.jobs.sees_everything(caller).await.unwrap_or(false)
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the objects of jobs that the caller may see.
    async fn seen_by(&self, caller: &Caller) -> Vec<Place> {
        // One question for each user: polkit is another process.
        let owners = self.tree().owners();
        let mut seen = BTreeSet::new();
        for owner in owners {
            if self.jobs.sees_jobs_of(caller, owner).await.is_ok_and(|sees| sees) {
                seen.insert(owner);
            }
        }
        let tree = self.tree();
        let jobs = tree.jobs().filter(|job| tree.owner(job).is_some_and(|owner| seen.contains(&owner)));
        jobs.flat_map(|job| tree.objects(job).map(|(place, _)| place.clone())).collect()
    }

    async fn property(&self, call: &Call<'_>) -> Result<Message, Failure> {
        let (interface, name): (String, String) = call.arguments()?;
        self.with_own_values(call, &interface, |values| match values.get(name.as_str()) {
            Some(value) => call.answer(&(value,)),
            None => Err(Failure::new(UNKNOWN_PROPERTY, format!("{} has no property {name}", call.path))),
        })
        .await
    }

    /// Answers from the properties that the object has of an interface. Of the standard ones there are none.
    async fn with_own_values(
        &self,
        call: &Call<'_>,
        interface: &str,
        answer: impl FnOnce(&Sent<'_>) -> Result<Message, Failure>,
    ) -> Result<Message, Failure> {
        let place = call.object()?;
        if !introspection::names(Some(place)).contains(&interface) {
            return Err(Failure::new(UNKNOWN_INTERFACE, format!("{} has no interface {interface}", call.path)));
        }
        if place.interface() != interface {
            return answer(&Sent::new());
        }
        if *place == Place::Manager {
            // Each caller counts the jobs that it sees.
            return answer(&sent(&view::manager(self.jobs.counts(&call.caller).await?)));
        }
        let tree = self.tree();
        let values = tree.values(place).ok_or_else(|| no_object(call.path))?;
        answer(&sent(values))
    }

    async fn managed_objects(&self, call: &Call<'_>) -> Result<Message, Failure> {
        let shown = self.seen_by(&call.caller).await;
        let tree = self.tree();
        let paths: Vec<_> = shown.iter().map(Place::to_string).collect();
        let objects = shown.iter().zip(&paths).filter_map(|(place, at)| {
            let interfaces = BTreeMap::from([(place.interface(), sent(tree.values(place)?))]);
            Some((path(at), interfaces))
        });
        call.answer(&(objects.collect::<BTreeMap<_, _>>(),))
    }

    async fn submit(&self, call: &Call<'_>) -> Result<Message, Failure> {
        let (specification, options): (Named, Named) = call.arguments()?;
        let key = Options::new(options)?.text("idempotency_key")?;
        let request = specification::submission(&specification)?;
        // The same request is the same digest, whatever order its dictionary came in.
        let text = serde_json::to_vec(&request).map_err(|error| Failure::argument(error.to_string()))?;
        let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, &text).to_string();
        let (job, _) = self.jobs.submit(&call.caller, Submission { request, key, digest }).await?;
        self.wait_until_shown(&job.id).await;
        call.answer(&(path(&Place::Job(job.id).to_string()),))
    }

    /// Waits for the objects of a new job: what is answered is there.
    async fn wait_until_shown(&self, id: &JobId) {
        let mut told = self.told.clone();
        let shown = async { while !self.tree().shows(id) && told.changed().await.is_ok() {} };
        // One that was submitted before, with the same key, may be shown no longer; nor is one shown where there are too many.
        let _ = timeout(SHOWING_TIMEOUT, shown).await;
    }

    async fn list(&self, call: &Call<'_>) -> Result<Message, Failure> {
        let (filter,): (Named,) = call.arguments()?;
        let filter = Options::new(filter)?;
        let state = |name: &String| {
            let known = JobState::ALL.into_iter().find(|state| state.as_str() == name);
            let names = JobState::ALL.map(JobState::as_str).join(", ");
            known.map(Into::into).ok_or_else(|| Failure::argument(format!("`state` has `{name}`, not one of {names}")))
        };
        let states = filter.texts("state")?.unwrap_or_default().iter().map(state).collect::<Result<_, _>>()?;
        let limit = filter.number("limit")?.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        // It counts until it is a message; that is the bus's to hold.
        let _turn = self.jobs.turn_for_list(&call.caller).await?;
        let jobs = self.jobs.list(&call.caller, Wanted { states, ..Wanted::newest(limit) }).await?;
        let tree = self.tree();
        let rows: Vec<_> = jobs.iter().map(|job| row(job, tree.shows(&job.id))).collect();
        call.answer(&(rows.iter().map(sent).collect::<Vec<_>>(),))
    }

    async fn cancel(&self, call: &Call<'_>) -> Result<Message, Failure> {
        let (options,): (Named,) = call.arguments()?;
        let mode = match Options::new(options)?.text("mode")?.as_deref() {
            None | Some("graceful") => CancelMode::Graceful,
            Some("now") => CancelMode::Now,
            Some(other) => return Err(Failure::argument(format!("`mode` is `{other}`, not graceful or now"))),
        };
        self.jobs.cancel(&call.caller, job_of(call)?, mode).await?;
        call.answer(&())
    }

    async fn open_events(&self, call: &Call<'_>) -> Result<Message, Failure> {
        let (after, options): (u64, Named) = call.arguments()?;
        self.open(call, after, options, Content::Events).await
    }

    async fn open_log(&self, call: &Call<'_>) -> Result<Message, Failure> {
        let (options,): (Named,) = call.arguments()?;
        self.open(call, 0, options, Content::Log).await
    }

    async fn open(&self, call: &Call<'_>, after: u64, options: Named, content: Content) -> Result<Message, Failure> {
        let follow = Options::new(options)?.truth("follow")?.unwrap_or(true);
        let permit = self.streams.permit(call.caller.counts_as())?;
        let id = job_of(call)?.clone();
        let follower = Follower::open(&self.jobs, call.caller, id, after, follow, self.shutdown.clone()).await?;
        let reader = streams::start(follower, content, permit)?;
        call.answer(&(Fd::from(reader),))
    }

    async fn screenshot(&self, call: &Call<'_>) -> Result<Message, Failure> {
        let (options,): (Named,) = call.arguments()?;
        let options = Options::new(options)?;
        let place = call.object()?;
        let build = match place {
            Place::Build(..) => Some(self.name_of(call).await?),
            _ => options.text("build")?,
        };
        let permit = self.streams.permit(call.caller.counts_as())?;
        let picture = self.jobs.screen(&call.caller, job_of(call)?, build).await?;
        call.answer(&(Fd::from(streams::picture(picture, permit)?),))
    }

    async fn answer(&self, call: &Call<'_>) -> Result<Message, Failure> {
        let (answer, options): (String, Named) = call.arguments()?;
        Options::new(options)?;
        let prompt = self.name_of(call).await?;
        self.jobs.answer(&call.caller, job_of(call)?, prompt, answer).await?;
        call.answer(&())
    }

    /// Returns what the jobs call the object. Of a job that the caller may not see, what is not there is refused as what is.
    async fn name_of(&self, call: &Call<'_>) -> Result<String, Failure> {
        let name = self.tree().object(call.object()?).map(|object| object.name.clone());
        if name.is_none() {
            self.jobs.may_see(&call.caller, job_of(call)?).await?;
        }
        name.ok_or_else(|| no_object(call.path))
    }
}

/// Whether the jobs are asked for leave by what the method does. A person is asked for a password once then, and not for a look before.
fn asks_the_jobs(call: &Call<'_>) -> bool {
    matches!(call.interface.name, JOB | BUILD | PROMPT)
}

fn job_of<'a>(call: &'a Call<'_>) -> Result<&'a JobId, Failure> {
    call.object()?.job().ok_or_else(|| no_object(call.path))
}

/// Describes a job in a list. What is over and no longer shown has no path.
fn row(job: &Job, is_shown: bool) -> super::value::Values {
    let path = if is_shown { Place::Job(job.id.clone()).to_string() } else { "/".to_owned() };
    let text = |text: &Option<String>| Value::from(text.clone().unwrap_or_default());
    [
        ("Id", Value::from(job.id.as_str())),
        ("Path", Value::Path(path)),
        ("Kind", Value::from(job.kind.as_str())),
        ("Template", Value::from(job.template.as_str())),
        ("State", Value::from(job.state.as_str())),
        ("CreatedAt", view::time(Some(&job.created_at))),
        ("FinishedAt", view::time(job.finished_at.as_deref())),
        ("ExitCode", Value::Signed(job.exit_code.map_or(-1, i32::from))),
        ("Error", text(&job.error)),
    ]
    .into()
}

/// Returns the identity of this machine (machine-id(5)).
fn machine_id() -> Result<String, Failure> {
    let text =
        std::fs::read_to_string("/etc/machine-id").or_else(|_| std::fs::read_to_string("/var/lib/dbus/machine-id"));
    let text = text.map_err(|error| Failure::new(super::failure::FAILED, format!("no machine id: {error}")))?;
    Ok(text.trim().to_owned())
}
