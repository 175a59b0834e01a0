//! The connections that Ansible's ssh keeps in the background, in case that it is started again: ended with the run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_communicators::DiscardedOutput;

use crate::cleanup::CleanupId;
use crate::context::BuildContext;
use crate::scripts::LocalCommand;

/// Ansible's name for where their sockets are.
pub(super) const VARIABLE: &str = "ANSIBLE_SSH_CONTROL_PATH_DIR";

/// How long one may take to end.
const LIMIT: Duration = Duration::from_secs(10);

/// Where the sockets of one run are.
pub(super) struct Background<'a> {
    build: &'a BuildContext,
    directory: PathBuf,
    cleanup: CleanupId,
}

impl<'a> Background<'a> {
    /// Names a place for the sockets; whatever becomes of the run, they are gone after the build.
    pub(super) fn new(build: &'a BuildContext) -> Self {
        let name = uuid::Uuid::new_v4().simple().to_string();
        // Short, for the path of a socket may have some hundred bytes only.
        let directory = build.settings.runtime_dir.join(format!("cp-{}", &name[..8]));
        let (owner, place) = (build.clone(), directory.clone());
        let cleanup = build.on_cleanup("provision", "end Ansible's connections", move || async move {
            end_all(&owner, &place).await;
            Ok(())
        });
        Self { build, directory, cleanup }
    }

    /// The place, as Ansible is told of it.
    pub(super) fn directory(&self) -> String {
        self.directory.display().to_string()
    }

    /// Ends them now.
    pub(super) async fn end(self) {
        end_all(self.build, &self.directory).await;
        self.build.disarm(self.cleanup);
    }
}

/// Asks each ssh to end, and removes the place. That one does not is no failure: it ends by itself after a minute.
async fn end_all(build: &BuildContext, directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let control = format!("ControlPath={}", entry.path().display());
        let arguments = ["-F", "none", "-o", &control, "-O", "exit", "kiln"].map(str::to_owned);
        let asked = LocalCommand { build, program: "ssh", arguments: &arguments, environment: &[] };
        match tokio::time::timeout(LIMIT, asked.run(&DiscardedOutput)).await {
            Ok(Ok(0)) => {}
            other => tracing::debug!(?other, "a connection of Ansible's may last a minute longer"),
        }
    }
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            build.error(format!("Cannot remove {}: {error}", directory.display()));
        }
        _ => {}
    }
}
