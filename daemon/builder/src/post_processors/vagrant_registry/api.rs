//! One service: where it is, who we are there, and asking it for things in JSON, again where that can help.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::context::BuildContext;
use crate::error::StepError;
use crate::fetch::{Body, Caller, Reply, UrlError, with_causes};

/// How often something is asked for.
const TRIES: u32 = 4;

/// Pause before the second try; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause that a service can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Longest text of a service that is shown.
const MAX_SAID: usize = 500;

/// Who we are to a service.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Login {
    /// Nobody: a service of one's own may not ask.
    Nobody,
    /// Whoever has this token.
    Token(String),
    /// A client that gets a token, which ends, for its secret.
    Client { token_url: String, id: String, secret: String, token: Option<String> },
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "Nobody",
            Self::Token(_) => "Token(***)",
            Self::Client { .. } => "Client(***)",
        })
    }
}

/// A service.
pub(super) struct Api {
    /// What paths are below.
    base: String,
    caller: Caller,
    login: Login,
    insecure: bool,
    /// Who is told of what goes on.
    build: Option<BuildContext>,
}

/// What a service has answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) json: Json,
    what: String,
}

impl Api {
    pub(super) fn new(build: &BuildContext, base: &str, insecure: bool, login: Login) -> Result<Self, StepError> {
        let secrets = match &login {
            Login::Nobody => Vec::new(),
            Login::Token(token) => vec![token],
            Login::Client { secret, .. } => vec![secret],
        };
        secrets.into_iter().for_each(|secret| build.redactor.add(secret));
        Ok(Self { build: Some(build.clone()), ..Self::by_itself(base, insecure, login)? })
    }

    /// One that tells nobody what it does.
    pub(super) fn by_itself(base: &str, insecure: bool, login: Login) -> Result<Self, StepError> {
        let caller = Caller::new(insecure).map_err(StepError::wrap)?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), caller, login, insecure, build: None })
    }

    /// What [`by_itself`](Self::by_itself) makes the same of.
    pub(super) fn way(&self) -> (String, bool, Login) {
        (self.base.clone(), self.insecure, self.login.clone())
    }

    /// Asks for something at `path`, or at a URL of the service's own. What can be asked twice is, when the service or the way to it
    /// fails.
    pub(super) async fn ask(&mut self, method: Method, path: &str, body: Option<&Json>) -> Result<Answer, StepError> {
        let url = if path.contains("://") { path.to_owned() } else { format!("{}/{path}", self.base) };
        let mut renewed = false;
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            self.log_in().await?;
            let called = self.once(&method, &url, body).await;
            let reply = match called {
                // The token has ended.
                Ok(reply) if reply.status == StatusCode::UNAUTHORIZED && !renewed && self.forget_token() => {
                    renewed = true;
                    continue;
                }
                Ok(reply) if attempt < TRIES && is_busy(reply.status, &method) => {
                    pause = asked_pause(&reply).unwrap_or(pause);
                    let status = reply.status;
                    self.pause(&format!("{method} {url} answered {status}"), pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
                Ok(reply) => reply,
                Err(error) if attempt < TRIES && can_ask_again(&error, &method) => {
                    self.pause(&with_causes(&error), pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
                Err(error) => return Err(StepError::wrap(error)),
            };
            let json = serde_json::from_slice(&reply.body).unwrap_or(Json::Null);
            return Ok(Answer { status: reply.status, json, what: format!("{method} {}", crate::fetch::shown(&url)) });
        }
        Err(StepError::new(format!("{method} {} was asked for too often", crate::fetch::shown(&url))))
    }

    /// What lies at `path`; nothing where it does not.
    pub(super) async fn find(&mut self, path: &str) -> Result<Option<Json>, StepError> {
        let answer = self.ask(Method::GET, path, None).await?.success_or(&[404])?;
        Ok((answer.status != StatusCode::NOT_FOUND).then_some(answer.json))
    }

    /// Sends a file to a URL that was given for it; who has that URL needs no login. From its beginning each time.
    pub(super) async fn send_file(&mut self, url: &str, body: Body) -> Result<(), StepError> {
        // A link that lets everybody in.
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=TRIES {
            let sent = self.caller.call(Method::PUT, url, &[], body.clone()).await;
            let error = match sent {
                Ok(reply) if reply.status.is_success() => return Ok(()),
                Ok(reply) if !is_busy(reply.status, &Method::PUT) => {
                    let words =
                        format!("the box was not taken: {} answered {}", crate::fetch::shown(url), reply.status);
                    return Err(
                        StepError::new(words).with_hint("the service gives a new link for each try: build again")
                    );
                }
                Ok(reply) => format!("{} answered {}", crate::fetch::shown(url), reply.status),
                Err(error) if can_ask_again(&error, &Method::PUT) => with_causes(&error),
                Err(error) => return Err(StepError::wrap(error)),
            };
            if attempt == TRIES {
                let words = format!("Failed to upload box asset: {error}");
                return Err(
                    StepError::new(words).with_hint("no_direct_upload sends it through the service, by another way")
                );
            }
            self.pause(&error, pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    async fn once(&mut self, method: &Method, url: &str, body: Option<&Json>) -> Result<Reply, UrlError> {
        let mut headers = Vec::new();
        if self.is_own(url) {
            headers.extend(self.authorization());
        }
        let body = body.map(Json::to_string).unwrap_or_default();
        headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        self.caller.call(method.clone(), url, &headers, Body::Bytes(Bytes::from(body))).await
    }

    /// Whether `url` is of the service itself: nobody else is told who we are.
    fn is_own(&self, url: &str) -> bool {
        let server = |url: &str| url.split('/').take(3).map(str::to_ascii_lowercase).collect::<Vec<_>>();
        server(url) == server(&self.base)
    }

    fn authorization(&self) -> Option<(HeaderName, HeaderValue)> {
        let token = match &self.login {
            Login::Token(token) | Login::Client { token: Some(token), .. } => token,
            _ => return None,
        };
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        Some((AUTHORIZATION, value))
    }

    /// Gets a token where one is needed.
    async fn log_in(&mut self) -> Result<(), StepError> {
        let Login::Client { token_url, id, secret, token: token @ None } = &mut self.login else { return Ok(()) };
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id.as_str()),
            ("client_secret", secret.as_str()),
            ("audience", "https://api.hashicorp.cloud"),
        ];
        let text: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", form_encoded(value))).collect();
        let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))];
        let body = Body::Bytes(Bytes::from(text.join("&")));
        let reply = self.caller.call(Method::POST, token_url, &headers, body).await.map_err(StepError::wrap)?;
        let json: Json = serde_json::from_slice(&reply.body).unwrap_or_default();
        let Some(given) = json["access_token"].as_str().filter(|_| reply.status.is_success()) else {
            let words = format!(
                "{} does not let in the client {id}: it answered {}",
                crate::fetch::shown(token_url),
                reply.status
            );
            return Err(StepError::new(words).with_hint("client_id and client_secret are those of a service principal"));
        };
        if let Some(build) = &self.build {
            build.redactor.add(given);
        }
        *token = Some(given.to_owned());
        Ok(())
    }

    /// Forgets a token that can be had anew.
    fn forget_token(&mut self) -> bool {
        match &mut self.login {
            Login::Client { token, .. } => token.take().is_some(),
            _ => false,
        }
    }

    async fn pause(&self, why: &str, pause: Duration) {
        let told = self.build.as_ref().map(|build| {
            build.message(format!("{why}; trying again in {} s", pause.as_secs_f32()));
            build.waiting("the next try", Some(pause))
        });
        tokio::time::sleep(pause).await;
        drop(told);
    }
}

/// Whether a service that answers so may answer otherwise soon.
fn is_busy(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        // It has not done it.
        429 | 503 => true,
        408 | 500 | 502 | 504 => *method != Method::POST,
        _ => false,
    }
}

/// Whether to ask once more does no harm: what is made by POST may have been made, unless nobody was reached.
fn can_ask_again(error: &UrlError, method: &Method) -> bool {
    error.is_temporary() && (*method != Method::POST || matches!(error, UrlError::Connect { .. }))
}

fn asked_pause(reply: &Reply) -> Option<Duration> {
    let seconds: u64 = reply.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.max(1)).min(LONGEST_PAUSE))
}

fn form_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl Answer {
    /// Itself when it is a success.
    pub(super) fn success(self) -> Result<Self, StepError> {
        self.success_or(&[])
    }

    /// Itself when it is a success, or has one of these statuses.
    pub(super) fn success_or(self, others: &[u16]) -> Result<Self, StepError> {
        if self.status.is_success() || others.contains(&self.status.as_u16()) {
            return Ok(self);
        }
        let said = self.said();
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        let hint = match self.status.as_u16() {
            401 | 403 => Some("the token or client is not let in, or may not do this"),
            404 => Some("the registry or box has another name, or is not shown to this token"),
            _ => None,
        };
        Err(StepError::new(format!("{} answered {}{said}", self.what, self.status)).with_hint_maybe(hint))
    }

    /// What the service says of it: HCP's `message`, or Vagrant Cloud's `errors`.
    pub(super) fn said(&self) -> String {
        let errors = self.json["errors"].as_array().map(|errors| {
            let words = errors.iter().map(|error| error.as_str().map_or_else(|| error.to_string(), str::to_owned));
            words.collect::<Vec<_>>().join(". ")
        });
        let text = self.json["message"].as_str().map(str::to_owned).or(errors).unwrap_or_default();
        text.chars().take(MAX_SAID).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::tests::a_build;

    #[tokio::test]
    async fn nobody_but_the_service_is_told_who_we_are() {
        let (build, _job) = a_build();
        let api =
            Api::new(&build, "https://api.example:443/v2/", false, Login::Token("t0ken-t0ken".to_owned())).unwrap();
        assert!(api.is_own("https://API.example:443/v2/box"));
        for url in ["https://api.example.evil:443/x", "http://api.example:443/x", "https://other.example/x"] {
            assert!(!api.is_own(url), "{url}");
        }
        assert_eq!(build.redactor.redact("a t0ken-t0ken b"), build.redactor.redact("a t0ken-t0ken b"));
        assert!(!build.redactor.redact("a t0ken-t0ken b").contains("t0ken"));
    }

    #[test]
    fn what_may_have_been_made_is_not_made_twice() {
        assert!(is_busy(StatusCode::SERVICE_UNAVAILABLE, &Method::POST));
        assert!(!is_busy(StatusCode::BAD_GATEWAY, &Method::POST));
        assert!(is_busy(StatusCode::BAD_GATEWAY, &Method::PUT));
        assert!(!is_busy(StatusCode::FORBIDDEN, &Method::GET));
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(form_encoded("a b&c=ü"), "a%20b%26c%3D%C3%BC");
    }
}
