//! The guest's disks: where they are, and how they are made before the start.

use std::path::{Path, PathBuf};

use kiln_disk_formats::{
    ConvertOptions, ErrorKind, Format, OpenPolicy, Output, OutputKind, Progress, convert, create_overlay, create_qcow2,
    create_raw, detect, open, resize,
};
use kiln_hypervisors::DiskFormat;

use super::{image_tool, local_image};
use crate::blocking::blocking;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::export::{self, GuestDisk, WRITTEN_HINT};
use crate::fetch;
use crate::plan::{QemuPlan, WrittenImage};
use crate::plan_key::PlanKey;

/// One disk that the guest writes.
#[derive(Debug, Clone)]
pub(crate) struct WorkDisk {
    /// Where it is while the guest runs.
    pub(crate) path: PathBuf,
    /// Its name when the build is over.
    pub(crate) final_path: PathBuf,
    pub(crate) format: Format,
    pub(crate) policy: OpenPolicy,
}

impl WorkDisk {
    /// It has its name for good.
    pub(super) fn is_renamed(&self) -> bool {
        !self.path.exists() && self.final_path.exists()
    }

    /// Where it can be read now.
    fn current_path(&self) -> &Path {
        if self.is_renamed() { &self.final_path } else { &self.path }
    }

    pub(super) fn readable(&self) -> GuestDisk {
        GuestDisk { path: self.current_path().to_owned(), format: self.format, policy: self.policy.clone() }
    }

    pub(crate) fn hypervisor_format(&self) -> DiskFormat {
        if self.format == Format::Raw { DiskFormat::Raw } else { DiskFormat::Qcow2 }
    }
}

/// All of them.
#[derive(Debug, Clone)]
pub(crate) struct GuestDisks {
    pub(crate) main: WorkDisk,
    pub(crate) additional: Vec<WorkDisk>,
}

impl GuestDisks {
    /// The disks that the plan describes. They have hidden names until the build is over, unless `qemuargs` name Packer's path
    /// for the main disk: then the guest must find it there.
    pub(crate) fn of(plan: &QemuPlan) -> Self {
        let named_by_template = named_in_qemuargs(&plan.output_directory.join(&plan.vm_name), &plan.machine.qemuargs);
        let format = if plan.format == "raw" { Format::Raw } else { Format::Qcow2 };
        let place = |name: String| WorkDisk {
            path: plan.output_directory.join(if named_by_template { name.clone() } else { work_name(&name) }),
            final_path: plan.output_directory.join(name),
            format,
            policy: OpenPolicy::deny(),
        };
        let mut main = place(plan.vm_name.clone());
        if plan.disk_image && plan.use_backing_file {
            main.policy = OpenPolicy::allow_any();
        }
        let numbers = 1..=plan.additional_disks.len();
        Self { main, additional: numbers.map(|number| place(format!("{}-{number}", plan.vm_name))).collect() }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &WorkDisk> {
        std::iter::once(&self.main).chain(&self.additional)
    }

    pub(crate) fn readable(&self) -> Vec<GuestDisk> {
        self.all().map(WorkDisk::readable).collect()
    }
}

/// Makes the disks.
pub(crate) async fn create(plan: &QemuPlan, image: &Path, context: &BuildContext) -> Result<(), StepError> {
    let (plan, image, reporter) = (plan.clone(), image.to_owned(), context.clone());
    if plan.disk_image && !plan.use_backing_file {
        context.say("Copying the disk image...");
    }
    let (left_plan, left_image) = (plan.clone(), image.clone());
    let base = blocking("making the disks", move |abandoned| {
        let progress = export::report(&reporter, "copy the disk image", abandoned);
        create_blocking(&plan, &image, &reporter.settings.plan_key, &progress)
    })
    .await?;
    create_by_tool(&left_plan, &left_image, &context.settings.plan_key, base).await
}

/// The disk image that the main disk is made of.
#[derive(Debug, Clone, Copy)]
struct Base {
    format: Format,
    /// The size that the main disk is to have.
    wanted: u64,
    /// It has that size.
    fits: bool,
}

/// Makes what is not left to `qemu-img`; tells of the disk image where there is one.
fn create_blocking(
    plan: &QemuPlan,
    image: &Path,
    key: &PlanKey,
    progress: &dyn Progress,
) -> Result<Option<Base>, StepError> {
    let disks = GuestDisks::of(plan);
    for disk in disks.all() {
        // Of an earlier try that failed.
        remove(&disk.path)?;
    }
    let by_tool = !plan.image_arguments.create.is_empty();
    let base = if plan.disk_image { Some(from_image(plan, image, &disks.main, key, progress)?) } else { None };
    if !plan.disk_image && !by_tool {
        empty(&disks.main, plan.disk_size)?;
    }
    let mut additional = disks.additional.iter().zip(&plan.additional_disks).filter(|_| !by_tool);
    additional.try_for_each(|(disk, &size)| empty(disk, size))?;
    Ok(base)
}

/// Makes what is, in Packer's order.
async fn create_by_tool(plan: &QemuPlan, image: &Path, key: &PlanKey, base: Option<Base>) -> Result<(), StepError> {
    let (disks, own) = (GuestDisks::of(plan), &plan.image_arguments);
    if !own.create.is_empty() {
        let over = base.filter(|_| plan.use_backing_file);
        if !plan.disk_image || over.is_some() {
            let size = over.map_or(plan.disk_size, |base| base.wanted);
            image_tool::create(
                &disks.main.path,
                disks.main.format,
                size,
                over.map(|base| (image, base.format)),
                &own.create,
            )
            .await?;
            if over.is_some() {
                local_image::note_base(&disks.main.path, image, key);
            }
        }
        for (disk, size) in disks.additional.iter().zip(&plan.additional_disks) {
            image_tool::create(&disk.path, disk.format, *size, None, &own.create).await?;
        }
    }
    match base.filter(|base| !base.fits && !own.resize.is_empty()) {
        Some(base) => image_tool::resize(&disks.main.path, disks.main.format, base.wanted, &own.resize).await,
        None => Ok(()),
    }
}

pub(super) fn remove(path: &Path) -> Result<(), StepError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StepError::new(format!("cannot remove {}", path.display())).with_source(error))
        }
        _ => Ok(()),
    }
}

/// The hidden name of a disk until the build is over.
pub(super) fn work_name(name: &str) -> String {
    format!(".{name}.work")
}

/// Whether `qemuargs` name the disk at `path`, where Packer has it. Blanks go first, as they may stand in a template's `{{ .Name }}`; QEMU is
/// given the values of a switch as one, and takes it with two dashes, too.
fn named_in_qemuargs(path: &Path, qemuargs: &[Vec<String>]) -> bool {
    let plain = |text: &str| text.replace(' ', "").replace("./", "");
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let places = [&*absolute, path].map(|path| path.display().to_string());
    let mentions = |argument: &str| {
        let argument = plain(argument);
        let has_place = |place: &String| {
            let place = plain(place);
            // To its end: `out/web-seed.iso` is another file.
            argument.match_indices(&place).any(|(at, _)| {
                let after = argument[at + place.len()..].chars().next();
                after.is_none_or(|next| matches!(next, ',' | '"' | '\'' | '}'))
            })
        };
        places.iter().any(has_place) || argument.contains("{{.OutputDir") || argument.contains("{{.Name")
    };
    qemuargs.iter().any(|argument| {
        let Some((switch, values)) = argument.split_first() else { return false };
        let switch = switch.trim_start_matches('-');
        ["drive", "hda", "hdb", "blockdev", "device"].contains(&switch) && mentions(&values.concat())
    })
}

fn empty(disk: &WorkDisk, size: u64) -> Result<(), StepError> {
    let made = match disk.format {
        Format::Raw => create_raw(&disk.path, size),
        _ => create_qcow2(&disk.path, size),
    };
    Ok(made?)
}

/// What to do about a downloaded image that names other files.
const STRANGERS_HINT: &str = "a downloaded image must be whole: download it with the files it names, and give iso_url the path of the one that names them";

/// The main disk from a disk image: an overlay over it, or a copy.
fn from_image(
    plan: &QemuPlan,
    image: &Path,
    main: &WorkDisk,
    key: &PlanKey,
    progress: &dyn Progress,
) -> Result<Base, StepError> {
    // What an image names gets into the guest: any file that this user can read. One that was downloaded is a stranger's.
    let (format, policy, hint) = match plan.image.written {
        Some(WrittenImage::Raw) => (Format::Raw, OpenPolicy::deny(), None),
        Some(WrittenImage::Qcow2) => (Format::Qcow2, OpenPolicy::deny(), Some(WRITTEN_HINT)),
        Some(WrittenImage::Overlay) => (Format::Qcow2, OpenPolicy::allow_any(), None),
        None if fetch::names_local(&plan.image.urls, image) => local_image::judge(image, key)?,
        None => (detect(image)?, OpenPolicy::deny(), Some(STRANGERS_HINT)),
    };
    let opened = || {
        open(image, Some(format), &policy).map_err(|error| match (error.kind(), hint) {
            (ErrorKind::Refused, Some(hint)) => StepError::from(error).with_hint(hint),
            _ => error.into(),
        })
    };
    let first = opened()?;
    if hint == Some(local_image::HINT) {
        local_image::check_chain(image, &*first, key)?;
    }
    let size = first.virtual_size();
    let wanted = if plan.skip_resize_disk { size } else { plan.disk_size };
    let by_tool = &plan.image_arguments;
    if wanted < size && !by_tool.resize.iter().any(|word| word == "--shrink") {
        let detail = format!("disk_size is {wanted} bytes, but {} holds a disk of {size}", image.display());
        return Err(StepError::new(detail)
            .with_hint("a disk image can only grow: raise disk_size, or set skip_resize_disk = true"));
    }
    // Over an image a disk can be of any size, but only `qemu-img` makes it smaller, from the image's own.
    let begun = if by_tool.resize.is_empty() { wanted } else { size };
    if plan.use_backing_file {
        if by_tool.create.is_empty() {
            create_overlay(&main.path, image, format, Some(begun))?;
            local_image::note_base(&main.path, image, key);
            return Ok(Base { format, wanted, fits: wanted == begun });
        }
        return Ok(Base { format, wanted, fits: true });
    }
    let reader = opened()?;
    let kind = if main.format == Format::Raw { OutputKind::Raw } else { OutputKind::qcow2() };
    let mut options = ConvertOptions::default();
    options.content_digest = false;
    options.file_digests = false;
    convert(&*reader, &[Output::new(&main.path, kind)], &options, progress)?;
    let fits = by_tool.resize.is_empty() || wanted == size;
    if wanted > size && fits {
        resize(&main.path, main.format, wanted)?;
    }
    Ok(Base { format, wanted, fits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_found_in_qemuargs_however_it_is_written() {
        let here = std::env::current_dir().unwrap();
        let absolute = format!("file={}/out/Windows 10,if=virtio", here.display());
        for (argument, named) in [
            (&["-drive", "file=out/Windows 10,if=virtio"][..], true),
            (&["--drive", "file=./out/Windows 10"], true),
            (&["-drive", &absolute], true),
            (&["-drive", "file=out/", "Windows 10", ",if=virtio"], true),
            (&["-drive", "file={{ .OutputDir }}/{{ .Name }}"], true),
            (&["-hda", "out/Windows 10"], true),
            (&["-drive", "file=other/Windows 10"], false),
            (&["-drive", "file=out/Windows 10-seed.iso,media=cdrom"], false),
            (&["-smbios", "type=11,value=out/Windows 10"], false),
            (&[], false),
        ] {
            let qemuargs = vec![argument.iter().map(|&word| word.to_owned()).collect()];
            for path in ["out/Windows 10", "./out/Windows 10"] {
                assert_eq!(named_in_qemuargs(Path::new(path), &qemuargs), named, "{argument:?} {path}");
            }
        }
    }
}
