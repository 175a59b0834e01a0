//! What is noted of the machine when its guest is off, so that our own writers can export it: its settings, where its disks are, and what its
//! firmware keeps. The files are in the output directory until it is done.

use std::path::PathBuf;

use kiln_disk_formats::OpenPolicy;
use kiln_disk_formats::package::{MachineDescription, Nvram, NvramMaker, PackagedMachine, virtualbox_machine};
use kiln_hypervisors::virtualbox::media::Media;
use kiln_hypervisors::virtualbox::spec::Notes;

use crate::export::GuestDisk;
use crate::plan::VirtualBoxPlan;

/// The names of the files: settings, disk images, NVRAM.
pub(super) fn names(plan: &VirtualBoxPlan) -> [String; 3] {
    ["vbox", "media", "nvram"].map(|end| format!(".{}.{end}", plan.vm_name))
}

/// The files.
pub(super) fn all(plan: &VirtualBoxPlan) -> [PathBuf; 3] {
    names(plan).map(|name| {
        let path = plan.output.named().join(name);
        std::path::absolute(&path).unwrap_or(path)
    })
}

/// The files that are made when the guest is off, and the one for what its firmware keeps.
pub(super) fn wanted(plan: &VirtualBoxPlan) -> (Notes, PathBuf) {
    let [settings, media, nvram] = all(plan);
    (Notes { settings, media }, nvram)
}

/// Whether they are made.
pub(super) fn are_made(plan: &VirtualBoxPlan) -> bool {
    wanted(plan).0.media.exists()
}

/// Why VirtualBox has exported the machine itself; `None`: it has not.
pub(super) fn left_to_virtualbox(plan: &VirtualBoxPlan) -> Option<String> {
    Some(media(plan)?.strip_prefix(Notes::LEFT)?.trim().to_owned())
}

fn media(plan: &VirtualBoxPlan) -> Option<String> {
    std::fs::read_to_string(wanted(plan).0.media).ok()
}

fn machine(plan: &VirtualBoxPlan) -> Option<PackagedMachine> {
    // That it can be read was looked at when it was noted.
    virtualbox_machine(&wanted(plan).0.settings).ok().filter(|_| are_made(plan))
}

/// The machine as it is noted; `None`: it is not yet.
pub(super) fn description(plan: &VirtualBoxPlan) -> Option<MachineDescription> {
    let nvram = std::fs::read(wanted(plan).1).ok();
    let nvram = nvram.map(|bytes| Nvram { maker: NvramMaker::VirtualBox, bytes: bytes.into(), file: None });
    Some(MachineDescription { name: plan.vm_name.clone(), nvram, ..machine(plan)?.description })
}

/// The disks as they are noted.
pub(super) fn disks(plan: &VirtualBoxPlan) -> Vec<GuestDisk> {
    let noted = media(plan).filter(|media| !media.starts_with(Notes::LEFT));
    let (Some(media), Some(machine)) = (noted.as_deref().map(Media::read), machine(plan)) else { return Vec::new() };
    let disk = |uuid: &String| {
        let mut chain = media.chain(uuid).ok()?.into_iter();
        let (path, format) = chain.next()?;
        // Some VMDKs are a text that names the files beside it.
        let mut policy = OpenPolicy::allow_below(path.parent().into_iter().map(Into::into).collect());
        policy.parents = chain.collect();
        Some(GuestDisk { path, format, policy })
    };
    machine.disks.iter().filter_map(disk).collect()
}
