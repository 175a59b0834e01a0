//! Provisioning a guest that may stop under it.

use std::time::Duration;

use kiln_hypervisors::Machine;
use kiln_template::Provisioner;

use crate::error::StepError;
use crate::provisioners::{self, ProvisionContext};

/// How long a provisioner may take to notice that its guest has gone, before it is told.
const NOTICE: Duration = Duration::from_secs(5);

/// Runs the provisioners, and stops them when the machine stops.
pub(crate) async fn run(
    context: &ProvisionContext,
    provisioners: &[Provisioner],
    cleanup: Option<&Provisioner>,
    machine: &dyn Machine,
) -> Result<(), StepError> {
    let work = provisioners::run_all(context, provisioners, cleanup);
    tokio::pin!(work);
    let exit = tokio::select! {
        result = &mut work => return result,
        exit = machine.exited() => exit,
    };
    match tokio::time::timeout(NOTICE, work).await {
        Ok(result) => result,
        Err(_) => Err(StepError::new(format!("the machine stopped while it was provisioned: {exit}"))
            .with_hint("a provisioner that shuts the guest down must be the last one; use shutdown_command instead")),
    }
}
