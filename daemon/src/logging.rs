//! The daemon's log: a file in the state directory, and the journal where systemd started it; or standard error when a person runs it in a terminal.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use kiln_systemd::Journal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;
use tracing_subscriber::fmt::format::{DefaultFields, Format};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::journald::ToJournal;

/// The log's name in the state directory.
pub(crate) const NAME: &str = "kilnd.log";

/// Size after which the log is renamed at the next start, in bytes. One old log is kept.
const MAX_LOG_BYTES: u64 = 8 << 20;

/// Starts logging to `kilnd.log` in this directory, and to the journal that listens, or to standard error when that is a terminal.
///
/// # Errors
///
/// The file cannot be opened.
pub(crate) fn start(directory: &Path, filter: Option<&str>) -> io::Result<()> {
    let stderr = io::stderr();
    if stderr.is_terminal() {
        to_stderr(filter);
        return Ok(());
    }
    let path = directory.join(NAME);
    if path.metadata().is_ok_and(|found| found.len() > MAX_LOG_BYTES) {
        std::fs::rename(&path, path.with_extension("log.1"))?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
    let journal = Journal::of_this_process().map(ToJournal);
    let subscriber = builder(filter).with_ansi(false).with_writer(Mutex::new(file)).finish().with(journal);
    // Fails when a test has set one already; then that one is meant.
    let _ = tracing::subscriber::set_global_default(subscriber);
    log_panics();
    Ok(())
}

/// Starts logging to standard error; a worker's is its log file.
pub(crate) fn to_stderr(filter: Option<&str>) {
    let colour = io::stderr().is_terminal();
    let subscriber = builder(filter).with_ansi(colour).with_writer(io::stderr);
    // Fails when a test has set one already; then that one is meant.
    let _ = tracing::subscriber::set_global_default(subscriber.finish());
}

fn builder(filter: Option<&str>) -> SubscriberBuilder<DefaultFields, Format, EnvFilter> {
    let filter = filter.filter(|filter| !filter.is_empty()).unwrap_or("info");
    // Errors of logging would be printed to standard error, which is the same full disk, and a failure to print is a panic.
    tracing_subscriber::fmt().with_env_filter(EnvFilter::builder().parse_lossy(filter)).log_internal_errors(false)
}

/// Standard error of a daemon leads nowhere; a panic must be seen all the same.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
}
