//! The sleep provisioner.

use super::context::ProvisionContext;
use crate::error::StepError;
use crate::option_values::OptionValues;

pub(crate) async fn run(context: &ProvisionContext, options: OptionValues<'_>) -> Result<(), StepError> {
    let duration = options.duration("duration");
    let _wait = context.build.waiting("sleep", Some(duration));
    tokio::time::sleep(duration).await;
    Ok(())
}
