//! Rules of what is typed while a guest boots.

use std::collections::{BTreeMap, BTreeSet};

use kiln_hypervisors::key_for_char;

use crate::boot_command::{self, BootAction};
use crate::plan_reader::PlanReader;

/// What boot commands can refer to.
const BOOT_FIELDS: [&str; 6] = ["HTTPIP", "HTTPPort", "HTTPDir", "Name", "OutputDir", "SSHPublicKey"];

/// What `qemuargs` can refer to.
pub(crate) const MACHINE_FIELDS: [&str; 8] =
    ["HTTPIP", "HTTPPort", "HTTPDir", "HTTPContent", "Name", "OutputDir", "SSHPublicKey", "SSHHostPort"];

/// `boot_command` and `boot_steps`.
pub(crate) fn boot(reader: &mut PlanReader<'_>) {
    let typed = reader.texts("boot_command");
    boot_command(reader, "boot_command", &typed);
    let steps = reader.options.string_lists("boot_steps").to_vec();
    if !steps.is_empty() && !typed.concat().is_empty() {
        reader.error("boot_steps", "Both boot_command and boot_steps", "They exclude each other.");
    }
    for command in steps.iter().filter_map(|step| step.first()) {
        boot_command(reader, "boot_steps", std::slice::from_ref(command));
    }
}

/// Elements are one text, in which each complaint is about the element where its cause begins.
fn boot_command(reader: &mut PlanReader<'_>, option: &str, elements: &[String]) {
    let text = elements.concat();
    let element_of = |offset: usize| {
        let mut end = 0;
        let index = elements.iter().position(|element| {
            end += element.len();
            offset < end
        });
        index.unwrap_or(usize::MAX)
    };
    for (summary, detail, offset) in reader.late_problems(&text, &BOOT_FIELDS) {
        reader.error_in(option, element_of(offset), summary, detail);
    }
    let actions = match boot_command::parse_places(&text) {
        Ok(actions) => actions,
        Err(error) => {
            reader.error_in(option, element_of(error.offset), "Invalid boot command", format!("{error}."));
            return;
        }
    };
    let mut told = BTreeSet::new();
    for form in boot_command::unknown_forms(&text, &actions) {
        if !told.insert(form.text) {
            continue;
        }
        let detail = format!("{} is no key and no wait, so it is typed as it stands.", form.text);
        let hint = form.meant.map_or_else(|| hint_for(form.text), |meant| format!("did you mean {meant}?"));
        reader.warning_in(option, element_of(form.offset), "Unknown key in a boot command", detail, hint);
    }
    for (character, offset) in without_key(&text, &actions) {
        let detail = format!(
            "{character:?} is on no key of the US keyboard that boot commands are typed on. Let the guest fetch such text \
             from the HTTP server, a CD or a floppy."
        );
        reader.error_in(option, element_of(offset), "Character without a key", detail);
    }
}

fn hint_for(form: &str) -> String {
    if form.starts_with("<wait") && form.contains(|c: char| c.is_ascii_digit()) {
        return "waits are written <wait>, <wait5>, <wait1m30s> or <wait0.5s>".to_owned();
    }
    let forms: Vec<String> = boot_command::SPECIAL_KEYS.iter().chain([&"wait"]).map(|key| format!("<{key}>")).collect();
    kiln_template::did_you_mean(form, forms.iter().map(String::as_str)).unwrap_or_else(|| {
        "keys are written <enter>, <esc>, <tab>, <f1>, <leftCtrlOn>, …; waits <wait>, <wait5> or <wait1m30s>".to_owned()
    })
}

/// Returns each character that has no key, once, with the byte where it first stands. What Go templates are written with
/// is not typed.
fn without_key(text: &str, actions: &[(usize, BootAction)]) -> Vec<(char, usize)> {
    let mut found: BTreeMap<char, usize> = BTreeMap::new();
    let mut template_ends = 0;
    for (offset, action) in actions {
        if *offset >= template_ends && text[*offset..].starts_with("{{") {
            template_ends = text[*offset..].find("}}").map_or(text.len(), |length| offset + length + 2);
        }
        if let BootAction::Character(character, _) = action
            && *offset >= template_ends
            && key_for_char(*character).is_none()
        {
            found.entry(*character).or_insert(*offset);
        }
    }
    found.into_iter().collect()
}
