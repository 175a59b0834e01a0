//! Rules of the amazon-import post-processor.

use kiln_template::Generated;

use crate::plan_reader::PlanReader;

/// `ami_name`, and whom it is for.
pub(crate) fn name(reader: &mut PlanReader<'_>) {
    if let Some(name) = reader.text("ami_name").filter(|name| !name.contains(Generated::UNKNOWN)) {
        let fits = name.chars().all(|c| c.is_ascii_alphanumeric() || " ()[]./-'@_".contains(c));
        if !fits || !(3..=128).contains(&name.len()) {
            let detail = format!("ami_name is {name:?}; AWS takes 3 to 128 letters, digits, spaces and ()[]./-'@_.");
            reader.error("ami_name", "Invalid name", detail);
        }
    }
    if reader.flag("ami_encrypt") && reader.texts("ami_groups").iter().any(|group| group == "all") {
        reader.error("ami_groups", "Nobody else can start it", "An encrypted image cannot be shared with everybody.");
    }
}

/// What belongs to the import service that is not used.
pub(crate) fn not_heeded(reader: &mut PlanReader<'_>) {
    const WHY: &str = "The disk goes to EBS directly: no bucket and no import service is used.";
    for name in [
        "s3_bucket_name",
        "s3_key_name",
        "s3_encryption",
        "s3_encryption_key",
        "skip_clean",
        "role_name",
        "format",
        "platform",
    ] {
        reader.without_effect(name, WHY);
    }
    reader
        .without_effect("license_type", "RegisterImage takes none: the image has the licence that its system brings.");
}
