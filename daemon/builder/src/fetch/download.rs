//! One download: going on where the last one stopped, trying again, and checking the result.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE};
use hyper::{Method, StatusCode};

use super::cache_lock::CacheLock;
use super::checksum::Checksum;
use super::error::UrlError;
use super::location::RemoteUrl;
use super::partial::{Finish, PartialFile};
use super::patience::again;
use super::told::{ProgressFn, SayFn};
use super::transport::{Answer, Transport, content_length};

/// Bytes gathered before they are written: a blocking thread is not worth starting for less.
const WRITE_BYTES: usize = 1 << 20;
/// Longest time that bytes wait to be written, so that little is lost when a build is stopped.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// A try that brings this many bytes counts as progress: the number of tries starts anew.
const PROGRESS_BYTES: u64 = 1 << 20;
/// Longest pause between tries.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How a download ended.
pub(super) enum Outcome {
    /// The file is there under its final name.
    Whole,
    /// All of it came, but it is not the right one.
    Mismatch {
        error: UrlError,
        /// Whether a part was from an earlier download.
        resumed: bool,
        lock: CacheLock,
    },
}

/// How one try ended that was not the last.
enum Attempt {
    /// All bytes are there.
    Complete(PartialFile),
    /// Worth another try.
    Interrupted(PartialFile, UrlError),
    /// What was there is not part of the file; another try starts from zero.
    StartOver(PartialFile),
}

/// Downloads into the cache.
pub(super) async fn download(
    transport: &Transport,
    url: &RemoteUrl,
    target: &Path,
    checksum: &Checksum,
    lock: CacheLock,
    progress: ProgressFn<'_>,
    say: SayFn<'_>,
) -> Result<Outcome, UrlError> {
    let mut file = PartialFile::open(target, url.to_string(), checksum, lock).await?;
    let mut resumed = file.length() > 0;
    let mut tries = 0;
    let mut pause = transport.patience.first_pause;
    loop {
        let before = file.length();
        match attempt(transport, url, file, progress).await? {
            Attempt::Complete(whole) => {
                return Ok(match whole.finish(checksum).await? {
                    Finish::Right => Outcome::Whole,
                    Finish::Wrong { error, lock } => Outcome::Mismatch { error, resumed, lock },
                });
            }
            Attempt::StartOver(cleared) => {
                resumed = false;
                file = cleared;
            }
            Attempt::Interrupted(part, error) => {
                file = part;
                if file.length() >= before.saturating_add(PROGRESS_BYTES) {
                    tries = 0;
                    pause = transport.patience.first_pause;
                }
                tries += 1;
                if tries >= transport.patience.tries {
                    return Err(error);
                }
                tracing::info!(%url, bytes = file.length(), %error, "a download was interrupted and is tried again");
                say(again(&error, pause, tries + 1, transport.patience.tries));
                transport.pause(url, pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }
}

async fn attempt(
    transport: &Transport,
    url: &RemoteUrl,
    file: PartialFile,
    progress: ProgressFn<'_>,
) -> Result<Attempt, UrlError> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    let start = file.length();
    if start > 0 {
        if let Ok(range) = HeaderValue::try_from(format!("bytes={start}-")) {
            headers.push((RANGE, range));
        }
        if let Some(validator) = file.validator().and_then(|validator| HeaderValue::try_from(validator).ok()) {
            headers.push((IF_RANGE, validator));
        }
    }
    let answer = match transport.request(Method::GET, url, &headers, Bytes::new()).await {
        Ok(answer) => answer,
        Err(error) if error.is_temporary() => return Ok(Attempt::Interrupted(file, error)),
        Err(error) => return Err(error),
    };
    let total = content_range(&answer.headers);
    match answer.status {
        StatusCode::OK => {
            let file = if start > 0 { file.restart().await? } else { file };
            let total = content_length(&answer.headers);
            receive(transport, answer, file, total, progress).await
        }
        StatusCode::PARTIAL_CONTENT if start > 0 => match total {
            Some((Some(first), total)) if first == start => receive(transport, answer, file, total, progress).await,
            _ => Ok(Attempt::StartOver(file.restart().await?)),
        },
        StatusCode::RANGE_NOT_SATISFIABLE if start > 0 => match total {
            // The last try got everything but the news that it was everything.
            Some((None, Some(total))) if total == start => Ok(Attempt::Complete(file)),
            _ => Ok(Attempt::StartOver(file.restart().await?)),
        },
        status => {
            let error = UrlError::Status { url: answer.url.to_string(), status };
            if error.is_temporary() { Ok(Attempt::Interrupted(file, error)) } else { Err(error) }
        }
    }
}

/// Takes in a body.
async fn receive(
    transport: &Transport,
    mut answer: Answer,
    file: PartialFile,
    total: Option<u64>,
    progress: ProgressFn<'_>,
) -> Result<Attempt, UrlError> {
    let mut file = file.set_validator(validator(&answer.headers)).await?;
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut waiting = 0;
    let mut written = Instant::now();
    progress(file.length(), total);
    loop {
        let done = file.length() + waiting as u64;
        match transport.piece(&mut answer, done).await {
            Ok(Some(piece)) => {
                waiting += piece.len();
                pieces.push(piece);
                progress(file.length() + waiting as u64, total);
            }
            Ok(None) => {
                file = file.append(pieces).await?;
                if total.is_some_and(|total| total != file.length()) {
                    let reason = format!("{} bytes arrived, {} were announced", file.length(), total.unwrap_or(0));
                    return Err(UrlError::Answer { url: answer.url.to_string(), reason });
                }
                return Ok(Attempt::Complete(file));
            }
            Err(error) => {
                file = file.append(pieces).await?;
                return Ok(Attempt::Interrupted(file, error));
            }
        }
        if waiting >= WRITE_BYTES || written.elapsed() >= WRITE_INTERVAL {
            file = file.append(std::mem::take(&mut pieces)).await?;
            waiting = 0;
            written = Instant::now();
        }
    }
}

/// Returns what tells this version of a file from others: a strong ETag, else the date.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    text(ETAG).filter(|tag| !tag.starts_with("W/")).or_else(|| text(LAST_MODIFIED))
}

/// Reads `Content-Range: bytes FIRST-LAST/TOTAL`, `bytes */TOTAL` or `bytes FIRST-LAST/*`.
fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes")?.trim_start();
    let (range, total) = text.split_once('/')?;
    let first = match range {
        "*" => None,
        _ => Some(range.split_once('-')?.0.parse().ok()?),
    };
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((first, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_content_ranges() {
        for (text, expected) in [
            ("bytes 5-9/10", Some((Some(5), Some(10)))),
            ("bytes 5-9/*", Some((Some(5), None))),
            ("bytes */10", Some((None, Some(10)))),
            ("bytes x-9/10", None),
            ("items 1-2/3", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, HeaderValue::from_static(text));
            assert_eq!(content_range(&headers), expected, "{text}");
        }
    }

    #[test]
    fn prefers_strong_tags() {
        let mut headers = HeaderMap::new();
        headers.insert(LAST_MODIFIED, HeaderValue::from_static("Mon"));
        headers.insert(ETAG, HeaderValue::from_static("W/\"x\""));
        assert_eq!(validator(&headers).as_deref(), Some("Mon"));
        headers.insert(ETAG, HeaderValue::from_static("\"x\""));
        assert_eq!(validator(&headers).as_deref(), Some("\"x\""));
    }
}
