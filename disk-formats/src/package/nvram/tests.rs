//! Stores of every maker, and what travels between them.

use proptest::prelude::*;

use super::variables::{NON_VOLATILE, TIME_BASED_AUTHENTICATED};
use super::*;

fn node(kind: u8, sub_kind: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u16 + 4).to_le_bytes();
    [&[kind, sub_kind, length[0], length[1]], content].concat()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// A partition that is told by its GUID.
fn partition() -> Vec<u8> {
    let numbers = [&1_u32.to_le_bytes()[..], &2048_u64.to_le_bytes(), &4096_u64.to_le_bytes(), &[7; 16], &[2, 2]];
    node(4, 1, &numbers.concat())
}

fn file() -> Vec<u8> {
    node(4, 4, &utf16("\\EFI\\debian\\shimx64.efi"))
}

fn entry(title: &str, path: &[Vec<u8>]) -> Vec<u8> {
    let path = [path.concat(), node(0x7f, 0xff, &[])].concat();
    [&1_u32.to_le_bytes()[..], &(path.len() as u16).to_le_bytes(), &utf16(title), &path, b"for the loader"].concat()
}

fn uefi(name: &str, data: Vec<u8>) -> Variable {
    Variable { name: name.to_owned(), owner: Owner::UEFI, attributes: 7, signed_at: [0; 16], data }
}

/// A store of a machine with an installed system: one entry that travels, one that does so shortened, one on a disk without partitions, and the
/// firmware's own.
fn installed() -> Vec<Variable> {
    let pci = node(1, 1, &[0, 2]);
    vec![
        uefi("ConIn", vec![9; 30]),
        uefi("Boot0000", entry("UiApp", &[node(4, 6, &[3; 16])])),
        uefi("Boot0001", entry("UEFI QEMU HARDDISK", std::slice::from_ref(&pci))),
        uefi("Boot0002", entry("by hand", &[pci.clone(), file()])),
        uefi("Boot00A3", entry("debian", &[partition(), file()])),
        uefi("Boot0004", entry("in no order", &[partition(), file()])),
        uefi("Boot0005", entry("whole path", &[pci.clone(), pci, partition(), file()])),
        uefi("BootOrder", vec![0xa3, 0, 2, 0, 9, 0, 5, 0, 0, 0, 1, 0, 0xa3, 0]),
    ]
}

fn keys() -> Vec<Variable> {
    let key = |owner, name: &str| Variable {
        owner,
        attributes: 7 | TIME_BASED_AUTHENTICATED,
        signed_at: *b"\xe9\x07\x03\x0a\x02\x35\x27\0\0\0\0\0\0\0\0\0",
        ..uefi(name, vec![5; 76])
    };
    let switch = Variable { owner: Owner::EDK2_SWITCH, attributes: 3, ..uefi("SecureBootEnable", vec![1]) };
    vec![key(Owner::UEFI, "PK"), key(Owner::UEFI, "KEK"), key(Owner::IMAGE_SECURITY, "db"), switch]
}

fn machine(maker: NvramMaker, bytes: Vec<u8>, secure_boot: bool) -> MachineDescription {
    MachineDescription {
        firmware: Firmware::Uefi { secure_boot },
        nvram: Some(Nvram { maker, bytes: bytes.into(), file: None }),
        ..MachineDescription::default()
    }
}

fn translated(variables: &[Variable], from: NvramMaker, to: NvramMaker, secure_boot: bool) -> Translated {
    let store = if from == NvramMaker::VMware { vmware::write(variables) } else { edk2::write(variables) };
    translate(&machine(from, store.unwrap(), secure_boot), to).unwrap()
}

fn names(variables: &[Variable]) -> Vec<&str> {
    variables.iter().map(|variable| variable.name.as_str()).collect()
}

const BY_HAND: &str = "the boot entry \"by hand\", which names a device of QEMU's machine";

#[test]
fn an_installed_systems_entry_travels_from_every_maker_to_every_other() {
    for from in [NvramMaker::Qemu, NvramMaker::VirtualBox, NvramMaker::VMware] {
        for to in [NvramMaker::VirtualBox, NvramMaker::VMware].into_iter().filter(|to| *to != from) {
            let made = translated(&installed(), from, to, false);
            assert_eq!(made.left_out, [BY_HAND.replace("QEMU", &from.to_string())], "{from} to {to}");
            let bytes = made.bytes.unwrap();
            let read = if to == NvramMaker::VMware { vmware::read(&bytes) } else { edk2::read(&bytes) };
            let read = read.unwrap();
            assert_eq!(names(&read), ["BootOrder", "Boot00A3", "Boot0005"], "{from} to {to}");
            assert_eq!(read[0].data, [0xa3, 0, 5, 0]);
            assert_eq!(read[2].data, entry("whole path", &[partition(), file()]), "what the loader gets stays");
            assert_eq!((&read[1].data, read[1].attributes), (&installed()[4].data, 7));
        }
    }
}

#[test]
fn a_store_without_such_an_entry_makes_no_file_and_no_words() {
    let fallback: Vec<Variable> =
        installed().into_iter().take(3).chain([uefi("BootOrder", vec![0, 0, 1, 0])]).collect();
    for secure_boot in [false, true] {
        assert_eq!(translated(&fallback, NvramMaker::Qemu, NvramMaker::VMware, secure_boot), Translated::default());
    }
    assert_eq!(translated(&[], NvramMaker::VMware, NvramMaker::VirtualBox, false), Translated::default());
    // But secure boot is off there.
    let made = translated(&[], NvramMaker::VMware, NvramMaker::VirtualBox, true);
    assert!(made.bytes.is_none() && made.left_out[0].contains("the keys of secure boot"), "{:?}", made.left_out);
    let same = machine(NvramMaker::VMware, vec![1], false);
    assert_eq!(translate(&same, NvramMaker::VMware), None);
    let bios = MachineDescription { firmware: Firmware::Bios, ..same };
    assert_eq!(translate(&bios, NvramMaker::VirtualBox), None);
}

#[test]
fn keys_of_secure_boot_travel_between_two_of_one_firmware_only() {
    let all = [installed(), keys()].concat();
    let made = translated(&all, NvramMaker::Qemu, NvramMaker::VirtualBox, true);
    let read = edk2::read(&made.bytes.unwrap()).unwrap();
    assert_eq!(read[3..], keys());
    // Without secure boot nobody asked for them.
    let made = translated(&all, NvramMaker::Qemu, NvramMaker::VirtualBox, false);
    assert_eq!(edk2::read(&made.bytes.unwrap()).unwrap().len(), 3);
    // Without the platform's owner they are not in force.
    let made = translated(
        &all.iter().filter(|one| one.name != "PK").cloned().collect::<Vec<_>>(),
        NvramMaker::Qemu,
        NvramMaker::VirtualBox,
        true,
    );
    assert_eq!(edk2::read(&made.bytes.unwrap()).unwrap().len(), 3);
    // A store without keys would switch VMware's secure boot off.
    let made = translated(&all, NvramMaker::Qemu, NvramMaker::VMware, true);
    assert_eq!(made.bytes, None);
    assert!(made.left_out[1].contains("under secure boot VMware has to make its own"), "{:?}", made.left_out);
    let made = translated(&installed(), NvramMaker::VMware, NvramMaker::VirtualBox, true);
    assert!(made.bytes.is_some() && made.left_out[1].contains("the keys of secure boot"), "{:?}", made.left_out);
}

#[test]
fn what_cannot_be_read_is_told() {
    for bytes in [vec![], vec![0; 5000], b"MRVN\x01\0\0\0EFI_NV\0\0\xff\xff\xff\xffVMWNVRA".to_vec()] {
        for from in [NvramMaker::Qemu, NvramMaker::VMware] {
            let made = translate(&machine(from, bytes.clone(), false), NvramMaker::VirtualBox).unwrap();
            assert_eq!(made.bytes, None);
            assert!(made.left_out[0].starts_with(&format!("the NVRAM is {from}'s")), "{:?}", made.left_out);
        }
    }
    let shim = Variable { owner: Owner::SHIM, attributes: 3, ..uefi("MokList", vec![1; 60]) };
    let all = [installed(), vec![shim]].concat();
    let made = translated(&all, NvramMaker::Qemu, NvramMaker::VMware, false);
    assert_eq!(made.left_out, [BY_HAND, "the keys that were enrolled in shim (MokList)"]);
    assert_eq!(nvram_losses(&machine(NvramMaker::Qemu, edk2::write(&all).unwrap(), false)).len(), 4);
    // To its own maker it goes as it is.
    for (from, store, to) in [
        (NvramMaker::VMware, vmware::write(&all), NvramMaker::VirtualBox),
        (NvramMaker::VirtualBox, edk2::write(&all), NvramMaker::VMware),
    ] {
        let losses = nvram_losses(&machine(from, store.unwrap(), false));
        assert_eq!(losses.len(), 2, "{losses:?}");
        assert!(losses.iter().all(|loss| loss.starts_with(&format!("for {to}, not carried over: "))), "{losses:?}");
    }
}

#[test]
fn logs_are_read_to_their_last_word() {
    let old = uefi("BootOrder", vec![1, 0]);
    let both = [old.clone(), uefi("Lang", vec![1]), uefi("BootOrder", vec![2, 0])];
    for read in [vmware::read(&vmware::write(&both).unwrap()), edk2::read(&edk2::write(&both).unwrap())] {
        let read = read.unwrap();
        assert_eq!((names(&read), &read[0].data[..]), (vec!["BootOrder", "Lang"], &[2, 0][..]));
    }
    // Deleted, or about to be replaced, which counts only where the new one is not whole.
    let state = 72 + 28 + 2;
    for (byte, expected) in [(0x3c, 0), (0x3d, 0), (0x7f, 0), (0x3e, 1), (0x3f, 1)] {
        let mut store = edk2::write(std::slice::from_ref(&old)).unwrap();
        store[state] = byte;
        assert_eq!(edk2::read(&store).unwrap().len(), expected, "{byte:x}");
    }
    let mut store = edk2::write(&[old, uefi("BootOrder", vec![2, 0])]).unwrap();
    store[state] = 0x3e;
    assert_eq!(edk2::read(&store).unwrap()[0].data, [2, 0]);
}

/// VirtualBox keeps its volume in a tar where a TPM's state lies beside it.
#[test]
fn a_volume_is_found_in_a_tar_and_behind_other_sections() {
    let volume = edk2::write(&installed()).unwrap();
    let tar = [vec![0x61; 1024], vec![0; 512], volume, vec![0; 1024]].concat();
    assert_eq!(edk2::read(&tar).unwrap(), installed());
    let mut file = vmware::write(&installed()).unwrap();
    file.splice(8..8, [b"CMOStimA", &16_u32.to_le_bytes()[..], &[3; 16]].concat());
    assert_eq!(vmware::read(&file).unwrap(), installed());
    // Some have a byte more between two.
    file.insert(36, 0);
    assert_eq!(vmware::read(&file).unwrap(), installed());
}

/// Authenticated data has VMware's own header in front of it.
#[test]
fn vmwares_authentication_is_no_data() {
    let signed =
        Variable { attributes: 7 | TIME_BASED_AUTHENTICATED, ..uefi("PK", [vec![8; 40], vec![1, 2]].concat()) };
    assert_eq!(vmware::read(&vmware::write(&[signed]).unwrap()).unwrap()[0].data, [1, 2]);
    let short = Variable { attributes: TIME_BASED_AUTHENTICATED, ..uefi("PK", vec![8; 10]) };
    assert!(vmware::read(&vmware::write(&[short]).unwrap()).unwrap()[0].data.is_empty());
}

#[test]
fn what_does_not_fit_is_not_written() {
    let large: Vec<Variable> = (0..5).map(|number| uefi(&format!("V{number}"), vec![1; 60 << 10])).collect();
    assert!(edk2::write(&large).is_none() && vmware::write(&large).is_none());
    assert!(vmware::write(&large[..4]).is_some());
    // EDK II's firmware has its own to write beside them.
    assert!(edk2::write(&large[..3]).is_none() && edk2::write(&large[..2]).is_some());
    let many = uefi("BootOrder", (0..300_u16).flat_map(u16::to_le_bytes).collect());
    let entries = (0..300).map(|number| uefi(&format!("Boot{number:04X}"), entry("x", &[partition(), file()])));
    let taken = boot_entries::take(&entries.chain([many]).collect::<Vec<_>>());
    assert_eq!(taken.variables.len(), 65);
}

#[test]
fn a_path_is_shortened_only_to_a_partition_that_is_told_apart() {
    let mut unsigned = partition();
    let kind = unsigned.len() - 1;
    unsigned[kind] = 0;
    let pci = node(1, 1, &[0, 2]);
    let read = |path: &[Vec<u8>]| {
        let all = [uefi("Boot0001", entry("x", path)), uefi("BootOrder", vec![1, 0])];
        let taken = boot_entries::take(&all);
        (taken.variables.len(), taken.left_out.len())
    };
    for (path, expected) in [
        (vec![pci.clone(), partition(), file(), file()], (2, 0)),
        (vec![partition(), file()], (2, 0)),
        (vec![pci.clone(), unsigned, file()], (0, 1)),
        (vec![pci.clone(), partition(), node(4, 2, &[0; 20]), file()], (0, 1)),
        // No file, or one that is sought everywhere.
        (vec![pci, partition()], (0, 0)),
        (vec![file()], (0, 0)),
    ] {
        assert_eq!(read(&path), expected, "{path:?}");
    }
}

/// Whoever has written it.
#[test]
fn of_an_order_without_end_the_beginning_is_looked_at() {
    let order = |before: u16| (0..before).chain([9999]).flat_map(u16::to_le_bytes).collect();
    let there = uefi("Boot270F", entry("x", &[partition(), file()]));
    for (before, expected) in [(1023, 2), (1024, 0)] {
        let taken = boot_entries::take(&[there.clone(), uefi("BootOrder", order(before))]);
        assert_eq!(taken.variables.len(), expected, "{before}");
    }
}

#[test]
fn of_many_entries_that_stay_some_are_named() {
    let order = uefi("BootOrder", (0..100_u16).flat_map(u16::to_le_bytes).collect());
    let through = [node(1, 1, &[0, 2]), file()];
    let entries = (0..100).map(|number| uefi(&format!("Boot{number:04X}"), entry("x", &through)));
    let all: Vec<Variable> = entries.chain([order]).collect();
    let made = translated(&all, NvramMaker::Qemu, NvramMaker::VMware, false);
    assert_eq!(made.left_out.len(), 65);
    assert_eq!(made.left_out[64], "36 more boot entries of that kind");
}

#[test]
fn a_volume_is_what_its_maker_says_it_is() {
    let volume = edk2::write(&[]).unwrap();
    assert_eq!(volume.len(), 540_672);
    let words = volume[..72].chunks_exact(2).map(|word| u16::from_le_bytes([word[0], word[1]]));
    assert_eq!(words.fold(0, u16::wrapping_add), 0);
    assert_eq!(vmware::write(&[]).unwrap().len(), 20 + 0x40000);
}

fn any_variable() -> impl Strategy<Value = Variable> {
    let owner = prop_oneof![Just(Owner::UEFI), any::<[u8; 16]>().prop_map(Owner)];
    let data = prop::collection::vec(any::<u8>(), 0..200);
    ("[a-zA-Zé]{1,12}", owner, any::<[u8; 16]>(), data).prop_map(|(name, owner, signed_at, data)| Variable {
        name,
        owner,
        attributes: NON_VOLATILE,
        signed_at,
        data,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(variables in prop::collection::vec(any_variable(), 0..30)) {
        let mut distinct = Vec::new();
        variables.into_iter().for_each(|variable| variables::put(&mut distinct, variable));
        prop_assert_eq!(edk2::read(&edk2::write(&distinct).unwrap()).unwrap(), distinct.clone());
        let unsigned: Vec<Variable> = distinct.into_iter().map(|one| Variable { signed_at: [0; 16], ..one }).collect();
        prop_assert_eq!(vmware::read(&vmware::write(&unsigned).unwrap()).unwrap(), unsigned);
    }

    #[test]
    fn damaged_stores_do_no_harm(
        at in prop::collection::vec((0_usize..1200, any::<u8>()), 1..12),
        length in 0_usize..300_000,
        is_vmwares in any::<bool>(),
    ) {
        let all = [installed(), keys()].concat();
        let mut bytes = if is_vmwares { vmware::write(&all) } else { edk2::write(&all) }.unwrap();
        at.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        let _ = every_journey_of(&bytes);
        bytes.truncate(length);
        let _ = every_journey_of(&bytes);
    }
}
