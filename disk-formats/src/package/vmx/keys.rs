//! VMware's words in a VMX: keys that are used both ways, and the models of devices.

use crate::machine::{DiskController, NicModel};

pub(super) const CORES_PER_SOCKET: &str = "cpuid.coresPerSocket";
pub(super) const NESTED: &str = "vhv.enable";
pub(super) const SECURE_BOOT: &str = "uefi.secureBoot.enabled";
pub(super) const TPM: &str = "managedVM.autoAddVTPM";
/// The connection of a card to a virtual network that a number names.
pub(super) const CUSTOM: &str = "custom";

/// The models of SCSI controllers; the first is what a controller without one is.
const SCSI: [(&str, DiskController); 4] = [
    ("lsilogic", DiskController::LsiLogic),
    ("lsisas1068", DiskController::LsiLogicSas),
    ("buslogic", DiskController::BusLogic),
    ("pvscsi", DiskController::ParavirtualScsi),
];

const NICS: [(&str, NicModel); 4] = [
    ("e1000", NicModel::E1000),
    ("e1000e", NicModel::E1000e),
    ("vmxnet3", NicModel::Vmxnet3),
    ("vlance", NicModel::PcNet32),
];

const CONNECTIONS: [&str; 3] = ["nat", "bridged", "hostonly"];

/// Returns the model of a SCSI controller; the other buses have one kind only.
pub(super) fn scsi_word(kind: DiskController) -> Option<&'static str> {
    SCSI.iter().find(|(_, known)| *known == kind).map(|(word, _)| *word)
}

/// Returns the SCSI controller of a model.
pub(super) fn scsi(word: &str) -> Option<DiskController> {
    SCSI.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, kind)| *kind)
}

/// Returns the word for a card. VMware has no virtio; callers refuse it.
pub(super) fn nic_word(model: NicModel) -> &'static str {
    NICS.iter().find(|(_, known)| *known == model).map_or("e1000", |(word, _)| *word)
}

/// Returns the model of a card.
pub(super) fn nic(word: &str) -> Option<NicModel> {
    NICS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, model)| *model)
}

/// Returns how a card is connected to a network of this name; `None` for a name that VMware has no such network for.
pub(super) fn connection_of(network: &str) -> Option<&'static str> {
    let known = CONNECTIONS.into_iter().find(|word| word.eq_ignore_ascii_case(network));
    let number = network.get(..5).filter(|word| word.eq_ignore_ascii_case("vmnet")).map(|_| &network[5..]);
    let is_numbered = number.is_some_and(|number| number.parse::<u8>().is_ok() && !number.starts_with('+'));
    known.or(is_numbered.then_some(CUSTOM))
}
