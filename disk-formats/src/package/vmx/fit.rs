//! What VMware has in place of what a machine of another maker has.

use super::keys;
use crate::machine::{MachineDescription, NicModel, Nvram, NvramMaker};
use crate::package::nvram::translate;

/// Gives a machine what VMware has in place of what it lacks, and says what was replaced.
pub fn fit(machine: &mut MachineDescription) -> Vec<String> {
    let mut replaced = Vec::new();
    for (nic, number) in machine.nics.iter_mut().zip(1..) {
        if nic.model == NicModel::Virtio {
            nic.model = NicModel::Vmxnet3;
            replaced.push(format!("network card {number} is vmxnet3, for VMware has no virtio card"));
        }
        if keys::connection_of(&nic.network).is_none() {
            let name = nic.virtualbox_network.take().map_or_else(String::new, |name| format!(" ({name})"));
            replaced.push(format!(
                "network card {number} is on VMware's NAT, for it has no network {:?}{name}",
                nic.network
            ));
            "nat".clone_into(&mut nic.network);
        }
    }
    if let Some(translated) = translate(machine, NvramMaker::VMware) {
        // It is named as it would have been.
        let file = machine.nvram.take().and_then(|nvram| nvram.file);
        let made = |bytes: Vec<u8>| Nvram { maker: NvramMaker::VMware, bytes: bytes.into(), file };
        machine.nvram = translated.bytes.map(made);
        replaced.extend(translated.left_out.into_iter().map(|what| format!("not carried over: {what}")));
    }
    // A BIOS has none of another maker's.
    machine.nvram.take_if(|nvram| nvram.maker != NvramMaker::VMware);
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Firmware, MachineNic};

    #[test]
    fn what_vmware_lacks_is_replaced_and_said() {
        let nic = |model, network: &str| MachineNic { model, network: network.to_owned(), ..MachineNic::default() };
        let mut machine = MachineDescription {
            nics: vec![nic(NicModel::Virtio, "VMnet8"), nic(NicModel::E1000, "lan"), nic(NicModel::E1000, "Bridged")],
            firmware: Firmware::Uefi { secure_boot: false },
            nvram: Some(Nvram { maker: NvramMaker::VirtualBox, bytes: vec![1].into(), file: None }),
            ..MachineDescription::default()
        };
        let replaced = fit(&mut machine);
        assert_eq!(replaced.len(), 3, "{replaced:#?}");
        assert_eq!(machine.nics[0], nic(NicModel::Vmxnet3, "VMnet8"));
        assert_eq!((machine.nics[1].network.as_str(), machine.nvram.is_none()), ("nat", true));
        assert!(fit(&mut machine).is_empty());
        machine.nvram = Some(Nvram { maker: NvramMaker::VMware, bytes: vec![1].into(), file: None });
        assert!(fit(&mut machine).is_empty() && machine.nvram.is_some());
    }
}
