//! `http_directory`: files below one directory, and what links in it lead to.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hyper::StatusCode;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_RANGE, LAST_MODIFIED,
    LOCATION, RANGE,
};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::content::{clean, closest, decode};
use super::listing;
use super::range::{Requested, requested};
use super::response::{Answer, content_range, content_type, outside, plain};

/// Bytes of a file that are looked at to tell text from data.
const SNIFFED_BYTES: usize = 512;

/// A directory that is served.
pub(super) struct Directory {
    /// Without symbolic links, so that everything below it starts with it.
    root: PathBuf,
}

impl Directory {
    pub(super) async fn open(path: &Path) -> io::Result<Self> {
        let root = tokio::fs::canonicalize(path).await?;
        if !tokio::fs::metadata(&root).await?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        Ok(Self { root })
    }

    /// Answers for a path as it stands in a request.
    pub(super) async fn answer(&self, request_path: &str, request: &HeaderMap) -> Answer {
        let Some(decoded) = decode(request_path) else {
            return plain(StatusCode::BAD_REQUEST, "the path is not valid\n".to_owned());
        };
        let path = clean(&decoded);
        let answered = self.try_answer(&path, decoded.ends_with('/'), request).await;
        match answered {
            Ok(answer) => answer,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                self.not_found(&path).await
            }
            Err(error) => {
                let status = match error.kind() {
                    io::ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
                    // Longer than a name can be: there is no such file.
                    io::ErrorKind::InvalidFilename => StatusCode::NOT_FOUND,
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                };
                plain(status, format!("{path} cannot be read.\n")).with_note(error.to_string())
            }
        }
    }

    async fn try_answer(&self, path: &str, as_directory: bool, request: &HeaderMap) -> io::Result<Answer> {
        let wanted = self.root.join(path.trim_start_matches('/'));
        // A link may lead anywhere: the owner of the directory made it. No request can leave by itself: `path` is clean.
        let found = tokio::fs::canonicalize(&wanted).await?;
        let metadata = tokio::fs::metadata(&found).await?;
        if metadata.is_file() {
            if as_directory {
                return Err(io::Error::from(io::ErrorKind::NotADirectory));
            }
            return file(&found, path, request).await;
        }
        if !metadata.is_dir() {
            return Ok(plain(StatusCode::NOT_FOUND, format!("{path} not found.\n"))
                .with_note("refused: it is not a regular file"));
        }
        if !as_directory {
            // Relative links of the page need the slash. Only the last component, so that no host can be smuggled in.
            let name = path.rsplit('/').next().unwrap_or_default();
            return Ok(plain(StatusCode::MOVED_PERMANENTLY, String::new())
                .with_header(LOCATION, &format!("./{}/", listing::encoded(name))));
        }
        let index = tokio::fs::canonicalize(found.join("index.html")).await;
        match index {
            Ok(index) if tokio::fs::metadata(&index).await?.is_file() => file(&index, "index.html", request).await,
            _ => listing::page(&found).await,
        }
    }

    async fn not_found(&self, path: &str) -> Answer {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.root.join(parent.trim_start_matches('/'));
        let names = listing::names(&directory).await.unwrap_or_default();
        let answer = |text| plain(StatusCode::NOT_FOUND, text);
        match closest(name, names.iter().map(|name| name.trim_end_matches('/'))) {
            Some(close) => answer(format!("{path} not found. Did you mean \"{parent}/{close}\"?\n"))
                .with_note(format!("there is {parent}/{close}")),
            None => answer(format!("{path} not found.\n")),
        }
    }
}

async fn file(path: &Path, name: &str, request: &HeaderMap) -> io::Result<Answer> {
    let mut file = File::open(path).await?;
    let metadata = file.metadata().await?;
    let length = metadata.len();
    let modified = metadata.modified().ok().and_then(http_date);
    let header = |name: HeaderName| request.get(name).and_then(|value| value.to_str().ok());
    // Clients send back the date they were given, so dates need not be read.
    let same = |name: HeaderName| modified.is_some() && header(name) == modified.as_deref();
    if header(RANGE).is_none() && same(IF_MODIFIED_SINCE) {
        return Ok(Answer::new(StatusCode::NOT_MODIFIED, bytes::Bytes::new()));
    }
    let mut start = vec![0; SNIFFED_BYTES];
    let sniffed = file.read(&mut start).await?;
    let kind = content_type(name, &start[..sniffed]);
    let range = header(RANGE).filter(|_| header(IF_RANGE).is_none() || same(IF_RANGE));
    let mut answer = match requested(range, length) {
        Requested::All => {
            file.rewind().await?;
            Answer::file(StatusCode::OK, file, length)
        }
        Requested::Part(part) => {
            file.seek(SeekFrom::Start(part.start)).await?;
            Answer::file(StatusCode::PARTIAL_CONTENT, file, part.end - part.start)
                .with_header(CONTENT_RANGE, &content_range(&part, length))
        }
        Requested::Outside => return Ok(outside(length)),
    };
    if let Some(modified) = modified {
        answer = answer.with_header(LAST_MODIFIED, &modified);
    }
    Ok(answer.with_header(CONTENT_TYPE, kind).with_header(ACCEPT_RANGES, "bytes"))
}

/// Writes a time as HTTP does: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(time: SystemTime) -> Option<String> {
    let timestamp = jiff::Timestamp::try_from(time).ok()?;
    Some(timestamp.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
}
