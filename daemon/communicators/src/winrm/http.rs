//! One connection of HTTP/1.1: requests one after the other, each with limits of time and size.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT, WWW_AUTHENTICATE};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, StatusCode};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::error::{Attempt, Failure, Stage};

/// The largest answer that is read: an envelope, and as much again for pages of errors and for what sealing adds.
const MAX_ANSWER: usize = 2 << 20;

/// How this client calls itself.
const AGENT: &str = concat!("kiln/", env!("CARGO_PKG_VERSION"));

/// The kind of an envelope.
pub(super) const ENVELOPE: &str = "application/soap+xml;charset=UTF-8";

/// What is posted to.
const PATH: &str = "/wsman";

/// An open connection. Dropping it closes it.
pub(crate) struct Http {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    _task: AbortOnDropHandle<()>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Http {
    /// Begins to speak HTTP over a stream to `host`.
    pub(crate) async fn over<S>(stream: S, host: &str) -> Result<Self, Attempt>
    where
        S: Read + Write + Send + Unpin + 'static,
    {
        let name = HeaderValue::try_from(host)
            .map_err(|_| Attempt::final_at(Stage::Configuration, Failure::Unsayable { name: "winrm_host" }))?;
        let (sender, connection) =
            handshake(stream).await.map_err(|error| Attempt::new(Stage::ClosedAtOnce, Failure::Http(error)))?;
        let task = tokio::spawn(async move {
            // Whoever waits for the answer gets the same error.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a WinRM connection ended");
            }
        });
        Ok(Self { sender, host: name, _task: AbortOnDropHandle::new(task) })
    }

    /// Whether the other side has closed it.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Posts `body` and waits for the whole answer, for as long as `patience`.
    pub(crate) async fn post(
        &mut self,
        kind: &'static str,
        authorization: Option<HeaderValue>,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<Answer, Attempt> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = hyper::Uri::from_static(PATH);
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value);
        }
        let deadline = Instant::now() + patience;
        let late = || Attempt::new(Stage::Silent, Failure::TimedOut { what: "the answer", after: patience });
        let response = timeout_at(deadline, async {
            self.sender.ready().await.map_err(|error| (true, error))?;
            self.sender.send_request(request).await.map_err(|error| (error.is_canceled(), error))
        });
        let response = response.await.map_err(|_| late())?.map_err(|(is_unsent, error)| {
            let attempt = broken(error);
            if is_unsent { attempt.unsent() } else { attempt }
        })?;
        let (head, body) = response.into_parts();
        let body = timeout_at(deadline, whole(body)).await.map_err(|_| late())??;
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

/// Says what a failed request looks like from here: nothing but a close, or something that is no HTTP.
fn broken(error: hyper::Error) -> Attempt {
    let stage = if error.is_parse() { Stage::NotWsMan } else { Stage::ClosedAtOnce };
    Attempt::new(stage, Failure::Http(error))
}

async fn whole(mut body: Incoming) -> Result<Vec<u8>, Attempt> {
    let mut content = Vec::new();
    while let Some(frame) = body.frame().await {
        // Anything but data is a trailer, which says nothing here.
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if content.len() + data.len() > MAX_ANSWER {
            return Err(Attempt::new(Stage::NotWsMan, Failure::TooLarge { limit: MAX_ANSWER }));
        }
        content.extend_from_slice(&data);
    }
    Ok(content)
}

impl Answer {
    /// The ways to log in that the guest offers, each with what stands behind its name.
    pub(crate) fn offers(&self) -> Vec<(String, Option<String>)> {
        let values = self.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        // A token has no comma; a realm may have one, but then what follows it is not one of the names that are looked for.
        let offers = values.flat_map(|value| value.split(',')).take(16).filter_map(|offer| {
            let mut words = offer.split_ascii_whitespace();
            let name: String = words.next()?.chars().take(32).collect();
            let is_name = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
            is_name.then(|| (name, words.next().map(str::to_owned)))
        });
        offers.collect()
    }

    /// The kind of its body.
    pub(crate) fn kind(&self) -> &str {
        self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
