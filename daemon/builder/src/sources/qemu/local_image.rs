//! What an image of this machine, which a template names by its path, may lie over.
//!
//! It may be the raw disk of an earlier guest, and a guest writes what it likes to the beginning of its disk: the header of an image that lies
//! over `~/.ssh/id_ed25519`, say. What such a header names is read into the next guest, so it is followed only to other disks beside the image.

use std::io::Read as _;
use std::path::Path;

use kiln_disk_formats::{DiskReader, Format, OpenPolicy, detect};

use crate::error::StepError;
use crate::image_registry::ImageRegistry;

/// What to do about an image that lies over others elsewhere.
pub(super) const HINT: &str = "the file may be the raw disk of a guest that has written this there. If you know it: \
    `kiln convert --allow-backing DIR IMAGE.qcow2 WHOLE.qcow2` makes one image of it and what is below, or put what is below beside it";

/// Where a disk says that it has a partition table or a boot loader.
const SIGNATURE: ([u8; 2], usize) = ([0x55, 0xaa], 510);

/// The image's format, and what it may name.
pub(super) fn judge(image: &Path) -> Result<(Format, OpenPolicy, Option<&'static str>), StepError> {
    let registered = ImageRegistry::of_user().and_then(|registry| registry.format_of(image));
    Ok(match registered.as_deref() {
        // The build that made it knows.
        Some("raw") => (Format::Raw, OpenPolicy::deny(), None),
        Some("qcow2") => (Format::Qcow2, OpenPolicy::allow_any(), None),
        _ => {
            let beside = std::path::absolute(image).ok().and_then(|image| image.parent().map(Path::to_owned));
            (detect(image)?, OpenPolicy::allow_below(beside.into_iter().collect()), Some(HINT))
        }
    })
}

/// Refuses an image that lies over a file which is no disk.
pub(super) fn check_chain(image: &Path, reader: &dyn DiskReader) -> Result<(), StepError> {
    let own = image.canonicalize().ok();
    for file in reader.info().files {
        if file.canonicalize().ok() != own && !is_disk(&file) {
            let detail = format!("{} says that it lies over {}, which is no disk", image.display(), file.display());
            return Err(StepError::new(detail).with_hint(HINT));
        }
    }
    Ok(())
}

/// An image by its own word, or a raw disk with something to start from.
fn is_disk(path: &Path) -> bool {
    if detect(path).is_ok_and(|format| format != Format::Raw) {
        return true;
    }
    let (signature, at) = SIGNATURE;
    let mut sector = [0; 512];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut sector));
    read.is_ok() && sector[at..] == signature
}
