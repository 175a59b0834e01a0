//! Where the daemon of a person listens, worked out from the environment alone.

use std::ffi::OsString;
use std::path::PathBuf;

/// Names the socket outright; used by client and daemon.
pub const KILN_SOCKET: &str = "KILN_SOCKET";

/// Directory of the login session, private to its owner (XDG base directory specification).
pub const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";

/// File name of the socket in Kiln's runtime directory.
pub const SOCKET_NAME: &str = "kiln.sock";

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
