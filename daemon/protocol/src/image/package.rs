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
    /// Whether it starts signed boot loaders only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secure_boot: bool,
    /// Whether it has a TPM.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tpm: bool,
    /// Processors that share a socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores_per_socket: Option<u32>,
    /// Whether its guest may run machines of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nested_virtualization: bool,
    /// Its disks, in the order in which a firmware finds them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<PlacedDisk>,
    /// Its network cards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<NetworkCard>,
    /// The file with what its firmware keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvram: Option<String>,
    /// What it has that a conversion does not carry over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_carried: Vec<String>,
}

/// A disk's place in a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PlacedDisk {
    /// Its file, or its identifier when it has none.
    pub filename: String,
    /// The kind of controller, as `sata`.
    pub bus: String,
    /// Which controller of the kind, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<u32>,
    /// Unit on it, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<u32>,
}

/// A network card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct NetworkCard {
    /// Its model, as `e1000`.
    pub model: String,
    /// The network that it is connected to.
    pub network: String,
    /// Its Ethernet address, where it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
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
