//! The breakpoint provisioner: stops until somebody says to go on.

use super::context::ProvisionContext;
use crate::error::StepError;
use crate::option_values::OptionValues;

pub(crate) async fn run(context: &ProvisionContext, options: OptionValues<'_>) -> Result<(), StepError> {
    let note = options.given("note");
    let name = note.map_or_else(
        || "breakpoint provisioner".to_owned(),
        |note| format!("breakpoint provisioner with note {note:?}"),
    );
    if options.flag("disable") {
        context.build.say(format!("B{} disabled; continuing...", &name[1..]));
        return Ok(());
    }
    context.build.say(format!("Pausing at {name}."));
    context.build.ask("Press enter to continue.", &["continue"]).await;
    Ok(())
}
