//! Finds out where a guest is reached.

use futures_util::FutureExt as _;
use kiln_hypervisors::{BoxFuture, Endpoint, Machine};

use super::access::Access;
use super::evidence;
use crate::context::BuildContext;
use crate::error::StepError;

/// Where `guest_port` of our guest is reached, as the hypervisor knows it.
pub(crate) async fn of_guest(
    access: &Access,
    guest_port: u16,
    machine: &dyn Machine,
    context: &BuildContext,
) -> Result<Endpoint, StepError> {
    let mut asking = machine.endpoint(guest_port);
    let found = match (&mut asking).now_or_never() {
        Some(found) => found,
        None => match wait(asking, access, guest_port, machine, context).await {
            Ok(found) => found,
            Err(error) => {
                evidence::show(machine, context).await;
                return Err(error);
            }
        },
    };
    if let Some(endpoint) = found {
        return Ok(endpoint);
    }
    let exit = machine.exited().await;
    evidence::show(machine, context).await;
    let title = access.config("", guest_port)?.kind().title();
    let error = StepError::new(format!("the machine stopped before {title} became available: {exit}"));
    Err(error.with_hint_maybe(exit.hint()))
}

async fn wait(
    asking: BoxFuture<'_, Option<Endpoint>>,
    access: &Access,
    guest_port: u16,
    machine: &dyn Machine,
    context: &BuildContext,
) -> Result<Option<Endpoint>, StepError> {
    let settings = access.config("", guest_port)?;
    let (kind, limit) = (settings.kind(), settings.timeout());
    let _wait = context.waiting("the guest's address", limit);
    let Some(limit) = limit else { return Ok(asking.await) };
    if let Ok(found) = tokio::time::timeout(limit, asking).await {
        return Ok(found);
    }
    let (title, tried) = (kind.title(), machine.network().await.tried);
    let tried = if tried.is_empty() { String::new() } else { format!(" ({})", tried.join("; ")) };
    let error = format!("Timeout waiting for {title}. The hypervisor does not know the guest's address{tried}");
    Err(StepError::new(error)
        .with_hint(format!("set {}_host to an address where the guest can be reached", kind.name())))
}
