//! Where our discs and our floppy come to be in a machine that brings drives and disks of its own along: beside those, never in the place of
//! a disk.

use std::path::{Path, PathBuf};

use super::facts::{Controller, Facts, Held, Slot};
use super::spec::{Bus, DiscRole, Drive};
use super::storage::{FLOPPY, IDE_PLACES, Place, without_links};
use crate::error::StartError;

/// A disc of ours in such a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlacedDisc {
    pub(super) slot: Slot,
    /// The image, without links.
    pub(super) image: PathBuf,
}

/// Our floppy in such a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlacedFloppy {
    pub(super) slot: Slot,
    /// The image, without links.
    pub(super) image: PathBuf,
    /// The machine has no controller for floppies of its own.
    pub(super) makes_controller: bool,
}

/// Finds a place for each drive: Packer's, unless a disk is there; else a free one of the same controller, else one with a disc.
pub(super) fn of_discs(drives: &[Drive], facts: &Facts) -> Result<Vec<PlacedDisc>, StartError> {
    let mut placed: Vec<PlacedDisc> = Vec::new();
    for drive in drives {
        let usual = Place::of(drive);
        let slot =
            |controller: &str, (port, device): (u32, u32)| Slot { controller: controller.to_owned(), port, device };
        let place = (usual.port, usual.device);
        let slot = match controller(facts, drive.bus) {
            Some(controller) => {
                let free = places(drive.bus, &controller, place).into_iter().map(|place| slot(controller.name, place));
                let free: Vec<Slot> = free
                    .filter(|slot| facts.takes_a_disc(slot) && placed.iter().all(|other| other.slot != *slot))
                    .collect();
                let is_usual = |slot: &&Slot| (slot.port, slot.device) == place;
                let is_empty = |slot: &&Slot| !matches!(facts.holds(slot), Held::Medium(_));
                let found = free.iter().find(is_usual).or_else(|| free.iter().find(is_empty)).or(free.first());
                found.cloned().ok_or_else(|| no_place(drive, &controller, facts))?
            }
            // VirtualBox says so itself.
            None => slot(drive.bus.controller(), place),
        };
        placed.push(PlacedDisc { slot, image: without_links(&drive.image) });
    }
    Ok(placed)
}

/// Finds a place for a floppy: the machine's own drive, else one of ours.
pub(super) fn of_floppy(image: &Path, facts: &Facts) -> PlacedFloppy {
    let own = facts.controllers().into_iter().find(Controller::is_floppy);
    let controller = own.map_or(FLOPPY, |controller| controller.name).to_owned();
    let slot = Slot { controller, port: 0, device: 0 };
    PlacedFloppy { slot, image: without_links(image), makes_controller: own.is_none() }
}

/// The controller of that name, else one of that kind.
fn controller(facts: &Facts, bus: Bus) -> Option<Controller<'_>> {
    let controllers = facts.controllers();
    let named = controllers.iter().find(|one| one.name == bus.controller());
    named.or_else(|| controllers.iter().find(|one| bus.kinds().contains(&one.kind))).copied()
}

/// The places of a controller, those that are not started from first; of one that does not tell how many it has, the usual one.
fn places(bus: Bus, controller: &Controller<'_>, usual: (u32, u32)) -> Vec<(u32, u32)> {
    match (bus, controller.ports) {
        (Bus::Ide, _) => IDE_PLACES.iter().rev().copied().collect(),
        (_, Some(ports)) => (0..ports).rev().map(|port| (port, 0)).collect(),
        (_, None) => vec![usual],
    }
}

fn no_place(drive: &Drive, controller: &Controller<'_>, facts: &Facts) -> StartError {
    let (what, option) = match drive.role {
        DiscRole::Installer => ("the installer", "iso_interface"),
        DiscRole::GuestAdditions => ("the guest additions", "guest_additions_mode"),
        DiscRole::Seed => ("the CD with the files of cd_files and cd_content", "cd_files"),
    };
    let there = facts.attached().into_iter().filter(|one| one.slot.controller == controller.name);
    let there: Vec<String> = there.map(|one| format!("{} at {}", one.path.display(), one.slot)).collect();
    StartError::Refused {
        command: option.to_owned(),
        problem: format!(
            "the machine's controller {} has no free place for {what}; it has {}",
            controller.name,
            if there.is_empty() { "no port".to_owned() } else { there.join(", ") }
        ),
        hint: Some(
            "set guest_additions_interface to another controller of the machine (ide, sata, virtio), or make room on this one"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDE: &str = "storagecontrollername0=\"IDE Controller\"\nstoragecontrollertype0=\"PIIX4\"\n\
                       storagecontrollerportcount0=\"2\"\n\"IDE Controller-0-0\"=\"/a.vdi\"\n";

    fn placed(roles: &[DiscRole], bus: Bus, facts: &str) -> Result<Vec<String>, String> {
        let drive = |role: &DiscRole| Drive { image: "/x.iso".into(), bus, role: *role, stays: false };
        let drives: Vec<Drive> = roles.iter().map(drive).collect();
        let placed = of_discs(&drives, &Facts::read(facts)).map_err(|error| error.to_string())?;
        Ok(placed.into_iter().map(|disc| disc.slot.to_string()).collect())
    }

    #[test]
    fn discs_go_beside_the_disks() {
        use DiscRole::{GuestAdditions, Seed};
        let with = |more: &str| format!("{IDE}{more}");
        let both = [GuestAdditions, Seed];
        assert_eq!(placed(&both, Bus::Ide, IDE).unwrap(), ["IDE Controller-1-0", "IDE Controller-1-1"]);
        let second = with("\"IDE Controller-1-1\"=\"/b.vdi\"\n\"IDE Controller-nonrotational-1-1\"=\"off\"\n");
        assert_eq!(placed(&both, Bus::Ide, &second).unwrap(), ["IDE Controller-1-0", "IDE Controller-0-1"]);
        // A disc of the owner's is put back afterwards, and only taken out where nothing is free.
        let disc = with("\"IDE Controller-1-1\"=\"/own.iso\"\n\"IDE Controller-IsEjected-1-1\"=\"off\"\n");
        assert_eq!(placed(&[Seed], Bus::Ide, &disc).unwrap(), ["IDE Controller-1-1"]);
        let full = with("\"IDE Controller-1-0\"=\"/b.vdi\"\n\"IDE Controller-0-1\"=\"/c.vdi\"\n");
        let told = placed(&both, Bus::Ide, &full).unwrap_err();
        assert!(told.contains("no free place for the guest additions") || told.contains("no free place for the CD"));
        assert!(told.contains("/c.vdi at IDE Controller-0-1"), "{told}");
        // There is no controller: VirtualBox says so.
        assert_eq!(placed(&[Seed], Bus::Sata, IDE).unwrap(), ["SATA-15-0"]);
        let sata = "storagecontrollername0=\"SATA\"\nstoragecontrollertype0=\"IntelAhci\"\n\"SATA-0-0\"=\"/a.vdi\"\n";
        assert_eq!(placed(&[Seed], Bus::Sata, sata).unwrap(), ["SATA-15-0"]);
        let few = format!("{sata}storagecontrollerportcount0=\"2\"\n");
        assert_eq!(placed(&[Seed], Bus::Sata, &few).unwrap(), ["SATA-1-0"]);
        assert!(placed(&both, Bus::Sata, &few).unwrap_err().contains("/a.vdi at SATA-0-0"));
    }

    #[test]
    fn a_floppy_goes_into_the_machines_own_drive() {
        let own = "storagecontrollername1=\"Fl\"\nstoragecontrollertype1=\"I82078\"\n";
        for (facts, controller, makes) in [(IDE, "Floppy", true), (own, "Fl", false)] {
            let placed = of_floppy(Path::new("/f.img"), &Facts::read(facts));
            assert_eq!((placed.slot.controller.as_str(), placed.makes_controller), (controller, makes));
        }
    }
}
