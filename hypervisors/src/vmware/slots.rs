//! Places on a machine's buses: which are taken, and the next free one.

use std::collections::BTreeSet;
use std::fmt;

use kiln_disk_formats::package::vmx::Vmx;

use super::spec::Bus;

/// A place on a bus, as `scsi0:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) bus: Bus,
    pub(super) controller: u32,
    pub(super) unit: u32,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}:{}", self.bus, self.controller, self.unit)
    }
}

impl Slot {
    /// Reads `scsi0:1`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let letters = text.find(|c: char| c.is_ascii_digit())?;
        let (controller, unit) = text[letters..].split_once(':')?;
        Some(Self {
            bus: Bus::parse(&text[..letters])?,
            controller: controller.parse().ok()?,
            unit: unit.parse().ok()?,
        })
    }
}

/// Controllers of a bus and the units on each.
const fn room(bus: Bus) -> (u32, u32) {
    match bus {
        Bus::Ide => (2, 2),
        Bus::Sata => (4, 30),
        Bus::Scsi => (4, 16),
        Bus::Nvme => (4, 15),
    }
}

/// The unit that a SCSI adapter has itself.
const SCSI_ADAPTERS_OWN: u32 = 7;

/// The places that are taken.
#[derive(Debug, Default)]
pub(super) struct Slots(BTreeSet<Slot>);

impl Slots {
    /// Those of the devices in `vmx`.
    pub(super) fn of(vmx: &Vmx) -> Self {
        let taken = |(key, value): (&str, &str)| {
            let slot = Slot::parse(key.to_ascii_lowercase().strip_suffix(".present")?)?;
            value.eq_ignore_ascii_case("true").then_some(slot)
        };
        Self(vmx.iter().filter_map(taken).collect())
    }

    /// Takes the first free place of `bus`, not before the unit `unit` of `controller`; `None`: it is full.
    pub(super) fn take(&mut self, bus: Bus, controller: u32, unit: u32) -> Option<Slot> {
        let (controllers, units) = room(bus);
        let all = (0..controllers).flat_map(|controller| (0..units).map(move |unit| (controller, unit)));
        let free = all
            .filter(|place| *place >= (controller, unit) && !(bus == Bus::Scsi && place.1 == SCSI_ADAPTERS_OWN))
            .map(|(controller, unit)| Slot { bus, controller, unit })
            .find(|slot| !self.0.contains(slot))?;
        self.0.insert(free);
        Some(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_free_place_is_taken() {
        let vmx =
            Vmx::from_bytes(b"scsi0:0.present = \"TRUE\"\nIDE1:0.Present = \"true\"\nide0:0.present = \"FALSE\"\n");
        let mut slots = Slots::of(&vmx.unwrap());
        let mut take = |bus, controller, unit| slots.take(bus, controller, unit).map(|slot| slot.to_string());
        let scsi: Vec<_> = (0..16).filter_map(|_| take(Bus::Scsi, 0, 0)).collect();
        assert_eq!((scsi[0].as_str(), scsi[5].as_str(), scsi[6].as_str()), ("scsi0:1", "scsi0:6", "scsi0:8"));
        assert_eq!(scsi[14], "scsi1:0");
        assert_eq!(take(Bus::Ide, 0, 0).as_deref(), Some("ide0:0"));
        assert_eq!(take(Bus::Ide, 1, 0).as_deref(), Some("ide1:1"));
        assert_eq!(take(Bus::Ide, 1, 0), None);
        assert_eq!(take(Bus::Ide, 0, 0).as_deref(), Some("ide0:1"));
    }
}
