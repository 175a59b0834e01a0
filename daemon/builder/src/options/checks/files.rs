//! Rules of what gives the guest its files: HTTP server, floppy and CD.

use std::net::IpAddr;
use std::path::Path;

use kiln_disk_formats::media::matches_nothing;

use crate::plan_reader::PlanReader;

/// Characters that fit into the label of a floppy.
const FLOPPY_LABEL: usize = 11;

/// Characters that fit into the label of a CD.
const CD_LABEL: usize = 32;

/// The options that begin with `http_`.
pub(crate) fn http(reader: &mut PlanReader<'_>) {
    reader.port_range("http_port_min", "http_port_max");
    let directory = reader.text("http_directory");
    if let Some(directory) = &directory
        && !reader.map("http_content").is_empty()
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
    if reader.text("http_bind_address").is_some() && reader.text("http_interface").is_some() {
        reader.error("http_interface", "Both http_bind_address and http_interface", "They exclude each other.");
    }
    if reader.text("http_network_protocol").is_some_and(|network| network.starts_with("unix")) {
        reader.error("http_network_protocol", "Unsupported value", "A guest reaches the server by TCP only.");
    }
    let (is_v4, is_v6) = match reader.text("http_bind_address").as_deref() {
        // In each family there is one of that name; guests are told an IPv4 address of this host.
        Some("localhost") => (true, true),
        None => (true, false),
        Some(address) => match address.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => (address.is_ipv4(), address.is_ipv6()),
            Err(_) => (true, true),
        },
    };
    let family = match reader.text("http_network_protocol").as_deref() {
        Some("tcp4") if !is_v4 => "an IPv4",
        Some("tcp6") if !is_v6 => "an IPv6",
        _ => return,
    };
    let detail = format!("http_network_protocol asks for {family} address, which the server would not have.");
    let hint = format!("set http_bind_address to {family} address of this host, or leave http_network_protocol out");
    reader.error_with_hint("http_network_protocol", "Another family of addresses", detail, Some(&hint));
}

/// The options that begin with `floppy_`.
pub(crate) fn floppy(reader: &mut PlanReader<'_>) {
    exist(reader, "floppy_files");
    exist(reader, "floppy_dirs");
    label(reader, "floppy_label", FLOPPY_LABEL);
}

/// The options that begin with `cd_`.
pub(crate) fn cd(reader: &mut PlanReader<'_>) {
    exist(reader, "cd_files");
    label(reader, "cd_label", CD_LABEL);
}

fn label(reader: &mut PlanReader<'_>, name: &str, longest: usize) {
    let Some(label) = reader.text(name).filter(|label| label.len() > longest) else { return };
    let detail = format!("{label:?} has {} characters; at most {longest} fit.", label.len());
    reader.error(name, "Label too long", detail);
}

fn exist(reader: &mut PlanReader<'_>, name: &str) {
    for (index, file) in reader.texts(name).into_iter().enumerate() {
        if !file.contains(['*', '?', '[']) && !Path::new(&file).exists() {
            reader.error_in(name, index, "No such file", format!("Bad file {file:?}: it does not exist."));
        } else if matches_nothing(Path::new(&file)) {
            let detail = format!("Nothing matches {file:?}, so nothing is put on the medium for it.");
            let hint = "relative paths start from the directory in which the build is started".to_owned();
            reader.warning_in(name, index, "No file matches", detail, hint);
        }
    }
}
