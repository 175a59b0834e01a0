//! The boot probe on the accelerators of this machine, and its cache.

use std::path::{Path, PathBuf};

use super::*;
use crate::process::script::write_script;
use crate::qemu::testing::{QEMU, missing};

#[test]
fn the_payload_is_made_from_its_source() {
    if missing("as") || missing("objcopy") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/qemu/probe/payload.s");
    let (object, binary) = (directory.path().join("payload.o"), directory.path().join("payload.bin"));
    let run = |program: &str, arguments: &[&std::ffi::OsStr]| {
        assert!(std::process::Command::new(program).args(arguments).status().unwrap().success(), "{program}");
    };
    run("as", &["--64".as_ref(), "-o".as_ref(), object.as_ref(), source.as_ref()]);
    run(
        "objcopy",
        &["-O".as_ref(), "binary".as_ref(), "-j".as_ref(), ".text".as_ref(), object.as_ref(), binary.as_ref()],
    );
    assert_eq!(std::fs::read(binary).unwrap(), PAYLOAD);
}

#[tokio::test]
async fn tcg_runs_guest_code_and_the_answer_is_kept() {
    if missing(QEMU) {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let (program, starts) = counted_qemu(cache.path());
    let prober = Prober::new(cache.path().to_owned());
    let facts = prober.facts(&program).await.unwrap();
    assert!(facts.accelerators.is_empty() && facts.architecture == "x86_64", "nothing was booted: {facts:?}");
    let findings = prober.findings(&program).await.unwrap();
    eprintln!("{findings:#?}");
    assert!(findings.version.split('.').count() == 3, "{findings:?}");
    assert_eq!(findings.architecture, "x86_64");
    let tcg = findings.accelerators.iter().find(|one| one.name == "tcg").unwrap();
    assert!(tcg.usable && tcg.reason.starts_with("guest code ran on tcg"), "{tcg:?}");
    let kvm = findings.accelerators.iter().find(|one| one.name == "kvm").unwrap();
    assert!(!kvm.reason.is_empty());

    let before = std::fs::read(&starts).unwrap();
    assert_eq!(prober.findings(&program).await.unwrap(), findings);
    assert_eq!(prober.facts(&program).await.unwrap(), findings, "what is known is not asked for again");
    assert_eq!(Prober::new(cache.path().to_owned()).findings(&program).await.unwrap(), findings);
    assert_eq!(std::fs::read(&starts).unwrap(), before, "answered from the cache");
}

/// A QEMU that writes a line to a file at each of its starts.
fn counted_qemu(directory: &Path) -> (PathBuf, PathBuf) {
    let (program, starts) = (directory.join(QEMU), directory.join("starts"));
    let script = format!("#!/bin/sh\necho start >> '{}'\nexec {QEMU} \"$@\"\n", starts.display());
    write_script(&program, &script);
    (program, starts)
}

/// As where another hypervisor has the processor: the next time it may be free.
#[tokio::test]
async fn an_accelerator_that_qemu_cannot_begin_on_is_tried_again() {
    if missing(QEMU) {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let (program, tries) = (cache.path().join(QEMU), cache.path().join("tries"));
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *accel=kvm*) echo try >> '{}'; \
         echo 'ioctl(KVM_CREATE_VM) failed: 16 Device or resource busy' >&2; exit 1;; esac\nexec {QEMU} \"$@\"\n",
        tries.display()
    );
    write_script(&program, &script);
    let prober = Prober::new(cache.path().to_owned());
    let counted = || std::fs::read_to_string(&tries).unwrap_or_default().lines().count();
    let mut after = Vec::new();
    for _ in 0..2 {
        let findings = prober.findings(&program).await.unwrap();
        let kvm = findings.accelerators.iter().find(|one| one.name == "kvm").unwrap();
        assert_eq!(kvm.passes, kvm_opens().is_ok(), "{kvm:?}");
        assert!(!kvm.usable && (!kvm.passes || kvm.reason.contains("resource busy")), "{kvm:?}");
        after.push(counted());
    }
    // Both models of the processor are tried, each time; where there is no KVM at all that is known for good.
    assert_eq!(after, if kvm_opens().is_ok() { [2, 4] } else { [0, 0] });
}

#[tokio::test]
async fn a_program_that_is_no_qemu_is_told() {
    let cache = tempfile::tempdir().unwrap();
    let prober = Prober::new(cache.path().to_owned());
    let error = prober.findings(Path::new("/bin/false")).await.unwrap_err();
    assert!(matches!(error, ProbeError::NotQemu(..)), "{error:?}");
    let error = prober.findings(Path::new("/nonexistent")).await.unwrap_err();
    assert!(matches!(error, ProbeError::Run(..)), "{error:?}");
}

#[test]
fn a_device_that_cannot_be_opened_says_what_to_do() {
    for (problem, words) in [
        (std::io::ErrorKind::PermissionDenied, "usermod -aG kvm"),
        (std::io::ErrorKind::NotFound, "modprobe kvm_intel"),
        (std::io::ErrorKind::Other, ""),
    ] {
        assert!(what_to_do(problem).contains(words), "{problem:?}");
    }
    // What is known of one is not told of the other.
    let key = |problem| cache::key(Path::new("/x"), Some(problem));
    assert_ne!(key(std::io::ErrorKind::PermissionDenied), key(std::io::ErrorKind::NotFound));
}

#[test]
fn architectures() {
    assert_eq!(family("i386"), family("x86_64"));
    assert_ne!(family("aarch64"), family("x86_64"));
}
