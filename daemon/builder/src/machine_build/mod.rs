//! The recipe of every build with a guest, written once: prepare → bring up → provision → finish. What builders differ in is behind
//! [`MachineBuilder`]; post-processors follow for all builds alike ([`crate::run`]).
//!
//! Each line below is a recorded step, in this order. A build that goes on where another process ended ([`Chain::goes_on`])
//! takes the same steps: it prepares again what died with that process, keeps what lies on the disk, starts the machine from
//! its saved state, and passes over what the guest has behind it.
//!
//! ```text
//! prepare    fetch, output, work, media, disk, firmware, serve, key
//! bring up   start, boot (new machines only), connect
//! provision  each provisioner
//! finish     clear-key, shut-down, export, keep
//! ```
//!
//! [`Chain::goes_on`]: crate::records::Chain::goes_on

mod bring_up;
mod builder;
mod fields;
mod finish;
mod prepare;
mod recipe;
mod work;

pub(crate) use self::builder::{GuestPlan, MachineBuilder, Media, Render};
use self::recipe::Recipe;

use crate::abandon;
use crate::backends::Backends;
use crate::built::{Built, PlannedBuild};
use crate::context::BuildContext;
use crate::error::BuildError;
use crate::provisioners::ProvisionContext;
use crate::steps::provision;

/// Builds the image.
pub(crate) async fn run(
    index: usize,
    builder: &dyn MachineBuilder,
    planned: &PlannedBuild,
    context: &BuildContext,
    backends: &Backends,
) -> Result<Built, BuildError> {
    let recipe = Recipe { index, builder, plan: builder.guest(), planned, context, backends };
    let prepared = recipe.prepare().await?;
    let guest = recipe.bring_up(&prepared).await?;
    let provisioning = ProvisionContext {
        build: context.clone(),
        communicator: guest.communicator_or_none(),
        data: guest.data.clone(),
    };
    let cleanup = planned.build.cleanup_provisioner.as_ref();
    let machine = guest.machine.clone();
    let built = async {
        provision::run(&provisioning, &planned.build.provisioners, cleanup, Some(&*machine)).await?;
        recipe.finish(guest, prepared).await
    };
    let built = built.await;
    if built.as_ref().is_err_and(|error| context.aborts_after(error)) {
        let kind = provisioning.communicator_kind();
        abandon::settle(&*provisioning.communicator, kind, &*machine, context).await;
    }
    built
}
