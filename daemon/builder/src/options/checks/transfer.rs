//! Rules of the file provisioner and the file builder.

use std::path::Path;

use kiln_template::Generated;

use crate::plan_reader::PlanReader;

/// What the file provisioner transfers, and where to.
pub(crate) fn provisioner(reader: &mut PlanReader<'_>) {
    let sources: Vec<String> = reader.text("source").into_iter().chain(reader.texts("sources")).collect();
    if reader.text("content").is_some() && !sources.is_empty() {
        reader.error("content", "Both source and content", "source(s) conflicts with content.");
    }
    if reader.text("destination").is_none() {
        reader.error("destination", "Missing destination", "Destination must be specified.");
    }
    let uploads = reader.text("direction").is_none_or(|direction| direction == "upload");
    if !uploads || reader.flag("generated") {
        return;
    }
    for source in sources {
        if !source.contains(Generated::UNKNOWN) && !Path::new(&source).exists() {
            let name = if reader.options.is_set("source") { "source" } else { "sources" };
            let detail = format!(
                "Bad source '{source}': it does not exist. If an earlier provisioner makes it, set generated = true."
            );
            reader.error(name, "No such file", detail);
        }
    }
}

/// What the file builder writes, and where to.
pub(crate) fn builder(reader: &mut PlanReader<'_>) {
    let (source, content) = (reader.text("source"), reader.text("content"));
    if source.is_some() && content.is_some() {
        reader.error("content", "Both source and content", "Cannot specify both source file AND content.");
    }
    if source.is_none() && content.is_none() {
        reader.warning(
            "target",
            "Empty target",
            "Both source file and contents are blank; target will have no content",
        );
    }
    if reader.text("target").is_none() {
        reader.error("target", "Missing target", "target required");
    }
}
