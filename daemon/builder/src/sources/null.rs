//! The null builder: no machine of its own, only a connection to one that is there.

use std::sync::Arc;
use std::time::Duration;

use kiln_communicators::none::NoCommunicator;

use super::communicator::{self, TemporaryKey};
use crate::artifact::{Artifact, Ownership};
use crate::backends::Backends;
use crate::built::{Built, PlannedBuild};
use crate::context::BuildContext;
use crate::error::BuildError;
use crate::option_values::OptionValues;
use crate::plan::NullPlan;
use crate::provisioners::ProvisionContext;
use crate::steps::access::Access;
use crate::steps::{connect, provision};

pub(crate) fn read(options: OptionValues<'_>) -> NullPlan {
    NullPlan { communicator: communicator::read(options, TemporaryKey::NotMade) }
}

/// How long a host that went away is waited for at the end.
const CLEAN_LIMIT: Duration = Duration::from_secs(5);

/// The artifact of the null builder.
pub(crate) fn artifact() -> Artifact {
    Artifact {
        builder_id: "fnoeding.null".to_owned(),
        id: "Null".to_owned(),
        text: "Did not export anything. This is the null builder".to_owned(),
        files: Vec::new(),
        ownership: Ownership::Nothing,
    }
}

/// Connects and provisions.
pub(crate) async fn run(
    plan: &NullPlan,
    planned: &PlannedBuild,
    context: &BuildContext,
    backends: &Backends,
) -> Result<Built, BuildError> {
    let mut data = planned.base_data(context);
    let provisioners = &planned.build.provisioners;
    let access = Access::to_named_host(&plan.communicator)?;
    let connected = connect::connect(&access, None, &mut data, context, backends).await?;
    if connected.is_some() {
        data.machine_id = Some("Null".to_owned());
    }
    let communicator = connected.unwrap_or_else(|| Arc::new(NoCommunicator));
    let provisioning =
        ProvisionContext { build: context.clone(), communicator: communicator.clone(), data: Arc::new(data.clone()) };
    let cleanup = planned.build.cleanup_provisioner.as_ref();
    let result = provision::run(&provisioning, provisioners, cleanup, None).await;
    // Nobody needs the host any more: it is not waited for long because of files that are to be removed from it.
    if result.is_ok()
        && !context.left_in_guest.is_empty()
        && tokio::time::timeout(CLEAN_LIMIT, context.left_in_guest.remove(&*communicator)).await.is_err()
    {
        tracing::debug!("the host has not come back");
    }
    if let Some(text) = context.left_in_guest.last_words() {
        context.say(text);
    }
    communicator.close().await;
    result?;
    Ok(Built { artifact: artifact(), data, machine: None, exported: Vec::new(), held: None })
}
