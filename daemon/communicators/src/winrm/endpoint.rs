//! A guest's WinRM service: connections that are logged in, and one question over one of them at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::StatusCode;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::config::WinRmConfig;
use super::dial::dial;
use super::error::{Attempt, Failure, Stage};
use super::http::{Answer, ENVELOPE, Http};
use super::login::{Login, unexpected};
use super::ntlm::Sealing;
use super::sealed;
use super::soap::answer::Fault;
use super::soap::request::Request;
use super::soap::xml::{self, Element};
use super::tls;

/// How long an unused connection is kept. Windows closes them after two minutes, and what is sent just then would be lost.
const KEPT: Duration = Duration::from_secs(30);

/// Unused connections that are kept.
const MAX_KEPT: usize = 4;

/// What comes on top of the time that the service itself was given: the way there and back, and a guest that is slow.
const SLACK: Duration = Duration::from_secs(30);

/// How long shells may take to be given back when the connection is closed.
const CLOSING: Duration = Duration::from_secs(5);

/// How long a guest may take to show that it is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// The service of one guest, with all that is needed to ask it something.
pub(crate) struct Endpoint {
    config: WinRmConfig,
    tls: Option<Arc<ClientConfig>>,
    login: Login,
    kept: Mutex<Vec<(Instant, Connection)>>,
    closing: watch::Sender<usize>,
}

/// A connection, and what logging in has made of it.
struct Connection {
    http: Http,
    /// The hash of the guest's certificate.
    certificate: Option<Vec<u8>>,
    is_logged_in: bool,
    /// Messages are sealed over HTTP.
    sealing: Option<Sealing>,
}

impl Endpoint {
    /// Reads what the settings name.
    pub(crate) async fn prepare(config: &WinRmConfig) -> Result<Self, Attempt> {
        let tls = match &config.tls {
            Some(trust) => Some(tls::load(trust).await?),
            None => None,
        };
        let login = Login::prepare(config)?;
        let kept = Mutex::default();
        Ok(Self { config: config.clone(), tls, login, kept, closing: watch::Sender::new(0) })
    }

    pub(crate) fn config(&self) -> &WinRmConfig {
        &self.config
    }

    pub(crate) fn address(&self) -> String {
        self.config.address()
    }

    /// Asks the service something, which may take it as long as `patience`.
    pub(crate) async fn ask(&self, request: &Request<'_>, patience: Duration) -> Result<Element, Attempt> {
        let id = new_id()?;
        loop {
            let kept = self.take_kept();
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.open().await?,
            };
            let envelope = request.envelope(&self.config.url(), &id, patience);
            match self.exchange(&mut connection, envelope, patience + SLACK).await {
                // It has forgotten who logged in; whoever logs in anew hears whether that still works.
                // Where messages are sealed, anybody on the way may say so, after the guest has done what it was asked.
                Ok(answer)
                    if was_kept
                        && answer.status == StatusCode::UNAUTHORIZED
                        && (connection.sealing.is_none() || request.may_be_repeated()) => {}
                Ok(answer) => {
                    let read = self.read(&mut connection, &answer);
                    // What could not be read may have left the two sides' ciphers at different places.
                    let is_read = read.as_ref().err().is_none_or(|attempt| attempt.fault().is_some());
                    if is_read && !connection.http.is_closed() {
                        self.keep(connection);
                    }
                    return read;
                }
                // It was closed while nobody used it.
                Err(attempt) if was_kept && attempt.is_unsent => {}
                Err(attempt) => return Err(attempt),
            }
        }
    }

    /// Whether somebody speaks HTTP there, who need not let us in.
    pub(crate) async fn shows_life(&self) -> bool {
        let asking = async {
            let mut connection = self.open().await?;
            connection.http.post(ENVELOPE, None, Vec::new(), SIGN_OF_LIFE).await
        };
        matches!(timeout(SIGN_OF_LIFE, asking).await, Ok(Ok(_)))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Connection)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_kept(&self) -> Option<Connection> {
        let mut kept = self.kept();
        kept.retain(|(since, connection)| since.elapsed() < KEPT && !connection.http.is_closed());
        kept.pop().map(|(_, connection)| connection)
    }

    fn keep(&self, connection: Connection) {
        let mut kept = self.kept();
        if kept.len() < MAX_KEPT {
            kept.push((Instant::now(), connection));
        }
    }

    /// Closes what is not used.
    pub(crate) fn forget_kept(&self) {
        self.kept().clear();
    }

    /// Opens a connection.
    async fn open(&self) -> Result<Connection, Attempt> {
        let (stream, name) = (dial(&self.config).await?, self.config.address());
        let (http, certificate) = match &self.tls {
            None => (Http::over(TokioIo::new(stream), &name).await.map_err(Attempt::unsent)?, None),
            Some(settings) => {
                let agreed = tls::agree(Arc::clone(settings), &self.config.host, stream).await;
                let stream = agreed.map_err(Attempt::unsent)?;
                let certificate = tls::end_point(&stream);
                (Http::over(TokioIo::new(stream), &name).await.map_err(Attempt::unsent)?, certificate)
            }
        };
        Ok(Connection { http, certificate, is_logged_in: false, sealing: None })
    }

    /// Sends an envelope over a connection, which is logged in first if it is not.
    async fn exchange(
        &self,
        connection: &mut Connection,
        envelope: String,
        patience: Duration,
    ) -> Result<Answer, Attempt> {
        if self.login.is_of_connections() && !connection.is_logged_in {
            let certificate = connection.certificate.as_deref();
            // Nothing has been asked yet, so all can be asked again.
            let sealing = self.login.log_in(&mut connection.http, certificate).await.map_err(Attempt::unsent)?;
            connection.is_logged_in = true;
            connection.sealing = self.tls.is_none().then_some(sealing);
        }
        match &mut connection.sealing {
            Some(sealing) => {
                let body = sealed::seal(sealing, envelope);
                connection.http.post(sealed::KIND, None, body, patience).await
            }
            None => connection.http.post(ENVELOPE, self.login.header(), envelope.into_bytes(), patience).await,
        }
    }

    /// Reads an answer. Where messages are sealed, one that is not is a status and nothing else: somebody on the way could have written it.
    fn read(&self, connection: &mut Connection, answer: &Answer) -> Result<Element, Attempt> {
        let no_wsman = |what| Attempt::new(Stage::NotWsMan, Failure::NotWsMan { what });
        if answer.status == StatusCode::UNAUTHORIZED && connection.sealing.is_none() {
            return Err(self.login.rejected(answer));
        }
        if !matches!(answer.status, StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_REQUEST) {
            return Err(unexpected(answer));
        }
        let unsealed;
        let body = match &mut connection.sealing {
            Some(sealing) if sealed::is_sealed(answer.kind()) => {
                unsealed = sealed::unseal(sealing, &answer.body).map_err(no_wsman)?;
                &unsealed
            }
            Some(_) if answer.status == StatusCode::OK => return Err(no_wsman("it is not sealed")),
            Some(_) => return Err(unexpected(answer)),
            None => &answer.body,
        };
        let root = match xml::read(body) {
            Ok(root) if root.name == "Envelope" => root,
            Ok(_) if answer.status == StatusCode::OK => return Err(no_wsman("it is no envelope")),
            Err(what) if answer.status == StatusCode::OK => return Err(no_wsman(what)),
            _ => return Err(unexpected(answer)),
        };
        match Fault::of(&root) {
            Some(fault) => Err(Attempt::new(Stage::Session, Failure::Fault(fault))),
            None => Ok(root),
        }
    }

    /// Notes that something in the guest is being given back, until the guard is dropped.
    pub(crate) fn giving_back(&self) -> GivingBack {
        self.closing.send_modify(|count| *count += 1);
        GivingBack(self.closing.clone())
    }

    /// Waits for what is being given back, not for long, and closes what is not used.
    pub(crate) async fn close(&self) {
        let mut closing = self.closing.subscribe();
        // A guest that is powered off takes nothing back.
        let _ = timeout(CLOSING, closing.wait_for(|count| *count == 0)).await;
        self.forget_kept();
    }
}

pub(crate) struct GivingBack(watch::Sender<usize>);

impl Drop for GivingBack {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// A number that nobody else has, as a UUID is written.
pub(crate) fn new_id() -> Result<String, Attempt> {
    let mut bytes = [0u8; 16];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Attempt::final_at(Stage::Configuration, Failure::Ntlm(super::ntlm::NtlmError::Random)))?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}
