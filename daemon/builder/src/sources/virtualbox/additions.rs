//! The guest additions and VirtualBox's version: found or fetched, and put into the guest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_communicators::{Communicator, NoProgress};
use kiln_hypervisors::Hypervisor;

use crate::context::BuildContext;
use crate::error::StepError;
use crate::fetch;
use crate::plan::{AdditionsMode, ImagePlan, VirtualBoxPlan};
use crate::steps::image;

/// Where Oracle keeps them, with their checksums beside.
const WEB_SITE: &str = "https://download.virtualbox.org/virtualbox";

/// VirtualBox's version, without which neither the additions nor their place can be named.
async fn version(hypervisor: &dyn Hypervisor) -> Result<String, StepError> {
    let found = hypervisor.probe().await;
    found.version.ok_or_else(|| {
        let reason = found.reason.unwrap_or_else(|| "it does not tell its version".to_owned());
        StepError::new(format!("VirtualBox cannot be used: {reason}")).with_hint_maybe(found.hint)
    })
}

/// Puts the version into a text of the template.
fn with_version(text: &str, version: &str) -> Result<String, StepError> {
    let mut context = kiln_template::go_template::Context::default();
    context.fields.insert("Version".to_owned(), version.into());
    kiln_template::go_template::render(text, &context)
        .map_err(|error| StepError::new(format!("{text:?} cannot be rendered")).with_source(error))
}

/// The CD with the guest additions: the template's, else VirtualBox's own, else the web site's.
pub(super) async fn find(
    plan: &VirtualBoxPlan,
    hypervisor: &dyn Hypervisor,
    context: &BuildContext,
) -> Result<Option<PathBuf>, StepError> {
    let given = plan.additions.sha256.as_ref().map(|sum| format!("sha256:{sum}"));
    let fetching = match &plan.additions.url {
        Some(url) => {
            let url = if url.contains("{{") { with_version(url, &version(hypervisor).await?)? } else { url.clone() };
            additions(url, given.unwrap_or_else(|| "none".to_owned()))
        }
        None => {
            if let Some(own) = hypervisor.guest_tools("").await {
                if let Some(sum) = given {
                    // What is here is verified in place.
                    return image::fetch(&additions(own.display().to_string(), sum), "guest additions", context)
                        .await
                        .map(Some);
                }
                context.say(format!("Using VirtualBox's own guest additions: {}", own.display()));
                return Ok(Some(own));
            }
            let version = version(hypervisor).await?;
            let url = format!("{WEB_SITE}/{version}/VBoxGuestAdditions_{version}.iso");
            additions(url, given.unwrap_or_else(|| format!("file:{WEB_SITE}/{version}/SHA256SUMS")))
        }
    };
    image::fetch(&fetching, "guest additions", context).await.map(Some).map_err(or_without_them)
}

/// Says how to do without what could not be had, besides what may help to get it.
fn or_without_them(error: StepError) -> StepError {
    let without = "set guest_additions_mode = \"disable\" when the guest needs none, or guest_additions_url to a file";
    let hint = match error.hint() {
        Some(hint) => format!("{hint}; or {without}"),
        None => without.to_owned(),
    };
    error.with_hint(hint)
}

fn additions(url: String, checksum: String) -> ImagePlan {
    debug_assert!(fetch::parse_checksum(&checksum).is_ok() || checksum.starts_with("sha256:"));
    let extension = "iso".to_owned();
    ImagePlan { urls: vec![url], checksum, target_path: None, extension, skip_cache: false, written: None }
}

/// Whether anything is put into the guest.
pub(super) fn are_uploaded(plan: &VirtualBoxPlan) -> bool {
    plan.version_file.is_some() || plan.additions.mode == AdditionsMode::Upload
}

/// Puts the version and, when asked to, the guest additions into the guest.
pub(super) async fn upload(
    plan: &VirtualBoxPlan,
    tools: Option<&Path>,
    hypervisor: &dyn Hypervisor,
    communicator: Arc<dyn Communicator>,
    context: &BuildContext,
) -> Result<(), StepError> {
    let version = version(hypervisor).await?;
    if let Some(path) = &plan.version_file {
        context.say(format!("Uploading VirtualBox version info ({version})"));
        communicator.upload_bytes(version.as_bytes(), path, 0o644).await?;
    }
    if let Some(tools) = tools.filter(|_| plan.additions.mode == AdditionsMode::Upload) {
        let path = with_version(&plan.additions.path, &version)?;
        context.say(format!("Uploading VirtualBox guest additions ISO => {path}"));
        communicator.upload_file(tools, &path, None, &NoProgress).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_get_them_is_told_how_to_do_without() {
        let hint = |error: StepError| or_without_them(error).hint().unwrap().to_owned();
        assert!(hint(StepError::new("no network")).starts_with("set guest_additions_mode = \"disable\""));
        let both = hint(StepError::new("no network").with_hint("check the proxy"));
        assert!(both.starts_with("check the proxy; or set guest_additions_mode = \"disable\""), "{both}");
    }
}
