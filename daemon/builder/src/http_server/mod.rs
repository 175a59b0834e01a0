//! The HTTP server from which guests fetch answer files: `http_directory` and `http_content`.
//!
//! It listens on one address of this machine for as long as the build lives. Every request is reported, so that a build can
//! say what the guest has fetched and what it asked for in vain.
//!
//! `tower_http::services::ServeDir` does not serve here. Tried with our requests, version 0.6 lists no directory, answers files without
//! an extension (`user-data`, `ks`) as `application/octet-stream` and never by what is in them, answers 416 to several ranges or an unknown
//! unit, which are to be ignored (RFC 9110 §14.2), does not know `/sub/../x`, and hangs for ever on a fifo. It has no texts by path, no name
//! that is close, no account of what was sent. What it would replace is `range.rs` and half of `files.rs`; its answers would have
//! to be corrected in more lines than that. Connections, their places and their ends are hyper's and ours either way.

mod content;
mod error;
mod files;
mod listing;
mod port;
mod range;
mod request_log;
mod response;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::content::ContentMap;
use self::files::Directory;
use self::request_log::LoggedBody;
use self::response::{Answer, plain};
use crate::connections::{Connections, Place};

pub(crate) use self::error::HttpServerError;
pub(crate) use self::port::AddressFamily;
pub(crate) use self::request_log::RequestLog;

/// Connections served at once. An installer uses a handful; a guest that opens more waits, or has its longest idle one closed.
const MAX_CONNECTIONS: usize = 128;
/// Longest wait for the next request on a connection.
const IDLE: Duration = Duration::from_secs(60);
/// Longest wait, when stopping, for answers that are under way.
const STOP: Duration = Duration::from_secs(2);
/// Pause after a failure to accept, which is a lack of file descriptors: they come back when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What to serve, and where.
#[derive(Clone)]
pub(crate) struct HttpServerConfig {
    /// Directory whose files are served.
    pub(crate) directory: Option<PathBuf>,
    /// Texts by path. They come before files of the same path.
    pub(crate) content: BTreeMap<String, String>,
    /// IP address to listen on; the loopback address is enough for QEMU's user networking.
    pub(crate) bind: String,
    /// The family of addresses that it listens on.
    pub(crate) family: AddressFamily,
    /// Lowest port.
    pub(crate) port_min: u16,
    /// Highest port, which may be used too.
    pub(crate) port_max: u16,
    /// Told of every answer once it is sent or has broken off.
    pub(crate) on_request: Arc<dyn Fn(RequestLog) + Send + Sync>,
}

/// A running server. It ends, with all its connections, when stopped or dropped.
#[derive(Debug)]
pub(crate) struct HttpServer {
    address: SocketAddr,
    stop: CancellationToken,
    accepting: AbortOnDropHandle<()>,
}

/// What all connections share.
struct Site {
    content: ContentMap,
    directory: Option<Directory>,
    on_request: Arc<dyn Fn(RequestLog) + Send + Sync>,
}

impl HttpServer {
    /// Starts serving on a free port of the range.
    ///
    /// # Errors
    ///
    /// Fails when no port is free, the address is not this machine's, or the directory cannot be entered.
    pub(crate) async fn start(config: HttpServerConfig) -> Result<Self, HttpServerError> {
        let directory = match config.directory {
            None => None,
            Some(path) => {
                let opened = Directory::open(&path).await;
                Some(opened.map_err(|source| HttpServerError::Directory { path, source })?)
            }
        };
        let listener = port::listen(&config.bind, config.family, config.port_min, config.port_max).await?;
        let address = listener.local_addr().map_err(|source| HttpServerError::NoPort {
            address: IpAddr::from([0, 0, 0, 0]),
            min: config.port_min,
            max: config.port_max,
            source,
        })?;
        let site = Site { content: ContentMap::new(config.content), directory, on_request: config.on_request };
        let stop = CancellationToken::new();
        let accepting = tokio::spawn(accept(listener, Arc::new(site), stop.clone()));
        Ok(Self { address, stop, accepting: AbortOnDropHandle::new(accepting) })
    }

    /// Returns the port.
    pub(crate) const fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the listening address and port.
    #[cfg(test)]
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets answers under way end for at most two seconds, and returns when nothing is left running.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.accepting.await
            && error.is_panic()
        {
            tracing::error!("the HTTP server ended abnormally");
        }
    }
}

async fn accept(listener: TcpListener, site: Arc<Site>, stop: CancellationToken) {
    let places = Connections::new(MAX_CONNECTIONS);
    // Dropped with this task: no connection outlives the server.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the HTTP server cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let place = match places.take() {
            Some(place) => Some(place),
            None => tokio::select! {
                () = stop.cancelled() => break,
                place = places.wait(IDLE) => place,
            },
        };
        match place {
            Some(place) => {
                connections.spawn(serve(stream, peer, place, Arc::clone(&site), stop.clone()));
            }
            None => tracing::warn!(%peer, "a connection to the HTTP server was dropped: all others are busy"),
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP, ended).await.is_err() {
        connections.shutdown().await;
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, place: Place, site: Arc<Site>, stop: CancellationToken) {
    let requests = &place;
    let service = service_fn(move |request| {
        let (busy, answer) = (requests.busy(), answer(request, peer, Arc::clone(&site)));
        async move { answer.await.map(|answer| answer.map(|body| busy.until_sent(body))) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut stopping = false;
    loop {
        tokio::select! {
            // First of all: after this word no request may begin.
            biased;
            () = place.must_close() => return,
            result = &mut connection => {
                if let Err(error) = result {
                    tracing::debug!(%peer, %error, "a connection of the HTTP server ended");
                }
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    site: Arc<Site>,
) -> Result<Response<LoggedBody>, Infallible> {
    let is_head = request.method() == Method::HEAD;
    let answer = if is_head || request.method() == Method::GET {
        find(&request, &site).await
    } else {
        let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served\n".to_owned());
        answer.headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        answer
    };
    let log = RequestLog::new(request.method(), request.uri(), peer, answer.status, answer.note.clone());
    Ok(answer.into_response(is_head, log, Arc::clone(&site.on_request)))
}

async fn find(request: &Request<Incoming>, site: &Site) -> Answer {
    let path = request.uri().path();
    if let Some(text) = site.content.get(path) {
        return response::bytes(text.clone(), path, request.headers());
    }
    match &site.directory {
        Some(directory) => directory.answer(path, request.headers()).await,
        None => plain(StatusCode::NOT_FOUND, site.content.not_found(path)),
    }
}
