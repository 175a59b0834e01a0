//! What a daemon needs to know before it starts: worked out once, from the environment, `kiln.toml` and the machine, in this order.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_protocol::places;
use kiln_systemd::{Manager, is_booted_by_systemd};

use crate::config_file::{ConfigFile, ConfigFileError, LogFilter, StartedBy};
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

/// Whose the daemon for all users is.
const ROOT: u32 = 0;

/// Longest path of a Unix socket, in bytes, without the closing zero: `sun_path` of unix(7).
const MAX_SOCKET_PATH: usize = 107;

/// The bus of the system, where nothing else is said.
const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";

/// Time for which a job that is over keeps its objects on D-Bus.
const KEEP_FINISHED: Duration = Duration::from_secs(600);

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
    /// Works out the configuration of `kilnd --user`.
    ///
    /// # Errors
    ///
    /// A place is missing or unusable, or a value.
    pub fn for_user(
        variable: impl Fn(&str) -> Option<OsString>,
        file: &ConfigFile,
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
            cache_directory: PathBuf::new(),
            worker_program,
            max_running_jobs: max_running_jobs(&variable, file)?,
            limits: limits(file),
            quotas: Quotas::NONE,
            exit_on_idle: file.exit_on_idle.map(Duration::from),
            log: log_filter(&variable, file)?,
            manager: None,
            bus: bus(&variable, file),
            units: None,
            nologin_users: Vec::new(),
            polkit: None,
        };
        let socket = config.socket.clone();
        config.at(socket)
    }

    /// Works out the configuration of `kilnd --system`, whose places are below `prefix` (`/` but for tests).
    ///
    /// # Errors
    ///
    /// A place is missing or unusable, or a value.
    pub fn for_system(
        variable: impl Fn(&str) -> Option<OsString>,
        file: &ConfigFile,
        prefix: &Path,
        worker_program: PathBuf,
    ) -> Result<Self, ConfigError> {
        if !prefix.is_absolute() {
            return Err(ConfigError::RelativePrefix(prefix.to_owned()));
        }
        let max_running_jobs = max_running_jobs(&variable, file)?;
        let config = Self {
            mode: Mode::System,
            owner: ROOT,
            socket: prefix.join("run/kiln").join(places::SOCKET_NAME),
            state_directory: prefix.join("var/lib/kiln"),
            cache_directory: prefix.join("var/cache/kiln"),
            worker_program,
            max_running_jobs,
            limits: limits(file),
            quotas: quotas(file, max_running_jobs),
            bus: (file.dbus != Some(false))
                .then(|| BusConfig { address: system_bus(&variable), keep_finished: KEEP_FINISHED }),
            units: units(&variable, file)?,
            nologin_users: file.nologin_users.clone().unwrap_or_default(),
            polkit: Some(system_bus(&variable)),
            exit_on_idle: file.exit_on_idle.map(Duration::from),
            log: log_filter(&variable, file)?,
            manager: None,
        };
        let socket = config.socket.clone();
        config.at(socket)
    }

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

    /// Says in the words of `kiln.toml` what this is, and for each value where it comes from. What cannot be set there is a comment.
    #[must_use]
    pub fn in_words(
        &self,
        variable: impl Fn(&str) -> Option<OsString>,
        file: &ConfigFile,
        path: Option<&Path>,
    ) -> String {
        let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        let path = path.map_or_else(|| "kiln.toml".to_owned(), |path| path.display().to_string());
        let origin = |by_variable: Option<&'static str>, in_file: bool, usual: &str| match by_variable
            .filter(|name| set(name))
        {
            Some(name) => format!("${name}"),
            None if in_file => path.clone(),
            None => usual.to_owned(),
        };
        let (socket, state) = (self.socket.display(), self.state_directory.display());
        let mut text = format!("# socket: {socket}\n# state: {state}\n# configuration: {path}\n");
        let mut line = |key: &str, value: Option<String>, origin: String| {
            let line = value.map_or_else(|| format!("# {key} is not set"), |value| format!("{key} = {value}"));
            text.push_str(&format!("{line} # {origin}\n"));
        };
        // A string of JSON is one of TOML.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let jobs = origin(Some(environment::KILN_MAX_JOBS), file.max_jobs.is_some(), "this machine's processors");
        line("max_jobs", Some(self.max_running_jobs.to_string()), jobs);
        line(
            "finished_jobs",
            Some(self.limits.finished_jobs.to_string()),
            origin(None, file.finished_jobs.is_some(), "default"),
        );
        line(
            "connections",
            Some(self.limits.connections.to_string()),
            origin(None, file.connections.is_some(), "default"),
        );
        let idle = self.exit_on_idle.map(|time| quoted(&format!("{}s", time.as_secs_f64())));
        line("exit_on_idle", idle, origin(None, file.exit_on_idle.is_some(), "default: runs on"));
        line("dbus", Some(self.bus.is_some().to_string()), origin(None, file.dbus.is_some(), "default"));
        let log = self.log.as_deref().map(quoted);
        line("log", log, origin(Some(environment::KILN_LOG), file.log.is_some(), "default: info"));
        if self.mode == Mode::System {
            let names = self.nologin_users.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
            let origin = if file.nologin_users.is_some() { path.as_str() } else { "default" };
            text.push_str(&format!("nologin_users = [{names}] # {origin}\n"));
            text.push_str("[quotas]\n");
            let (quotas, said) = (&self.quotas, &file.quotas);
            for (key, value, in_file) in [
                ("running", quotas.running, said.running.is_some()),
                ("queued", quotas.queued, said.queued.is_some()),
                ("looks", quotas.looks, said.looks.is_some()),
                ("connections", quotas.connections, said.connections.is_some()),
                ("followers", quotas.followers, said.followers.is_some()),
                ("submissions", quotas.submissions, said.submissions.is_some()),
            ] {
                let origin = if in_file { path.as_str() } else { "default" };
                text.push_str(&format!("{key} = {value} # {origin}\n"));
            }
            self.workers_in_words(file, path.as_str(), &mut text);
        }
        text
    }

    /// The table `[workers]`.
    fn workers_in_words(&self, file: &ConfigFile, path: &str, text: &mut String) {
        let said = &file.workers;
        let mut line = |key: &str, value: String, in_file: bool, usual: &str| {
            text.push_str(&format!("{key} = {value} # {}\n", if in_file { path } else { usual }));
        };
        let by = if self.units.is_some() { StartedBy::Systemd } else { StartedBy::Kilnd };
        line(
            "[workers]\nstarted_by",
            format!("\"{by}\""),
            said.started_by.is_some(),
            "whether systemd runs this machine",
        );
        let Some(UnitsConfig { limits, .. }) = &self.units else { return };
        if let Some(bytes) = limits.memory_max {
            line("memory_mib", (bytes >> 20).to_string(), true, "");
        }
        line("tasks", limits.tasks_max.to_string(), said.tasks.is_some(), "default");
        line("cpu_weight", limits.cpu_weight.to_string(), said.cpu_weight.is_some(), "default");
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

/// Returns the filter of the log; nothing for the usual one.
fn log_filter(variable: impl Fn(&str) -> Option<OsString>, file: &ConfigFile) -> Result<Option<String>, ConfigError> {
    let chosen = variable(environment::KILN_LOG).map(|filter| filter.to_string_lossy().into_owned());
    let chosen = chosen.filter(|filter| !filter.is_empty()).map(|filter| LogFilter::parse(&filter)).transpose();
    let filter = chosen.map_err(ConfigError::NoFilter)?.or_else(|| file.log.clone());
    Ok(filter.map(|filter| filter.as_str().to_owned()))
}

/// Works out where the bus of the session is, as its clients do (dbus-daemon(1), sd_bus_open_user(3)).
fn bus(variable: impl Fn(&str) -> Option<OsString>, file: &ConfigFile) -> Option<BusConfig> {
    if file.dbus == Some(false) {
        return None;
    }
    let known =
        |name: &str| variable(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty());
    let beside = |directory: String| format!("unix:path={}/bus", escaped(&directory));
    let address = known("DBUS_SESSION_BUS_ADDRESS").or_else(|| known("XDG_RUNTIME_DIR").map(beside));
    Some(BusConfig { address: address.unwrap_or_default(), keep_finished: KEEP_FINISHED })
}

/// Works out where the bus of the system is, as its clients do (dbus-daemon(1), sd_bus_open_system(3)).
fn system_bus(variable: impl Fn(&str) -> Option<OsString>) -> String {
    let told = variable("DBUS_SYSTEM_BUS_ADDRESS").and_then(|value| value.into_string().ok());
    told.filter(|told| !told.is_empty()).unwrap_or_else(|| SYSTEM_BUS.to_owned())
}

/// Works out who starts workers: systemd where it is there.
fn units(variable: impl Fn(&str) -> Option<OsString>, file: &ConfigFile) -> Result<Option<UnitsConfig>, ConfigError> {
    let workers = &file.workers;
    let by_systemd = match workers.started_by {
        Some(StartedBy::Systemd) => true,
        Some(StartedBy::Kilnd) => false,
        None => is_booted_by_systemd(),
    };
    if !by_systemd {
        let limits = [
            ("memory_mib", workers.memory_mib.is_some()),
            ("tasks", workers.tasks.is_some()),
            ("cpu_weight", workers.cpu_weight.is_some()),
        ];
        let limit = limits.into_iter().find(|(_, wanted)| *wanted);
        return match limit {
            Some((key, _)) => Err(ConfigError::NobodyLimits { key, chosen: workers.started_by.is_some() }),
            None => Ok(None),
        };
    }
    let usual = UnitLimits::default();
    Ok(Some(UnitsConfig {
        address: system_bus(variable),
        limits: UnitLimits {
            memory_max: workers.memory_mib.map(|mib| u64::from(u32::from(mib)) << 20).or(usual.memory_max),
            tasks_max: workers.tasks.map_or(usual.tasks_max, |tasks| u32::from(tasks).into()),
            cpu_weight: workers.cpu_weight.map_or(usual.cpu_weight, |weight| u32::from(weight).into()),
        },
    }))
}

/// Writes a path as it stands in an address of D-Bus.
fn escaped(path: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/.\\".contains(&byte);
    path.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") })
        .collect()
}

fn quotas(file: &ConfigFile, max_running_jobs: usize) -> Quotas {
    let (file, usual) = (&file.quotas, Quotas::usual(max_running_jobs));
    Quotas {
        running: file.running.map_or(usual.running, usize::from),
        queued: file.queued.map_or(usual.queued, usize::from),
        looks: file.looks.map_or(usual.looks, usize::from),
        connections: file.connections.map_or(usual.connections, usize::from),
        followers: file.followers.map_or(usual.followers, usize::from),
        submissions: file.submissions.map_or(usual.submissions, usize::from),
    }
}

fn limits(file: &ConfigFile) -> Limits {
    let usual = Limits::default();
    Limits {
        connections: file.connections.map_or(usual.connections, usize::from),
        finished_jobs: file.finished_jobs.map_or(usual.finished_jobs, u32::from),
        ..usual
    }
}

fn max_running_jobs(variable: impl Fn(&str) -> Option<OsString>, file: &ConfigFile) -> Result<usize, ConfigError> {
    let name = environment::KILN_MAX_JOBS;
    match variable(name).filter(|value| !value.is_empty()) {
        Some(value) => {
            let number = value.to_str().and_then(|text| text.parse().ok()).filter(|number| (1..=1000).contains(number));
            number.ok_or_else(|| ConfigError::NotANumber { name, value: value.to_string_lossy().into_owned() })
        }
        // A build keeps about two cores busy: its guest and the conversion of its disk.
        None => Ok(file
            .max_jobs
            .map(usize::from)
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2).max(2))),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let lookup =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        Config::for_user(lookup, &ConfigFile::default(), 1000, PathBuf::from("kilnd"))
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
    fn the_bus_is_where_its_clients_look_for_it() {
        let address = |variables: &[(&str, &str)]| {
            let all: Vec<_> = variables.iter().copied().chain([("HOME", "/h")]).collect();
            config(&all).unwrap().bus.unwrap().address
        };
        assert_eq!(address(&[]), "");
        assert_eq!(address(&[("XDG_RUNTIME_DIR", "/run/user/7")]), "unix:path=/run/user/7/bus");
        assert_eq!(address(&[("XDG_RUNTIME_DIR", "/a b,c")]), "unix:path=/a%20b%2cc/bus");
        let told = [("XDG_RUNTIME_DIR", "/run/user/7"), ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/x;unix:path=/y")];
        assert_eq!(address(&told), "unix:path=/x;unix:path=/y");
    }

    #[test]
    fn unusable_settings_are_errors() {
        assert!(matches!(config(&[]), Err(ConfigError::NoHome)));
        let relative = config(&[("HOME", "/h"), ("KILN_SOCKET", "x.sock")]).unwrap_err();
        assert!(matches!(relative, ConfigError::RelativeSocket(_)));
        let long = format!("/{}/kiln.sock", "x".repeat(60));
        let too_long = config(&[("HOME", "/h"), ("KILN_SOCKET", &long)]).unwrap_err();
        assert!(
            matches!(too_long, ConfigError::SocketTooLong { .. }) && too_long.hint().unwrap().contains("KILN_SOCKET")
        );
        let prefix = PathBuf::from(format!("/{}", "x".repeat(100)));
        let too_long = Config::for_system(|_| None, &ConfigFile::default(), &prefix, PathBuf::new()).unwrap_err();
        assert_eq!(too_long.hint(), Some("give a shorter --prefix, or leave it out"));
        assert!(matches!(config(&[("HOME", "/h"), ("KILN_MAX_JOBS", "0")]), Err(ConfigError::NotANumber { .. })));
        assert!(matches!(config(&[("HOME", "/h"), ("KILN_LOG", "x=!!")]), Err(ConfigError::NoFilter(_))));
        assert_eq!(config(&[("HOME", "/h"), ("KILN_MAX_JOBS", "7")]).unwrap().max_running_jobs, 7);
    }

    #[test]
    fn a_limit_that_nobody_would_keep_is_refused() {
        let system = |text: &str| {
            let file = ConfigFile::parse(text).unwrap();
            Config::for_system(|_| None, &file, Path::new("/"), PathBuf::new())
        };
        for limit in ["memory_mib = 64", "tasks = 99", "cpu_weight = 9"] {
            let refused = system(&format!("[workers]\nstarted_by = \"kilnd\"\n{limit}")).unwrap_err();
            let key = limit.split(' ').next().unwrap();
            assert!(refused.to_string().starts_with(&format!("`{key}` in [workers] is kept by systemd")), "{refused}");
            assert!(refused.hint().unwrap().contains("started_by"));
            assert!(system(&format!("[workers]\nstarted_by = \"systemd\"\n{limit}")).is_ok());
        }
        assert!(system("[workers]\nstarted_by = \"kilnd\"").unwrap().units.is_none());
    }

    #[test]
    fn the_environment_comes_before_the_file_and_the_file_before_the_machine() {
        let file = ConfigFile::parse(
            "max_jobs = 5\nfinished_jobs = 9\nconnections = 32\nexit_on_idle = \"10m\"\ndbus = false\nlog = \"debug\"",
        )
        .unwrap();
        let config = |variables: &'static [(&str, &str)]| {
            let lookup =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
            Config::for_user(lookup, &file, 1000, PathBuf::from("kilnd")).unwrap()
        };
        let by_file = config(&[("HOME", "/h")]);
        assert_eq!((by_file.max_running_jobs, by_file.limits.finished_jobs, by_file.limits.connections), (5, 9, 32));
        assert_eq!((by_file.exit_on_idle, by_file.log.as_deref()), (Some(Duration::from_secs(600)), Some("debug")));
        assert_eq!(by_file.bus, None);
        let by_both = config(&[("HOME", "/h"), ("KILN_MAX_JOBS", "7"), ("KILN_LOG", "trace")]);
        assert_eq!((by_both.max_running_jobs, by_both.log.as_deref()), (7, Some("trace")));
        let empty = config(&[("HOME", "/h"), ("KILN_MAX_JOBS", ""), ("KILN_LOG", "")]);
        assert_eq!((empty.max_running_jobs, empty.log.as_deref()), (5, Some("debug")));
    }
}
