//! The post-processor verify: boots a throw-away overlay of what a build has left, and runs scripts in it. The image stays as it is, whatever
//! they say.

use kiln_template::{PostProcessor, Provisioner};

use super::context::{PostProcessContext, Processed};
use super::main_file::main_file;
use crate::artifact::Artifact;
use crate::error::StepError;
use crate::option_values::OptionValues;

pub(crate) async fn run(
    context: &PostProcessContext,
    post_processor: &PostProcessor,
    options: OptionValues<'_>,
    input: &Artifact,
) -> Result<Processed, StepError> {
    let image = main_file(input).ok_or_else(|| {
        StepError::new("the artifact has no files, so there is no image to boot")
            .with_hint("put verify in front of what takes the image away")
    })?;
    let checks = Provisioner {
        component: post_processor.component.clone(),
        name: None,
        pause_before: std::time::Duration::ZERO,
        timeout: Some(options.positive_duration("verify_timeout")),
        max_retries: 0,
        continue_on_error: false,
    };
    context.build.say(format!("Booting a throw-away overlay of {}", image.display()));
    context.verifier.verify(image, checks).await?;
    context.build.say(format!("{} is verified, and as it was", image.display()));
    Ok(Processed { artifact: input.clone(), keep_input: true, force_keep: true })
}
