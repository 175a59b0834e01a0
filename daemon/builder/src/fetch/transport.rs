//! HTTP and HTTPS requests: connections, proxies, redirects, time limits. One connection per request.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue,
    LOCATION, PROXY_AUTHORIZATION, USER_AGENT,
};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt as _;

use super::error::UrlError;
use super::location::RemoteUrl;
use super::patience::{Patience, again};
use super::proxy::{Proxy, ProxyKind, ProxySettings};
use super::socks;
use super::told::{SayFn, WaitingFn};
use super::unverified;
use crate::blocking::blocking;

/// Redirects that are followed: the number Go's and most other clients use.
const MAX_REDIRECTS: usize = 10;
/// Longest answer of a proxy to CONNECT.
const MAX_CONNECT_ANSWER: usize = 16 * 1024;
/// How this client calls itself.
const AGENT: &str = concat!("kiln/", env!("CARGO_PKG_VERSION"));

/// Makes requests.
#[derive(Default)]
pub(super) struct Transport {
    proxies: ProxySettings,
    pub(super) patience: Patience,
    waiting: Option<WaitingFn>,
    tls: OnceCell<Arc<ClientConfig>>,
}

/// The body of a request.
pub(super) type Outgoing = UnsyncBoxBody<Bytes, io::Error>;

/// A connection that takes requests one after the other.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<Outgoing>,
    task: AbortOnDropHandle<()>,
}

/// The head of an answer, and its body, which keeps the connection.
#[derive(Debug)]
pub(super) struct Answer {
    /// The URL that answered, after redirects.
    pub(super) url: RemoteUrl,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Incoming,
    _connection: AbortOnDropHandle<()>,
}

impl Transport {
    /// Uses the proxies of the process environment.
    pub(super) fn from_environment() -> Self {
        Self { proxies: ProxySettings::from_lookup(|name| std::env::var(name).ok()), ..Self::default() }
    }

    /// As [`from_environment`](Self::from_environment), for a server whose certificate nobody looks at.
    pub(super) fn trusting_anybody() -> Result<Self, UrlError> {
        let tls = unverified::config().map_err(|error| UrlError::Certificates(error.into()))?;
        Ok(Self { tls: OnceCell::new_with(Some(Arc::new(tls))), ..Self::from_environment() })
    }

    /// Has pauses told to somebody.
    pub(super) fn telling(self, waiting: WaitingFn) -> Self {
        Self { waiting: Some(waiting), ..self }
    }

    /// Lets some time pass before the next try of this URL.
    pub(super) async fn pause(&self, url: &RemoteUrl, time: Duration) {
        let _told = self.waiting.as_ref().map(|waiting| waiting(&format!("the next try of {url}"), time));
        tokio::time::sleep(time).await;
    }

    #[cfg(test)]
    pub(super) fn for_tests(proxies: ProxySettings, patience: Patience, tls: Option<ClientConfig>) -> Self {
        Self { proxies, patience, waiting: None, tls: OnceCell::new_with(tls.map(Arc::new)) }
    }

    /// Asks for a URL, following redirects as most clients do: what is posted goes to the first URL only, unless the server
    /// says to send it again (307, 308), and secrets do not go to another host.
    pub(super) async fn request(
        &self,
        method: Method,
        url: &RemoteUrl,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Answer, UrlError> {
        let mut current = url.clone();
        let (mut method, mut headers, mut body) = (method, headers.to_vec(), body);
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.request_once(method.clone(), &current, &headers, body.clone()).await?;
            let status = answer.status.as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            if status < 304 && method != Method::GET && method != Method::HEAD {
                (method, body) = (Method::GET, Bytes::new());
                headers.retain(|(name, _)| *name != CONTENT_TYPE);
            }
            let unusable = |reason: &str| UrlError::Answer { url: current.to_string(), reason: reason.to_owned() };
            let target =
                answer.headers.get(LOCATION).ok_or_else(|| unusable("a redirect that does not say where to"))?;
            let target = std::str::from_utf8(target.as_bytes()).map_err(|_| unusable("a redirect that is not text"))?;
            let next = current.join(target)?;
            if next.host() != current.host() {
                headers.retain(|(name, _)| ![AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name));
            }
            current = next;
        }
        Err(UrlError::Redirects { url: url.to_string(), limit: MAX_REDIRECTS })
    }

    /// Asks how long a file is, without getting it.
    pub(super) async fn length(&self, url: &RemoteUrl) -> Result<Option<u64>, UrlError> {
        let answer = self.request(Method::HEAD, url, &[], Bytes::new()).await?;
        match answer.status {
            status if status.is_success() => Ok(content_length(&answer.headers)),
            // Some servers know only GET.
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED | StatusCode::FORBIDDEN => Ok(None),
            status => Err(UrlError::Status { url: answer.url.to_string(), status }),
        }
    }

    /// Gets a small file as bytes, trying again as patience says.
    pub(super) async fn small_file(&self, url: &RemoteUrl, limit: usize, say: SayFn<'_>) -> Result<Vec<u8>, UrlError> {
        let mut pause = self.patience.first_pause;
        let mut tries = 1;
        loop {
            match self.small_file_once(url, limit).await {
                Err(error) if error.is_temporary() && tries < self.patience.tries => {
                    tries += 1;
                    say(again(&error, pause, tries, self.patience.tries));
                    self.pause(url, pause).await;
                    pause *= 2;
                }
                result => return result,
            }
        }
    }

    async fn small_file_once(&self, url: &RemoteUrl, limit: usize) -> Result<Vec<u8>, UrlError> {
        let mut answer = self.request(Method::GET, url, &[], Bytes::new()).await?;
        if answer.status != StatusCode::OK {
            return Err(UrlError::Status { url: answer.url.to_string(), status: answer.status });
        }
        read_whole(self, &mut answer, limit).await
    }

    /// Returns the next piece of a body, or nothing at its end. `received` is for messages.
    pub(super) async fn piece(&self, answer: &mut Answer, received: u64) -> Result<Option<Bytes>, UrlError> {
        loop {
            let frame = timeout(self.patience.stall, answer.body.frame()).await.map_err(|_| UrlError::Stalled {
                url: answer.url.to_string(),
                received,
                waited: self.patience.stall,
            })?;
            match frame {
                None => return Ok(None),
                Some(Err(source)) => {
                    return Err(UrlError::Broken { url: answer.url.to_string(), received, source });
                }
                // Anything but data is a trailer, which says nothing here.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    async fn request_once(
        &self,
        method: Method,
        url: &RemoteUrl,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Answer, UrlError> {
        let mut connection = self.connect(url).await?;
        let request = self.compose(method, url, headers, whole(body))?;
        let response = timeout(self.patience.stall, connection.sender.send_request(request))
            .await
            .map_err(|_| UrlError::Stalled { url: url.to_string(), received: 0, waited: self.patience.stall })?
            .map_err(|source| UrlError::Broken { url: url.to_string(), received: 0, source })?;
        let (head, body) = response.into_parts();
        let _connection = connection.task;
        Ok(Answer { url: url.clone(), status: head.status, headers: head.headers, body, _connection })
    }

    /// Makes a connection on which requests for the server of `url` can be sent.
    pub(super) async fn connect(&self, url: &RemoteUrl) -> Result<Connection, UrlError> {
        let proxy = self.proxies.for_url(url)?;
        let stream = self.reach(proxy.as_ref(), url).await?;
        let (sender, task) = if url.is_https() {
            let encrypted = self.encrypt(stream, url).await?;
            start(encrypted, url).await?
        } else {
            start(TokioIo::new(stream), url).await?
        };
        Ok(Connection { sender, task })
    }

    /// Puts a request together as it goes over a connection of [`connect`](Self::connect).
    pub(super) fn compose(
        &self,
        method: Method,
        url: &RemoteUrl,
        headers: &[(HeaderName, HeaderValue)],
        body: Outgoing,
    ) -> Result<Request<Outgoing>, UrlError> {
        let proxy = self.proxies.for_url(url)?;
        // An HTTP proxy is told the whole URL, unless it only passes on what is encrypted.
        let to_proxy = proxy.as_ref().filter(|proxy| proxy.kind == ProxyKind::Http && !url.is_https());
        let target = if to_proxy.is_some() { url.uri().to_string() } else { url.path_and_query().to_owned() };
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, url.uri().authority().map_or("", |authority| authority.as_str()))
            .header(USER_AGENT, AGENT)
            .header(ACCEPT_ENCODING, "identity")
            .body(body)
            .map_err(|error| UrlError::Malformed { url: url.to_string(), reason: error.to_string() })?;
        if let Some(login) = url.login() {
            request.headers_mut().insert(AUTHORIZATION, basic(login));
        }
        if let Some(login) = to_proxy.and_then(Proxy::login) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, basic(login));
        }
        for (name, value) in headers {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }

    /// Makes a connection that leads to the server of a URL, or to the HTTP proxy that is to be told the URL.
    async fn reach(&self, proxy: Option<&Proxy>, url: &RemoteUrl) -> Result<TcpStream, UrlError> {
        let Some(proxy) = proxy else { return self.dial(url.host(), url.port()).await };
        let stream = self.dial(proxy.host(), proxy.port).await?;
        match proxy.kind {
            ProxyKind::Http if url.is_https() => self.tunnel(stream, proxy, url).await,
            ProxyKind::Http => Ok(stream),
            ProxyKind::Socks5 => {
                let target = authority(url);
                let passing = socks::pass_through(stream, proxy, &target);
                timeout(self.patience.stall, passing).await.map_err(|_| self.stalled(proxy))?
            }
        }
    }

    fn stalled(&self, proxy: &Proxy) -> UrlError {
        UrlError::Stalled { url: proxy.to_string(), received: 0, waited: self.patience.stall }
    }

    /// Connects to a host, trying its addresses one after the other.
    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, UrlError> {
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let failed = |source: io::Error| UrlError::Connect { host: format!("{host}:{port}"), source: source.into() };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
        let addresses = timeout(self.patience.stall, tokio::net::lookup_host((name, port)))
            .await
            .map_err(|_| failed(late()))?
            .map_err(failed)?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match timeout(self.patience.connect, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true).map_err(failed)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = late(),
            }
        }
        Err(failed(last))
    }

    /// Asks an HTTP proxy to pass the connection on.
    ///
    /// `hyper_util`'s `Tunnel` does the same, but its error does not tell what the proxy answered ("tunnel error: unsuccessful"), which is all
    /// that there is to go by, and it takes status 200 only.
    async fn tunnel(&self, mut stream: TcpStream, proxy: &Proxy, url: &RemoteUrl) -> Result<TcpStream, UrlError> {
        let target = authority(url);
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: {AGENT}\r\n");
        if let Some(login) = proxy.login() {
            request.push_str("Proxy-Authorization: ");
            request.push_str(&basic_text(login));
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let refused = |reason: String| UrlError::Proxy { proxy: proxy.to_string(), reason };
        let conversation = async {
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            // Nothing can follow the head: the server speaks only after us.
            while !answer.ends_with(b"\r\n\r\n") && answer.len() < MAX_CONNECT_ANSWER {
                if stream.read_buf(&mut answer).await? == 0 {
                    break;
                }
            }
            Ok::<_, io::Error>(answer)
        };
        let answer =
            timeout(self.patience.stall, conversation).await.map_err(|_| self.stalled(proxy))?.map_err(|source| {
                UrlError::Connect { host: format!("{}:{}", proxy.host(), proxy.port), source: source.into() }
            })?;
        let head = String::from_utf8_lossy(&answer);
        let line = head.lines().next().unwrap_or_default().trim();
        let is_success = line.strip_prefix("HTTP/1.").is_some_and(|rest| rest.get(1..3) == Some(" 2"));
        if !is_success {
            let said = if line.is_empty() { "nothing".to_owned() } else { format!("{line:?}") };
            return Err(refused(format!("asked for {target} it answered {said}")));
        }
        Ok(stream)
    }

    async fn encrypt(
        &self,
        stream: TcpStream,
        url: &RemoteUrl,
    ) -> Result<impl Read + Write + Unpin + Send + 'static, UrlError> {
        let tls = self.tls.get_or_try_init(load_tls).await?;
        let failed = |source: Box<dyn Error + Send + Sync>| UrlError::Connect { host: authority(url), source };
        let mut stream = Some(TokioIo::new(stream));
        // The connector wants to make the connection; it is given the one that is there.
        let ready = tower::service_fn(move |_| {
            std::future::ready(stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
        });
        let connector = HttpsConnector::from((ready, Arc::clone(tls)));
        let waited = self.patience.stall;
        let late = || failed(Box::new(io::Error::new(io::ErrorKind::TimedOut, "no TLS answer in time")));
        timeout(waited, connector.oneshot(url.uri().clone())).await.map_err(|_| late())?.map_err(failed)
    }
}

/// A body of which all is there.
pub(super) fn whole(body: Bytes) -> Outgoing {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// Reads the body of an answer that is expected to be small.
pub(super) async fn read_whole(transport: &Transport, answer: &mut Answer, limit: usize) -> Result<Vec<u8>, UrlError> {
    let mut content = Vec::new();
    while let Some(piece) = transport.piece(answer, content.len() as u64).await? {
        if content.len() + piece.len() > limit {
            let reason = format!("more than {limit} bytes where a small file was expected");
            return Err(UrlError::Answer { url: answer.url.to_string(), reason });
        }
        content.extend_from_slice(&piece);
    }
    Ok(content)
}

/// Returns the length that an answer announces.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

async fn start<S: Read + Write + Unpin + Send + 'static>(
    stream: S,
    url: &RemoteUrl,
) -> Result<(SendRequest<Outgoing>, AbortOnDropHandle<()>), UrlError> {
    let (sender, connection) =
        handshake(stream).await.map_err(|source| UrlError::Broken { url: url.to_string(), received: 0, source })?;
    let task = tokio::spawn(async move {
        // The one who reads the body gets the same error.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a download connection ended");
        }
    });
    Ok((sender, AbortOnDropHandle::new(task)))
}

async fn load_tls() -> Result<Arc<ClientConfig>, UrlError> {
    let load = || -> Result<ClientConfig, Box<dyn Error + Send + Sync>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(builder.with_native_roots()?.with_no_client_auth())
    };
    let loading = blocking("loading the certificates", move |_| load().map_err(io::Error::other));
    loading.await.map(Arc::new).map_err(|error| UrlError::Certificates(error.into()))
}

/// Returns host and port.
fn authority(url: &RemoteUrl) -> String {
    format!("{}:{}", url.host(), url.port())
}

fn basic_text(login: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(login))
}

fn basic(login: &str) -> HeaderValue {
    // Base64 is always a valid header value.
    let mut value = HeaderValue::try_from(basic_text(login)).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}
