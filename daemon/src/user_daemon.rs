//! The life of `kilnd --user` and `kilnd --system` as a process: what is configured, the right to be the daemon, signals, and the word to who started it.

use std::cell::Cell;
use std::ffi::OsString;
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_protocol::environment;
use kiln_protocol::places::{self, KILN_SOCKET};
use kiln_systemd::{Manager, State};
use rustix::fs::Mode as FileMode;
use rustix::process::geteuid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Mode};
use crate::config_file::ConfigFile;
use crate::explain::explain;
use crate::failure::Failure;
use crate::instance::{self, Instance, InstanceError};
use crate::reload::{Reloaded, tell};
use crate::runner::JobRunner;
use crate::unavailable::Next;
use crate::version::VERSION;
use crate::{as_owner, descriptor, failed_start, logging, reload, server, unavailable};

/// Exit code of a daemon that cannot serve.
const EXIT_FAILURE: u8 = 1;

/// Exit code of one that is configured so that it cannot: EX_CONFIG of sysexits(3). Its units have `RestartPreventExitStatus=` for it.
const EXIT_CONFIGURATION: u8 = 78;

/// Threads for work on files; users take turns (`turns.rs`).
const FILE_THREADS: usize = 16;

/// Time after which an idle one ends, and its memory with it.
const FILE_THREAD_LIFETIME: Duration = Duration::from_secs(2);

/// Time for another daemon, found to hold the lock, to answer: it may be reading what running jobs have said, and clients wait 20 s.
const OTHER_DAEMON_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for one answer of it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// What became of the wish for a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// This process answers requests.
    Serves,
    /// Another one does.
    AnotherServes,
}

/// Serves until it is told to stop.
///
/// `detached` means: as a session of its own, for a client that waits for the word. `ready` is called once when requests are answered, by
/// this process or by one that was there before.
pub(crate) fn run(
    whom: &Whom,
    detached: bool,
    runner: Arc<dyn JobRunner>,
    ready: impl FnOnce(Readiness),
) -> Result<(), Refusal> {
    // What the daemon writes is for its owner alone; workers set the mask of their client.
    rustix::process::umask(FileMode::from_raw_mode(0o077));
    let mut inherited = None;
    let (config, runtime) = match prepare(whom, detached, &mut inherited) {
        Ok(prepared) => prepared,
        Err(failure) => {
            // One that runs already is the one that people ask for.
            if let Some(state) = whom.state_directory().filter(|state| !instance::is_held(state)) {
                failed_start::note(&state, &failure.error, failure.hint.as_deref());
            }
            if let (Some(listener), Ok(runtime)) = (inherited, make_runtime()) {
                runtime.block_on(turn_away(whom, listener, &failure, Next::Soon));
            }
            return Err(Refusal { failure, exit_code: EXIT_CONFIGURATION });
        }
    };
    let state = config.state_directory.clone();
    let has_been_ready = Cell::new(false);
    let ready = |readiness| {
        has_been_ready.set(true);
        ready(readiness);
    };
    let served = runtime.block_on(async {
        let chosen = inherited.is_some() || variable(KILN_SOCKET).is_some_and(|path| !path.is_empty());
        match claim(&config, chosen, detached, inherited.as_ref(), OTHER_DAEMON_TIMEOUT).await {
            Ok(Some((instance, listener))) => {
                let served =
                    serve(whom, config, listener, runner, inherited.is_some(), ready).await.inspect_err(|failure| {
                        tracing::error!(error = failure.error, "kilnd cannot serve");
                        // Before the next one can come up, which forgets it.
                        failed_start::note(&state, &failure.error, failure.hint.as_deref());
                    });
                drop(instance);
                tracing::info!("kilnd ends");
                served
            }
            Ok(None) => {
                ready(Readiness::AnotherServes);
                Ok(())
            }
            Err(error) => {
                let failure = Failure { error: explain(&error), hint: error.hint() };
                // Where one runs already, the next one may still come up.
                if !matches!(error, InstanceError::AlreadyRunning { .. }) {
                    failed_start::note(&state, &failure.error, failure.hint.as_deref());
                }
                Err(failure)
            }
        }
    });
    if let (Err(failure), Some(listener)) = (&served, inherited) {
        let next = if has_been_ready.get() { Next::Soon } else { Next::Later };
        runtime.block_on(turn_away(whom, listener, failure, next));
    }
    // A file operation that hangs must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served.map_err(|failure| Refusal { failure, exit_code: EXIT_FAILURE })
}

/// Why there is no daemon.
pub(crate) struct Refusal {
    pub(crate) failure: Failure,
    /// What the process ends with.
    pub(crate) exit_code: u8,
}

/// Tells whoever has come to the manager's socket why nobody serves there, and the manager.
async fn turn_away(whom: &Whom, listener: net::UnixListener, failure: &Failure, next: Next) {
    tell(Manager::of_this_process(), &[State::Status(&format!("cannot start: {}", failure.error))]);
    let mode = if matches!(whom, Whom::User) { Mode::User } else { Mode::System };
    if let Err(error) = unavailable::tell_who_comes(listener, mode, failure, next).await {
        tracing::warn!(%error, "nobody is told that kilnd cannot start");
    }
}

/// Whom the daemon serves.
#[derive(Clone, Debug)]
pub(crate) enum Whom {
    /// The user who starts it.
    User,
    /// All users; its places are below this directory.
    Everybody { prefix: PathBuf },
}

impl Whom {
    fn state_directory(&self) -> Option<PathBuf> {
        match self {
            Self::User => places::state_directory(variable),
            // Nobody but root keeps anything there.
            Self::Everybody { prefix } => geteuid().is_root().then(|| prefix.join("var/lib/kiln")),
        }
    }

    /// Returns the path of `kiln.toml`.
    fn configuration_file(&self) -> Option<PathBuf> {
        match self {
            Self::User => places::configuration(variable),
            Self::Everybody { prefix } => Some(prefix.join("etc/kiln/kiln.toml")),
        }
    }
}

/// Works out the configuration, from the environment and `kiln.toml`.
fn configuration(whom: &Whom) -> Result<(Config, ConfigFile), Failure> {
    let program = std::env::current_exe().map_err(|error| plain(&error))?;
    let read = || {
        let file = whom.configuration_file();
        let file = file.map_or_else(|| Ok(ConfigFile::default()), |path| ConfigFile::read(&path))?;
        let config = match whom {
            Whom::User => Config::for_user(variable, &file, geteuid().as_raw(), program),
            Whom::Everybody { prefix } => Config::for_system(variable, &file, prefix, program),
        };
        Ok((config?, file))
    };
    read().map_err(|error: crate::config::ConfigError| Failure {
        error: explain(&error),
        hint: error.hint().map(str::to_owned),
    })
}

/// Says what would be in force, as `kiln.toml` would, and whether a daemon runs, which has perhaps read something else. What a daemon would not
/// start with fails here, too: the package's upgrade tries it so, with the rights that the unit leaves.
pub(crate) fn print_configuration(whom: &Whom) -> Result<String, Failure> {
    let (config, file) = configuration(whom)?;
    if kiln_systemd::is_booted_by_systemd() {
        refuse_confined_workers(&config)?;
    }
    let running = instance::is_held(&config.state_directory).then(|| {
        let process = instance::holder(&config.state_directory).map(|holder| format!(" (process {})", holder.pid));
        format!(
            "# A kilnd runs{}. It has what it read at its start and last reload: its line of status says what waits for a restart.\n",
            process.unwrap_or_default()
        )
    });
    let text = config.in_words(variable, &file, whom.configuration_file().as_deref());
    Ok(format!(
        "# For a kilnd that is started now with this shell's environment.\n{}{text}",
        running.unwrap_or_default()
    ))
}

/// Tells of variables that are taken for Kiln's own and that it does not read.
pub(crate) fn misspelt_variables() -> Vec<String> {
    let names = std::env::vars_os().map(|(name, _)| name);
    environment::warnings(names, |given, known| kiln_template::nearest(given, known.iter().copied()))
}

fn plain(error: &dyn std::error::Error) -> Failure {
    Failure { error: explain(error), hint: None }
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Works out what is configured, makes the runtime, and takes the socket of the service manager.
fn prepare(
    whom: &Whom,
    detached: bool,
    inherited: &mut Option<net::UnixListener>,
) -> Result<(Config, Runtime), Failure> {
    if matches!(whom, Whom::Everybody { .. }) {
        be_able_to_serve_everybody()?;
    }
    if detached {
        #[expect(unsafe_code, reason = "only at this point is it known that a daemon is meant")]
        // SAFETY: the process has just begun, in one thread; arguments own no descriptor, and neither does a runner before its first job.
        unsafe {
            descriptor::close_inherited();
        }
        // Fails for the leader of a process group, and then it has no terminal to lose.
        let _ = rustix::process::setsid();
        std::env::set_current_dir("/").map_err(|error| plain(&error))?;
    }
    let mut path = None;
    if !detached {
        let failure = |error: kiln_systemd::ListenError| Failure {
            error: explain(&error),
            hint: Some("kilnd.socket has one ListenStream=, a path".to_owned()),
        };
        if let Some(listened) = kiln_systemd::inherited_socket().map_err(failure)? {
            *inherited = Some(listened.listener);
            path = Some(listened.path);
        }
    }
    let (mut config, _) = configuration(whom)?;
    if !detached {
        config.manager = Manager::of_this_process();
    }
    if let Some(path) = path {
        config = config.at(path).map_err(|error| Failure {
            error: error.to_string(),
            hint: Some("a shorter path in ListenStream= of kilnd.socket (`systemctl edit kilnd.socket`)".to_owned()),
        })?;
    }
    if config.manager.is_some() {
        refuse_confined_workers(&config)?;
    }
    Ok((config, make_runtime()?))
}

/// Refuses a daemon that would start workers itself, and has lost the rights that they need.
fn refuse_confined_workers(config: &Config) -> Result<(), Failure> {
    if config.mode == Mode::System && config.units.is_none() && is_confined() {
        return Err(Failure {
            error: "the workers that kilnd is to start (`started_by = \"kilnd\"` in [workers]) would have the sandbox of its unit: no /dev/kvm, \
                    no network, no home, and their end with it"
                .to_owned(),
            hint: Some(
                "leave `started_by` out, so that each worker is a unit of its own; or `systemctl edit kilnd.service` with the drop-in that \
                 docs/shared-hosts.md has for it"
                    .to_owned(),
            ),
        });
    }
    Ok(())
}

/// Whether this process has lost rights that its children do not get back, as by the unit that the packages have.
fn is_confined() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    loses_rights(&status)
}

/// Reads it in a process's `status`: proc_pid_status(5).
fn loses_rights(status: &str) -> bool {
    let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    value("NoNewPrivs:") == Some("1")
}

fn make_runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(FILE_THREADS)
        .thread_keep_alive(FILE_THREAD_LIFETIME)
        .enable_all()
        .build()
        .map_err(|error| plain(&error))
}

/// Makes sure that this process can become every user, and that nobody gets what it has inherited.
fn be_able_to_serve_everybody() -> Result<(), Failure> {
    if !geteuid().is_root() {
        return Err(Failure {
            error: format!("kilnd --system has to be started by root, and this is user {}", geteuid().as_raw()),
            hint: Some(
                "`systemctl enable --now kilnd.socket` or `sudo kilnd --system`; `kilnd --user` serves you alone"
                    .to_owned(),
            ),
        });
    }
    as_owner::is_possible().map_err(|error| Failure {
        error: format!("kilnd --system cannot act as another user: {error}"),
        hint: Some(
            "it needs CAP_SETUID and CAP_SETGID: see CapabilityBoundingSet= of its unit, or the container's settings"
                .to_owned(),
        ),
    })?;
    descriptor::keep_inherited_from_children().map_err(|error| plain(&error))
}

async fn serve(
    whom: &Whom,
    mut config: Config,
    listener: UnixListener,
    runner: Arc<dyn JobRunner>,
    listened_for: bool,
    ready: impl FnOnce(Readiness),
) -> Result<(), Failure> {
    logging::start(&config.state_directory, config.log.as_deref()).map_err(|error| Failure {
        error: format!("cannot write the log in {}: {}", config.state_directory.display(), explain(&error)),
        hint: Some(format!("see to it that {} can be written", config.state_directory.join(logging::NAME).display())),
    })?;
    let started = config.clone();
    // Who would start it again?
    config.exit_on_idle = config.exit_on_idle.filter(|_| listened_for);
    let shutdown = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).map_err(|error| plain(&error))?;
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            signals.recv().await;
            tracing::info!("stopping on a signal; workers run on");
            shutdown.cancel();
        });
    }
    // Also of a closed terminal, which is no reason to stop.
    let hangups = signal(SignalKind::hangup()).map_err(|error| plain(&error))?;
    let (reloaded, reload) = watch::channel(Reloaded::at_start(config.clone()));
    let whom = whom.clone();
    let read = move || configuration(&whom).map(|(config, _)| config);
    tokio::spawn(reload::on_hangup(hangups, started, read, reloaded));
    for warning in misspelt_variables() {
        tracing::warn!("{warning}");
    }
    tracing::info!(version = VERSION, socket = %config.socket.display(), "kilnd starts");
    let (state, manager) = (config.state_directory.clone(), config.manager);
    let ready = || {
        failed_start::forget(&state);
        tell(manager, &[State::Ready]);
        ready(Readiness::Serves);
    };
    let served = server::serve(config, listener, runner, shutdown, reload, ready).await;
    tell(manager, &[State::Stopping]);
    served.map_err(|error| Failure { error: explain(&error), hint: error.hint() })
}

/// Becomes the daemon; nothing when another one answers, where that is as good (`detached`). One that holds the lock and does not
/// answer is waited for so long.
async fn claim(
    config: &Config,
    chosen: bool,
    detached: bool,
    inherited: Option<&net::UnixListener>,
    patience: Duration,
) -> Result<Option<(Instance, UnixListener)>, InstanceError> {
    let start = Instant::now();
    let mut asked_to_end = false;
    loop {
        let claimed = match inherited {
            Some(listener) => Instance::claim_inherited(config, chosen, listener),
            None => Instance::claim(config, chosen),
        };
        let error = match claimed {
            Ok(claimed) => return Ok(Some(claimed)),
            Err(error @ InstanceError::AlreadyRunning { .. }) if detached || inherited.is_some() => error,
            Err(error) => return Err(error),
        };
        // At a socket that was handed over nobody but this process answers.
        if inherited.is_none() && answers(&config.socket).await {
            return Ok(None);
        }
        // One that `kiln` had started before the manager began to listen.
        if inherited.is_some() && !asked_to_end {
            asked_to_end = instance::end_unreachable(&config.state_directory, &config.socket);
        }
        // One that listens elsewhere will never listen here.
        let holder = instance::holder(&config.state_directory).filter(|holder| holder.socket != config.socket);
        let elsewhere = match holder {
            Some(holder) => answers(&holder.socket).await,
            None => false,
        };
        if elsewhere || start.elapsed() > patience {
            return Err(error);
        }
        // The other process is starting, which takes milliseconds, or it was killed, and a child of it is about to let go of the lock.
        // Neither has a way to tell this one.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a daemon answers at this socket. A connection alone says nothing: a child that a killed daemon was just starting still has
/// its socket open for a moment.
async fn answers(socket: &Path) -> bool {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: kiln\r\nconnection: close\r\n\r\n").await?;
        stream.read_exact(&mut [0; 9]).await
    };
    tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.is_ok_and(|answer| answer.is_ok())
}

#[cfg(test)]
mod tests {
    use rustix::fs::{FlockOperation, flock};

    use super::*;

    #[test]
    fn the_sandbox_of_the_unit_is_seen() {
        assert!(loses_rights("Name:\tkilnd\nNoNewPrivs:\t1\nSeccomp:\t2\n"));
        assert!(!loses_rights("Name:\tkilnd\nNoNewPrivs:\t0\nSeccomp:\t0\n"));
        assert!(!loses_rights(""));
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(status.contains("NoNewPrivs:"), "the kernel calls it so: {status}");
    }

    /// One that starts, or a child that a killed one was just starting.
    #[tokio::test]
    async fn one_that_holds_the_lock_and_does_not_answer_is_waited_for_but_not_for_ever() {
        let scratch = tempfile::tempdir().unwrap();
        let environment = |name: &str| match name {
            "HOME" => Some(scratch.path().join("home").into_os_string()),
            "XDG_RUNTIME_DIR" => Some(scratch.path().join("run").into_os_string()),
            _ => None,
        };
        let config = Config::for_user(environment, &ConfigFile::default(), geteuid().as_raw(), PathBuf::new()).unwrap();
        drop(Instance::claim(&config, false).unwrap());
        let lock = std::fs::File::open(config.state_directory.join(places::LOCK_NAME)).unwrap();
        // Waited for: a program that a neighbouring test is just starting has a copy of the first one's for a moment.
        flock(&lock, FlockOperation::LockExclusive).unwrap();

        let patience = Duration::from_millis(200);
        let start = Instant::now();
        let refused = claim(&config, false, true, None, patience).await;
        assert!(matches!(refused, Err(InstanceError::AlreadyRunning { .. })));
        assert!(start.elapsed() > patience);
        // A person who starts one is told at once.
        let start = Instant::now();
        assert!(claim(&config, false, false, None, Duration::from_secs(60)).await.is_err());
        assert!(start.elapsed() < Duration::from_secs(30));

        let waiting = tokio::spawn(async move { claim(&config, false, true, None, Duration::from_secs(60)).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished());
        drop(lock);
        assert!(waiting.await.unwrap().unwrap().is_some(), "it is the daemon now");
    }
}
