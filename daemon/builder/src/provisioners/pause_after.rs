//! `pause_after` of the provisioners that run scripts.

use kiln_template::GoDuration;

use crate::context::BuildContext;
use crate::option_values::OptionValues;

/// Waits as long as the template says.
pub(super) async fn pause_after(build: &BuildContext, options: OptionValues<'_>) {
    let rest = options.duration("pause_after");
    if rest.is_zero() {
        return;
    }
    build.say(format!("Pausing {} after this provisioner...", GoDuration(rest)));
    let _wait = build.waiting("pause after the provisioner", Some(rest));
    tokio::time::sleep(rest).await;
}
