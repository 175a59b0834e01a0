//! Whether VirtualBox's kernel driver is there, and lets this user's machines in: without it VirtualBox answers everything, and refuses a
//! guest when all is made.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::Access;
use rustix::process::geteuid;

use super::installation::{Installation, may};

/// Mode bits by which the members of a group may use a device.
const GROUP_MAY: u32 = 0o060;

/// Whose members VirtualBox's packages let in, where no other group is named.
const GROUP: &str = "vboxusers";

/// What is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Driver {
    /// Guests can be started, as far as can be told.
    Ready,
    /// There is none: everything but a guest works.
    Missing(Trouble),
    /// It does not let this user in.
    Forbidden(Trouble),
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) reason: String,
    /// What to do about it.
    pub(super) hint: String,
}

/// Looks at the driver whose device is `device`, for the VirtualBox of `program`. `said`: what that says beside its version, for its starter
/// warns when there is none.
pub(super) fn look(device: &Path, program: &Path, said: &str) -> Driver {
    let installation = Installation::of(program);
    let Ok(found) = device.metadata() else {
        let warned = said.lines().any(|line| line.starts_with("WARNING:") && line.contains("vboxdrv"));
        let runs_on_kvm = installation.as_ref().is_some_and(Installation::knows_kvm);
        // Of an installation that is not found only its own word counts.
        return if runs_on_kvm || !(warned || installation.is_some()) { Driver::Ready } else { missing(device) };
    };
    let headless = installation.and_then(|installation| installation.headless());
    if let Some(headless) = headless.as_ref().filter(|headless| !headless.may_start) {
        let reason = format!("this user may not start {}, which runs VirtualBox's machines", headless.path.display());
        return Driver::Forbidden(Trouble { reason, hint: join(&group(headless.group)) });
    }
    if may(device, Access::READ_OK | Access::WRITE_OK) {
        return Driver::Ready;
    }
    match headless {
        Some(headless) if !headless.as_root => {
            let members_may = found.mode() & GROUP_MAY == GROUP_MAY && found.gid() != 0;
            let hint = if members_may {
                join(&group(found.gid()))
            } else {
                format!(
                    "install VirtualBox anew: its package makes {} a program that runs as root (mode 4755), which alone may open the \
                     driver; and see that its file system is not mounted nosuid",
                    headless.path.display()
                )
            };
            let reason = format!("this user may not open {}, VirtualBox's kernel driver", device.display());
            Driver::Forbidden(Trouble { reason, hint })
        }
        // It opens the driver for everybody who may start it.
        _ => Driver::Ready,
    }
}

fn missing(device: &Path) -> Driver {
    Driver::Missing(Trouble {
        reason: format!(
            "VirtualBox's kernel driver is not loaded ({} is not there): machines can be made, but no guest can be started",
            device.display()
        ),
        hint: "load it (`sudo modprobe vboxdrv`); where there is none for this kernel, build it: install the kernel's headers, then \
               `sudo /sbin/vboxconfig` (Oracle's package) or the package virtualbox-dkms (Debian)"
            .to_owned(),
    })
}

/// What somebody does who is not in `group`.
fn join(group: &str) -> String {
    let user = std::env::var("USER").ok().filter(|user| !user.is_empty() && geteuid().as_raw() != 0);
    let user = user.unwrap_or_else(|| "USER".to_owned());
    format!(
        "become a member of the group {group} (`sudo usermod -aG {group} {user}`), log in again, and end the daemon that was started \
         before (`kiln daemon stop`)"
    )
}

/// A group's name, where this machine's own list has it.
fn group(id: u32) -> String {
    let list = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let name = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    };
    list.lines().find_map(name).filter(|_| id != 0).unwrap_or_else(|| GROUP.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    use std::path::PathBuf;

    use rustix::process::{Gid, Uid};
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    use tempfile::TempDir;

    use super::*;

    const NOBODY: u32 = 65534;

    /// A device of the tests, and an installation with a program that opens it.
    struct World {
        directory: TempDir,
    }

    impl World {
        fn new() -> Self {
            let world = Self { directory: tempfile::tempdir().unwrap() };
            world.mode(".", 0o755);
            for name in ["VBoxManage", "VBoxVMM.so", "VBoxHeadless", "vboxdrv"] {
                std::fs::write(world.path(name), b"\x7fELF").unwrap();
                world.mode(name, 0o755);
            }
            world
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn mode(&self, name: &str, mode: u32) {
            std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }

        /// What somebody is told who owns nothing of it: root becomes nobody, in a thread that ends with it.
        fn told(&self) -> Driver {
            let (device, program) = (self.path("vboxdrv"), self.path("VBoxManage"));
            let looking = move || {
                if geteuid().is_root() {
                    set_thread_groups(&[]).unwrap();
                    let (group, user) = (Gid::from_raw(NOBODY), Uid::from_raw(NOBODY));
                    set_thread_res_gid(group, group, group).unwrap();
                    set_thread_res_uid(user, user, user).unwrap();
                }
                look(&device, &program, "")
            };
            std::thread::spawn(looking).join().unwrap()
        }
    }

    #[test]
    fn a_driver_that_lets_nobody_in_is_told_with_the_group_that_it_lets_in() {
        let world = World::new();
        world.mode("vboxdrv", 0o666);
        assert_eq!(world.told(), Driver::Ready);
        world.mode("vboxdrv", 0o060);
        if geteuid().is_root() {
            chown(world.path("vboxdrv"), Some(0), Some(12)).unwrap();
        }
        let Driver::Forbidden(Trouble { reason, hint }) = world.told() else { panic!("{:?}", world.told()) };
        assert!(reason.contains("may not open") && reason.contains("vboxdrv"), "{reason}");
        assert!(hint.contains("usermod -aG ") && hint.contains("log in again"), "{hint}");
        if geteuid().is_root() {
            assert!(hint.contains(&format!("-aG {} ", group(12))) && group(12) != GROUP, "{hint}");
        }
        world.mode("vboxdrv", 0o000);
        let Driver::Forbidden(Trouble { hint, .. }) = world.told() else { panic!("{:?}", world.told()) };
        assert!(hint.contains("4755"), "{hint}");
        // Nobody knows who opens it.
        std::fs::remove_file(world.path("VBoxVMM.so")).unwrap();
        assert_eq!(world.told(), Driver::Ready);
    }

    /// As VirtualBox's packages leave it: the device is root's alone.
    #[test]
    fn a_hardened_virtualbox_opens_its_driver_for_everybody_who_may_start_it() {
        if !geteuid().is_root() {
            return;
        }
        let world = World::new();
        world.mode("vboxdrv", 0o600);
        world.mode("VBoxHeadless", 0o4755);
        assert_eq!(world.told(), Driver::Ready);
        world.mode("VBoxHeadless", 0o4750);
        chown(world.path("VBoxHeadless"), Some(0), Some(12)).unwrap();
        world.mode("VBoxHeadless", 0o4750);
        let Driver::Forbidden(Trouble { reason, hint }) = world.told() else { panic!("{:?}", world.told()) };
        assert!(reason.contains("may not start") && hint.contains(&format!("-aG {} ", group(12))), "{reason} {hint}");
    }

    #[test]
    fn one_that_is_not_there_is_missed_unless_guests_run_on_kvm() {
        let world = World::new();
        std::fs::remove_file(world.path("vboxdrv")).unwrap();
        let Driver::Missing(Trouble { reason, hint }) = world.told() else { panic!("{:?}", world.told()) };
        assert!(reason.contains("no guest can be started") && hint.contains("modprobe vboxdrv"), "{reason} {hint}");
        std::fs::write(world.path("VBoxVMM.so"), "… /dev/kvm …").unwrap();
        assert_eq!(world.told(), Driver::Ready);
        std::fs::remove_file(world.path("VBoxVMM.so")).unwrap();
        assert_eq!(world.told(), Driver::Ready, "nobody knows");
        let warned = "WARNING: The character device /dev/vboxdrv does not exist.\n\tPlease install\n7.2.4\n";
        let looked = look(&world.path("vboxdrv"), &world.path("VBoxManage"), warned);
        assert!(matches!(looked, Driver::Missing(_)), "{looked:?}");
    }

    #[test]
    fn a_group_that_this_machine_does_not_know_is_called_as_the_packages_do() {
        assert_eq!((group(0).as_str(), group(4_000_000_000).as_str()), (GROUP, GROUP));
    }
}
