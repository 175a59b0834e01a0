//! Requests to a service: any method and headers, bodies from memory or from a file, one connection for as long as the server keeps it.
//! Redirects are not followed: a service is where it is said to be.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use super::error::UrlError;
use super::location::RemoteUrl;
use super::transport::{Connection, Outgoing, Transport, whole};

/// Largest answer, in bytes: services say little.
const MAX_REPLY: usize = 16 << 20;

/// Bytes of a file that are read at once.
const PIECE: usize = 256 << 10;

/// How long a reply may take to come in, however little of it comes at a time.
const REPLY_LIMIT: Duration = Duration::from_secs(600);

/// Is told how many bytes of a file have been sent.
pub(crate) type SentFn = Arc<dyn Fn(u64) + Send + Sync>;

/// What goes out with a request.
#[derive(Clone)]
pub(crate) enum Body {
    /// These bytes.
    Bytes(Bytes),
    /// A file, as long as it is now.
    File(PathBuf, SentFn),
}

/// What a service has answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Speaks to services, with the proxies of the environment.
pub(crate) struct Caller {
    transport: Arc<Transport>,
    /// With the server that it leads to.
    open: Option<(String, Connection)>,
}

impl Caller {
    /// One that looks at certificates, unless `insecure`.
    pub(crate) fn new(insecure: bool) -> Result<Self, UrlError> {
        let transport = if insecure { Transport::trusting_anybody()? } else { Transport::from_environment() };
        Ok(Self { transport: Arc::new(transport), open: None })
    }

    /// One more, with a connection of its own.
    pub(crate) fn another(&self) -> Self {
        Self { transport: self.transport.clone(), open: None }
    }

    /// Sends a request and reads its answer, whatever its status is.
    pub(crate) async fn call(
        &mut self,
        method: Method,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Body,
    ) -> Result<Reply, UrlError> {
        let url = RemoteUrl::parse(url)?;
        let server = format!("{}://{}:{}", url.uri().scheme_str().unwrap_or_default(), url.host(), url.port());
        let sent = Arc::new(AtomicU64::new(0));
        let mut headers = headers.to_vec();
        let body = outgoing(body, &sent, &mut headers).await?;
        let request = self.transport.compose(method, &url, &headers, body)?;
        let mut kept = self.open.take().filter(|(to, _)| *to == server).map(|(_, connection)| connection);
        // One that the server has closed meanwhile is never ready.
        if let Some(connection) = &mut kept
            && connection.sender.ready().await.is_err()
        {
            kept = None;
        }
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.transport.connect(&url).await?,
        };
        let sending = connection.sender.send_request(request);
        let response = self.watch(&url, sending, &sent).await?;
        let reading = timeout(REPLY_LIMIT, read(&url, response, self.transport.patience.stall));
        let stalled = || UrlError::Stalled { url: url.to_string(), received: 0, waited: REPLY_LIMIT };
        let reply = reading.await.map_err(|_| stalled())??;
        self.open = Some((server, connection));
        Ok(reply)
    }

    /// Waits for the head of an answer, as long as something is sent meanwhile.
    async fn watch(
        &self,
        url: &RemoteUrl,
        sending: impl Future<Output = hyper::Result<Response<Incoming>>>,
        sent: &AtomicU64,
    ) -> Result<Response<Incoming>, UrlError> {
        let stall = self.transport.patience.stall;
        let mut sending = std::pin::pin!(sending);
        loop {
            let before = sent.load(Ordering::Relaxed);
            if let Ok(answered) = timeout(stall, &mut sending).await {
                return answered.map_err(|source| UrlError::Broken { url: url.to_string(), received: 0, source });
            }
            if sent.load(Ordering::Relaxed) == before {
                return Err(UrlError::Stalled { url: url.to_string(), received: 0, waited: stall });
            }
        }
    }
}

async fn outgoing(
    body: Body,
    sent: &Arc<AtomicU64>,
    headers: &mut Vec<(HeaderName, HeaderValue)>,
) -> Result<Outgoing, UrlError> {
    let (path, told) = match body {
        Body::Bytes(bytes) => return Ok(whole(bytes)),
        Body::File(path, told) => (path, told),
    };
    let failed = |source: io::Error| UrlError::Read { path: path.clone(), source };
    let file = tokio::fs::File::open(&path).await.map_err(failed)?;
    let length = file.metadata().await.map_err(failed)?.len();
    headers.push((CONTENT_LENGTH, HeaderValue::from(length)));
    let sent = sent.clone();
    let pieces = ReaderStream::with_capacity(tokio::io::AsyncReadExt::take(file, length), PIECE).map_ok(move |piece| {
        told(sent.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64);
        Frame::data(piece)
    });
    Ok(StreamBody::new(pieces).boxed_unsync())
}

async fn read(url: &RemoteUrl, response: Response<Incoming>, stall: Duration) -> Result<Reply, UrlError> {
    let (head, mut body) = response.into_parts();
    let mut content = Vec::new();
    loop {
        let received = content.len() as u64;
        let frame = timeout(stall, body.frame()).await.map_err(|_| UrlError::Stalled {
            url: url.to_string(),
            received,
            waited: stall,
        })?;
        match frame {
            None => return Ok(Reply { status: head.status, headers: head.headers, body: content }),
            Some(Err(source)) => return Err(UrlError::Broken { url: url.to_string(), received, source }),
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if content.len() + data.len() > MAX_REPLY {
                    let reason = format!("more than {MAX_REPLY} bytes where a short answer was expected");
                    return Err(UrlError::Answer { url: url.to_string(), reason });
                }
                content.extend_from_slice(&data);
            }
        }
    }
}
