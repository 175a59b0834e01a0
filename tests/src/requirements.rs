//! What a test needs from the machine. A test that cannot have it says so; under `KILN_TEST_REQUIRE=all` it fails.

use std::path::{Path, PathBuf};

/// Tells whether `name` can be run; when not, says that the test is ignored, or fails where tools are required.
pub fn tool(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(name).is_file());
    if !found {
        missing(&format!("the program {name}"));
    }
    found
}

/// The path of one of this workspace's programs: beside the test binary, where `cargo build` puts it, or
/// `KILN_BIN_DIR`.
///
/// # Panics
///
/// It was not built: `cargo test` builds no binaries of other packages, `./x test` does.
pub fn program(name: &str) -> PathBuf {
    let directory = std::env::var_os("KILN_BIN_DIR").map_or_else(
        || {
            let test = std::env::current_exe().expect("a test knows its own path");
            // target/debug/deps/it-… → target/debug
            test.parent().and_then(Path::parent).expect("a test binary lies in target/PROFILE/deps").to_owned()
        },
        PathBuf::from,
    );
    let path = directory.join(name);
    assert!(path.is_file(), "{} is not built; run `cargo build --bins` first, or `./x test`", path.display());
    path
}

/// The test guest's installer CD, which `./x test` makes; `None` (said aloud) where it is not there.
pub fn installer() -> Option<PathBuf> {
    guest("KILN_TEST_ISO", "kiln-tiny.iso", "make-installer")
}

/// A disk with Debian 12, which `./x test` makes; `None` (said aloud) where it is not there.
pub fn debian() -> Option<PathBuf> {
    guest("KILN_TEST_DEBIAN", "debian-12.qcow2", "debian/make-image")
}

/// The file that `variable` names, else the one in `target/guests`.
fn guest(variable: &str, name: &str, maker: &str) -> Option<PathBuf> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests").join(name);
    let path = std::env::var_os(variable).map_or(made, PathBuf::from);
    if !path.is_file() {
        missing(&format!("the test guest {} (tests/guests/{maker} makes it)", path.display()));
        return None;
    }
    tool("qemu-system-x86_64").then(|| path.canonicalize().expect("it exists"))
}

/// The folder of real templates and recorded results of Packer: `KILN_CORPUS`, else beside the checkout; `None` (said
/// aloud) where it is absent. It is not part of the project, so nothing requires it.
#[expect(clippy::print_stderr, reason = "the test runner's output is where this belongs")]
pub fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let path = std::env::var_os("KILN_CORPUS").map_or(beside, PathBuf::from);
    if path.join("index.json").is_file() {
        return Some(path.canonicalize().expect("it exists"));
    }
    eprintln!("ignored: needs the corpus in {}", path.display());
    None
}

/// The root file system with VBoxManage, which `./x test` makes; `None` (said aloud) where it is not there.
pub fn judges() -> Option<PathBuf> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/judges");
    let folder = std::env::var_os("KILN_JUDGES").map_or(made, PathBuf::from);
    if !folder.join("ready").is_file() {
        missing(&format!("VBoxManage in {} (disk-formats/tests/make-judges makes it)", folder.display()));
        return None;
    }
    Some(folder.join("root").canonicalize().expect("it exists"))
}

/// The stand-in for VMware's tools: `bin` in `KILN_VMWARE_LAB`, else beside the checkout, with its configuration written; `None` (said
/// aloud) where it is absent.
///
/// # Panics
///
/// Its configuration cannot be written.
pub fn vmware_tools() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/lab/vmware");
    let tools = std::env::var_os("KILN_VMWARE_LAB").map_or(beside, PathBuf::from).join("bin");
    if !tools.join("vmrun").is_file() {
        missing(&format!("VMware's tools, or their stand-in {}", tools.display()));
        return None;
    }
    // It keeps networks where an installed VMware does.
    if !Path::new("/etc/vmware/vmnet8/dhcpd/dhcpd.conf").is_file() && !root() {
        return None;
    }
    let tools = tools.canonicalize().expect("it exists");
    let set_up = std::process::Command::new(tools.join("vmware-lab-setup")).status();
    assert!(set_up.is_ok_and(|status| status.success()), "the stand-in for VMware's tools cannot be set up");
    Some(tools)
}

/// Tells whether this process is root; when not, says that the test is ignored, or fails where all is required.
pub fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        missing("root");
    }
    root
}

#[expect(clippy::print_stderr, reason = "the test runner's output is where this belongs")]
fn missing(what: &str) {
    let required = std::env::var("KILN_TEST_REQUIRE").is_ok_and(|value| value == "all");
    assert!(!required, "this test needs {what}, and KILN_TEST_REQUIRE=all");
    eprintln!("ignored: needs {what}");
}
