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
    let disks = match vmx.disks() {
        Ok(disks) => disks,
        Err(error) => {
            let (key, value) = ("its disks".to_owned(), String::new());
            return vec![WayOut { key, value, because: Some(format!("which they are cannot be told: {error}")) }];
        }
    };
    let mut ways = Vec::new();
    for (key, value) in vmx.iter().filter(|(_, value)| !value.is_empty()) {
        let lower = key.to_ascii_lowercase();
        let (device, field) = lower.split_once('.').unwrap_or(("", &lower));
        if !names_a_place(&lower) || is_switched_off(vmx, device) {
            continue;
        }
        let listed = disks.iter().any(|(disk, _)| disk.eq_ignore_ascii_case(device));
        let disk =
            field == "filename" && (listed || device.contains(':') && value.to_ascii_lowercase().ends_with(".vmdk"));
        let because = if leads_out(value, directory) {
            if !disk && is_a_drives_own(device, value) {
                continue;
            }
            None
        } else if disk {
            match named_by_disk(&directory.join(value), directory) {
                None => continue,
                because => because,
            }
        } else if is_port(device) && field == "filename" && !is_file(vmx, device) {
            Some("a device, a pipe or a printer of this host".to_owned())
        } else {
            continue;
        };
        ways.push(WayOut { key: key.to_owned(), value: value.to_owned(), because });
    }
    ways.truncate(MOST_TOLD);
    ways
}

/// Whether the value of a key, in lower case, is a file or directory that VMware reads or writes.
fn names_a_place(key: &str) -> bool {
    const PARTS: [&str; 6] = ["file", "dir", "path", "nvram", "vmstate", "url"];
    // What the guest is told, and what it asks for, is text.
    !key.starts_with("guestinfo.") && PARTS.iter().any(|part| key.contains(part))
}

/// A device that is said not to be there. Whatever else its `present` is, VMware may take for a yes, and a floppy drive is there unless it
/// is said not to be.
fn is_switched_off(vmx: &Vmx, device: &str) -> bool {
    let is_device = device.ends_with(|last: char| last.is_ascii_digit());
    is_device
        && match vmx.get(&format!("{device}.present")) {
            Some(value) => ["", "false", "0"].contains(&&*value.to_ascii_lowercase()),
            None => !device.starts_with("floppy"),
        }
}

fn is_port(device: &str) -> bool {
    ["serial", "parallel"].iter().any(|kind| device.starts_with(kind))
}

fn is_file(vmx: &Vmx, device: &str) -> bool {
    vmx.get(&format!("{device}.fileType")).is_some_and(|kind| kind.eq_ignore_ascii_case("file"))
}

/// What many machines have in their CD and floppy drives: the host's drive, and a disc of VMware's own.
fn is_a_drives_own(device: &str, value: &str) -> bool {
    let is_drive = device.starts_with("floppy") || device.contains(':');
    let numbered =
        |start: &str| value.strip_prefix(start).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    let below = |directory: &str| value.strip_prefix(directory).is_some_and(|rest| !rest.contains(".."));
    is_drive && (["/dev/cdrom", "/dev/sr", "/dev/fd"].into_iter().any(numbered) || below("/usr/lib/vmware/"))
}

fn leads_out(file: &str, directory: &Path) -> bool {
    if !Path::new(file).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return true;
    }
    // A link may lead anywhere, also one at whose end nothing is yet. What is not there, or is no name of a file, leads nowhere.
    match (directory.join(file).canonicalize(), directory.canonicalize()) {
        (Ok(end), Ok(directory)) => !end.starts_with(directory),
        _ => directory.join(file).is_symlink(),
    }
}

/// What a disk of the machine names outside of `directory`, an extent or a parent, or why that cannot be told; `None`: nothing.
fn named_by_disk(disk: &Path, directory: &Path) -> Option<String> {
    let policy = OpenPolicy::allow_below(vec![directory.to_owned()]);
    let error = kiln_disk_formats::open(disk, None, &policy).err()?;
    // What is not there is told by its own words, and what is encrypted names its files in the open.
    (disk.is_file() && error.kind() != ErrorKind::Encrypted).then(|| error.to_string())
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
        std::fs::write(directory.path().join("odd.vmdk"), format!("{flat}RW 63 NONSENSE \"/etc/passwd\" 0\n")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("link.vmdk")).unwrap();
        std::os::unix::fs::symlink("/nonexistent/x", directory.path().join("web.nvram-link")).unwrap();
        let vmx = Vmx::from_bytes(format!(".encoding = \"UTF-8\"\n{lines}\n").as_bytes()).unwrap();
        of(&vmx, directory.path()).iter().map(|way| way.to_string().split(" (").next().unwrap().to_owned()).collect()
    }

    fn disk(file: &str) -> String {
        format!("scsi0.present = \"TRUE\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"{file}\"")
    }

    #[test]
    fn what_leads_out_is_named_and_what_stays_is_not() {
        for file in ["../other/secret.vmdk", "/var/disk.vmdk", "a/../../b.vmdk", "thief.vmdk", "odd.vmdk", "link.vmdk"]
        {
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
        assert_eq!(ways(&shared.replace("TRUE", "1")).len(), 1);
        assert_eq!(ways(&shared.replace("TRUE", "FALSE")), Vec::<String>::new());
        for lines in
            ["nvram = \"/etc/passwd\"", "log.fileName = \"../x\"", "workingDir = \"/tmp\"", "sched.swap.dir = \"/\""]
        {
            assert_eq!(ways(lines), [lines]);
        }
        let drive = |device: &str, file: &str| {
            ways(&format!("{device}.present = \"TRUE\"\n{device}.fileName = \"{file}\"")).len()
        };
        assert_eq!((drive("ide1:0", "/etc/passwd"), drive("floppy0", "/etc/passwd")), (1, 1));
        assert_eq!((drive("ide1:0", "auto detect"), drive("floppy0", "/dev/fd0")), (0, 0));
        assert_eq!(drive("sata0:1", "/usr/lib/vmware/isoimages/linux.iso"), 0);
        assert_eq!(drive("sata0:1", "/usr/lib/vmware/../../../etc/passwd"), 1);
        assert_eq!(drive("floppy0", "/dev/fd/../root/x"), 1);
        assert_eq!(ways("floppy0.fileName = \"/etc/passwd\"").len(), 1);
        assert_eq!(ways(&disk("thief.vmdk").replace("0:0.present = \"TRUE\"", "0:0.present = \"1\"")).len(), 1);
        assert_eq!(ways("nvram = \"web.nvram-link\"").len(), 1);
        let plain =
            "nvram = \"web.nvram\"\nextendedConfigFile = \"web.vmxf\"\nworkingDir = \".\"\nmsg.autoAnswer = \"TRUE\"";
        assert_eq!(ways(plain), Vec::<String>::new());
    }

    #[test]
    fn what_the_template_says_itself_is_wanted() {
        let way = WayOut { key: "scsi0:0.fileName".to_owned(), value: "/d.vmdk".to_owned(), because: None };
        assert!(!way.is_said(&BTreeMap::new()));
        assert!(way.is_said(&BTreeMap::from([("SCSI0:0.filename".to_owned(), "/d.vmdk".to_owned())])));
    }
}
