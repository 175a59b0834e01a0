//! Flags of qemu-img that scripts pass: those that mean the same here or nothing at all are taken, the others are refused with what to
//! do instead.

use clap::{Args, ValueEnum};

use crate::error::CommandError;

/// A way to use the page cache, for which only durability counts here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CacheMode {
    None,
    Writeback,
    Writethrough,
    Directsync,
    Unsafe,
}

/// Flags of `qemu-img convert`.
#[derive(Debug, Args)]
pub(crate) struct QemuConvertFlags {
    /// Accepted for compatibility: outputs are written as fast as they can be
    #[arg(short = 'W', hide = true)]
    out_of_order: bool,
    /// Accepted for compatibility: `--threads` says how many work
    #[arg(short = 'm', value_name = "number", hide = true)]
    coroutines: Option<u32>,
    /// How outputs are written: `unsafe` is `--no-sync`, the others are what happens anyway
    #[arg(short = 't', value_name = "cache", hide = true)]
    cache: Option<CacheMode>,
    /// Accepted for compatibility
    #[arg(short = 'T', value_name = "cache", hide = true)]
    source_cache: Option<CacheMode>,
    /// Zeroes from which holes are made; 0 would be none
    #[arg(short = 'S', value_name = "size", value_parser = bytes, hide = true)]
    sparse_size: Option<u64>,
    /// Accepted for compatibility: the kernel copies where it can
    #[arg(short = 'C', hide = true)]
    copy_range: bool,
    #[arg(short = 'n', hide = true)]
    no_create: bool,
    #[arg(long, hide = true)]
    target_is_zero: bool,
    #[arg(short = 'r', value_name = "rate", hide = true)]
    rate_limit: Option<String>,
    #[arg(long, hide = true)]
    salvage: bool,
    #[arg(long, hide = true)]
    bitmaps: bool,
    #[arg(long, hide = true)]
    image_opts: bool,
    #[arg(long, hide = true)]
    target_image_opts: bool,
    #[arg(long, value_name = "object", hide = true)]
    object: Vec<String>,
    #[arg(short = 'B', long, value_name = "file", hide = true)]
    backing: Option<String>,
    #[arg(short = 'F', value_name = "format", hide = true)]
    backing_format: Option<String>,
}

impl QemuConvertFlags {
    /// Refuses what would be something else than what qemu-img does.
    pub(crate) fn refuse(&self) -> Result<(), CommandError> {
        let no_options = "name the file and its format: `-f FORMAT PATH`";
        let given = [
            (
                self.no_create || self.target_is_zero,
                "-n (write into a target that exists)",
                "outputs appear when they are whole: `--force` replaces a file; for a device, write to `-` and pipe it into \
                 `dd of=DEVICE`",
            ),
            (
                self.sparse_size == Some(0),
                "-S 0 (no holes)",
                "zeroes take no room in any output; `fallocate FILE` reserves it",
            ),
            (
                self.rate_limit.is_some(),
                "-r (a limit of the rate)",
                "start it under `ionice`, or pipe it through `pv -L`",
            ),
            (self.salvage, "--salvage", "rescue the file with `ddrescue` first, then convert the copy"),
            (self.bitmaps, "--bitmaps", "bitmaps belong to QEMU's backups: use `qemu-img convert --bitmaps`"),
            (self.image_opts || self.target_image_opts, "--image-opts", no_options),
            (!self.object.is_empty(), "--object", "decrypt the image with `qemu-img convert` first"),
            (
                self.backing.is_some() || self.backing_format.is_some(),
                "-B (write an overlay)",
                "an output holds the whole disk; `qemu-img create -b BASE -F FORMAT` makes an overlay",
            ),
        ];
        match given.into_iter().find(|(given, ..)| *given) {
            Some((_, flag, hint)) => {
                Err(CommandError::new(format!("{flag} is not something that Kiln does")).hint(hint))
            }
            None => Ok(()),
        }
    }

    /// Whether nothing need be waited for.
    pub(crate) fn is_unsafe(&self) -> bool {
        self.cache == Some(CacheMode::Unsafe)
    }
}

/// How a source is read, which makes no difference here.
#[derive(Debug, Args)]
pub(crate) struct CacheFlag {
    /// Accepted for compatibility
    #[arg(short = 'T', value_name = "cache", hide = true)]
    source_cache: Option<CacheMode>,
}

/// `check -r`.
#[derive(Debug, Args)]
pub(crate) struct RepairFlag {
    #[arg(short = 'r', long, value_name = "what", hide = true)]
    repair: Option<String>,
}

impl RepairFlag {
    /// Refuses to repair.
    pub(crate) fn refuse(&self) -> Result<(), CommandError> {
        let Some(what) = &self.repair else { return Ok(()) };
        let hint = format!(
            "`kiln convert` writes a new image without leaks; `qemu-img check -r {what}` changes this one, after you have made a copy"
        );
        Err(CommandError::new("images are never repaired in place").hint(hint))
    }
}

/// Reads a number of bytes, with qemu-img's suffixes: powers of 1024.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => Some(0),
        "k" => Some(10),
        "m" => Some(20),
        "g" => Some(30),
        "t" => Some(40),
        "p" => Some(50),
        _ => None,
    };
    let bytes = shift.and_then(|shift| digits.parse::<u64>().ok()?.checked_mul(1 << shift));
    bytes.ok_or_else(|| "neither a number of bytes nor a size such as `64k` or `2M`".to_owned())
}

/// Reads `snapshot.id=ID`, `snapshot.name=NAME`, or either without that.
pub(crate) fn snapshot(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("snapshot.id=").or_else(|| text.strip_prefix("snapshot.name=")).unwrap_or(text);
    if name.is_empty() { Err("a snapshot without a name".to_owned()) } else { Ok(name.to_owned()) }
}
