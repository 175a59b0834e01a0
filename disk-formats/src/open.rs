//! The one way in: from a path, a format and a policy to a reader.

use std::path::Path;

use crate::error::{ErrorKind, Operation, Result};
use crate::foreign;
use crate::format::Format;
use crate::formats::AllFormats;
use crate::machine::{Firmware, Nvram, NvramMaker};
use crate::package;
use crate::package::archive::ArchivedDisk;
use crate::package::described::Described;
use crate::package::loose;
use crate::reading::format_facts::Snapshot;
use crate::reading::image_info::ImageInfo;
use crate::reading::open_policy::{DEFAULT_MAX_UNPACKED_SIZE, OpenPolicy};
use crate::reading::opening::Opening;
use crate::reading::reader::DiskReader;
use crate::reading::source_file::SourceFile;
use crate::recognise::{format_of, told_format};
use crate::take_out::{bare_archive, described_disk, is_named_packed, named_file, take_out, take_out_first};

/// Largest NVRAM that is carried, in bytes; VMware's have some hundred kilobytes.
const MAX_NVRAM: u64 = 16 << 20;

/// Opens an image for reading.
///
/// With `format` absent the signature decides (see [`crate::detect`]); give it whenever it is known. Of an OVA, the only disk, or
/// that which [`OpenPolicy::archived_disk`] chooses, is opened in place, without unpacking; of a machine in files (`.ovf`, `.vmx`) the
/// same, which the policy must allow. An image packed with gzip, xz, bzip2 or zstd is unpacked into a nameless file first;
/// only this image, never one that it names.
///
/// # Errors
/// When the file cannot be read, breaks its format's rules, or needs what the policy does not allow.
pub fn open(path: &Path, format: Option<Format>, policy: &OpenPolicy) -> Result<Box<dyn DiskReader>> {
    let opening = Opening::new(policy, &AllFormats);
    let file = open_first(path, format, policy);
    let reader = file.and_then(|file| {
        let format = format.map_or_else(|| told_format(&file), Ok)?;
        opening.open_file(file, format)
    });
    reader.map_err(|error| error.with_path(path).during(Operation::Open))
}

/// Opens a file and takes the image out of what it is packed in.
pub(crate) fn open_first(path: &Path, format: Option<Format>, policy: &OpenPolicy) -> Result<SourceFile> {
    SourceFile::open(path).and_then(|file| match format {
        // The caller says that these bytes are the disk, unless the name says otherwise.
        Some(Format::Raw) if !is_named_packed(path) => Ok(file),
        _ => match loose::loose_descriptor(&file)? {
            Some(described) => described_disk(file, &described, policy),
            None => take_out(file, policy.max_unpacked_size, policy.archived_disk.as_deref()),
        },
    })
}

/// Returns facts about one image: as [`open`], but what lies below it is not opened and may be missing, and it may be encrypted.
/// Extents, which are parts of the image itself, are opened.
///
/// # Errors
/// When the file cannot be read, breaks its format's rules, or has extents that the policy does not allow.
pub fn image_info(path: &Path, format: Option<Format>, policy: &OpenPolicy) -> Result<ImageInfo> {
    let opening = Opening::new(policy, &AllFormats).alone();
    let info = open_first(path, format, policy).and_then(|file| {
        let format = format.map_or_else(|| told_format(&file), Ok)?;
        match format.row().reading.as_ref().and_then(|reading| reading.info) {
            Some(info) => info(&file),
            None => Ok(opening.open_file(file, format)?.info()),
        }
    });
    info.map_err(|error| error.with_path(path).during(Operation::Open))
}

/// Recognises the format of a file by its signature, opening no other file; a file without a signature is [`Format::Raw`].
///
/// A guest can write a signature into its own raw disk, so pass the format to [`crate::open`] whenever it is known.
/// Of a packed image (gzip, xz, bzip2, zstd) the front is looked at, so that a packed fixed VHD, which is told by its end, counts as raw.
///
/// # Errors
/// When the file cannot be opened or read, or is not a regular file or block device.
pub fn detect(path: &Path) -> Result<Format> {
    let file = SourceFile::open(path).and_then(|file| take_out_first(file, DEFAULT_MAX_UNPACKED_SIZE));
    let format = file.and_then(|file| match format_of(&file)? {
        Format::Raw => foreign::refuse(&file).map(|()| Format::Raw),
        format => Ok(format),
    });
    format.map_err(|error| error.with_path(path).during(Operation::Open))
}

/// Lists the disks of a package (OVA, box, tar, also packed; OVF, VMX) by the names of their files there; empty for a file that is none.
///
/// # Errors
/// When the file cannot be read, or is an archive without a disk.
pub fn archived_disks(path: &Path) -> Result<Vec<String>> {
    let listed = bare(path).and_then(|file| match loose::loose_descriptor(&file)? {
        Some(described) => Ok(loose::names(&described.descriptor()?)),
        None => {
            let disks: Option<Vec<ArchivedDisk>> = package::archived_disks(&file)?;
            Ok(disks.unwrap_or_default().into_iter().map(|disk| disk.name).collect())
        }
    });
    listed.map_err(|error| error.with_path(path).during(Operation::Open))
}

/// Describes the machines and disks of an OVF or VMX, or of an archive with one (an OVA, or a box of VirtualBox's or VMware's); `None`
/// for another file. No other file is opened.
///
/// # Errors
/// When the file cannot be read, or its descriptor is damaged.
pub fn package_facts(path: &Path) -> Result<Option<package::PackageFacts>> {
    let facts = bare(path).and_then(|file| facts(&file));
    facts.map_err(|error| error.with_path(path).during(Operation::Open))
}

fn facts(file: &SourceFile) -> Result<Option<package::PackageFacts>> {
    let Some(described) = described(file)? else { return Ok(None) };
    let mut facts = described.facts()?;
    facts.other_descriptors = package::other_descriptors(file)?;
    Ok(Some(facts))
}

fn described(file: &SourceFile) -> Result<Option<Described>> {
    match loose::loose_descriptor(file)? {
        Some(described) => Ok(Some(described)),
        None => package::archived_descriptor(file),
    }
}

/// Reads the machine of a package, so that it can be written anew: as [`package_facts`], with what its firmware keeps, which the policy
/// must allow where it is a file beside the descriptor. Of several machines it is that which has the disk
/// [`OpenPolicy::archived_disk`]. `None` for a file that describes no machine, or none with that disk.
///
/// # Errors
/// When the file cannot be read, its descriptor is damaged or names an NVRAM that is not there, or describes several machines and no
/// disk was chosen.
pub fn packaged_machine(path: &Path, policy: &OpenPolicy) -> Result<Option<package::PackagedMachine>> {
    read_machine(path, policy).map_err(|error| error.with_path(path).during(Operation::Open))
}

fn read_machine(path: &Path, policy: &OpenPolicy) -> Result<Option<package::PackagedMachine>> {
    let file = bare(path)?;
    let Some(described) = described(&file)? else { return Ok(None) };
    let is_vmx = matches!(described, Described::Vmx(_));
    let mut machines = described.facts()?.machines;
    let chosen = policy.archived_disk.as_deref().filter(|_| machines.len() > 1);
    if let Some(chosen) = chosen {
        machines.retain(|machine| machine.disks.iter().any(|disk| disk == chosen));
        // Of those that share it the first.
        machines.truncate(1);
    }
    if machines.len() > 1 {
        let names = package::archive::list(machines.iter().map(|machine| machine.name.as_deref().unwrap_or("?")));
        let error = file.error(ErrorKind::Unsupported, format!("it describes {} machines: {names}", machines.len()));
        return Err(error.with_hint("what is written holds one machine: name the disks of one of them as inputs"));
    }
    let Some(mut machine) = machines.pop() else { return Ok(None) };
    if let Some((maker, name)) = machine.nvram.clone() {
        let bytes = if loose::loose_descriptor(&file)?.is_some() {
            nvram_beside(&file, &name, policy)?
        } else {
            package::archived_file(&file, &name, MAX_NVRAM)?
        };
        match bytes {
            Some(bytes) => {
                // VirtualBox says it there alone; VMware in the settings.
                if let (NvramMaker::VirtualBox, Firmware::Uefi { secure_boot }) =
                    (maker, &mut machine.description.firmware)
                {
                    *secure_boot = package::nvram::secure_boot(&bytes).unwrap_or(*secure_boot);
                }
                machine.description.nvram = Some(Nvram { maker, bytes: bytes.into(), file: None });
            }
            // A machine of VMware's that has never been started has none yet.
            None if is_vmx => machine.leave_out(format!("the NVRAM {name:?}, which is not there")),
            None => {
                let rule = format!("it names the NVRAM {name:?}, which is not there");
                let hint = "the package is not complete: get it again, or take the NVRAM out of the descriptor";
                return Err(file.error(ErrorKind::NotFound, rule).with_hint(hint));
            }
        }
    }
    Ok(Some(machine))
}

/// Returns the NVRAM that a descriptor names; `None` when it is not there.
fn nvram_beside(descriptor: &SourceFile, name: &str, policy: &OpenPolicy) -> Result<Option<Vec<u8>>> {
    let file = match named_file(descriptor, name, policy) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.len() > MAX_NVRAM {
        return Err(file.error(ErrorKind::TooLarge, format!("an NVRAM of {} bytes, more than {MAX_NVRAM}", file.len())));
    }
    let mut bytes = vec![0; usize::try_from(file.len()).unwrap_or_default()];
    file.read_exact_at(0, &mut bytes)?;
    Ok(Some(bytes))
}

fn bare(path: &Path) -> Result<SourceFile> {
    SourceFile::open(path).and_then(|file| bare_archive(file, DEFAULT_MAX_UNPACKED_SIZE))
}

/// Lists the internal snapshots of an image; only qcow2 has any.
///
/// # Errors
/// When the file cannot be read or its snapshot table is damaged.
pub fn snapshots(path: &Path, format: Option<Format>) -> Result<Vec<Snapshot>> {
    let listed = SourceFile::open(path).and_then(|file| {
        let format = format.map_or_else(|| told_format(&file), Ok)?;
        let list = format.row().reading.as_ref().and_then(|reading| reading.snapshots);
        list.map_or_else(|| Ok(Vec::new()), |list| list(&file))
    });
    listed.map_err(|error| error.with_path(path).during(Operation::Read))
}
