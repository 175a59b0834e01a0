//! A guest that boots from a CD on a web server, which QEMU reads itself.

use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::ledger::NoLedger;
use crate::qemu::testing::missing_file;
use crate::spec::MachineSpec;

/// QEMU's block driver for web servers, which is in a package of its own (Debian: qemu-block-extra); where it would be, if nowhere.
fn module() -> PathBuf {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    let beside = crate::process::find_program(QEMU)
        .and_then(|program| program.canonicalize().ok()?.parent()?.parent().map(Path::to_owned));
    let roots = beside.into_iter().chain(["/usr".into(), "/usr/local".into()]);
    let places: Vec<PathBuf> = roots
        .flat_map(|root: PathBuf| {
            [root.join("lib").join(&triplet), root.join("lib64"), root.join("lib")]
                .map(|lib| lib.join("qemu/block-curl.so"))
        })
        .collect();
    places.iter().find(|place| place.is_file()).unwrap_or(&places[0]).clone()
}

/// Bytes in a sector of a CD.
const SECTOR: usize = 2048;

/// A CD from which `guest` boots without emulation of a floppy (El Torito 1.0).
fn bootable_cd(guest: Guest) -> Vec<u8> {
    let mut cd = vec![0; 40 * SECTOR];
    let mut put = |at: usize, bytes: &[u8]| cd[at..at + bytes.len()].copy_from_slice(bytes);
    put(16 * SECTOR, b"\x01CD001\x01");
    put(17 * SECTOR, b"\x00CD001\x01EL TORITO SPECIFICATION");
    put(17 * SECTOR + 71, &19_u32.to_le_bytes());
    put(18 * SECTOR, b"\xffCD001\x01");
    // The catalogue: a validation entry whose words add up to nothing, and one to boot, of four sectors of 512 bytes, in sector 20.
    put(19 * SECTOR, b"\x01");
    put(19 * SECTOR + 28, b"\xaa\x55\x55\xaa");
    put(19 * SECTOR + 32, b"\x88\x00\x00\x00\x00\x00\x04\x00\x14");
    put(20 * SECTOR, guest.sector());
    cd
}

/// A web server with one file.
struct Server {
    url: String,
    /// The first lines of requests.
    asked: mpsc::UnboundedReceiver<String>,
}

impl Server {
    async fn start(file: Vec<u8>, has_ranges: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/cd.iso", listener.local_addr().unwrap());
        let (told, asked) = mpsc::unbounded_channel();
        // It ends with the test's runtime.
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, file.clone(), has_ranges, told.clone()));
            }
        });
        Self { url, asked }
    }
}

async fn serve(mut stream: TcpStream, file: Vec<u8>, has_ranges: bool, told: mpsc::UnboundedSender<String>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
            return;
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let range = head.lines().find_map(|line| {
        let (from, to) = line.strip_prefix("Range: bytes=")?.split_once('-')?;
        let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
        Some((from, file.len().min(to + 1)))
    });
    let ranges = if has_ranges { "Accept-Ranges: bytes\r\n" } else { "" };
    let (status, body) = match range {
        Some((from, to)) => ("206 Partial Content", file.get(from..to).unwrap_or_default()),
        None => ("200 OK", &*file),
    };
    let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{ranges}Content-Length: {}\r\n\r\n", body.len());
    let body = if head.starts_with("HEAD ") { &[][..] } else { body };
    let _ = stream.write_all(&[answer.as_bytes(), body].concat()).await;
    let _ = told.send(head.lines().next().unwrap_or_default().to_owned());
}

fn spec_with_cd(host: &Host, url: &str, interface: Option<&str>) -> MachineSpec {
    let mut spec = host.spec(Guest::Echo);
    // Nothing boots from the disk.
    std::fs::write(&spec.disks[0].path, vec![0; 1 << 20]).unwrap();
    spec.cdroms.push(CdromSpec { path: url.into(), interface: interface.map(ToOwned::to_owned) });
    spec
}

#[tokio::test]
async fn a_guest_boots_from_a_cd_that_qemu_reads_from_a_server() {
    if missing(QEMU) || missing_file(&module()) {
        return;
    }
    for interface in [None, Some("sata"), Some("virtio-scsi")] {
        let (host, mut server) = (Host::new(), Server::start(bootable_cd(Guest::Echo), true).await);
        let spec = spec_with_cd(&host, &server.url, interface);
        host.hypervisor.look_first(&spec).await.unwrap();
        assert!(server.asked.try_recv().is_err(), "a look asks no server");
        let machine = host.start(&spec).await;
        assert!(!machine.description().command_line.concat().contains("http"), "not in the list of processes");
        machine.resume().await.unwrap();
        tokio::time::timeout(PATIENCE, host.serial(&*machine, "ready")).await.expect("the guest boots");
        machine.kill().await;
        let mut asked = Vec::new();
        while let Ok(line) = server.asked.try_recv() {
            asked.push(line);
        }
        assert!(asked[0].starts_with("HEAD /cd.iso ") && asked[1].starts_with("GET /cd.iso "), "{asked:?}");
        assert!(!host.anything_left());
    }
}

#[tokio::test]
async fn a_server_that_does_not_give_parts_is_told_and_nothing_is_left() {
    if missing(QEMU) || missing_file(&module()) {
        return;
    }
    let (host, server) = (Host::new(), Server::start(bootable_cd(Guest::Echo), false).await);
    let spec = spec_with_cd(&host, &server.url, None);
    let error = host.hypervisor.start(&spec, Arc::new(NoLedger)).await.map(drop).unwrap_err();
    assert!(
        matches!(&error, StartError::Refused { problem, hint: Some(_), .. } if problem.contains("range")),
        "{error:?}"
    );
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
    assert!(!host.anything_left());
}

/// QEMU finds its modules from where it is itself: a copy of it has those that are put beside it.
fn qemu_without_the_module(directory: &Path) -> PathBuf {
    let program = crate::process::find_program(QEMU).unwrap().canonicalize().unwrap();
    let copy = directory.join(program.strip_prefix("/").unwrap());
    std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
    // By a child: what this process has written cannot be run while a neighbour forks.
    assert!(std::process::Command::new("cp").args([&program, &copy]).status().unwrap().success());
    let own = module();
    let modules = own.parent().unwrap();
    let beside = directory.join(modules.strip_prefix("/").unwrap());
    std::fs::create_dir_all(&beside).unwrap();
    for module in std::fs::read_dir(modules).unwrap().map(|entry| entry.unwrap().path()) {
        if module != own {
            std::os::unix::fs::symlink(&module, beside.join(module.file_name().unwrap())).unwrap();
        }
    }
    copy
}

#[tokio::test]
async fn the_package_that_is_missing_is_named_beforehand() {
    if missing(QEMU) || missing_file(&module()) {
        return;
    }
    let host = Host::new();
    let mut spec = spec_with_cd(&host, "https://user:secret@host.invalid/x.iso", None);
    qemu(&mut spec).binary = qemu_without_the_module(host.directory()).display().to_string();
    let error = host.hypervisor.look_first(&spec).await.unwrap_err();
    let StartError::Unsupported(complaints) = &error else { panic!("{error:?}") };
    assert_eq!((complaints.len(), complaints[0].setting), (1, "iso_skip_cache"), "{complaints:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("qemu-block-extra")), "{error}");
    assert!(!error.to_string().contains("host.invalid"), "{error}");
    spec.cdroms[0].path = "/x.iso".into();
    host.hypervisor.look_first(&spec).await.unwrap();
}
