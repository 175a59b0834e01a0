//! Rules of what is handed to Puppet and Chef in the guest: told before a machine is booted, not by them an hour later.

use kiln_template::Generated;

use crate::plan_reader::PlanReader;

/// Names of facts: each becomes a variable of the guest's environment.
pub(crate) fn facts(reader: &mut PlanReader<'_>) {
    if reader.options.is_unusable("facter") {
        return;
    }
    let is_windows = reader.text("guest_os_type").as_deref() == Some("windows");
    let is_name = |name: &str| match is_windows {
        true => !name.is_empty() && !name.contains(['=', '"', '%', '\n']),
        false => !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
    };
    let facts = reader.values().map("facter");
    let wrong: Vec<String> = facts
        .into_keys()
        .filter(|name| !name.contains(Generated::UNKNOWN) && !is_name(name))
        .map(|name| format!("{name:?}"))
        .collect();
    if !wrong.is_empty() {
        let detail = format!(
            "A fact is handed to Puppet in the variable FACTER_NAME of the guest's environment, and no shell sets one for {}.",
            wrong.join(", ")
        );
        if reader.text("execute_command").is_some() {
            // It may be `env {{.FacterVars}} puppet …`, which is no shell's word.
            reader.warning("facter", "No name of a fact", format!("{detail} execute_command may know another way."));
            return;
        }
        let hint = if is_windows { "leave out = \" and %" } else { "letters, digits and _ are names" };
        reader.error_with_hint("facter", "No name of a fact", detail, Some(hint));
    }
}

/// Attributes of Chef's node.
pub(crate) fn attributes(reader: &mut PlanReader<'_>) {
    for name in ["json", "json_string"] {
        let Some(text) = reader.text(name).filter(|text| !text.contains(Generated::UNKNOWN)) else { continue };
        let why = match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(serde_json::Value::Object(_)) => continue,
            Ok(_) => "it is no object".to_owned(),
            Err(error) => error.to_string(),
        };
        let detail = format!("Chef's attributes are a JSON object, and this is none: {why}.");
        reader.error_with_hint(name, "No JSON object", detail, Some("json_string = jsonencode({ … })"));
    }
}
