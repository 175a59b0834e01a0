//! What is left behind when things go wrong: nothing.

use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_disk_formats::package::{MachineDescription, MachineDisk};
use kiln_disk_formats::{
    ConvertOptions, DiskAdapter, DiskReader, ErrorKind, Extent, ExtentKind, Format, ImageInfo, NoProgress, OpenPolicy,
    Output, OutputKind, Progress, Qcow2Options, VhdVariant, VmdkOptions, VmdkSubformat, convert, create_overlay,
    create_qcow2, open,
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

/// Whoever watches the source tells only when it has been read whether that is worth anything.
#[test]
fn what_is_refused_when_it_is_whole_leaves_nothing_and_replaces_nothing() {
    struct Refusing<'a>(&'a Bench, AtomicUsize);
    impl Progress for Refusing<'_> {
        fn advance(&self, _: u64, _: u64) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }

        fn whole(&self) -> ControlFlow<()> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let visible = names(self.0.directory.path()).into_iter().filter(|name| !name.starts_with('.'));
            assert_eq!(visible.collect::<Vec<_>>(), ["a.qcow2", "source.raw"], "nothing else has its name");
            assert_eq!(std::fs::read(self.0.path("a.qcow2")).unwrap(), b"earlier");
            ControlFlow::Break(())
        }
    }
    let bench = Bench::new(4 << 20, 20, 1);
    std::fs::write(bench.path("a.qcow2"), b"earlier").unwrap();
    let mut options = ConvertOptions::default();
    options.overwrite = true;
    let refusing = Refusing(&bench, AtomicUsize::new(0));
    let error = convert(&*bench.reader(), &outputs(&bench), &options, &refusing).unwrap_err();
    assert_eq!((error.kind(), refusing.1.into_inner()), (ErrorKind::Cancelled, 1));
    assert_eq!(names(bench.directory.path()), ["a.qcow2", "source.raw"]);
    assert_eq!(std::fs::read(bench.path("a.qcow2")).unwrap(), b"earlier");
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
fn files_behind_a_source_are_never_destinations() {
    let bench = Bench::new(1 << 20, 3, 3);
    let (base, _) = bench.convert("base.qcow2", OutputKind::qcow2());
    let overlay = bench.path("overlay.qcow2");
    create_overlay(&overlay, &base, Format::Qcow2, None).unwrap();
    let flat = VmdkOptions { subformat: VmdkSubformat::MonolithicFlat, ..VmdkOptions::default() };
    let (vmdk, _) = bench.convert("disk.vmdk", OutputKind::Vmdk(flat.clone()));
    let link = bench.path("link");
    std::os::unix::fs::symlink("base.qcow2", &link).unwrap();
    let mut options = ConvertOptions::default();
    options.overwrite = true;
    let machine = MachineDescription { name: "disk".to_owned(), ..MachineDescription::default() };
    let cases = [
        (&overlay, base.clone(), OutputKind::Raw),
        (&overlay, link, OutputKind::Raw),
        (
            &overlay,
            bench.path("../").join(bench.directory.path().file_name().unwrap()).join("base.qcow2"),
            OutputKind::Raw,
        ),
        (&vmdk, bench.path("disk-flat.vmdk"), OutputKind::Raw),
        // Files beside the named one count too.
        (&vmdk, bench.path("disk.vmdk"), OutputKind::Vmdk(flat)),
        (&vmdk, bench.path("x.vmx"), OutputKind::vmx(named_disk(&machine, "disk-flat.vmdk"))),
    ];
    for (source, path, kind) in cases {
        let before = std::fs::read(&base).unwrap();
        let reader = open(source, None, &bench.policy()).unwrap();
        let error = convert(&*reader, &[Output::new(&path, kind)], &options, &NoProgress).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DestinationIsSource, "{error}");
        assert!(std::fs::read(&base).unwrap() == before);
    }
}

fn named_disk(machine: &MachineDescription, file: &str) -> MachineDescription {
    let disk = MachineDisk { file: Some(file.to_owned()), ..MachineDisk::default() };
    MachineDescription { disks: vec![disk], ..machine.clone() }
}

#[test]
fn one_name_written_in_two_ways_is_one_output() {
    let bench = Bench::new(1 << 20, 3, 3);
    std::fs::create_dir(bench.path("sub")).unwrap();
    let outputs =
        [Output::new(bench.path("x"), OutputKind::Raw), Output::new(bench.path("sub/../x"), OutputKind::qcow2())];
    let error = convert(&*bench.reader(), &outputs, &ConvertOptions::default(), &NoProgress).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

#[test]
fn sizes_over_a_formats_limit_are_refused_before_anything_is_written() {
    let vmdk = |subformat| OutputKind::Vmdk(VmdkOptions { subformat, ..VmdkOptions::default() });
    let machine = MachineDescription::default;
    const GIB: u64 = 1 << 30;
    let limits = [
        (2048 * GIB, vmdk(VmdkSubformat::MonolithicSparse)),
        (2048 * GIB, OutputKind::vmx(machine())),
        (62 << 40, vmdk(VmdkSubformat::StreamOptimized)),
        (62 << 40, vmdk(VmdkSubformat::MonolithicFlat)),
        (62 << 40, vmdk(VmdkSubformat::VmfsFlat)),
        (62 << 40, OutputKind::ova(machine())),
        (62 << 40, OutputKind::ovf(machine())),
        (9999 * (2047 << 20), vmdk(VmdkSubformat::TwoGbMaxExtentSparse)),
        (9999 * (2047 << 20), vmdk(VmdkSubformat::TwoGbMaxExtentFlat)),
        (2040 * GIB, OutputKind::Vhd(VhdVariant::Dynamic)),
        (2040 * GIB, OutputKind::Vhd(VhdVariant::Fixed)),
        (64 << 40, OutputKind::Vhdx),
        (0x3fff_ffff << 20, OutputKind::Vdi),
        (2 << 50, OutputKind::qcow2()),
        (128 << 30, OutputKind::Qcow2(Qcow2Options { cluster_size: 512, ..Qcow2Options::default() })),
    ];
    for (limit, kind) in limits {
        // An image of no bytes that says how large it is: no file system needs to hold it.
        let bench = Bench::new(1024, 0, 0);
        let huge = Huge(limit + 512);
        let outputs = [Output::new(bench.path("x.img"), kind.clone())];
        let error = convert(&huge, &outputs, &ConvertOptions::default(), &NoProgress).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{kind:?}: {error}");
        assert!(error.path().is_some() && error.hint().is_some(), "{error}");
        assert_eq!(names(bench.directory.path()), ["source.raw"], "{kind:?}");
    }
    let bench = Bench::new(1024, 0, 0);
    let largest = [Output::new(bench.path("x.vmdk"), vmdk(VmdkSubformat::MonolithicSparse))];
    convert(&Huge(2048 * GIB), &largest, &ConvertOptions::default(), &NoProgress).unwrap();
    std::fs::remove_file(bench.path("x.vmdk")).unwrap();
    assert_eq!(create_qcow2(&bench.path("x.qcow2"), u64::MAX).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(names(bench.directory.path()), ["source.raw"]);
}

/// A disk of zeroes, however large.
struct Huge(u64);

impl DiskReader for Huge {
    fn virtual_size(&self) -> u64 {
        self.0
    }

    fn extents(&self, range: Range<u64>) -> kiln_disk_formats::Result<Vec<Extent>> {
        Ok(vec![Extent { offset: range.start, len: range.end - range.start, kind: ExtentKind::Hole }])
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> kiln_disk_formats::Result<()> {
        buf.fill(0);
        Ok(())
    }

    fn info(&self) -> ImageInfo {
        ImageInfo::new(Format::Raw, self.0)
    }
}

#[test]
fn fifos_and_directories_are_not_images() {
    let bench = Bench::new(1024, 0, 0);
    assert_eq!(open(bench.directory.path(), None, &OpenPolicy::deny()).err().unwrap().kind(), ErrorKind::InvalidInput);
    assert_eq!(open(&bench.path("none"), None, &OpenPolicy::deny()).err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(open("/dev/null".as_ref(), None, &OpenPolicy::deny()).err().unwrap().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_vmdk_cannot_be_empty() {
    let bench = Bench::new(0, 0, 0);
    for subformat in VmdkSubformat::ALL {
        let kind = OutputKind::Vmdk(VmdkOptions { subformat, ..VmdkOptions::default() });
        let outputs = [Output::new(bench.path("x.vmdk"), kind)];
        let error = convert(&*bench.reader(), &outputs, &ConvertOptions::default(), &NoProgress).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!(names(bench.directory.path()), ["source.raw"]);
}
