//! Results of work on images, for people; facts about images in qemu-img's words.

use std::fmt::Write as _;

use kiln_protocol::{
    AttestationResult, CheckFindingKind, CheckResult, CompareResult, ConvertResult, ImageFacts, ImageResult, MapExtent,
    NetworkCard, PackageFacts, PlacedDisk, SnapshotFacts, VerifiedFile,
};
use serde_json::Value;

use super::duration::spell_duration;

/// Over the lines of [`extent`].
const MAP_HEAD: &str = "offset             length             content\n";

/// Describes the results of one task, in lines that each have their end.
#[derive(Debug, Default)]
pub struct Results {
    /// A map comes in parts, under one head.
    map_begun: bool,
    converted: bool,
}

impl Results {
    /// Describes what comes next.
    pub fn describe(&mut self, result: &ImageResult) -> String {
        match result {
            ImageResult::Convert(result) => {
                self.converted = true;
                converted(result)
            }
            ImageResult::Info { images } => images.iter().map(facts).collect::<Vec<_>>().join("\n"),
            ImageResult::Map { extents } => {
                let head = if std::mem::replace(&mut self.map_begun, true) { "" } else { MAP_HEAD };
                std::iter::once(head.to_owned()).chain(extents.iter().map(extent)).collect()
            }
            ImageResult::Check(result) => checked(result),
            ImageResult::Compare(result) => compared(result),
            ImageResult::Verify { files } => files.iter().map(verified).collect(),
            ImageResult::Attestation(result) => attested(result),
            _ => String::new(),
        }
    }

    /// Says how long it took, in microseconds, where that is of interest: at the end of a conversion.
    #[must_use]
    pub fn end(&self, elapsed_us: u64) -> Option<String> {
        self.converted.then(|| format!("converted in {}\n", spell_duration(elapsed_us)))
    }
}

fn converted(result: &ConvertResult) -> String {
    let mut text = String::new();
    for file in &result.files {
        let digest = file.sha256.as_ref().map_or_else(String::new, |digest| format!(", SHA-256 {digest}"));
        line(&mut text, format_args!("{}: {}{digest}", file.filename, bytes(file.size)));
    }
    if let Some(attestation) = &result.attestation {
        line(&mut text, format_args!("{attestation}: attests this"));
    }
    for disk in &result.disks {
        let (size, data) = (bytes(disk.virtual_size), bytes(disk.data_bytes));
        let digest = disk.content_digest.as_ref().map_or_else(String::new, |digest| format!(", content {digest}"));
        line(&mut text, format_args!("{}: a disk of {size}, {data} of it data{digest}", disk.filename));
    }
    text
}

fn facts(image: &ImageFacts) -> String {
    let mut text = image.package.as_ref().map_or_else(String::new, package);
    line(&mut text, format_args!("image: {}", image.filename));
    line(&mut text, format_args!("file format: {}", image.format));
    line(&mut text, format_args!("virtual size: {} ({} bytes)", bytes(image.virtual_size), image.virtual_size));
    line(&mut text, format_args!("disk size: {}", bytes(image.actual_size)));
    if let Some(variant) = &image.variant {
        line(&mut text, format_args!("variant: {variant}"));
    }
    if let Some(size) = image.cluster_size {
        line(&mut text, format_args!("cluster_size: {size}"));
    }
    if let Some(backing) = &image.backing_filename {
        let actual = image.full_backing_filename.as_ref().filter(|full| *full != backing);
        let actual = actual.map_or_else(String::new, |full| format!(" (actual path: {full})"));
        line(&mut text, format_args!("backing file: {backing}{actual}"));
    }
    if let Some(format) = &image.backing_filename_format {
        line(&mut text, format_args!("backing file format: {format}"));
    }
    if image.encrypted == Some(true) {
        line(&mut text, format_args!("encrypted: yes"));
    }
    if image.dirty_flag {
        line(&mut text, format_args!("cleanly shut down: no"));
    }
    if !image.snapshots.is_empty() {
        line(&mut text, format_args!("Snapshot list:"));
        line(&mut text, format_args!("{:<8} {:<20} {:>10} DATE (UTC)", "ID", "TAG", "VM SIZE"));
        for snapshot in &image.snapshots {
            let SnapshotFacts { id, name, vm_state_size, .. } = snapshot;
            line(&mut text, format_args!("{id:<8} {name:<20} {:>10} {}", bytes(*vm_state_size), date(snapshot)));
        }
    }
    if let Some(data) = image.format_specific.as_ref().and_then(|specific| specific.get("data")) {
        line(&mut text, format_args!("Format specific information:"));
        tree(&mut text, data, 1);
    }
    text
}

/// Describes a package, with an empty line before what comes next.
fn package(package: &PackageFacts) -> String {
    let mut text = String::new();
    // A descriptor may break its texts, which would look like lines of ours.
    let one_line = |words: &str| words.split_whitespace().collect::<Vec<_>>().join(" ");
    for machine in &package.machines {
        line(&mut text, format_args!("machine: {}", one_line(machine.name.as_deref().unwrap_or("(without a name)"))));
        if let Some(cpus) = machine.cpus {
            line(&mut text, format_args!("    processors: {cpus}"));
        }
        if let Some(memory) = machine.memory {
            line(&mut text, format_args!("    memory: {}", bytes(memory)));
        }
        if let Some(cores) = machine.cores_per_socket {
            line(&mut text, format_args!("    processors of a socket: {cores}"));
        }
        let secure =
            |firmware: &String| format!("{firmware}{}", if machine.secure_boot { ", secure boot" } else { "" });
        let networks = Some(machine.networks.join(", ")).filter(|all| !all.is_empty() && machine.cards.is_empty());
        let yes = |is: bool| is.then(|| "yes".to_owned());
        let not_carried = Some(machine.not_carried.join(", ")).filter(|all| !all.is_empty());
        let disk = |disk: &PlacedDisk| ("disk", Some(format!("{}, {}", disk.filename, place(disk))));
        let card = |card: &NetworkCard| {
            let address = card.address.as_ref().map_or_else(String::new, |address| format!(", address {address}"));
            ("network card", Some(format!("{}, network {}{address}", card.model, card.network)))
        };
        let facts = [
            ("guest OS", machine.guest_os.clone()),
            ("firmware", machine.firmware.as_ref().map(secure)),
            ("TPM", yes(machine.tpm)),
            ("nested virtualization", yes(machine.nested_virtualization)),
            ("networks", networks),
        ];
        let rest = [("NVRAM", machine.nvram.clone()), ("not carried over", not_carried)];
        let devices = machine.disks.iter().map(disk).chain(machine.cards.iter().map(card));
        for (what, words) in facts.into_iter().chain(devices).chain(rest) {
            if let Some(words) = words {
                line(&mut text, format_args!("    {what}: {}", one_line(&words)));
            }
        }
    }
    for disk in &package.disks {
        let size = disk.virtual_size.map_or_else(|| "of a size that is not said".to_owned(), bytes);
        match &disk.filename {
            Some(name) => line(&mut text, format_args!("disk: {}, {size}", one_line(name))),
            None => line(&mut text, format_args!("disk: {}, {size}, begins empty", one_line(&disk.id))),
        }
    }
    text.push('\n');
    text
}

/// Where a disk hangs.
fn place(disk: &PlacedDisk) -> String {
    match (disk.controller, disk.unit) {
        (Some(controller), Some(unit)) => format!("{} {controller}:{unit}", disk.bus),
        _ => disk.bus.clone(),
    }
}

fn date(snapshot: &SnapshotFacts) -> String {
    let timestamp =
        i64::try_from(snapshot.date_sec).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    timestamp.map_or_else(String::new, |timestamp| timestamp.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// Writes names and values as qemu-img does.
fn tree(text: &mut String, value: &Value, depth: usize) {
    let indent = depth * 4;
    let entries: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.replace('-', " "), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(index, value)| (format!("[{index}]"), value)).collect(),
        _ => return,
    };
    for (name, value) in entries {
        match value {
            Value::Object(_) | Value::Array(_) => {
                line(text, format_args!("{:indent$}{name}:", ""));
                // The daemon nests two deep; another one shall not make this overflow.
                if depth < 8 {
                    tree(text, value, depth + 1);
                }
            }
            // A VMDK that is one file has no word for its only extent.
            Value::String(value) if value.is_empty() => {}
            Value::String(value) => line(text, format_args!("{:indent$}{name}: {value}", "")),
            value => line(text, format_args!("{:indent$}{name}: {value}", "")),
        }
    }
}

fn extent(extent: &MapExtent) -> String {
    let kind = match (extent.data, extent.present) {
        (true, _) => "data",
        (false, true) => "zero",
        (false, false) => "hole",
    };
    format!("{:#018x} {:#018x} {kind}\n", extent.start, extent.length)
}

fn checked(result: &CheckResult) -> String {
    let mut text = String::new();
    for finding in &result.findings {
        let kind = match finding.kind {
            CheckFindingKind::Corruption => "ERROR",
            CheckFindingKind::Leak => "Leaked",
        };
        let guest = finding.guest_offset.map_or_else(String::new, |guest| format!(", guest {guest:#x}"));
        line(&mut text, format_args!("{kind} offset {:#x}{guest}: {}", finding.offset, finding.rule));
    }
    if result.corruptions > 0 {
        let count = result.corruptions;
        line(
            &mut text,
            format_args!("{count} errors were found on the image: guest data may be wrong, or become wrong."),
        );
    }
    if result.leaks > 0 {
        let count = result.leaks;
        line(
            &mut text,
            format_args!("{count} leaked clusters were found on the image: wasted space, no harm to data."),
        );
    }
    if result.corruptions == 0 && result.leaks == 0 {
        line(&mut text, format_args!("No errors were found on the image."));
    }
    if let (1.., 1..) = (result.total_clusters, result.allocated_clusters) {
        let (total, allocated) = (result.total_clusters, result.allocated_clusters);
        let percent = |part: u64, of: u64| part as f64 * 100.0 / of as f64;
        let of_disk = percent(allocated, total);
        let fragmented = percent(result.fragmented_clusters, allocated);
        let compressed = percent(result.compressed_clusters, allocated);
        line(
            &mut text,
            format_args!(
                "{allocated}/{total} = {of_disk:.2}% allocated, {fragmented:.2}% fragmented, {compressed:.2}% compressed clusters"
            ),
        );
    }
    if result.image_end_offset > 0 {
        line(&mut text, format_args!("Image end offset: {}", result.image_end_offset));
    }
    text
}

fn compared(result: &CompareResult) -> String {
    let mut text = String::new();
    if !result.same_size && result.identical {
        line(&mut text, format_args!("The images have different sizes; what one has more reads as zeroes."));
    }
    match (result.identical, result.first_difference) {
        (true, _) => line(&mut text, format_args!("Images are identical.")),
        (false, Some(offset)) => line(&mut text, format_args!("Content mismatch at offset {offset}!")),
        (false, None) => line(&mut text, format_args!("Image size mismatch!")),
    }
    text
}

fn verified(file: &VerifiedFile) -> String {
    match (&file.problem, &file.algorithm) {
        (Some(problem), _) => format!("FAILED {problem}\n"),
        (None, Some(algorithm)) => format!("OK {} ({algorithm})\n", file.filename),
        (None, None) => format!("OK {}\n", file.filename),
    }
}

fn attested(result: &AttestationResult) -> String {
    let mut text = String::new();
    for subject in &result.subjects {
        match &subject.filename {
            Some(file) => line(&mut text, format_args!("OK {file} (SHA256)")),
            None => line(&mut text, format_args!("NOT LOOKED AT {} (SHA256 {})", subject.name, subject.sha256)),
        }
    }
    for name in &result.without_sha256 {
        line(&mut text, format_args!("CANNOT BE LOOKED AT {name} (the attestation has no SHA256 of it)"));
    }
    line(&mut text, format_args!("predicate: {}", result.predicate_type));
    if let Some(builder) = &result.builder_id {
        line(&mut text, format_args!("builder: {builder}"));
    }
    if result.subjects.iter().all(|subject| subject.filename.is_none()) {
        line(
            &mut text,
            format_args!("Only the signature is verified: none of the files is here (--artifact names them)."),
        );
    } else {
        // Packer's words.
        line(&mut text, format_args!("Attestation verified."));
    }
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{arguments}");
}

/// Spells a number of bytes with three digits, in powers of 1024.
pub(crate) fn bytes(number: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = 0;
    let mut value = number as f64;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value.fract() == 0.0 || value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(json: &str) -> String {
        Results::default().describe(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn sizes_have_three_digits() {
        for (number, text) in [(0, "0 B"), (512, "512 B"), (1536, "1.50 KiB"), (1 << 30, "1 GiB"), (u64::MAX, "16 EiB")]
        {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn facts_read_as_qemu_imgs() {
        let text = r#"{"of":"info","images":[{"filename":"d/a.qcow2","format":"qcow2","virtual-size":1048576,"actual-size":4096,
            "dirty-flag":false,"cluster-size":65536,"backing-filename":"b","full-backing-filename":"d/b","variant":"v3",
            "snapshots":[{"id":"1","name":"s","vm-state-size":0,"date-sec":86399,"date-nsec":0,"vm-clock-sec":0,"vm-clock-nsec":0}],
            "format-specific":{"type":"qcow2","data":{"compat":"1.1","encrypt":{"format":"aes"},"refcount-bits":16}}}]}"#;
        let expected = "image: d/a.qcow2\nfile format: qcow2\nvirtual size: 1 MiB (1048576 bytes)\ndisk size: 4 KiB\n\
                        variant: v3\ncluster_size: 65536\nbacking file: b (actual path: d/b)\n\
                        Snapshot list:\nID       TAG                     VM SIZE DATE (UTC)\n\
                        1        s                           0 B 1970-01-01 23:59:59\n\
                        Format specific information:\n    compat: 1.1\n    encrypt:\n        format: aes\n    refcount bits: 16\n";
        assert_eq!(described(text), expected);
    }

    #[test]
    fn differences_are_named() {
        let text = r#"{"of":"compare","identical":false,"same-size":true,"first-difference":7}"#;
        assert_eq!(described(text), "Content mismatch at offset 7!\n");
    }

    #[test]
    fn a_package_is_told_before_its_disks() {
        let text = r#"{"of":"info","images":[{"filename":"w.ova:a.vmdk","format":"vmdk","virtual-size":1024,"actual-size":0,
            "dirty-flag":false,"package":{"machines":[{"name":"web\nimage: x","cpus":2,"memory":2147483648,"guest-os":"Debian",
            "networks":["lan","wan"]},{}],"disks":[{"id":"d1","filename":"a.vmdk","virtual-size":1024},{"id":"d2"}]}}]}"#;
        let expected = "machine: web image: x\n    processors: 2\n    memory: 2 GiB\n    guest OS: Debian\n    networks: lan, wan\n\
                        machine: (without a name)\ndisk: a.vmdk, 1 KiB\n\
                        disk: d2, of a size that is not said, begins empty\n\nimage: w.ova:a.vmdk\n";
        assert!(described(text).starts_with(expected), "{}", described(text));
    }

    #[test]
    fn a_packages_machine_is_told_with_its_parts() {
        let text = r#"{"of":"info","images":[{"filename":"w.vmx","format":"vmdk","virtual-size":1024,"actual-size":0,"dirty-flag":false,
            "format-specific":{"type":"vmdk","data":{"extents":[{"filename":"a.vmdk","format":""}]}},
            "package":{"machines":[{"name":"web","cpus":4,"cores-per-socket":2,"firmware":"efi","secure-boot":true,"tpm":true,
            "nested-virtualization":true,"networks":["nat"],"nvram":"web.nvram","not-carried":["a CD drive","USB"],
            "disks":[{"filename":"a.vmdk","bus":"pvscsi","controller":0,"unit":1},{"filename":"b.vmdk","bus":"sata"}],
            "cards":[{"model":"vmxnet3","network":"nat","address":"00:50:56:01:02:03"}]}],"disks":[]}}]}"#;
        let expected = "machine: web\n    processors: 4\n    processors of a socket: 2\n    firmware: efi, secure boot\n    TPM: yes\n    \
                        nested virtualization: yes\n    disk: a.vmdk, pvscsi 0:1\n    disk: b.vmdk, sata\n    \
                        network card: vmxnet3, network nat, address 00:50:56:01:02:03\n    NVRAM: web.nvram\n    \
                        not carried over: a CD drive, USB\n\nimage: w.vmx\n";
        assert!(described(text).starts_with(expected), "{}", described(text));
        assert!(!described(text).contains("format: \n"), "{}", described(text));
    }

    #[test]
    fn a_map_in_parts_has_one_head_and_only_a_conversion_an_end() {
        let text =
            r#"{"of":"map","extents":[{"start":4096,"length":512,"depth":0,"present":true,"zero":false,"data":true}]}"#;
        let part = serde_json::from_str(text).unwrap();
        let mut results = Results::default();
        let line = "0x0000000000001000 0x0000000000000200 data\n";
        assert_eq!(results.describe(&part), format!("offset             length             content\n{line}"));
        assert_eq!(results.describe(&part), line);
        assert_eq!(results.end(62_000_000), None);
        results.describe(&serde_json::from_str(r#"{"of":"convert","disks":[],"files":[]}"#).unwrap());
        assert_eq!(results.end(62_000_000).as_deref(), Some("converted in 1 minute 2 seconds\n"));
    }
}
