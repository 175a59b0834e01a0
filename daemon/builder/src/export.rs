//! The guest's disks leave: one pass from what the guest wrote to every format asked for.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_disk_formats::package::{Firmware, MachineDescription, MachineDisk, nvram_losses, vmx};
use kiln_disk_formats::{
    ConvertOptions, DiskReader, EXPORT_WORDS, Format, FormatOptions, OpenPolicy, Output, OutputKind, OutputWishes,
    Progress, convert, convert_disks, export_named, open,
};

use tokio::sync::{mpsc, oneshot};

use crate::blocking::blocking;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::unfinished::Unfinished;

/// The files of one output, its main file first.
pub(crate) type Written = Vec<PathBuf>;

/// An output that has been written, with its files.
#[derive(Debug, Clone)]
pub(crate) struct Exported {
    pub(crate) output: Output,
    pub(crate) files: Written,
}

/// A disk the guest wrote.
#[derive(Debug, Clone)]
pub(crate) struct GuestDisk {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    /// The image below it, for a disk that holds only what differs.
    pub(crate) policy: OpenPolicy,
}

/// What to do about an image that names other files, and may have that from its guest.
pub(crate) const WRITTEN_HINT: &str = "a guest can have written this into its raw disk, to get at files of this machine: look at the image with \
                                       `kiln image`, and let the builder write qcow2";

/// Whether two paths are of one place, however they are written.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    matches!((std::path::absolute(one), std::path::absolute(other)), (Ok(one), Ok(other)) if one == other)
}

/// The output that `word` asks for, as `directory/name` with the word's ending. `options` are those of formats, as `-o` of
/// `kiln convert`; one for this output alone begins with the word and a colon.
///
/// # Errors
/// When there is no such word, or an option has a value that the format does not take.
pub(crate) fn output(
    word: &str,
    directory: &Path,
    name: &str,
    machine: &MachineDescription,
    options: &mut FormatOptions<'_>,
) -> Result<Output, StepError> {
    let Some((row, export)) = export_named(word) else {
        let error = StepError::new(format!("there is no format named {word:?}"));
        return Err(error.with_hint(format!("write one of {}", EXPORT_WORDS.join(", "))));
    };
    let kind = row.kind(export.word, export.presets, options, &wishes(machine));
    let mut kind = kind.map_err(|error| StepError::new(format!("cannot write a {word}: {error}")))?;
    if let Some(machine) = kind.machine_mut().filter(|machine| lacks_tpm(machine)) {
        machine.tpm = false;
    }
    if let OutputKind::Vmx(machine) = &mut kind {
        fit_for_vmware(machine, name);
    }
    Ok(Output::new(directory.join(format!("{name}{}", export.ending)), kind))
}

/// Gives a machine what VMware has in place of what it lacks, and its disks names that an OVF beside it does not use. What that means is
/// told by [`losses`].
fn fit_for_vmware(machine: &mut MachineDescription, name: &str) {
    vmx::fit(machine);
    if machine.disks.is_empty() {
        machine.disks.push(MachineDisk::default());
    }
    for (disk, number) in machine.disks.iter_mut().zip(1..) {
        disk.file = Some(format!("{name}-vmx-disk{number}.vmdk"));
    }
    if let Some(nvram) = &mut machine.nvram {
        nvram.file = Some(format!("{name}-vmx.nvram"));
    }
}

/// Whether its TPM goes with no package: others have none beside a BIOS.
fn lacks_tpm(machine: &MachineDescription) -> bool {
    machine.tpm && machine.firmware == Firmware::Bios
}

/// What of `machine` is not in `outputs`, or is something else there, in words.
pub(crate) fn losses(outputs: &[Output], machine: &MachineDescription) -> Vec<String> {
    let packages: Vec<&Output> = outputs.iter().filter(|output| output.kind.row().is_package).collect();
    let mut losses = Vec::new();
    if let Some(first) = packages.first().filter(|_| lacks_tpm(machine)) {
        losses.push(format!("{}: the TPM is not in it, for a package has none beside a BIOS", first.path.display()));
    }
    if let Some(first) = packages.first()
        && machine.firmware != Firmware::Bios
        && machine.nvram.is_none()
    {
        losses.push(format!(
            "{}: the UEFI variables are not in it: a machine made of it begins with new ones, and finds the guest only as \\EFI\\BOOT on its \
             disk, where removable media have it",
            first.path.display()
        ));
    }
    for output in packages {
        let words = match output.kind {
            OutputKind::Vmx(_) => vmx::fit(&mut machine.clone()),
            _ => nvram_losses(machine),
        };
        let words = words.into_iter();
        losses.extend(words.map(|word| format!("{}: {word}", output.path.display())));
    }
    losses
}

/// What the machine says of its outputs.
pub(crate) fn wishes(machine: &MachineDescription) -> OutputWishes<'_> {
    let adapter = machine.disks.first().map(|disk| disk.controller.vmdk_adapter()).unwrap_or_default();
    OutputWishes { machine, adapter, compress: false }
}

/// The files of outputs of these disks, before they come to be.
pub(crate) fn files(outputs: &[Output], disks: &[GuestDisk]) -> Result<Vec<Written>, StepError> {
    let sizes = sizes(&readers(disks)?);
    Ok(outputs.iter().map(|output| output.files(&sizes)).collect())
}

fn readers(disks: &[GuestDisk]) -> kiln_disk_formats::Result<Vec<Box<dyn DiskReader>>> {
    disks.iter().map(|disk| open(&disk.path, Some(disk.format), &disk.policy)).collect()
}

fn sizes(readers: &[Box<dyn DiskReader>]) -> Vec<u64> {
    readers.iter().map(|reader| reader.virtual_size()).collect()
}

/// Refuses files that are there.
pub(crate) fn refuse_existing<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<(), StepError> {
    for file in files {
        // Streams and devices are for the writers to judge.
        let there = file.metadata().or_else(|_| file.symlink_metadata());
        if there.is_ok_and(|metadata| metadata.is_file() || metadata.is_symlink()) {
            return Err(StepError::new(format!("{}: the file exists already", file.display()))
                .with_hint("move it away, choose another file_name or output_directory, or build with -force"));
        }
    }
    Ok(())
}

/// Makes the directories of outputs that lie elsewhere than the build's.
async fn make_directories(outputs: &[Output]) -> Result<(), StepError> {
    for parent in outputs.iter().filter_map(|output| output.path.parent()) {
        tokio::fs::create_dir_all(parent).await.map_err(|error| {
            StepError::new(format!("cannot create the directory {}", parent.display())).with_source(error)
        })?;
    }
    Ok(())
}

/// Writes `disks` to `outputs`; returns the files of each. Formats that hold one disk get the first one. `elsewhere` are those of the
/// files that lie in no directory of the build's, where a sweep would not look.
///
/// Dropping the future stops the work and removes what it has written so far.
pub(crate) async fn write(
    context: &BuildContext,
    disks: Vec<GuestDisk>,
    outputs: Vec<Output>,
    elsewhere: &[PathBuf],
    overwrite: bool,
) -> Result<Vec<Written>, StepError> {
    write_what_holds(context, disks, outputs, elsewhere, overwrite, || async { Ok(()) }).await
}

/// [`write()`], of disks that others may write to meanwhile: before files that are whole get their names, `holds` tells whether nobody has.
pub(crate) async fn write_what_holds<F>(
    context: &BuildContext,
    disks: Vec<GuestDisk>,
    outputs: Vec<Output>,
    elsewhere: &[PathBuf],
    overwrite: bool,
    holds: impl Fn() -> F,
) -> Result<Vec<Written>, StepError>
where
    F: Future<Output = Result<(), StepError>>,
{
    make_directories(&outputs).await?;
    let unfinished = Unfinished::in_ledger(&context.ledger, elsewhere.iter().map(PathBuf::as_path));
    let unfinished =
        unfinished.map_err(|error| StepError::new("cannot note what an export may leave").with_source(error))?;
    let reporter = context.clone();
    let (ask, mut asked) = mpsc::channel(1);
    let writing = blocking("the export", move |abandoned| {
        let mut options = ConvertOptions::without_digests();
        options.overwrite = overwrite;
        options.mark = Some(unfinished.mark());
        let progress = Attended { progress: report(&reporter, "export the disk", abandoned), ask };
        run(&disks, &outputs, &options, &progress).map_err(StepError::from)
    });
    let answering = async {
        let mut refused = None;
        while let Some(answer) = asked.recv().await {
            refused = holds().await.err();
            let _ = oneshot::Sender::send(answer, refused.is_none());
        }
        refused
    };
    match tokio::join!(writing, answering) {
        (_, Some(refused)) => Err(refused),
        (written, None) => written,
    }
}

/// Progress that asks, when all is whole, whether what was read holds.
struct Attended<P> {
    progress: P,
    ask: mpsc::Sender<oneshot::Sender<bool>>,
}

impl<P: Progress> Progress for Attended<P> {
    fn advance(&self, done: u64, total: u64) -> ControlFlow<()> {
        self.progress.advance(done, total)
    }

    fn whole(&self) -> ControlFlow<()> {
        let (answer, answered) = oneshot::channel();
        // Nobody answers when the build does not wait any more.
        match self.ask.blocking_send(answer).map(|()| answered.blocking_recv()) {
            Ok(Ok(true)) => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
}

/// Reports how far `what` has come, and stops it when it is `abandoned`.
pub(crate) fn report<'a>(
    context: &'a BuildContext,
    what: &'a str,
    abandoned: &'a AtomicBool,
) -> impl Fn(u64, u64) -> ControlFlow<()> + Sync + 'a {
    move |done, total| {
        context.progress(what, done, Some(total));
        if abandoned.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn run(
    disks: &[GuestDisk],
    outputs: &[Output],
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> kiln_disk_formats::Result<Vec<Written>> {
    let readers = readers(disks)?;
    let sizes = sizes(&readers);
    let readers: Vec<&dyn DiskReader> = readers.iter().map(|reader| &**reader).collect();
    let Some(first) = readers.first() else { return Ok(Vec::new()) };
    let (packages, images): (Vec<Output>, Vec<Output>) =
        outputs.iter().cloned().partition(|output| readers.len() > 1 && output.kind.row().is_package);
    if !images.is_empty() {
        convert(*first, &images, options, progress)?;
    }
    if !packages.is_empty() {
        convert_disks(&readers, &packages, options, progress)?;
    }
    Ok(outputs.iter().map(|output| output.files(&sizes)).collect())
}

#[cfg(test)]
mod tests {
    use kiln_disk_formats::package::{MachineNic, NicModel, Nvram, NvramMaker};

    use super::*;

    fn outputs(words: &[&str], machine: &MachineDescription) -> Vec<Output> {
        let output =
            |word: &&str| output(word, Path::new("out"), "web", machine, &mut FormatOptions::default()).unwrap();
        words.iter().map(output).collect()
    }

    #[test]
    fn what_goes_with_no_package_is_told_once() {
        let mut machine = MachineDescription {
            firmware: Firmware::Uefi { secure_boot: false },
            tpm: true,
            nics: vec![MachineNic { model: NicModel::Virtio, ..MachineNic::default() }],
            ..MachineDescription::default()
        };
        assert_eq!(losses(&outputs(&["qcow2", "vmdk"], &machine), &machine), Vec::<String>::new());
        let told = losses(&outputs(&["ova", "vmx"], &machine), &machine);
        assert!(told[0].starts_with("out/web.ova: the UEFI variables are not in it"), "{told:?}");
        assert!(told[1].starts_with("out/web.vmx: network card 1 is vmxnet3") && told.len() == 2, "{told:?}");
        assert!(outputs(&["ovf"], &machine)[0].kind.machine_mut().unwrap().tpm);
        // VirtualBox's own variables are in an OVF, and of no use to VMware.
        machine.nvram = Some(Nvram { maker: NvramMaker::VirtualBox, bytes: vec![1].into(), file: None });
        let told = losses(&outputs(&["ovf"], &machine), &machine);
        assert!(told.len() == 1 && told[0].starts_with("out/web.ovf: for VMware, not carried over: "), "{told:?}");
        assert!(
            losses(&outputs(&["vmx"], &machine), &machine).iter().any(|loss| loss.contains("NVRAM is VirtualBox's"))
        );
        // QEMU's is in neither as it is.
        machine.nvram = Some(Nvram { maker: NvramMaker::Qemu, bytes: vec![1].into(), file: None });
        let told = losses(&outputs(&["ovf", "vmx"], &machine), &machine);
        let of_nvram: Vec<&String> = told.iter().filter(|loss| loss.contains("NVRAM is QEMU's")).collect();
        assert!(of_nvram.len() == 3 && of_nvram[2].starts_with("out/web.vmx: not carried over"), "{told:?}");
        (machine.firmware, machine.nvram) = (Firmware::Bios, None);
        assert_eq!(losses(&outputs(&["ovf"], &machine), &machine).len(), 1, "the TPM");
        assert!(!outputs(&["ovf"], &machine)[0].kind.machine_mut().unwrap().tpm);
    }
}
