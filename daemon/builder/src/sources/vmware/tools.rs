//! VMware's tools for guests: the CD that holds them, put into a drive or into the guest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_communicators::{Communicator, NoProgress};
use kiln_hypervisors::Hypervisor;

use crate::context::BuildContext;
use crate::error::StepError;
use crate::plan::VmwarePlan;

/// Finds the CD: the template's own, else VMware's.
pub(super) async fn find(plan: &VmwarePlan, hypervisor: &dyn Hypervisor) -> Result<Option<PathBuf>, StepError> {
    if let Some(source) = &plan.tools.source {
        return Ok(Some(source.clone()));
    }
    let flavor = plan.tools.flavor.as_deref().unwrap_or_default();
    match hypervisor.guest_tools(flavor).await {
        Some(disc) => Ok(Some(disc)),
        None => Err(StepError::new(format!("VMware has no CD with its tools for {flavor} here"))
            .with_hint("download it in VMware's menus, or set tools_source_path to an ISO file")),
    }
}

/// Puts the CD into the guest as a file.
pub(super) async fn upload(
    plan: &VmwarePlan,
    disc: &Path,
    communicator: Arc<dyn Communicator>,
    context: &BuildContext,
) -> Result<(), StepError> {
    let text = &plan.tools.path;
    let mut fields = kiln_template::go_template::Context::default();
    fields.fields.insert("Flavor".to_owned(), plan.tools.flavor.clone().unwrap_or_default().into());
    let path = kiln_template::go_template::render(text, &fields)
        .map_err(|error| StepError::new(format!("tools_upload_path {text:?} cannot be rendered")).with_source(error))?;
    context.say(format!("Uploading VMware Tools to {path}..."));
    communicator.upload_file(disc, &path, None, &NoProgress).await?;
    Ok(())
}
