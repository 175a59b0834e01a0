//! Settings of VMware's machines that have a key in a VMX and another in an OVF (`vmw:Config`), and which of them may travel.

/// A setting's two keys.
pub(crate) struct SettingWords {
    /// In a VMX.
    pub(crate) vmx: &'static str,
    /// In an OVF.
    pub(crate) ovf: &'static str,
    /// `TRUE` or `FALSE` in a VMX, and in small letters in an OVF.
    truth: bool,
}

/// Those without a field of their own in a machine's description.
const SETTINGS: [SettingWords; 9] = [
    SettingWords { vmx: "vcpu.hotadd", ovf: "cpuHotAddEnabled", truth: true },
    SettingWords { vmx: "vcpu.hotremove", ovf: "cpuHotRemoveEnabled", truth: true },
    SettingWords { vmx: "mem.hotadd", ovf: "memoryHotAddEnabled", truth: true },
    SettingWords { vmx: "vvtd.enable", ovf: "flags.vvtdEnabled", truth: true },
    SettingWords { vmx: "tools.syncTime", ovf: "tools.syncTimeWithHost", truth: true },
    SettingWords { vmx: "tools.upgrade.policy", ovf: "tools.toolsUpgradePolicy", truth: false },
    SettingWords { vmx: "powerType.powerOff", ovf: "powerOpInfo.powerOffType", truth: false },
    SettingWords { vmx: "powerType.reset", ovf: "powerOpInfo.resetType", truth: false },
    SettingWords { vmx: "powerType.suspend", ovf: "powerOpInfo.suspendType", truth: false },
];

/// Beginnings of keys that concern the guest alone, so that a stranger's package may set them. Any other could lead to the host's
/// files or devices.
const HARMLESS: [&str; 8] = [
    "guestinfo.",
    "disk.enableuuid",
    "hpet0.present",
    "mce.enable",
    "svga.",
    "vmci0.present",
    "vmci0.unrestricted",
    "keyboard.typematicmindelay",
];

impl SettingWords {
    pub(crate) fn of_vmx(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.vmx.eq_ignore_ascii_case(key))
    }

    pub(crate) fn of_ovf(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.ovf == key)
    }

    /// Spells a VMX's value for an OVF.
    pub(crate) fn in_ovf(&self, value: &str) -> String {
        if self.truth { value.to_ascii_lowercase() } else { value.to_owned() }
    }

    /// Spells an OVF's value for a VMX.
    pub(crate) fn in_vmx(&self, value: &str) -> String {
        if self.truth { value.to_ascii_uppercase() } else { value.to_owned() }
    }
}

/// Says whether a package from anywhere may have this key in a VMX that is made of it.
pub(crate) fn is_harmless(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    HARMLESS.iter().any(|start| key.starts_with(start)) || SettingWords::of_vmx(&key).is_some()
}

/// Says whether a setting is one of the PCI bridges that every machine of VMware's is given anyway.
pub(crate) fn is_usual_bridge(key: &str, value: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let Some(("pcibridge", field)) =
        key.split_once('.').map(|(device, field)| (device.trim_end_matches(|last: char| last.is_ascii_digit()), field))
    else {
        return false;
    };
    let is = |default: &str| default.eq_ignore_ascii_case(value);
    match field {
        "present" => is("TRUE"),
        "virtualdev" => is("pcieRootPort"),
        "functions" => is("8"),
        // Where it is put.
        _ => field == "pcislotnumber",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_have_two_spellings() {
        let setting = SettingWords::of_vmx("VCPU.hotAdd").unwrap();
        assert_eq!(
            (setting.ovf, &*setting.in_ovf("TRUE"), &*setting.in_vmx("true")),
            ("cpuHotAddEnabled", "true", "TRUE")
        );
        assert_eq!(SettingWords::of_ovf("powerOpInfo.resetType").unwrap().in_vmx("soft"), "soft");
        assert!(SettingWords::of_ovf("other").is_none());
    }

    #[test]
    fn what_leads_to_the_host_does_not_travel() {
        for key in ["guestinfo.UserData", "disk.EnableUUID", "mem.hotadd", "svga.present"] {
            assert!(is_harmless(key), "{key}");
        }
        for key in
            ["serial0.fileName", "scsi0:0.fileName", "sharedFolder0.hostPath", "bios440.filename", "vmx.log.filename"]
        {
            assert!(!is_harmless(key), "{key}");
        }
    }
}
