//! VirtualBox's VBoxManage and open-vmdk's vmdk-convert, in a root file system of their own: `tests/make-judges` makes it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::sample::Bench;

/// The judges' root file system.
pub(crate) struct Judges {
    root: PathBuf,
}

impl Judges {
    /// Returns the judges; without them a test is ignored, visibly, or fails when all tools are required.
    pub(crate) fn present() -> Option<&'static Self> {
        static FOUND: OnceLock<Option<Judges>> = OnceLock::new();
        let found = FOUND.get_or_init(|| {
            let folder = std::env::var_os("KILN_JUDGES")
                .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/judges"), PathBuf::from);
            let root = folder.canonicalize().ok()?.join("root");
            let judges = Self { root };
            let probe = std::env::temp_dir();
            let works = folder.join("ready").exists()
                && judges.command(&probe, &["true"]).output().is_ok_and(|output| output.status.success());
            works.then_some(judges)
        });
        if found.is_none() {
            let what = "VBoxManage and vmdk-convert (disk-formats/tests/make-judges target/judges, and root or user namespaces)";
            assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "this test needs {what}");
            eprintln!("ignored: needs {what}");
        }
        found.as_ref()
    }

    fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judge"));
        command.arg(&self.root).arg(folder).args(arguments);
        command
    }

    /// Runs a shell script in the bench's directory, stopping at the first command that fails, which fails the test.
    pub(crate) fn run(&self, bench: &Bench, script: &str) -> String {
        let output = self.command(bench.directory.path(), &["bash", "-exc", script]).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{text}");
        text
    }
}
