//! The sleep provisioner.

use kiln_template::Options;

use super::{ProvisionContext, pause};
use crate::error::StepError;

pub(crate) async fn run(context: &ProvisionContext, options: &Options) -> Result<(), StepError> {
    let duration = pause(options, "duration");
    let _wait = context.build.waiting("sleep", Some(duration));
    tokio::time::sleep(duration).await;
    Ok(())
}
