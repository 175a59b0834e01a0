//! What a daemon needs to know before it starts: worked out once, from the environment and the command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_protocol::places;

/// Names of environment variables, besides those of [`kiln_protocol::places`].
pub mod environment {
    /// Filter of the log, as `debug` or `kiln_daemon=trace`.
    pub const KILN_LOG: &str = "KILN_LOG";
    /// Number of jobs that may run at once.
    pub const KILN_MAX_JOBS: &str = "KILN_MAX_JOBS";
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
    /// Program that is started with `worker …` for each job.
    pub worker_program: PathBuf,
    /// Jobs that may run at once.
    pub max_running_jobs: usize,
    /// Limits against bad clients.
    pub limits: Limits,
}

/// Whom the daemon serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The user who runs it.
    User,
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
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is nowhere to keep state.
    #[error("neither XDG_STATE_HOME nor HOME is set to an absolute path")]
    NoHome,
    /// The socket's path is not absolute.
    #[error("the socket path {0} is not absolute")]
    RelativeSocket(PathBuf),
    /// The sockets would not fit into the kernel's limit.
    #[error("the runtime directory {path} is too long: sockets in it may have {MAX_SOCKET_PATH} characters at most")]
    SocketTooLong {
        /// The directory.
        path: PathBuf,
    },
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
            Self::RelativeSocket(_) | Self::SocketTooLong { .. } => {
                Some("set KILN_SOCKET to a short absolute path, as `/run/user/1000/kiln.sock`")
            }
            Self::NotANumber { .. } => Some("unset it for a number that suits this machine"),
        }
    }
}

impl Config {
    /// Works out the configuration of `kilnd --user`.
    ///
    /// # Errors
    ///
    /// A place is missing or unusable.
    pub fn for_user(
        variable: impl Fn(&str) -> Option<OsString>,
        owner: u32,
        worker_program: PathBuf,
    ) -> Result<Self, ConfigError> {
        let socket = places::socket_path(&variable, owner);
        if !socket.is_absolute() {
            return Err(ConfigError::RelativeSocket(socket));
        }
        let config = Self {
            mode: Mode::User,
            owner,
            socket,
            state_directory: places::state_directory(&variable).ok_or(ConfigError::NoHome)?,
            worker_program,
            max_running_jobs: max_running_jobs(&variable)?,
            limits: Limits::default(),
        };
        let length = config.runtime_directory().as_os_str().len();
        if length + JOB_SOCKET_ROOM > MAX_SOCKET_PATH || config.socket.as_os_str().len() > MAX_SOCKET_PATH {
            return Err(ConfigError::SocketTooLong { path: config.runtime_directory().to_owned() });
        }
        Ok(config)
    }

    /// Returns the directory of the socket, in which running jobs have theirs.
    #[must_use]
    pub fn runtime_directory(&self) -> &Path {
        self.socket.parent().unwrap_or(Path::new("/"))
    }
}

fn max_running_jobs(variable: impl Fn(&str) -> Option<OsString>) -> Result<usize, ConfigError> {
    let name = environment::KILN_MAX_JOBS;
    match variable(name).filter(|value| !value.is_empty()) {
        Some(value) => {
            let number = value.to_str().and_then(|text| text.parse().ok()).filter(|number| (1..=1000).contains(number));
            number.ok_or_else(|| ConfigError::NotANumber { name, value: value.to_string_lossy().into_owned() })
        }
        // A build keeps about two cores busy: its guest and the conversion of its disk.
        None => Ok(std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2).max(2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let lookup =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        Config::for_user(lookup, 1000, PathBuf::from("kilnd"))
    }

    #[test]
    fn places_follow_the_environment() {
        let both = config(&[("HOME", "/home/a"), ("XDG_RUNTIME_DIR", "/run/user/1000")]).unwrap();
        assert_eq!(both.state_directory, Path::new("/home/a/.local/state/kiln"));
        assert_eq!(both.runtime_directory(), Path::new("/run/user/1000/kiln"));
        let state = config(&[("HOME", "/home/a"), ("XDG_STATE_HOME", "/state")]).unwrap();
        assert_eq!(state.state_directory, Path::new("/state/kiln"));
        assert_eq!(state.socket, Path::new("/tmp/kiln-1000/kiln.sock"));
    }

    #[test]
    fn unusable_settings_are_errors() {
        assert_eq!(config(&[]).unwrap_err(), ConfigError::NoHome);
        let relative = config(&[("HOME", "/h"), ("KILN_SOCKET", "x.sock")]).unwrap_err();
        assert!(matches!(relative, ConfigError::RelativeSocket(_)));
        let long = format!("/{}/kiln.sock", "x".repeat(60));
        assert!(matches!(config(&[("HOME", "/h"), ("KILN_SOCKET", &long)]), Err(ConfigError::SocketTooLong { .. })));
        assert!(matches!(config(&[("HOME", "/h"), ("KILN_MAX_JOBS", "0")]), Err(ConfigError::NotANumber { .. })));
        assert_eq!(config(&[("HOME", "/h"), ("KILN_MAX_JOBS", "7")]).unwrap().max_running_jobs, 7);
    }
}
