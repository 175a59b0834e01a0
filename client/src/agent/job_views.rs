//! Jobs in KDE's list of running jobs: `org.kde.JobViewServer`, and `org.kde.JobViewV2` for each.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;
use zbus::{Connection, DynamicType, Message, OwnedObjectPath};

use super::complaint::complain;
use super::desk::Progress;
use super::news::Thing;

pub(super) const SERVER: &str = "org.kde.JobViewServer";
const PATH: &str = "/JobViewServer";
pub(super) const VIEW: &str = "org.kde.JobViewV2";

/// Time for the desktop to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// `KJob::Killable`: the view has a button to cancel it.
const KILLABLE: i32 = 1;

/// Views of jobs that run.
pub(super) struct JobViews {
    bus: Connection,
    /// Whether a server is there.
    pub(super) is_there: bool,
    views: HashMap<Thing, View>,
}

struct View {
    path: OwnedObjectPath,
    shown: Progress,
}

impl JobViews {
    pub(super) fn on(bus: Connection, is_there: bool) -> Self {
        Self { bus, is_there, views: HashMap::new() }
    }

    /// A server has come, or the one that was there has gone, and with it all views.
    pub(super) fn is_there_now(&mut self, is_there: bool) {
        self.is_there = is_there;
        self.views.clear();
    }

    /// Shows how a job goes on. What the desktop does not take now it is told with the next change.
    pub(super) async fn show(&mut self, thing: Thing, progress: Progress) {
        if let Err(error) = self.try_to_show(thing, progress).await {
            complain(&format!("{SERVER} does not show a job: {error}"));
        }
    }

    async fn try_to_show(&mut self, thing: Thing, progress: Progress) -> zbus::Result<()> {
        let (path, before) = match self.views.remove(&thing) {
            Some(view) => (view.path, Some(view.shown)),
            None => {
                let arguments = ("Kiln", "drive-harddisk", KILLABLE);
                let call = self.bus.call_method(Some(SERVER), PATH, Some(SERVER), "requestView", &arguments);
                (answered(call).await?.body().deserialize()?, None)
            }
        };
        let is_new = |of: fn(&Progress) -> &str| before.as_ref().is_none_or(|before| of(before) != of(&progress));
        if is_new(|progress| &progress.title) {
            self.tell(&path, "setInfoMessage", &(progress.title.as_str(),)).await?;
        }
        if is_new(|progress| &progress.step) {
            self.tell(&path, "setDescriptionField", &(0u32, "Step", progress.step.as_str())).await?;
        }
        if let Some(percent) =
            progress.percent.filter(|_| before.is_none_or(|before| before.percent != progress.percent))
        {
            self.tell(&path, "setPercent", &(percent,)).await?;
        }
        self.views.insert(thing, View { path, shown: progress });
        Ok(())
    }

    /// Ends the view of a job; with an error, if it has ended with one.
    pub(super) async fn end(&mut self, thing: &Thing, error: &str) {
        if let Some(view) = self.views.remove(thing) {
            // A desktop that has gone has taken it along.
            let _ = self.tell(&view.path, "terminate", &(error,)).await;
        }
    }

    /// Ends all views.
    pub(super) async fn end_all(&mut self) {
        let things: Vec<Thing> = self.views.keys().cloned().collect();
        for thing in things {
            self.end(&thing, "").await;
        }
    }

    /// Returns the job of a view.
    pub(super) fn job_of(&self, path: &str) -> Option<Thing> {
        self.views.iter().find(|(_, view)| view.path.as_str() == path).map(|(thing, _)| thing.clone())
    }

    async fn tell<B: Serialize + DynamicType>(
        &self,
        path: &OwnedObjectPath,
        method: &'static str,
        arguments: &B,
    ) -> zbus::Result<()> {
        answered(self.bus.call_method(Some(SERVER), path, Some(VIEW), method, arguments)).await.map(drop)
    }
}

async fn answered(call: impl Future<Output = zbus::Result<Message>>) -> zbus::Result<Message> {
    timeout(ANSWER_TIMEOUT, call).await.unwrap_or_else(|_| Err(zbus::Error::Failure("no answer in time".to_owned())))
}
