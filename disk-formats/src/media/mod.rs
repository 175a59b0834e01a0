//! Boot media made from files: floppy images and CD images, written without external tools.
//!
//! A [`MediaTree`] says which files go where; [`write_floppy`] and [`write_iso9660`] turn it into bytes. Both writers are
//! deterministic: the same tree, label and time give the same image. [`Selection`] builds trees by Packer's rules.
//!
//! ```text
//! floppy_files, floppy_dirs, floppy_content ─┐                ┌─ write_floppy  → 1440 KiB FAT12, long names
//! cd_files, cd_content ──────────────────────┴─► MediaTree ───┴─ write_iso9660 → ISO 9660 + Rock Ridge + Joliet
//! ```

mod fat;
mod glob;
mod iso9660;
mod name_pattern;
mod selection;
mod source;
#[cfg(test)]
mod test_tools;
mod time;
mod tree;

pub use fat::{FLOPPY_BYTES, FloppyError, FloppyOptions, write_floppy};
pub use glob::{GlobError, matches_nothing};
pub use iso9660::{IsoError, IsoOptions, write_iso9660};
pub use selection::{Selection, SelectionError};
pub use source::{MediaSource, SourceError};
pub use time::MediaTime;
pub use tree::{MediaTree, TreeError};
