//! From the words for outputs to values of the library: formats by suffix or name, and each format's options.

use std::path::Path;

use kiln_disk_formats::package::MachineDescription;
use kiln_disk_formats::{
    Compression, DigestAlgorithm, DiskAdapter, Output, OutputKind, Qcow2Method, Qcow2Options, VhdVariant, VmdkOptions,
    VmdkSubformat,
};
use kiln_protocol::{ConvertOutput, ConvertRequest};

use super::failure::{Failure, Failures};
use super::options::{Options, choice, compression, size, switch};

/// One MiB in bytes.
const MIB: u64 = 1 << 20;

/// VMware's virtual hardware versions, with room for those to come.
const HARDWARE_VERSIONS: std::ops::RangeInclusive<u8> = 3..=99;

/// A format that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Raw,
    Qcow2,
    Vmdk,
    Vdi,
    Vhd,
    Vhdx,
    Ovf,
    Ova,
    Vmx,
}

/// Names of formats, which are their suffixes too; qemu-img's, and some that people use.
const TARGETS: [(&str, Target); 11] = [
    ("raw", Target::Raw),
    ("img", Target::Raw),
    ("qcow2", Target::Qcow2),
    ("vmdk", Target::Vmdk),
    ("vdi", Target::Vdi),
    ("vhd", Target::Vhd),
    ("vpc", Target::Vhd),
    ("vhdx", Target::Vhdx),
    ("ovf", Target::Ovf),
    ("ova", Target::Ova),
    ("vmx", Target::Vmx),
];

impl Target {
    fn of(output: &ConvertOutput) -> Result<Self, Failure> {
        let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        if let Some(name) = &output.format {
            return choice("output format", name, &TARGETS);
        }
        let suffix = Path::new(&output.path).extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
        let found = TARGETS.iter().find(|(name, _)| name.eq_ignore_ascii_case(suffix)).map(|(_, target)| *target);
        found.ok_or_else(|| {
            Failure::new(format!("the name {} does not say in which format to write it", output.path))
                .hint(format!("`-O FORMAT` says it; known: {}", names.join(", ")))
        })
    }

    fn is_package(self) -> bool {
        matches!(self, Self::Ovf | Self::Ova | Self::Vmx)
    }

    /// The options that this format has.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Raw | Self::Vdi | Self::Vhdx | Self::Vmx => &[],
            Self::Qcow2 => &["cluster_size", "compat", "compression", "compression_type"],
            Self::Vmdk => &["subformat", "adapter_type", "compression", "hwversion"],
            Self::Vhd => &["subformat", "force_size"],
            Self::Ovf | Self::Ova => &["compression", "manifest"],
        }
    }
}

/// Says whether every output holds a machine, with any number of disks.
pub(super) fn are_packages(outputs: &[ConvertOutput]) -> bool {
    outputs.iter().all(|output| Target::of(output).is_ok_and(Target::is_package))
}

/// Reads all outputs; all mistakes are told at once. `machine` is what packages hold.
pub(super) fn outputs(request: &ConvertRequest, machine: &MachineDescription) -> Result<Vec<Output>, Failures> {
    let mut options = Options::new(&request.options);
    let (mut outputs, mut failures, mut known) = (Vec::new(), Vec::new(), Vec::new());
    let mut packages = false;
    for output in &request.outputs {
        let kind = Target::of(output).and_then(|target| {
            packages |= target.is_package();
            known.extend(target.options());
            kind(target, output, request.compress, machine, &mut options)
        });
        match kind {
            Ok(kind) => outputs.push(Output::new(&output.path, kind)),
            Err(failure) => failures.push(failure),
        }
    }
    known.sort_unstable();
    known.dedup();
    let names: Vec<&str> = request.outputs.iter().map(|output| output.path.as_str()).collect();
    if failures.is_empty() {
        failures.extend(options.unused(&names, &known));
        if !packages && !request.machine.is_default() {
            let failure = Failure::new("a machine was described, but no output is a package");
            failures.push(failure.hint("an ova, ovf or vmx holds a machine; the other formats hold a disk only"));
        }
        if request.inputs.len() > 1 && outputs.iter().any(|output| !is_package(&output.kind)) {
            let failure = Failure::new("several disks were given, but an output holds one disk only");
            failures.push(failure.hint("an ova, ovf or vmx holds several; convert the others one by one"));
        }
    }
    Failures::check(failures)?;
    Ok(outputs)
}

fn is_package(kind: &OutputKind) -> bool {
    matches!(kind, OutputKind::Ovf(_) | OutputKind::Ova(_) | OutputKind::Vmx(_))
}

fn kind(
    target: Target,
    output: &ConvertOutput,
    compress: bool,
    machine: &MachineDescription,
    options: &mut Options<'_>,
) -> Result<OutputKind, Failure> {
    let path = output.path.as_str();
    Ok(match target {
        Target::Raw => OutputKind::Raw,
        Target::Vdi => OutputKind::Vdi,
        Target::Vhdx => OutputKind::Vhdx,
        Target::Vhd => OutputKind::Vhd(vhd(path, options)?),
        Target::Qcow2 => OutputKind::Qcow2(qcow2(path, compress, options)?),
        Target::Vmdk => OutputKind::Vmdk(vmdk(path, options)?),
        Target::Ovf => OutputKind::ovf(package(path, machine, options)?),
        Target::Ova => OutputKind::ova(package(path, machine, options)?),
        Target::Vmx => OutputKind::vmx(named(path, machine)),
    })
}

fn qcow2(path: &str, compress: bool, options: &mut Options<'_>) -> Result<Qcow2Options, Failure> {
    let mut qcow2 = Qcow2Options { compression: compress.then_some(Compression::Auto), ..Qcow2Options::default() };
    if let Some(value) = options.take(path, "compression") {
        qcow2.compression = if value.eq_ignore_ascii_case("none") { None } else { Some(compression(value)?) };
    }
    if let Some(value) = options.take(path, "compression_type") {
        qcow2.method = choice("compression_type", value, &[("zlib", Qcow2Method::Zlib), ("zstd", Qcow2Method::Zstd)])?;
    }
    if let Some(value) = options.take(path, "cluster_size") {
        let bytes = size("cluster_size", value)?;
        let fits = bytes.is_power_of_two() && (512..=2 << 20).contains(&bytes);
        let bytes = u32::try_from(bytes).ok().filter(|_| fits);
        qcow2.cluster_size = bytes.ok_or_else(|| {
            Failure::new(format!("cluster_size={value} is not possible")).hint("a power of two from 512 to 2M")
        })?;
    }
    if let Some(value) = options.take(path, "compat")
        && !matches!(value, "1.1" | "v3")
    {
        let failure = Failure::new(format!("compat={value} is not written"));
        return Err(failure.hint("Kiln writes version 3 (compat=1.1), which QEMU reads since 1.1"));
    }
    Ok(qcow2)
}

fn vhd(path: &str, options: &mut Options<'_>) -> Result<VhdVariant, Failure> {
    let variants = [("dynamic", VhdVariant::Dynamic), ("fixed", VhdVariant::Fixed)];
    let subformat = options.take(path, "subformat").map(|value| choice("subformat of vhd", value, &variants));
    let forced = options.take(path, "force_size").map(|value| switch("force_size", value)).transpose()?;
    if forced == Some(false) {
        let failure = Failure::new("force_size=off is not written");
        return Err(failure.hint("Kiln's VHDs have the exact size of the disk, never one rounded to a geometry"));
    }
    Ok(subformat.transpose()?.unwrap_or_default())
}

/// Says what is wrong with an output for where it usually goes, though it is a correct image. `size` is the disk's in bytes.
pub(super) fn doubts(output: &Output, size: u64) -> Option<String> {
    if !matches!(output.kind, OutputKind::Vhd(_)) || size.is_multiple_of(MIB) {
        return None;
    }
    Some(format!(
        "{}: the disk of {size} bytes is no whole number of MiB, and Azure takes no such VHD; enlarge the image first, as \
         `qemu-img resize IMAGE {}`",
        output.path.display(),
        size.next_multiple_of(MIB)
    ))
}

fn vmdk(path: &str, options: &mut Options<'_>) -> Result<VmdkOptions, Failure> {
    let mut vmdk = VmdkOptions::default();
    if let Some(value) = options.take(path, "subformat") {
        let known: Vec<_> = VmdkSubformat::ALL.into_iter().map(|subformat| (subformat.name(), subformat)).collect();
        vmdk.subformat = choice("subformat of vmdk", value, &known)?;
    }
    if let Some(value) = options.take(path, "adapter_type") {
        let known = ["ide", "buslogic", "lsilogic", "legacyESX"];
        vmdk.adapter =
            DiskAdapter::from_name(value).ok_or_else(|| Failure::unknown("the adapter_type", value, &known))?;
    }
    if let Some(value) = options.take(path, "compression") {
        vmdk.compression = compression(value)?;
    }
    if let Some(value) = options.take(path, "hwversion")
        && value != "undefined"
    {
        let version = value.parse().ok().filter(|version| HARDWARE_VERSIONS.contains(version));
        let failure = || Failure::new(format!("hwversion={value} is not a virtual hardware version"));
        vmdk.hardware_version = Some(version.ok_or_else(|| failure().hint("a number from 3 to 99, as 14"))?);
    }
    Ok(vmdk)
}

fn package(path: &str, machine: &MachineDescription, options: &mut Options<'_>) -> Result<MachineDescription, Failure> {
    let mut machine = named(path, machine);
    if let Some(value) = options.take(path, "compression") {
        machine.compression = compression(value)?;
    }
    if let Some(value) = options.take(path, "manifest") {
        let known = [DigestAlgorithm::Sha256, DigestAlgorithm::Sha1, DigestAlgorithm::Sha512];
        let known: Vec<_> = ["sha256", "sha1", "sha512"].into_iter().zip(known).collect();
        machine.manifest = choice("manifest", value, &known)?;
    }
    Ok(machine)
}

/// A machine without a name is called as its package.
fn named(path: &str, machine: &MachineDescription) -> MachineDescription {
    let mut machine = machine.clone();
    if machine.name.is_empty() {
        let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str()).filter(|_| path != "-");
        machine.name = stem.unwrap_or("machine").to_owned();
    }
    machine
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(outputs_given: &[&str], options: &[(&str, &str)]) -> Result<Vec<Output>, Failures> {
        let outputs_given: Vec<_> = outputs_given.iter().map(|path| serde_json::json!({ "path": path })).collect();
        let options: Vec<_> =
            options.iter().map(|(name, value)| serde_json::json!({ "name": name, "value": value })).collect();
        let text = serde_json::json!({ "inputs": [{"path": "i"}], "outputs": outputs_given, "options": options });
        let request: ConvertRequest = serde_json::from_value(text).unwrap();
        outputs(&request, &MachineDescription { name: String::new(), ..MachineDescription::default() })
    }

    #[test]
    fn suffixes_and_options_say_what_to_write() {
        let outputs = read(
            &["a.qcow2", "b.VMDK", "dir/c.ova", "d.vhd"],
            &[
                ("compression_type", "zstd"),
                ("b.VMDK:subformat", "streamoptimized"),
                ("cluster_size", "128k"),
                ("d.vhd:subformat", "fixed"),
                ("hwversion", "17"),
            ],
        )
        .unwrap();
        let OutputKind::Qcow2(qcow2) = &outputs[0].kind else { panic!("{outputs:?}") };
        assert_eq!((qcow2.method, qcow2.cluster_size, qcow2.compression), (Qcow2Method::Zstd, 131_072, None));
        assert!(
            matches!(&outputs[1].kind, OutputKind::Vmdk(vmdk) if vmdk.subformat == VmdkSubformat::StreamOptimized && vmdk.hardware_version == Some(17))
        );
        assert!(matches!(&outputs[2].kind, OutputKind::Ova(machine) if machine.name == "c"));
        assert_eq!(outputs[3].kind, OutputKind::Vhd(VhdVariant::Fixed));
    }

    #[test]
    fn azures_options_are_taken_and_its_sizes_minded() {
        let options = [("subformat", "fixed"), ("force_size", "on")];
        let outputs = read(&["a.vhd"], &options).unwrap();
        assert_eq!(outputs[0].kind, OutputKind::Vhd(VhdVariant::Fixed));
        assert_eq!(doubts(&outputs[0], 3 << 20), None);
        assert!(doubts(&outputs[0], (3 << 20) + 512).unwrap().contains("resize IMAGE 4194304"));
        for options in [("force_size", "off"), ("force_size", "maybe"), ("subformat", "on")] {
            assert_eq!(read(&["a.vhd"], &[options]).unwrap_err().list.len(), 1, "{options:?}");
        }
        let failures = read(&["a.vhdx"], &[("force_size", "on")]).unwrap_err().list;
        assert!(failures[0].text.contains("force_size"), "{failures:?}");
        assert_eq!(doubts(&read(&["a.vhdx"], &[]).unwrap()[0], 512), None);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let failures = read(&["a.vmkd", "b.vmdk", "c"], &[("subformat", "streamOptimised")]).unwrap_err().list;
        assert_eq!(failures.len(), 3, "{failures:?}");
        assert_eq!(failures[1].hint.as_deref(), Some("did you mean \"streamOptimized\"?"));
        let failures = read(&["a.qcow2"], &[("cluster-sise", "64k"), ("compat", "0.10")]).unwrap_err().list;
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert_eq!(read(&["a.vmdk"], &[("hwversion", "x")]).unwrap_err().list.len(), 1);
        let failures = read(&["a.qcow2"], &[("cluster-sise", "64k")]).unwrap_err().list;
        assert_eq!(failures[0].hint.as_deref(), Some("did you mean \"cluster_size\"?"));
    }
}
