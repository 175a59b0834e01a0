//! Packages and checksum files against their files: what is right, and everything that is wrong, at once.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use kiln_disk_formats::package::{MachineDescription, Verification, VerifyProblemKind, verify};
use kiln_disk_formats::{ConvertOptions, DigestAlgorithm, ErrorKind, NoProgress, Output, OutputKind, convert};

use crate::sample::Bench;

fn check(path: &Path) -> Verification {
    verify(path, &NoProgress).unwrap()
}

/// Returns what is wrong as sorted text.
fn problems(path: &Path) -> Vec<String> {
    let mut found: Vec<_> = check(path).problems.iter().map(ToString::to_string).collect();
    found.sort();
    found
}

fn package() -> Bench {
    let bench = Bench::new(3 << 20, 10, 9);
    for (name, algorithm) in [("web", DigestAlgorithm::Sha256), ("old", DigestAlgorithm::Sha1)] {
        let machine =
            MachineDescription { name: name.to_owned(), manifest: algorithm, ..MachineDescription::default() };
        let outputs = [
            Output::new(bench.path(&format!("{name}.ovf")), OutputKind::ovf(machine.clone())),
            Output::new(bench.path(&format!("{name}.ova")), OutputKind::ova(machine)),
        ];
        convert(&*bench.reader(), &outputs, &ConvertOptions::without_digests(), &NoProgress).unwrap();
    }
    bench
}

#[test]
fn whole_packages_are_right() {
    let bench = package();
    for name in ["web.ovf", "web.mf", "web.ova", "old.ovf", "old.mf", "old.ova"] {
        let found = check(&bench.path(name));
        assert_eq!(found.problems, [], "{name}");
        assert_eq!(found.verified.len(), 2, "{name}");
        let algorithm = if name.starts_with("web") { DigestAlgorithm::Sha256 } else { DigestAlgorithm::Sha1 };
        assert!(found.verified.iter().all(|file| file.algorithm == algorithm && file.size > 0));
    }
}

#[test]
fn all_that_is_wrong_with_a_package_is_told_at_once() {
    let bench = package();
    let manifest = std::fs::read_to_string(bench.path("web.mf")).unwrap();
    let digest = "ab".repeat(32);
    let first = manifest.lines().next().unwrap();
    let text = format!(
        "{first}\nSHA256(../outside)= {digest}\nnonsense\nSHA256(/etc/passwd)= {digest}\nSHA256(gone.vmdk)= {digest}\n"
    );
    std::fs::write(bench.path("web.mf"), text).unwrap();
    let mut descriptor = std::fs::read_to_string(bench.path("web.ovf")).unwrap();
    descriptor = descriptor.replace("ovf:size=\"", "ovf:size=\"9");
    std::fs::write(bench.path("web.ovf"), descriptor).unwrap();
    let found = problems(&bench.path("web.ovf"));
    let wanted = [
        "../outside (line 2): the manifest lists",
        "../outside (line 2): the name leads out",
        "/etc/passwd (line 4): the manifest lists",
        "/etc/passwd (line 4): the name leads out",
        "gone.vmdk (line 5): the file is missing",
        "gone.vmdk (line 5): the manifest lists",
        "the list (line 3): not a line",
        "web-disk1.vmdk: the file has",
        "web-disk1.vmdk: the package uses this file, but its manifest does not list it",
        "web.ovf (line 1): the SHA256 is",
    ];
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "{found}\n{wanted}");
    }
}

#[test]
fn a_damaged_ova_and_a_missing_manifest_are_found() {
    let bench = package();
    let mut ova = std::fs::read(bench.path("web.ova")).unwrap();
    let middle = ova.len() - 5000;
    ova[middle] ^= 1;
    std::fs::write(bench.path("web.ova"), ova).unwrap();
    let found = check(&bench.path("web.ova"));
    assert_eq!(found.verified.len(), 1);
    assert!(matches!(found.problems[..], [ref one] if matches!(one.kind, VerifyProblemKind::WrongDigest { .. })));
    std::fs::remove_file(bench.path("old.mf")).unwrap();
    assert_eq!(problems(&bench.path("old.ovf")), ["old.mf: the package has no manifest"]);
}

#[test]
fn links_and_devices_are_not_followed_out_of_the_directory() {
    let bench = Bench::new(1 << 20, 3, 1);
    let inside = bench.path("inside");
    std::fs::create_dir(&inside).unwrap();
    std::os::unix::fs::symlink(&bench.raw, inside.join("link")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", inside.join("zero")).unwrap();
    assert!(Command::new("mkfifo").arg(inside.join("fifo")).status().unwrap().success());
    let digest = "ab".repeat(20);
    let list = inside.join("SHA1SUMS");
    std::fs::write(&list, format!("{digest}  link\n{digest}  zero\n{digest}  fifo\n{digest}  sub/../../x\n")).unwrap();
    let kinds: Vec<_> = check(&list).problems.into_iter().map(|problem| problem.kind).collect();
    assert!(
        matches!(
            kinds[..],
            [
                VerifyProblemKind::Escapes,
                VerifyProblemKind::Escapes,
                VerifyProblemKind::Unreadable(_),
                VerifyProblemKind::Escapes
            ]
        ),
        "{kinds:?}"
    );
}

#[test]
fn what_checksum_tools_write_is_read() {
    let bench = Bench::new(1 << 20, 3, 1);
    std::fs::create_dir(bench.path("sub")).unwrap();
    std::fs::write(bench.path("sub/a b"), b"hello").unwrap();
    let tools: [&[&str]; 5] = [
        &["md5sum", "source.raw", "sub/a b"],
        &["sha1sum", "--tag", "source.raw", "sub/a b"],
        &["sha224sum", "-b", "source.raw", "sub/a b"],
        &["sha384sum", "source.raw", "sub/a b"],
        &["openssl", "dgst", "-sha512", "source.raw", "sub/a b"],
    ];
    for tool in tools {
        if !crate::qemu_img::present_tool(tool[0], "--help") {
            continue;
        }
        let output = Command::new(tool[0]).args(&tool[1..]).current_dir(bench.directory.path()).output().unwrap();
        let list = bench.path("list");
        std::fs::write(&list, &output.stdout).unwrap();
        let found = check(&list);
        assert_eq!((found.verified.len(), found.problems), (2, vec![]), "{tool:?}");
    }
}

#[test]
fn other_files_are_an_error_and_checking_can_be_stopped() {
    let bench = package();
    assert!(verify(&bench.raw, &NoProgress).unwrap_err().to_string().starts_with("cannot verify "));
    assert_eq!(verify(&bench.path("none"), &NoProgress).unwrap_err().kind(), ErrorKind::NotFound);
    let text = bench.path("text");
    std::fs::write(&text, "hello\n").unwrap();
    assert_eq!(verify(&text, &NoProgress).unwrap_err().kind(), ErrorKind::UnknownFormat);
    let stop = |_, _| ControlFlow::Break(());
    assert_eq!(verify(&bench.path("web.ova"), &stop).unwrap_err().kind(), ErrorKind::Cancelled);
}
