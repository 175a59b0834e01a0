//! What a package of machines says about itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Facts about a package, as its descriptor tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PackageFacts {
    /// The machines, in the order of the descriptor.
    pub machines: Vec<PackagedMachine>,
    /// The disks, in the order of the descriptor.
    pub disks: Vec<PackagedDisk>,
}

/// A machine of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PackagedMachine {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Virtual processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u64>,
    /// Memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// The guest's operating system, in the descriptor's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_os: Option<String>,
    /// `bios` or `efi`, where the descriptor says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// The networks of its cards, one for each card.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
}

/// A disk of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PackagedDisk {
    /// Its identifier in the descriptor.
    pub id: String,
    /// Its file; unset for a disk that begins empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// Size of the guest's disk in bytes, when the descriptor says it as a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_size: Option<u64>,
}
