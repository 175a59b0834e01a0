//! What is left behind when things go wrong: nothing.

use std::ops::ControlFlow;

use kiln_disk_formats::package::MachineDescription;
use kiln_disk_formats::{
    ConvertOptions, DiskAdapter, ErrorKind, Format, NoProgress, OpenPolicy, Output, OutputKind, convert, create_qcow2,
    open,
};

use crate::sample::{Bench, names};

fn outputs(bench: &Bench) -> Vec<Output> {
    vec![
        Output::new(bench.path("a.raw"), OutputKind::Raw),
        Output::new(bench.path("a.qcow2"), OutputKind::qcow2_compressed()),
        Output::new(bench.path("a.vmdk"), OutputKind::vmdk_stream_optimized(DiskAdapter::LsiLogic)),
        Output::new(bench.path("a.ovf"), OutputKind::ovf(MachineDescription::default())),
        Output::new(bench.path("a.ova"), OutputKind::ova(MachineDescription::default())),
    ]
}

#[test]
fn cancelling_leaves_nothing() {
    let bench = Bench::new(40 << 20, 60, 1);
    for stop_at in [0, 1, 20 << 20, 40 << 20] {
        let progress = |done: u64, _| if done >= stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let error = convert(&*bench.reader(), &outputs(&bench), &ConvertOptions::default(), &progress).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert_eq!(names(bench.directory.path()), ["source.raw"]);
    }
}

#[test]
fn an_unreadable_source_leaves_nothing() {
    let bench = Bench::new(8 << 20, 30, 2);
    let (path, _) = bench.convert("broken.qcow2", OutputKind::qcow2());
    // The reader sees the table, then the data is gone.
    let reader = open(&path, Some(Format::Qcow2), &OpenPolicy::deny()).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(200_000).unwrap();
    let error = convert(&*reader, &outputs(&bench), &ConvertOptions::default(), &NoProgress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
    assert_eq!(error.path(), Some(path.as_path()));
    assert_eq!(names(bench.directory.path()), ["broken.qcow2", "source.raw"]);
}

#[test]
fn existing_files_are_kept_unless_overwriting_is_allowed() {
    let bench = Bench::new(1 << 20, 3, 3);
    let outputs = outputs(&bench);
    std::fs::write(bench.path("a.mf"), b"mine").unwrap();
    let error = convert(&*bench.reader(), &outputs, &ConvertOptions::default(), &NoProgress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(error.path(), Some(bench.path("a.mf").as_path()));
    assert!(error.hint().is_some());
    assert_eq!(names(bench.directory.path()), ["a.mf", "source.raw"]);
    let mut options = ConvertOptions::default();
    options.overwrite = true;
    convert(&*bench.reader(), &outputs, &options, &NoProgress).unwrap();
    assert_ne!(std::fs::read(bench.path("a.mf")).unwrap(), b"mine");
}

#[test]
fn a_source_is_never_a_destination() {
    let bench = Bench::new(1 << 20, 3, 3);
    let link = bench.path("link.raw");
    std::fs::hard_link(&bench.raw, &link).unwrap();
    let mut options = ConvertOptions::default();
    options.overwrite = true;
    for path in [&bench.raw, &link] {
        let error =
            convert(&*bench.reader(), &[Output::new(path, OutputKind::Raw)], &options, &NoProgress).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DestinationIsSource);
    }
}

#[test]
fn outputs_that_cannot_be_are_refused_before_any_work() {
    let bench = Bench::new(1 << 20, 3, 3);
    let same = vec![Output::new(bench.path("x"), OutputKind::Raw), Output::new(bench.path("x"), OutputKind::qcow2())];
    let no_directory = vec![Output::new(bench.path("no/x"), OutputKind::Raw)];
    let invalid = MachineDescription { cpus: 0, ..MachineDescription::default() };
    let bad_machine = vec![Output::new(bench.path("x.ova"), OutputKind::ova(invalid))];
    let cases =
        [(same, ErrorKind::InvalidInput), (no_directory, ErrorKind::NotFound), (bad_machine, ErrorKind::InvalidInput)];
    for (outputs, kind) in cases {
        let error = convert(&*bench.reader(), &outputs, &ConvertOptions::default(), &NoProgress).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    assert_eq!(names(bench.directory.path()), ["source.raw"]);
}

#[test]
fn sizes_over_a_formats_limit_are_refused() {
    let bench = Bench::new(3 << 40, 0, 0);
    let outputs = [Output::new(bench.path("x.vmdk"), OutputKind::vmdk_monolithic_sparse(DiskAdapter::Ide))];
    let error = convert(&*bench.reader(), &outputs, &ConvertOptions::default(), &NoProgress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(create_qcow2(&bench.path("x.qcow2"), u64::MAX).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(names(bench.directory.path()), ["source.raw"]);
}

#[test]
fn fifos_and_directories_are_not_images() {
    let bench = Bench::new(1024, 0, 0);
    assert_eq!(open(bench.directory.path(), None, &OpenPolicy::deny()).err().unwrap().kind(), ErrorKind::InvalidInput);
    assert_eq!(open(&bench.path("none"), None, &OpenPolicy::deny()).err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(open("/dev/null".as_ref(), None, &OpenPolicy::deny()).err().unwrap().kind(), ErrorKind::InvalidInput);
}
