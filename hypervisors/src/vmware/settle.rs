//! The VMX file of a machine that is done: what the build has put into it for itself is taken out again.

use std::collections::BTreeMap;
use std::path::Path;

use kiln_disk_formats::package::vmx::Vmx;

use super::draft::{Draft, VmxProblem};
use super::machine_file::SERIAL_FILE;
use super::own_disks::OwnDisks;

/// What is done to the file.
#[derive(Debug, Clone, Default)]
pub struct Settling<'a> {
    /// The discs whose drives stay, empty, as the installer's.
    pub installers: &'a [&'a Path],
    /// The discs whose drives go with them.
    pub discs: &'a [&'a Path],
    /// A floppy was put in.
    pub floppy: bool,
    /// The network cards go.
    pub without_network: bool,
    /// Entries put over all others. They may take a disk out, but put no other there.
    pub data: BTreeMap<String, String>,
    /// New names of disk files, by the old ones.
    pub disks: BTreeMap<String, String>,
}

/// Makes of a build's machine one that can be given away.
///
/// # Errors
///
/// An entry is none that a VMX file can hold, or gives the machine another disk.
pub fn settle(vmx: Vmx, settling: &Settling<'_>) -> Result<Vmx, VmxProblem> {
    let mut draft = Draft::of(vmx);
    for (device, name) in devices(draft.vmx()) {
        let holds = |discs: &[&Path]| discs.iter().any(|disc| disc.as_os_str() == name.as_str());
        if holds(settling.installers) {
            draft.set(format!("{device}.deviceType"), "cdrom-raw");
            draft.set(format!("{device}.fileName"), "auto detect");
            draft.truth(format!("{device}.clientDevice"), true);
        } else if holds(settling.discs) {
            remove(&mut draft, &device);
            let controller = device.split(':').next().unwrap_or_default();
            let in_use = |(key, value): (&str, &str)| {
                let key = key.to_ascii_lowercase();
                key.starts_with(&format!("{controller}:"))
                    && key.ends_with(".present")
                    && value.eq_ignore_ascii_case("true")
            };
            if !draft.vmx().iter().any(in_use) {
                remove(&mut draft, controller);
            }
        } else if let Some(new) = settling.disks.get(&name) {
            draft.set(format!("{device}.fileName"), new);
        }
    }
    if settling.floppy {
        remove(&mut draft, "floppy0");
        draft.truth("floppy0.present", false);
    }
    if draft.vmx().get("serial0.fileName") == Some(SERIAL_FILE) {
        remove(&mut draft, "serial0");
    }
    draft.retain(|key| !key.starts_with("remotedisplay.vnc."));
    draft.truth("RemoteDisplay.vnc.enabled", false);
    let own = OwnDisks::of(draft.vmx())?;
    draft.put_over(&settling.data);
    own.check(draft.vmx(), |_| true)?;
    own.check_no_others(draft.vmx())?;
    if settling.without_network {
        draft.retain(|key| !is_card(key));
    }
    draft.finish()
}

/// Devices on buses and the files that they name, as `scsi0:0` and `disk.vmdk`.
fn devices(vmx: &Vmx) -> Vec<(String, String)> {
    let device = |(key, value): (&str, &str)| {
        let key = key.to_ascii_lowercase();
        let device = key.strip_suffix(".filename")?;
        device.contains(':').then(|| (device.to_owned(), value.to_owned()))
    };
    vmx.iter().filter_map(device).collect()
}

fn remove(draft: &mut Draft, device: &str) {
    let beginning = format!("{}.", device.to_ascii_lowercase());
    draft.retain(|key| !key.starts_with(&beginning));
}

/// Whether a key is of a network card, as `ethernet0.present`.
fn is_card(key: &str) -> bool {
    key.strip_prefix("ethernet").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_build_put_in_goes_and_the_rest_stays() {
        let vmx = Vmx::from_bytes(
            b"ide0:0.present = \"TRUE\"\nide0:0.fileName = \"/i/installer.iso\"\nide0:0.deviceType = \"cdrom-image\"\n\
              sata1.present = \"TRUE\"\nsata1:0.present = \"TRUE\"\nsata1:0.fileName = \"/w/cd.iso\"\n\
              scsi0.present = \"TRUE\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \".disk.work.vmdk\"\n\
              floppy0.present = \"TRUE\"\nfloppy0.fileName = \"/w/floppy.img\"\nserial0.present = \"TRUE\"\n\
              serial0.fileName = \"kiln-serial.log\"\nRemoteDisplay.vnc.enabled = \"TRUE\"\nRemoteDisplay.vnc.password = \"secret\"\n\
              ethernet0.present = \"TRUE\"\nguestinfo.Mine = \"kept\"\n",
        );
        let settling = Settling {
            installers: &[Path::new("/i/installer.iso")],
            discs: &[Path::new("/w/cd.iso")],
            floppy: true,
            without_network: true,
            data: BTreeMap::from([("annotation".to_owned(), "done".to_owned())]),
            disks: BTreeMap::from([(".disk.work.vmdk".to_owned(), "disk.vmdk".to_owned())]),
        };
        let settled = settle(vmx.unwrap(), &settling).unwrap().to_string();
        let expected = ".encoding = \"UTF-8\"\nannotation = \"done\"\nfloppy0.present = \"FALSE\"\nguestinfo.Mine = \"kept\"\n\
                        ide0:0.clientDevice = \"TRUE\"\nide0:0.deviceType = \"cdrom-raw\"\nide0:0.fileName = \"auto detect\"\n\
                        ide0:0.present = \"TRUE\"\nRemoteDisplay.vnc.enabled = \"FALSE\"\nscsi0.present = \"TRUE\"\n\
                        scsi0:0.fileName = \"disk.vmdk\"\nscsi0:0.present = \"TRUE\"\n";
        assert_eq!(settled, expected);
        let data = BTreeMap::from([("a b".to_owned(), "x".to_owned())]);
        assert!(settle(Vmx::new(), &Settling { data, ..Settling::default() }).is_err());
    }

    #[test]
    fn entries_take_disks_out_but_put_no_others_there() {
        let vmx = "scsi0.present = \"TRUE\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"disk.vmdk\"\n\
                   scsi0:1.present = \"TRUE\"\nscsi0:1.fileName = \"disk-1.vmdk\"\n";
        let with = |entries: &[(&str, &str)]| {
            let data = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let settled = settle(Vmx::from_bytes(vmx.as_bytes()).unwrap(), &Settling { data, ..Settling::default() });
            settled.map(|vmx| vmx.disks().unwrap().len()).map_err(|problem| problem.to_string())
        };
        assert_eq!(with(&[("scsi0:0.virtualSSD", "1"), ("scsi0:0.FILENAME", "disk.vmdk")]), Ok(2));
        assert_eq!(with(&[("scsi0:1.present", "FALSE")]), Ok(1));
        let replaced = "scsi0:0 holds the machine's own disk disk.vmdk, in whose place there would be x.vmdk";
        assert_eq!(with(&[("scsi0:0.filename", "x.vmdk")]), Err(replaced.to_owned()));
        // To another bus, when nothing is left where it was and there is such a bus.
        let moved = [("scsi0:0.present", "FALSE"), ("sata0:3.fileName", "disk.vmdk"), ("sata0:3.present", "TRUE")];
        let no_bus = "the machine's own disk disk.vmdk would be at sata0:3, but sata0.present is not TRUE";
        assert_eq!(with(&moved), Err(no_bus.to_owned()));
        assert_eq!(with(&[&moved[..], &[("sata0.present", "TRUE")]].concat()), Ok(2));
        let twice = "the machine's own disk disk.vmdk would be in two places, scsi0:0 and sata0:3";
        assert_eq!(with(&[&moved[1..], &[("sata0.present", "TRUE")]].concat()), Err(twice.to_owned()));
        // Two that change places are both there.
        assert_eq!(with(&[("scsi0:0.fileName", "disk-1.vmdk"), ("scsi0:1.fileName", "disk.vmdk")]), Ok(2));
        let added = "scsi0:2 would hold the disk x.vmdk, which the machine did not have while it ran";
        assert_eq!(with(&[("scsi0:2.fileName", "x.vmdk"), ("scsi0:2.present", "TRUE")]), Err(added.to_owned()));
    }
}
