//! What is registered: the machine that is made of the snapshot, and who may use it.

/// What is registered.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) architecture: String,
    pub(super) boot_mode: String,
    pub(super) root_device: String,
    /// Of the snapshot, in GiB.
    pub(super) volume_size: u64,
    /// Of the volumes that are made of it, in GiB.
    pub(super) root_size: u64,
    pub(super) volume_type: String,
    pub(super) ena: bool,
    pub(super) imds: Option<String>,
    pub(super) tpm: Option<String>,
    pub(super) encrypted: bool,
    pub(super) kms_key: Option<String>,
    pub(super) tags: Vec<(String, String)>,
    pub(super) users: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) organizations: Vec<String>,
    pub(super) units: Vec<String>,
    pub(super) snapshot_users: Vec<String>,
}
