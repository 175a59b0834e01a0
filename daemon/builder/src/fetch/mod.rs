//! Gets installer and disk images: from a path, or over HTTP(S) into a cache that survives interruptions.
//!
//! ```text
//! cache/<sha1>.iso           whole and verified; the name is made from the checksum (or from the URL without one)
//! cache/<sha1>.iso.partial   what has arrived so far: a later download goes on from here, for a week
//! cache/<sha1>.iso.origin    which URL that came from, and its version
//! cache/<sha1>.iso.lock      held (flock) while one of many builds downloads
//! ```
//!
//! All futures may be dropped at any time: the lock and the files are owned by the blocking call that uses them, and go with it.

mod ask;
mod cache_lock;
mod call;
mod checksum;
mod checksum_file;
mod companions;
mod download;
mod elsewhere;
mod error;
mod just_wrong;
mod location;
mod partial;
mod patience;
mod percent;
mod proxy;
mod socks;
mod stale;
#[cfg(test)]
mod test_server;
#[cfg(test)]
mod tests;
mod told;
mod transport;
mod unverified;
mod url_secrets;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use self::cache_lock::CacheLock;
use self::location::{Location, RemoteUrl};
use self::partial::{existing_matches, remove};
use self::proxy::{ProxyKind, ProxySettings};
use self::transport::Transport;

pub(crate) use self::ask::ask;
pub(crate) use self::call::{Body, Caller, Reply};
pub(crate) use self::checksum::{Checksum, ChecksumSpec, parse_checksum};
pub(crate) use self::elsewhere::{check_read_by_others, find_read_by_others};
use self::error::UrlFailure;
pub(crate) use self::error::{FetchError, UrlError, with_causes};
pub(crate) use self::location::{local_checksum_list, local_path, names_local};
pub use self::proxy::ENVIRONMENT as SERVICE_ENVIRONMENT;
pub(crate) use self::told::{ProgressFn, SayFn, WaitingFn};
pub(crate) use self::url_secrets::{secrets_in, shown};
use crate::ledger::Ledger;

/// The HTTP proxy that the environment has for a URL: host, port, and `user:password` where it wants them.
pub(crate) fn environment_proxy(
    url: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<(String, u16, Option<String>)>, UrlError> {
    let proxies = ProxySettings::from_lookup(environment);
    let Some(proxy) = proxies.for_url(&RemoteUrl::parse(url)?)? else { return Ok(None) };
    if proxy.kind != ProxyKind::Http {
        return Err(UrlError::Proxy {
            proxy: proxy.to_string(),
            reason: "only HTTP proxies lead to guests".to_owned(),
        });
    }
    let host = proxy.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Some((host, proxy.port, proxy.login().map(str::to_owned))))
}

/// What to get, and where to keep it.
#[derive(Clone, Debug)]
pub(crate) struct FetchRequest {
    /// Paths and URLs of the same file, tried in order.
    pub(crate) urls: Vec<String>,
    /// What the file must hash to.
    pub(crate) checksum: Checksum,
    /// Where a download goes.
    pub(crate) target: Target,
    /// Directory of the download cache; made when it does not exist.
    pub(crate) cache_dir: PathBuf,
    /// Where what a killed download leaves is noted.
    pub(crate) ledger: Option<Arc<Ledger>>,
}

/// Where a download goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// `iso_target_path`: a file, or, when the name has no extension, a directory for the file.
    pub(crate) path: Option<PathBuf>,
    /// `iso_target_extension`: extension of the file in the cache, without the dot. Empty means `iso`.
    pub(crate) extension: String,
}

/// A file that is here now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Whether a download from before was used.
    pub(crate) from_cache: bool,
}

/// Gets a file: verifies a local one in place, or downloads into the cache.
///
/// Proxies are those of the environment (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`). A URL's own `checksum=` parameter wins over
/// the request's checksum.
///
/// # Errors
///
/// Fails when no URL gives a file with the right checksum; the error tells what each one gave. A partial download stays in
/// the cache for the next try.
pub(crate) async fn fetch(
    request: &FetchRequest,
    progress: ProgressFn<'_>,
    say: SayFn<'_>,
    waiting: WaitingFn,
) -> Result<Fetched, FetchError> {
    fetch_with(&Transport::from_environment().telling(waiting), request, progress, say).await
}

/// Turns a specification into a checksum, reading the checksum file it may name.
///
/// `first_url` is the file to look for in it; relative paths of both start from `cwd`.
///
/// # Errors
///
/// Fails when the checksum file cannot be had, or does not mention the file.
pub(crate) async fn resolve_checksum(
    spec: &ChecksumSpec,
    first_url: &str,
    cwd: &Path,
    say: SayFn<'_>,
    waiting: WaitingFn,
) -> Result<Checksum, FetchError> {
    checksum_file::resolve(&Transport::from_environment().telling(waiting), spec, first_url, cwd, say).await
}

async fn fetch_with(
    transport: &Transport,
    request: &FetchRequest,
    progress: ProgressFn<'_>,
    say: SayFn<'_>,
) -> Result<Fetched, FetchError> {
    if request.urls.is_empty() {
        return Err(FetchError::NoUrl);
    }
    let mut failures = Vec::new();
    for url in &request.urls {
        say(format!("Trying {}", shown(url)));
        match fetch_one(transport, request, url, progress, say).await {
            Ok(fetched) => return Ok(fetched),
            Err(error) if error.ends_everything() => return Err(FetchError::Local(error)),
            Err(error) => {
                if !matches!(error, UrlError::WrongChecksum { .. }) {
                    say(format!("Download failed {}", with_causes(&error)));
                }
                failures.push(UrlFailure { url: shown(url), error });
            }
        }
    }
    Err(FetchError::AllFailed { failures })
}

async fn fetch_one(
    transport: &Transport,
    request: &FetchRequest,
    url: &str,
    progress: ProgressFn<'_>,
    say: SayFn<'_>,
) -> Result<Fetched, UrlError> {
    let (location, own_checksum) = location::parse(url)?;
    let checksum = match own_checksum {
        Some(text) => checksum_of_url(transport, &text, url, say).await?,
        None => request.checksum.clone(),
    };
    let described = match (&checksum, url.contains("checksum=")) {
        (Checksum::Digest(digest), false) => {
            format!("{}{}checksum={}", shown(url), if url.contains('?') { '&' } else { '?' }, digest.encoded())
        }
        _ => shown(url),
    };
    say(format!("Trying {described}"));
    let fetched = match location {
        Location::Local(path) => local_file(path, &checksum).await?,
        Location::Remote(remote) => remote_file(transport, request, &remote, &checksum, progress, say).await?,
    };
    say(format!("{described} => {}", fetched.path.display()));
    Ok(fetched)
}

async fn checksum_of_url(transport: &Transport, text: &str, url: &str, say: SayFn<'_>) -> Result<Checksum, UrlError> {
    let spec = parse_checksum(text)?;
    let cwd = std::env::current_dir().map_err(|source| UrlError::Read { path: PathBuf::from("."), source })?;
    checksum_file::resolve(transport, &spec, url, &cwd, say)
        .await
        .map_err(|error| UrlError::ChecksumFile(Box::new(error)))
}

/// Uses a local file where it is.
async fn local_file(path: PathBuf, checksum: &Checksum) -> Result<Fetched, UrlError> {
    let metadata = tokio::fs::metadata(&path).await.map_err(|source| UrlError::Read { path: path.clone(), source })?;
    if !metadata.is_file() {
        return Err(UrlError::NotAFile { path });
    }
    if let Checksum::Digest(expected) = checksum {
        let found = partial::digest_of(&path, expected.algorithm()).await?;
        if found != *expected {
            return Err(UrlError::WrongChecksum { expected: expected.clone(), found, bytes: metadata.len() });
        }
    }
    Ok(Fetched { path, from_cache: false })
}

async fn remote_file(
    transport: &Transport,
    request: &FetchRequest,
    url: &RemoteUrl,
    checksum: &Checksum,
    progress: ProgressFn<'_>,
    say: SayFn<'_>,
) -> Result<Fetched, UrlError> {
    let asked = Instant::now();
    let path = target_path(request, url, checksum);
    let mut lock = CacheLock::take(&path, request.ledger.clone(), say).await?;
    stale::remove(&request.cache_dir).await;
    if existing_is_right(transport, url, &path, checksum, say).await? {
        return Ok(Fetched { path, from_cache: true });
    }
    if let Some(error) = just_wrong::since(asked, &path, url, checksum) {
        say(format!(
            "Another build has just downloaded {url}, and the checksum did not match: not downloading it again"
        ));
        return Err(error);
    }
    // A mismatch after going on from an old part may be the old part's fault: once more from the start.
    let mut may_start_over = true;
    loop {
        match download::download(transport, url, &path, checksum, lock, progress, say).await? {
            download::Outcome::Whole => return Ok(Fetched { path, from_cache: false }),
            download::Outcome::Mismatch { error, resumed, lock: returned } => {
                say(format!("Checksum did not match, removing {}", path.display()));
                if !resumed || !may_start_over {
                    // While the lock is held: whoever waits for it finds this.
                    just_wrong::note(&path, url, &error);
                    return Err(error);
                }
                say("The download went on from a part that was there before, which may be wrong: fetching all of it anew".to_owned());
                may_start_over = false;
                lock = returned;
            }
        }
    }
}

/// Says whether the file is in the cache already.
async fn existing_is_right(
    transport: &Transport,
    url: &RemoteUrl,
    path: &Path,
    checksum: &Checksum,
    say: SayFn<'_>,
) -> Result<bool, UrlError> {
    let length = match tokio::fs::metadata(path).await {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Err(UrlError::NotAFile { path: path.to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(UrlError::Read { path: path.to_owned(), source }),
    };
    match checksum {
        Checksum::Digest(expected) => {
            if existing_matches(path, expected).await? {
                return Ok(true);
            }
            say(format!("Checksum did not match, removing {}", path.display()));
        }
        Checksum::None => match transport.length(url).await {
            Ok(Some(remote)) if remote == length => return Ok(true),
            Ok(_) => {}
            // Without a checksum nothing better than "as before" can be promised; that is more use than a failure.
            Err(error) if error.is_temporary() => {
                say(format!(
                    "Cannot ask whether {url} has changed ({}): using the copy in the cache",
                    with_causes(&error)
                ));
                return Ok(true);
            }
            Err(error) => return Err(error),
        },
    }
    remove(path).await?;
    Ok(false)
}

/// Returns where a download is kept: Packer's names, so that both find each other's files.
fn target_path(request: &FetchRequest, url: &RemoteUrl, checksum: &Checksum) -> PathBuf {
    let extension = match request.target.extension.trim_start_matches('.') {
        "" => "iso".to_owned(),
        extension => extension.to_lowercase(),
    };
    let key = match checksum {
        Checksum::Digest(digest) => digest.to_string(),
        Checksum::None => url.uri().to_string(),
    };
    let name = format!("{}.{extension}", checksum::sha1_hex(key.as_bytes()));
    match &request.target.path {
        None => request.cache_dir.join(name),
        Some(path) if path.extension().is_none() => path.join(name),
        Some(path) => path.clone(),
    }
}
