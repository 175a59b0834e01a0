//! Touching files of a user with that user's rights: what a daemon for all users, which is root, does in the directories of jobs.
//!
//! Whatever lies in a directory that belongs to a user was perhaps put there by that user: links, fifos, other directories under the names of
//! ours. So nothing is looked at before it is used. Instead the thread that works there has the user's rights meanwhile: effective user and
//! group, no other group, no capability. The kernel then refuses what it would refuse the user.
//!
//! Real and saved ids stay root's. With them the user can neither signal nor trace this process; and a file system that the user has mounted
//! (FUSE) refuses it, so that none of its answers is waited for (`fuse_allow_current_process` of the kernel asks for all three ids). Unless root
//! lets users mount for others, too (`user_allow_other` in fuse.conf(5)): then it answers, or never does. So whose a directory is is found out
//! without asking what is mounted there (`openat2`), and what is done in it is done on threads of which each user has a few.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, getegid, geteuid, getgroups};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Whose rights are used where it is not known whose files they are: nobody's.
const NOBODY: u32 = 65534;

/// A user, as far as files know one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id of what the user makes.
    pub gid: u32,
}

impl Owner {
    /// Returns whose directory it is, by the kernel's word.
    ///
    /// # Errors
    ///
    /// It is no directory, a link among others, is not there, or has another file system mounted on it.
    pub(crate) fn of(directory: &Path) -> io::Result<Self> {
        let found = File::from(open_directory(directory)?).metadata()?;
        Ok(Self { uid: found.uid(), gid: found.gid() })
    }

    /// Somebody who has no files.
    pub(crate) fn nobody() -> Self {
        Self { uid: NOBODY, gid: NOBODY }
    }

    /// Does this work with the rights of this user, in this thread. Where this process is not root, or is this user, just does it.
    ///
    /// The work must not start threads (or have tokio start some): they would keep these rights.
    ///
    /// # Panics
    ///
    /// The system does not let root take another user's rights, as in a sandbox without `CAP_SETUID`: nothing is done then.
    pub(crate) fn does<T>(self, work: impl FnOnce() -> T) -> T {
        let present = geteuid();
        if !present.is_root() || present.as_raw() == self.uid {
            return work();
        }
        let _rights =
            Rights::take(self).unwrap_or_else(|error| panic!("root cannot act as user {}: {error}", self.uid));
        work()
    }
}

/// Opens a directory, to name it and no more, without asking a file system that is mounted on it: a user can mount one on a directory of their
/// own (FUSE), and it says whatever they like, or nothing, and whoever has asked waits.
///
/// # Errors
///
/// It is no directory, a link among others, is not there, or has another file system mounted on it.
pub(crate) fn open_directory(directory: &Path) -> io::Result<OwnedFd> {
    let (above, name) = match (directory.parent(), directory.file_name()) {
        (Some(above), Some(name)) if above != Path::new("") => (above, name),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Where it lies is this daemon's alone.
    let above_it = openat(CWD, above, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match openat2(&above_it, name, flags, Mode::empty(), resolve) {
        Ok(found) => Ok(found),
        Err(Errno::XDEV) => Err(is_mounted_on(directory)),
        Err(Errno::LOOP) => Err(io::ErrorKind::NotADirectory.into()),
        // A kernel before 5.6, or a sandbox that does not know of it.
        Err(Errno::NOSYS | Errno::PERM) => {
            let found = openat(&above_it, name, flags, Mode::empty())?;
            if mount_of(&found)? == mount_of(&above_it)? { Ok(found) } else { Err(is_mounted_on(directory)) }
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns which mount something lies on. The kernel knows it by itself, while a file system that is mounted may be asked by fstat(2).
fn mount_of(opened: &OwnedFd) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", opened.as_raw_fd()))?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc tells no mount of what is open"))
}

fn is_mounted_on(directory: &Path) -> io::Error {
    io::Error::other(format!("another file system is mounted on {}", directory.display()))
}

/// Says whether this process can act as others.
pub(crate) fn is_possible() -> io::Result<()> {
    Rights::take(Owner::nobody()).map(drop)
}

/// The rights of somebody else, until dropped.
struct Rights {
    gid: Gid,
    groups: Vec<Gid>,
}

impl Rights {
    fn take(owner: Owner) -> io::Result<Self> {
        let rights = Self { gid: getegid(), groups: getgroups()? };
        // From here on, whatever fails, dropping gives everything back. The user comes last: with it goes the right to change the others.
        set_thread_groups(&[])?;
        set_thread_res_gid(None, Gid::from_raw(owner.gid), None)?;
        set_thread_res_uid(None, Uid::from_raw(owner.uid), None)?;
        Ok(rights)
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        let given_back = set_thread_res_uid(None, Uid::ROOT, None)
            .and_then(|()| set_thread_res_gid(None, self.gid, None))
            .and_then(|()| set_thread_groups(&self.groups));
        if given_back.is_err() {
            // Somebody's rights in a thread that goes on to work for others: worse than no daemon. Workers run on.
            std::process::abort();
        }
    }
}

/// Whether a test that acts as several users cannot be run; says so.
#[cfg(test)]
pub(crate) fn is_missing_root() -> bool {
    if geteuid().is_root() {
        return false;
    }
    let all = std::env::var("KILN_TEST_REQUIRE").is_ok_and(|required| required == "all");
    assert!(!all, "KILN_TEST_REQUIRE=all, but this is not run by root");
    eprintln!("ignored: needs root");
    true
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    const ALICE: Owner = Owner { uid: 61001, gid: 61101 };

    #[test]
    fn work_is_done_with_the_rights_of_the_user_and_no_more() {
        if is_missing_root() {
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o711)).unwrap();
        let (own, roots) = (scratch.path().join("own"), scratch.path().join("roots"));
        std::fs::create_dir(&own).unwrap();
        chown(&own, Some(ALICE.uid), Some(ALICE.gid)).unwrap();
        std::fs::write(&roots, "secret").unwrap();
        // Readable for the group of root: not to be had by a group that was forgotten.
        std::fs::set_permissions(&roots, PermissionsExt::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&roots, own.join("link")).unwrap();
        assert_eq!(Owner::of(&own).unwrap(), ALICE);
        assert!(Owner::of(&own.join("link")).is_err() && Owner::of(&roots).is_err());
        let mounted = Owner::of(Path::new("/proc")).unwrap_err().to_string();
        assert!(mounted.contains("another file system is mounted on /proc"), "{mounted}");
        assert_eq!(Owner::of(&own.join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);

        let seen = ALICE.does(|| {
            std::fs::write(own.join("file"), "x").unwrap();
            let refused = [
                std::fs::read(own.join("link")).map(drop),
                std::fs::write(own.join("link"), "y"),
                std::fs::remove_file(&roots),
                std::fs::write(scratch.path().join("new"), ""),
                chown(own.join("file"), Some(0), Some(0)),
            ];
            // A second time it is no change.
            ALICE.does(|| std::fs::write(own.join("again"), "x")).unwrap();
            refused.map(|result| result.unwrap_err().kind() == io::ErrorKind::PermissionDenied)
        });
        assert_eq!(seen, [true; 5]);
        let made = own.join("file").metadata().unwrap();
        assert_eq!((made.uid(), made.gid()), (ALICE.uid, ALICE.gid));
        assert_eq!(std::fs::read_to_string(&roots).unwrap(), "secret");
    }

    #[test]
    fn a_mount_is_told_from_what_lies_below_it() {
        let open = |path: &Path| openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let mount = |path: &Path| mount_of(&open(path)).unwrap();
        let below = scratch.path().join("below");
        std::fs::create_dir(&below).unwrap();
        assert_eq!(mount(&below), mount(scratch.path()));
        assert_ne!(mount(Path::new("/proc")), mount(Path::new("/")));
    }

    #[test]
    fn the_thread_is_root_again_also_after_a_panic_and_others_never_were_anything_else() {
        if is_missing_root() {
            return;
        }
        let groups = getgroups().unwrap();
        let (inside, look) = std::sync::mpsc::channel();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let worker = std::thread::spawn(move || {
            let panicked = std::panic::catch_unwind(|| {
                ALICE.does(|| {
                    inside.send(geteuid().as_raw()).unwrap();
                    wait.recv().unwrap();
                    panic!("as the test wants it")
                })
            });
            assert!(panicked.is_err());
            (geteuid().as_raw(), getegid().as_raw(), getgroups().unwrap())
        });
        assert_eq!(look.recv().unwrap(), ALICE.uid);
        assert_eq!(geteuid().as_raw(), 0, "the other thread is somebody else, this one is not");
        done.send(()).unwrap();
        assert_eq!(worker.join().unwrap(), (0, getegid().as_raw(), groups));
        is_possible().unwrap();
    }
}
