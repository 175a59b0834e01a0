//! Owns [`PACKER_VERSION`].

/// Version of Packer that `packer_version` and `packer.version` name, and that `required_version` is compared with.
pub const PACKER_VERSION: &str = "1.16.0";
