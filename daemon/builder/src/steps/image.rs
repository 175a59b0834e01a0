//! Fetches the installer or disk image, or finds who has it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::context::BuildContext;
use crate::error::StepError;
use crate::fetch::{self, FetchRequest, Target, WaitingFn};
use crate::plan::ImagePlan;

/// Returns the local path of the image, downloading it when it is not here yet; or the URL from which the hypervisor reads it. `noun` is
/// what people call it.
pub(crate) async fn fetch(plan: &ImagePlan, noun: &str, context: &BuildContext) -> Result<PathBuf, StepError> {
    context.say(format!("Retrieving {noun}"));
    if plan.skip_cache {
        return find(plan, noun, context).await;
    }
    let cwd = std::env::current_dir()
        .map_err(|error| StepError::new("cannot tell the working directory").with_source(error))?;
    let say = |text: String| context.say(text);
    let teller = context.clone();
    let waiting: WaitingFn = Arc::new(move |what, limit| Box::new(teller.waiting(what, Some(limit))));
    let spec = fetch::parse_checksum(&plan.checksum).map_err(StepError::wrap)?;
    let first = plan.urls.first().map_or("", String::as_str);
    let checksum = fetch::resolve_checksum(&spec, first, &cwd, &say, waiting.clone()).await?;
    let request = FetchRequest {
        urls: plan.urls.clone(),
        checksum,
        target: Target { path: plan.target_path.clone(), extension: plan.extension.clone() },
        cache_dir: context.settings.cache_dir.clone(),
        ledger: Some(context.ledger.clone()),
    };
    let what = format!("download {first}");
    let progress = |done: u64, total: Option<u64>| context.progress(&what, done, total);
    let fetched = fetch::fetch(&request, &progress, &say, waiting).await?;
    Ok(fetched.path)
}

/// The first of the image's URLs whose server gives parts of it.
async fn find(plan: &ImagePlan, noun: &str, context: &BuildContext) -> Result<PathBuf, StepError> {
    let say = |text: String| context.say(text);
    let teller = context.clone();
    let waiting: WaitingFn = Arc::new(move |what, limit| Box::new(teller.waiting(what, Some(limit))));
    let url = fetch::find_read_by_others(&plan.urls, &say, waiting).await?;
    context.say(format!("The {noun} is read from its server, and not kept in the cache"));
    Ok(url.into())
}
