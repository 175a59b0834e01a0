//! From the words for outputs to values of the library: formats by suffix or name, and each format's options.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use kiln_disk_formats::package::{MachineDescription, MachineDisk, nvram_losses, plain_name, virtualbox_doubts, vmx};
use kiln_disk_formats::{
    DiskAdapter, FORMATS, FormatOptions, FormatRow, Output, OutputKind, OutputWishes, format_named,
};
use kiln_protocol::{ConvertOutput, ConvertRequest};

use super::failure::{Failure, Failures, packages};

/// Returns what is known of the format of an output: by its name, else by the suffix of its path.
fn row(output: &ConvertOutput) -> Result<&'static FormatRow, Failure> {
    let names: Vec<&str> = FORMATS.iter().flat_map(|row| row.names).copied().collect();
    if let Some(name) = &output.format {
        return format_named(name).ok_or_else(|| in_templates(name, &names));
    }
    let suffix = Path::new(&output.path).extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
    format_named(suffix).ok_or_else(|| {
        Failure::new(format!("the name {} does not say in which format to write it", output.path))
            .hint(format!("`-O FORMAT` says it; known: {}", names.join(", ")))
    })
}

/// Refuses a name that is no format; some words of templates are a format with options.
fn in_templates(name: &str, names: &[&str]) -> Failure {
    let words = FORMATS.iter().flat_map(|row| row.exports.iter().map(move |export| (row, export)));
    let Some((row, export)) = words.into_iter().find(|(_, export)| export.word.eq_ignore_ascii_case(name)) else {
        return Failure::unknown("the output format", name, names);
    };
    let options: String = export.presets.iter().map(|(name, value)| format!(" -o {name}={value}")).collect();
    let failure = Failure::new(format!("the output format {name:?} is a word of templates only"));
    failure.hint(format!("`-O {}{options}` gives the same", row.name()))
}

/// Says whether every output holds a machine, with any number of disks.
pub(super) fn are_packages(outputs: &[ConvertOutput]) -> bool {
    outputs.iter().all(|output| row(output).is_ok_and(|row| row.is_package))
}

/// Says whether an output holds a machine.
pub(super) fn any_package(outputs: &[ConvertOutput]) -> bool {
    outputs.iter().any(|output| row(output).is_ok_and(|row| row.is_package))
}

/// Reads all outputs; all mistakes are told at once. `machine` is what packages hold.
pub(super) fn outputs(request: &ConvertRequest, machine: &MachineDescription) -> Result<Vec<Output>, Failures> {
    let given = request.options.iter().map(|option| (option.name.as_str(), option.value.as_str()));
    let mut options = FormatOptions::new(given);
    let (mut outputs, mut rows, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for output in &request.outputs {
        let read = row(output).and_then(|row| Ok((row, kind(row, output, request.compress, machine, &mut options)?)));
        match read {
            Ok((row, kind)) => {
                outputs.push(Output::new(&output.path, kind));
                rows.push((output.path.as_str(), row));
            }
            Err(failure) => failures.push(failure),
        }
    }
    if failures.is_empty() {
        failures.extend(options.unused(&rows).into_iter().map(Failure::from));
        if !rows.iter().any(|(_, row)| row.is_package) && !request.machine.is_default() {
            let failure = Failure::new("a machine was described, but no output is a package");
            let hint = format!("an {} holds a machine; the other formats hold a disk only", packages());
            failures.push(failure.hint(hint));
        }
        if request.inputs.len() > 1 && rows.iter().any(|(_, row)| !row.is_package) {
            let failure = Failure::new("several disks were given, but an output holds one disk only");
            let hint = format!("an {} holds several; convert the others one by one", packages());
            failures.push(failure.hint(hint));
        }
    }
    Failures::check(failures)?;
    Ok(outputs)
}

fn kind(
    row: &FormatRow,
    output: &ConvertOutput,
    compress: bool,
    machine: &MachineDescription,
    options: &mut FormatOptions<'_>,
) -> Result<OutputKind, Failure> {
    let machine = named(&output.path, machine);
    let wishes = OutputWishes { machine: &machine, adapter: DiskAdapter::default(), compress };
    Ok(row.kind(&output.path, &[], options, &wishes)?)
}

/// Gives each package what its maker has in place of what the machine wants, and files of names that nothing else has; returns what
/// was replaced or means something else there. Only a machine that was read is changed: what the user asked for is refused where it cannot be.
pub(super) fn fit(outputs: &mut [Output], sizes: &[u64], sources: &[PathBuf], was_read: bool) -> Vec<String> {
    let mut replaced = Vec::new();
    if was_read {
        for output in outputs.iter_mut() {
            let path = output.path.display().to_string();
            let words = match &mut output.kind {
                OutputKind::Vmx(machine) => vmx::fit(machine),
                kind => kind
                    .machine_mut()
                    .map_or_else(Vec::new, |machine| [virtualbox_doubts(machine), nvram_losses(machine)].concat()),
            };
            replaced.extend(words.into_iter().map(|what| format!("{path}: {what}")));
        }
    }
    let mut taken: HashSet<PathBuf> = sources.iter().map(|path| resolved(path)).collect();
    taken.extend(outputs.iter().map(|output| resolved(&output.path)));
    for output in outputs {
        let own = plain_name(&stem_of(&output.path));
        let other = format!("{own}-{}", output.kind.row().name());
        if was_read {
            // The files of a machine that was only described are named after the machine.
            name_files(output, &own, sizes.len());
        }
        let is_free = |output: &Output| {
            // The main file has the name that the user gave it.
            output.files(sizes).iter().skip(1).all(|file| !taken.contains(&resolved(file)))
        };
        if !is_free(output) {
            name_files(output, &other, sizes.len());
        }
        taken.extend(output.files(sizes).iter().map(|file| resolved(file)));
    }
    replaced
}

/// Names the files of a package's disks and NVRAM after it.
fn name_files(output: &mut Output, base: &str, disks: usize) {
    let Some(machine) = output.kind.machine_mut() else { return };
    machine.disks.resize_with(disks, MachineDisk::default);
    for (disk, number) in machine.disks.iter_mut().zip(1..) {
        disk.file = Some(format!("{base}-disk{number}.vmdk"));
    }
    if let Some(nvram) = &mut machine.nvram {
        nvram.file = Some(format!("{base}.nvram"));
    }
}

/// A name under which a file is known however its folder is written.
fn resolved(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (folder.canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// A machine without a name is called as its package.
fn named(path: &str, machine: &MachineDescription) -> MachineDescription {
    let mut machine = machine.clone();
    if machine.name.is_empty() {
        machine.name = stem_of(Path::new(path));
    }
    machine
}

fn stem_of(path: &Path) -> String {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| path != Path::new("-"));
    stem.unwrap_or("machine").to_owned()
}

#[cfg(test)]
mod tests {
    use kiln_disk_formats::package::MachineNic;
    use kiln_disk_formats::{Qcow2Method, VhdVariant, VmdkSubformat};

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
        assert_eq!(outputs[0].doubts(3 << 20), None);
        assert!(outputs[0].doubts((3 << 20) + 512).unwrap().contains("resize IMAGE 4194304"));
        for options in [("force_size", "off"), ("force_size", "maybe"), ("subformat", "on")] {
            assert_eq!(read(&["a.vhd"], &[options]).unwrap_err().list.len(), 1, "{options:?}");
        }
        let failures = read(&["a.vhdx"], &[("force_size", "on")]).unwrap_err().list;
        assert!(failures[0].text.contains("force_size"), "{failures:?}");
        assert_eq!(read(&["a.vhdx"], &[]).unwrap()[0].doubts(512), None);
    }

    #[test]
    fn files_of_packages_collide_with_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let machine = MachineDescription { name: "its own".to_owned(), ..MachineDescription::default() };
        let package = |name: &str| {
            let row = format_named(name.rsplit('.').next().unwrap()).unwrap();
            let wishes = OutputWishes { machine: &machine, adapter: DiskAdapter::default(), compress: false };
            Output::new(at(name), row.kind(name, &[], &mut FormatOptions::new([]), &wishes).unwrap())
        };
        let names = |output: &Output| {
            let names = output.files(&[1, 1]).into_iter().map(|path| path.file_name().unwrap().to_owned());
            names.map(|name| name.into_string().unwrap()).collect::<Vec<_>>()
        };
        let mut outputs = [package("web.ovf"), package("web.vmx"), package("other.vmx")];
        assert!(fit(&mut outputs, &[1, 1], &[at("other-disk2.vmdk")], true).is_empty());
        assert_eq!(names(&outputs[0]), ["web.ovf", "web.mf", "web-disk1.vmdk", "web-disk2.vmdk"]);
        assert_eq!(names(&outputs[1]), ["web.vmx", "web-vmx-disk1.vmdk", "web-vmx-disk2.vmdk"]);
        assert_eq!(names(&outputs[2]), ["other.vmx", "other-vmx-disk1.vmdk", "other-vmx-disk2.vmdk"]);
        // A network that VirtualBox has not is told, for it makes another of it.
        let MachineDescription { nics, .. } = outputs[0].kind.machine_mut().unwrap();
        nics.push(MachineNic { network: "lan".to_owned(), ..MachineNic::default() });
        let warnings = fit(&mut outputs[..1], &[1, 1], &[], true);
        assert!(
            warnings.len() == 1 && warnings[0].contains("web.ovf: network card") && warnings[0].contains("\"lan\"")
        );
        // Those of a machine that nobody read keep its name, unless they cannot.
        let mut outputs = [package("web.ovf"), package("web.vmx")];
        fit(&mut outputs, &[1, 1], &[], false);
        assert_eq!(names(&outputs[0])[2], "its own-disk1.vmdk");
        assert_eq!(names(&outputs[1])[1], "web-vmx-disk1.vmdk");
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
        // Where neither the nearest word nor a rule helps, the list does.
        for (output, option) in [("a.raw", ("cluster_size", "64k")), ("a.vhd", ("force_size", "maybe"))] {
            let failures = read(&[output], &[option]).unwrap_err().list;
            assert_eq!(failures[0].hint.as_deref(), Some("`kiln convert --help` lists the options"), "{failures:?}");
        }
    }

    #[test]
    fn every_word_of_templates_is_a_format_or_comes_with_the_options_that_give_it() {
        let request = |format: &str, options: &[(&str, &str)]| {
            let options: Vec<_> =
                options.iter().map(|(name, value)| serde_json::json!({"name": name, "value": value})).collect();
            let output = serde_json::json!({"path": "a", "format": format});
            let text = serde_json::json!({"inputs": [{"path": "i"}], "outputs": [output], "options": options});
            let request: ConvertRequest = serde_json::from_value(text).unwrap();
            outputs(&request, &MachineDescription { name: String::new(), ..MachineDescription::default() })
        };
        for (row, export) in FORMATS.iter().flat_map(|row| row.exports.iter().map(move |export| (row, export))) {
            if row.names.contains(&export.word) {
                assert!(request(export.word, &[]).is_ok(), "{}", export.word);
                continue;
            }
            let failures = request(export.word, &[]).unwrap_err().list;
            let hint = failures[0].hint.as_deref().unwrap();
            let (name, value) = export.presets[0];
            assert_eq!(hint, format!("`-O {} -o {name}={value}` gives the same", row.name()));
            assert!(request(row.name(), export.presets).is_ok(), "{hint}");
        }
        let failures = request("QCOW2-compressed", &[]).unwrap_err().list;
        assert_eq!(failures[0].hint.as_deref(), Some("`-O qcow2 -o compression=auto` gives the same"));
    }

    #[test]
    fn every_format_is_written_by_each_of_its_names() {
        for row in FORMATS {
            for name in row.names {
                let outputs = read(&[&format!("x.{}", name.to_uppercase())], &[]).unwrap();
                assert_eq!(outputs[0].kind.row().names, row.names);
                let known = row.options.iter().map(|option| option.name);
                for option in known {
                    let failures = read(&[&format!("x.{name}")], &[(option, "no such value")]).unwrap_err().list;
                    assert_eq!(failures.len(), 1, "{name}: {option}: {failures:?}");
                }
            }
        }
    }

    /// Nobody can read this one, so that nothing is made of it; where it goes as it is, nothing is lost.
    #[test]
    fn what_of_an_nvram_the_other_maker_does_not_get_is_said() {
        use kiln_disk_formats::package::{Firmware, Nvram, NvramMaker};
        let mut machine = MachineDescription {
            firmware: Firmware::Uefi { secure_boot: false },
            nvram: Some(Nvram { maker: NvramMaker::VMware, bytes: vec![1].into(), file: None }),
            ..MachineDescription::default()
        };
        let warnings = |machine: &MachineDescription, was_read| {
            let mut outputs = ["a.ova", "b.ovf", "c.vmx"].map(|path| (path, machine.clone())).map(|(path, machine)| {
                let kind = match path {
                    "a.ova" => OutputKind::ova(machine),
                    "b.ovf" => OutputKind::ovf(machine),
                    _ => OutputKind::vmx(machine),
                };
                Output::new(path, kind)
            });
            fit(&mut outputs, &[1], &[], was_read)
        };
        let told = warnings(&machine, true);
        let words = |path: &str| format!("{path}: for VirtualBox, not carried over: the NVRAM is VMware's");
        assert!(
            told.len() == 2 && told[0].starts_with(&words("a.ova")) && told[1].starts_with(&words("b.ovf")),
            "{told:?}"
        );
        assert!(warnings(&machine, false).is_empty());
        machine.nvram = None;
        assert!(warnings(&machine, true).is_empty());
    }
}
