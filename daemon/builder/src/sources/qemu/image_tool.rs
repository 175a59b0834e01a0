//! Images that a template has `qemu-img` make, as Packer does: its own arguments come behind Kiln's.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use kiln_disk_formats::Format;
use kiln_hypervisors::qemu::{ImageTool, ImageToolError};

use crate::error::StepError;
use crate::plan::QemuPlan;

impl From<ImageToolError> for StepError {
    fn from(error: ImageToolError) -> Self {
        let hint = error.hint();
        Self::wrap(error).with_hint_maybe(hint)
    }
}

/// Makes an empty disk of `size` bytes, or one over `base`.
pub(super) async fn create(
    path: &Path,
    format: Format,
    size: u64,
    base: Option<(&Path, Format)>,
    own: &[String],
) -> Result<(), StepError> {
    let mut line = Line::new("create").word("-f").word(word(format));
    if let Some((base, format)) = base {
        let base = std::path::absolute(base)
            .map_err(|error| StepError::new(format!("cannot name {}", base.display())).with_source(error))?;
        line = line.word("-b").word(base).word("-F").word(word(format));
    }
    line.words(own).path(path).word(size.to_string()).run().await
}

/// Gives a disk another size.
pub(super) async fn resize(path: &Path, format: Format, size: u64, own: &[String]) -> Result<(), StepError> {
    Line::new("resize").word("-f").word(word(format)).words(own).path(path).word(size.to_string()).run().await
}

/// Writes the disk at `from`, all of it, to `to`, which is not there.
pub(super) async fn convert(from: &Path, format: Format, to: &Path, plan: &QemuPlan) -> Result<(), StepError> {
    let mut line = Line::new("convert").word("-f").word(word(format));
    if plan.disk_compression {
        line = line.word("-c");
    }
    line.words(&plan.image_arguments.convert).word("-O").word(word(format)).path(from).path(to).run().await
}

/// Whether the main disk leaves by way of `qemu-img`.
pub(super) fn converts(plan: &QemuPlan) -> bool {
    !plan.image_arguments.convert.is_empty()
        && plan.format == "qcow2"
        && (!plan.skip_compaction || plan.disk_compression)
}

/// The name that the main disk has until it is whole.
pub(super) fn unfinished_name(plan: &QemuPlan) -> String {
    format!(".{}.convert", plan.vm_name)
}

/// QEMU's word for a format.
fn word(format: Format) -> &'static str {
    match format {
        Format::Vhd => "vpc",
        other => other.name(),
    }
}

/// A command line of `qemu-img`.
struct Line(Vec<OsString>);

impl Line {
    fn new(command: &str) -> Self {
        Self(vec![command.into()])
    }

    fn word(mut self, word: impl AsRef<OsStr>) -> Self {
        self.0.push(word.as_ref().to_owned());
        self
    }

    fn words(mut self, words: &[String]) -> Self {
        self.0.extend(words.iter().map(OsString::from));
        self
    }

    /// A file, whatever its name looks like: without the directory in front `a:b` would be a protocol, and `-a` an argument.
    fn path(self, path: &Path) -> Self {
        let is_plain = path.is_absolute();
        if is_plain { self.word(path) } else { self.word(Path::new(".").join(path)) }
    }

    async fn run(self) -> Result<(), StepError> {
        Ok(ImageTool::find()?.run(self.0).await?)
    }
}
