//! Writes seeds: small images by our writers and by qemu-img, as inputs of the targets. `seeds DIRECTORY` makes a folder per target.

// The coverage instrumentation calls into libFuzzer.
use libfuzzer_sys as _;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kiln_disk_formats::package::{MachineDescription, every_journey_of};
use kiln_disk_formats::{ConvertOptions, Format, NoProgress, OpenPolicy, Output, OutputKind, convert, open};
use kiln_disk_formats_fuzz::archive;
use kiln_disk_formats_fuzz::input::{ALLOW, DIGEST, REPAIR, WRITTEN, kinds_of};
use kiln_disk_formats_fuzz::sparse_file::{SparseFile, encode};

/// What qemu-img is asked for: the target, and its arguments.
const QEMU: [(&str, &[&str]); 22] = [
    ("qcow2", &["qcow2", "-o", "cluster_size=512"]),
    ("qcow2", &["qcow2", "-o", "cluster_size=4k,compat=0.10"]),
    ("qcow2", &["qcow2", "-c", "-o", "cluster_size=4k"]),
    ("qcow2", &["qcow2", "-c", "-o", "cluster_size=4k,compression_type=zstd"]),
    ("qcow2", &["qcow2", "-o", "cluster_size=16k,extended_l2=on"]),
    ("qcow2", &["qcow2", "-c", "-o", "cluster_size=16k,extended_l2=on"]),
    ("qcow2", &["qcow2", "-o", "preallocation=metadata"]),
    ("qcow2", &["qcow2", "-o", "lazy_refcounts=on,refcount_bits=1"]),
    ("vmdk", &["vmdk"]),
    ("vmdk", &["vmdk", "-o", "subformat=streamOptimized"]),
    ("vmdk", &["vmdk", "-o", "zeroed_grain=on"]),
    ("vmdk", &["vmdk", "-o", "hwversion=7,adapter_type=lsilogic"]),
    ("vdi", &["vdi"]),
    ("vdi", &["vdi", "-o", "static=on"]),
    ("vhd", &["vpc"]),
    ("vhd", &["vpc", "-o", "force_size=on"]),
    ("vhd", &["vpc", "-o", "subformat=fixed"]),
    ("vhdx", &["vhdx"]),
    ("vhdx", &["vhdx", "-o", "block_size=1M"]),
    ("vhdx", &["vhdx", "-o", "subformat=fixed"]),
    ("vhdx", &["vhdx", "-o", "log_size=2M"]),
    ("raw", &["raw"]),
];

/// A directory of seeds.
struct Seeds {
    directory: PathBuf,
    made: usize,
}

impl Seeds {
    fn add(&mut self, target: &str, flags: u8, body: &[u8]) -> io::Result<()> {
        for target in [target, "detect"] {
            let directory = self.directory.join(target);
            std::fs::create_dir_all(&directory)?;
            std::fs::write(directory.join(format!("seed-{:03}", self.made)), [&[flags], body].concat())?;
        }
        self.made += 1;
        Ok(())
    }

    /// Adds an image with the files it names, for both policies.
    fn add_files(&mut self, target: &str, files: &[SparseFile]) -> io::Result<()> {
        let body = encode(files);
        self.add(target, REPAIR | ALLOW | DIGEST, &body)?;
        self.add(target, 0, &body)
    }
}

/// A disk with a little of everything at odd places, small when packed.
fn disk(path: &Path, size: usize) -> io::Result<()> {
    let mut bytes = vec![0; size];
    bytes[..64].fill(0x11);
    for (at, byte) in bytes.iter_mut().enumerate().skip(size / 3).take(3000) {
        *byte = (at * 7 % 251) as u8;
    }
    bytes[size - 600..].fill(0x77);
    std::fs::write(path, bytes)
}

fn qemu_img(arguments: &[&str]) -> bool {
    Command::new("qemu-img").args(arguments).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A file as packed by one of Debian's tools.
fn packed(tool: &str, path: &Path) -> Option<Vec<u8>> {
    let output = Command::new(tool).arg("-c").arg(path).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

/// Descriptors that name other files, inside and outside of what a policy allows.
fn descriptors() -> Vec<String> {
    let start = "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"custom\"\n";
    let child = start.replace("parentCID=ffffffff", "parentCID=fffffffe\nparentFileNameHint=\"a\"");
    vec![
        format!("{start}RW 8 FLAT \"a\" 0\nRW 16 ZERO\nRW 4 FLAT \"b\" 1\n"),
        format!("{start}RW 8192 VMFS \"a\"\n"),
        format!("{start}RW 2048 SPARSE \"a\"\nRW 2048 SPARSE \"b\"\n"),
        format!("{start}RW 2048 VMFSSPARSE \"a\"\n"),
        format!("{start}RW 2048 SESPARSE \"a\"\n"),
        format!("{start}RW 2048 FLAT \"link\" 0\n"),
        format!("{start}RW 2048 FLAT \"../outside/decoy\" 0\n"),
        format!("{child}RW 2048 SPARSE \"b\"\n"),
    ]
}

/// An empty COWD extent with one grain.
fn cowd() -> SparseFile {
    let mut header = b"COWD\x01\0\0\0\x03\0\0\0\0\x08\0\0\x01\0\0\0\x04\0\0\0\x01\0\0\0".to_vec();
    header.resize(2048, 0);
    // The directory in sector 4, its table from sector 8 on, a grain in sector 48.
    let pieces =
        vec![(0, header), (4 * 512, vec![8, 0, 0, 0]), (8 * 512 + 4, vec![48, 0, 0, 0]), (48 * 512, vec![7; 512])];
    SparseFile { len: 64 * 512, pieces }
}

/// A seSparse extent with one grain (offsets and sizes in sectors).
fn se_sparse() -> SparseFile {
    let words: [u64; 24] =
        [0xcafe_babe, 0x2_0000_0001, 2048, 8, 64, 0, 0, 0, 0, 0, 1, 1, 2, 1, 3, 1, 4, 8, 16, 64, 80, 8, 88, 8];
    let mut header: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    header.extend([0; 16]);
    header[192..208].copy_from_slice(&[96u64.to_le_bytes(), 64u64.to_le_bytes()].concat());
    let pieces = vec![
        (0, header),
        (512, 0xcafe_cafeu64.to_le_bytes().to_vec()),
        (4 * 512, 0x1000_0000_0000_0000u64.to_le_bytes().to_vec()),
        (16 * 512 + 8, 0x3000_0000_0000_0000u64.to_le_bytes().to_vec()),
        (96 * 512, vec![7; 4096]),
    ];
    SparseFile { len: 160 * 512, pieces }
}

/// An image over another, as qemu-img makes it; formats of image and backing file.
fn overlay(seeds: &mut Seeds, directory: &Path, format: &str, backing: &str) -> io::Result<()> {
    let (image, base) = (directory.join("disk.img"), directory.join("a"));
    qemu_img(&["convert", "-f", "raw", "-O", backing, text(&directory.join("source")), text(&base)]);
    let _ = std::fs::remove_file(&image);
    if qemu_img(&["create", "-f", format, "-b", "a", "-F", backing, text(&image)]) {
        seeds.add_files(format, &[SparseFile::read(&image)?, SparseFile::read(&base)?])?;
    }
    Ok(())
}

/// Short descriptors of OVF: disks in one file, in parts, empty and chained; sections; machines; encodings.
fn ovf_descriptors() -> Vec<Vec<u8>> {
    let of = |inside: &str| format!("<Envelope xmlns:ovf=\"o\" xmlns:rasd=\"r\" xmlns:xsi=\"x\">{inside}</Envelope>");
    let files = "<References><File ovf:id=\"f\" ovf:href=\"a\"/><File ovf:id=\"g\" ovf:href=\"b\" ovf:size=\"512\" ovf:chunkSize=\"512\"/></References>";
    let disk = |rest: &str| of(&format!("{files}<DiskSection><Disk ovf:diskId=\"d\" {rest}/></DiskSection>"));
    let texts = vec![
        disk("ovf:fileRef=\"f\" ovf:capacity=\"1\" ovf:capacityAllocationUnits=\"byte * 2^9\""),
        disk("ovf:fileRef=\"g\""),
        disk("ovf:capacity=\"9\" ovf:capacityAllocationUnits=\"KB\""),
        disk("ovf:fileRef=\"f\" ovf:parentRef=\"e\""),
        of(&format!(
            "{files}<DiskSection><Disk fileRef=\"f\"/></DiskSection><DiskSection><Disk fileRef=\"g\"/></DiskSection>"
        )),
        of(&format!("{files}<Section xsi:type=\"ovf:DiskSection_Type\"><Disk fileRef=\"f\"/></Section>")),
        of(
            "<VirtualSystemCollection><VirtualSystem ovf:id=\"v\"><VirtualHardwareSection><Item><rasd:ResourceType>4</rasd:ResourceType>\
            <rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>\
            <Config key=\"firmware\" value=\"efi\"/></VirtualHardwareSection></VirtualSystem></VirtualSystemCollection>",
        ),
        of(
            "<DeploymentOptionSection><Configuration ovf:id=\"c\" ovf:default=\"1\"/></DeploymentOptionSection><!-- c --><![CDATA[x]]>&amp;&#65;",
        ),
        format!("<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>{}", disk("ovf:fileRef=\"f\"")),
    ];
    let utf16 = disk("ovf:fileRef=\"f\"").encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    texts.into_iter().map(String::into_bytes).chain([[&[0xff, 0xfe][..], &utf16].concat()]).collect()
}

/// Fronts of stores of UEFI variables: VMware's with an installed system's boot entry, and what is made of it.
fn nvrams() -> Vec<Vec<u8>> {
    /// UEFI itself, which owns boot entries.
    const OWNER: [u8; 16] =
        [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c];
    let utf16 = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let partition = [&[4, 1, 42, 0, 1, 0, 0, 0][..], &[8; 16], &[7; 16], &[2, 2]].concat();
    let path = [&partition[..], &[4, 4, 10, 0], &utf16("\\a\0"), &[0x7f, 0xff, 4, 0]].concat();
    let entry = [&[1, 0, 0, 0, path.len() as u8, 0][..], &utf16("a\0"), &path].concat();
    let variable = |name: &str, data: &[u8]| {
        let name = utf16(&format!("{name}\0"));
        let lengths = [7, (name.len() + data.len()) as u32, name.len() as u32].map(u32::to_le_bytes);
        [&OWNER[..], lengths.as_flattened(), &name, data].concat()
    };
    let variables = [variable("BootOrder", &[5, 0]), variable("Boot0005", &entry), variable("PK", &[1; 50])].concat();
    let length = (variables.len() as u32 + 16).to_le_bytes();
    let vmwares =
        [b"MRVN\x01\0\0\0EFI_NV\0\0\0\0\x04\0VMWNVRAM\0\0\0\0", &length[..], &variables, &[0xff; 64]].concat();
    let made = every_journey_of(&vmwares);
    let fronts = made.into_iter().map(|mut store| {
        store.truncate(1024);
        store
    });
    std::iter::once(vmwares).chain(fronts).collect()
}

/// Short VMX files: disks on every bus, cards, escapes, encodings, comments.
fn vmx_files() -> Vec<Vec<u8>> {
    let disk = |place: &str, more: &str| {
        let (bus, _) = place.split_once(':').expect("a place on a bus");
        format!("{bus}.present = \"TRUE\"\n{place}.present = \"TRUE\"\n{place}.fileName = \"a\"\n{more}")
    };
    let texts = [
        disk("sata0:0", "memsize = \"512\"\nnumvcpus = \"2\"\n"),
        disk("scsi1:9", "scsi1.virtualDev = \"pvscsi\"\nfirmware = \"efi\"\nnvram = \"b\"\n"),
        disk("ide0:1", "ide0:1.deviceType = \"disk\"\nide1:0.present = \"TRUE\"\nide1:0.deviceType = \"cdrom-raw\"\n"),
        disk(
            "nvme0:0",
            "# note\nethernet0.present = \"TRUE\"\nethernet0.virtualDev = \"vmxnet3\"\nethernet0.vnet = \"vmnet3\"\n",
        ),
        "annotation = \"a|0Ab|22|7C\"\nguestOS = debian12-64\nvirtualHW.version = 19\n".to_owned(),
    ];
    let latin = b".encoding = \"windows-1252\"\ndisplayName = \"b\xfccher\"\n".to_vec();
    texts.into_iter().map(String::into_bytes).chain([latin]).collect()
}

/// Short archives, as different programs write them.
fn archives() -> Vec<Vec<u8>> {
    let ovf = ovf_descriptors().swap_remove(0);
    let (disk, long) = ([0x55; 512], format!("{}/a", "d".repeat(120)));
    let end = vec![0; 1024];
    // GNU tar's old map: one run of 512 bytes at 4096 in a file of 8192.
    let mut sparse = archive::member(b'S', "disk.raw", &disk);
    sparse[257..265].copy_from_slice(b"ustar  \0");
    sparse[386..410].copy_from_slice(b"00000010000\x0000000001000\0");
    sparse[483..495].copy_from_slice(b"00000020000\0");
    let pax = [b"19 path=./disk.raw\n".as_slice(), b"16 mtime=1234.5\n"].concat();
    let map = [&b"1\n0\n512\n"[..], &[0; 503], &disk].concat();
    let pax_map =
        b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n28 GNU.sparse.name=disk.raw\n28 GNU.sparse.realsize=4096\n";
    vec![
        archive::tar(&[("web.ovf", &ovf), ("web.mf", b"SHA256(a)= 00\n"), ("a", &disk)]),
        archive::tar(&[("./a", &disk), ("./._web.ovf", b"x"), ("./web.ovf", &ovf)]),
        archive::tar(&[("metadata.json", b"{}"), ("Vagrantfile", b""), ("box.img", &disk)]),
        archive::tar(&[("ova.xml", b"<value/>"), ("Ref:1/00000000", &disk)]),
        [archive::member(b'x', "PaxHeaders/x", &pax), archive::member(b'0', "x", &disk), end.clone()].concat(),
        [archive::member(b'L', "././@LongLink", long.as_bytes()), archive::member(b'0', "d", &disk), end.clone()]
            .concat(),
        [archive::member(b'x', "PaxHeaders/x", pax_map), archive::member(b'0', "x", &map), end.clone()].concat(),
        [sparse, end.clone()].concat(),
        [archive::member(b'5', "d/", b""), archive::member(b'2', "d/disk.raw", b""), end].concat(),
    ]
}

fn main() -> io::Result<()> {
    let directory = PathBuf::from(std::env::args_os().nth(1).expect("usage: seeds DIRECTORY"));
    let mut seeds = Seeds { directory, made: 0 };
    let work = tempfile::tempdir()?;
    let source = work.path().join("source");
    disk(&source, (300 << 10) + 512)?;
    let reader = open(&source, Some(Format::Raw), &OpenPolicy::deny()).map_err(io::Error::other)?;
    let kinds =
        Format::ALL.into_iter().flat_map(|format| kinds_of(format).into_iter().map(move |kind| (format.name(), kind)));
    let ova = ("package", OutputKind::ova(MachineDescription::default()));
    for (target, kind) in kinds.chain([ova]) {
        let path = work.path().join("disk.img");
        let mut options = ConvertOptions::without_digests();
        options.overwrite = true;
        let report = convert(&*reader, &[Output::new(&path, kind)], &options, &NoProgress).map_err(io::Error::other)?;
        if report.files.len() == 1 {
            seeds.add_files(target, &[SparseFile::read(&path)?])?;
        }
    }
    for (target, arguments) in QEMU {
        let path = work.path().join("qemu.img");
        if qemu_img(&[&["convert", "-f", "raw", "-O"], arguments, &[text(&source), text(&path)]].concat()) {
            seeds.add_files(target, &[SparseFile::read(&path)?])?;
        }
    }
    let inner = work.path().join("inner.qcow2");
    qemu_img(&["convert", "-f", "raw", "-O", "qcow2", text(&source), text(&inner)]);
    for tool in ["gzip", "xz", "bzip2", "zstd"] {
        for path in [&source, &inner] {
            let Some(bytes) = packed(tool, path) else { continue };
            let twice = work.path().join("twice");
            std::fs::write(&twice, &bytes)?;
            seeds.add_files("packed", &[SparseFile { len: bytes.len() as u64, pieces: vec![(0, bytes)] }])?;
            if let Some(bytes) = packed("gzip", &twice) {
                seeds.add_files("packed", &[SparseFile { len: bytes.len() as u64, pieces: vec![(0, bytes)] }])?;
            }
        }
    }
    for (format, backing) in [("qcow2", "raw"), ("qcow2", "qcow2"), ("qcow2", "vmdk"), ("vmdk", "vmdk")] {
        overlay(&mut seeds, work.path(), format, backing)?;
    }
    let sparse = work.path().join("sparse.vmdk");
    convert(
        &*reader,
        &[Output::new(&sparse, OutputKind::vmdk_monolithic_sparse(Default::default()))],
        &ConvertOptions::default(),
        &NoProgress,
    )
    .map_err(io::Error::other)?;
    let (flat, sparse) = (SparseFile::read(&source)?, SparseFile::read(&sparse)?);
    for (index, descriptor) in descriptors().into_iter().enumerate() {
        let main = SparseFile { len: descriptor.len() as u64, pieces: vec![(0, descriptor.into_bytes())] };
        let named = match index {
            2 | 7 => sparse.clone(),
            3 => cowd(),
            4 => se_sparse(),
            _ => flat.clone(),
        };
        seeds.add_files("vmdk", &[main, named.clone(), named])?;
    }
    seeds.add_files("vmdk", &[cowd()])?;
    seeds.add_files("vmdk", &[se_sparse()])?;
    for bytes in archives() {
        let files = [SparseFile { len: bytes.len() as u64, pieces: vec![(0, bytes)] }];
        seeds.add_files("package", &files)?;
        seeds.add_files("box", &files)?;
    }
    for (target, texts) in [("ovf", ovf_descriptors()), ("vmx", vmx_files()), ("nvram", nvrams())] {
        let directory = seeds.directory.join(target);
        std::fs::create_dir_all(&directory)?;
        for (index, text) in texts.into_iter().enumerate() {
            std::fs::write(directory.join(format!("seed-{index:03}")), text)?;
        }
    }
    // Plans for our writers: each kind, a few sizes, without and with damage.
    for target in ["raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx", "package"] {
        for seed in 0..24u8 {
            let plan: Vec<u8> =
                (0..60).map(|at: u8| at.wrapping_mul(37).wrapping_add(seed.wrapping_mul(11)) ^ seed).collect();
            let len = usize::from(seed % 4) * 12 + 14;
            seeds.add(target, WRITTEN | ALLOW | if seed % 2 == 0 { REPAIR } else { 0 }, &plan[..len])?;
        }
    }
    println!("{} seeds", seeds.made);
    Ok(())
}
