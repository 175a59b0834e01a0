//! What is published and where, and how its upload goes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// The services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Service {
    /// Vagrant Cloud.
    Cloud,
    /// HCP's registry.
    Hcp,
}

impl Service {
    /// Where a box is.
    pub(super) fn box_path(self, tag: &str) -> String {
        let (registry, name) = tag.split_once('/').unwrap_or((tag, ""));
        match self {
            Self::Cloud => format!("box/{tag}"),
            Self::Hcp => format!("registry/{registry}/box/{name}"),
        }
    }

    pub(super) fn version_path(self, publication: &Publication) -> String {
        format!("{}/version/{}", self.box_path(&publication.tag), publication.version)
    }

    /// What the service says of a version.
    pub(super) fn is_released(self, version: &Json) -> bool {
        match self {
            Self::Cloud => version["status"] == "active",
            Self::Hcp => version["version"]["state"].as_str().is_some_and(|state| state != "UNRELEASED"),
        }
    }
}

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
