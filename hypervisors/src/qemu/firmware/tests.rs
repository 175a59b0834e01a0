//! Descriptors in directories of the tests' own.

use super::*;
use crate::spec::DiskFormat;

/// Directories as on a host, with descriptors and images.
struct Places {
    root: tempfile::TempDir,
}

impl Places {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for name in ["share", "etc", "user", "images"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Writes a descriptor, and the images it names.
    fn add(&self, place: &str, architecture: &str, machines: &str, features: &str) -> PathBuf {
        let name = place.replace('/', "-");
        let (code, vars) = (self.path(&format!("images/{name}.code")), self.path(&format!("images/{name}.vars")));
        std::fs::write(&code, "code").unwrap();
        std::fs::write(&vars, "vars").unwrap();
        let text = format!(
            r#"{{"description": "d", "interface-types": ["uefi"], "tags": [],
                "mapping": {{"device": "flash",
                    "executable": {{"filename": {code:?}, "format": "raw"}},
                    "nvram-template": {{"filename": {vars:?}, "format": "qcow2"}}}},
                "targets": [{{"architecture": "{architecture}", "machines": [{machines}]}}],
                "features": [{features}]}}"#
        );
        std::fs::write(self.path(place), text).unwrap();
        code
    }

    fn all(&self) -> UefiFirmwares {
        UefiFirmwares::in_directories(&["share", "etc", "user", "absent"].map(|name| self.path(name)))
    }

    fn found(&self, architecture: Architecture, machine: &str, secure_boot: bool) -> Option<PathBuf> {
        self.all().find(FirmwareWish { architecture, machine, secure_boot }).map(|found| found.code.path)
    }
}

const PC: &str = r#""pc-i440fx-*", "pc-q35-*""#;
const Q35: &str = r#""pc-q35-*""#;

#[test]
fn the_first_that_does_what_is_asked_is_taken() {
    let places = Places::new();
    let secure = r#""secure-boot", "enrolled-keys", "requires-smm""#;
    let enrolled = places.add("share/40-secure.json", "x86_64", Q35, secure);
    let without_keys = places.add("share/50-smm.json", "x86_64", Q35, r#""secure-boot", "requires-smm""#);
    let plain = places.add("share/60-plain.json", "x86_64", PC, r#""acpi-s3", "verbose-dynamic""#);
    places.add("share/70-plain.json", "x86_64", PC, "");
    let arm = places.add("share/60-arm.json", "aarch64", r#""virt-*""#, "");
    places.add("share/50-setup.json", "aarch64", r#""virt-*""#, r#""secure-boot""#);
    let riscv = places.add("share/60-riscv.json", "riscv64", r#""virt""#, "");
    for machine in ["pc", "q35", "pc-q35-7.2", "pc-i440fx-2.11"] {
        assert_eq!(places.found(Architecture::X86, machine, false).as_ref(), Some(&plain), "{machine}");
    }
    assert_eq!(places.found(Architecture::X86, "microvm", false), None);
    assert_eq!(places.found(Architecture::X86, "q35", true).as_ref(), Some(&enrolled));
    assert_eq!(places.found(Architecture::X86, "pc", true), None, "the machine has no SMM");
    assert_eq!(places.found(Architecture::Aarch64, "virt", false).as_ref(), Some(&arm));
    assert_eq!(places.found(Architecture::Aarch64, "virt-9.0", false), Some(arm));
    assert_eq!(places.found(Architecture::Riscv64, "virt", false), Some(riscv));
    assert_eq!(places.found(Architecture::Other, "virt", false), None);
    let found = places.all().of_code(&enrolled).unwrap();
    assert!(found.requires_smm && found.vars.format == DiskFormat::Qcow2, "{found:?}");
    for (code, enforces) in [(&enrolled, (true, true)), (&without_keys, (true, false)), (&plain, (false, false))] {
        let found = places.all().of_code(code).unwrap();
        assert_eq!((found.secure_boot, found.enrolled_keys), enforces, "{found:?}");
    }
    assert_eq!(places.all().of_code(&places.path("elsewhere")), None);
    let alias = places.path("alias");
    std::os::unix::fs::symlink(&plain, &alias).unwrap();
    assert_eq!(places.all().of_code(&alias).map(|found| found.code.path), Some(plain));
}

#[test]
fn later_places_go_before_and_empty_files_hide() {
    let places = Places::new();
    let shared = places.add("share/60-x.json", "x86_64", PC, "");
    assert_eq!(places.found(Architecture::X86, "pc", false), Some(shared));
    let etc = places.add("etc/60-x.json", "x86_64", PC, "");
    assert_eq!(places.found(Architecture::X86, "pc", false), Some(etc));
    let first = places.add("user/10-mine.json", "x86_64", PC, "");
    assert_eq!(places.found(Architecture::X86, "pc", false), Some(first.clone()));
    // What is not there is passed over.
    std::fs::remove_file(first).unwrap();
    std::fs::write(places.path("user/60-x.json"), "").unwrap();
    assert_eq!(places.found(Architecture::X86, "pc", false), None);
}

#[test]
fn what_is_no_descriptor_is_passed_over_and_told() {
    let places = Places::new();
    let good = places.add("share/60-x.json", "x86_64", PC, "");
    std::fs::write(places.path("share/10-broken.json"), "{").unwrap();
    std::fs::write(places.path("share/11-large.json"), vec![b' '; 1 << 20]).unwrap();
    std::fs::write(places.path("share/12-notes.txt"), "no JSON").unwrap();
    let bios = r#"{"interface-types": ["bios"], "mapping": {"device": "memory", "filename": "/x"}, "targets": []}"#;
    std::fs::write(places.path("share/13-bios.json"), bios).unwrap();
    let whole = r#"{"interface-types": ["uefi"], "targets": [],
        "mapping": {"device": "flash", "mode": "stateless", "executable": {"filename": "/x", "format": "raw"}}}"#;
    std::fs::write(places.path("share/14-stateless.json"), whole).unwrap();
    assert_eq!(places.found(Architecture::X86, "pc", false), Some(good));
    let unreadable = places.all().unreadable().join("\n");
    assert!(unreadable.contains("10-broken.json") && unreadable.contains("11-large.json"), "{unreadable}");
    assert_eq!(places.all().unreadable().len(), 2, "{unreadable}");
}
