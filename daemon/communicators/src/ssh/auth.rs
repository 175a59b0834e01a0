//! Logs in with every credential there is, in Packer's order: agent, keys, password, keyboard-interactive; with the last one first where
//! that is wanted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::MethodKind;
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg};

use crate::secret::Secret;
use crate::ssh::config::PrivateKeySource;
use crate::ssh::error::ConnectFailure;
use crate::ssh::handler::ClientHandler;

/// Rounds of questions a server may put; PAM modules ask two or three times.
const MAX_ROUNDS: usize = 10;

/// One thing to log in with.
pub(crate) enum Credential {
    Agent(PathBuf),
    Key(Arc<PrivateKey>),
    Certificate(Arc<PrivateKey>, Box<Certificate>),
    Password(Secret),
    KeyboardInteractive(Secret),
}

/// Where credentials come from; the same for guest and bastion.
pub(crate) struct CredentialSources<'a> {
    pub(crate) agent: Option<&'a Path>,
    pub(crate) private_keys: &'a [PrivateKeySource],
    pub(crate) certificate: Option<&'a Path>,
    pub(crate) password: Option<&'a Secret>,
    pub(crate) keyboard_interactive_first: bool,
}

impl CredentialSources<'_> {
    /// Reads keys and certificate.
    pub(crate) async fn load(&self) -> Result<Vec<Credential>, ConnectFailure> {
        let mut credentials = Vec::new();
        credentials.extend(self.agent.map(|socket| Credential::Agent(socket.to_owned())));
        for (index, source) in self.private_keys.iter().enumerate() {
            let key = Arc::new(load_key(source).await?);
            if let Some(path) = self.certificate.filter(|_| index == 0) {
                let certificate = load_certificate(path).await?;
                credentials.push(Credential::Certificate(Arc::clone(&key), Box::new(certificate)));
            }
            credentials.push(Credential::Key(key));
        }
        if let Some(password) = self.password {
            credentials.push(Credential::Password(password.clone()));
            let place = if self.keyboard_interactive_first { 0 } else { credentials.len() };
            credentials.insert(place, Credential::KeyboardInteractive(password.clone()));
        }
        Ok(credentials)
    }
}

async fn load_key(source: &PrivateKeySource) -> Result<PrivateKey, ConnectFailure> {
    let (name, text) = match source {
        PrivateKeySource::Pem(text) => ("(generated)".to_owned(), text.clone()),
        PrivateKeySource::File(path) => {
            let name = path.display().to_string();
            match tokio::fs::read_to_string(path).await {
                Ok(text) => (name, Secret::new(text)),
                Err(error) => return Err(ConnectFailure::PrivateKey { name, source: error.into() }),
            }
        }
    };
    russh::keys::decode_secret_key(text.expose(), None).map_err(|source| ConnectFailure::PrivateKey { name, source })
}

async fn load_certificate(path: &Path) -> Result<Certificate, ConnectFailure> {
    let fail = |source| ConnectFailure::Certificate { path: path.to_owned(), source };
    let text =
        tokio::fs::read_to_string(path).await.map_err(|error| fail(russh::keys::ssh_key::Error::Io(error.kind())))?;
    Certificate::from_openssh(text.trim()).map_err(fail)
}

/// A login that did not succeed.
pub(crate) struct LoginFailure {
    /// Methods tried, in order, each once.
    pub(crate) tried: Vec<String>,
    /// Methods the server offers.
    pub(crate) offered: Vec<String>,
    /// What failed, when it was not simply the credentials.
    pub(crate) failure: ConnectFailure,
    /// The first credential that was not tried because the server hung up: the next login begins there, or an agent
    /// with many keys would use up the server's patience every time.
    pub(crate) untried: Option<usize>,
}

impl LoginFailure {
    /// Returns true when the server has said no, as opposed to the connection having failed.
    pub(crate) fn is_rejection(&self) -> bool {
        matches!(self.failure, ConnectFailure::Rejected | ConnectFailure::NoCredentials)
    }
}

/// One login under way.
struct Login<'a> {
    handle: &'a mut Handle<ClientHandler>,
    user: &'a str,
    /// What the server still takes.
    offered: Vec<MethodKind>,
    /// What it named first; some servers leave out what has failed.
    offered_first: Vec<MethodKind>,
    tried: Vec<String>,
    agent_failure: Option<ConnectFailure>,
}

/// Tries the credentials beginning with number `first`, wrapping around.
pub(crate) async fn log_in(
    handle: &mut Handle<ClientHandler>,
    user: &str,
    credentials: &[Credential],
    first: usize,
) -> Result<(), LoginFailure> {
    let mut login =
        Login { handle, user, offered: Vec::new(), offered_first: Vec::new(), tried: Vec::new(), agent_failure: None };
    // `none` tells what the server offers and lets in users without a password.
    let mut outcome = login.none().await;
    for step in 0..credentials.len() {
        let index = (first + step) % credentials.len();
        match outcome {
            Ok(true) => return Ok(()),
            Ok(false) if login.handle.is_closed() => return Err(login.rejected(Some(index))),
            Ok(false) => outcome = login.attempt(&credentials[index]).await,
            Err(error) => return Err(login.failed(error, Some(index))),
        }
    }
    match outcome {
        Ok(true) => Ok(()),
        Ok(false) if credentials.is_empty() => {
            Err(LoginFailure { failure: ConnectFailure::NoCredentials, ..login.rejected(None) })
        }
        Ok(false) => Err(login.rejected(None)),
        Err(error) => Err(login.failed(error, None)),
    }
}

impl Login<'_> {
    fn rejected(&mut self, untried: Option<usize>) -> LoginFailure {
        let only_agent_failed = self.tried.is_empty();
        let failure = self.agent_failure.take().filter(|_| only_agent_failed).unwrap_or(ConnectFailure::Rejected);
        let offered = self.offered_first.iter().map(|method| <&str>::from(method).to_owned()).collect();
        LoginFailure { tried: std::mem::take(&mut self.tried), offered, failure, untried }
    }

    fn failed(&mut self, error: russh::Error, untried: Option<usize>) -> LoginFailure {
        LoginFailure { failure: ConnectFailure::Ssh(error), ..self.rejected(untried) }
    }

    fn note_tried(&mut self, method: &str) {
        if self.tried.last().is_none_or(|last| last != method) {
            self.tried.push(method.to_owned());
        }
    }

    /// Takes a server's answer; `Ok(true)` is success.
    fn take(&mut self, result: AuthResult) -> bool {
        match result {
            AuthResult::Success => true,
            AuthResult::Failure { remaining_methods, .. } => {
                if !remaining_methods.is_empty() {
                    self.offered = remaining_methods.to_vec();
                    if self.offered_first.is_empty() {
                        self.offered_first.clone_from(&self.offered);
                    }
                }
                false
            }
        }
    }

    /// A server that names what it offers need not be asked for other methods; one that names nothing is asked for all.
    fn offers(&self, method: MethodKind) -> bool {
        self.offered.is_empty() || self.offered.contains(&method)
    }

    async fn none(&mut self) -> Result<bool, russh::Error> {
        let result = self.handle.authenticate_none(self.user).await?;
        Ok(self.take(result))
    }

    async fn attempt(&mut self, credential: &Credential) -> Result<bool, russh::Error> {
        match credential {
            Credential::Agent(socket) if self.offers(MethodKind::PublicKey) => self.agent(socket).await,
            Credential::Key(key) if self.offers(MethodKind::PublicKey) => self.key(key).await,
            Credential::Certificate(key, certificate) if self.offers(MethodKind::PublicKey) => {
                self.note_tried("publickey");
                let certificate = certificate.as_ref().clone();
                let result = self.handle.authenticate_openssh_cert(self.user, Arc::clone(key), certificate).await?;
                Ok(self.take(result))
            }
            Credential::Password(password) if self.offers(MethodKind::Password) => {
                self.note_tried("password");
                let result = self.handle.authenticate_password(self.user, password.expose()).await?;
                Ok(self.take(result))
            }
            Credential::KeyboardInteractive(password) if self.offers(MethodKind::KeyboardInteractive) => {
                self.keyboard_interactive(password).await
            }
            _ => Ok(false),
        }
    }

    async fn key(&mut self, key: &Arc<PrivateKey>) -> Result<bool, russh::Error> {
        self.note_tried("publickey");
        for hash in self.hashes(key.algorithm().is_rsa()).await? {
            let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
            let result = self.handle.authenticate_publickey(self.user, key).await?;
            if self.take(result) {
                return Ok(true);
            }
            if self.handle.is_closed() {
                break;
            }
        }
        Ok(false)
    }

    /// Signature hashes to try with a key. Servers before OpenSSH 7.2 do not say which they know, and know SHA-1 only.
    async fn hashes(&self, is_rsa: bool) -> Result<Vec<Option<HashAlg>>, russh::Error> {
        if !is_rsa {
            return Ok(vec![None]);
        }
        Ok(match self.handle.best_supported_rsa_hash().await? {
            Some(hash) => vec![hash],
            None => vec![None, Some(HashAlg::Sha256)],
        })
    }

    async fn agent(&mut self, socket: &Path) -> Result<bool, russh::Error> {
        let broken = |message: String| ConnectFailure::Agent { socket: socket.to_owned(), message };
        let mut agent = match AgentClient::connect_uds(socket).await {
            Ok(agent) => agent,
            Err(error) => {
                self.agent_failure = Some(broken(error.to_string()));
                return Ok(false);
            }
        };
        let identities = match agent.request_identities().await {
            Ok(identities) => identities,
            Err(error) => {
                self.agent_failure = Some(broken(error.to_string()));
                return Ok(false);
            }
        };
        for identity in identities {
            self.note_tried("publickey");
            let is_rsa = identity.public_key().algorithm().is_rsa();
            let hash = self.hashes(is_rsa).await?.first().copied().flatten();
            let result = match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    self.handle.authenticate_publickey_with(self.user, key, hash, &mut agent).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    self.handle.authenticate_certificate_with(self.user, certificate, hash, &mut agent).await
                }
            };
            match result.map(|result| self.take(result)) {
                Ok(true) => return Ok(true),
                Ok(false) if self.handle.is_closed() => return Ok(false),
                Ok(false) => {}
                // One key the agent will not sign with (locked, not confirmed) is no reason to skip the others.
                Err(error) => self.agent_failure = Some(broken(error.to_string())),
            }
        }
        Ok(false)
    }

    async fn keyboard_interactive(&mut self, password: &Secret) -> Result<bool, russh::Error> {
        self.note_tried("keyboard-interactive");
        let mut response = self.handle.authenticate_keyboard_interactive_start(self.user, None).await?;
        for _ in 0..MAX_ROUNDS {
            match response {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success } => {
                    return Ok(self.take(AuthResult::Failure { remaining_methods, partial_success }));
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                    let answers = vec![password.expose().to_owned(); prompts.len()];
                    response = self.handle.authenticate_keyboard_interactive_respond(answers).await?;
                }
            }
        }
        Ok(false)
    }
}
