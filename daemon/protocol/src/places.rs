//! Where the daemon of a person listens and keeps its state, worked out from the environment alone.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Names the socket outright; used by client and daemon.
pub const KILN_SOCKET: &str = "KILN_SOCKET";

/// Directory of the login session, private to its owner (XDG base directory specification).
pub const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";

/// File name of the socket in Kiln's runtime directory.
pub const SOCKET_NAME: &str = "kiln.sock";

/// Socket of the daemon that serves all users of a machine.
pub const SYSTEM_SOCKET: &str = "/run/kiln/kiln.sock";

/// Base directory for state (XDG base directory specification).
pub const XDG_STATE_HOME: &str = "XDG_STATE_HOME";

/// Base directory for configuration (XDG base directory specification).
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";

/// The home directory.
pub const HOME: &str = "HOME";

/// File name of the daemon's lock in its state directory. While the lock is held, the file holds a [`Holder`] as JSON.
pub const LOCK_NAME: &str = "kilnd.lock";

/// File name, in the state directory, of what the last daemon said that could not serve: a [`FailedStart`] as JSON. Gone as soon as one
/// serves.
pub const FAILED_START_NAME: &str = "kilnd.failed.json";

/// Why no daemon came up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedStart {
    /// When, RFC 3339.
    pub at: String,
    /// What failed, on what, and why.
    pub error: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The daemon that holds a lock, for those who look for it at another socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// The socket on which it listens.
    pub socket: PathBuf,
}

/// Returns the directory of journal, jobs and log: `$XDG_STATE_HOME/kiln`, else `$HOME/.local/state/kiln`; nothing when neither is set
/// to an absolute path.
pub fn state_directory(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(XDG_STATE_HOME)
        .or_else(|| absolute(HOME).map(|home| home.join(".local/state")))
        .map(|base| base.join("kiln"))
}

/// Returns the path of the user's configuration: `$XDG_CONFIG_HOME/kiln/kiln.toml`, else `$HOME/.config/kiln/kiln.toml`; nothing when
/// neither is set to an absolute path.
pub fn configuration(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(XDG_CONFIG_HOME)
        .or_else(|| absolute(HOME).map(|home| home.join(".config")))
        .map(|base| base.join("kiln/kiln.toml"))
}

/// Returns the socket's path for the user with this id.
///
/// `$KILN_SOCKET`, else `$XDG_RUNTIME_DIR/kiln/kiln.sock`, else `/tmp/kiln-UID/kiln.sock`. Empty variables count as unset; so does
/// a relative `XDG_RUNTIME_DIR`, as its specification demands.
pub fn socket_path(variable: impl Fn(&str) -> Option<OsString>, user: u32) -> PathBuf {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = set(KILN_SOCKET) {
        return path;
    }
    match set(XDG_RUNTIME_DIR).filter(|path| path.is_absolute()) {
        Some(directory) => directory.join("kiln").join(SOCKET_NAME),
        None => PathBuf::from(format!("/tmp/kiln-{user}")).join(SOCKET_NAME),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(variables: &[(&str, &str)]) -> String {
        let lookup =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        socket_path(lookup, 1000).display().to_string()
    }

    #[test]
    fn the_first_variable_that_is_set_decides() {
        assert_eq!(path(&[]), "/tmp/kiln-1000/kiln.sock");
        assert_eq!(path(&[("XDG_RUNTIME_DIR", "/run/user/1000")]), "/run/user/1000/kiln/kiln.sock");
        assert_eq!(path(&[("XDG_RUNTIME_DIR", "/run"), ("KILN_SOCKET", "/x/y.sock")]), "/x/y.sock");
        assert_eq!(path(&[("XDG_RUNTIME_DIR", ""), ("KILN_SOCKET", "")]), "/tmp/kiln-1000/kiln.sock");
        assert_eq!(path(&[("XDG_RUNTIME_DIR", "run")]), "/tmp/kiln-1000/kiln.sock");
    }
}
