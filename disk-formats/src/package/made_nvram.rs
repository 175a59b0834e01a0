//! The names by which an NVRAM that was made of another maker's is told from one that is a maker's own.

use crate::machine::NvramMaker;

/// How the names of NVRAMs end.
pub(super) const ENDING: &str = ".nvram";

/// Returns the name for what is made for `maker` of the NVRAM of this name.
pub(super) fn made_name(maker: NvramMaker, of: &str) -> String {
    let reader = maker.to_string().to_ascii_lowercase();
    format!("{}-{reader}{ENDING}", of.strip_suffix(ENDING).unwrap_or(of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::PackagedMachine;

    #[test]
    fn a_made_one_is_told_by_the_name_of_what_it_was_made_of() {
        for of in ["web.nvram", "web"] {
            assert_eq!(made_name(NvramMaker::VMware, of), "web-vmware.nvram");
        }
        // A machine may have a maker's name in its own.
        for own in ["web", "web-vmware", "web-virtualbox"].map(|name| format!("{name}{ENDING}")) {
            let of_vmware = (NvramMaker::VMware, own.clone());
            let for_virtualbox = (NvramMaker::VirtualBox, made_name(NvramMaker::VirtualBox, &own));
            let of_virtualbox = (NvramMaker::VirtualBox, own.clone());
            let for_vmware = (NvramMaker::VMware, made_name(NvramMaker::VMware, &own));
            let cases = [
                ([&for_virtualbox, &of_vmware], &of_vmware),
                ([&of_virtualbox, &for_vmware], &of_virtualbox),
                // Of QEMU's both were made.
                ([&for_virtualbox, &for_vmware], &for_virtualbox),
            ];
            for (in_package, taken) in cases {
                let mut machine = PackagedMachine::default();
                in_package.into_iter().for_each(|(maker, name)| machine.found_nvram(*maker, name.clone()));
                assert_eq!(machine.nvram.as_ref(), Some(taken), "{in_package:?}");
            }
        }
    }
}
