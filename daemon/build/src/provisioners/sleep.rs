//! The sleep provisioner.

use kiln_template::Options;

use super::pause;
use crate::error::StepError;

pub(crate) async fn run(options: &Options) -> Result<(), StepError> {
    tokio::time::sleep(pause(options, "duration")).await;
    Ok(())
}
