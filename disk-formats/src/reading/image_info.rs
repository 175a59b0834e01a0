//! Facts about an opened image, whatever its format.

use std::path::PathBuf;

use super::backing_name::BackingFile;
use super::format_facts::{FormatFacts, Snapshot};
use crate::format::Format;

/// Facts about an opened image that need no walk over its tables.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageInfo {
    /// The image's format.
    pub format: Format,
    /// A word for the variant: `v3`, `streamOptimized`, `dynamic`; empty when the format has none.
    pub variant: String,
    /// Size of the guest disk in bytes.
    pub virtual_size: u64,
    /// Unit of allocation in bytes, when the format has one.
    pub cluster_size: Option<u64>,
    /// The file named as backing file or parent, as written in the image; it may not exist.
    pub backing_file: Option<String>,
    /// The recorded format of that file, as written in the image.
    pub backing_format: Option<String>,
    /// Whether the image says that it was not closed properly.
    pub dirty: bool,
    /// Whether the guest's bytes are encrypted.
    pub encrypted: bool,
    /// Internal snapshots; [`crate::image_info`] lists them, an opened reader does not.
    pub snapshots: Vec<Snapshot>,
    /// What only this format has.
    pub specific: Option<FormatFacts>,
    /// The files that were opened to read this image, itself first.
    pub files: Vec<PathBuf>,
}

impl ImageInfo {
    /// Returns the facts about a disk without variant, clusters or files.
    #[must_use]
    pub fn new(format: Format, virtual_size: u64) -> Self {
        Self {
            format,
            variant: String::new(),
            virtual_size,
            cluster_size: None,
            backing_file: None,
            backing_format: None,
            dirty: false,
            encrypted: false,
            snapshots: Vec::new(),
            specific: None,
            files: Vec::new(),
        }
    }

    /// Returns the file below this image as it is opened; `None` without one, or when its name is not one of a local file.
    #[must_use]
    pub fn backing(&self) -> Option<BackingFile> {
        BackingFile::named(self.backing_file.as_deref()?, self.backing_format.as_deref()).ok()
    }
}
