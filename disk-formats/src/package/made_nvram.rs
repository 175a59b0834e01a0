//! The names by which an NVRAM that was made of another maker's is told from one that is a maker's own.

use crate::machine::NvramMaker;

/// How the names of NVRAMs end.
pub(super) const ENDING: &str = ".nvram";

/// Returns the name for what is made for `maker` of the NVRAM of this name.
pub(super) fn made_name(maker: NvramMaker, of: &str) -> String {
    format!("{}{}", of.strip_suffix(ENDING).unwrap_or(of), made_ending(maker))
}

/// Says whether an NVRAM of a package was made of another maker's.
pub(super) fn is_made(maker: NvramMaker, name: &str) -> bool {
    name.ends_with(&made_ending(maker))
}

fn made_ending(maker: NvramMaker) -> String {
    format!("-{}{ENDING}", maker.to_string().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_one_is_told_by_its_name() {
        for (of, name) in [("web.nvram", "web-vmware.nvram"), ("web", "web-vmware.nvram")] {
            assert_eq!(made_name(NvramMaker::VMware, of), name);
            assert!(is_made(NvramMaker::VMware, name) && !is_made(NvramMaker::VirtualBox, name));
            assert!(!is_made(NvramMaker::VMware, of));
        }
    }
}
