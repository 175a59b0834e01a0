//! `convert`: the one pass from a machine's disks to all outputs.

use std::path::Path;

use kiln_builder::Unfinished;
use kiln_disk_formats::package::{MachineDescription, PackagedMachine};
use kiln_disk_formats::{ConvertOptions, DiskReader, Output, convert_disks};
use kiln_protocol::{ConvertRequest, ConvertResult, ConvertedDisk, Digests, ImageResult, ImageSource, WrittenFile};

use super::attest::{Attestation, Inputs};
use super::failure::{Failure, Failures};
use super::machine::{machine, plain};
use super::outputs::{any_package, are_packages, fit, outputs};
use super::package::{one_line, packaged_machine};
use super::reporter::{Ended, Reporter};
use super::source::{every_disk, open_source};
use super::stdout;

/// Most worker threads.
const MAX_THREADS: u32 = 1024;

/// The name of the client's standard output.
const STANDARD_OUTPUT: &str = "-";

pub(super) fn run(request: &ConvertRequest, job_directory: &Path, reporter: &Reporter) -> Result<Ended, Failures> {
    let mut request = request.clone();
    let read = read_machine(&request)?;
    let package = request.inputs.first().map(|first| first.path.clone()).unwrap_or_default();
    if are_packages(&request.outputs) {
        let (first, others) = request.inputs.split_at(request.inputs.len().min(1));
        // The machine's disks in its own order, which is not always that of the descriptor.
        let of_package: Vec<_> = first.iter().flat_map(every_disk).collect();
        let firsts = match &read {
            // A package may hold more disks than hang on the machine.
            Some(machine) if of_package.len() > 1 && !machine.disks.is_empty() => disks_of(&first[0], machine),
            _ => of_package,
        };
        request.inputs = firsts.into_iter().chain(others.iter().flat_map(every_disk)).collect();
    }
    let (readers, mut targets) = prepare(&request, read.as_ref())?;
    let attestation = Attestation::of(&request)?;
    if let Some(fifo) = &request.stdout {
        stdout::connect(Path::new(fifo))?;
    }
    let read_files = readers.iter().flat_map(|reader| reader.info().files);
    let inputs = attestation.as_ref().map(|_| Inputs::of(&request, read_files));
    let readers: Vec<&dyn DiskReader> = readers.iter().map(|reader| &**reader).collect();
    let mut options = ConvertOptions::default();
    options.threads = request.threads.map(|threads| threads.clamp(1, MAX_THREADS) as usize);
    options.overwrite = request.force;
    options.content_digest = request.digests != Digests::None;
    options.file_digests = request.digests == Digests::All || attestation.is_some();
    options.durable = !request.no_sync;
    let sizes: Vec<u64> = readers.iter().map(|reader| reader.virtual_size()).collect();
    let mut sources: Vec<_> = readers.iter().flat_map(|reader| reader.info().files).collect();
    let nvram = read.as_ref().and_then(|machine| machine.nvram.as_ref());
    sources.extend(nvram.map(|(_, name)| Path::new(&package).with_file_name(name)));
    let mut warnings = fit(&mut targets, &sizes, &sources, read.is_some());
    if let Some(machine) = read.as_ref().filter(|machine| !machine.left_out.is_empty()) {
        let left_out: Vec<_> = machine.left_out.iter().map(|what| one_line(what)).collect();
        warnings.insert(0, format!("{package}: not carried over: {}", left_out.join(", ")));
    }
    for text in warnings {
        reporter.warn(format!("Warning: {text}"));
    }
    for target in &targets {
        for text in readers.iter().filter_map(|disk| target.doubts(disk.virtual_size())) {
            reporter.warn(format!("Warning: {}: {text}", target.path.display()));
        }
    }
    let files: Vec<_> = targets.iter().flat_map(|target| target.files(&sizes)).collect();
    let unfinished = Unfinished::of_job(job_directory, files.iter().map(|file| file.as_path()));
    let unfinished = unfinished.map_err(|error| {
        Failure::new(format!("cannot note what a conversion may leave in {}: {error}", job_directory.display()))
    })?;
    options.mark = Some(unfinished.mark());
    let report = convert_disks(&readers, &targets, &options, &reporter.progress("convert".to_owned()))?;
    let disks = report.disks.iter().zip(&request.inputs).map(|(disk, input)| ConvertedDisk {
        filename: input.path.clone(),
        virtual_size: disk.virtual_size,
        data_bytes: disk.data_bytes,
        content_digest: disk.content_digest.map(|digest| digest.to_string()),
    });
    let files = report.files.iter().map(|file| WrittenFile {
        filename: file.path.to_string_lossy().into_owned(),
        size: file.size,
        sha256: file.sha256.map(|digest| digest.to_string()),
    });
    let mut result = ConvertResult { disks: disks.collect(), files: files.collect(), attestation: None };
    if let (Some(attestation), Some(inputs)) = (attestation, inputs) {
        result.attestation = Some(attestation.write(&request, &inputs, &result, job_directory, reporter)?);
    }
    reporter.result(ImageResult::Convert(result));
    Ok(Ended::well())
}

/// Reads the machine of the first input, when there is one and a package is to hold it.
fn read_machine(request: &ConvertRequest) -> Result<Option<PackagedMachine>, Failures> {
    match request.inputs.first() {
        Some(first) if any_package(&request.outputs) => packaged_machine(first),
        _ => Ok(None),
    }
}

/// Returns a source for each disk of a machine.
fn disks_of(source: &ImageSource, machine: &PackagedMachine) -> Vec<ImageSource> {
    let path = |name: &String| format!("{}:{name}", source.path);
    machine.disks.iter().map(|name| ImageSource { path: path(name), ..source.clone() }).collect()
}

/// The disks to read, and what to write.
type Prepared = (Vec<Box<dyn DiskReader>>, Vec<Output>);

/// Opens all inputs and reads all words; all that is wrong is told at once.
fn prepare(request: &ConvertRequest, read: Option<&PackagedMachine>) -> Result<Prepared, Failures> {
    let mut failures: Vec<Failure> = Vec::new();
    let mut cancelled = false;
    let mut keep = |found: Failures| {
        cancelled |= found.cancelled;
        failures.extend(found.list);
    };
    let readers: Vec<_> =
        request.inputs.iter().filter_map(|input| open_source(input).map_err(&mut keep).ok()).collect();
    let read = read.map_or_else(plain, |read| read.description.clone());
    let targets = match machine(&request.machine, read, request.inputs.len()) {
        Ok(machine) => outputs(request, &machine),
        Err(found) => {
            keep(found);
            // For its complaints.
            outputs(request, &MachineDescription::default())
        }
    };
    let targets = targets.map_err(&mut keep).unwrap_or_default();
    let to_client = request.outputs.iter().any(|output| output.path == STANDARD_OUTPUT);
    if to_client && request.stdout.is_none() {
        failures.push(Failure::new("there is no client that takes what goes to standard output"));
    }
    if let Some(name) = request.outputs.iter().map(|output| output.path.as_str()).find(|path| is_own_stdout(path)) {
        failures.push(Failure::new(format!("{name} would be the worker's own")).hint("`-` is your standard output"));
    }
    Failures::check(failures)?;
    Ok((readers, targets))
}

/// Names that mean something else in this process than in the caller's shell.
fn is_own_stdout(path: &str) -> bool {
    path == "/dev/stdout" || path == "/dev/stderr" || path.starts_with("/dev/fd/") || path.starts_with("/proc/self/")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::{Arc, Mutex};

    use kiln_protocol::EventBody;

    use super::*;

    #[test]
    fn every_mistake_of_a_request_is_told_and_nothing_is_written() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name).to_string_lossy().into_owned();
        let text = serde_json::json!({
            "inputs": [{"path": path("none.raw")}, {"path": path("b"), "format": "qcow3"}],
            "outputs": [{"path": path("o.vmdk")}, {"path": "/dev/stdout", "format": "raw"}],
            "machine": {"bus": "x"},
        });
        assert!(serde_json::from_value::<ConvertRequest>(text.clone()).is_err(), "misspelt options are refused");
        let mut text = text;
        text["machine"] = serde_json::json!({ "firmware": "x" });
        let request: ConvertRequest = serde_json::from_value(text).unwrap();
        let events = Arc::new(Mutex::new(Vec::<EventBody>::new()));
        let sink = Arc::clone(&events);
        let stop = Arc::new(AtomicBool::new(false));
        let reporter = Reporter::new(Arc::new(move |event| sink.lock().unwrap().push(event.body)), stop);
        let Err(failures) = run(&request, Path::new("/nonexistent"), &reporter) else {
            panic!("nothing of it is right")
        };
        let texts: Vec<_> = failures.list.iter().map(|failure| failure.text.as_str()).collect();
        assert!(texts.len() >= 5, "{texts:#?}");
        assert!(events.lock().unwrap().is_empty());
        assert!(!scratch.path().join("o.vmdk").exists());
    }

    /// Runs a request, and returns the texts of its warnings.
    fn warnings_of(request: &serde_json::Value) -> Vec<String> {
        let request: ConvertRequest = serde_json::from_value(request.clone()).unwrap();
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&warnings);
        let sink = Arc::new(move |event: crate::runner::JobEvent| {
            if let EventBody::Diagnostics { text, .. } = event.body {
                sink.lock().unwrap().push(text);
            }
        });
        let reporter = Reporter::new(sink, Arc::new(AtomicBool::new(false)));
        run(&request, Path::new("/nonexistent"), &reporter).unwrap_or_else(|failures| panic!("{failures:?}"));
        let warnings = warnings.lock().unwrap();
        warnings.clone()
    }

    #[test]
    fn a_machine_is_carried_from_package_to_package() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name).to_string_lossy().into_owned();
        std::fs::write(path("a.raw"), vec![1; 1 << 20]).unwrap();
        std::fs::write(path("b.raw"), vec![2; 2 << 20]).unwrap();
        let first = serde_json::json!({
            "inputs": [{"path": path("a.raw")}, {"path": path("b.raw")}],
            "outputs": [{"path": path("web.ova")}],
            "machine": {"name": "its name", "cpus": 3, "memory_mib": 1024, "secure_boot": true, "guest_os": "debian12-64",
                "nics": ["virtio:lan"], "buses": ["nvme", "pvscsi"]},
        });
        assert_eq!(warnings_of(&first), Vec::<String>::new());
        let one = |from: &str, to: &str| serde_json::json!({ "inputs": [{"path": path(from)}], "outputs": [{"path": path(to)}] });
        let warnings = warnings_of(&one("web.ova", "web.vmx"));
        assert_eq!(warnings.len(), 2, "{warnings:#?}");
        assert!(
            warnings[0].ends_with("web.vmx: network card 1 is vmxnet3, for VMware has no virtio card"),
            "{warnings:?}"
        );
        let vmx = std::fs::read_to_string(path("web.vmx")).unwrap();
        for line in [
            "displayName = \"its name\"",
            "numvcpus = \"3\"",
            "uefi.secureBoot.enabled = \"TRUE\"",
            "guestOS = \"debian12-64\"",
            "ethernet0.virtualDev = \"vmxnet3\"",
            // The disk on SCSI comes first for a firmware, and for what reads the machine.
            "nvme0:0.fileName = \"web-disk2.vmdk\"",
            "scsi0:0.fileName = \"web-disk1.vmdk\"",
        ] {
            assert!(vmx.lines().any(|found| found == line), "{line} in\n{vmx}");
        }
        // Into the same folder, where names are taken; a device that is not carried is named, and an option wins.
        std::fs::write(path("web.vmx"), format!("{vmx}serial0.present = \"TRUE\"\n")).unwrap();
        let mut back = one("web.vmx", "web.ovf");
        back["machine"] = serde_json::json!({ "cpus": 1 });
        let warnings = warnings_of(&back);
        assert!(warnings[0].ends_with("web.vmx: not carried over: a serial port"), "{warnings:?}");
        let ovf = std::fs::read_to_string(path("web.ovf")).unwrap();
        assert!(ovf.contains("web-ovf-disk2.vmdk") && ovf.contains("<rasd:VirtualQuantity>1<"), "{ovf}");
        assert!(ovf.contains("VirtualSCSI") && ovf.contains("debian12_64Guest") && ovf.contains("VmxNet3"), "{ovf}");
        // One disk of it is a machine with that disk.
        let chosen = one("web.ovf:web-ovf-disk2.vmdk", "one.vmx");
        assert_eq!(warnings_of(&chosen), Vec::<String>::new());
        let vmx = std::fs::read_to_string(path("one.vmx")).unwrap();
        assert!(vmx.contains("nvme0:0.fileName = \"one-disk1.vmdk\"") && !vmx.contains("scsi0"), "{vmx}");
        let disk =
            open_source(&serde_json::from_value(serde_json::json!({ "path": path("one.vmx") })).unwrap()).unwrap();
        assert_eq!(disk.virtual_size(), 1 << 20);
    }

    #[test]
    fn the_disks_of_one_machine_are_carried() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name).to_string_lossy().into_owned();
        std::fs::write(path("a.raw"), vec![1; 1 << 20]).unwrap();
        std::fs::write(path("b.raw"), vec![2; 2 << 20]).unwrap();
        let system = |name: &str, disk: &str| {
            format!(
                "<VirtualSystem id='{name}'><VirtualHardwareSection><Item><HostResource>ovf:/disk/{disk}</HostResource>\
                 <ResourceType>17</ResourceType></Item></VirtualHardwareSection></VirtualSystem>"
            )
        };
        let package = |systems: &str| {
            format!(
                "<Envelope><References><File id='f1' href='a.raw'/><File id='f2' href='b.raw'/></References><DiskSection>\
                 <Disk diskId='d1' fileRef='f1'/><Disk diskId='d2' fileRef='f2'/></DiskSection>{systems}</Envelope>"
            )
        };
        let convert = |from: &str, to: &str| {
            warnings_of(&serde_json::json!({ "inputs": [{"path": path(from)}], "outputs": [{"path": path(to)}] }));
            std::fs::read_to_string(path(to)).unwrap()
        };
        // A disk that hangs on no machine is none of the machine's.
        std::fs::write(path("one.ovf"), package(&system("one", "d2"))).unwrap();
        let vmx = convert("one.ovf", "one.vmx");
        assert!(vmx.contains("one-disk1.vmdk") && !vmx.contains("one-disk2.vmdk"), "{vmx}");
        let disk =
            open_source(&serde_json::from_value(serde_json::json!({ "path": path("one.vmx") })).unwrap()).unwrap();
        assert_eq!(disk.virtual_size(), 2 << 20);
        // Of several machines a disk says which.
        let systems = format!(
            "<VirtualSystemCollection>{}{}</VirtualSystemCollection>",
            system("first", "d1"),
            system("second", "d2")
        );
        std::fs::write(path("two.ovf"), package(&systems)).unwrap();
        let vmx = convert("two.ovf:b.raw", "two.vmx");
        assert!(vmx.contains("displayName = \"second\""), "{vmx}");
        // A file at two places is one disk, when it is chosen.
        let places = "sata0.present = \"TRUE\"\nsata0:0.present = \"TRUE\"\nsata0:0.fileName = \"a.raw\"\n\
                      sata0:1.present = \"TRUE\"\nsata0:1.fileName = \"a.raw\"\n";
        std::fs::write(path("twice.vmx"), places).unwrap();
        let ovf = convert("twice.vmx:a.raw", "once.ovf");
        assert!(ovf.contains("once-disk1.vmdk") && !ovf.contains("once-disk2.vmdk"), "{ovf}");
    }
}
