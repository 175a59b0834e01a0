//! A shell in the guest and the command that runs in it (MS-WSMV §3.1.4). A shell per command: what one command sets for those after it, such
//! as the search path, is seen by new shells only.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::endpoint::Endpoint;
use super::error::{Attempt, Failure, Stage};
use super::soap::answer::{Fault, Received, made};
use super::soap::request::{Input, Request};

/// How long the service may take for what it does at once. It starts a process for a shell.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the service waits for output before it says that there was none.
pub(super) const OUTPUT_PATIENCE: Duration = Duration::from_secs(20);

/// How long a command that was refused something may take to say how it ended.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long giving a shell back may take, or the making of one that nobody waits for any more.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// A shell with one command. Dropping it ends both in the guest, soon after.
pub(crate) struct Shell {
    endpoint: Arc<Endpoint>,
    id: String,
    command: Option<String>,
}

impl Shell {
    /// Makes a shell.
    pub(crate) async fn open(endpoint: &Arc<Endpoint>) -> Result<Self, Attempt> {
        let (mut taker, made) = oneshot::channel();
        let endpoint = Arc::clone(endpoint);
        // A task of its own: once the guest was asked, somebody has to be there to give the shell back.
        tokio::spawn(async move {
            let making = endpoint.giving_back();
            let answer = tokio::select! {
                biased;
                answer = Self::make(&endpoint) => answer,
                () = async { taker.closed().await; sleep(END_TIMEOUT).await } => return,
            };
            // A shell that nobody takes is dropped here, which gives it back.
            drop(taker.send(answer));
            drop(making);
        });
        made.await.unwrap_or_else(|_| Err(Attempt::new(Stage::Silent, Failure::TimeUp)))
    }

    async fn make(endpoint: &Arc<Endpoint>) -> Result<Self, Attempt> {
        let root = endpoint.ask(&Request::Create, PATIENCE).await?;
        let id = made(&root, "ShellId").ok_or_else(|| unreadable("it names no shell"))?;
        Ok(Self { endpoint: Arc::clone(endpoint), id, command: None })
    }

    /// Starts its command.
    pub(crate) async fn start(&mut self, line: &str, input: Input) -> Result<(), Attempt> {
        let request = Request::Command { shell: &self.id, line, input };
        let root = self.endpoint.ask(&request, PATIENCE).await?;
        self.command = Some(made(&root, "CommandId").ok_or_else(|| unreadable("it names no command"))?);
        Ok(())
    }

    fn command(&self) -> &str {
        self.command.as_deref().unwrap_or_default()
    }

    /// Waits until the command has written something or has ended. No output in the time that the service is given is nothing yet.
    pub(crate) async fn receive(&self, patience: Duration) -> Result<Received, Attempt> {
        let request = Request::Receive { shell: &self.id, command: self.command() };
        match self.endpoint.ask(&request, patience).await {
            Ok(root) => Received::of(&root).map_err(unreadable),
            Err(attempt) if attempt.fault().is_some_and(Fault::is_time_out) => Ok(Received::default()),
            Err(attempt) => Err(attempt),
        }
    }

    /// Gives the command more input, in Base64; `end`: there is no more.
    pub(crate) async fn send(&self, base64: &str, end: bool) -> Result<(), Attempt> {
        let request = Request::Send { shell: &self.id, command: self.command(), base64, end };
        self.endpoint.ask(&request, PATIENCE).await.map(drop)
    }
}

fn unreadable(what: &'static str) -> Attempt {
    Attempt::new(Stage::NotWsMan, Failure::NotWsMan { what })
}

impl Drop for Shell {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let giving_back = self.endpoint.giving_back();
        let (endpoint, id) = (Arc::clone(&self.endpoint), std::mem::take(&mut self.id));
        runtime.spawn(async move {
            // The end of a shell is the end of its command.
            let end = async {
                if let Err(attempt) = endpoint.ask(&Request::Delete { shell: &id }, END_TIMEOUT).await {
                    tracing::debug!(address = %endpoint.address(), stage = %attempt.stage, "a shell may be left in the guest");
                }
            };
            // The guest gives up a shell by itself when nobody has used it for long.
            let _ = timeout(END_TIMEOUT, end).await;
            drop(giving_back);
        });
    }
}
