//! An SSH server on this machine whose commands run in the guest, by whatever connection the build has: Ansible needs no other way in.
//!
//! It listens on 127.0.0.1 alone, lets in one key, and is gone with all its connections and commands when it is dropped.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Shutdown};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::server::Config;
use russh::{MethodKind, MethodSet};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::session::{Served, Session};
use crate::error::StepError;

/// How many ports are tried from the one that is asked for.
const PORTS: u16 = 10;

/// How many connections there may be at a time. Of those that come when there are so many, each takes the place of the oldest that has not
/// logged in: nobody of this machine can keep Ansible out by connecting and saying nothing.
const MAX_CONNECTIONS: usize = 64;

/// How long somebody who connects may take to log in.
const LOGIN_LIMIT: Duration = Duration::from_secs(60);

/// Pace of the questions to a client that says nothing: one that is gone is noticed so.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// A server that runs.
pub(super) struct Proxy {
    pub(super) port: u16,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens at `port` or one of those after it; at any when it is 0.
    pub(super) async fn start(port: u16, host_key: PrivateKey, served: Served) -> Result<Self, StepError> {
        let listener = listen(port).await.map_err(|error| {
            let which = if port == 0 { "any port".to_owned() } else { format!("port {port} or the nine after it") };
            StepError::new(format!("Ansible's proxy cannot listen on {which} of 127.0.0.1"))
                .with_source(error)
                .with_hint("leave local_port out: a free port is taken then")
        })?;
        let address = listener.local_addr();
        let port = address.map_err(|error| StepError::new("Ansible's proxy has no address").with_source(error))?.port();
        let config = Arc::new(Config {
            keys: vec![host_key],
            methods: MethodSet::from(&[MethodKind::PublicKey][..]),
            auth_rejection_time: Duration::from_secs(1),
            auth_rejection_time_initial: Some(Duration::ZERO),
            inactivity_timeout: None,
            keepalive_interval: Some(KEEP_ALIVE),
            nodelay: true,
            ..Config::default()
        });
        Ok(Self { port, accepting: tokio::spawn(accept(listener, config, Arc::new(served))) })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn listen(first: u16) -> io::Result<TcpListener> {
    let mut port = first;
    loop {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Err(error) if first != 0 && port < first.saturating_add(PORTS - 1) && port < u16::MAX => {
                tracing::debug!(%error, port, "the next port is tried");
                port += 1;
            }
            result => return result,
        }
    }
}

async fn accept(listener: TcpListener, config: Arc<Config>, served: Arc<Served>) {
    let mut connections = JoinSet::new();
    // The oldest in front.
    let mut strangers: VecDeque<Stranger> = VecDeque::new();
    loop {
        let accepted = listener.accept().await;
        while connections.try_join_next().is_some() {}
        strangers.retain(|stranger| !stranger.logged_in.load(Ordering::Relaxed) && !stranger.task.is_finished());
        if connections.len() >= MAX_CONNECTIONS
            && let Some(oldest) = strangers.pop_front()
        {
            tracing::debug!("a connection to Ansible's proxy that has not logged in makes room");
            oldest.task.abort();
        }
        // Such as have logged in go on; one that was aborted comes to its end at once.
        while connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
        match accepted {
            Ok((stream, _)) => {
                let logged_in = Arc::new(AtomicBool::new(false));
                let task = connections.spawn(serve(stream, config.clone(), served.clone(), logged_in.clone()));
                strangers.push_back(Stranger { task, logged_in });
            }
            Err(error) => {
                // Out of descriptors, which passes.
                tracing::debug!(%error, "a connection to Ansible's proxy was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A connection that has not logged in, as far as is known.
struct Stranger {
    task: AbortHandle,
    logged_in: Arc<AtomicBool>,
}

/// Ends a connection, whoever else has it.
struct EndOnDrop(std::net::TcpStream);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        // Ended already is the usual case.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

async fn serve(stream: TcpStream, config: Arc<Config>, served: Arc<Served>, logged_in: Arc<AtomicBool>) {
    let Ok(stream) = stream.into_std() else { return };
    let Ok(other) = stream.try_clone() else { return };
    let _end = EndOnDrop(other);
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let ended = CancellationToken::new();
    let _commands_end = ended.clone().drop_guard();
    let session = Session::new(served, ended, logged_in.clone());
    let running = tokio::time::timeout(LOGIN_LIMIT, russh::server::run_stream(config, stream, session)).await;
    let Ok(Ok(running)) = running else { return };
    let too_late = async {
        tokio::time::sleep(LOGIN_LIMIT).await;
        if logged_in.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        result = running => if let Err(error) = result {
            tracing::debug!(%error, "a connection to Ansible's proxy has ended");
        },
        () = too_late => tracing::debug!("nobody has logged in"),
    }
}
