//! The configuration is worked out once, from the environment, `kiln.toml` and the machine, in this order.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_protocol::places;
use kiln_systemd::is_booted_by_systemd;

use super::{BusConfig, Config, ConfigError, Limits, Mode, UnitsConfig, environment};
use crate::config_file::{ConfigFile, LogFilter, StartedBy};
use crate::quotas::Quotas;
use crate::units::UnitLimits;

/// Whose the daemon for all users is.
const ROOT: u32 = 0;

/// The bus of the system, where nothing else is said.
const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";

/// Time for which a job that is over keeps its objects on D-Bus.
const KEEP_FINISHED: Duration = Duration::from_secs(600);

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
