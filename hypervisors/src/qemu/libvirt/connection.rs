//! The calls to libvirt. They block for as long as its daemon likes, so each runs on a thread of its own and is waited for with a limit.

use std::fmt;
use std::time::Duration;

use rustix::process::getuid;
use tokio::sync::oneshot;
use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::{Error, ErrorNumber, clear_error_callback};

use crate::error::MachineError;
use crate::machine::GivenBack;

/// How long a daemon may take to answer. One that is started by the first call asks every QEMU there is for its abilities: ten seconds.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// How the ledger's names of domains begin.
const PREFIX: &str = "libvirt";

/// A domain, as the ledger names it: `libvirt UUID URI`. The UUID is made by chance, so it never means a machine of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::qemu) struct DomainId {
    pub(super) uri: String,
    pub(super) uuid: Uuid,
}

impl DomainId {
    /// A name for a domain that is to be.
    pub(super) fn new(uri: &str) -> Self {
        Self { uri: uri.to_owned(), uuid: Uuid::new_v4() }
    }

    /// Reads what [`Display`](fmt::Display) writes; `None`: something else.
    pub(in crate::qemu) fn parse(id: &str) -> Option<Self> {
        let mut words = id.splitn(3, ' ');
        let (prefix, uuid, uri) = (words.next()?, words.next()?, words.next()?);
        let uuid = Uuid::parse_str(uuid).ok().filter(|_| prefix == PREFIX)?;
        Some(Self { uri: uri.to_owned(), uuid })
    }
}

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX} {} {}", self.uuid, self.uri)
    }
}

/// Why a call did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CallError {
    /// libvirt's own words.
    Refused { command: &'static str, message: String },
    /// No answer came.
    Timeout { command: &'static str, limit: Duration },
}

impl CallError {
    fn new(command: &'static str, error: &Error) -> Self {
        Self::Refused { command, message: error.message().to_owned() }
    }

    /// As an error of a machine, with the place it was asked at.
    pub(super) fn on(self, uri: &str) -> MachineError {
        match self {
            Self::Refused { command, message, .. } => {
                MachineError::Refused { command: format!("{command} ({uri})"), message }
            }
            Self::Timeout { command, limit } => MachineError::Timeout { command: format!("{command} ({uri})"), limit },
        }
    }
}

/// Runs `call` on a thread of its own, for no longer than `limit`. What comes of it when nobody waits any more is dropped there.
pub(super) async fn on_thread<T: Send + 'static>(
    command: &'static str,
    limit: Duration,
    call: impl FnOnce() -> Result<T, CallError> + Send + 'static,
) -> Result<T, CallError> {
    let (sender, answer) = oneshot::channel();
    let run = move || {
        clear_error_callback();
        drop(sender.send(call()));
    };
    // A thread that never comes back holds up nobody, as one of the runtime's would.
    if let Err(error) = std::thread::Builder::new().name("libvirt".to_owned()).spawn(run) {
        return Err(CallError::Refused { command, message: error.to_string() });
    }
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) | Err(_) => Err(CallError::Timeout { command, limit }),
    }
}

/// A connection to the daemon, closed when it is dropped, which the crate's own is not.
pub(super) struct Connection(Connect);

impl Connection {
    /// Connects to the daemon behind `uri`, which may take `limit` to answer.
    pub(super) async fn open(uri: &str, limit: Duration) -> Result<Self, CallError> {
        let uri = uri.to_owned();
        on_thread("virConnectOpen", limit, move || open(&uri)).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The last reference goes on a thread: the daemon is told then, and nobody waits until it has heard.
        let mut last = self.0.clone();
        let _ = self.0.close();
        let close = move || drop(last.close());
        let _ = std::thread::Builder::new().name("libvirt".to_owned()).spawn(close);
    }
}

/// Connects to the daemon; blocks.
fn open(uri: &str) -> Result<Connection, CallError> {
    Connect::open(Some(uri)).map(Connection).map_err(|error| CallError::new("virConnectOpen", &error))
}

/// A domain and the connection that keeps it: it goes when this is dropped.
pub(super) struct Created {
    domain: Domain,
    // After the domain, which needs it.
    _connection: Connection,
}

impl Created {
    /// Destroys the domain, whatever state it is in; blocks.
    pub(super) fn destroy(&self) -> Result<(), CallError> {
        removed(self.domain.destroy()).map(drop)
    }
}

/// Starts a paused domain that goes with the connection; blocks.
pub(super) fn create(connection: Connection, xml: &str) -> Result<Created, CallError> {
    let flags = virt_sys::VIR_DOMAIN_START_PAUSED | virt_sys::VIR_DOMAIN_START_AUTODESTROY;
    let domain =
        Domain::create_xml(&connection.0, xml, flags).map_err(|error| CallError::new("virDomainCreateXML", &error))?;
    Ok(Created { domain, _connection: connection })
}

/// Sees to it that a domain is gone, over its own connection, or over a new one to a daemon that was started anew; blocks.
pub(super) fn forget(id: &DomainId, created: &Created) -> Result<(), CallError> {
    created.destroy().or_else(|_| destroy(id).map(drop))
}

/// Destroys the domain `id`, over a new connection; blocks.
fn destroy(id: &DomainId) -> Result<GivenBack, CallError> {
    let connection = open(&id.uri)?;
    let domain = match Domain::lookup_by_uuid_string(&connection.0, &id.uuid.to_string()) {
        Ok(domain) => domain,
        Err(error) if error.code() == ErrorNumber::NoDomain => return Ok(GivenBack::WasGone),
        Err(error) => return Err(CallError::new("virDomainLookupByUUID", &error)),
    };
    removed(domain.destroy())
}

/// What came of a `virDomainDestroy`: a domain may go between the look for it and that call.
fn removed(destroyed: Result<(), Error>) -> Result<GivenBack, CallError> {
    match destroyed {
        Ok(()) => Ok(GivenBack::Removed),
        Err(error) if matches!(error.code(), ErrorNumber::NoDomain | ErrorNumber::OperationInvalid) => {
            Ok(GivenBack::WasGone)
        }
        Err(error) => Err(CallError::new("virDomainDestroy", &error)),
    }
}

/// Gives the domain of a dead process back.
pub(in crate::qemu) async fn give_back(id: DomainId) -> Result<GivenBack, MachineError> {
    let uri = id.uri.clone();
    on_thread("virDomainDestroy", ANSWER_LIMIT, move || destroy(&id)).await.map_err(|error| error.on(&uri))
}

/// What is wrong with a URI: QEMU has to run here, where the build's files and sockets are.
pub(super) fn problem_of_uri(uri: &str) -> Option<(String, String)> {
    (!uri.starts_with("qemu:///")).then(|| {
        (format!("{uri} is no QEMU of this host"), "set KILN_LIBVIRT to qemu:///session or qemu:///system".to_owned())
    })
}

/// What is wrong with the daemon behind `uri`, and what to do about it; `None`: it answers, and its QEMU can open a build's files.
pub(in crate::qemu) async fn connect_problem(uri: &str, limit: Option<Duration>) -> Option<(String, String)> {
    if let Some(problem) = problem_of_uri(uri) {
        return Some(problem);
    }
    let limit = limit.unwrap_or(ANSWER_LIMIT);
    let told = async {
        let connection = Connection::open(uri, limit).await?;
        on_thread("virConnectGetCapabilities", limit, move || capabilities(&connection)).await
    };
    match told.await {
        Ok(told) => problem_of_user(runs_as(&told), getuid().as_raw(), uri),
        Err(error) => {
            let problem = error.on(uri).to_string();
            let hint = hint(&problem, uri);
            Some((problem, hint))
        }
    }
}

/// What the daemon tells of itself; blocks.
fn capabilities(connection: &Connection) -> Result<String, CallError> {
    connection.0.get_capabilities().map_err(|error| CallError::new("virConnectGetCapabilities", &error))
}

/// The user as whom a daemon runs QEMU, by what it tells of itself; `None`: as its own. Files are labelled with owners by its model `dac`.
fn runs_as(capabilities: &str) -> Option<u32> {
    let model = capabilities.split("<secmodel>").find(|model| model.contains("<model>dac</model>"))?;
    let (_, label) = model.split_once("<baselabel")?.1.split_once('>')?;
    let (user, _) = label.split_once("</baselabel>")?.0.split_once(':')?;
    user.strip_prefix('+').unwrap_or(user).parse().ok()
}

/// What is wrong where QEMU runs as `user`, and a build as `ours`: its directories are its own, and root's QEMU alone enters them, too.
fn problem_of_user(user: Option<u32>, ours: u32, uri: &str) -> Option<(String, String)> {
    let user = user.filter(|&user| user != ours && user != 0)?;
    let problem =
        format!("{uri} runs QEMU as user {user}, who may not open the files and sockets of user {ours}'s builds");
    Some((problem, OWN_USER.to_owned()))
}

/// What to do where QEMU runs as somebody else.
const OWN_USER: &str = "use KILN_LIBVIRT=qemu:///session, or name yourself as `user` and your group as `group` in /etc/libvirt/qemu.conf, and restart \
                        libvirt's daemon";

/// What to do about libvirt's words.
pub(super) fn hint(message: &str, uri: &str) -> String {
    let session = "KILN_LIBVIRT=qemu:///session";
    let known = [
        ("Failed to connect socket", "start libvirt's daemon (`systemctl start libvirtd`, or virtqemud), and see that the packages libvirt-daemon and libvirt-daemon-driver-qemu are installed".to_owned()),
        ("authentication", format!("join the group libvirt, or use {session}")),
        ("polkit", format!("join the group libvirt, or use {session}")),
        ("unsupported machine type", "run the qemu_binary with `-machine help` to see the machine types it has".to_owned()),
        ("does not support machine type", "run the qemu_binary with `-machine help` to see the machine types it has".to_owned()),
        ("Permission denied", format!("libvirt runs QEMU as another user, who may not enter your directories: {OWN_USER}")),
        ("No such file or directory", "see that the file named is there; `qemu:///system` needs it where libvirt's QEMU can see it".to_owned()),
        ("write\" lock", "another machine uses this disk; end it first".to_owned()),
        ("Cannot allocate memory", "lower memory in the source block".to_owned()),
        ("no answer", format!("see what holds up libvirt's daemon (`virsh -c {uri} version` waits, too), or restart it (`systemctl restart libvirtd`, or virtqemud)")),
        ("no connection driver", "install the package libvirt-daemon-driver-qemu".to_owned()),
    ];
    let found = known.into_iter().find(|(words, _)| message.contains(words)).map(|(_, hint)| hint);
    found.unwrap_or_else(|| {
        format!("see what `virsh -c {uri} version` says, or unset KILN_LIBVIRT to run QEMU without libvirt")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_runs_qemu_as_somebody_else_is_refused() {
        let models = |user: &str| {
            format!(
                "<capabilities><host><secmodel><model>apparmor</model><doi>0</doi></secmodel><secmodel>\n<model>dac</model>\n<doi>0</doi>\n\
                 <baselabel type='kvm'>+{user}:+{user}</baselabel>\n<baselabel type='qemu'>+{user}:+{user}</baselabel></secmodel></host>"
            )
        };
        assert_eq!(runs_as(&models("64055")), Some(64055));
        let without = "<capabilities><secmodel><model>none</model></secmodel><secmodel><model>dac</model></secmodel>";
        assert_eq!((runs_as(without), runs_as(&models("x")), runs_as("")), (None, None, None));
        let uri = "qemu:///system";
        let (problem, hint) = problem_of_user(Some(64055), 1000, uri).unwrap();
        assert!(problem.contains("as user 64055") && problem.contains("user 1000's"), "{problem}");
        assert!(hint.contains("qemu:///session") && hint.contains("qemu.conf"), "{hint}");
        for user in [None, Some(0), Some(1000)] {
            assert_eq!(problem_of_user(user, 1000, uri), None, "{user:?}");
        }
    }

    #[test]
    fn known_words_have_an_answer_of_their_own() {
        for (message, answer) in [
            (
                "Failed to connect socket to '/run/libvirt/libvirt-sock': No such file or directory",
                "start libvirt's daemon",
            ),
            ("authentication unavailable: no polkit agent available", "group libvirt"),
            ("unsupported configuration: Emulator does not support machine type 'x'", "-machine help"),
            ("Failed to connect to '/run/user/1000/kiln/control': Permission denied", "qemu:///session"),
            ("Cannot access storage file '/x': No such file or directory", "the file named"),
            ("no answer to virConnectOpen within 60000 ms", "restart it"),
            ("internal error: something new", "virsh -c qemu:///system version"),
        ] {
            let hint = hint(message, "qemu:///system");
            assert!(hint.contains(answer), "{message}: {hint}");
        }
    }
}
