//! What is published, and how its upload goes.

use std::path::PathBuf;

/// What is published, and as what.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    /// `OWNER/BOX`.
    pub(super) tag: String,
    pub(super) version: String,
    pub(super) version_description: Option<String>,
    pub(super) provider: String,
    pub(super) architecture: String,
    pub(super) is_default: bool,
    /// Where the box lies when it is not uploaded.
    pub(super) download_url: Option<String>,
    /// Type and digest of the box.
    pub(super) checksum: Option<(String, String)>,
    pub(super) file: PathBuf,
    /// The upload goes through the service.
    pub(super) through: bool,
    /// The version is not released.
    pub(super) unreleased: bool,
}

/// Where to send the box, and what to call when that is done.
pub(super) struct Upload {
    pub(super) url: String,
    pub(super) confirm: Option<String>,
}
