//! Reads the option groups that builders with a guest share. What is wrong with them the rules of the tables have said
//! ([`crate::options`]).

use std::time::Duration;

use crate::http_server::AddressFamily;
use crate::option_values::OptionValues;
use crate::plan::{BootPlan, HttpPlan, ImagePlan, MediaPlan, ShutdownPlan, ShutdownWay};

pub(crate) fn read_image(options: OptionValues<'_>) -> ImagePlan {
    let mut urls = options.texts("iso_urls");
    urls.extend(options.text("iso_url"));
    ImagePlan {
        urls,
        checksum: options.text("iso_checksum").unwrap_or_default(),
        target_path: options.text("iso_target_path").map(Into::into),
        extension: options.text("iso_target_extension").unwrap_or_default().to_lowercase(),
        skip_cache: false,
        written: None,
    }
}

pub(crate) fn read_http(options: OptionValues<'_>) -> Option<HttpPlan> {
    let (directory, content) = (options.text("http_directory"), options.map("http_content"));
    if directory.is_none() && content.is_empty() {
        return None;
    }
    let (port_min, port_max) = options.ports("http_port_min", "http_port_max");
    Some(HttpPlan {
        directory: directory.map(Into::into),
        content,
        port_min,
        port_max,
        bind: options.text("http_bind_address"),
        family: match options.text("http_network_protocol").as_deref() {
            Some("tcp4") => AddressFamily::V4,
            Some("tcp6") => AddressFamily::V6,
            _ => AddressFamily::Any,
        },
    })
}

pub(crate) fn read_floppy(options: OptionValues<'_>) -> Option<MediaPlan> {
    some_media(MediaPlan {
        files: options.texts("floppy_files"),
        directories: options.texts("floppy_dirs"),
        content: options.map("floppy_content"),
        label: options.text("floppy_label").unwrap_or_default(),
    })
}

pub(crate) fn read_cd(options: OptionValues<'_>) -> Option<MediaPlan> {
    some_media(MediaPlan {
        files: options.texts("cd_files"),
        directories: Vec::new(),
        content: options.map("cd_content"),
        label: options.text("cd_label").unwrap_or_default(),
    })
}

/// Without files there is none.
fn some_media(plan: MediaPlan) -> Option<MediaPlan> {
    (!plan.files.is_empty() || !plan.directories.is_empty() || !plan.content.is_empty()).then_some(plan)
}

pub(crate) fn read_boot(options: OptionValues<'_>) -> BootPlan {
    let typed = Some(options.texts("boot_command").concat()).filter(|typed| !typed.is_empty());
    let mut commands: Vec<(String, Option<String>)> = typed.into_iter().map(|typed| (typed, None)).collect();
    for step in options.text_lists("boot_steps") {
        let mut parts = step.into_iter();
        commands.extend(parts.next().map(|command| (command, parts.next())));
    }
    BootPlan {
        // Unset and `0s` mean the default, a negative value means no wait (packer.md 4.0.6).
        wait: options.duration_or_never("boot_wait").map_or(Duration::ZERO, |_| options.positive_duration("boot_wait")),
        commands,
        key_interval: options.given_duration("boot_key_interval").filter(|interval| !interval.is_zero()),
    }
}

pub(crate) fn read_shutdown(options: OptionValues<'_>) -> ShutdownPlan {
    ShutdownPlan {
        command: options.text("shutdown_command"),
        timeout: options.duration("shutdown_timeout"),
        way: ShutdownWay::Command,
        delay: Duration::ZERO,
    }
}

/// Host ports that may be forwarded to the guest; by their old names when the template uses these.
pub(crate) fn read_host_ports(options: OptionValues<'_>) -> (u16, u16) {
    let (old_min, old_max) = ("ssh_host_port_min", "ssh_host_port_max");
    if options.is_set(old_min) || options.is_set(old_max) {
        options.ports(old_min, old_max)
    } else {
        options.ports("host_port_min", "host_port_max")
    }
}
