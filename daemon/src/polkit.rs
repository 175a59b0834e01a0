//! Asks polkit who may what (org.freedesktop.PolicyKit1.Authority).
//!
//! A polkit that is not there allows and forbids nothing: no bus, nobody on it who is or could be started as polkit, or one that an
//! administrator has masked. One that does not answer, or answers with anything else, has not allowed it: nobody gets a right by keeping it busy.
//!
//! The subject is the caller as the kernel or the bus knows it: a connection of the bus by its unique name, a process by its descriptor (polkit
//! 124 and later) or by number, start time and user (before), so that a number that has passed to another process is never taken for it.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use kiln_builder::process_stat::ProcessStat;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use zbus::connection::Builder;
use zbus::{Connection, Fd, OwnedVariant, Variant};

use crate::caller::Caller;
use crate::explain::explain;

const POLKIT: &str = "org.freedesktop.PolicyKit1";
const AUTHORITY_PATH: &str = "/org/freedesktop/PolicyKit1/Authority";
const AUTHORITY: &str = "org.freedesktop.PolicyKit1.Authority";

/// Time for an answer that no person is asked for, and for one that somebody has to type a password for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const PERSON_TIMEOUT: Duration = Duration::from_secs(120);

/// Time for which an answer is remembered: a list of many jobs asks the same of each.
const REMEMBERED: Duration = Duration::from_secs(3);

/// Answers that are remembered at most.
const MAX_REMEMBERED: usize = 256;

/// Time between complaints in the log.
const QUIET: Duration = Duration::from_secs(60);

/// Questions of one user that people are asked about at once.
const MAX_QUESTIONS: usize = 2;

/// First version that knows descriptors of processes.
const PIDFD_SINCE: u32 = 124;

/// What polkit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The caller may.
    Yes,
    /// It may not.
    No,
    /// It might if it proved who it is, and nobody has been asked: it did not want to be, or no agent runs where it is.
    NeedsAuthentication,
    /// Somebody was asked, and did not want to.
    Dismissed,
    /// There is no polkit on this machine.
    NotThere,
    /// It is there, and knows nothing of what Kiln does: its actions are not installed.
    Unregistered,
    /// The bus by which it was asked before is away, so that nobody can be asked just now.
    BusAway(String),
    /// It is there, or may be, and does not answer.
    Failed(String),
}

/// polkit, on the bus of the system. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Polkit {
    address: Arc<str>,
    /// Made at first need, and again when it is lost.
    bus: Arc<Mutex<Option<Connection>>>,
    remembered: Arc<StdMutex<HashMap<Question, (Instant, Answer)>>>,
    /// Questions of each user that a person may be asked about just now.
    asking: Arc<StdMutex<HashMap<u32, usize>>>,
    /// When the log was last told that polkit cannot be asked.
    complained: Arc<StdMutex<Option<Instant>>>,
    /// Whether it has ever answered: then there is a bus.
    has_answered: Arc<AtomicBool>,
    /// Time for an answer that no person is asked for.
    limit: Duration,
}

/// Who asks for what, with the details that rules may look at.
type Question = (Caller, &'static str, Vec<(&'static str, String)>);

type Subject<'a> = (&'static str, HashMap<&'static str, Variant<'a>>);

impl Polkit {
    /// Will ask the one on the bus at this address.
    pub(crate) fn at(address: &str) -> Self {
        Self {
            address: address.into(),
            bus: Arc::default(),
            remembered: Arc::default(),
            asking: Arc::default(),
            complained: Arc::default(),
            has_answered: Arc::default(),
            limit: ANSWER_TIMEOUT,
        }
    }

    /// Asks whether the caller may do this. `details` are what rules may look at. Whoever calls keeps what it is about to do as it is meanwhile.
    pub(crate) async fn ask(
        &self,
        caller: &Caller,
        action: &'static str,
        details: Vec<(&'static str, String)>,
    ) -> Answer {
        // Who has people asked without end is answered without.
        let person = self.person_for(caller);
        let caller = &caller.asking(person.is_some());
        let key = (*caller, action, details);
        if let Some((at, answer)) = self.remembered().get(&key)
            && at.elapsed() < REMEMBERED
        {
            return answer.clone();
        }
        let answer = match self.ask_now(caller, action, &key.2).await {
            Ok(answer) => {
                self.has_answered.store(true, Ordering::Relaxed);
                answer
            }
            // A bus that has been there is just being started again.
            Err(zbus::Error::Connection(error, _)) if self.has_answered.load(Ordering::Relaxed) => {
                let why = format!("the bus of the system is not there just now: {error}");
                self.complain(action, &why);
                Answer::BusAway(why)
            }
            Err(error) if says_that_there_is_none(&error) => Answer::NotThere,
            Err(error) => {
                let why = explain(&error);
                self.complain(action, &why);
                if says_that_it_knows_no_such_action(&error) { Answer::Unregistered } else { Answer::Failed(why) }
            }
        };
        // What a person has said is said once.
        if !caller.is_interactive() {
            let mut remembered = self.remembered();
            if remembered.len() >= MAX_REMEMBERED {
                remembered.clear();
            }
            remembered.insert(key, (Instant::now(), answer.clone()));
        }
        answer
    }

    /// Says in the log that something is wrong, now and then: callers must not be able to fill it.
    fn complain(&self, action: &str, why: &str) {
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|at| at.elapsed() > QUIET) {
            tracing::warn!(action, why, "polkit cannot be asked, so that what it decides about is not allowed");
            *complained = Some(Instant::now());
        }
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<Question, (Instant, Answer)>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to have a person asked on behalf of this caller; ends when dropped.
    fn person_for(&self, caller: &Caller) -> Option<Person> {
        // Once: what it counts as may change meanwhile, and what is taken has to be given back.
        let uid = caller.counts_as();
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let questions = asking.entry(uid).or_default();
        let person = (caller.is_interactive() && *questions < MAX_QUESTIONS).then(|| {
            *questions += 1;
            Person { asking: Arc::clone(&self.asking), uid }
        });
        asking.retain(|_, questions| *questions > 0);
        person
    }

    async fn ask_now(&self, caller: &Caller, action: &str, details: &[(&str, String)]) -> zbus::Result<Answer> {
        static QUESTIONS: AtomicU64 = AtomicU64::new(0);
        let bus = self.bus().await?;
        let name;
        let pidfd;
        let subject: Subject<'_> = if let Some(unique) = caller.bus_name() {
            name = unique;
            ("system-bus-name", HashMap::from([("name", name.as_str().into())]))
        } else {
            let Some((pid, start_time)) = caller.process() else { return Ok(Answer::NeedsAuthentication) };
            pidfd = if version(&bus).await >= PIDFD_SINCE { open(pid, start_time) } else { None };
            let uid = i32::from_ne_bytes(caller.uid().to_ne_bytes());
            let mut values: HashMap<&str, Variant<'_>> = HashMap::from([("uid", uid.into())]);
            match &pidfd {
                Some(pidfd) => {
                    values.insert("pidfd", Fd::from(pidfd).into());
                }
                None => {
                    values.insert("pid", pid.into());
                    values.insert("start-time", start_time.into());
                }
            }
            ("unix-process", values)
        };
        let details: HashMap<&str, &str> = details.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let question = format!("kilnd-{}-{}", std::process::id(), QUESTIONS.fetch_add(1, Ordering::Relaxed));
        let (flags, limit) = if caller.is_interactive() { (1u32, PERSON_TIMEOUT) } else { (0, self.limit) };
        let arguments = (subject, action, details, flags, question.as_str());
        let call = bus.call_method(Some(POLKIT), AUTHORITY_PATH, Some(AUTHORITY), "CheckAuthorization", &arguments);
        let Ok(answered) = timeout(limit, call).await else {
            // The agent's window is to close.
            let cancel = "CancelCheckAuthorization";
            let question = (question,);
            let cancelled = bus.call_method(Some(POLKIT), AUTHORITY_PATH, Some(AUTHORITY), cancel, &question);
            let _ = timeout(self.limit, cancelled).await;
            return if caller.is_interactive() { Ok(Answer::Dismissed) } else { Err(late()) };
        };
        let answered = answered?;
        let body = answered.body();
        let ((may, challenge, said),): ((bool, bool, HashMap<String, String>),) = body.deserialize()?;
        Ok(match (may, challenge) {
            (true, _) => Answer::Yes,
            _ if said.contains_key("polkit.dismissed") => Answer::Dismissed,
            (false, true) => Answer::NeedsAuthentication,
            (false, false) => Answer::No,
        })
    }

    async fn bus(&self) -> zbus::Result<Connection> {
        let connected = async {
            let mut bus = self.bus.lock().await;
            if let Some(bus) = bus.as_ref().filter(|bus| !bus.is_closed()) {
                return Ok(bus.clone());
            }
            let new = Builder::address(&*self.address).build().await?;
            Ok(bus.insert(new).clone())
        };
        // With the time in which somebody else has it made.
        timeout(self.limit, connected).await.unwrap_or_else(|_| Err(late()))
    }
}

/// Somebody who is asked for a password on behalf of this user.
struct Person {
    asking: Arc<StdMutex<HashMap<u32, usize>>>,
    uid: u32,
}

impl Drop for Person {
    fn drop(&mut self) {
        if let Some(questions) = self.asking.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&self.uid) {
            *questions = questions.saturating_sub(1);
        }
    }
}

fn late() -> zbus::Error {
    zbus::Error::Failure("no answer in time".to_owned())
}

/// Whether this says that there is nobody to ask, and that nobody can be started.
fn says_that_there_is_none(error: &zbus::Error) -> bool {
    use zbus::fdo::Error::{NameHasNoOwner, ServiceUnknown};
    match error {
        // No bus. One with too many guests says something else (`EAGAIN`).
        zbus::Error::Connection(error, _) => {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
        }
        zbus::Error::FDO(error) => match &**error {
            ServiceUnknown(_) => true,
            // dbus-broker has this name for every start that fails, and tells why in words.
            NameHasNoOwner(text) => text.contains("unit is masked") || text.contains("unknown unit"),
            _ => false,
        },
        // dbus-daemon hands on what systemd says of the unit that it was asked to start.
        zbus::Error::MethodError(name, ..) => {
            matches!(name.as_str(), "org.freedesktop.systemd1.UnitMasked" | "org.freedesktop.systemd1.NoSuchUnit")
        }
        _ => false,
    }
}

/// Whether this is what polkit says of an action that no file of its own describes.
fn says_that_it_knows_no_such_action(error: &zbus::Error) -> bool {
    let zbus::Error::MethodError(name, Some(text), _) = error else { return false };
    name.as_str() == "org.freedesktop.PolicyKit1.Error.Failed" && text.contains("is not registered")
}

/// Opens a process, if it is still the one that started then.
fn open(pid: u32, start_time: u64) -> Option<OwnedFd> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    let pidfd = pidfd_open(raw, PidfdFlags::empty()).ok()?;
    (ProcessStat::of(pid).ok()?.start_time == start_time).then_some(pidfd)
}

/// Asks which polkit it is; the oldest when it does not say.
async fn version(bus: &Connection) -> u32 {
    let get = bus.call_method(
        Some(POLKIT),
        AUTHORITY_PATH,
        Some("org.freedesktop.DBus.Properties"),
        "Get",
        &(AUTHORITY, "BackendVersion"),
    );
    let Ok(Ok(answer)) = timeout(ANSWER_TIMEOUT, get).await else { return 0 };
    let version: Option<OwnedVariant> = answer.body().deserialize().ok();
    let version = version.and_then(|version| String::try_from(version).ok()).unwrap_or_default();
    // `122`, and `0.105` before.
    version.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILD: &str = "org.kiln.Kiln1.build";

    async fn answer_at(path: &std::path::Path) -> Answer {
        let polkit = Polkit::at(&format!("unix:path={}", path.display()));
        polkit.ask(&Caller::with_uid(61001), BUILD, Vec::new()).await
    }

    #[tokio::test]
    async fn where_no_bus_is_there_is_no_polkit() {
        let scratch = tempfile::tempdir().unwrap();
        assert_eq!(answer_at(&scratch.path().join("none")).await, Answer::NotThere);
        // What a bus has left behind.
        let stale = scratch.path().join("stale");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        assert_eq!(answer_at(&stale).await, Answer::NotThere);
        let wrong = Polkit::at("no address").ask(&Caller::with_uid(61001), BUILD, Vec::new()).await;
        assert!(matches!(wrong, Answer::Failed(_)), "{wrong:?}");
    }

    #[tokio::test]
    async fn a_bus_that_has_been_there_is_away() {
        let scratch = tempfile::tempdir().unwrap();
        let polkit = Polkit::at(&format!("unix:path={}", scratch.path().join("none").display()));
        polkit.has_answered.store(true, Ordering::Relaxed);
        let answer = polkit.ask(&Caller::with_uid(61001), BUILD, Vec::new()).await;
        let Answer::BusAway(why) = answer else { panic!("{answer:?}") };
        assert!(why.starts_with("the bus of the system is not there just now: "), "{why}");
    }

    #[tokio::test]
    async fn a_bus_that_is_slow_allows_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let silent = scratch.path().join("silent");
        let _listener = std::os::unix::net::UnixListener::bind(&silent).unwrap();
        let address = format!("unix:path={}", silent.display());
        let polkit = Polkit { limit: Duration::from_millis(100), ..Polkit::at(&address) };
        let answer = polkit.ask(&Caller::with_uid(61001), BUILD, Vec::new()).await;
        assert_eq!(answer, Answer::Failed("no answer in time".to_owned()));
    }

    /// polkit 124 and later is told of a process by this descriptor.
    #[test]
    fn a_number_that_has_passed_to_another_process_opens_nothing() {
        let this = std::process::id();
        let start_time = ProcessStat::of(this).unwrap().start_time;
        assert!(open(this, start_time).is_some());
        assert!(open(this, start_time + 1).is_none() && open(this, start_time - 1).is_none());
        assert!(open(0, start_time).is_none());
    }

    #[test]
    fn of_one_user_two_questions_at_once_are_for_a_person() {
        let polkit = Polkit::at("unix:path=/nonexistent");
        let (alice, bob) = (Caller::with_uid(61001), Caller::with_uid(61002));
        assert!(polkit.person_for(&alice).is_none(), "it did not want to");
        let (alice, bob) = (alice.asking(true), bob.asking(true));
        let first = polkit.person_for(&alice).unwrap();
        let _second = polkit.person_for(&alice).unwrap();
        assert!(polkit.person_for(&alice).is_none());
        assert!(polkit.person_for(&bob).is_some(), "each user has these");
        drop(first);
        assert!(polkit.person_for(&alice).is_some());
    }

    #[test]
    fn only_who_could_not_be_started_is_not_there() {
        use zbus::fdo::Error as Fdo;
        let text = |text: &str| text.to_owned();
        let masked =
            "Could not activate remote peer 'org.freedesktop.PolicyKit1': activation request failed: unit is masked";
        let failed = "Could not activate remote peer 'org.freedesktop.PolicyKit1': startup job failed";
        for (error, is_none) in [
            (Fdo::ServiceUnknown(text("not provided by any .service files")), true),
            (Fdo::NameHasNoOwner(text(masked)), true),
            (Fdo::NameHasNoOwner(text(failed)), false),
            (Fdo::NoReply(text("it has disconnected")), false),
            (Fdo::TimedOut(text("Failed to activate service: timed out")), false),
            (Fdo::AccessDenied(text("Rejected send message")), false),
            (Fdo::LimitsExceeded(text("too many")), false),
            (Fdo::SpawnFailed(text("Process org.freedesktop.PolicyKit1 exited with status 1")), false),
        ] {
            let error = zbus::Error::FDO(Box::new(error));
            assert_eq!(says_that_there_is_none(&error), is_none, "{error}");
        }
        let io = |kind: io::ErrorKind| {
            let address = "unix:path=/run/dbus/system_bus_socket".parse().unwrap();
            zbus::Error::Connection(Arc::new(kind.into()), Box::new(address))
        };
        // EAGAIN: everybody could make it so, with as many connections as wait for the bus.
        assert!(says_that_there_is_none(&io(io::ErrorKind::NotFound)));
        assert!(!says_that_there_is_none(&io(io::ErrorKind::WouldBlock)));
        assert!(!says_that_there_is_none(&late()));
    }
}
