//! What the files of a machine tell those who build with it: its discs, its network and its snapshots.

use std::path::Path;

use kiln_disk_formats::package::vmx::Vmx;

use super::slots::Slot;
use crate::spec::NetworkMode;

/// The files of the discs in a machine's drives, in the order of their places.
pub fn discs(vmx: &Vmx) -> Vec<String> {
    let mut found: Vec<(Slot, &str)> = Vec::new();
    for (key, file) in vmx.iter() {
        let key = key.to_ascii_lowercase();
        let Some(slot) = key.strip_suffix(".filename").and_then(Slot::parse) else { continue };
        let kind = vmx.get(&format!("{slot}.deviceType")).unwrap_or_default();
        if kind.eq_ignore_ascii_case("cdrom-image") && vmx.is_true(&format!("{slot}.present")) {
            found.push((slot, file));
        }
    }
    found.sort();
    found.into_iter().map(|(_, file)| file.to_owned()).collect()
}

/// The files of all disks and discs of a machine, as they are named in its file.
pub(super) fn files(vmx: &Vmx) -> Vec<String> {
    let is_place = |key: &str| key.strip_suffix(".filename").is_some_and(|place| Slot::parse(place).is_some());
    let there = vmx.iter().filter(|(key, _)| is_place(&key.to_ascii_lowercase()));
    there.map(|(_, file)| file.to_owned()).collect()
}

/// Where a machine's first network card leads.
pub fn network(vmx: &Vmx) -> NetworkMode {
    let kind = vmx.get("ethernet0.connectionType").unwrap_or("nat").to_lowercase();
    match (kind.as_str(), vmx.get("ethernet0.vnet")) {
        ("nat", _) => NetworkMode::User { forward: None },
        ("custom", Some(vnet)) => NetworkMode::Bridge { bridge: vnet.to_owned() },
        _ => NetworkMode::Bridge { bridge: kind },
    }
}

/// The snapshots of the machine of the file `vmx`, as its own list beside it has them; `None`: there is no list that can be read.
pub fn snapshots(vmx: &Path) -> Option<Vec<String>> {
    let list = Vmx::read(&vmx.with_extension("vmsd")).ok()?;
    let names = list.iter().filter(|(key, _)| {
        let key = key.to_ascii_lowercase();
        key.starts_with("snapshot") && key.ends_with(".displayname")
    });
    Some(names.map(|(_, name)| name.to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discs_come_in_the_order_of_their_places() {
        let vmx = Vmx::from_bytes(
            b"ide1:0.present = \"TRUE\"\nide1:0.fileName = \"/b.iso\"\nide1:0.deviceType = \"cdrom-image\"\n\
              ide0:1.present = \"TRUE\"\nide0:1.fileName = \"/a.iso\"\nide0:1.deviceType = \"cdrom-image\"\n\
              ide0:0.present = \"TRUE\"\nide0:0.fileName = \"a.vmdk\"\n",
        );
        assert_eq!(discs(&vmx.unwrap()), ["/a.iso", "/b.iso"]);
    }

    #[test]
    fn networks_and_snapshots_are_read() {
        let of = |text: &str| network(&Vmx::from_bytes(text.as_bytes()).unwrap());
        assert_eq!(of(""), NetworkMode::User { forward: None });
        assert_eq!(
            of("ethernet0.connectionType = \"hostonly\""),
            NetworkMode::Bridge { bridge: "hostonly".to_owned() }
        );
        let custom = "ethernet0.connectionType = \"custom\"\nethernet0.vnet = \"vmnet3\"";
        assert_eq!(of(custom), NetworkMode::Bridge { bridge: "vmnet3".to_owned() });
        let directory = tempfile::tempdir().unwrap();
        let vmx = directory.path().join("a.vmx");
        assert_eq!(snapshots(&vmx), None);
        std::fs::write(
            vmx.with_extension("vmsd"),
            "snapshot.numSnapshots = \"2\"\nsnapshot0.displayName = \"clean\"\nsnapshot1.displayName = \"b c\"\n",
        )
        .unwrap();
        assert_eq!(snapshots(&vmx).unwrap(), ["clean", "b c"]);
    }
}
