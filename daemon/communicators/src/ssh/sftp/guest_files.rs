//! Paths and kinds of files as sftp servers have them.

use russh_sftp::protocol::FileAttributes;

/// sftp servers know no shell: paths are relative to the home directory as they are.
pub(super) fn server_path(path: &str) -> String {
    match path.strip_prefix('~') {
        Some("" | "/") => ".".to_owned(),
        Some(rest) if rest.starts_with('/') => rest.trim_start_matches('/').to_owned(),
        _ => path.to_owned(),
    }
}

/// What a file in the guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    Regular,
    Directory,
    Other,
}

/// Reads the kind from POSIX mode bits. russh-sftp's own test takes block devices and sockets for directories.
pub(super) fn kind(attributes: &FileAttributes) -> FileKind {
    match attributes.permissions.map(|mode| mode & 0o170_000) {
        Some(0o040_000) => FileKind::Directory,
        // Servers that send no kind are taken at their word that there is a file.
        None | Some(0 | 0o100_000) => FileKind::Regular,
        Some(_) => FileKind::Other,
    }
}

/// Puts a name below a directory of the guest.
pub(super) fn join(directory: &str, name: &str) -> String {
    if directory.ends_with('/') { format!("{directory}{name}") } else { format!("{directory}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_is_where_sftp_starts() {
        assert_eq!(server_path("~/a/b"), "a/b");
        assert_eq!(server_path("~"), ".");
        assert_eq!(server_path("~user/x"), "~user/x");
        assert_eq!(server_path("/tmp/~"), "/tmp/~");
    }
}
