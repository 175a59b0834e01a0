//! The disk images that VirtualBox knows (`VBoxManage list hdds`): which file each is in, and what it lies on, which VirtualBox alone knows.

use std::path::PathBuf;

use kiln_disk_formats::Format;

/// Longest chain of images that is followed.
const MAX_CHAIN: usize = 16;

/// The images that VirtualBox knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Media(Vec<Medium>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Medium {
    uuid: String,
    parent: Option<String>,
    path: PathBuf,
    format: String,
    encrypted: bool,
}

impl Media {
    /// Reads the list; lines that say nothing of these are passed over.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut media: Vec<Medium> = Vec::new();
        for line in text.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            if name == "UUID" {
                media.push(Medium { uuid: value.to_owned(), ..Medium::default() });
                continue;
            }
            let Some(medium) = media.last_mut() else { continue };
            match name {
                "Parent UUID" if value != "base" => medium.parent = Some(value.to_owned()),
                "Location" => medium.path = PathBuf::from(value),
                "Storage format" => value.clone_into(&mut medium.format),
                "Encryption" => medium.encrypted = value == "enabled",
                _ => {}
            }
        }
        Self(media)
    }

    /// The files of a disk: its image, and behind it what that lies on, one below the other.
    ///
    /// # Errors
    ///
    /// In words: why what the guest sees cannot be read from these files by others than VirtualBox.
    pub fn chain(&self, uuid: &str) -> Result<Vec<(PathBuf, Format)>, String> {
        let mut chain: Vec<(PathBuf, Format)> = Vec::new();
        let mut next = Some(uuid);
        while let Some(uuid) = next {
            let medium = self.0.iter().find(|medium| medium.uuid == uuid);
            let medium = medium.ok_or_else(|| format!("VirtualBox does not know where the disk {uuid} is"))?;
            let shown = medium.path.display();
            if medium.encrypted {
                return Err(format!("the disk {shown} is encrypted"));
            }
            let format = match medium.format.to_ascii_uppercase().as_str() {
                "VDI" => Format::Vdi,
                "VMDK" => Format::Vmdk,
                "VHD" => Format::Vhd,
                _ => return Err(format!("the disk {shown} is of the format {:?}", medium.format)),
            };
            if let Some((below, _)) = chain.iter().find(|(_, other)| *other != format) {
                return Err(format!("the disk {} lies on one of another format, {shown}", below.display()));
            }
            if chain.len() == MAX_CHAIN {
                return Err(format!("the disk {} lies on more than {MAX_CHAIN} others", chain[0].0.display()));
            }
            chain.push((medium.path.clone(), format));
            next = medium.parent.as_deref();
        }
        Ok(chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As VirtualBox 7.2 tells them.
    const LIST: &str = "WARNING: The character device /dev/vboxdrv does not exist.\n\nUUID:           7f\nParent UUID:    base\n\
        State:          created\nType:           normal (base)\nLocation:       /m/a: b.vdi\nStorage format: VDI\n\
        Capacity:       16 MBytes\nEncryption:     disabled\n\nUUID:           2e\nParent UUID:    7f\nState:          created\n\
        Type:           normal (differencing)\nLocation:       /m/Snapshots/{2e}.vdi\nStorage format: VDI\n\
        Capacity:       16 MBytes\nEncryption:     disabled\n\n";

    #[test]
    fn a_disk_is_its_image_and_what_that_lies_on() {
        let media = Media::read(LIST);
        let file = |path: &str| (PathBuf::from(path), Format::Vdi);
        assert_eq!(media.chain("2e").unwrap(), [file("/m/Snapshots/{2e}.vdi"), file("/m/a: b.vdi")]);
        assert_eq!(media.chain("7f").unwrap(), [file("/m/a: b.vdi")]);
    }

    #[test]
    fn what_only_virtualbox_can_read_is_told_with_its_reason() {
        for (change, why) in [
            (("Parent UUID:    7f", "Parent UUID:    99"), "does not know where the disk 99 is"),
            (("Parent UUID:    base", "Parent UUID:    2e"), "lies on more than 16 others"),
            (("disabled", "enabled"), "/m/a: b.vdi is encrypted"),
            (("format: VDI", "format: VHD"), "lies on one of another format, /m/a: b.vdi"),
            (("format: VDI", "format: QCOW"), "is of the format \"QCOW\""),
        ] {
            let told = Media::read(&LIST.replacen(change.0, change.1, 1)).chain("2e").unwrap_err();
            assert!(told.contains(why), "{told}");
        }
        assert!(Media::read("garbage\n:\nLocation: x\n").chain("").is_err());
    }
}
