//! From what a guest's firmware boots, where that does not read `-boot`: UEFI, and what ARM and RISC-V have. Left to itself it takes CDs
//! first, also when the installer on them has done its work and restarts the machine.

use qapi_qmp::{qom_get, qom_list, qom_set, query_block, system_reset};
use serde_json::Value;

use super::arguments::NETDEV_ID;
use super::machine_spec::QemuMachineSpec;
use super::overrides::Overrides;
use super::qmp::QmpClient;
use crate::error::MachineError;
use crate::spec::Firmware;

/// What a device is called that has a place in the order; -1: none.
const PLACE: &str = "bootindex";

/// Switches of a template that say otherwise, or with which a reset ends the machine.
const LEFT_TO_TEMPLATE: [&str; 3] = ["-boot", "-no-reboot", "-action"];

/// Where QEMU keeps the devices of `-device`: without and with an id.
const DEVICES: [&str; 2] = ["/machine/peripheral-anon", "/machine/peripheral"];

/// Whether the firmware of the machine reads no `-boot`, and the template leaves the order to us.
pub(super) fn is_ours(spec: QemuMachineSpec<'_>) -> bool {
    let deaf = matches!(spec.hardware.firmware, Firmware::Efi { .. }) || !spec.architecture().heeds_boot_switch();
    let overrides = Overrides::new(&spec.qemu.arguments);
    deaf && !LEFT_TO_TEMPLATE.iter().any(|switch| overrides.has(switch))
}

/// Puts the disks before the CDs, before the guest has run: from an empty disk firmware goes on to the next, an installed one is booted.
/// What a template has put into an order itself stays, and so does everything where one of the machine's own drives cannot have a place.
///
/// # Errors
///
/// QEMU does not answer.
pub(super) async fn disks_first(qmp: &QmpClient, spec: QemuMachineSpec<'_>) -> Result<(), MachineError> {
    let drives = drives(&qmp.run(query_block {}).await?);
    let disks = spec.hardware.disks.iter().map(|disk| disk.path.as_path());
    let wanted = disks.chain(spec.hardware.cdroms.iter().map(|cdrom| cdrom.path.as_path()));
    let place = |path: &std::path::Path| drives.iter().find(|drive| Some(drive.file.as_str()) == path.to_str());
    // A template's `-drive` may have taken the place of some.
    let own: Vec<&Drive> = wanted.filter_map(place).collect();
    let others = drives.iter().filter(|drive| !own.iter().any(|own| own.device == drive.device));
    // Firmware forgets what has no place.
    let rest: Vec<String> = others.map(|drive| drive.device.clone()).chain(cards(qmp).await?).collect();
    let own: Vec<String> = own.into_iter().map(|drive| drive.device.clone()).collect();
    for device in own.iter().chain(&rest) {
        if property(qmp, device, PLACE).await.is_some_and(|place| place.as_i64().is_some_and(|place| place >= 0)) {
            return Ok(());
        }
    }
    for (number, device) in own.iter().enumerate() {
        if put(qmp, device, number).await.is_err() {
            for device in &own[..number] {
                set(qmp, device, -1).await?;
            }
            return Ok(());
        }
    }
    if own.is_empty() {
        return Ok(());
    }
    for (number, device) in rest.iter().enumerate() {
        // A flash has none.
        let _ = put(qmp, device, own.len() + number).await;
    }
    // Firmware is told of the order when the machine is reset.
    qmp.run(system_reset {}).await.map(drop)
}

/// A drive with something in it.
#[derive(Debug, PartialEq, Eq)]
struct Drive {
    file: String,
    /// Its device, as QEMU's object model names it.
    device: String,
}

/// Reads what `query-block` tells.
fn drives(answer: &Value) -> Vec<Drive> {
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let drive = |one: &Value| Some(Drive { file: text(&one["inserted"]["file"])?, device: text(&one["qdev"])? });
    answer.as_array().into_iter().flatten().filter_map(drive).collect()
}

/// The network cards on the machine's own network, from which some guests boot.
async fn cards(qmp: &QmpClient) -> Result<Vec<String>, MachineError> {
    let mut cards = Vec::new();
    for place in DEVICES {
        let listed = qmp.run(qom_list { path: place.to_owned() }).await?;
        let names = listed.as_array().into_iter().flatten().filter_map(|one| one["name"].as_str());
        for name in names.filter(|name| *name != "type") {
            let device = format!("{place}/{name}");
            if property(qmp, &device, "netdev").await.is_some_and(|netdev| netdev == NETDEV_ID) {
                cards.push(device);
            }
        }
    }
    Ok(cards)
}

async fn property(qmp: &QmpClient, device: &str, name: &str) -> Option<Value> {
    qmp.run(qom_get { path: device.to_owned(), property: name.to_owned() }).await.ok()
}

async fn put(qmp: &QmpClient, device: &str, place: usize) -> Result<(), MachineError> {
    set(qmp, device, i64::try_from(place).unwrap_or(i64::MAX)).await
}

async fn set(qmp: &QmpClient, device: &str, place: i64) -> Result<(), MachineError> {
    let command = qom_set { path: device.to_owned(), property: PLACE.to_owned(), value: place.into() };
    qmp.run(command).await.map(drop)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::qemu::spec::QemuSpec;
    use crate::spec::MachineSpec;

    #[test]
    fn only_drives_with_a_device_and_a_file_count() {
        let answer = json!([
            { "device": "virtio0", "qdev": "/machine/a", "inserted": { "file": "/disk" } },
            { "device": "ide2-cd0", "qdev": "/machine/b" },
            { "device": "none0", "inserted": { "file": "/x" } },
        ]);
        assert_eq!(drives(&answer), [Drive { file: "/disk".to_owned(), device: "/machine/a".to_owned() }]);
    }

    #[test]
    fn a_template_that_says_something_itself_is_left_alone() {
        let efi = Firmware::Efi { code: "c".into(), vars: "v".into() };
        for (binary, firmware, argument, ours) in [
            ("qemu-system-x86_64", Firmware::Default, "", false),
            ("qemu-system-x86_64", efi.clone(), "", true),
            ("qemu-system-aarch64", Firmware::Default, "", true),
            ("qemu-system-riscv64", Firmware::Default, "", true),
            ("qemu-system-x86_64", efi.clone(), "-boot", false),
            ("qemu-system-x86_64", efi, "--no-reboot", false),
        ] {
            let arguments = vec![vec![argument.to_owned()]];
            let mut spec =
                MachineSpec::new("x", "/tmp", QemuSpec { binary: binary.to_owned(), arguments, ..QemuSpec::default() });
            spec.firmware = firmware;
            assert_eq!(is_ours(QemuMachineSpec::of(&spec).unwrap()), ours, "{binary} {argument}");
        }
    }
}
