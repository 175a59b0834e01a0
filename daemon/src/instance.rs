//! One daemon per user: the lock, and the socket that appears only when it can be used.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net;
use std::path::{Path, PathBuf};

use kiln_builder::regular_file;
use kiln_protocol::places::{Holder, KILN_SOCKET, LOCK_NAME};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, test_kill_process};
use tokio::net::UnixListener;

use crate::config::{Config, Mode};
use crate::private_directory::{self, DirectoryError, Privacy};

/// Clients that the kernel keeps until they are accepted; more of them wait in `connect`, or are refused when they may not block. Not more,
/// for whoever comes stands behind all of them: some 40 ms.
const BACKLOG: i32 = 1024;

/// Longest lock file that is read, in bytes: a path and a number.
const MAX_LOCK_BYTES: u64 = 16 << 10;

/// Reports that this process cannot become the user's daemon.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// A directory cannot be trusted or made.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// That of a user's jobs.
    #[error(transparent)]
    State(DirectoryError),
    /// One of a daemon for all users.
    #[error(transparent)]
    Place(DirectoryError),
    /// Another daemon is there.
    #[error("another kilnd {}holds {lock}", .holder.as_ref().map_or_else(String::new, |holder| format!("(process {}, at {}) ", holder.pid, holder.socket.display())))]
    AlreadyRunning {
        /// Its lock.
        lock: PathBuf,
        /// Who it is, when the lock says so.
        holder: Option<Holder>,
    },
    /// The lock or the socket cannot be made.
    #[error("cannot {action} {path}")]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something that is no socket has its name.
    #[error("{path} exists and is not a socket")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
}

impl InstanceError {
    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Directory(error) | Self::State(error @ DirectoryError::Open { .. }) => error.hint(),
            Self::State(_) => Some(
                "kilnd keeps jobs there: set XDG_STATE_HOME to a directory of yours that can be written, as XDG_STATE_HOME=/var/tmp/NAME, or HOME. \
                 A daemon for all users (`systemctl enable --now kilnd.socket`) needs neither"
                    .to_owned(),
            ),
            Self::Place(DirectoryError::Io { .. }) => {
                Some("root has to be able to write there; `kilnd --system --prefix DIR` has all of its places below DIR".to_owned())
            }
            Self::Place(_) => Some("`kilnd --system` has it to itself, as a directory of root's: move away what is there".to_owned()),
            Self::AlreadyRunning { holder: Some(holder), .. } => {
                let socket = holder.socket.display();
                let pid = holder.pid;
                Some(format!(
                    "`kiln daemon status` shows it; with {KILN_SOCKET}={socket} everybody finds it. `kill {pid}` ends it; its workers run on"
                ))
            }
            Self::AlreadyRunning { .. } => Some("`kiln daemon status` shows it".to_owned()),
            Self::Io { .. } => None,
            Self::NotASocket { path } => Some(format!("remove {} or set {KILN_SOCKET}", path.display())),
        }
    }
}

/// The right to be the daemon, and its socket's name; both go when dropped.
#[derive(Debug)]
pub struct Instance {
    socket: PathBuf,
    /// Device and inode of the socket, so that a successor's is never removed; nothing for one that a service manager keeps.
    bound: Option<(u64, u64)>,
    _locks: Locks,
}

impl Instance {
    /// Makes the directories, takes the locks and binds the socket (mode 0600). A socket that a dead daemon left is replaced.
    ///
    /// # Errors
    ///
    /// Another daemon runs, a directory belongs to somebody else, or the system refuses.
    pub fn claim(config: &Config, chosen_by_user: bool) -> Result<(Self, UnixListener), InstanceError> {
        let mut locks = Locks::take(config, chosen_by_user)?;
        let (listener, bound) = bind(&config.socket, socket_mode(config.mode))?;
        locks.say_who(config)?;
        Ok((Self { socket: config.socket.clone(), bound: Some(bound), _locks: locks }, listener))
    }

    /// [`Instance::claim`] where a service manager listens already, on the socket of `config`, and goes on listening when this process
    /// has ended.
    ///
    /// # Errors
    ///
    /// Another daemon runs, a directory belongs to somebody else, or the system refuses.
    pub fn claim_inherited(
        config: &Config,
        chosen_by_user: bool,
        listener: &net::UnixListener,
    ) -> Result<(Self, UnixListener), InstanceError> {
        let mut locks = Locks::take(config, chosen_by_user)?;
        let ours = listener.try_clone().and_then(|listener| {
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener)
        });
        let listener = ours.map_err(|source| io_error("listen on", &config.socket, source))?;
        locks.say_who(config)?;
        Ok((Self { socket: config.socket.clone(), bound: None, _locks: locks }, listener))
    }
}

/// The directories in which users have some of their own.
fn system_directories(config: &Config) -> [PathBuf; 6] {
    let (state, sockets) = (&config.state_directory, config.sockets_directory());
    let (runtime, cache) = (config.runtime_directory().to_owned(), config.cache_directory.clone());
    [state.clone(), state.join("jobs"), sockets.clone(), sockets.join("jobs"), runtime, cache]
}

/// The locks of the state directory and of the socket.
#[derive(Debug)]
struct Locks([(PathBuf, File); 2]);

impl Locks {
    fn take(config: &Config, chosen_by_user: bool) -> Result<Self, InstanceError> {
        if config.mode == Mode::System {
            for path in system_directories(config) {
                private_directory::open_to_pass(&path, config.owner).map_err(InstanceError::Place)?;
            }
            return Self::lock(config);
        }
        let runtime = config.runtime_directory();
        let privacy = if chosen_by_user { Privacy::NotWritable } else { Privacy::Closed };
        private_directory::ensure(runtime, config.owner, privacy)?;
        let state = private_directory::ensure(&config.state_directory, config.owner, Privacy::NotWritable);
        state.map_err(InstanceError::State)?;
        // What is in it is nobody else's business, whatever mode it was made with.
        let closed = private_directory::close(&config.state_directory);
        closed.map_err(|source| io_error("close", &config.state_directory, source))?;
        Self::lock(config)
    }

    fn lock(config: &Config) -> Result<Self, InstanceError> {
        let locked = |path: PathBuf| lock(&path).map(|file| (path, file));
        Ok(Self([locked(config.state_directory.join(LOCK_NAME))?, locked(config.socket.with_extension("lock"))?]))
    }

    /// Writes into them who holds them.
    fn say_who(&mut self, config: &Config) -> Result<(), InstanceError> {
        let holder = Holder { pid: std::process::id(), socket: config.socket.clone() };
        for (path, file) in &mut self.0 {
            say_who(file, &holder).map_err(|source| io_error("write", path, source))?;
        }
        Ok(())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.socket.symlink_metadata().is_ok_and(|found| Some((found.dev(), found.ino())) == self.bound) {
            let _ = std::fs::remove_file(&self.socket);
        }
    }
}

/// Whether a daemon has the lock in this state directory. Looks without touching the lock, so that none which is just starting is told
/// that there is another.
pub(crate) fn is_held(state_directory: &Path) -> bool {
    let pid = holder(state_directory).and_then(|holder| i32::try_from(holder.pid).ok()).and_then(Pid::from_raw);
    // That of a daemon which is gone may be another process's by now; then one note is missing.
    pid.is_some_and(|pid| test_kill_process(pid).is_ok())
}

/// Returns the daemon that has (or had, if it is gone) the lock in this state directory.
pub(crate) fn holder(state_directory: &Path) -> Option<Holder> {
    read_holder(&state_directory.join(LOCK_NAME))
}

/// Asks the daemon that has the lock in this state directory to end, if `socket` is where it listened: a service manager has that name now, so
/// nobody reaches it any more. Its workers run on. Tells whether it was asked.
pub(crate) fn end_unreachable(state_directory: &Path, socket: &Path) -> bool {
    let lock = state_directory.join(LOCK_NAME);
    let Some(holder) = read_holder(&lock).filter(|holder| holder.socket == socket) else { return false };
    let Some(pid) = i32::try_from(holder.pid).ok().and_then(Pid::from_raw) else { return false };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    // The number may be another process's by now; after the descriptor was opened it stays this one's.
    has_open(holder.pid, &lock) && pidfd_send_signal(process, Signal::TERM).is_ok()
}

/// Whether a process has this file open.
fn has_open(pid: u32, file: &Path) -> bool {
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let Ok(file) = file.canonicalize() else { return false };
    open.flatten().any(|descriptor| std::fs::read_link(descriptor.path()).is_ok_and(|target| target == file))
}

fn read_holder(path: &Path) -> Option<Holder> {
    let mut text = Vec::new();
    regular_file::open_to_read(path).ok()?.take(MAX_LOCK_BYTES).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Writes into a lock that is held who holds it.
fn say_who(file: &mut File, holder: &Holder) -> io::Result<()> {
    let text = serde_json::to_vec(holder)?;
    file.set_len(0)?;
    file.write_all(&text)
}

fn lock(path: &Path) -> Result<File, InstanceError> {
    let options = &mut OpenOptions::new();
    let opened = regular_file::open(path, options.write(true).create(true).truncate(false).mode(0o600));
    let file = opened.map_err(|source| io_error("open", path, source))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(InstanceError::AlreadyRunning { lock: path.to_owned(), holder: read_holder(path) })
        }
        Err(error) => Err(io_error("lock", path, error.into())),
    }
}

/// Who may connect: the owner, or everybody, each to be told apart by the kernel's word.
fn socket_mode(mode: Mode) -> u32 {
    match mode {
        Mode::User => 0o600,
        Mode::System => 0o666,
    }
}

/// Binds under a temporary name and renames, so that the socket is never there with a wrong mode or without a listener.
fn bind(path: &Path, mode: u32) -> Result<(UnixListener, (u64, u64)), InstanceError> {
    match path.symlink_metadata() {
        Ok(found) if !found.file_type().is_socket() => return Err(InstanceError::NotASocket { path: path.to_owned() }),
        _ => {}
    }
    let temporary = path.with_extension("new");
    // Only the holder of the lock gets here, so whatever has this name was left by a dead daemon.
    let _ = std::fs::remove_file(&temporary);
    let bound = || -> io::Result<(UnixListener, (u64, u64))> {
        let listener = UnixListener::bind(&temporary)?;
        // Listens already, with a backlog of 4,096 (net.core.somaxconn).
        rustix::net::listen(&listener, BACKLOG)?;
        std::fs::set_permissions(&temporary, Permissions::from_mode(mode))?;
        let metadata = temporary.symlink_metadata()?;
        std::fs::rename(&temporary, path)?;
        Ok((listener, (metadata.dev(), metadata.ino())))
    };
    bound().map_err(|source| {
        let _ = std::fs::remove_file(&temporary);
        io_error("listen on", path, source)
    })
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> InstanceError {
    InstanceError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;

    fn config(scratch: &Path) -> Config {
        Config { owner: rustix::process::getuid().as_raw(), ..Config::below(scratch) }
    }

    /// Claims once nobody holds the locks: a process that a neighbouring test has just forked holds every open file until it executes
    /// its program.
    fn when_free(
        mut claim: impl FnMut() -> Result<(Instance, UnixListener), InstanceError>,
    ) -> Result<(Instance, UnixListener), InstanceError> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match claim() {
                Err(InstanceError::AlreadyRunning { .. }) if Instant::now() < deadline => std::thread::yield_now(),
                claimed => return claimed,
            }
        }
    }

    #[tokio::test]
    async fn the_second_daemon_is_refused_and_a_stale_socket_is_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let config = config(scratch.path());
        let (first, _listener) = Instance::claim(&config, false).unwrap();
        assert_eq!(config.socket.metadata().unwrap().mode() & 0o777, 0o600);
        UnixStream::connect(&config.socket).unwrap();
        let holder = Holder { pid: std::process::id(), socket: config.socket.clone() };
        assert_eq!(super::holder(&config.state_directory), Some(holder.clone()));
        // Also for who looks for it elsewhere.
        let elsewhere = Config { socket: scratch.path().join("other/kiln.sock"), ..config.clone() };
        for config in [&config, &elsewhere] {
            let error = Instance::claim(config, false).unwrap_err();
            assert!(matches!(&error, InstanceError::AlreadyRunning { holder: Some(found), .. } if *found == holder));
            assert!(error.to_string().starts_with(&format!("another kilnd (process {}, at ", holder.pid)), "{error}");
        }
        drop(first);
        assert!(!config.socket.exists(), "a daemon that ends takes its socket along");

        // One that a service manager listens on stays, and whoever connects to it is served.
        let kept = net::UnixListener::bind(&config.socket).unwrap();
        let (first, listener) = when_free(|| Instance::claim_inherited(&config, false, &kept)).unwrap();
        let _client = UnixStream::connect(&config.socket).unwrap();
        listener.accept().await.unwrap();
        assert!(matches!(Instance::claim(&config, false), Err(InstanceError::AlreadyRunning { .. })));
        drop((first, listener));
        UnixStream::connect(&config.socket).unwrap();
        drop(kept);
        std::fs::remove_file(&config.socket).unwrap();

        drop(net::UnixListener::bind(&config.socket).unwrap());
        // Stale, once nobody who was forked meanwhile has it open.
        let deadline = Instant::now() + Duration::from_secs(30);
        while UnixStream::connect(&config.socket).is_ok() {
            assert!(Instant::now() < deadline, "a dropped listener is reached");
            std::thread::yield_now();
        }
        let (_second, _listener) = when_free(|| Instance::claim(&config, false)).unwrap();
        UnixStream::connect(&config.socket).unwrap();
    }

    #[test]
    fn only_who_has_the_lock_open_and_listened_there_is_asked_to_end() {
        let scratch = tempfile::tempdir().unwrap();
        let (lock, socket) = (scratch.path().join(LOCK_NAME), scratch.path().join("kiln.sock"));
        std::fs::write(&lock, "").unwrap();
        let says = |pid: u32, socket: &Path| {
            let holder = Holder { pid, socket: socket.to_owned() };
            std::fs::write(&lock, serde_json::to_vec(&holder).unwrap()).unwrap();
        };
        let sleeper = |stdin: std::process::Stdio| Command::new("sleep").arg("1000").stdin(stdin).spawn().unwrap();
        let mut stranger = sleeper(std::process::Stdio::null());
        let mut holder = sleeper(File::open(&lock).unwrap().into());
        says(stranger.id(), &socket);
        assert!(!end_unreachable(scratch.path(), &socket), "the number of another process");
        says(holder.id(), &scratch.path().join("elsewhere.sock"));
        assert!(!end_unreachable(scratch.path(), &socket), "it can be reached where it listens");
        assert!(stranger.try_wait().unwrap().is_none() && holder.try_wait().unwrap().is_none());
        says(holder.id(), &socket);
        assert!(end_unreachable(scratch.path(), &socket));
        assert_eq!(holder.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    /// As the account of a service has one: a home that nobody has made, or can.
    #[test]
    fn who_has_no_home_is_told_what_does_without() {
        let scratch = tempfile::tempdir().unwrap();
        let config = Config { state_directory: "/proc/none/kiln".into(), ..config(scratch.path()) };
        let refused = Instance::claim(&config, false).unwrap_err();
        assert!(refused.to_string().contains("cannot use the directory /proc/none/kiln"), "{refused}");
        let hint = refused.hint().unwrap();
        assert!(hint.contains("XDG_STATE_HOME=/var/tmp/NAME") && !hint.contains("KILN_SOCKET"), "{hint}");
    }

    #[tokio::test]
    async fn files_and_links_in_the_way_are_not_touched() {
        let scratch = tempfile::tempdir().unwrap();
        let config = config(scratch.path());
        drop(Instance::claim(&config, false).unwrap());
        std::fs::write(&config.socket, "precious").unwrap();
        assert!(matches!(when_free(|| Instance::claim(&config, false)), Err(InstanceError::NotASocket { .. })));
        assert_eq!(std::fs::read_to_string(&config.socket).unwrap(), "precious");

        std::fs::remove_dir_all(config.runtime_directory()).unwrap();
        std::os::unix::fs::symlink("/tmp", config.runtime_directory()).unwrap();
        assert!(matches!(Instance::claim(&config, false), Err(InstanceError::Directory(_))));
    }
}
