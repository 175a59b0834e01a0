//! What the vendors call guest systems, beyond those of [`GuestOs`], so that one vendor's word becomes the other's.

use crate::machine::{GuestOs, VendorGuestWords};

/// A guest system: the nearest of ours, vSphere's word, Workstation's, and VirtualBox's.
type Row = (GuestOs, &'static str, &'static str, &'static str);

/// A word stands for the first row that has it.
const ROWS: &[Row] = &[
    (GuestOs::Linux64, "otherLinux64Guest", "otherlinux-64", "Linux_64"),
    (GuestOs::Linux64, "other3xLinux64Guest", "other3xlinux-64", "Linux_64"),
    (GuestOs::Linux64, "other5xLinux64Guest", "other5xlinux-64", "Linux_64"),
    (GuestOs::Linux64, "other6xLinux64Guest", "other6xlinux-64", "Linux_64"),
    (GuestOs::Linux64, "amazonlinux2_64Guest", "amazonlinux2-64", "Linux_64"),
    (GuestOs::Linux64, "vmwarePhoton64Guest", "vmware-photon-64", "Linux_64"),
    (GuestOs::Linux64, "other4xLinux64Guest", "other4xlinux-64", "ArchLinux_64"),
    (GuestOs::Linux64, "other4xLinux64Guest", "other4xlinux-64", "Gentoo_64"),
    (GuestOs::Other, "otherLinuxGuest", "otherlinux", "Linux"),
    (GuestOs::Other, "other4xLinuxGuest", "other4xlinux", "Linux"),
    (GuestOs::Debian64, "debian7_64Guest", "debian7-64", "Debian7_64"),
    (GuestOs::Debian64, "debian8_64Guest", "debian8-64", "Debian8_64"),
    (GuestOs::Debian64, "debian9_64Guest", "debian9-64", "Debian9_64"),
    (GuestOs::Debian64, "debian10_64Guest", "debian10-64", "Debian10_64"),
    (GuestOs::Debian64, "debian11_64Guest", "debian11-64", "Debian11_64"),
    (GuestOs::Debian64, "debian13_64Guest", "debian13-64", "Debian_64"),
    (GuestOs::Other, "debian8Guest", "debian8", "Debian"),
    (GuestOs::Other, "debian10Guest", "debian10", "Debian"),
    (GuestOs::Ubuntu64, "ubuntu64Guest", "ubuntu-64", "Ubuntu20_LTS_64"),
    (GuestOs::Ubuntu64, "ubuntu64Guest", "ubuntu-64", "Ubuntu22_LTS_64"),
    (GuestOs::Ubuntu64, "ubuntu64Guest", "ubuntu-64", "Ubuntu24_LTS_64"),
    (GuestOs::Other, "ubuntuGuest", "ubuntu", "Ubuntu"),
    (GuestOs::RedHat64, "rhel5_64Guest", "rhel5-64", "RedHat5_64"),
    (GuestOs::RedHat64, "rhel6_64Guest", "rhel6-64", "RedHat6_64"),
    (GuestOs::RedHat64, "rhel7_64Guest", "rhel7-64", "RedHat7_64"),
    (GuestOs::CentOs64, "centos64Guest", "centos-64", "RedHat_64"),
    (GuestOs::CentOs64, "centos6_64Guest", "centos6-64", "RedHat6_64"),
    (GuestOs::CentOs64, "centos8_64Guest", "centos8-64", "RedHat8_64"),
    (GuestOs::CentOs64, "centos9_64Guest", "centos9-64", "RedHat9_64"),
    (GuestOs::RedHat64, "oracleLinux64Guest", "oraclelinux-64", "Oracle_64"),
    (GuestOs::RedHat64, "oracleLinux7_64Guest", "oraclelinux7-64", "Oracle7_64"),
    (GuestOs::RedHat8, "oracleLinux8_64Guest", "oraclelinux8-64", "Oracle8_64"),
    (GuestOs::RedHat9, "oracleLinux9_64Guest", "oraclelinux9-64", "Oracle9_64"),
    (GuestOs::RedHat9, "rockylinux_64Guest", "rockylinux-64", "RedHat_64"),
    (GuestOs::RedHat9, "almalinux_64Guest", "almalinux-64", "RedHat_64"),
    (GuestOs::Suse64, "opensuse64Guest", "opensuse-64", "OpenSUSE_64"),
    (GuestOs::Suse64, "sles15_64Guest", "sles15-64", "OpenSUSE_64"),
    (GuestOs::FreeBsd64, "freebsd11_64Guest", "freebsd11-64", "FreeBSD_64"),
    (GuestOs::FreeBsd64, "freebsd12_64Guest", "freebsd12-64", "FreeBSD_64"),
    (GuestOs::FreeBsd64, "freebsd13_64Guest", "freebsd13-64", "FreeBSD_64"),
    (GuestOs::FreeBsd64, "freebsd14_64Guest", "freebsd14-64", "FreeBSD_64"),
    (GuestOs::Other64, "otherGuest64", "other-64", "OpenBSD_64"),
    (GuestOs::Other64, "otherGuest64", "other-64", "NetBSD_64"),
    (GuestOs::Other64, "solaris10_64Guest", "solaris10-64", "OpenSolaris_64"),
    (GuestOs::Other64, "solaris11_64Guest", "solaris11-64", "Solaris11_64"),
    (GuestOs::Other64, "darwin15_64Guest", "darwin15-64", "MacOS1011_64"),
    (GuestOs::Other, "winXPProGuest", "winxppro", "WindowsXP"),
    (GuestOs::Other, "winVistaGuest", "winvista", "WindowsVista"),
    (GuestOs::Other, "windows7Guest", "windows7", "Windows7"),
    (GuestOs::Other, "windows8Guest", "windows8", "Windows8"),
    (GuestOs::Other, "windows9Guest", "windows9", "Windows10"),
    (GuestOs::Windows10, "windows7_64Guest", "windows7-64", "Windows7_64"),
    (GuestOs::Windows10, "windows8_64Guest", "windows8-64", "Windows8_64"),
    (GuestOs::Windows10, "windows8_64Guest", "windows8-64", "Windows81_64"),
    (GuestOs::WindowsServer, "winLonghorn64Guest", "longhorn-64", "Windows2008_64"),
    (GuestOs::WindowsServer, "windows7Server64Guest", "windows7srv-64", "Windows2008_64"),
    (GuestOs::WindowsServer, "windows8Server64Guest", "windows8srv-64", "Windows2012_64"),
    (GuestOs::WindowsServer, "windows9Server64Guest", "windows9srv-64", "Windows2016_64"),
    (GuestOs::WindowsServer, "windows2019srv_64Guest", "windows2019srv-64", "Windows2019_64"),
    (GuestOs::WindowsServer, "windows2019srvNext_64Guest", "windows2019srvNext-64", "Windows2022_64"),
    (GuestOs::WindowsServer, "windows2022srvNext_64Guest", "windows2022srvNext-64", "Windows2025_64"),
];

/// A guest system that a package names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedGuest {
    pub(super) guest: GuestOs,
    pub(super) words: VendorGuestWords,
    /// None of its words is known; the guest is a guess.
    pub(super) is_guess: bool,
}

impl NamedGuest {
    /// Finds the guest by the vendors' words for it, else by CIM's number, else guesses; the words that were given are kept.
    pub(super) fn of(given: VendorGuestWords, cim: Option<&str>) -> Self {
        let words = || [&given.vsphere, &given.workstation, &given.virtualbox].into_iter().flatten();
        let ours = words().find_map(|word| Some((GuestOs::from_name(word)?, None)));
        let is = |one: &str, word: &str| one.eq_ignore_ascii_case(word);
        let row = |word: &String| ROWS.iter().find(|row| is(row.1, word) || is(row.2, word) || is(row.3, word));
        let known = ours.or_else(|| words().find_map(|word| row(word).map(|row| (row.0, Some(row)))));
        let by_number = || Some((GuestOs::ALL.into_iter().find(|guest| Some(guest.words().cim) == cim)?, None));
        let is_guess = known.is_none();
        let (guest, row) = known.or_else(by_number).unwrap_or_default();
        let own = guest.words();
        let keep = |given: Option<String>, from_row: Option<&str>, own: &str| {
            given.or_else(|| from_row.map(str::to_owned)).filter(|word| word != own)
        };
        let words = VendorGuestWords {
            vsphere: keep(given.vsphere.clone(), row.map(|row| row.1), own.vmware),
            workstation: keep(given.workstation.clone(), row.map(|row| row.2), own.workstation),
            virtualbox: keep(given.virtualbox.clone(), row.map(|row| row.3), own.virtualbox),
        };
        Self { guest, words, is_guess }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(word: &str) -> Option<String> {
        Some(word.to_owned())
    }

    #[test]
    fn one_vendors_word_gives_the_others() {
        let found = NamedGuest::of(VendorGuestWords { vsphere: text("debian12_64Guest"), ..Default::default() }, None);
        assert_eq!((found.guest, found.words, found.is_guess), (GuestOs::Debian12, Default::default(), false));
        let found = NamedGuest::of(VendorGuestWords { virtualbox: text("Windows2012_64"), ..Default::default() }, None);
        assert_eq!(found.guest, GuestOs::WindowsServer);
        assert_eq!(found.words.vsphere, text("windows8Server64Guest"));
        assert_eq!(found.words.workstation, text("windows8srv-64"));
        assert_eq!(found.words.virtualbox, text("Windows2012_64"));
        let found =
            NamedGuest::of(VendorGuestWords { workstation: text("oraclelinux-64"), ..Default::default() }, None);
        assert_eq!((found.words.vsphere, found.words.virtualbox), (text("oracleLinux64Guest"), text("Oracle_64")));
    }

    #[test]
    fn a_word_that_nobody_knows_is_kept_for_its_vendor() {
        let found = NamedGuest::of(VendorGuestWords { virtualbox: text("Plan9_64"), ..Default::default() }, Some("94"));
        assert_eq!((found.guest, found.is_guess), (GuestOs::Ubuntu64, true));
        assert_eq!((found.words.virtualbox, found.words.vsphere), (text("Plan9_64"), None));
        let found = NamedGuest::of(VendorGuestWords::default(), None);
        assert_eq!((found.guest, found.is_guess), (GuestOs::Linux64, true));
    }
}
