//! Names that are worked out from a source's where the template gives none.

use std::path::PathBuf;

use crate::option_values::OptionValues;

/// Where the image goes.
pub(crate) fn output_directory(options: OptionValues<'_>, source_name: &str) -> PathBuf {
    options.given("output_directory").map_or_else(|| format!("output-{source_name}"), str::to_owned).into()
}

/// Name of the machine and its disk.
pub(crate) fn vm_name(options: OptionValues<'_>, source_name: &str) -> String {
    options.given("vm_name").map_or_else(|| format!("packer-{source_name}"), str::to_owned)
}
