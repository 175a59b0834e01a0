//! Turns settings into a connection that is logged in, trying until it works or time is up.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use russh::client::{self, GexParams};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::communicator::BoxFuture;
use crate::lookout::{GuestSight, Lookout};
use crate::observer::{ConnectEvent, ConnectObserver};
use crate::ssh::algorithms;
use crate::ssh::auth::{Credential, CredentialSources, log_in};
use crate::ssh::config::{Bastion, SshConfig};
use crate::ssh::connection::Connection;
use crate::ssh::dial::{Dialer, Route};
use crate::ssh::error::{ConnectFailure, SshConnectError, Stage};
use crate::ssh::handler::ClientHandler;
use crate::ssh::pace::MAX_UNDER_WAY;
use crate::ssh::probe::{Greeting, Start, probe};
use crate::ssh::progress::{AttemptFailure, Progress};
use crate::ssh::stream::GuardedStream;

/// The longest a key exchange may take. An emulated guest needs seconds for an RSA host key.
const KEY_EXCHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest a login may take, an agent waiting for a finger included.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest the answer to a request after login may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// After this long in key exchange and login, probing begins again beside it: the guest may have gone down.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(6);

/// The same where the guest is watched, and would be seen to restart. An emulated one with an RSA host key and a login that looks things
/// up needs 5 to 10 s.
const HANDSHAKE_PATIENCE_WATCHED: Duration = Duration::from_secs(30);

/// Pause after a failed key exchange.
const KEY_EXCHANGE_PAUSE: Duration = Duration::from_millis(500);

/// Pause after one that fails whenever it is tried, until another system answers. OpenSSH counts such a visitor among those it shuts out.
const MISMATCH_PAUSE: Duration = Duration::from_secs(5);

/// How long a peer that takes no bytes is waited for when keep-alives, which else set the limit, are off.
const WRITE_STALL: Duration = Duration::from_secs(60);

/// Bytes the guest may send before we have read them, per channel.
const WINDOW: u32 = 4 << 20;

/// What is asked for where the group is the server's to choose: as many bits as OpenSSH asks for with AES-128. russh would ask for 8192, which take
/// seconds.
fn group_sizes() -> GexParams {
    GexParams::new(2048, 3072, 8192).unwrap_or_default()
}

/// Everything needed to connect, and to connect again: settings checked, keys read.
pub(crate) struct ConnectPlan {
    pub(crate) config: SshConfig,
    pub(crate) observer: Arc<dyn ConnectObserver>,
    ssh: Arc<client::Config>,
    credentials: Vec<Credential>,
    bastion: Option<Box<Self>>,
    /// Whether a rejected login ends it all, as at a bastion, which must be up already.
    rejections_are_final: bool,
}

impl ConnectPlan {
    pub(crate) fn prepare(
        config: &SshConfig,
        observer: Arc<dyn ConnectObserver>,
    ) -> BoxFuture<'_, Result<Self, ConnectFailure>> {
        Box::pin(async move {
            if config.bastion.is_some() && config.proxy.is_some() {
                return Err(ConnectFailure::BastionAndProxy);
            }
            let bastion = match &config.bastion {
                Some(bastion) => {
                    let config = bastion_config(bastion, config);
                    let on_the_way = Arc::new(OnTheWay(Arc::clone(&observer)));
                    let mut plan = Self::prepare(&config, on_the_way).await?;
                    plan.rejections_are_final = true;
                    Some(Box::new(plan))
                }
                None => None,
            };
            let sources = CredentialSources {
                agent: config.agent_socket.as_deref().filter(|_| config.agent_auth),
                private_keys: &config.private_keys,
                certificate: config.certificate.as_deref(),
                password: config.password.as_ref(),
                keyboard_interactive_first: config.keyboard_interactive_first,
            };
            let credentials = sources.load().await?;
            let ssh = Arc::new(client::Config {
                preferred: algorithms::preferred(config)?,
                keepalive_interval: config.keep_alive_interval,
                keepalive_max: config.keep_alive_count_max as usize,
                nodelay: true,
                window_size: WINDOW,
                gex: group_sizes(),
                ..client::Config::default()
            });
            Ok(Self { config: config.clone(), observer, ssh, credentials, bastion, rejections_are_final: false })
        })
    }

    /// Makes a connection, trying until `deadline`. `again`: there was one before.
    pub(crate) fn establish(
        &self,
        deadline: Option<Instant>,
        again: bool,
    ) -> BoxFuture<'_, Result<Arc<Connection>, SshConnectError>> {
        Box::pin(async move {
            let progress = Progress::new(Arc::clone(&self.observer), self.config.address());
            let working = self.establish_without_limit(deadline, again, &progress);
            let time_up = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => pending().await,
                }
            };
            let connection = tokio::select! {
                biased;
                result = working => result.map_err(|failure| progress.final_error(failure))?,
                () = time_up => return Err(progress.error()),
            };
            self.observer.event(&ConnectEvent::Connected {
                address: connection.address().to_owned(),
                elapsed: progress.elapsed(),
                server: connection.banner().to_owned(),
            });
            Ok(connection)
        })
    }

    async fn establish_without_limit(
        &self,
        deadline: Option<Instant>,
        again: bool,
        progress: &Progress,
    ) -> Result<Arc<Connection>, AttemptFailure> {
        let dialer = Arc::new(self.dialer(deadline).await?);
        // What is seen of the guest says nothing about the way through somebody else.
        let lookout = self.config.lookout.as_deref().filter(|_| matches!(dialer.route, Route::Direct));
        let mut handshakes = FuturesUnordered::new();
        let mut probing = Some(Box::pin(probe(&dialer, Start { lookout, contacted: again, busy: 0 }, progress)));
        let restarts = || lookout.and_then(|lookout| lookout.sight().restarts());
        let mut greeted_in = restarts();
        let mut next_probe = Instant::now();
        let mut rejections: u32 = 0;
        let mut first_credential = 0;
        let mut mismatch_told = false;
        loop {
            tokio::select! {
                result = async { probing.as_mut().expect("guarded").await }, if probing.is_some() => {
                    probing = None;
                    handshakes.push(self.handshake(&dialer, result?, first_credential, progress));
                    greeted_in = restarts();
                    let watched = greeted_in.is_some();
                    let patience = if watched { HANDSHAKE_PATIENCE_WATCHED } else { HANDSHAKE_PATIENCE };
                    next_probe = Instant::now() + patience;
                }
                () = restarted(lookout, greeted_in), if probing.is_none() => {
                    // Whoever greeted us is gone; its answer will never come.
                    handshakes.clear();
                    greeted_in = restarts();
                    next_probe = Instant::now();
                }
                Some(result) = handshakes.next(), if !handshakes.is_empty() => {
                    let HandshakeFailure { failure, rejected, untried } = match result {
                        Ok(connection) => return Ok(connection),
                        Err(failure) => failure,
                    };
                    if let Some(untried) = untried {
                        first_credential = untried;
                    }
                    let mut pause = KEY_EXCHANGE_PAUSE;
                    if rejected {
                        rejections = rejections.saturating_add(1);
                        self.tell_rejection(rejections, &failure.stage);
                        pause = login_pause(rejections);
                        let used_up = self.config.handshake_attempts.is_some_and(|limit| rejections >= limit.max(1));
                        if used_up || self.rejections_are_final {
                            return Err(failure);
                        }
                    }
                    if matches!(failure.stage, Stage::Algorithms(_) | Stage::HostKey) {
                        pause = MISMATCH_PAUSE;
                        if self.rejections_are_final {
                            return Err(failure);
                        }
                        if !std::mem::replace(&mut mismatch_told, true) {
                            self.tell_mismatch(&failure);
                        }
                    }
                    if failure.is_final {
                        return Err(failure);
                    }
                    progress.failed(failure.stage, failure.failure);
                    if handshakes.is_empty() {
                        next_probe = Instant::now() + pause;
                    }
                }
                () = sleep_until(next_probe), if probing.is_none() && handshakes.len() < MAX_UNDER_WAY => {
                    let start = Start { lookout, contacted: true, busy: handshakes.len() };
                    probing = Some(Box::pin(probe(&dialer, start, progress)));
                }
            }
        }
    }

    fn tell_rejection(&self, attempt: u32, stage: &Stage) {
        if let Stage::Authentication { tried, offered } = stage {
            let (tried, offered) = (tried.clone(), offered.clone());
            self.observer.event(&ConnectEvent::Rejected { attempt, tried, offered });
        }
    }

    /// Tells at once what will end in an error when time is up, unless another system answers until then.
    fn tell_mismatch(&self, failure: &AttemptFailure) {
        let hint = failure.stage.hint(&failure.failure).unwrap_or_default();
        let text = format!(
            "{}: {}; it is tried again until ssh_timeout is over: {hint}",
            self.config.address(),
            failure.stage
        );
        self.observer.event(&ConnectEvent::Note(text));
    }

    async fn dialer(&self, deadline: Option<Instant>) -> Result<Dialer, AttemptFailure> {
        let route = match (&self.bastion, &self.config.proxy) {
            (Some(bastion), _) => match bastion.establish(deadline, false).await {
                Ok(connection) => Route::Bastion(connection),
                Err(error) => {
                    let SshConnectError { address, stage, source, .. } = error;
                    let failure = ConnectFailure::Bastion { address, stage, source: Box::new(source) };
                    return Err(AttemptFailure::final_at(Stage::Bastion, failure));
                }
            },
            (None, Some(proxy)) => Route::Proxy(proxy.clone()),
            (None, None) => Route::Direct,
        };
        Ok(Dialer { host: self.config.host.clone(), port: self.config.port, route })
    }

    /// Agrees on keys and logs in over a stream that has brought a banner.
    async fn handshake(
        &self,
        dialer: &Dialer,
        greeting: Greeting,
        first_credential: usize,
        progress: &Progress,
    ) -> Result<Arc<Connection>, HandshakeFailure> {
        let Greeting { transport, read, banner } = greeting;
        let config = &self.config;
        let (stream, sever) = GuardedStream::new(transport, read, config.read_write_timeout, self.write_stall());
        let ended = CancellationToken::new();
        let handler = ClientHandler {
            address: config.address(),
            observer: Arc::clone(&self.observer),
            host_keys: config.host_keys.clone(),
            forwarded_agent: config.agent_socket.clone().filter(|_| config.agent_forwarding),
            remote_tunnels: config.remote_tunnels.clone(),
            _ended: ended.clone().drop_guard(),
        };

        progress.reached(Stage::KeyExchange);
        let exchange = client::connect_stream(Arc::clone(&self.ssh), stream, handler);
        let mut handle = match timeout(KEY_EXCHANGE_TIMEOUT, exchange).await {
            Ok(Ok(handle)) => handle,
            Ok(Err(error)) => {
                return Err(HandshakeFailure::at(algorithms::stage_of(&error), ConnectFailure::Ssh(error)));
            }
            Err(_) => {
                let failure = ConnectFailure::TimedOut { what: "the key exchange", after: KEY_EXCHANGE_TIMEOUT };
                return Err(HandshakeFailure::at(Stage::KeyExchange, failure));
            }
        };

        progress.reached(Stage::Authentication { tried: Vec::new(), offered: Vec::new() });
        let login = log_in(&mut handle, &config.username, &self.credentials, first_credential);
        match timeout(LOGIN_TIMEOUT, login).await {
            Ok(Ok(())) => {}
            Ok(Err(login)) => {
                let rejected = login.is_rejection();
                let untried = login.untried;
                let stage = Stage::Authentication { tried: login.tried, offered: login.offered };
                return Err(HandshakeFailure { failure: AttemptFailure::new(stage, login.failure), rejected, untried });
            }
            Err(_) => {
                let stage = Stage::Authentication { tried: Vec::new(), offered: Vec::new() };
                let failure = ConnectFailure::TimedOut { what: "the login", after: LOGIN_TIMEOUT };
                return Err(HandshakeFailure::at(stage, failure));
            }
        }

        let bastion = if let Route::Bastion(bastion) = &dialer.route { Some(Arc::clone(bastion)) } else { None };
        let connection = Arc::new(Connection::new(handle, config.address(), banner, ended, sever, bastion));
        for tunnel in &config.remote_tunnels {
            let port = tunnel.listen_port;
            let reason = match timeout(REQUEST_TIMEOUT, connection.listen_remotely(port)).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {REQUEST_TIMEOUT:?}"),
            };
            let failure = ConnectFailure::Tunnel { port, reason };
            // A connection that is still there means that the guest said no, and would do so again.
            let is_final = !connection.is_closed();
            let failure = AttemptFailure { stage: Stage::Session, failure, is_final };
            return Err(HandshakeFailure { failure, rejected: false, untried: None });
        }
        Ok(connection)
    }

    /// How long one write may be stuck: as long as keep-alives may go unanswered, for a stuck write stops those.
    fn write_stall(&self) -> Duration {
        let keep_alive = self.config.keep_alive_interval.map(|each| each * (self.config.keep_alive_count_max + 1));
        let stall = keep_alive.unwrap_or(WRITE_STALL);
        self.config.read_write_timeout.map_or(stall, |limit| limit.min(stall))
    }
}

/// Hears of the bastion, which is not the guest: how far connecting to it has come says nothing of the guest.
struct OnTheWay(Arc<dyn ConnectObserver>);

impl ConnectObserver for OnTheWay {
    fn event(&self, event: &ConnectEvent) {
        match event {
            // For people, and with its address.
            ConnectEvent::Identity { .. } | ConnectEvent::Note(_) => self.0.event(event),
            other => tracing::debug!(?other, "connecting to the bastion"),
        }
    }
}

/// A failure after the banner.
struct HandshakeFailure {
    failure: AttemptFailure,
    rejected: bool,
    untried: Option<usize>,
}

impl HandshakeFailure {
    fn at(stage: Stage, failure: ConnectFailure) -> Self {
        Self { failure: AttemptFailure::new(stage, failure), rejected: false, untried: None }
    }
}

/// Waits until the guest is seen to have restarted since it was seen with `restarts`.
async fn restarted(lookout: Option<&dyn Lookout>, restarts: Option<u32>) {
    let Some(lookout) = lookout else { return pending().await };
    let mut sight = lookout.sight();
    while sight.restarts() == restarts || sight == GuestSight::Unwatched {
        sight = lookout.other_than(sight).await;
    }
}

/// The pause after so many rejected logins: short while the guest may be setting up its users, then longer, for an installer's
/// own server rejects us as long as the installation takes. OpenSSH 9.8 counts 5 s of penalty for each and shuts out who has 15 s
/// together, so nobody who asks every 5 s is.
fn login_pause(rejections: u32) -> Duration {
    match rejections {
        0..=1 => Duration::from_millis(500),
        2 => Duration::from_secs(2),
        _ => Duration::from_secs(5),
    }
}

fn bastion_config(bastion: &Bastion, guest: &SshConfig) -> SshConfig {
    SshConfig {
        host: bastion.host.clone(),
        port: bastion.port,
        username: bastion.username.clone(),
        password: bastion.password.clone(),
        keyboard_interactive_first: bastion.keyboard_interactive_first,
        private_keys: bastion.private_keys.clone(),
        certificate: bastion.certificate.clone(),
        agent_socket: guest.agent_socket.clone(),
        agent_auth: bastion.agent_auth,
        agent_forwarding: false,
        handshake_attempts: Some(1),
        bastion: None,
        proxy: None,
        lookout: None,
        local_tunnels: Vec::new(),
        remote_tunnels: Vec::new(),
        ..guest.clone()
    }
}
