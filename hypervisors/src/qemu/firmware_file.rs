//! A firmware that the template names by its file: it is there, where QEMU looks for it, before anything is made.

use std::path::{Path, PathBuf};

use super::look::near;
use super::machine_spec::QemuMachineSpec;
use super::overrides::Overrides;
use crate::process::find_program;
use crate::spec::Firmware;

/// Where a QEMU has its own firmware, seen from its program.
const OF_PROGRAM: [&str; 3] = ["../share/qemu", "../share/seabios", "../lib/ipxe/qemu"];

/// What is wrong with the file of `firmware`; `None`: nothing, or only QEMU can tell.
pub(super) fn problem(spec: QemuMachineSpec<'_>) -> Option<(String, &'static str)> {
    let (path, switch) = match &spec.hardware.firmware {
        Firmware::Bios(path) => (path, "-bios"),
        Firmware::Flash(path) => (path, "-drive"),
        Firmware::Default | Firmware::Efi { .. } => return None,
    };
    // A template's own switch takes its place, and `-L` names further directories.
    let overrides = Overrides::new(&spec.qemu.arguments);
    if path.is_file() || overrides.has(switch) || overrides.has("-L") {
        return None;
    }
    let is_bare = path.parent().is_some_and(|parent| parent == Path::new("")) && switch == "-bios";
    let places = if is_bare {
        let own = of_program(find_program(&spec.qemu.binary)?);
        // One that has its firmware elsewhere finds it by itself.
        if own.is_empty() || own.iter().any(|directory| directory.join(path).is_file()) {
            return None;
        }
        own
    } else {
        path.parent().map(Path::to_owned).into_iter().collect()
    };
    let wrong = if path.exists() { "is no file" } else { "does not exist" };
    let names: Vec<String> = places.iter().flat_map(|place| images(place)).collect();
    let wanted = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let places = places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ");
    let problem =
        format!("the firmware {} {wrong}; in {places} there is {}", path.display(), near::listed(&wanted, &names));
    Some((problem, "name a firmware that is there (Debian: packages ovmf, seabios), or leave firmware out"))
}

fn of_program(program: PathBuf) -> Vec<PathBuf> {
    let program = program.canonicalize().unwrap_or(program);
    let Some(directory) = program.parent() else { return Vec::new() };
    OF_PROGRAM.iter().filter_map(|place| directory.join(place).canonicalize().ok()).collect()
}

/// The names of what may be firmware in a directory.
fn images(directory: &Path) -> Vec<String> {
    const ENDS: [&str; 3] = ["bin", "fd", "rom"];
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let is_image = |path: &PathBuf| path.extension().is_some_and(|end| ENDS.iter().any(|known| end == *known));
    paths.filter(is_image).filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::spec::QemuSpec;
    use crate::qemu::testing::qemu;
    use crate::spec::MachineSpec;

    #[test]
    fn a_firmware_that_is_not_there_is_told_with_those_that_are() {
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join("usr/bin");
        let share = directory.path().join("usr/share/qemu");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(&share).unwrap();
        for file in ["bios-256k.bin", "efi-virtio.rom", "keymap.txt"] {
            std::fs::write(share.join(file), "").unwrap();
        }
        let program = bin.join("qemu-system-x86_64");
        crate::process::script::write_script(&program, "#!/bin/sh\n");
        let binary = program.display().to_string();
        let mut spec = MachineSpec::new("x", "/tmp", QemuSpec { binary, ..QemuSpec::default() });
        let told = |spec: &MachineSpec| problem(QemuMachineSpec::of(spec).unwrap()).map(|(problem, _)| problem);
        assert_eq!(told(&spec), None);
        for (path, there) in [
            (share.join("bios-256k.bin"), true),
            ("bios-256k.bin".into(), true),
            ("bios.bin".into(), false),
            ("/nonexistent".into(), false),
            (share.join("bios.bin"), false),
            (share.clone(), false),
        ] {
            spec.firmware = Firmware::Bios(path.clone());
            let told = told(&spec);
            assert_eq!(told.is_none(), there, "{}: {told:?}", path.display());
            if path.ends_with("bios.bin") {
                let told = told.unwrap();
                assert!(told.contains("bios-256k.bin, efi-virtio.rom") && !told.contains("keymap"), "{told}");
            }
        }
        // A flash is found nowhere but where it is named.
        spec.firmware = Firmware::Flash("bios-256k.bin".into());
        assert!(told(&spec).is_some());
        qemu(&mut spec).arguments = vec![vec!["-drive".to_owned(), "file=x".to_owned()]];
        assert_eq!(told(&spec), None);
        // One that has nothing beside it is left to its start.
        let elsewhere = directory.path().join("qemu-system-x86_64");
        crate::process::script::write_script(&elsewhere, "#!/bin/sh\n");
        qemu(&mut spec).binary = elsewhere.display().to_string();
        spec.firmware = Firmware::Bios("bios.bin".into());
        assert_eq!(told(&spec), None);
    }
}
