//! What a provider's box holds of the machine: the artifact's own files where they are what it wants, else its disks written anew, without
//! the hypervisor.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_disk_formats::package::{MacAddress, MachineDescription, MachineNic, nvram_losses, vmx};
use kiln_disk_formats::{Format, FormatOptions, OpenPolicy, detect, open, package_facts};

use super::provider::Provider;
use crate::archive::Member;
use crate::artifact::Artifact;
use crate::blocking::blocking;
use crate::error::StepError;
use crate::export::{self, GuestDisk};
use crate::post_processors::context::{PostProcessContext, base_name};

/// A machine without a network card of its own gets one with this address, of VirtualBox's range.
const MAC: &str = "080027C0FFEE";

/// Most files of an OVA.
const MAX_MEMBERS: usize = 1024;

/// Bytes copied at once.
const PIECE: usize = 1 << 20;

/// What is in the box beside Vagrant's own files.
pub(super) struct Content {
    pub(super) members: Vec<Member>,
    /// The disks by their names in the box.
    pub(super) disks: Vec<String>,
    /// Address of the first network card.
    pub(super) mac: String,
}

/// Finds or makes it; what has to be made lies in `work`.
pub(super) async fn make(
    context: &PostProcessContext,
    provider: Provider,
    input: &Artifact,
    work: &Path,
) -> Result<Content, StepError> {
    let own = Provider::of_builder(&input.builder_id) == Some(provider);
    let has = |extension: &str| input.files.iter().any(|file| file.extension() == Some(OsStr::new(extension)));
    let nothing = || Content { members: Vec::new(), disks: Vec::new(), mac: MAC.to_owned() };
    match provider {
        Provider::Docker | Provider::File => Ok(nothing()),
        Provider::Libvirt => libvirt(context, input, work).await,
        Provider::VirtualBox if own && (has("ovf") || has("ova")) => {
            let (input, work) = (input.clone(), work.to_owned());
            blocking("reading the package", move |abandoned| exported(&input, &work, abandoned)).await
        }
        Provider::Vmware if own && has("vmx") => Ok(Content { members: flat(&input.files), ..nothing() }),
        Provider::VirtualBox => package(context, "ovf", input, work).await,
        Provider::Vmware => package(context, "vmx", input, work).await,
    }
}

fn flat(files: &[PathBuf]) -> Vec<Member> {
    files.iter().map(|file| Member { name: base_name(file).into(), file: file.clone() }).collect()
}

/// `box_0.img`, `box_1.img`, …: the disks as qcow2, which is what vagrant-libvirt takes.
async fn libvirt(context: &PostProcessContext, input: &Artifact, work: &Path) -> Result<Content, StepError> {
    let mut content = Content { members: Vec::new(), disks: Vec::new(), mac: MAC.to_owned() };
    for (index, disk) in disks(context, input)?.into_iter().enumerate() {
        let name = format!("box_{index}.img");
        let file = if disk.format == Format::Qcow2 {
            // A backing file would be missing in the box; this refuses one.
            open(&disk.path, Some(disk.format), &disk.policy).map_err(StepError::from)?;
            disk.path
        } else {
            let machine = MachineDescription::default();
            write(context, "qcow2", &format!("box_{index}"), vec![disk], &machine, work).await?.swap_remove(0)
        };
        content.members.push(Member { name: name.clone().into(), file });
        content.disks.push(name);
    }
    Ok(content)
}

/// The disks as a package of the format `word`, whose files are called `box`.
async fn package(
    context: &PostProcessContext,
    word: &str,
    input: &Artifact,
    work: &Path,
) -> Result<Content, StepError> {
    let mut machine = context.machine.clone().unwrap_or_default();
    "box".clone_into(&mut machine.name);
    for disk in &mut machine.disks {
        disk.file = None;
    }
    if let Some(nvram) = &mut machine.nvram {
        nvram.file = None;
    }
    if machine.nics.is_empty() {
        machine.nics.push(MachineNic::default());
    }
    let mac = machine.nics.first().and_then(|nic| nic.mac).map(plain);
    let files = write(context, word, "box", disks(context, input)?, &machine, work).await?;
    Ok(Content { members: flat(&files), disks: Vec::new(), mac: mac.unwrap_or_else(|| MAC.to_owned()) })
}

async fn write(
    context: &PostProcessContext,
    word: &str,
    name: &str,
    disks: Vec<GuestDisk>,
    machine: &MachineDescription,
    work: &Path,
) -> Result<Vec<PathBuf>, StepError> {
    let mut machine = machine.clone();
    for loss in losses(word, &mut machine) {
        context.build.error(format!("Warning: {loss}"));
    }
    let outputs = vec![export::output(word, work, name, &machine, &mut FormatOptions::default())?];
    // The directory is in the ledger.
    let written = export::write(&context.build, disks, outputs, &[], true).await?;
    Ok(written.into_iter().flatten().collect())
}

/// What of the machine is not in a box, or is something else there.
fn losses(word: &str, machine: &mut MachineDescription) -> Vec<String> {
    if word == "vmx" { vmx::fit(machine) } else { nvram_losses(machine) }
}

/// The artifact's disks.
fn disks(context: &PostProcessContext, input: &Artifact) -> Result<Vec<GuestDisk>, StepError> {
    let is_qemus = input.builder_id == "transcend.qemu";
    let name = context.machine.as_ref().map_or("", |machine| machine.name.as_str());
    let mut disks = Vec::new();
    for path in &input.files {
        // As Packer tells QEMU's disks from what else lies beside them.
        if is_qemus && !base_name(path).starts_with(name) {
            continue;
        }
        let Ok(format) = detect(path) else { continue };
        // Anything may pass for raw.
        let is_disk = match (format, path.extension()) {
            (Format::Raw, None) => is_qemus,
            (Format::Raw, Some(suffix)) => suffix.to_str().and_then(Format::from_name) == Some(Format::Raw),
            _ => true,
        };
        if is_disk {
            disks.push(GuestDisk { path: path.clone(), format, policy: OpenPolicy::deny() });
        }
    }
    if disks.is_empty() {
        return Err(StepError::new("the artifact has no disk image for a box")
            .with_hint("put the vagrant post-processor first, right after a builder that leaves a disk"));
    }
    Ok(disks)
}

/// The files of a machine that VirtualBox has exported; its descriptor is called `box.ovf`.
fn exported(input: &Artifact, work: &Path, abandoned: &AtomicBool) -> Result<Content, StepError> {
    let cannot =
        |what: &Path, error: io::Error| StepError::new(format!("cannot read {}", what.display())).with_source(error);
    let mut members = Vec::new();
    for file in &input.files {
        if file.extension() == Some(OsStr::new("ova")) {
            members.extend(flat(&unpack(file, work, abandoned).map_err(|error| cannot(file, error))?));
        } else {
            members.extend(flat(std::slice::from_ref(file)));
        }
    }
    let is_descriptor = |member: &&mut Member| Path::new(&member.name).extension() == Some(OsStr::new("ovf"));
    let mut descriptors = members.iter_mut().filter(is_descriptor);
    let (Some(descriptor), None) = (descriptors.next(), descriptors.next()) else {
        return Err(StepError::new("a box for VirtualBox needs one .ovf, and the artifact has none or several"));
    };
    descriptor.name = "box.ovf".into();
    let mac = first_mac(&descriptor.file)?.ok_or_else(|| {
        StepError::new(format!("{} does not say the address of the first network card", descriptor.file.display()))
            .with_hint("give the machine a network card, and export it from VirtualBox again")
    })?;
    // Its digest is that of a file of another name.
    members.retain(|member| Path::new(&member.name).extension() != Some(OsStr::new("mf")));
    Ok(Content { members, disks: Vec::new(), mac })
}

/// Unpacks the files of an OVA into `work`, until nobody waits for it any more.
fn unpack(archive: &Path, work: &Path, abandoned: &AtomicBool) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in tar::Archive::new(File::open(archive)?).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        // A path that leads anywhere has no business in an OVA. Nor has a file with holes: what is unpacked is no longer than the archive.
        let name = path.file_name().filter(|name| Path::new(name) == path && entry.header().entry_type().is_file());
        let Some(name) = name else {
            return Err(io::Error::other(format!("it holds {}, which is no plain file", path.display())));
        };
        if files.len() == MAX_MEMBERS {
            return Err(io::Error::other(format!("it holds more than {MAX_MEMBERS} files")));
        }
        let file = work.join(name);
        copy(&mut entry, &mut File::create_new(&file)?, abandoned)?;
        files.push(file);
    }
    Ok(files)
}

fn copy(from: &mut dyn Read, to: &mut File, abandoned: &AtomicBool) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        if abandoned.load(Ordering::Relaxed) {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        match from.read(&mut piece)? {
            0 => return Ok(()),
            count => to.write_all(&piece[..count])?,
        }
    }
}

/// The address of the first network card, in VirtualBox's own part of a descriptor.
fn first_mac(descriptor: &Path) -> Result<Option<String>, StepError> {
    let facts = package_facts(descriptor).map_err(StepError::from)?;
    let machine = facts.and_then(|facts| facts.machines.into_iter().next());
    let nic = machine.and_then(|machine| machine.description.nics.into_iter().next());
    Ok(nic.and_then(|nic| nic.mac).map(plain))
}

/// An address as Vagrantfiles have it.
fn plain(mac: MacAddress) -> String {
    mac.to_string().replace(':', "").to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Ownership;

    const OVF: &str = r#"<Envelope xmlns:vbox="v"><VirtualSystem id="web"><VirtualHardwareSection><Item><Connection>NAT</Connection>
        <InstanceID>1</InstanceID><ResourceType>10</ResourceType></Item></VirtualHardwareSection><vbox:Machine><Hardware><Network>
        <Adapter slot="1" enabled="false" MACAddress="080027000000"/>
        <Adapter slot="0" enabled="true" MACAddress="080027A1B2C3" type="82540EM"/>
        </Network></Hardware></vbox:Machine></VirtualSystem></Envelope>"#;

    const BARE: &str = r#"<Envelope><VirtualSystem id="web"><VirtualHardwareSection/></VirtualSystem></Envelope>"#;

    fn exported(input: &Artifact, work: &Path) -> Result<Content, StepError> {
        super::exported(input, work, &AtomicBool::new(false))
    }

    fn artifact(files: Vec<PathBuf>) -> Artifact {
        let (builder_id, text) = ("mitchellh.virtualbox".to_owned(), String::new());
        Artifact { builder_id, id: String::new(), text, files, ownership: Ownership::Nothing }
    }

    fn names(content: &Content) -> Vec<&str> {
        content.members.iter().map(|member| member.name.to_str().unwrap()).collect()
    }

    #[test]
    fn an_exported_machine_goes_in_as_it_is_and_its_descriptor_is_box_ovf() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (name, text) in [("web.ovf", OVF), ("web-disk001.vmdk", "disk"), ("web.mf", "sums")] {
            std::fs::write(path(name), text).unwrap();
        }
        let files = vec![path("web.ovf"), path("web-disk001.vmdk"), path("web.mf")];
        let content = exported(&artifact(files), directory.path()).unwrap();
        assert_eq!(names(&content), ["box.ovf", "web-disk001.vmdk"]);
        assert_eq!(content.mac, "080027A1B2C3");
        // The same in an archive.
        let mut archive = tar::Builder::new(File::create(path("web.ova")).unwrap());
        for name in ["web.ovf", "web-disk001.vmdk"] {
            archive.append_path_with_name(path(name), name).unwrap();
        }
        archive.finish().unwrap();
        std::fs::create_dir(path("work")).unwrap();
        let content = exported(&artifact(vec![path("web.ova")]), &path("work")).unwrap();
        assert_eq!(names(&content), ["box.ovf", "web-disk001.vmdk"]);
        assert_eq!(std::fs::read_to_string(&content.members[1].file).unwrap(), "disk");
    }

    #[test]
    fn what_a_box_cannot_be_made_of_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("a.ovf"), BARE).unwrap();
        std::fs::write(path("c.ovf"), "<no adapter/>").unwrap();
        std::fs::write(path("b.ovf"), OVF).unwrap();
        let failed = |files: Vec<PathBuf>| exported(&artifact(files), &path("")).err().unwrap().to_string();
        assert!(failed(vec![path("a.ovf")]).contains("first network card"));
        assert!(failed(vec![path("c.ovf")]).contains("c.ovf"));
        assert!(failed(vec![path("a.ovf"), path("b.ovf")]).contains("one .ovf"));
        assert!(failed(vec![path("a.vmdk")]).contains("one .ovf"));
        let mut archive = tar::Builder::new(File::create(path("evil.ova")).unwrap());
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..9].copy_from_slice(b"../up.ovf");
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        archive.append(&header, &[][..]).unwrap();
        archive.finish().unwrap();
        let error = exported(&artifact(vec![path("evil.ova")]), &path("")).err().unwrap();
        assert!(error.to_string().contains("no plain file"), "{error}");
    }

    #[test]
    fn unpacking_stops_when_nobody_waits_and_has_an_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mut archive = tar::Builder::new(File::create(path("many.ova")).unwrap());
        for number in 0..=MAX_MEMBERS {
            let mut header = tar::Header::new_ustar();
            header.set_size(0);
            archive.append_data(&mut header, number.to_string(), &[][..]).unwrap();
        }
        archive.finish().unwrap();
        std::fs::create_dir(path("work")).unwrap();
        let error = unpack(&path("many.ova"), &path("work"), &AtomicBool::new(false)).unwrap_err();
        assert_eq!(error.to_string(), "it holds more than 1024 files");
        std::fs::create_dir(path("other")).unwrap();
        let error = unpack(&path("many.ova"), &path("other"), &AtomicBool::new(true)).unwrap_err();
        assert_eq!(error.to_string(), "nobody waits for it any more");
        assert_eq!(std::fs::read_dir(path("other")).unwrap().count(), 1);
    }

    #[test]
    fn what_of_an_nvram_is_in_no_box_is_said() {
        use kiln_disk_formats::package::{Firmware, Nvram, NvramMaker};
        let machine = MachineDescription {
            firmware: Firmware::Uefi { secure_boot: false },
            // Nobody can read it.
            nvram: Some(Nvram { maker: NvramMaker::Qemu, bytes: vec![1].into(), file: None }),
            ..MachineDescription::default()
        };
        for word in ["ovf", "vmx"] {
            let told = losses(word, &mut machine.clone());
            assert!(told.iter().any(|loss| loss.contains("the NVRAM is QEMU's")), "{word}: {told:?}");
        }
    }
}
