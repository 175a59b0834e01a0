//! What a firmware keeps between starts, on its way to another maker's firmware: read of one store, and what means the same there written
//! into the other's.

mod boot_entries;
mod edk2;
mod secure_boot;
mod variables;
mod vmware;

#[cfg(test)]
mod tests;

use self::boot_entries::BootEntries;
pub(crate) use self::secure_boot::secure_boot;
use self::variables::{MAX_STORE, Owner, Variable};
use super::packaged::quoted;
use crate::machine::{Firmware, MachineDescription, Nvram, NvramMaker};

/// An NVRAM for another maker's firmware.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Translated {
    /// The file; `None` where nothing travels.
    pub(crate) bytes: Option<Vec<u8>>,
    /// What the file does not hold although the machine may need it, in words.
    pub(crate) left_out: Vec<String>,
}

/// Makes of a machine's NVRAM one that another maker's firmware reads. `None` for a machine that has none, or one of that maker's.
pub(crate) fn translate(machine: &MachineDescription, to: NvramMaker) -> Option<Translated> {
    let Firmware::Uefi { secure_boot } = machine.firmware else { return None };
    let nvram = machine.nvram.as_ref().filter(|nvram| nvram.maker != to)?;
    let Some(variables) = read(nvram) else {
        let unreadable = format!(
            "the NVRAM is {}'s, and nothing that {to} knows: the machine begins with a new one, whose boot entries are made anew",
            nvram.maker
        );
        return Some(Translated { bytes: None, left_out: vec![unreadable] });
    };
    let BootEntries { variables: mut travelling, left_out, unnamed } = boot_entries::take(&variables);
    let mut left_out: Vec<String> = left_out
        .iter()
        .map(|title| format!("the boot entry {}, which names a device of {}'s machine", quoted(title), nvram.maker))
        .collect();
    if unnamed > 0 {
        left_out.push(format!("{unnamed} more boot entries of that kind"));
    }
    if secure_boot {
        let keys = secure_boot::keys(&variables);
        match (nvram.maker, to) {
            (_, NvramMaker::VMware) if !travelling.is_empty() => {
                // VMware enrols its keys in an NVRAM that it makes; in one without any, secure boot would be off.
                travelling.clear();
                let lost = "the boot entries of the NVRAM: under secure boot VMware has to make its own, with its keys";
                left_out.push(lost.to_owned());
            }
            (_, NvramMaker::VMware) => {}
            (NvramMaker::VMware, _) => {
                left_out.push(format!("the keys of secure boot, which {to} has to be given for it to be on"));
            }
            // Both are EDK II's, which keeps them in the same words.
            _ => travelling.extend(keys),
        }
    }
    if variables.iter().any(|variable| variable.is(Owner::SHIM, "MokList")) {
        left_out.push("the keys that were enrolled in shim (MokList)".to_owned());
    }
    let bytes = Some(&travelling).filter(|travelling| !travelling.is_empty()).and_then(|travelling| match to {
        NvramMaker::VMware => vmware::write(travelling),
        NvramMaker::VirtualBox | NvramMaker::Qemu => edk2::write(travelling),
    });
    if bytes.is_none() && !travelling.is_empty() {
        left_out.push(format!("the boot entries of the NVRAM, for which {to}'s has not the room"));
    }
    Some(Translated { bytes, left_out })
}

fn read(nvram: &Nvram) -> Option<Vec<Variable>> {
    let bytes = &nvram.bytes[..nvram.bytes.len().min(MAX_STORE)];
    match nvram.maker {
        NvramMaker::VMware => vmware::read(bytes),
        NvramMaker::VirtualBox | NvramMaker::Qemu => edk2::read(bytes),
    }
}

/// Says what of a machine's NVRAM an OVF of it does not have for each importer: its maker's gets it as it is, for another one it is made of that.
#[must_use]
pub fn nvram_losses(machine: &MachineDescription) -> Vec<String> {
    let importers = [NvramMaker::VMware, NvramMaker::VirtualBox].into_iter();
    let losses = importers.flat_map(|importer| {
        let left_out = translate(machine, importer).unwrap_or_default().left_out;
        left_out.into_iter().map(move |what| format!("for {importer}, not carried over: {what}"))
    });
    losses.collect()
}

/// Makes of a store, whoever wrote it, all that can be made of it, and reads that again: for the fuzzer, and for its first inputs.
///
/// # Panics
/// When what was written is not read, or a boot entry is not what it was.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
#[must_use]
pub fn every_journey_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    const MAKERS: [NvramMaker; 3] = [NvramMaker::VMware, NvramMaker::VirtualBox, NvramMaker::Qemu];
    let entries = |nvram: &Nvram| read(nvram).map(|variables| boot_entries::take(&variables).variables);
    let nvram = |maker, bytes: &[u8]| Nvram { maker, bytes: bytes.into(), file: None };
    let mut all = Vec::new();
    for (from, to) in MAKERS.into_iter().flat_map(|from| MAKERS.map(|to| (from, to))) {
        for secure_boot in [false, true] {
            let firmware = Firmware::Uefi { secure_boot };
            let source = nvram(from, bytes);
            let machine = MachineDescription { firmware, nvram: Some(source.clone()), ..MachineDescription::default() };
            let Some(made) = translate(&machine, to).and_then(|made| made.bytes) else { continue };
            assert_eq!(entries(&source), entries(&nvram(to, &made)), "{from} to {to}");
            all.push(made);
        }
    }
    all
}
