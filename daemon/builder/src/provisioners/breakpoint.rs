//! The breakpoint provisioner: stops until somebody says to go on.

use kiln_template::Options;

use super::ProvisionContext;
use crate::error::StepError;

pub(crate) async fn run(context: &ProvisionContext, options: &Options) -> Result<(), StepError> {
    let note = options.string("note").filter(|note| !note.is_empty());
    let name = note.map_or_else(
        || "breakpoint provisioner".to_owned(),
        |note| format!("breakpoint provisioner with note {note:?}"),
    );
    if options.bool("disable").unwrap_or(false) {
        context.build.say(format!("B{} disabled; continuing...", &name[1..]));
        return Ok(());
    }
    context.build.say(format!("Pausing at {name}."));
    context.build.ask("Press enter to continue.", &["continue"]).await;
    Ok(())
}
