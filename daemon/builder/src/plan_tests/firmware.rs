//! What is told of the firmware of a host with descriptors of the tests' own.

use std::path::PathBuf;

use kiln_hypervisors::qemu::UefiFirmwares;

use super::component::{Body, complaints, running};
use crate::options::checks::qemu::firmware_among;

/// A host with images, and descriptors of them.
struct Host {
    root: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { root: tempfile::tempdir().unwrap() };
        host.add("40-enforcing", r#""secure-boot", "enrolled-keys", "requires-smm""#);
        host.add("50-without-keys", r#""secure-boot", "requires-smm""#);
        host.add("60-plain", "");
        for name in ["unknown.code", "mine.vars"] {
            std::fs::write(host.path(name), "").unwrap();
        }
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn add(&self, name: &str, features: &str) {
        let (code, vars) = (self.path(&format!("{name}.code")), self.path(&format!("{name}.vars")));
        std::fs::write(&code, "").unwrap();
        std::fs::write(&vars, "").unwrap();
        let text = format!(
            r#"{{"interface-types": ["uefi"], "features": [{features}],
                "mapping": {{"device": "flash", "executable": {{"filename": {code:?}, "format": "raw"}},
                             "nvram-template": {{"filename": {vars:?}, "format": "raw"}}}},
                "targets": [{{"architecture": "x86_64", "machines": ["pc-q35-*"]}}]}}"#
        );
        std::fs::write(self.path(&format!("{name}.json")), text).unwrap();
    }

    /// What is told of a template's firmware, summaries with details; errors first say so.
    fn told(&self, secure: bool, code: Option<&str>, vars: Option<&str>) -> Vec<String> {
        let mut options = Body::from([("machine_type", "\"q35\"".to_owned()), ("efi_boot", "true".to_owned())]);
        options.insert("efi_secure_boot", secure.to_string());
        for (option, file) in [("efi_firmware_code", code), ("efi_firmware_vars", vars)] {
            options.extend(file.map(|file| (option, format!("{:?}", self.path(file)))));
        }
        let firmwares = UefiFirmwares::in_directories(&[self.root.path().to_owned()]);
        let qemu = running().find(|definition| definition.schema.kind == "qemu").unwrap();
        let mut told = Vec::new();
        complaints(qemu, &options, |reader| {
            firmware_among(reader, &firmwares);
            let line = |one: &kiln_template::Diagnostic| {
                format!("{}{}: {}", if one.is_error() { "error: " } else { "" }, one.summary, one.detail)
            };
            told = reader.diagnostics.iter().map(line).collect();
        });
        told
    }
}

#[test]
fn secure_boot_is_refused_where_it_would_not_be_enforced() {
    let host = Host::new();
    let mine = Some("mine.vars");
    for (code, vars, gap) in [
        (None, None, ""),
        (None, mine, ""),
        (Some("40-enforcing.code"), None, ""),
        (Some("40-enforcing.code"), mine, ""),
        (Some("50-without-keys.code"), None, "No keys are enrolled in "),
        (Some("50-without-keys.code"), Some("50-without-keys.vars"), "No keys are enrolled in "),
        (Some("50-without-keys.code"), mine, ""),
        (Some("60-plain.code"), None, "60-plain.code has no secure boot"),
        (Some("60-plain.code"), mine, "60-plain.code has no secure boot"),
        (Some("unknown.code"), None, "No firmware descriptor of this host tells which variables go with "),
        (Some("unknown.code"), mine, ""),
    ] {
        let told = host.told(true, code, vars).join("\n");
        assert_eq!(told.starts_with("error: Secure boot would not be enforced: "), !gap.is_empty(), "{code:?}: {told}");
        assert!(told.contains(gap) && (gap.is_empty() == told.is_empty()), "{code:?} {vars:?}: {told}");
        if code.is_some_and(|code| code != "unknown.code") {
            assert_eq!(host.told(false, code, vars), Vec::<String>::new(), "nothing is to be enforced");
        }
    }
    std::fs::remove_file(host.path("40-enforcing.code")).unwrap();
    for vars in [None, mine] {
        let told = host.told(true, None, vars).join("\n");
        assert!(told.starts_with("error: No UEFI firmware with secure boot: "), "{told}");
    }
}

#[test]
fn descriptors_that_cannot_be_read_are_told_of() {
    let host = Host::new();
    std::fs::write(host.path("10-broken.json"), "{").unwrap();
    let told = host.told(true, None, None).join("\n");
    assert!(told.starts_with("Firmware descriptors were passed over: /"), "{told}");
    assert!(told.contains("10-broken.json was passed over: "), "{told}");
    std::fs::remove_file(host.path("40-enforcing.vars")).unwrap();
    let told = host.told(true, None, None);
    let [error] = told.as_slice() else { panic!("{told:?}") };
    assert!(error.starts_with("error: No UEFI firmware with secure boot: "), "{error}");
    assert!(error.contains("10-broken.json was passed over: "), "{error}");
}
