//! How to convert.

/// How to convert.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConvertOptions {
    /// Worker threads; `None` means one per core. The bytes written do not depend on it.
    pub threads: Option<usize>,
    /// Replaces existing files of the outputs' names; otherwise they are an error.
    pub overwrite: bool,
    /// Computes the content digest of the guest disk.
    pub content_digest: bool,
    /// Computes the SHA-256 of every file written (those that a manifest needs are computed anyway). A hole costs as much as data
    /// here: about a second per GiB of a raw disk.
    pub file_digests: bool,
    /// Waits until everything is on stable storage before files get their names. Without it a power loss soon afterwards can
    /// leave files with missing content, as with most tools.
    pub durable: bool,
    /// Makes the names known beforehand that files have until they are whole, where a file system holds none without a name: see
    /// [`unfinished_name`](crate::unfinished_name). Each conversion has another; `None`: by chance.
    pub mark: Option<String>,
}

impl Default for ConvertOptions {
    fn default() -> Self {
        Self { threads: None, overwrite: false, content_digest: true, file_digests: true, durable: true, mark: None }
    }
}

impl ConvertOptions {
    /// Returns the defaults without any digest: the fastest way when nobody needs a proof.
    #[must_use]
    pub fn without_digests() -> Self {
        Self { content_digest: false, file_digests: false, ..Self::default() }
    }
}
