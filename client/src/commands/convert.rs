//! `kiln convert`.

use std::io::Write as _;

use kiln_protocol::{ConvertOutput, ConvertRequest, ImageResult, ImageSource, ImageTask, MachineOptions};

use super::context::Context;
use super::note::note;
use super::stdout::StandardOutput;
use super::task;
use crate::arguments::{ConvertArguments, MachineFlags, SourceFlags};
use crate::error::CommandError;
use crate::render::Results;
use crate::terminal;

/// Names of this process's standard output.
const STANDARD_OUTPUT: [&str; 4] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

pub(super) async fn convert(context: Context, arguments: ConvertArguments) -> Result<u8, CommandError> {
    let (json, quiet, detach) = (arguments.json, arguments.quiet, arguments.detach);
    let mut request = request(arguments)?;
    let to_stdout = request.outputs.iter().any(|output| output.path == STANDARD_OUTPUT[0]);
    if to_stdout && (json || detach) {
        let flag = if json { "--json" } else { "--detach" };
        return Err(CommandError::new(format!("standard output cannot take the image and what {flag} prints")));
    }
    if detach {
        let job = task::submit(&context, ImageTask::Convert(Box::new(request))).await?;
        writeln!(terminal::stdout(), "{}", job.id)?;
        note(&format!("`kiln attach {}` shows it, `kiln cancel {}` stops it", job.id, job.id));
        return Ok(0);
    }
    let output = if to_stdout { Some(StandardOutput::new()?) } else { None };
    request.stdout = output.as_ref().map(StandardOutput::path);
    let done = task::run(&context, ImageTask::Convert(Box::new(request)), quiet, output).await?;
    let mut results = Results::default();
    let mut text = String::new();
    for result in &done.results {
        match result {
            ImageResult::Convert(result) if json => terminal::print_json(result)?,
            result => text += &results.describe(result),
        }
    }
    text.extend(results.end(done.elapsed_us));
    match to_stdout {
        _ if quiet || text.is_empty() => {}
        // Data only on standard output, when it takes the image.
        true => note(text.trim_end()),
        false => write!(terminal::stdout(), "{text}")?,
    }
    Ok(done.exit_code)
}

/// Returns how an image is to be opened.
pub(super) fn source(path: String, flags: &SourceFlags) -> ImageSource {
    let (format, allow_backing) = (flags.format.clone(), flags.allow_backing.clone());
    ImageSource { path, format, allow_backing, snapshot: None }
}

fn request(arguments: ConvertArguments) -> Result<ConvertRequest, CommandError> {
    arguments.qemu.refuse()?;
    if arguments.paths.len() < 2 {
        let hint = "the first path is read, all others are written: `kiln convert disk.qcow2 disk.vmdk`";
        return Err(CommandError::new("nothing to write: there is only one path").hint(hint));
    }
    let mut paths = arguments.paths.into_iter();
    let first = paths.next().into_iter().chain(arguments.disk);
    let mut inputs: Vec<ImageSource> = first.map(|path| source(path, &arguments.source)).collect();
    inputs[0].snapshot = arguments.snapshot;
    let formats = arguments.output_format;
    if formats.len() > 1 && formats.len() != paths.len() {
        let error = format!("-O was given {} times for {} outputs", formats.len(), paths.len());
        return Err(CommandError::new(error).hint("give it once for all outputs, or once for each, in order"));
    }
    let format = |index: usize| formats.get(index).or(formats.first()).cloned();
    let path = |path: String| {
        if STANDARD_OUTPUT.contains(&path.as_str()) { STANDARD_OUTPUT[0].to_owned() } else { path }
    };
    let outputs = paths.enumerate().map(|(index, name)| ConvertOutput { path: path(name), format: format(index) });
    Ok(ConvertRequest {
        outputs: outputs.collect(),
        inputs,
        options: arguments.options.into_iter().flat_map(|options| options.0).collect(),
        compress: arguments.compress,
        machine: machine(arguments.machine),
        force: arguments.force,
        threads: arguments.threads,
        digests: arguments.digests.into(),
        no_sync: arguments.no_sync || arguments.qemu.is_unsafe(),
        stdout: None,
        provenance_key: arguments.provenance_key,
    })
}

fn machine(flags: MachineFlags) -> MachineOptions {
    MachineOptions {
        name: flags.name,
        cpus: flags.cpus,
        memory_mib: flags.memory,
        firmware: flags.firmware,
        secure_boot: flags.secure_boot,
        tpm: flags.tpm,
        guest_os: flags.guest_os,
        nics: flags.nic,
        buses: flags.bus,
        hardware_version: flags.hardware_version,
        product: flags.product,
        vendor: flags.vendor,
        product_version: flags.product_version,
        eula: flags.eula,
        annotation: flags.annotation,
    }
}
