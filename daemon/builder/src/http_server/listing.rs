//! The page that lists a directory.

use std::io;
use std::path::Path;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;

use super::response::Answer;

/// Most entries that are listed.
const MAX_ENTRIES: usize = 10_000;

/// Lists a directory as HTML.
pub(super) async fn page(directory: &Path) -> io::Result<Answer> {
    let mut names = names(directory).await?;
    names.sort();
    let mut page = String::from("<!doctype html>\n<meta charset=\"utf-8\">\n<pre>\n");
    for name in names {
        page.push_str(&format!("<a href=\"./{}\">{}</a>\n", encoded(&name), escaped(&name)));
    }
    page.push_str("</pre>\n");
    Ok(Answer::new(StatusCode::OK, Bytes::from(page)).with_header(CONTENT_TYPE, "text/html; charset=utf-8"))
}

/// Returns the names in a directory that are text; those of directories end with a slash.
pub(super) async fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut entries = tokio::fs::read_dir(directory).await?;
    while let Some(entry) = entries.next_entry().await? {
        if names.len() >= MAX_ENTRIES {
            break;
        }
        let Ok(mut name) = entry.file_name().into_string() else { continue };
        if tokio::fs::metadata(entry.path()).await.is_ok_and(|metadata| metadata.is_dir()) {
            name.push('/');
        }
        names.push(name);
    }
    Ok(names)
}

/// Encodes a name for a URL.
pub(super) fn encoded(name: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    name.bytes().map(|byte| if keep(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn escaped(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
