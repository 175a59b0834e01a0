//! Sizes that all parts of a CD image share.

/// Bytes of a sector.
pub(super) const SECTOR_BYTES: usize = 2048;
/// Characters of a volume label.
pub(super) const LABEL_BYTES: usize = 32;
/// Directories that path tables can number.
pub(super) const MAX_DIRECTORIES: usize = 65_535;
