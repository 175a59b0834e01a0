//! What a daemon needs to know before it starts, as plain values. `sources` works it out, `words` says it again in those of `kiln.toml`.

mod sources;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_systemd::Manager;

use crate::config_file::ConfigFileError;
use crate::quotas::Quotas;
use crate::units::UnitLimits;

/// Names of environment variables, besides those of [`kiln_protocol::places`].
pub mod environment {
    /// Filter of the log, as `debug` or `kiln_daemon=trace`.
    pub const KILN_LOG: &str = "KILN_LOG";
    /// Number of jobs that may run at once.
    pub const KILN_MAX_JOBS: &str = "KILN_MAX_JOBS";
    /// Of a worker: `1` when its job may do nothing but what its guests can.
    pub use kiln_builder::KILN_CONFINED;
}

/// Longest path of a Unix socket, in bytes, without the closing zero: `sun_path` of unix(7).
const MAX_SOCKET_PATH: usize = 107;

/// Room that a job's sockets need behind the runtime directory: `/jobs/ID/` and a name of 32.
const JOB_SOCKET_ROOM: usize = 48;

/// Everything that is configurable, with no choice left open.
#[derive(Clone, Debug)]
pub struct Config {
    /// `user` or `system`.
    pub mode: Mode,
    /// Only this user's requests are carried out.
    pub owner: u32,
    /// The socket's path.
    pub socket: PathBuf,
    /// Journal, jobs and log.
    pub state_directory: PathBuf,
    /// Where each user of a daemon for all has a directory of downloads; unused by that of one user.
    pub cache_directory: PathBuf,
    /// Program that is started with `worker …` for each job.
    pub worker_program: PathBuf,
    /// Jobs that may run at once.
    pub max_running_jobs: usize,
    /// Limits against bad clients.
    pub limits: Limits,
    /// What each user may have.
    pub quotas: Quotas,
    /// Time without a job and without a client after which the daemon ends; it never does when there is none. Acts only where a service
    /// manager listens on the socket for it.
    pub exit_on_idle: Option<Duration>,
    /// Filter of the log, as `debug` or `kiln_daemon=trace`.
    pub log: Option<String>,
    /// Who started it, and wants to be told how it is.
    pub manager: Option<Manager>,
    /// The bus of the desktop or of the system, if the daemon is to be there.
    pub bus: Option<BusConfig>,
    /// The service manager that starts the workers of a daemon for all users; this daemon starts them itself where there is none.
    pub units: Option<UnitsConfig>,
    /// Accounts that nobody logs in to, and that may use a daemon for all users.
    pub nologin_users: Vec<String>,
    /// Address of the bus on which polkit is asked; nobody is where there is none.
    pub polkit: Option<String>,
}

/// How workers are started as units of systemd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitsConfig {
    /// Address of the bus by which the service manager is reached.
    pub address: String,
    /// What each worker may have.
    pub limits: UnitLimits,
}

/// How the daemon is found on D-Bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusConfig {
    /// Addresses of the bus, separated by `;`; empty when none is known.
    pub address: String,
    /// Time for which a job that is over keeps its objects.
    pub keep_finished: Duration,
}

/// Whom the daemon serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The user who runs it.
    User,
    /// All users of this machine.
    System,
}

/// Limits against clients that are slow, many or broken.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once. For more of them idle ones are closed; when none is, they are told to come again.
    pub connections: usize,
    /// Time for such a connection to wait until there is a place.
    pub wait_for_place: Duration,
    /// Time for a request's header, and until the next request on an open connection.
    pub header: Duration,
    /// Time for a request's body.
    pub body: Duration,
    /// Silence on an event stream after which a heartbeat is sent.
    pub heartbeat: Duration,
    /// Finished jobs that are remembered.
    pub finished_jobs: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            wait_for_place: Duration::from_secs(2),
            header: Duration::from_secs(30),
            body: Duration::from_secs(10),
            heartbeat: Duration::from_secs(15),
            finished_jobs: 500,
        }
    }
}

/// Reports that the environment gives no usable configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is nowhere to keep state.
    #[error("neither XDG_STATE_HOME nor HOME is set to an absolute path")]
    NoHome,
    /// The directory of all places is not absolute.
    #[error("the prefix {0} is not absolute")]
    RelativePrefix(PathBuf),
    /// The socket's path is not absolute.
    #[error("the socket path {0} is not absolute")]
    RelativeSocket(PathBuf),
    /// The sockets would not fit into the kernel's limit.
    #[error("the runtime directory {path} is too long: sockets in it may have {MAX_SOCKET_PATH} characters at most")]
    SocketTooLong {
        /// The directory.
        path: PathBuf,
        /// Whose daemon it is.
        mode: Mode,
    },
    /// `kiln.toml` is no configuration.
    #[error(transparent)]
    File(#[from] ConfigFileError),
    /// A limit that nobody would keep.
    #[error("`{key}` in [workers] is kept by systemd, and here kilnd starts the workers{}: they would have no limit", if *chosen { " (`started_by`)" } else { ", for systemd does not run this machine" })]
    NobodyLimits {
        /// The key.
        key: &'static str,
        /// Whether the file says who starts workers.
        chosen: bool,
    },
    /// A variable holds no filter of the log.
    #[error("KILN_LOG: {0}")]
    NoFilter(String),
    /// A variable holds no number.
    #[error("{name} is `{value}`, not a number from 1 to 1000")]
    NotANumber {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
}

impl ConfigError {
    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoHome => Some("set HOME"),
            Self::RelativePrefix(_) => Some("leave out --prefix: the places are then those of this machine"),
            Self::File(error) => Some(error.hint()),
            Self::SocketTooLong { mode: Mode::System, .. } => Some("give a shorter --prefix, or leave it out"),
            Self::RelativeSocket(_) | Self::SocketTooLong { .. } => {
                Some("set KILN_SOCKET to a short absolute path, as `/run/user/1000/kiln.sock`")
            }
            Self::NobodyLimits { chosen: true, .. } => Some("leave out `started_by`, or the limit"),
            Self::NobodyLimits { chosen: false, .. } => Some(
                "leave it out; the container's own settings, or `ulimit` where kilnd is started, limit all workers together",
            ),
            Self::NoFilter(_) => Some("unset it, or set it to `debug`"),
            Self::NotANumber { .. } => Some("unset it for a number that suits this machine"),
        }
    }
}

impl Config {
    /// Returns this configuration with a socket at another place.
    ///
    /// # Errors
    ///
    /// It does not fit into the kernel's limit, or those of the jobs beside it do not.
    pub fn at(self, socket: PathBuf) -> Result<Self, ConfigError> {
        let config = Self { socket, ..self };
        let length = config.runtime_directory().as_os_str().len();
        if length + JOB_SOCKET_ROOM > MAX_SOCKET_PATH || config.socket.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(ConfigError::SocketTooLong { path: config.runtime_directory().to_owned(), mode: config.mode });
        }
        let sockets = config.sockets_directory();
        if sockets.as_os_str().len() + JOB_SOCKET_ROOM > MAX_SOCKET_PATH {
            return Err(ConfigError::SocketTooLong { path: sockets, mode: config.mode });
        }
        Ok(config)
    }

    /// Returns the directory of the socket.
    #[must_use]
    pub fn runtime_directory(&self) -> &Path {
        self.socket.parent().unwrap_or(Path::new("/"))
    }

    /// Returns the directory below which running jobs have their sockets: that of the daemon's own. Where all users have some there, it is on the
    /// disk, for `/run` is memory, which the whole machine needs, and knows no quotas.
    #[must_use]
    pub fn sockets_directory(&self) -> PathBuf {
        match self.mode {
            Mode::User => self.runtime_directory().to_owned(),
            Mode::System => self.state_directory.join("run"),
        }
    }
}

#[cfg(test)]
impl Config {
    /// A daemon of one user with all that it has below a directory, and nothing else of this machine.
    pub(crate) fn below(directory: &Path) -> Self {
        Self {
            mode: Mode::User,
            owner: 1000,
            socket: directory.join("run/kiln.sock"),
            state_directory: directory.join("state/kiln"),
            cache_directory: PathBuf::new(),
            worker_program: PathBuf::from("/nowhere"),
            max_running_jobs: 1,
            limits: Limits::default(),
            quotas: Quotas::NONE,
            exit_on_idle: None,
            log: None,
            manager: None,
            bus: None,
            units: None,
            nologin_users: Vec::new(),
            polkit: None,
        }
    }
}
