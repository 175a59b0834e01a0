//! The journal's database: one connection, one thread that owns it, and what is done when it is damaged.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::error::JournalError;
use super::schema;

/// Stack of the journal's thread, in bytes; SQLite needs a fraction of it.
const STACK_BYTES: usize = 512 << 10;

/// How long another process (a person with sqlite3) may hold the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// SQLite's page cache, in KiB (negative for `PRAGMA cache_size`); the journal is small.
const CACHE_KIB: i64 = -1024;

type Work = Box<dyn FnOnce(&mut Connection) + Send>;

/// Sends work to the journal's thread. Cheap to clone; the database is closed when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Journal {
    work: mpsc::Sender<Work>,
    is_new: bool,
    damaged: Option<PathBuf>,
}

impl Journal {
    /// Opens the database, made when missing. Blocks; for use at start-up.
    ///
    /// # Errors
    ///
    /// It cannot be opened, or is of a newer version.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let mut damaged = None;
        let mut connection = match connect(path) {
            Err(error) if is_damage(&error) => {
                let aside = move_aside(path);
                damaged = Some(aside.map_err(|source| JournalError::MoveAside { path: path.to_owned(), source })?);
                connect(path)
            }
            other => other,
        }
        .map_err(|source| JournalError::Open { path: path.to_owned(), source })?;
        let found = schema::version(&connection)?;
        let is_new = found == 0;
        if found > schema::current() {
            return Err(JournalError::TooNew { path: path.to_owned(), found, known: schema::current() });
        }
        schema::migrate(&mut connection)?;
        let (work, orders) = mpsc::channel::<Work>();
        let run = move || {
            for order in orders {
                order(&mut connection);
            }
        };
        let thread = std::thread::Builder::new().name("journal".to_owned()).stack_size(STACK_BYTES);
        thread.spawn(run).map_err(|_| JournalError::Closed)?;
        Ok(Self { work, is_new, damaged })
    }

    /// Whether it knew nothing when it was opened: the first one, or one in the place of another that is lost.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Returns where a damaged one is kept that this one was begun for.
    #[must_use]
    pub fn damaged(&self) -> Option<&Path> {
        self.damaged.as_deref()
    }

    /// Runs work on the journal's thread; it is done even when the caller stops waiting.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (reply, answer) = oneshot::channel();
        let order: Work = Box::new(move |connection| {
            // Nobody may be waiting any more; the work is done all the same.
            let _ = reply.send(work(connection));
        });
        self.work.send(order).map_err(|_| JournalError::Closed)?;
        Ok(answer.await.map_err(|_| JournalError::Closed)??)
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    let check: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if check == "ok" && schema::is_complete(&connection)? {
        Ok(connection)
    } else {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        Err(rusqlite::Error::SqliteFailure(code, Some(check)))
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// Renames the database and what belongs to it to `NAME.damaged-TIME`.
fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".damaged-{time}"));
    for suffix in ["", "-wal", "-shm"] {
        let name = |extra: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(extra);
            PathBuf::from(name)
        };
        match std::fs::rename(name(suffix), name(&format!(".damaged-{time}{suffix}"))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    tracing::error!(path = %path.display(), "the journal was damaged; it was moved aside and a new one begun");
    Ok(aside.into())
}
