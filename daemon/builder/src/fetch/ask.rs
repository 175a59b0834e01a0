//! One request with one answer, for data sources: any method, headers and body; the answer is small and kept in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};

use super::error::UrlError;
use super::location::RemoteUrl;
use super::transport::{Transport, read_whole};

/// Largest answer, in bytes: it becomes a text in the template.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Body and headers of an answer.
pub(crate) type Said = (Vec<u8>, Vec<(String, String)>);

/// Sends a request, following redirects, and returns the answer when its status is a success.
pub(crate) async fn ask(
    method: &str,
    url: &str,
    headers: &BTreeMap<String, String>,
    body: Option<&str>,
) -> Result<Said, UrlError> {
    ask_with(&Transport::from_environment(), method, url, headers, body).await
}

async fn ask_with(
    transport: &Transport,
    method: &str,
    url: &str,
    headers: &BTreeMap<String, String>,
    body: Option<&str>,
) -> Result<Said, UrlError> {
    let url = RemoteUrl::parse(url)?;
    let malformed = |reason: String| UrlError::Malformed { url: url.to_string(), reason };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| malformed(format!("{method:?} is no method")))?;
    let mut sent = Vec::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed(format!("{name:?} is no header")))?;
        // The value may be a secret, so it is not shown.
        let value = HeaderValue::from_str(value).map_err(|_| malformed(format!("the header {name} is not text")))?;
        sent.push((name, value));
    }
    let body = body.map(|body| Bytes::copy_from_slice(body.as_bytes())).unwrap_or_default();
    let mut answer = transport.request(method, &url, &sent, body).await?;
    if !answer.status.is_success() {
        return Err(UrlError::Status { url: answer.url.to_string(), status: answer.status });
    }
    let content = read_whole(transport, &mut answer, MAX_ANSWER_BYTES).await?;
    let headers = answer.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (canonical(name.as_str()), value)
    });
    Ok((content, headers.collect()))
}

/// Spells a header as Go does: `Content-Type`.
fn canonical(name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_spelled_as_go_spells_them() {
        assert_eq!(canonical("content-type"), "Content-Type");
        assert_eq!(canonical("etag"), "Etag");
    }
}
