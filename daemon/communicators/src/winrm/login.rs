//! Logging in: what is sent with each request by Basic, and how a connection is logged in by NTLM.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::HeaderValue;

use super::config::{LoginMethod, WinRmConfig};
use super::error::{Attempt, Failure, Stage};
use super::http::{Answer, ENVELOPE, Http};
use super::ntlm::{Account, Exchange, Sealing};

/// How long a step of logging in may take.
const LOGIN_PATIENCE: Duration = Duration::from_secs(30);

/// Who logs in, and how.
pub(super) struct Login {
    method: LoginMethod,
    basic: Option<HeaderValue>,
    account: Account,
    /// What NTLM names as what is logged in to.
    target: String,
}

impl Login {
    /// Reads the settings.
    pub(super) fn prepare(config: &WinRmConfig) -> Result<Self, Attempt> {
        let basic = match config.login {
            LoginMethod::Basic => Some(basic(config)?),
            LoginMethod::Ntlm => None,
        };
        let account = Account::new(&config.username, &config.password);
        Ok(Self { method: config.login, basic, account, target: format!("HTTP/{}", config.host) })
    }

    /// Whether connections are logged in, and not each request.
    pub(super) fn is_of_connections(&self) -> bool {
        self.basic.is_none()
    }

    /// What each request is sent with.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        self.basic.clone()
    }

    /// Logs a connection in by NTLM; `certificate` is the hash of the guest's, where there is one. Returns what seals messages.
    pub(super) async fn log_in(&self, http: &mut Http, certificate: Option<&[u8]>) -> Result<Sealing, Attempt> {
        let exchange = Exchange::begin();
        let mut scheme = "Negotiate";
        let mut answer = say(http, scheme, exchange.negotiate()).await?;
        if token(&answer, scheme).is_none() && token(&answer, "NTLM").is_none() && offers(&answer, "NTLM") {
            scheme = "NTLM";
            answer = say(http, scheme, exchange.negotiate()).await?;
        }
        if answer.status != StatusCode::UNAUTHORIZED {
            return Err(unexpected(&answer));
        }
        let Some(challenge) = token(&answer, scheme) else { return Err(self.rejected(&answer)) };
        let ntlm = |error| Attempt::new(self.login_stage(&answer), Failure::Ntlm(error));
        let (message, sealing) = exchange.answer(&challenge, &self.account, &self.target, certificate).map_err(ntlm)?;
        let answer = say(http, scheme, &message).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            return Err(self.rejected(&answer));
        }
        if !answer.status.is_success() {
            return Err(unexpected(&answer));
        }
        Ok(sealing)
    }

    fn login_stage(&self, answer: &Answer) -> Stage {
        let offered = answer.offers().into_iter().map(|(name, _)| name).collect();
        Stage::Login { tried: self.method.name(), offered }
    }

    /// The failure of a login that was not taken.
    pub(super) fn rejected(&self, answer: &Answer) -> Attempt {
        let is_offered = match self.method {
            LoginMethod::Basic => offers(answer, "Basic"),
            LoginMethod::Ntlm => offers(answer, "Negotiate") || offers(answer, "NTLM"),
        };
        let wanted = self.method.name();
        // Who has been refused by NTLM is not told the ways again.
        let failure =
            if is_offered || answer.offers().is_empty() { Failure::Rejected } else { Failure::NotOffered { wanted } };
        Attempt::new(self.login_stage(answer), failure).unsent()
    }
}

/// Says one message of a login, with nothing else.
async fn say(http: &mut Http, scheme: &str, message: &[u8]) -> Result<Answer, Attempt> {
    let value = secret_header(format!("{scheme} {}", STANDARD.encode(message)))?;
    http.post(ENVELOPE, Some(value), Vec::new(), LOGIN_PATIENCE).await
}

fn offers(answer: &Answer, scheme: &str) -> bool {
    answer.offers().iter().any(|(name, _)| name.eq_ignore_ascii_case(scheme))
}

/// What the guest says to us in its offer of a scheme.
fn token(answer: &Answer, scheme: &str) -> Option<Vec<u8>> {
    let offers = answer.offers();
    let (_, token) = offers.iter().find(|(name, token)| name.eq_ignore_ascii_case(scheme) && token.is_some())?;
    STANDARD.decode(token.as_deref()?).ok()
}

/// The failure of an answer that nothing can be made of.
pub(super) fn unexpected(answer: &Answer) -> Attempt {
    // What stands in a page of errors may be what we have sent.
    let said = answer.status.canonical_reason().unwrap_or("nothing that is known").to_owned();
    Attempt::new(Stage::Status(answer.status.as_u16()), Failure::Status { said })
}

fn basic(config: &WinRmConfig) -> Result<HeaderValue, Attempt> {
    if config.username.contains(':') {
        return Err(Attempt::final_at(Stage::Configuration, Failure::Unsayable { name: "a colon in winrm_username" }));
    }
    let login = format!("{}:{}", config.username, config.password.expose());
    secret_header(format!("Basic {}", STANDARD.encode(login)))
}

fn secret_header(text: String) -> Result<HeaderValue, Attempt> {
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| Attempt::final_at(Stage::Configuration, Failure::Unsayable { name: "the login" }))?;
    value.set_sensitive(true);
    Ok(value)
}
