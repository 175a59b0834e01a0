//! What of a machine that is cloned leads out of its own directory: VMware follows it as the user who builds, so the template has to say it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path};

use kiln_disk_formats::package::vmx::Vmx;
use kiln_disk_formats::{ErrorKind, OpenPolicy};

/// The most of them that are told.
const MOST_TOLD: usize = 20;

/// A setting of a VMX file that names something of the host's.
#[derive(Debug, PartialEq)]
pub(super) struct WayOut {
    key: String,
    value: String,
    /// What is at its end, where that is not the value itself.
    because: Option<String>,
}

impl WayOut {
    /// Whether the template says the same setting itself, whatever its value is there.
    pub(super) fn is_said(&self, data: &BTreeMap<String, String>) -> bool {
        data.keys().any(|key| key.eq_ignore_ascii_case(&self.key))
    }

    pub(super) fn hint(&self) -> String {
        let Self { key, value, .. } = self;
        format!("name it in vmx_data if it is wanted ({key:?} = {value:?}), or change it there")
    }
}

impl fmt::Display for WayOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {:?}", self.key, self.value)?;
        self.because.as_ref().map_or(Ok(()), |because| write!(f, " ({because})"))
    }
}

/// All of them, of the machine whose file lies in `directory`.
pub(super) fn of(vmx: &Vmx, directory: &Path) -> Vec<WayOut> {
    let way = |key: String, value: &str, because| WayOut { key, value: value.to_owned(), because };
    let mut ways = Vec::new();
    for (device, file) in vmx.disks().unwrap_or_default() {
        let key = format!("{device}.fileName");
        if leads_out(file) {
            ways.push(way(key, file, None));
        } else if let Some(because) = named_by_disk(&directory.join(file), directory) {
            ways.push(way(key, file, Some(because)));
        }
    }
    for (key, value) in vmx.iter().filter(|(_, value)| !value.is_empty()) {
        let lower = key.to_ascii_lowercase();
        let Some((device, field)) = lower.split_once('.') else { continue };
        let is = |kind: &str| {
            device.strip_prefix(kind).is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
                && vmx.is_true(&format!("{device}.present"))
        };
        // A log beside the machine is the machine's own; a device or a pipe of the host's is not.
        let port = (is("serial") || is("parallel")) && field == "filename";
        let is_file = vmx.get(&format!("{device}.fileType")).is_some_and(|kind| kind.eq_ignore_ascii_case("file"));
        if port && (leads_out(value) || !is_file) || is("sharedfolder") && field == "hostpath" {
            ways.push(way(key.to_owned(), value, None));
        }
    }
    ways.truncate(MOST_TOLD);
    ways
}

fn leads_out(file: &str) -> bool {
    !Path::new(file).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// What a disk of the machine names outside of `directory`, an extent or a parent; `None`: nothing, or it is for VMware to judge.
fn named_by_disk(disk: &Path, directory: &Path) -> Option<String> {
    let policy = OpenPolicy::allow_below(vec![directory.to_owned()]);
    let error = kiln_disk_formats::open(disk, None, &policy).err()?;
    (error.kind() == ErrorKind::Refused).then(|| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(lines: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let flat =
            "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n";
        let descriptor = |file: &str| format!("{flat}RW 2048 FLAT \"{file}\" 0\n");
        std::fs::write(directory.path().join("own.vmdk"), descriptor("own-flat.vmdk")).unwrap();
        std::fs::write(directory.path().join("own-flat.vmdk"), vec![0; 1 << 20]).unwrap();
        std::fs::write(directory.path().join("thief.vmdk"), descriptor("../../etc/passwd")).unwrap();
        let vmx = Vmx::from_bytes(format!(".encoding = \"UTF-8\"\n{lines}\n").as_bytes()).unwrap();
        of(&vmx, directory.path()).iter().map(|way| way.to_string().split(" (").next().unwrap().to_owned()).collect()
    }

    fn disk(file: &str) -> String {
        format!("scsi0.present = \"TRUE\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"{file}\"")
    }

    #[test]
    fn what_leads_out_is_named_and_what_stays_is_not() {
        for file in ["../other/secret.vmdk", "/var/disk.vmdk", "a/../../b.vmdk", "thief.vmdk"] {
            assert_eq!(ways(&disk(file)), [format!("scsi0:0.fileName = {file:?}")]);
        }
        assert_eq!(ways(&disk("own.vmdk")), Vec::<String>::new());
        let serial = |kind: &str, file: &str| {
            ways(&format!("serial0.present = \"TRUE\"\nserial0.fileType = \"{kind}\"\nserial0.fileName = \"{file}\""))
        };
        assert_eq!(serial("file", "console.log"), Vec::<String>::new());
        assert_eq!(serial("file", "/root/.ssh/authorized_keys").len(), 1);
        assert_eq!(serial("device", "ttyS0").len(), 1);
        let shared = "sharedFolder0.present = \"TRUE\"\nsharedFolder0.hostPath = \"/\"";
        assert_eq!(ways(shared), ["sharedFolder0.hostPath = \"/\""]);
        assert_eq!(ways(&shared.replace("TRUE", "FALSE")), Vec::<String>::new());
    }

    #[test]
    fn what_the_template_says_itself_is_wanted() {
        let way = WayOut { key: "scsi0:0.fileName".to_owned(), value: "/d.vmdk".to_owned(), because: None };
        assert!(!way.is_said(&BTreeMap::new()));
        assert!(way.is_said(&BTreeMap::from([("SCSI0:0.filename".to_owned(), "/d.vmdk".to_owned())])));
    }
}
