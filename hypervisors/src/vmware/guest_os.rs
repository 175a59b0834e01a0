//! VMware's names of guest systems, as the key `guestOS` of a VMX file has them.

/// The names that are known up to Workstation 17.6, in lower case and sorted: VMware does not heed the case. Newer ones know more.
const GUESTS: &str = "\
    almalinux-64 amazonlinux2-64 amazonlinux3-64 arm-almalinux-64 arm-amazonlinux3-64 arm-centos9-64 arm-debian10-64 \
    arm-debian11-64 arm-debian12-64 arm-debian13-64 arm-fedora-64 arm-freebsd12-64 arm-freebsd13-64 arm-freebsd14-64 \
    arm-freebsd15-64 arm-opensuse-64 arm-oraclelinux10-64 arm-oraclelinux8-64 arm-oraclelinux9-64 arm-other-64 \
    arm-other4xlinux-64 arm-other5xlinux-64 arm-other6xlinux-64 arm-other7xlinux-64 arm-otherlinux-64 arm-rhel10-64 \
    arm-rhel8-64 arm-rhel9-64 arm-rockylinux-64 arm-sles15-64 arm-sles16-64 arm-ubuntu-64 arm-vmkernel7 arm-vmkernel8 \
    arm-vmkernel9 arm-vmware-photon-64 arm-windows10-64 arm-windows11-64 arm-windows12-64 asianux3 asianux3-64 asianux4 \
    asianux4-64 asianux5 asianux5-64 asianux7 asianux7-64 asianux8-64 asianux9-64 centos centos-64 centos6 centos6-64 \
    centos7-64 centos8-64 centos9-64 coreos-64 crxpod1 crxsys1 darwin darwin-64 darwin10 darwin10-64 darwin11 darwin11-64 \
    darwin12-64 darwin13-64 darwin14-64 darwin15-64 darwin16-64 darwin17-64 darwin18-64 darwin19-64 darwin20-64 darwin21-64 \
    darwin22-64 darwin23-64 debian10 debian10-64 debian11 debian11-64 debian12 debian12-64 debian13 debian13-64 debian4 \
    debian4-64 debian5 debian5-64 debian6 debian6-64 debian7 debian7-64 debian8 debian8-64 debian9 debian9-64 dos \
    ecomstation ecomstation2 fedora fedora-64 freebsd freebsd-64 freebsd11 freebsd11-64 freebsd12 freebsd12-64 freebsd13 \
    freebsd13-64 freebsd14 freebsd14-64 freebsd15 freebsd15-64 linux longhorn longhorn-64 mandrake mandrake-64 mandriva \
    mandriva-64 netware4 netware5 netware6 nld9 nt4 oes openserver5 openserver6 opensuse opensuse-64 oraclelinux \
    oraclelinux-64 oraclelinux10-64 oraclelinux6 oraclelinux6-64 oraclelinux7-64 oraclelinux8-64 oraclelinux9-64 os2 \
    os2experimental other other-64 other24xlinux other24xlinux-64 other26xlinux other26xlinux-64 other3xlinux \
    other3xlinux-64 other4xlinux other4xlinux-64 other5xlinux other5xlinux-64 other6xlinux other6xlinux-64 other7xlinux \
    other7xlinux-64 otherlinux otherlinux-64 redhat rhel10-64 rhel2 rhel3 rhel3-64 rhel4 rhel4-64 rhel5 rhel5-64 rhel6 \
    rhel6-64 rhel7 rhel7-64 rhel8-64 rhel9-64 rockylinux-64 sjds sles sles-64 sles10 sles10-64 sles11 sles11-64 sles12 \
    sles12-64 sles15-64 sles16-64 solaris10 solaris10-64 solaris11-64 solaris6 solaris7 solaris8 solaris9 suse suse-64 \
    turbolinux turbolinux-64 ubuntu ubuntu-64 unixware7 vmkernel vmkernel5 vmkernel6 vmkernel65 vmkernel7 vmkernel8 \
    vmkernel9 vmware-photon-64 win2000 win2000advserv win2000pro win2000serv win31 win95 win98 windows11-64 windows12-64 \
    windows2019srv-64 windows2019srvnext-64 windows2022srvnext-64 windows7 windows7-64 windows7srv-64 windows8 windows8-64 \
    windows8srv-64 windows9 windows9-64 windows9srv-64 windowshyperv winme winnetbusiness winnetdatacenter \
    winnetdatacenter-64 winnetenterprise winnetenterprise-64 winnetstandard winnetstandard-64 winnetweb winnt winvista \
    winvista-64 winxphome winxppro winxppro-64";

/// The names, sorted.
pub fn known_guests() -> impl Iterator<Item = &'static str> {
    GUESTS.split_ascii_whitespace()
}

/// Whether it is one of the names, in any case of letters.
pub fn is_known_guest(name: &str) -> bool {
    known_guests().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_sorted_and_case_does_not_count() {
        assert!(known_guests().is_sorted_by(|one, next| one < next));
        assert_eq!(GUESTS, GUESTS.to_ascii_lowercase());
        for name in
            ["other-64", "arm-other-64", "Ubuntu-64", "winNetEnterprise-64", "freeBSD14-64", "debian12-64", "rhel9-64"]
        {
            assert!(is_known_guest(name), "{name}");
        }
        for name in ["", "ubuntu64", "Ubuntu_64", "debian12_64", "templeos"] {
            assert!(!is_known_guest(name), "{name}");
        }
    }
}
