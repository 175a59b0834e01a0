//! The command lines of `kiln convert` and `kiln image`, with the flags that qemu-img users expect. Doc comments are the help.

use clap::{Args, Subcommand, ValueEnum};
use kiln_protocol::{Digests, FormatOption};

use super::qemu_flags::{CacheFlag, QemuConvertFlags, RepairFlag, bytes, snapshot};

// The options are those of the table of formats, which the client does not know: `./x components` writes them.
const CONVERT_HELP: &str = concat!(
    "\
The first path is the image to read, all others are written. `--disk` adds disks for a package. Of an OVA with several disks all go
into packages; for other outputs one is chosen, as web.ova:data.vmdk.

Options of formats (-o); an option counts for all outputs that know it, or for one: -o out.vmdk:subformat=streamOptimized
",
    include_str!("format_options.txt"),
    "
Examples:
  kiln convert web.qcow2 web.ova web.vhdx
  kiln convert web.qcow2 -O vmdk -o subformat=streamOptimized - | ssh host 'cat > web.vmdk'
  kiln convert root.raw --disk data.raw --cpus 2 --memory 2G app.ova"
);

/// How images are opened.
#[derive(Debug, Args)]
pub(crate) struct SourceFlags {
    /// Format of the image; otherwise its signature decides
    #[arg(short = 'f', long = "format", alias = "source-format", value_name = "format")]
    pub(crate) format: Option<String>,
    /// Let the image use files below this directory (backing file, extents) besides those below its own; can be repeated
    #[arg(long, value_name = "directory")]
    pub(crate) allow_backing: Vec<String>,
    /// Accepted for compatibility: images are never locked
    #[arg(short = 'U', long, hide = true)]
    pub(crate) force_share: bool,
}

#[derive(Debug, Args)]
#[command(after_help = CONVERT_HELP)]
pub(crate) struct ConvertArguments {
    #[command(flatten)]
    pub(crate) source: SourceFlags,
    /// Format of the outputs, once for all or once for each; otherwise their suffixes decide
    #[arg(short = 'O', long, value_name = "format")]
    pub(crate) output_format: Vec<String>,
    /// Options of the output formats; can be repeated
    #[arg(short = 'o', long = "options", value_name = "key=value,…", value_parser = format_options)]
    pub(crate) options: Vec<FormatOptions>,
    /// Compress qcow2
    #[arg(short = 'c', long)]
    pub(crate) compress: bool,
    /// A further disk of the machine, for packages; can be repeated
    #[arg(long, value_name = "image")]
    pub(crate) disk: Vec<String>,
    /// Replace files that exist
    #[arg(long)]
    pub(crate) force: bool,
    /// Worker threads; the default is one per processor
    #[arg(long, value_name = "number", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) threads: Option<u32>,
    /// What to compute on the way
    #[arg(long, value_name = "which", default_value = "content")]
    pub(crate) digests: DigestChoice,
    /// Attest what was read and written in OUTPUT.provenance.json, signed with the private key in this PEM file
    #[arg(long, value_name = "key.pem")]
    pub(crate) provenance_key: Option<String>,
    /// Do not wait for stable storage
    #[arg(long)]
    pub(crate) no_sync: bool,
    /// Print the result as JSON
    #[arg(long, conflicts_with = "detach")]
    pub(crate) json: bool,
    /// Print the job's id and return; `kiln attach` shows it
    #[arg(long)]
    pub(crate) detach: bool,
    /// Say nothing but errors
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
    /// Accepted for compatibility: progress is shown on a terminal
    #[arg(short = 'p', hide = true)]
    pub(crate) progress: bool,
    /// Internal snapshot to read instead of the present state, by id or name (qcow2)
    #[arg(short = 'l', long, value_name = "snapshot", value_parser = snapshot)]
    pub(crate) snapshot: Option<String>,
    #[command(flatten)]
    pub(crate) qemu: QemuConvertFlags,
    /// The image to read, then what to write; `-` writes to standard output
    #[arg(value_name = "path", required = true)]
    pub(crate) paths: Vec<String>,
    // The last, for its heading holds for all that follow.
    #[command(flatten, next_help_heading = "The machine, for packages")]
    pub(crate) machine: MachineFlags,
}

/// The machine in a package.
#[derive(Debug, Args)]
pub(crate) struct MachineFlags {
    /// Name; the default is that of the package's file
    #[arg(long, value_name = "name")]
    pub(crate) name: Option<String>,
    /// Virtual processors
    #[arg(long, value_name = "number", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cpus: Option<u32>,
    /// Memory, in MiB or as `2G`
    #[arg(long, value_name = "size", value_parser = memory)]
    pub(crate) memory: Option<u64>,
    /// bios or efi
    #[arg(long, value_name = "firmware")]
    pub(crate) firmware: Option<String>,
    /// Start signed boot loaders only; implies EFI
    #[arg(long)]
    pub(crate) secure_boot: bool,
    /// A virtual TPM
    #[arg(long)]
    pub(crate) tpm: bool,
    /// The guest's operating system, as `debian-64`, or as any of VMware's or VirtualBox's names
    #[arg(long, value_name = "name")]
    pub(crate) guest_os: Option<String>,
    /// A network card, as `virtio` or `e1000:NETWORK`; can be repeated
    #[arg(long, value_name = "card")]
    pub(crate) nic: Vec<String>,
    /// The disks' controller: ide, sata, scsi, sas, buslogic, pvscsi or nvme; once for all disks, or once for each
    #[arg(long, value_name = "bus")]
    pub(crate) bus: Vec<String>,
    /// VMware's virtual hardware version
    #[arg(long, visible_alias = "hwversion", value_name = "number")]
    pub(crate) hardware_version: Option<u8>,
    /// Product that importers show
    #[arg(long, value_name = "text")]
    pub(crate) product: Option<String>,
    /// Its vendor
    #[arg(long, value_name = "text")]
    pub(crate) vendor: Option<String>,
    /// Its version
    #[arg(long, value_name = "text")]
    pub(crate) product_version: Option<String>,
    /// File with the licence text to accept at import
    #[arg(long, value_name = "file")]
    pub(crate) eula: Option<String>,
    /// Text for whoever imports the machine
    #[arg(long, value_name = "text")]
    pub(crate) annotation: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Describe an image
    Info {
        #[command(flatten)]
        source: SourceFlags,
        #[command(flatten)]
        output: OutputFlags,
        /// Describe the images below it too
        #[arg(long)]
        backing_chain: bool,
        /// The image
        #[arg(value_name = "image")]
        image: String,
    },
    /// List which parts of the guest's disk hold data
    Map {
        #[command(flatten)]
        source: SourceFlags,
        #[command(flatten)]
        output: OutputFlags,
        /// First byte of the guest's disk to look at
        #[arg(short = 's', long, value_name = "bytes", default_value = "0", value_parser = bytes)]
        start_offset: u64,
        /// Bytes to look at
        #[arg(short = 'l', long, value_name = "bytes", value_parser = bytes)]
        max_length: Option<u64>,
        /// The image
        #[arg(value_name = "image")]
        image: String,
    },
    /// Check an image's structure; exits with 0 (clean), 2 (corruptions), 3 (leaks only), 1 (an error) or 63 (not checkable)
    Check {
        /// Format of the image; otherwise its signature decides
        #[arg(short = 'f', long, value_name = "format")]
        format: Option<String>,
        #[command(flatten)]
        output: OutputFlags,
        /// Say nothing but errors
        #[arg(short = 'q', long)]
        quiet: bool,
        /// Accepted for compatibility: images are never locked
        #[arg(short = 'U', long, hide = true)]
        force_share: bool,
        /// Accepted for compatibility: progress is shown on a terminal
        #[arg(short = 'p', hide = true)]
        progress: bool,
        #[command(flatten)]
        repair: RepairFlag,
        #[command(flatten)]
        cache: CacheFlag,
        /// The image
        #[arg(value_name = "image")]
        image: String,
    },
    /// Compare what two guests would see; exits with 0 (the same), 1 (different) or 2 (an error)
    Compare {
        #[command(flatten)]
        source: SourceFlags,
        /// Format of the second image
        #[arg(short = 'F', value_name = "format")]
        second_format: Option<String>,
        #[command(flatten)]
        output: OutputFlags,
        /// Disks of different sizes are different, even if only zeroes follow
        #[arg(short = 's', long)]
        strict: bool,
        /// Say nothing but errors
        #[arg(short = 'q', long)]
        quiet: bool,
        /// Accepted for compatibility: progress is shown on a terminal
        #[arg(short = 'p', hide = true)]
        progress: bool,
        #[command(flatten)]
        cache: CacheFlag,
        /// One image
        #[arg(value_name = "image")]
        left: String,
        /// The other
        #[arg(value_name = "image")]
        right: String,
    },
    /// Check files against the digests that list them: an OVA, an OVF, its .mf, or SHA256SUMS
    Verify {
        #[command(flatten)]
        output: OutputFlags,
        /// The package or list
        #[arg(value_name = "file")]
        path: String,
    },
}

/// Whether people or programs read the output.
#[derive(Debug, Args)]
pub(crate) struct OutputFlags {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The same, in qemu-img's words
    #[arg(long, value_name = "form", hide = true)]
    output: Option<OutputForm>,
}

impl OutputFlags {
    pub(crate) fn json(&self) -> bool {
        self.json || self.output == Some(OutputForm::Json)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutputForm {
    Human,
    Json,
}

/// [`Digests`] as a clap value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DigestChoice {
    /// Nothing: the fastest
    None,
    /// A digest of the guest's disk, equal for all images of one content
    Content,
    /// That, and the SHA-256 of every file
    All,
}

impl From<DigestChoice> for Digests {
    fn from(choice: DigestChoice) -> Self {
        match choice {
            DigestChoice::None => Self::None,
            DigestChoice::Content => Self::Content,
            DigestChoice::All => Self::All,
        }
    }
}

/// Options that may stand without a value, a line each. Made from the table of formats by `./x components`.
const SWITCHES: &str = include_str!("format_switches.txt");

/// Names of formats, a line each, for who writes `-o` where `-O` is meant. Made from the table of formats by `./x components`.
pub(crate) const FORMAT_NAMES: &str = include_str!("format_names.txt");

/// The options of one `-o`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FormatOptions(pub(crate) Vec<FormatOption>);

fn format_options(text: &str) -> Result<FormatOptions, String> {
    let option = |part: &str| {
        let (name, value) = match part.split_once('=') {
            Some(option) => option,
            // As qemu-img has it: an option without a value is switched on.
            None if SWITCHES.lines().any(|switch| switch == part.rsplit(':').next().unwrap_or(part).trim()) => {
                (part, "on")
            }
            None => return Err(no_value(part)),
        };
        if name.trim().is_empty() {
            return Err(format!("`{part}` is not key=value"));
        }
        Ok(FormatOption { name: name.trim().to_owned(), value: value.to_owned() })
    };
    text.split(',').filter(|part| !part.is_empty()).map(option).collect::<Result<_, _>>().map(FormatOptions)
}

/// Says what to write in the place of an option without a value.
fn no_value(part: &str) -> String {
    let is_format = FORMAT_NAMES.lines().any(|name| name.eq_ignore_ascii_case(part));
    let way = if is_format {
        format!("`-O {part}` names the format of the outputs")
    } else if part.contains(['.', '/']) && !part.contains(':') {
        "outputs are named without a flag, behind the image to read".to_owned()
    } else {
        format!("`-o {part}=VALUE` sets an option, and `kiln convert --help` lists them")
    };
    format!("`{part}` is not key=value; {way}")
}

/// Reads a size in MiB; letters are powers of 1024.
fn memory(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "m" | "mb" | "mib" => Some(0),
        "g" | "gb" | "gib" => Some(10),
        "t" | "tb" | "tib" => Some(20),
        _ => None,
    };
    let mebibytes = shift.and_then(|shift| digits.parse::<u64>().ok()?.checked_mul(1 << shift));
    mebibytes.ok_or_else(|| "neither a number of MiB nor a size such as `2G`".to_owned())
}
