//! Rules of the vagrant post-processor, for all providers and for single ones.

use std::path::Path;

use kiln_template::{Generated, Options};

use crate::plan_reader::PlanReader;
use crate::post_processors::vagrant::{FIELDS, PROVIDERS, WORDS};

/// `provider_override`.
pub(crate) fn provider(reader: &mut PlanReader<'_>) {
    let Some(word) = reader.text("provider_override") else { return };
    // Words that are nobody's are another rule's.
    if WORDS.contains(&word.as_str()) && !PROVIDERS.contains(&word.as_str()) {
        let detail = format!("{word}: this version of Kiln makes boxes for {}.", PROVIDERS.join(", "));
        reader.error("provider_override", "No boxes for this provider", detail);
    }
}

/// `compression_level`.
pub(crate) fn compression_level(reader: &mut PlanReader<'_>) {
    if let Some(words) = level_fault(reader.options) {
        reader.error("compression_level", "Value out of range", words);
    }
}

fn level_fault(options: &Options) -> Option<String> {
    let level = options.integer("compression_level").filter(|level| !(-1..=9).contains(level))?;
    Some(format!("compression_level is {level}, but must be between -1 and 9."))
}

/// `vagrantfile_template`.
pub(crate) fn template(reader: &mut PlanReader<'_>) {
    if let Some(words) = template_fault(reader.options, reader.options) {
        reader.error("vagrantfile_template", "No such file", words);
    }
}

fn template_fault(options: &Options, base: &Options) -> Option<String> {
    let is_generated = [options, base].iter().find_map(|options| options.bool("vagrantfile_template_generated"));
    let path = options.string("vagrantfile_template").filter(|path| !path.is_empty())?;
    let known = !path.contains(Generated::UNKNOWN) && !path.contains("{{");
    let missing = known && is_generated != Some(true) && !Path::new(path).is_file();
    missing.then(|| format!("vagrantfile_template is {path:?}: there is no such file."))
}

/// `override`.
pub(crate) fn overrides(reader: &mut PlanReader<'_>) {
    let options = reader.options;
    let Some(providers) = options.block("override") else { return };
    for word in WORDS {
        let Some(own) = providers.block(word) else { continue };
        let output = own.string("output").map(|output| reader.late_problems(output, FIELDS)).unwrap_or_default();
        let faults = output.into_iter().map(|(_, detail, _)| detail);
        let faults: Vec<String> = faults.chain(level_fault(own)).chain(template_fault(own, options)).collect();
        for words in faults {
            reader.error("override", "Invalid override", format!("{word}: {words}"));
        }
    }
}
