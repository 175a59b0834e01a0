//! `kiln images`: what builds have registered on this machine. kilnd knows how that lies there: it is run as a child that is asked once.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use kiln_protocol::{RegisteredImage, RegistryReport, RegistryRequest};

use super::clock;
use super::note::note;
use crate::api::find_daemon;
use crate::arguments::{ImagesArguments, ImagesCommand};
use crate::error::CommandError;
use crate::render::bytes;
use crate::{terminal, visible};

pub(super) fn images(arguments: ImagesArguments) -> Result<u8, CommandError> {
    let request = match &arguments.command {
        None => RegistryRequest::default(),
        Some(ImagesCommand::Rm { images }) => RegistryRequest { remove: images.clone(), prune: false },
        Some(ImagesCommand::Prune) => RegistryRequest { remove: Vec::new(), prune: true },
    };
    let report = ask(&request)?;
    match &arguments.command {
        None if arguments.json => terminal::print_json(&report.images)?,
        None if report.images.is_empty() => {
            note("no images yet: the post-processor kiln-image registers what a build has made");
        }
        None => write!(terminal::stdout(), "{}", table(&report.images, &clock::time_zone()))?,
        Some(_) => {
            for image in &report.removed {
                note(&forgotten(image));
            }
            if report.removed.is_empty() && report.problems.is_empty() {
                note("there is nothing to forget");
            }
        }
    }
    for problem in &report.problems {
        CommandError::new(visible::name(problem)).print(&mut terminal::stderr())?;
    }
    Ok(u8::from(!report.problems.is_empty()))
}

fn forgotten(image: &RegisteredImage) -> String {
    let RegisteredImage { name, channel, path, unusable, .. } = image;
    let file = match unusable {
        Some(why) => format!(": {why}"),
        // Nobody has looked whether it is there.
        None => format!("; nothing is done to {path}"),
    };
    visible::name(&format!("{name}@{channel} is forgotten{file}")).into_owned()
}

fn table(images: &[RegisteredImage], zone: &TimeZone) -> String {
    let called = |image: &RegisteredImage| format!("{}@{}", image.name, image.channel);
    let width = images.iter().map(|image| called(image).chars().count()).max().unwrap_or(0).max("IMAGE".len());
    let mut text = format!("{:width$}  {:7}  {:>8}  {:16}  {}\n", "IMAGE", "FORMAT", "SIZE", "BUILT", "FILE");
    for image in images {
        let built = image.created.parse::<Timestamp>().map_or_else(
            |_| image.created.clone(),
            |time| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string(),
        );
        let (called, format, size) = (called(image), visible::name(&image.format), bytes(image.size));
        let (built, path) = (visible::name(&built), visible::name(&image.path));
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{called:width$}  {format:7}  {size:>8}  {built:16}  {path}");
        if let Some(why) = &image.unusable {
            let _ = writeln!(text, "{:width$}  {}", "", visible::name(why));
        }
    }
    text
}

/// Runs kilnd for one request.
fn ask(request: &RegistryRequest) -> Result<RegistryReport, CommandError> {
    let program = find_daemon();
    let failed = |error: io::Error| {
        let error = CommandError::new(format!("cannot run {}: {error}", program.display()));
        error.hint("kilnd belongs beside kiln, or on the PATH")
    };
    let body = serde_json::to_vec(request).map_err(CommandError::new)?;
    let child = Command::new(&program).arg("images").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(&body) {
            // It ended before it read everything; its exit says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other.map_err(failed)?,
        }
    }
    let output = child.wait_with_output().map_err(failed)?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let error = CommandError::new(format!("{} gave no report ({})", program.display(), output.status));
        error.hint("kiln and kilnd may be of different versions")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, unusable: Option<&str>) -> RegisteredImage {
        RegisteredImage {
            name: name.to_owned(),
            channel: "latest".to_owned(),
            path: format!("/srv/{name}\u{1b}[31m.qcow2"),
            format: "qcow2".to_owned(),
            checksum: "sha256:00".to_owned(),
            size: 3 << 30,
            build: "qemu.web".to_owned(),
            created: "2026-11-30T12:00:00Z".to_owned(),
            unusable: unusable.map(str::to_owned),
        }
    }

    #[test]
    fn each_image_has_a_line_and_what_is_wrong_with_it_another() {
        let text = table(&[image("base", None), image("a-longer-name", Some("its file is gone"))], &TimeZone::UTC);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "IMAGE                 FORMAT       SIZE  BUILT             FILE");
        assert!(lines[1].starts_with("base@latest           qcow2       3 GiB  2026-11-30 12:00  /srv/base"), "{text}");
        assert_eq!(lines[3].trim(), "its file is gone");
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(forgotten(&image("base", None)).contains("forgotten; nothing is done to /srv/base"));
        assert_eq!(forgotten(&image("b", Some("it is gone"))), "b@latest is forgotten: it is gone");
    }
}
