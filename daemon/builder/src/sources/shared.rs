//! Reads the option groups that builders with a guest share: image, HTTP, media, shutdown.

use std::path::Path;
use std::time::Duration;

use crate::fetch;
use crate::plan::{HttpPlan, ImagePlan, MediaPlan, ShutdownPlan};
use crate::plan_reader::PlanReader;

/// What boot commands and `qemuargs` can refer to.
pub(crate) const MACHINE_FIELDS: [&str; 7] =
    ["HTTPIP", "HTTPPort", "HTTPDir", "Name", "OutputDir", "SSHPublicKey", "SSHHostPort"];

pub(crate) fn read_image(reader: &mut PlanReader<'_>) -> ImagePlan {
    let mut urls = reader.texts("iso_urls");
    match reader.text("iso_url") {
        Some(_) if !urls.is_empty() => {
            reader.error("iso_url", "Both iso_url and iso_urls", "Only one of iso_url or iso_urls may be specified.");
        }
        Some(url) => urls.push(url),
        // A wrong name was meant to be it.
        None if urls.is_empty() && reader.options.is_unusable("iso_urls") => {}
        None if urls.is_empty() => {
            reader.error("iso_url", "Missing iso_url", "One of iso_url or iso_urls must be specified.");
        }
        None => {}
    }
    let checksum = reader.text_or("iso_checksum", "");
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
    ImagePlan {
        urls,
        checksum,
        target_path: reader.text("iso_target_path").map(Into::into),
        extension: reader.text_or("iso_target_extension", "iso").to_lowercase(),
    }
}

pub(crate) fn read_http(reader: &mut PlanReader<'_>, default_bind: &str) -> Option<HttpPlan> {
    let (port_min, port_max) = reader.port_range("http_port_min", "http_port_max", (8000, 9000));
    let directory = reader.text("http_directory");
    let content = reader.map("http_content");
    if let Some(directory) = &directory
        && !content.is_empty()
    {
        let detail = format!("http_content cannot be used in conjunction with http_directory ({directory}).");
        reader.error("http_content", "Both http_directory and http_content", detail);
    }
    if let Some(directory) = &directory
        && !Path::new(directory).is_dir()
    {
        let detail = format!("http_directory is {directory:?}, which is not a directory.");
        reader.not_here("http_directory", "No such directory", detail, None);
    }
    let bind = reader.text("http_bind_address");
    if bind.is_some() && reader.text("http_interface").is_some() {
        reader.error("http_interface", "Both http_bind_address and http_interface", "They exclude each other.");
    }
    let network = reader.one_of("http_network_protocol", "tcp", &["tcp", "tcp4", "tcp6", "unix", "unixpacket"]);
    if network.starts_with("unix") {
        reader.error("http_network_protocol", "Unsupported value", "A guest reaches the server by TCP only.");
    }
    if directory.is_none() && content.is_empty() {
        return None;
    }
    Some(HttpPlan {
        directory: directory.map(Into::into),
        content,
        port_min,
        port_max,
        bind: bind.unwrap_or_else(|| default_bind.to_owned()),
    })
}

/// Reads `floppy_*` or `cd_*`, whichever `prefix` says.
pub(crate) fn read_media(reader: &mut PlanReader<'_>, prefix: &str) -> Option<MediaPlan> {
    let name = |what: &str| format!("{prefix}_{what}");
    let plan = MediaPlan {
        files: reader.texts(&name("files")),
        directories: reader.texts(&name("dirs")),
        content: reader.map(&name("content")),
        label: reader.text_or(&name("label"), "packer"),
    };
    let longest = if prefix == "floppy" { 11 } else { 32 };
    if plan.label.len() > longest {
        let detail = format!("{:?} has {} characters; at most {longest} fit.", plan.label, plan.label.len());
        reader.error(&name("label"), "Label too long", detail);
    }
    for (option, files) in [("files", &plan.files), ("dirs", &plan.directories)] {
        for (index, file) in files.iter().enumerate() {
            if !file.contains(['*', '?', '[']) && !Path::new(file).exists() {
                reader.error_in(&name(option), index, "No such file", format!("Bad file {file:?}: it does not exist."));
            }
        }
    }
    (!plan.files.is_empty() || !plan.directories.is_empty() || !plan.content.is_empty()).then_some(plan)
}

pub(crate) fn read_shutdown(reader: &mut PlanReader<'_>) -> ShutdownPlan {
    let command = reader.text("shutdown_command");
    if command.is_none() {
        reader.warning(
            "shutdown_command",
            "A shutdown_command was not specified",
            "Without a shutdown command, the machine is powered off hard at the end, which may damage its file systems.",
        );
    }
    ShutdownPlan { command, timeout: reader.duration_or("shutdown_timeout", Duration::from_secs(300)) }
}
