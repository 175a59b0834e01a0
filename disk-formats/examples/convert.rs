//! Converts a disk image: `convert INPUT OUTPUT…`, the formats by suffix; `-` is raw to standard output. `-f` before the outputs compresses faster, `-c`
//! computes the content digest, `-d` all digests, `-u` does not wait for stable storage.
//!
//! A small client of the library, and what its benchmarks run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kiln_disk_formats::package::MachineDescription;
use kiln_disk_formats::{
    Compression, ConvertOptions, Error, NoProgress, OpenPolicy, Output, OutputKind, Qcow2Options, VhdVariant,
    VmdkOptions, VmdkSubformat, convert, open,
};

/// Chooses the format by the last parts of a name: `x.stream.vmdk`, `x.c.qcow2`, `x.raw`, …
fn kind(path: &Path, compression: Compression) -> Option<OutputKind> {
    let name = path.file_name()?.to_str()?;
    let vmdk = |subformat| OutputKind::Vmdk(VmdkOptions { subformat, compression, ..VmdkOptions::default() });
    Some(match name {
        name if name.ends_with(".c.qcow2") => {
            // As `kiln convert -c` without more words.
            let compression = if compression == Compression::Default { Compression::Auto } else { compression };
            OutputKind::Qcow2(Qcow2Options { compression: Some(compression), ..Qcow2Options::default() })
        }
        name if name.ends_with(".stream.vmdk") => vmdk(VmdkSubformat::StreamOptimized),
        name if name.ends_with(".flat.vmdk") => vmdk(VmdkSubformat::MonolithicFlat),
        name if name.ends_with(".fixed.vhd") => OutputKind::Vhd(VhdVariant::Fixed),
        _ => match path.extension().unwrap_or_default().to_str()? {
            "qcow2" => OutputKind::qcow2(),
            "vmdk" => vmdk(VmdkSubformat::MonolithicSparse),
            "vdi" => OutputKind::Vdi,
            "vhd" => OutputKind::Vhd(VhdVariant::Dynamic),
            "vhdx" => OutputKind::Vhdx,
            "ova" => OutputKind::ova(MachineDescription::default()),
            "ovf" => OutputKind::ovf(MachineDescription::default()),
            _ => OutputKind::Raw,
        },
    })
}

fn run(arguments: &[String]) -> Result<(), Error> {
    let flag = |name: &str| arguments.iter().any(|argument| argument == name);
    let compression = if flag("-f") { Compression::Fast } else { Compression::Default };
    let mut paths =
        arguments.iter().filter(|argument| *argument == "-" || !argument.starts_with('-')).map(PathBuf::from);
    let input = paths.next().unwrap_or_default();
    let outputs: Vec<Output> =
        paths.filter_map(|path| kind(&path, compression).map(|kind| Output::new(path, kind))).collect();
    let mut options = if flag("-d") { ConvertOptions::default() } else { ConvertOptions::without_digests() };
    options.content_digest |= flag("-c");
    options.overwrite = true;
    options.durable = !flag("-u");
    let reader = open(&input, None, &OpenPolicy::deny())?;
    convert(&*reader, &outputs, &options, &NoProgress).map(|_| ())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
