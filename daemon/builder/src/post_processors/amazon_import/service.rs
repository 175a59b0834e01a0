//! One of AWS's services: where it is, signed requests to it, and which of its refusals pass by themselves.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};

use super::credentials::Account;
use super::sigv4::{self, Request, Scope};
use crate::error::StepError;
use crate::fetch::{Body, Caller, Reply, UrlError, with_causes};

/// Pause before the second try; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Longest text of a service that is shown.
const MAX_SAID: usize = 500;

/// What AWS calls being asked too often, or for what it cannot do just now.
const BUSY: [&str; 6] = [
    "Throttling",
    "ThrottlingException",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
];

/// A request but for who asks.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
    /// SHA-256 of the body, in hexadecimal.
    pub(super) body_digest: String,
    /// Whether asking twice does what asking once does.
    pub(super) repeatable: bool,
}

/// A service, over a connection of its own.
pub(super) struct Service {
    account: Account,
    name: String,
    /// `https://HOST`.
    endpoint: String,
    host: String,
    caller: Caller,
    /// Whether each try of the last request was answered with a refusal, or reached nobody.
    refused: bool,
}

impl Service {
    /// The service `name` of the account's region, or at `endpoint`.
    pub(super) fn new(
        account: &Account,
        name: &str,
        endpoint: Option<&str>,
        insecure: bool,
    ) -> Result<Self, StepError> {
        let region = &account.region;
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let usual = format!("https://{name}.{region}.{suffix}");
        let endpoint = endpoint.unwrap_or(&usual).trim_end_matches('/').to_owned();
        let host = endpoint.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or(rest));
        let host = host.ok_or_else(|| StepError::new(format!("{endpoint} is no URL of a service")))?.to_owned();
        let caller = Caller::new(insecure).map_err(StepError::wrap)?;
        Ok(Self { account: account.clone(), name: name.to_owned(), endpoint, host, caller, refused: false })
    }

    /// The same, over another connection.
    pub(super) fn another(&self) -> Self {
        Self {
            account: self.account.clone(),
            name: self.name.clone(),
            endpoint: self.endpoint.clone(),
            host: self.host.clone(),
            caller: self.caller.another(),
            refused: false,
        }
    }

    /// Whether the last request was refused: what it asked for was not done.
    pub(super) fn has_refused(&self) -> bool {
        self.refused
    }

    /// Asks, up to `tries` times where that can help.
    pub(super) async fn ask(&mut self, ask: &Ask, tries: u32) -> Result<Reply, StepError> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        let mut refused = true;
        // Whoever is dropped in the middle does not know.
        self.refused = false;
        loop {
            let (again, error) = match self.once(ask).await {
                Ok(reply) if reply.status.is_success() => return Ok(reply),
                Ok(reply) => {
                    refused &= reply.status.is_client_error() || is_busy(&reply, false);
                    (is_busy(&reply, ask.repeatable), self.refusal(ask, &reply))
                }
                Err(error) => {
                    refused &= matches!(error, UrlError::Connect { .. });
                    let again = error.is_temporary() && (ask.repeatable || matches!(error, UrlError::Connect { .. }));
                    (again, StepError::new(with_causes(&error)))
                }
            };
            if !again || attempt >= tries {
                self.refused = refused;
                return Err(error);
            }
            tracing::debug!(%error, attempt, "AWS is asked again");
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            attempt += 1;
        }
    }

    async fn once(&mut self, ask: &Ask) -> Result<Reply, UrlError> {
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let scope = Scope { region: &self.account.region, service: &self.name, at: &now };
        let request = Request {
            method: ask.method.as_str(),
            host: &self.host,
            path: &ask.path,
            headers: &ask.headers,
            body: &ask.body_digest,
        };
        let mut headers = ask.headers.clone();
        headers.extend(sigv4::sign(&self.account.keys, scope, request).unwrap_or_default());
        let url = format!("{}{}", self.endpoint, ask.path);
        self.caller.call(ask.method.clone(), &url, &headers, Body::Bytes(ask.body.clone())).await
    }

    fn refusal(&self, ask: &Ask, reply: &Reply) -> StepError {
        let (code, message) = said(reply);
        let words =
            format!("{} {} of {}: {} {code}: {message}", ask.method, ask.path, self.host, reply.status.as_u16());
        let hint = match code.as_str() {
            "AuthFailure" | "InvalidClientTokenId" | "UnrecognizedClientException" | "InvalidSignatureException" => {
                Some("the access key is not known there, or its secret is another")
            }
            "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
                Some("the credentials have ended, or this machine's clock is wrong")
            }
            "UnauthorizedOperation" | "AccessDeniedException" => Some(
                "the user needs ebs:StartSnapshot, ebs:PutSnapshotBlock, ebs:CompleteSnapshot, ec2:DescribeSnapshots, ec2:RegisterImage, \
                 ec2:DescribeImages, ec2:CreateTags, ec2:ModifyImageAttribute, ec2:DeleteSnapshot and ec2:DeregisterImage",
            ),
            _ => None,
        };
        StepError::new(words).with_hint_maybe(hint)
    }
}

/// The same pause for nobody: those that were refused together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let parts = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
    pause / 2 + pause * parts / 512
}

/// Whether asking again can help, and does no harm: who was throttled has had nothing done, another failure may have come too late.
fn is_busy(reply: &Reply, repeatable: bool) -> bool {
    let is_throttled = reply.status.as_u16() == 429 || BUSY.contains(&said(reply).0.as_str());
    is_throttled || (repeatable && matches!(reply.status.as_u16(), 500 | 502 | 503 | 504))
}

/// Code and message of a refusal: JSON of EBS, XML of EC2.
fn said(reply: &Reply) -> (String, String) {
    let text = String::from_utf8_lossy(&reply.body);
    let header = reply.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let code = |text: &str| text.rsplit('#').next().unwrap_or(text).split(':').next().unwrap_or(text).to_owned();
    let cut = |text: &str| text.chars().take(MAX_SAID).collect::<String>();
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(&text) {
        let word = |name: &str| json[name].as_str();
        let found = header.or_else(|| word("__type")).or_else(|| word("code")).unwrap_or_default();
        let message = word("message").or_else(|| word("Message")).unwrap_or_default();
        return (code(found), cut(message));
    }
    let message = super::xml::element(&text, "Message").unwrap_or_else(|| text.trim().to_owned());
    (super::xml::element(&text, "Code").unwrap_or_else(|| header.map(code).unwrap_or_default()), cut(&message))
}

#[cfg(test)]
mod tests {
    use super::super::credentials::Keys;
    use super::*;
    use hyper::header::HeaderMap;

    fn reply(status: u16, body: &str, kind: Option<&'static str>) -> Reply {
        let mut headers = HeaderMap::new();
        if let Some(kind) = kind {
            headers.insert("x-amzn-errortype", HeaderValue::from_static(kind));
        }
        Reply { status: hyper::StatusCode::from_u16(status).unwrap(), headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn refusals_are_read_in_both_of_awss_ways() {
        let json = reply(400, r#"{"message":"slow","__type":"com.x#ThrottlingException"}"#, None);
        assert_eq!(said(&json), ("ThrottlingException".to_owned(), "slow".to_owned()));
        assert!(is_busy(&json, false));
        let json = reply(403, r#"{"Message":"no"}"#, Some("AccessDeniedException:http://x"));
        assert_eq!(said(&json).0, "AccessDeniedException");
        assert!(!is_busy(&json, true));
        let xml = reply(
            503,
            "<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>a &amp; b</Message></Error></Errors></Response>",
            None,
        );
        assert_eq!(said(&xml), ("RequestLimitExceeded".to_owned(), "a & b".to_owned()));
        assert_eq!(said(&reply(500, "<html>", None)).0, "");
        assert!(is_busy(&reply(502, "", None), true) && !is_busy(&reply(502, "", None), false));
    }

    #[test]
    fn services_are_where_aws_has_them() {
        let keys = Keys { id: "A".to_owned(), secret: "B".to_owned(), token: None };
        let at = |region: &str, endpoint: Option<&str>| {
            let account = Account { keys: keys.clone(), region: region.to_owned() };
            Service::new(&account, "ebs", endpoint, false).map(|service| (service.endpoint, service.host))
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            at("eu-north-1", None).unwrap(),
            pair("https://ebs.eu-north-1.amazonaws.com", "ebs.eu-north-1.amazonaws.com")
        );
        assert_eq!(at("cn-north-1", None).unwrap().1, "ebs.cn-north-1.amazonaws.com.cn");
        assert_eq!(at("r", Some("http://127.0.0.1:5000/")).unwrap(), pair("http://127.0.0.1:5000", "127.0.0.1:5000"));
        assert!(at("r", Some("nowhere")).is_err());
        for _ in 0..100 {
            let pause = jittered(Duration::from_secs(2));
            assert!(pause >= Duration::from_secs(1) && pause < Duration::from_secs(2), "{pause:?}");
        }
    }
}
