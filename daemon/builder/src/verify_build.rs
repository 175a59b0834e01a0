//! Boots what a build has left, for the post-processor `verify`: a build of its own, of a disk that lies over the image and goes again. It takes
//! the recipe's steps, so that a guest that does not come up is told as it always is; its records, files and clean-ups are its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kiln_communicators::BoxFuture;
use kiln_disk_formats::{Format, OpenPolicy, detect};
use kiln_template::{EvaluatedBuild, Provisioner};

use crate::backends::Backends;
use crate::built::PlannedBuild;
use crate::context::{BuildContext, JobSettings, OnError};
use crate::error::StepError;
use crate::export::is_same;
use crate::ledger::{Ledger, Resource};
use crate::machine_build::{self, MachineBuilder as _};
use crate::plan::{
    BuildPlan, CommunicatorPlan, FirmwarePlan, ImageArguments, ImagePlan, QemuPlan, SourcePlan, WrittenImage,
};
use crate::post_processors::Verifier;
use crate::records::{Chain, RecordFile};
use crate::sources::qemu::firmware::EFI_VARS_NAME;

/// Switches of a template's `qemuargs` that lead to no file and no network of the build's: the others are left out.
const HARMLESS: [&str; 7] = ["-m", "-smp", "-cpu", "-machine", "-M", "-accel", "-enable-kvm"];

/// What to do about a guest that nobody gets into any more.
const NO_KEY_HINT: &str =
    "the build's temporary key is gone when the image is done: set ssh_password or ssh_private_key_file";

/// Boots images of one build.
pub(crate) struct VerifyBuild {
    /// The build's place in its job.
    pub(crate) index: usize,
    pub(crate) build: EvaluatedBuild,
    pub(crate) plan: BuildPlan,
    pub(crate) context: BuildContext,
    pub(crate) backends: Backends,
    /// How many there were.
    pub(crate) count: AtomicU32,
}

impl Verifier for VerifyBuild {
    fn verify<'a>(&'a self, image: &'a Path, checks: Provisioner) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            let SourcePlan::Qemu(plan) = &self.plan.source else { return Err(other_builder(&self.build.source_type)) };
            let number = self.count.fetch_add(1, Ordering::Relaxed);
            let directory = self.context.settings.job_dir.join(format!("verify-{}-{number}", self.index));
            let machine = throw_away(plan, image, &directory)?;
            self.boot(machine, checks, directory).await
        })
    }
}

impl VerifyBuild {
    async fn boot(&self, machine: QemuPlan, checks: Provisioner, directory: PathBuf) -> Result<(), StepError> {
        let failed =
            |error: std::io::Error| StepError::new(format!("cannot make {}", directory.display())).with_source(error);
        let resource = Resource::Directory { path: directory.clone() };
        self.context.ledger.acquired(&resource);
        let removed = Removed(self.context.ledger.clone(), resource);
        std::fs::create_dir_all(&directory).map_err(failed)?;
        let context = self.context_in(&directory).map_err(failed)?;
        // Whoever cancels lets go of this in the middle, with the machine running: then the build ends it.
        let held = Held(context.clone());
        let ending = self.context.on_cleanup("post-process", "end the machine that was verified", move || async move {
            held.0.clean_up(None).await;
            drop(held);
            drop(removed);
            Ok(())
        });
        let booted = self.run(machine, checks, &context).await;
        context.clean_up(None).await;
        // With what it holds: the directory goes.
        self.context.disarm(ending);
        booted
    }

    async fn run(&self, machine: QemuPlan, checks: Provisioner, context: &BuildContext) -> Result<(), StepError> {
        let failed = |error: std::io::Error| StepError::new("cannot note the steps of verify").with_source(error);
        let planned = self.planned(machine, checks);
        let digest = planned.plan.digest(&context.settings.plan_key);
        let digest = digest.map_err(|error| StepError::new("the plan cannot be written down").with_source(error))?;
        context.chain.begin(digest.to_string(), &context.settings.run_uuid).await.map_err(failed)?;
        let booted = machine_build::run(self.index, machine_of(&planned), &planned, context, &self.backends).await;
        booted.map(drop).map_err(|error| {
            let hint = "the image is kept as it was; what failed is above, and `kiln image` tells what is in it";
            StepError::new(format!("the image does not pass: {error}")).with_hint(hint)
        })
    }

    /// A context of the same build, with records and clean-ups of its own.
    fn context_in(&self, directory: &Path) -> std::io::Result<BuildContext> {
        let outer = &self.context;
        let settings = JobSettings {
            force: false,
            debug: false,
            on_error: OnError::Cleanup,
            job_dir: directory.to_owned(),
            fault: None,
            ..(*outer.settings).clone()
        };
        let chain = Chain::new(&outer.build, RecordFile::open(directory)?);
        Ok(outer.beside(Arc::new(settings), chain))
    }

    fn planned(&self, machine: QemuPlan, checks: Provisioner) -> PlannedBuild {
        let build = EvaluatedBuild {
            provisioners: vec![checks],
            cleanup_provisioner: None,
            post_processors: Vec::new(),
            ..self.build.clone()
        };
        let plan = BuildPlan {
            source: SourcePlan::Qemu(Box::new(machine)),
            provisioners: Vec::new(),
            cleanup_provisioner: None,
            post_processors: Vec::new(),
            ..self.plan.clone()
        };
        PlannedBuild { build, plan }
    }
}

fn machine_of(planned: &PlannedBuild) -> &dyn machine_build::MachineBuilder {
    match &planned.plan.source {
        SourcePlan::Qemu(machine) => &**machine,
        _ => unreachable!("it was planned for QEMU right before"),
    }
}

/// Gives back what the boot holds, also when it is dropped.
struct Held(BuildContext);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

/// The directory of a boot, which goes with it.
struct Removed(Arc<Ledger>, Resource);

impl Drop for Removed {
    fn drop(&mut self) {
        let Resource::Directory { path } = &self.1 else { return };
        match std::fs::remove_dir_all(path) {
            // It stays in the ledger; a sweep tries again.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "the directory of a verified image cannot be removed");
            }
            _ => self.0.released(&self.1),
        }
    }
}

/// The error of a build whose images this version boots not.
pub(crate) fn other_builder(kind: &str) -> StepError {
    StepError::new(format!("verify boots images of the builder qemu, and this one is of {kind}"))
        .with_hint("run the checks as a provisioner, or boot the image with a second build that has it as its source")
}

/// What `image` is. The builder knows it of its own disk, whatever the guest has put there.
fn written(plan: &QemuPlan, image: &Path) -> Result<WrittenImage, StepError> {
    let shown = image.display();
    // It says also whether there is a file.
    let found = detect(image).map_err(|error| StepError::new(format!("cannot read {shown}")).with_source(error))?;
    let own = plan.disks().into_iter().find(|disk| is_same(&disk.path, image));
    match own.as_ref().map_or(found, |disk| disk.format) {
        Format::Raw => Ok(WrittenImage::Raw),
        Format::Qcow2 if own.as_ref().is_some_and(|disk| disk.policy != OpenPolicy::deny()) => {
            Ok(WrittenImage::Overlay)
        }
        Format::Qcow2 => Ok(WrittenImage::Qcow2),
        format => Err(StepError::new(format!("{shown} is a {format} image, and verify boots qcow2 and raw ones"))
            .with_hint("let the builder write qcow2, and export the other format behind verify")),
    }
}

/// The machine of a plan, with a disk of its own over `image`.
fn throw_away(plan: &QemuPlan, image: &Path, directory: &Path) -> Result<QemuPlan, StepError> {
    let shown = image.display();
    let written = written(plan, image)?;
    if !plan.additional_disks.is_empty() {
        return Err(StepError::new(
            "verify boots images of one disk, and this build makes more (disk_additional_size)",
        ));
    }
    let absolute = std::path::absolute(image)
        .map_err(|error| StepError::new(format!("cannot name {shown}")).with_source(error))?;
    let url = absolute.to_str().ok_or_else(|| StepError::new(format!("{shown} is not UTF-8, which QEMU needs")))?;
    let mut machine = plan.machine.clone();
    (machine.vnc, machine.qmp_socket, machine.headless) = (None, None, true);
    machine.qemuargs.retain(|argument| argument.first().is_some_and(|switch| HARMLESS.contains(&switch.as_str())));
    if let FirmwarePlan::Efi(efi) = &mut machine.firmware {
        let own = absolute.with_file_name(EFI_VARS_NAME);
        if own.exists() {
            (efi.vars, efi.vars_is_qcow2) = (own, false);
        }
    }
    let mut communicator = plan.communicator.clone();
    if let CommunicatorPlan::Ssh(ssh) = &mut communicator
        && ssh.temporary_key.take().is_some()
        && ssh.password.is_none()
        && !ssh.agent
    {
        return Err(StepError::new("nobody gets into the image by SSH any more").with_hint(NO_KEY_HINT));
    }
    let mut boot = plan.boot.clone();
    boot.commands.clear();
    Ok(QemuPlan {
        output_directory: directory.join("out"),
        image: ImagePlan {
            urls: vec![url.to_owned()],
            checksum: "none".to_owned(),
            target_path: None,
            extension: plan.image.extension.clone(),
            skip_cache: false,
            written: Some(written),
        },
        disk_image: true,
        use_backing_file: true,
        skip_resize_disk: true,
        skip_compaction: true,
        format: "qcow2".to_owned(),
        disk_compression: false,
        image_arguments: ImageArguments::default(),
        http: None,
        floppy: None,
        cd: None,
        boot,
        communicator,
        machine,
        ..plan.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan_tests::component::{Body, running, source};

    fn plan(options: &[(&'static str, &str)]) -> QemuPlan {
        let definition = running().find(|definition| definition.schema.kind == "qemu").unwrap();
        let mut body = Body::from([("vm_name", "\"guest\"".to_owned()), ("ssh_username", "\"u\"".to_owned())]);
        body.extend(options.iter().map(|(name, value)| (*name, (*value).to_owned())));
        match source(definition, &body) {
            SourcePlan::Qemu(plan) => *plan,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_of_the_build_but_the_machine_is_used() {
        let scratch = tempfile::tempdir().unwrap();
        let image = scratch.path().join("guest");
        kiln_disk_formats::create_qcow2(&image, 1 << 20).unwrap();
        let plan = plan(&[
            ("ssh_password", "\"secret\""),
            ("boot_command", "[\"x<enter>\"]"),
            ("http_content", "{ a = \"b\" }"),
            ("floppy_content", "{ a = \"b\" }"),
            ("qmp_enable", "true"),
            ("vnc_port_min", "5910"),
            ("memory", "777"),
            ("disk_compression", "true"),
            ("qemuargs", "[[\"-drive\", \"file=out/guest\"], [\"-cpu\", \"max\"], [\"-serial\", \"file:x\"]]"),
        ]);
        let work = scratch.path().join("work");
        let machine = throw_away(&plan, &image, &work).unwrap();
        assert_eq!(machine.image.urls, [image.to_str().unwrap()]);
        assert_eq!(machine.output_directory, work.join("out"));
        assert!(machine.disk_image && machine.use_backing_file && machine.skip_compaction);
        assert!(machine.http.is_none() && machine.floppy.is_none() && machine.boot.commands.is_empty());
        assert!(machine.machine.vnc.is_none() && machine.machine.qmp_socket.is_none());
        assert_eq!(
            (machine.machine.memory, &machine.machine.qemuargs),
            (777, &vec![vec!["-cpu".to_owned(), "max".to_owned()]])
        );
        assert_eq!(machine.vm_name, plan.vm_name);
    }

    #[test]
    fn the_builder_knows_what_its_image_is_and_the_guest_is_not_asked() {
        let scratch = tempfile::tempdir().unwrap();
        let out = scratch.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let (image, other, secret) = (out.join("guest"), out.join("other"), scratch.path().join("secret"));
        std::fs::write(&secret, [7; 4096]).unwrap();
        kiln_disk_formats::create_overlay(&image, &secret, Format::Raw, None).unwrap();
        std::fs::copy(&image, &other).unwrap();
        let place = format!("{:?}", out.display().to_string());
        let written = |options: &[(&'static str, &str)], image: &Path| {
            let mut all = vec![("output_directory", &*place), ("ssh_password", "\"p\"")];
            all.extend(options);
            throw_away(&plan(&all), image, scratch.path()).unwrap().image.written
        };
        assert_eq!(written(&[("format", "\"raw\"")], &image), Some(WrittenImage::Raw));
        assert_eq!(written(&[], &image), Some(WrittenImage::Qcow2));
        let over = [("disk_image", "true"), ("use_backing_file", "true")];
        assert_eq!(written(&over, &image), Some(WrittenImage::Overlay));
        assert_eq!(written(&over, &other), Some(WrittenImage::Qcow2), "nobody knows what a post-processor has made");
    }

    #[test]
    fn what_cannot_be_booted_is_told_by_name() {
        let scratch = tempfile::tempdir().unwrap();
        let image = scratch.path().join("guest");
        let error = |options: &[(&'static str, &str)]| throw_away(&plan(options), &image, scratch.path()).unwrap_err();
        assert!(error(&[]).to_string().contains("cannot read"));
        kiln_disk_formats::create_vdi(&image, 1 << 20).unwrap();
        assert!(error(&[]).to_string().contains("vdi image"), "{}", error(&[]));
        std::fs::remove_file(&image).unwrap();
        kiln_disk_formats::create_qcow2(&image, 1 << 20).unwrap();
        assert_eq!(error(&[]).hint(), Some(NO_KEY_HINT), "a key of the build's own");
        let disks = [("ssh_password", "\"p\""), ("disk_additional_size", "[\"1G\"]")];
        assert!(error(&disks).to_string().contains("disk_additional_size"));
        assert!(throw_away(&plan(&[("ssh_password", "\"p\"")]), &image, scratch.path()).is_ok());
        assert!(throw_away(&plan(&[("communicator", "\"guest-agent\"")]), &image, scratch.path()).is_ok());
    }
}
