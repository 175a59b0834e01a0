//! What Vagrant's providers want in a box.

use serde_json::{Value as Json, json};

/// For whom a box is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    VirtualBox,
    Vmware,
    Libvirt,
    /// Has nothing in it but what Vagrant itself reads.
    Docker,
    File,
}

impl Provider {
    const ALL: [Self; 5] = [Self::VirtualBox, Self::Vmware, Self::Libvirt, Self::Docker, Self::File];

    /// What templates call it, and file names.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::VirtualBox => "virtualbox",
            Self::Vmware => "vmware",
            Self::Libvirt => "libvirt",
            Self::Docker => "docker",
            Self::File => "file",
        }
    }

    pub(super) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.word() == word)
    }

    /// The provider of what this builder leaves; nothing where it does not say.
    pub(super) fn of_builder(id: &str) -> Option<Self> {
        Some(match id {
            "transcend.qemu" => Self::Libvirt,
            "mitchellh.virtualbox" => Self::VirtualBox,
            "vmware.desktop" | "mitchellh.vmware" => Self::Vmware,
            "packer.file" => Self::File,
            _ => return None,
        })
    }

    /// What Vagrant calls it.
    fn vagrants_word(self) -> &'static str {
        match self {
            Self::Vmware => "vmware_desktop",
            other => other.word(),
        }
    }

    /// `metadata.json` of a box with these disks.
    pub(super) fn metadata(self, disks: &[String], architecture: &str) -> Json {
        let mut metadata = json!({ "provider": self.vagrants_word() });
        if self == Self::Libvirt {
            let disks = disks.iter().map(|path| json!({ "path": path, "format": "qcow2" }));
            metadata["disks"] = disks.collect();
        }
        metadata["architecture"] = json!(architecture);
        metadata
    }

    /// Its part of the Vagrantfile. `mac` is the first network card's address, `driver` what QEMU runs guests with.
    pub(super) fn vagrantfile(self, mac: &str, driver: &str) -> String {
        match self {
            Self::VirtualBox => {
                format!("Vagrant.configure(\"2\") do |config|\n  config.vm.base_mac = \"{mac}\"\nend\n")
            }
            Self::Libvirt => format!(
                "Vagrant.configure(\"2\") do |config|\n  config.vm.provider :libvirt do |libvirt|\n    libvirt.driver = \"{driver}\"\n  end\nend\n"
            ),
            Self::Vmware | Self::Docker | Self::File => String::new(),
        }
    }
}
