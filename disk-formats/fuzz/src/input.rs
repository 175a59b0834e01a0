//! The one entry of all targets: from an input's bytes to a judged image.

use std::path::Path;
use std::sync::Mutex;

use kiln_disk_formats::package::vmx::Vmx;
use kiln_disk_formats::{
    Compression, DiskAdapter, ErrorKind, Format, OpenPolicy, OutputKind, Qcow2Method, Qcow2Options, VhdVariant,
    VmdkOptions, VmdkSubformat, archived_disks, content_digest, detect, open, package_facts, packaged_machine,
};

use crate::archive;
use crate::oracle;
use crate::playground::{NAMES, Playground};
use crate::repair;
use crate::sparse_file::{self, SparseFile};
use crate::written::{Files, Images, Plan};

/// Most bytes that a packed image may unpack to here.
const MAX_UNPACKED: u64 = 8 << 20;

/// The input is a plan for our writer, not a set of files.
pub const WRITTEN: u8 = 1;
/// Files in the image's directory may be opened.
pub const ALLOW: u8 = 2;
/// Checksums are made right.
pub const REPAIR: u8 = 4;
/// The format is found out.
pub const DETECT: u8 = 8;
/// The content digest is computed too, by the whole pipeline.
pub const DIGEST: u8 = 16;

/// Longest archive that is packed here in bytes.
const MAX_PACKED: u64 = 256 << 10;

/// Largest disk whose digest is computed in bytes.
const MAX_DIGESTED: u64 = 8 << 20;

/// A target: what it opens, and what our writers make for it.
pub struct Target {
    format: Option<Format>,
    kinds: Vec<OutputKind>,
    playground: Playground,
    images: Mutex<Images>,
}

impl Target {
    /// Makes the target for one format, or for finding out the format.
    pub fn new(format: Option<Format>, kinds: Vec<OutputKind>) -> Self {
        Self { format, kinds, playground: Playground::new(), images: Mutex::default() }
    }

    /// Judges one input.
    pub fn run(&self, input: &[u8]) {
        let Some((flags, input)) = input.split_first() else { return };
        match flags & WRITTEN {
            0 => self.run_files(*flags, input),
            _ => self.run_written(*flags, input),
        }
    }

    /// Judges an archive whose descriptor, of this name, is `text`, with two files that it can name.
    pub fn run_descriptor(&self, name: &str, text: &[u8]) {
        let disk = [0x55; 512];
        self.run_bytes(ALLOW, archive::tar(&[(name, text), ("a", &disk), ("b.000000000", &disk)]));
    }

    /// Judges a VMX: what is read is written and read as the same, and its archive as any other.
    pub fn run_vmx(&self, text: &[u8]) {
        if let Ok(vmx) = Vmx::from_bytes(text) {
            let again = Vmx::from_bytes(vmx.to_string().as_bytes()).expect("what was written is read");
            assert_eq!(again.to_string(), vmx.to_string());
        }
        self.run_descriptor("a.vmx", text);
    }

    /// Judges one input as an archive that is packed.
    pub fn run_box(&self, input: &[u8]) {
        let Some((flags, input)) = input.split_first() else { return };
        let [mut tar, ..] = sparse_file::decode(input);
        if tar.len > MAX_PACKED {
            return;
        }
        if flags & REPAIR != 0 {
            repair::checksums(&mut tar);
        }
        let mut bytes = vec![0; tar.len as usize];
        tar.fill(0, &mut bytes);
        self.run_bytes(flags & DIGEST | ALLOW, archive::gzip(&bytes));
    }

    fn run_bytes(&self, flags: u8, bytes: Vec<u8>) {
        let file = SparseFile { len: bytes.len() as u64, pieces: vec![(0, bytes)] };
        self.playground.lay_out([(NAMES[0], &file)]);
        self.judge(flags);
    }

    fn run_files(&self, flags: u8, input: &[u8]) {
        let mut files = sparse_file::decode(input);
        if flags & REPAIR != 0 {
            files.iter_mut().for_each(repair::checksums);
        }
        let files: Vec<_> = NAMES.into_iter().zip(&files).filter(|(_, file)| **file != SparseFile::default()).collect();
        self.playground.lay_out(files);
        if self.playground.image().exists() {
            self.judge(flags);
        }
    }

    fn run_written(&self, flags: u8, input: &[u8]) {
        let Ok(plan) = Plan::arbitrary(input, self.kinds.len()) else { return };
        let mut images = self.images.lock().unwrap();
        let Some(pristine) = images.write(&self.playground, &plan.disk, plan.kind, &self.kinds[plan.kind]) else {
            return;
        };
        let mut files: Files = (*pristine).clone();
        for damage in &plan.damage {
            damage.apply(&mut files);
        }
        if flags & REPAIR != 0 {
            files.iter_mut().for_each(|(_, file)| repair::checksums(file));
        }
        self.playground.lay_out(files.iter().map(|(name, file)| (name.as_str(), file)));
        let reader = self.judge(flags);
        if plan.damage.is_empty() {
            // A raw disk is recognised by having no signature, which its content may contain.
            let reader = match (reader, self.format) {
                (_, None) if self.kinds[plan.kind].disk_format() == Format::Raw => return,
                (Some(reader), _) => reader,
                (None, _) => {
                    let needs_others = flags & ALLOW == 0 && files.len() > 1;
                    assert!(needs_others, "what was written does not open: {:?}", plan.disk);
                    return;
                }
            };
            oracle::assert_same(&*reader, &plan.disk);
            let format = self.kinds[plan.kind].disk_format();
            assert!(format == Format::Raw || detect(&self.playground.image()).is_ok_and(|found| found == format));
        }
    }

    /// Opens the image and asks it everything.
    fn judge(&self, flags: u8) -> Option<Box<dyn kiln_disk_formats::DiskReader>> {
        let allow = flags & ALLOW != 0;
        let mut policy = match allow {
            true => OpenPolicy::allow_below(vec![self.playground.images().to_path_buf()]),
            false => OpenPolicy::deny(),
        };
        // The default is minutes of work for a small input.
        policy.max_unpacked_size = MAX_UNPACKED;
        let image = self.playground.image();
        let format = self.format.filter(|_| flags & DETECT == 0);
        if let Err(error) = self.playground.watched(false, || detect(&image)) {
            oracle::check_error(&error);
        }
        if self.format.is_none() {
            self.playground.watched(false, || judge_package(&image));
        }
        let opened = self.playground.watched(allow, || {
            let reader = open(&image, format, &policy)?;
            oracle::examine(&*reader);
            Ok::<_, kiln_disk_formats::Error>(reader)
        });
        let reader = match opened {
            Ok(reader) => reader,
            Err(error) => {
                oracle::check_error(&error);
                assert!(!allow || error.kind() != ErrorKind::PermissionDenied, "{error:?}");
                return None;
            }
        };
        if flags & DIGEST != 0 && reader.virtual_size() <= MAX_DIGESTED {
            let digest = || {
                let options = kiln_disk_formats::ConvertOptions::default();
                content_digest(&*reader, &options, &kiln_disk_formats::NoProgress).map_err(|error| error.kind())
            };
            let (first, second) = (digest(), digest());
            assert_eq!(first.is_ok(), second.is_ok());
            assert!(first.is_err() || first == second);
        }
        Some(reader)
    }
}

/// Asks what an archive says of itself: the disks of its descriptor are those that it holds.
fn judge_package(image: &Path) {
    let (facts, disks) = (package_facts(image), archived_disks(image));
    let machine = packaged_machine(image, &OpenPolicy::deny());
    for error in [facts.as_ref().err(), disks.as_ref().err(), machine.as_ref().err()].into_iter().flatten() {
        oracle::check_error(error);
    }
    if let (Ok(Some(facts)), Ok(disks)) = (facts, disks)
        && !facts.disks.is_empty()
    {
        let described: Vec<_> = facts.disks.into_iter().map(|disk| disk.file.unwrap_or(disk.id)).collect();
        assert_eq!(described, disks);
    }
}

/// Returns what our writers make of a format.
pub fn kinds_of(format: Format) -> Vec<OutputKind> {
    let qcow2 =
        |compression, method, cluster_size| OutputKind::Qcow2(Qcow2Options { compression, method, cluster_size });
    match format {
        Format::Qcow2 => vec![
            qcow2(None, Qcow2Method::Zlib, 65536),
            qcow2(None, Qcow2Method::Zlib, 512),
            qcow2(Some(Compression::Fast), Qcow2Method::Zlib, 4096),
            qcow2(Some(Compression::Fast), Qcow2Method::Zlib, 65536),
            qcow2(Some(Compression::Fast), Qcow2Method::Zstd, 4096),
            qcow2(Some(Compression::Fast), Qcow2Method::Zstd, 65536),
        ],
        Format::Vmdk => VmdkSubformat::ALL
            .into_iter()
            .map(|subformat| {
                OutputKind::Vmdk(VmdkOptions {
                    subformat,
                    adapter: DiskAdapter::Ide,
                    compression: Compression::Fast,
                    hardware_version: Some(4),
                })
            })
            .collect(),
        Format::Vdi => vec![OutputKind::Vdi],
        Format::Vhd => vec![OutputKind::Vhd(VhdVariant::Dynamic), OutputKind::Vhd(VhdVariant::Fixed)],
        Format::Vhdx => vec![OutputKind::Vhdx],
        _ => vec![OutputKind::Raw],
    }
}

/// Runs inputs against the target of a format.
#[macro_export]
macro_rules! target {
    ($format:expr, $kinds:expr) => {
        static TARGET: std::sync::LazyLock<$crate::input::Target> =
            std::sync::LazyLock::new(|| $crate::input::Target::new($format, $kinds));
        libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET.run(input));
    };
}
