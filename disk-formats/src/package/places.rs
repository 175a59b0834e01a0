//! Where a machine's disks hang: its controllers, and the units on them, for all writers alike.

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::machine::{DiskController, DiskSlot, MachineDescription};

/// The controllers of a machine, and the place of each of its disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// In the order in which the disks need them.
    pub(crate) controllers: Vec<DiskController>,
    /// Of each disk: which of the controllers, and the unit on it.
    pub(crate) disks: Vec<(usize, u32)>,
}

impl Places {
    /// Finds a place for each disk.
    ///
    /// # Errors
    /// When two disks want one place, a place is none of its controller's, or there are more disks than hang on such controllers.
    pub(crate) fn of(machine: &MachineDescription, disks: usize) -> Result<Self> {
        let wishes: Vec<(DiskController, Option<DiskSlot>)> = (0..disks)
            .map(|index| machine.disks.get(index).map(|disk| (disk.controller, disk.slot)).unwrap_or_default())
            .collect();
        let mut controllers: Vec<Controller> = Vec::new();
        let mut places = vec![(0, 0); disks];
        // What has a place keeps it, whatever comes before.
        for (place, (kind, slot)) in places.iter_mut().zip(&wishes) {
            let Some(slot) = slot else { continue };
            let known = controllers.iter().position(|one| (one.kind, one.number) == (*kind, Some(slot.controller)));
            let index = known.unwrap_or_else(|| push(&mut controllers, *kind, Some(slot.controller)));
            if !kind.has_unit(slot.unit) {
                return Err(invalid(format!("{} has no unit {}", article(*kind), slot.unit)));
            }
            if controllers[index].taken.contains(&slot.unit) {
                let title = kind.words().title;
                return Err(invalid(format!("two disks are unit {} of {title} {}", slot.unit, slot.controller)));
            }
            controllers[index].taken.push(slot.unit);
            *place = (index, slot.unit);
        }
        for (place, (kind, _)) in places.iter_mut().zip(&wishes).filter(|(_, (_, slot))| slot.is_none()) {
            let usable = controllers.iter().position(|one| one.kind == *kind && one.free().is_some());
            let index = usable.unwrap_or_else(|| push(&mut controllers, *kind, None));
            let unit = controllers[index].free().unwrap_or_default();
            controllers[index].taken.push(unit);
            *place = (index, unit);
        }
        let places = in_order_of_need(&mut controllers, places);
        for controller in &controllers {
            let (bus, most) = controller.kind.bus();
            let count = controllers.iter().filter(|other| other.kind.bus().0 == bus).count();
            if count > most {
                let rule =
                    format!("the disks need {count} {} controllers, and a machine has {most}", bus.to_uppercase());
                return Err(invalid(rule).with_hint("put some of the disks on another kind of controller"));
            }
        }
        Ok(Self { controllers: controllers.into_iter().map(|one| one.kind).collect(), disks: places })
    }

    /// Returns the number of a controller among those that share its bus's name, from 0.
    pub(crate) fn number_on_bus(&self, index: usize) -> usize {
        let bus = |kind: &DiskController| kind.bus().0;
        let own = bus(&self.controllers[index]);
        self.controllers[..index].iter().filter(|kind| bus(kind) == own).count()
    }
}

/// A controller while places are given out.
struct Controller {
    kind: DiskController,
    /// Which of its kind, for those that a slot names.
    number: Option<u32>,
    taken: Vec<u32>,
}

impl Controller {
    fn free(&self) -> Option<u32> {
        (0..self.kind.words().slots).map(|index| self.kind.unit(index)).find(|unit| !self.taken.contains(unit))
    }
}

fn push(controllers: &mut Vec<Controller>, kind: DiskController, number: Option<u32>) -> usize {
    controllers.push(Controller { kind, number, taken: Vec::new() });
    controllers.len() - 1
}

/// Puts the controllers in the order in which the disks need them.
fn in_order_of_need(controllers: &mut Vec<Controller>, places: Vec<(usize, u32)>) -> Vec<(usize, u32)> {
    let mut order: Vec<usize> = Vec::new();
    for (index, _) in &places {
        if !order.contains(index) {
            order.push(*index);
        }
    }
    let rank = |index: usize| order.iter().position(|other| *other == index).unwrap_or(order.len());
    let places = places.into_iter().map(|(index, unit)| (rank(index), unit)).collect();
    let mut numbered: Vec<(usize, Controller)> = controllers.drain(..).enumerate().collect();
    numbered.sort_by_key(|(index, _)| rank(*index));
    controllers.extend(numbered.into_iter().map(|(_, controller)| controller));
    places
}

fn article(kind: DiskController) -> String {
    let title = kind.words().title;
    format!("{} {title}", if title.starts_with(['I', 'N']) { "an" } else { "a" })
}

fn invalid(rule: String) -> Error {
    Error::new(ErrorKind::InvalidInput, Operation::Describe, rule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::MachineDisk;

    fn places(disks: &[(DiskController, Option<(u32, u32)>)]) -> Result<Places> {
        let slot = |slot: Option<(u32, u32)>| slot.map(|(controller, unit)| DiskSlot { controller, unit });
        let disks =
            disks.iter().map(|(controller, at)| MachineDisk { controller: *controller, slot: slot(*at), file: None });
        let machine = MachineDescription { disks: disks.collect(), ..MachineDescription::default() };
        Places::of(&machine, machine.disks.len())
    }

    #[test]
    fn disks_fill_controllers_and_leave_out_scsis_own_number() {
        use DiskController::{Ide, LsiLogic, Sata};
        let found = places(&[(Ide, None), (Sata, None), (Ide, None), (Ide, None)]).unwrap();
        assert_eq!(found.controllers, [Ide, Sata, Ide]);
        assert_eq!(found.disks, [(0, 0), (1, 0), (0, 1), (2, 0)]);
        assert_eq!((0..3).map(|index| found.number_on_bus(index)).collect::<Vec<_>>(), [0, 0, 1]);
        let units: Vec<u32> = places(&[(LsiLogic, None); 16]).unwrap().disks.iter().map(|(_, unit)| *unit).collect();
        assert_eq!(units, [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 0]);
    }

    #[test]
    fn slots_are_kept_and_the_others_go_around_them() {
        use DiskController::{LsiLogic, ParavirtualScsi};
        let found = places(&[
            (LsiLogic, None),
            (LsiLogic, Some((1, 3))),
            (LsiLogic, Some((0, 0))),
            (ParavirtualScsi, Some((5, 15))),
        ]);
        let found = found.unwrap();
        assert_eq!(found.controllers, [LsiLogic, LsiLogic, ParavirtualScsi]);
        assert_eq!(found.disks, [(0, 0), (0, 3), (1, 0), (2, 15)]);
        assert_eq!(found.number_on_bus(2), 2);
    }

    #[test]
    fn what_has_no_place_is_refused() {
        use DiskController::{Ide, LsiLogic, Nvme};
        for (disks, words) in [
            (vec![(Ide, None); 5], "need 3 IDE controllers, and a machine has 2"),
            (vec![(Ide, Some((0, 2)))], "an IDE Controller has no unit 2"),
            (vec![(LsiLogic, Some((0, 7)))], "has no unit 7"),
            (vec![(Nvme, Some((0, 1))), (Nvme, Some((0, 1)))], "two disks are unit 1 of NVMe Controller 0"),
        ] {
            let error = places(&disks).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    }
}
