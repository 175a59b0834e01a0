//! Outputs to pipes: the same bytes as in a file, whatever the format, and nothing that hangs or is replaced.

use std::io::Read;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use kiln_disk_formats::package::MachineDescription;
use kiln_disk_formats::{
    ConvertOptions, DiskAdapter, ErrorKind, NoProgress, Output, OutputKind, Qcow2Options, VhdVariant, VmdkOptions,
    VmdkSubformat, convert, is_stream,
};

use crate::sample::{Bench, names};

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn single_files() -> Vec<(&'static str, OutputKind)> {
    vec![
        ("raw", OutputKind::Raw),
        ("stream.vmdk", OutputKind::vmdk_stream_optimized(DiskAdapter::LsiLogic)),
        ("fixed.vhd", OutputKind::Vhd(VhdVariant::Fixed)),
        ("sparse.vmdk", OutputKind::vmdk_monolithic_sparse(DiskAdapter::LsiLogic)),
        ("qcow2", OutputKind::qcow2()),
        ("c.qcow2", OutputKind::qcow2_compressed()),
        ("small.qcow2", OutputKind::Qcow2(Qcow2Options { cluster_size: 512, ..Qcow2Options::default() })),
        ("vdi", OutputKind::Vdi),
        ("vhd", OutputKind::Vhd(VhdVariant::Dynamic)),
        ("vhdx", OutputKind::Vhdx),
        ("ova", OutputKind::ova(MachineDescription::default())),
    ]
}

#[test]
fn a_fifo_gets_the_bytes_of_a_file_in_every_format() {
    let bench = Bench::new((70 << 20) + 1536, 30, 4);
    let fifos = bench.path("fifos");
    std::fs::create_dir(&fifos).unwrap();
    for (name, kind) in single_files() {
        // The name is written into some formats.
        let (file, report) = bench.convert(&format!("disk.{name}"), kind.clone());
        let fifo = fifos.join(format!("disk.{name}"));
        make_fifo(&fifo);
        assert!(is_stream(&fifo) && !is_stream(&file));
        let reading = thread::spawn({
            let fifo = fifo.clone();
            move || std::fs::read(fifo).unwrap()
        });
        let outputs = [Output::new(&fifo, kind), Output::new(bench.path("beside.raw"), OutputKind::Raw)];
        let piped = convert(&*bench.reader(), &outputs, &ConvertOptions::default(), &NoProgress).unwrap();
        assert!(reading.join().unwrap() == std::fs::read(&file).unwrap(), "{name}");
        assert_eq!(piped.files[0].sha256, report.files[0].sha256, "{name}");
        assert_eq!(piped.files[0].size, report.files[0].size, "{name}");
        assert!(is_stream(&fifo), "{name}: the fifo was replaced");
        assert!(std::fs::read(bench.path("beside.raw")).unwrap() == std::fs::read(&bench.raw).unwrap());
        std::fs::remove_file(bench.path("beside.raw")).unwrap();
    }
}

/// The example program, which cargo builds with all tests of the crate (not with `--test it` alone).
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/convert")
}

#[test]
fn standard_output_gets_nothing_but_the_image() {
    let bench = Bench::new(3 << 20, 20, 4);
    for output in ["-", "/dev/stdout"] {
        let done = Command::new(example()).arg(&bench.raw).arg(output).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        assert!(done.stdout == std::fs::read(&bench.raw).unwrap());
    }
    // Redirected into a file, which must be written and not replaced.
    let target = bench.path("redirected");
    std::fs::write(&target, b"before ").unwrap();
    let file = std::fs::OpenOptions::new().append(true).open(&target).unwrap();
    let done = Command::new(example()).arg(&bench.raw).arg("/dev/stdout").stdout(Stdio::from(file)).status().unwrap();
    assert!(done.success());
    assert!(std::fs::read(&target).unwrap() == [b"before ", &*std::fs::read(&bench.raw).unwrap()].concat());
}

#[test]
fn a_redirection_into_the_source_is_refused() {
    let bench = Bench::new(1 << 20, 5, 4);
    let before = std::fs::read(&bench.raw).unwrap();
    let source = std::fs::OpenOptions::new().append(true).open(&bench.raw).unwrap();
    let mut child = Command::new(example());
    let done = child.arg(&bench.raw).arg("-").stdout(Stdio::from(source)).output().unwrap();
    assert!(!done.status.success());
    assert!(String::from_utf8_lossy(&done.stderr).contains("the destination is also a source"), "{done:?}");
    assert!(std::fs::read(&bench.raw).unwrap() == before);
}

#[test]
fn a_reader_that_goes_away_is_an_error() {
    let bench = Bench::new(8 << 20, 60, 4);
    let (mut read, write) = std::io::pipe().unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", write.as_raw_fd()));
    assert!(is_stream(&path));
    let reading = thread::spawn(move || read.read_exact(&mut [0; 1000]).unwrap());
    let outputs = [Output::new(&path, OutputKind::Raw), Output::new(bench.path("a.qcow2"), OutputKind::qcow2())];
    let error = convert(&*bench.reader(), &outputs, &ConvertOptions::default(), &NoProgress).unwrap_err();
    reading.join().unwrap();
    assert_eq!(error.path(), Some(&*path));
    assert!(format!("{error:?}").contains("BrokenPipe"), "{error:?}");
    assert_eq!(names(bench.directory.path()), ["source.raw"]);
}

#[test]
fn a_fifo_without_a_reader_can_be_cancelled_at_any_stage() {
    let bench = Bench::new(8 << 20, 40, 4);
    let fifo = bench.path("fifo");
    make_fifo(&fifo);
    for (name, kind) in single_files() {
        let mut asked = 0;
        let asked = std::sync::Mutex::new(&mut asked);
        let progress = |_, _| {
            let mut asked = asked.lock().unwrap();
            **asked += 1;
            if **asked > 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let outputs = [Output::new(&fifo, kind)];
        let error = convert(&*bench.reader(), &outputs, &ConvertOptions::default(), &progress).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{name}: {error}");
        assert!(is_stream(&fifo));
    }
}

#[test]
fn a_failure_beside_a_stuck_reader_ends_the_conversion() {
    let bench = Bench::new(8 << 20, 40, 4);
    let (broken, _) = bench.convert("broken.qcow2", OutputKind::qcow2());
    let reader = kiln_disk_formats::open(&broken, None, &bench.policy()).unwrap();
    std::fs::OpenOptions::new().write(true).open(&broken).unwrap().set_len(300_000).unwrap();
    let (_read, write) = std::io::pipe().unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", write.as_raw_fd()));
    let outputs = [Output::new(path, OutputKind::Raw)];
    let error = convert(&*reader, &outputs, &ConvertOptions::default(), &NoProgress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
}

#[test]
fn what_is_several_files_does_not_go_into_a_pipe() {
    let bench = Bench::new(1 << 20, 5, 4);
    let split = VmdkOptions { subformat: VmdkSubformat::TwoGbMaxExtentSparse, ..VmdkOptions::default() };
    let machine = MachineDescription::default();
    for kind in [OutputKind::Vmdk(split), OutputKind::ovf(machine.clone()), OutputKind::vmx(machine)] {
        let outputs = [Output::new("-", kind)];
        let error = convert(&*bench.reader(), &outputs, &ConvertOptions::default(), &NoProgress).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("several files") && error.hint().is_some(), "{error}");
    }
    let twice = [Output::new("-", OutputKind::Raw), Output::new("/dev/stdout", OutputKind::qcow2())];
    let error = convert(&*bench.reader(), &twice, &ConvertOptions::default(), &NoProgress).unwrap_err();
    assert!(error.to_string().contains("same stream"), "{error}");
    assert_eq!(names(bench.directory.path()), ["source.raw"]);
}
