//! Witnesses of which files were opened: the C library's functions, replaced in this process, and the kernel's own word for decoys.
#![expect(unsafe_code, reason = "functions that the C library's callers find by name")]

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::inotify;

static RECORDING: AtomicBool = AtomicBool::new(false);
static OPENED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Runs `work` and returns what it answers and every path that was opened meanwhile, successfully or not.
pub fn record<T>(work: impl FnOnce() -> T) -> (T, Vec<PathBuf>) {
    OPENED.lock().unwrap().clear();
    RECORDING.store(true, Ordering::SeqCst);
    let answer = work();
    RECORDING.store(false, Ordering::SeqCst);
    (answer, std::mem::take(&mut *OPENED.lock().unwrap()))
}

fn note(path: *const c_char) {
    if RECORDING.load(Ordering::SeqCst) {
        // SAFETY: callers of open() pass a string that ends with a zero byte.
        let path = unsafe { CStr::from_ptr(path) };
        OPENED.lock().unwrap().push(PathBuf::from(OsStr::from_bytes(path.to_bytes())));
    }
}

fn open_at(directory: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // A new file without a name shows nothing of anybody's: packed images are unpacked into one.
    if flags & libc::O_TMPFILE != libc::O_TMPFILE {
        note(path);
    }
    // SAFETY: the arguments are those of the system call, as the caller gave them.
    unsafe { libc::syscall(libc::SYS_openat, directory, path, flags, mode) as c_int }
}

// C declares these variadic; on the platforms we fuzz on, an integer as third or fourth argument is passed the same way.

/// Stands in for the C library's function.
#[unsafe(no_mangle)]
pub extern "C" fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    open_at(libc::AT_FDCWD, path, flags, mode)
}

/// Stands in for the C library's function.
#[unsafe(no_mangle)]
pub extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    open_at(libc::AT_FDCWD, path, flags, mode)
}

/// Stands in for the C library's function.
#[unsafe(no_mangle)]
pub extern "C" fn openat(directory: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    open_at(directory, path, flags, mode)
}

/// Stands in for the C library's function.
#[unsafe(no_mangle)]
pub extern "C" fn openat64(directory: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    open_at(directory, path, flags, mode)
}

/// Told by the kernel when somebody opens a file of a directory, by whatever means.
pub struct Decoys {
    events: OwnedFd,
}

impl Decoys {
    /// Watches the files of `directory`.
    pub fn watch(directory: &Path) -> Self {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let events = inotify::init(flags).expect("inotify can be used");
        inotify::add_watch(&events, directory, inotify::WatchFlags::OPEN).expect("the directory can be watched");
        Self { events }
    }

    /// Says whether one was opened since the last call.
    pub fn touched(&self) -> bool {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 1024];
        inotify::Reader::new(&self.events, &mut buffer).next().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opened_files_are_seen_by_both_witnesses() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("decoy");
        std::fs::write(&path, b"x").unwrap();
        let decoys = Decoys::watch(directory.path());
        assert!(!decoys.touched());
        let ((), opened) = record(|| drop(std::fs::File::open(&path).unwrap()));
        assert_eq!(opened, [path]);
        assert!(decoys.touched());
        assert!(!decoys.touched());
    }
}
