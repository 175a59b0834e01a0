//! The promises of every backend on VirtualBox's own `VBoxManage`, out of the judges' root file system: all of them that need nobody in the
//! machine, for no kernel module is there to run a guest. The whole suite is run on the stand-in.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::conformance;
use crate::error::StartError;
use crate::ledger::NoLedger;
use crate::machine::Hypervisor as _;
use crate::process::script::write_script;
use crate::spec::MachineSpec;
use crate::virtualbox::{VirtualBoxHypervisor, VirtualBoxSpec};

/// A directory with a `VBoxManage` and an empty `run`; `None`, visibly, where that cannot be.
fn world() -> Option<TempDir> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/virtualbox/VBoxManage");
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/judges");
    let judges = std::env::var_os("KILN_JUDGES").map_or(made, PathBuf::from);
    let is_there = judges.join("ready").is_file() && rustix::process::getuid().is_root();
    assert!(
        is_there || std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"),
        "the test needs root, and {} with VirtualBox",
        judges.display()
    );
    if !is_there {
        return None;
    }
    let directory = tempfile::Builder::new().prefix("kvb").tempdir_in("/tmp").unwrap();
    std::fs::create_dir(directory.path().join("run")).unwrap();
    let script = format!(
        "#!/bin/sh\nexport KILN_TEST_VBOX_ROOT='{}' KILN_TEST_VBOX_SHARE='{}' KILN_TEST_VBOX_RUNS=yes\nexec '{}' \"$@\"\n",
        judges.join("root").canonicalize().unwrap().display(),
        directory.path().display(),
        tests.canonicalize().unwrap().display()
    );
    write_script(&directory.path().join("VBoxManage"), &script);
    Some(directory)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn virtualbox_itself_keeps_the_promises_that_need_no_guest() {
    let Some(world) = world() else { return };
    let hypervisor = VirtualBoxHypervisor::with_program(world.path().join("VBoxManage"));
    let part = VirtualBoxSpec { serial: true, ..VirtualBoxSpec::default() };
    let spec = MachineSpec::new("web", world.path().join("run"), part);
    conformance::check_without_a_guest(&hypervisor, &spec).await;

    // A name in use; the suite's machines are all gone, or this one would not come to be.
    let other = MachineSpec { name: "other".to_owned(), ..spec };
    let machine = hypervisor.start(&other, std::sync::Arc::new(NoLedger)).await.unwrap();
    let error = hypervisor.start(&other, std::sync::Arc::new(NoLedger)).await.err().unwrap();
    assert!(
        matches!(error, StartError::Refused { .. }) && error.to_string().contains("registered are: other"),
        "{error}"
    );
    machine.kill().await;
}
