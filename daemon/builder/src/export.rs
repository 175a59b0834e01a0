//! The guest's disks leave: one pass from what the guest wrote to every format asked for.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use kiln_disk_formats::package::MachineDescription;
use kiln_disk_formats::{
    ConvertOptions, DiskReader, Format, OpenPolicy, Output, OutputKind, convert, convert_disks, open,
};

use crate::blocking::blocking;
use crate::context::BuildContext;
use crate::error::StepError;

/// Every format name of the `export` post-processor and, without `qcow2-compressed`, of a builder's `format`.
pub(crate) const FORMATS: [&str; 7] = ["qcow2", "qcow2-compressed", "raw", "vmdk", "vmdk-sparse", "ovf", "ova"];

/// A disk the guest wrote.
#[derive(Debug, Clone)]
pub(crate) struct GuestDisk {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    /// The image below it, for a disk that holds only what differs.
    pub(crate) policy: OpenPolicy,
}

/// The output for the format named `format`, as `directory/name` with the format's suffix.
pub(crate) fn output(format: &str, directory: &Path, name: &str, machine: &MachineDescription) -> Option<Output> {
    let adapter = machine.disks.first().map(|disk| disk.controller.vmdk_adapter()).unwrap_or_default();
    let (suffix, kind) = match format {
        "qcow2" => (".qcow2", OutputKind::qcow2()),
        "qcow2-compressed" => (".qcow2", OutputKind::qcow2_compressed()),
        "raw" => (".raw", OutputKind::Raw),
        "vmdk" => (".vmdk", OutputKind::vmdk_stream_optimized(adapter)),
        "vmdk-sparse" => ("-sparse.vmdk", OutputKind::vmdk_monolithic_sparse(adapter)),
        "ovf" => (".ovf", OutputKind::ovf(machine.clone())),
        "ova" => (".ova", OutputKind::ova(machine.clone())),
        _ => return None,
    };
    Some(Output::new(directory.join(format!("{name}{suffix}")), kind))
}

/// The files of an output of `disks` disks, before they come to be.
pub(crate) fn files(output: &Output, disks: usize) -> Vec<PathBuf> {
    let mut files = vec![output.path.clone()];
    if matches!(output.kind, OutputKind::Ovf(_)) {
        files.push(output.path.with_extension("mf"));
        let stem = output.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        files.extend((1..=disks).map(|number| output.path.with_file_name(format!("{stem}-disk{number}.vmdk"))));
    }
    files
}

/// Writes `disks` to `outputs`; returns the files made, in order. Formats that hold one disk get the first one.
///
/// Dropping the future stops the work and removes what it has written so far.
pub(crate) async fn write(
    context: &BuildContext,
    disks: Vec<GuestDisk>,
    outputs: Vec<Output>,
    overwrite: bool,
) -> Result<Vec<PathBuf>, StepError> {
    let reporter = context.clone();
    blocking("the export", move |abandoned| {
        let progress = |done: u64, total: u64| {
            reporter.progress("export the disk", done, Some(total));
            if abandoned.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        run(&disks, &outputs, overwrite, &progress).map_err(StepError::from)
    })
    .await
}

fn run(
    disks: &[GuestDisk],
    outputs: &[Output],
    overwrite: bool,
    progress: &(dyn Fn(u64, u64) -> ControlFlow<()> + Sync),
) -> kiln_disk_formats::Result<Vec<PathBuf>> {
    let mut readers: Vec<Box<dyn DiskReader>> = Vec::with_capacity(disks.len());
    for disk in disks {
        readers.push(open(&disk.path, Some(disk.format), &disk.policy)?);
    }
    let readers: Vec<&dyn DiskReader> = readers.iter().map(|reader| &**reader).collect();
    let Some(first) = readers.first() else { return Ok(Vec::new()) };
    let mut options = ConvertOptions::default();
    options.overwrite = overwrite;
    options.file_digests = false;
    options.content_digest = false;
    let (packages, images): (Vec<Output>, Vec<Output>) = outputs
        .iter()
        .cloned()
        .partition(|output| readers.len() > 1 && matches!(output.kind, OutputKind::Ovf(_) | OutputKind::Ova(_)));
    let mut files = Vec::new();
    if !images.is_empty() {
        let report = convert(*first, &images, &options, &progress)?;
        files.extend(report.files.into_iter().map(|file| file.path));
    }
    if !packages.is_empty() {
        let report = convert_disks(&readers, &packages, &options, &progress)?;
        files.extend(report.files.into_iter().map(|file| file.path));
    }
    Ok(files)
}
