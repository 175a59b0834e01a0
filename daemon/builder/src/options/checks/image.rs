//! Rules of the installer or disk image, and of shutting down.

use crate::fetch;
use crate::plan_reader::PlanReader;

/// `iso_url`, `iso_urls` and `iso_checksum`.
pub(crate) fn image(reader: &mut PlanReader<'_>) {
    let urls = reader.texts("iso_urls");
    match reader.text("iso_url") {
        Some(_) if !urls.is_empty() => {
            reader.error("iso_url", "Both iso_url and iso_urls", "Only one of iso_url or iso_urls may be specified.");
        }
        // A wrong name was meant to be it.
        None if urls.is_empty() && !reader.options.is_unusable("iso_urls") => {
            reader.error("iso_url", "Missing iso_url", "One of iso_url or iso_urls must be specified.");
        }
        _ => {}
    }
    let checksum = reader.text("iso_checksum").unwrap_or_default();
    if reader.flag("iso_skip_cache") {
        reader.error(
            "iso_skip_cache",
            "iso_skip_cache is not supported",
            "Kiln always reads images from its cache: QEMU reading a URL while the guest boots is slower and fails \
             half way. Remove iso_skip_cache.",
        );
    } else if checksum.is_empty() {
        reader.error(
            "iso_checksum",
            "Missing iso_checksum",
            "A checksum must be specified: TYPE:HASH, file:PATH_OR_URL of a checksum list, or \"none\".",
        );
    } else if let Err(error) = fetch::parse_checksum(&checksum) {
        reader.error("iso_checksum", "Invalid iso_checksum", error.to_string());
    } else if checksum == "none" {
        reader.warning(
            "iso_checksum",
            "A checksum of 'none' was specified",
            "Since ISO files are so big, a checksum is highly recommended.",
        );
    }
}

/// `shutdown_command`.
pub(crate) fn shutdown(reader: &mut PlanReader<'_>) {
    // Builders whose guests can be shut down in other ways have options for it.
    let otherwise = reader.flag("acpi_shutdown") || reader.flag("disable_shutdown");
    if reader.text("shutdown_command").is_none() && !otherwise {
        reader.warning(
            "shutdown_command",
            "A shutdown_command was not specified",
            "Without a shutdown command, the machine is powered off hard at the end, which may damage its file systems.",
        );
    }
}
