//! Memory is bounded by the number of threads, whatever the size of the disk, and a huge sparse disk takes seconds.

use std::ops::Range;
use std::process::Command;

use kiln_disk_formats::{
    ConvertOptions, DiskAdapter, DiskReader, Extent, ExtentKind, Format, ImageInfo, NoProgress, Output, OutputKind,
    Result, convert,
};

/// Set in the process that converts: its peak is its own, not that of all tests together.
const CHILD: &str = "KILN_TEST_MEMORY_CHILD";
/// The goal for two cores.
const LIMIT_KIB: u64 = 96 << 10;
const TIB: u64 = 1 << 40;
const MIB: u64 = 1 << 20;
/// The disk: data in front, more than the limit, and a little at places far apart.
const SIZE: u64 = 60 * TIB;
const FRONT: u64 = 192 * MIB;
const STEP: u64 = TIB;

struct HugeDisk;

impl DiskReader for HugeDisk {
    fn virtual_size(&self) -> u64 {
        SIZE
    }

    fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        let (offset, last) = (range.start, range.end.min(SIZE));
        let within = offset % STEP;
        let data = if offset < FRONT { FRONT } else { MIB };
        let (kind, end) = if within < data || offset < FRONT {
            (ExtentKind::Data, offset - within + data)
        } else {
            (ExtentKind::Hole, offset - within + STEP)
        };
        Ok(vec![Extent { offset, len: end.min(last) - offset, kind }])
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        for (chunk, at) in buf.chunks_mut(4096).zip((offset..).step_by(4096)) {
            chunk.fill(0);
            chunk[..8].copy_from_slice(&(at | 1).to_le_bytes());
        }
        Ok(())
    }

    fn info(&self) -> ImageInfo {
        ImageInfo::new(Format::Raw, SIZE)
    }
}

fn convert_huge() {
    let directory = tempfile::tempdir().unwrap();
    let outputs = [
        ("a.qcow2", OutputKind::qcow2()),
        ("b.qcow2", OutputKind::qcow2_compressed()),
        ("a.vmdk", OutputKind::vmdk_stream_optimized(DiskAdapter::LsiLogic)),
        ("a.vhdx", OutputKind::Vhdx),
    ]
    .map(|(name, kind)| Output::new(directory.path().join(name), kind));
    let mut options = ConvertOptions::without_digests();
    (options.threads, options.content_digest, options.durable) = (Some(2), true, false);
    let report = convert(&HugeDisk, &outputs, &options, &NoProgress).unwrap();
    assert_eq!(report.data_bytes, FRONT + 59 * MIB);
    assert!(peak() < LIMIT_KIB, "{} KiB at the peak, {LIMIT_KIB} at most", peak());
}

#[test]
fn a_60_tib_disk_takes_seconds_and_little_memory() {
    if std::env::var_os(CHILD).is_some() {
        return convert_huge();
    }
    let program = std::env::current_exe().unwrap();
    let name = "memory::a_60_tib_disk_takes_seconds_and_little_memory";
    let output = Command::new(program).args([name, "--exact"]).env(CHILD, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Returns the most memory this process has had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
