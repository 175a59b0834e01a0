//! What the client and `kilnd images` say to each other: a request on its standard input, a report on its standard output.
//!
//! The registry is the user's own files, so no daemon is asked: the client starts the program as its own child, with its environment.

use serde::{Deserialize, Serialize};

/// What is to be done with the registry of images; nothing: it is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryRequest {
    /// Forget these: `NAME` in all its channels, or `NAME@CHANNEL`.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Forget all whose file is gone or is another by now.
    #[serde(default)]
    pub prune: bool,
}

/// What there is, and what was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryReport {
    /// Every image in every channel, by name and channel; none where something was to be forgotten.
    pub images: Vec<RegisteredImage>,
    /// What was forgotten, as it was.
    pub removed: Vec<RegisteredImage>,
    /// What could not be done.
    pub problems: Vec<String>,
}

/// An image in a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredImage {
    /// Its name.
    pub name: String,
    /// The channel.
    pub channel: String,
    /// Its file, absolute; empty when the record cannot be read.
    pub path: String,
    /// `qcow2`, `raw`, …
    pub format: String,
    /// `sha256:…` of the file.
    pub checksum: String,
    /// The file's length in bytes when it was registered.
    pub size: u64,
    /// The build that made it: `qemu.web`.
    pub build: String,
    /// When, as RFC 3339 has it.
    pub created: String,
    /// Why no build can begin with it; unset: one can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
}
