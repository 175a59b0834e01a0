//! Files that somebody else reads from their server, part by part: found, and not got.

use bytes::Bytes;
use hyper::Method;
use hyper::header::ACCEPT_RANGES;

use super::error::{FetchError, UrlError, UrlFailure, with_causes};
use super::location::{self, Location, RemoteUrl};
use super::patience::again;
use super::told::{SayFn, WaitingFn};
use super::transport::Transport;
use super::url_secrets::shown;

/// Says why others could not read `url`, whatever its server says.
///
/// # Errors
///
/// It is no URL of a web server.
pub(crate) fn check_read_by_others(url: &str) -> Result<(), UrlError> {
    remote(url).map(drop)
}

fn remote(url: &str) -> Result<RemoteUrl, UrlError> {
    match location::parse(url)?.0 {
        Location::Remote(remote) => Ok(remote),
        Location::Local(path) => Err(UrlError::NoServer { path }),
    }
}

/// Returns the first of `urls` that can be read in parts, with what it takes to be let in. Each server is asked for the file's head.
///
/// # Errors
///
/// There is none; the error tells what each one gave.
pub(crate) async fn find_read_by_others(
    urls: &[String],
    say: SayFn<'_>,
    waiting: WaitingFn,
) -> Result<String, FetchError> {
    find_with(&Transport::from_environment().telling(waiting), urls, say).await
}

pub(super) async fn find_with(transport: &Transport, urls: &[String], say: SayFn<'_>) -> Result<String, FetchError> {
    let mut failures = Vec::new();
    for url in urls {
        say(format!("Trying {}", shown(url)));
        match find_one(transport, url, say).await {
            Ok(whole) => return Ok(whole),
            Err(error) => {
                say(format!("{} cannot be used: {}", shown(url), with_causes(&error)));
                failures.push(UrlFailure { url: shown(url), error });
            }
        }
    }
    if failures.is_empty() { Err(FetchError::NoUrl) } else { Err(FetchError::AllFailed { failures }) }
}

async fn find_one(transport: &Transport, url: &str, say: SayFn<'_>) -> Result<String, UrlError> {
    let remote = remote(url)?;
    let (mut pause, mut tries) = (transport.patience.first_pause, 1);
    loop {
        match gives_parts(transport, &remote).await {
            Err(error) if error.is_temporary() && tries < transport.patience.tries => {
                tries += 1;
                say(again(&error, pause, tries, transport.patience.tries));
                transport.pause(&remote, pause).await;
                pause *= 2;
            }
            result => return result.map(|()| remote.with_login()),
        }
    }
}

async fn gives_parts(transport: &Transport, url: &RemoteUrl) -> Result<(), UrlError> {
    let answer = transport.request(Method::HEAD, url, &[], Bytes::new()).await?;
    let url = answer.url.to_string();
    if !answer.status.is_success() {
        return Err(UrlError::Status { url, status: answer.status });
    }
    let ranges = answer.headers.get(ACCEPT_RANGES).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if ranges.trim().eq_ignore_ascii_case("bytes") { Ok(()) } else { Err(UrlError::NoParts { url }) }
}
