//! Finds out where a machine's guest is reached.

use futures_util::FutureExt as _;
use kiln_communicators::ConnectConfig;
use kiln_hypervisors::{BoxFuture, Endpoint, Machine};

use super::evidence;
use crate::context::BuildContext;
use crate::error::{BuildError, StepError};

/// The step that needs to know it.
const STEP: &str = "connect";

/// Where `port` of the guest is reached. Most hypervisors know at once; the others are waited for as long as the connection itself
/// may take.
pub(crate) async fn of_guest(
    machine: &dyn Machine,
    port: u16,
    config: &ConnectConfig,
    context: &BuildContext,
) -> Result<Endpoint, BuildError> {
    let mut asking = machine.endpoint(port);
    let found = match (&mut asking).now_or_never() {
        Some(found) => found,
        None => wait(asking, config, context).await?,
    };
    if let Some(endpoint) = found {
        return Ok(endpoint);
    }
    let exit = machine.exited().await;
    evidence::show(machine, context).await;
    let title = config.kind().title();
    let error = StepError::new(format!("the machine stopped before {title} became available: {exit}"));
    Err(BuildError::new(STEP, error.with_hint_maybe(exit.hint())))
}

async fn wait(
    asking: BoxFuture<'_, Option<Endpoint>>,
    config: &ConnectConfig,
    context: &BuildContext,
) -> Result<Option<Endpoint>, BuildError> {
    let _wait = context.waiting("the guest's address", config.timeout());
    let limited = async {
        let Some(limit) = config.timeout() else { return Ok(asking.await) };
        tokio::time::timeout(limit, asking).await.map_err(|_| {
            let title = config.kind().title();
            let text = format!("Timeout waiting for {title}. The hypervisor does not know the guest's address");
            let hint = "set ssh_host (or winrm_host) to an address where the guest can be reached";
            BuildError::new(STEP, StepError::new(text).with_hint(hint))
        })
    };
    tokio::select! {
        () = context.cancel().cancelled() => Err(BuildError::cancelled(STEP)),
        found = limited => found,
    }
}
