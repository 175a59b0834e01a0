//! The console's history: a file of lines in the state directory, for its owner alone.

use std::ffi::OsString;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::CommandError;

/// Name of the file in Kiln's state directory.
const FILE_NAME: &str = "console_history";

/// Returns the file's path: in `$XDG_STATE_HOME/kiln`, else in `~/.local/state/kiln`; nothing without a home.
pub(super) fn path(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("kiln").join(FILE_NAME))
}

/// Makes sure that the file is there and that nobody else can read it.
pub(super) fn create(path: &Path) -> Result<(), CommandError> {
    let failed =
        |error: std::io::Error| CommandError::new(format!("cannot keep a history in {}: {error}", path.display()));
    if let Some(directory) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    }
    let file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(failed)?;
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    file.set_permissions(private).map_err(failed)
}

/// Whether a line may be kept: it holds no secret.
pub(super) fn may_keep(line: &str, sensitive: &[String]) -> bool {
    !line.trim().is_empty() && !sensitive.iter().any(|secret| line.contains(secret.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().as_os_str().to_owned();
        let path = path(|name| (name == "HOME").then(|| home.clone())).unwrap();
        assert!(path.ends_with(".local/state/kiln/console_history"));
        create(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn secrets_are_not_kept() {
        let sensitive = ["hunter2".to_owned()];
        assert!(may_keep("upper(var.password)", &sensitive));
        assert!(!may_keep("sha256(\"hunter2\")", &sensitive) && !may_keep("  ", &sensitive));
    }
}
