//! Rules of the installer or disk image, and of shutting down.

use crate::fetch;
use crate::plan_reader::PlanReader;

/// `iso_url`, `iso_urls`, `iso_checksum` and `iso_skip_cache`.
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
        read_by_hypervisor(reader, &checksum);
    } else if checksum.is_empty() {
        reader.error(
            "iso_checksum",
            "Missing iso_checksum",
            "A checksum must be specified: TYPE:HASH, file:PATH_OR_URL of a checksum list, or \"none\".",
        );
    } else if let Err(error) = fetch::parse_checksum(&checksum) {
        reader.error("iso_checksum", "Invalid iso_checksum", error.to_string());
    } else if let Some(path) = fetch::local_checksum_list(&checksum).filter(|path| !path.is_file()) {
        let detail = format!("iso_checksum names the checksum list {}, which is no file.", path.display());
        reader.not_here("iso_checksum", "No such checksum list", detail, None);
    } else if checksum == "none" {
        reader.warning(
            "iso_checksum",
            "A checksum of 'none' was specified",
            "Since ISO files are so big, a checksum is highly recommended.",
        );
    }
}

/// `iso_skip_cache`: what never comes here as a whole has no checksum, and is nothing to make a disk of.
fn read_by_hypervisor(reader: &mut PlanReader<'_>, checksum: &str) {
    let remove = "Remove iso_skip_cache, and the image is downloaded into the cache.";
    if !checksum.is_empty() && checksum != "none" {
        let detail = format!("The file is not read as a whole, so nothing is known of its checksum. {remove}");
        reader.error("iso_checksum", "No checksum with iso_skip_cache", detail);
    } else {
        reader.warning(
            "iso_skip_cache",
            "The ISO is not checked",
            "The hypervisor reads parts of it from the server as the guest wants them: nobody sees whether it is the right one.",
        );
    }
    if reader.flag("disk_image") {
        let detail = format!("A disk image is copied before it is booted. {remove}");
        reader.error("iso_skip_cache", "iso_skip_cache is for installers", detail);
    }
    let urls = reader.texts("iso_urls").into_iter().chain(reader.text("iso_url"));
    for url in urls.collect::<Vec<_>>() {
        if let Err(problem) = fetch::check_read_by_others(&url) {
            reader.error("iso_skip_cache", "Nothing that QEMU reads from a server", format!("{problem}. {remove}"));
        }
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
