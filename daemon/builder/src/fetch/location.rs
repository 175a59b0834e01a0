//! Where a file is said to be: a path, or a URL with what belongs to it.

use std::fmt;
use std::path::{Path, PathBuf};

use hyper::Uri;

use super::checksum::{ChecksumSpec, parse_checksum};
use super::error::UrlError;
use super::percent::{decoded, encoded, encoded_part};
use super::url_secrets::shown;

/// Suffixes of files that Packer would unpack after the download.
const COMPRESSED: [&str; 12] =
    ["tar.gz", "tgz", "tar.bz2", "tbz2", "tar.xz", "txz", "tar.zst", "gz", "bz2", "xz", "zip", "zst"];
/// Parameters that speak to the downloader and are not sent to the server.
const OWN_PARAMETERS: [&str; 3] = ["checksum", "archive", "filename"];

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    Local(PathBuf),
    Remote(RemoteUrl),
}

/// An `http` or `https` URL. Shown without login, token and signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteUrl {
    uri: Uri,
    /// `user:password`, decoded.
    login: Option<String>,
}

impl RemoteUrl {
    /// Reads an absolute URL; characters that may not stand in one are encoded.
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        let malformed = |reason: &str| UrlError::Malformed { url: shown(text), reason: reason.to_owned() };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| malformed("it has no scheme"))?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            return Err(UrlError::Scheme { scheme });
        }
        let rest = rest.split('#').next().unwrap_or(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (login, host) = match authority.rsplit_once('@') {
            Some((login, host)) => (Some(decoded(login)), host),
            None => (None, authority),
        };
        if host.is_empty() {
            return Err(malformed("it has no host"));
        }
        let separator = if path.starts_with('?') { "/" } else { "" };
        let uri = format!("{scheme}://{host}{separator}{}", encoded(path))
            .parse::<Uri>()
            .map_err(|error| malformed(&error.to_string()))?;
        // Behind the brackets of a numeric IPv6 address.
        let port = host.rsplit(']').next().and_then(|end| end.split_once(':')).map_or("", |(_, port)| port);
        if uri.host().is_none_or(str::is_empty) || !port.is_empty() && uri.port_u16().is_none() {
            return Err(malformed("its host or port is not valid"));
        }
        Ok(Self { uri, login })
    }

    pub(super) const fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(super) fn login(&self) -> Option<&str> {
        self.login.as_deref()
    }

    /// The whole of it, with its login. Not to be shown.
    pub(super) fn with_login(&self) -> String {
        let text = self.uri.to_string();
        match (self.login(), text.split_once("://")) {
            (Some(login), Some((scheme, rest))) => {
                let part = |text: &str| encoded_part(text);
                let login = login
                    .split_once(':')
                    .map_or_else(|| part(login), |(user, word)| format!("{}:{}", part(user), part(word)));
                format!("{scheme}://{login}@{rest}")
            }
            _ => text,
        }
    }

    pub(super) fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Returns the host; never empty. Numeric IPv6 addresses have brackets.
    pub(super) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    pub(super) fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    /// Returns path and query, as they go to the server.
    pub(super) fn path_and_query(&self) -> &str {
        self.uri.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str)
    }

    /// Resolves what a redirect says; the login goes along only to the same server.
    pub(super) fn join(&self, target: &str) -> Result<Self, UrlError> {
        let target = target.trim();
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let scheme = self.uri.scheme_str().unwrap_or("http");
        let is_absolute = target.split_once(':').is_some_and(|(before, _)| {
            !before.is_empty() && before.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        });
        let absolute = if is_absolute {
            target.to_owned()
        } else if let Some(rest) = target.strip_prefix("//") {
            format!("{scheme}://{rest}")
        } else if target.starts_with('/') {
            format!("{scheme}://{authority}{target}")
        } else if target.starts_with('?') {
            format!("{scheme}://{authority}{}{target}", self.uri.path())
        } else {
            let directory = self.uri.path().rsplit_once('/').map_or("", |(directory, _)| directory);
            format!("{scheme}://{authority}{}", without_dots(&format!("{directory}/{target}")))
        };
        let mut joined = Self::parse(&absolute)?;
        let same_server =
            joined.host() == self.host() && joined.port() == self.port() && joined.is_https() == self.is_https();
        if joined.login.is_none() && same_server {
            joined.login.clone_from(&self.login);
        }
        Ok(joined)
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&shown(&self.uri.to_string()))
    }
}

/// Reads what a template says, and the `checksum=` it may have.
pub(super) fn parse(text: &str) -> Result<(Location, Option<String>), UrlError> {
    let Some((scheme, rest)) = text.split_once("://") else {
        if let Some(scheme) = foreign_scheme(text) {
            return Err(UrlError::Scheme { scheme });
        }
        // A `?` may be part of a name; but a parameter of ours is one.
        let (path, checksum, archive) = local_parameters(text);
        refuse_compressed(&path, archive)?;
        return Ok((Location::Local(PathBuf::from(path)), checksum));
    };
    if scheme.eq_ignore_ascii_case("file") {
        let (path, checksum, archive) = local_parameters(rest);
        let path = decoded(path.strip_prefix("localhost/").map_or(path.clone(), |path| format!("/{path}")).as_str());
        refuse_compressed(&path, archive)?;
        return Ok((Location::Local(PathBuf::from(path)), checksum));
    }
    let (address, query) = text.split_once('?').unwrap_or((text, ""));
    let parameters: Vec<(&str, &str)> = query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .collect();
    let own = |wanted: &str| parameters.iter().find(|(name, _)| *name == wanted).map(|(_, value)| decoded(value));
    let kept: Vec<&str> = query
        .split('&')
        .filter(|part| !OWN_PARAMETERS.contains(&part.split('=').next().unwrap_or(part)))
        .filter(|part| !part.is_empty())
        .collect();
    let sent = if kept.is_empty() { address.to_owned() } else { format!("{address}?{}", kept.join("&")) };
    let remote = RemoteUrl::parse(&sent)?;
    refuse_compressed(remote.uri.path(), own("archive"))?;
    Ok((Location::Remote(remote), own("checksum")))
}

/// Whether one of `urls` names this local file. What is anywhere else has been downloaded.
pub(crate) fn names_local(urls: &[String], path: &Path) -> bool {
    urls.iter().any(|url| matches!(parse(url), Ok((Location::Local(local), _)) if local == path))
}

/// The local file that `url` names, whether it is there or not; `None` of what is to be downloaded.
pub(crate) fn local_path(url: &str) -> Option<PathBuf> {
    match parse(url) {
        Ok((Location::Local(path), _)) => Some(path),
        _ => None,
    }
}

/// The local file with a list of checksums that `checksum` names, whether it is there or not; `None` of every other checksum.
pub(crate) fn local_checksum_list(checksum: &str) -> Option<PathBuf> {
    match parse_checksum(checksum) {
        Ok(ChecksumSpec::File(list)) => local_path(&list),
        _ => None,
    }
}

/// Splits our parameters off a local path: path, `checksum`, `archive`.
fn local_parameters(text: &str) -> (String, Option<String>, Option<String>) {
    let Some((path, query)) = text.rsplit_once('?') else { return (text.to_owned(), None, None) };
    let parameters: Vec<(&str, &str)> = query.split('&').filter_map(|part| part.split_once('=')).collect();
    if parameters.is_empty() || parameters.iter().any(|(name, _)| !OWN_PARAMETERS.contains(name)) {
        return (text.to_owned(), None, None);
    }
    let own = |wanted: &str| parameters.iter().find(|(name, _)| *name == wanted).map(|(_, value)| decoded(value));
    (path.to_owned(), own("checksum"), own("archive"))
}

fn refuse_compressed(path: &str, archive: Option<String>) -> Result<(), UrlError> {
    if archive.as_deref() == Some("false") {
        return Ok(());
    }
    let lower = path.to_ascii_lowercase();
    let matches = |suffix: &str| lower.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'));
    match COMPRESSED.into_iter().find(|suffix| matches(suffix)) {
        Some(suffix) => Err(UrlError::Compressed { url: path.to_owned(), suffix }),
        None => Ok(()),
    }
}

/// Returns the scheme of things like `s3::https://…` and `git::…`, which have no `://` right behind it.
fn foreign_scheme(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once("::")?;
    scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()).then(|| scheme.to_owned())
}

/// Resolves `.` and `..` in a path with an optional query.
fn without_dots(text: &str) -> String {
    let (path, query) = text.split_at(text.find('?').unwrap_or(text.len()));
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    format!("/{}{query}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(text: &str) -> RemoteUrl {
        match parse(text).unwrap().0 {
            Location::Remote(url) => url,
            Location::Local(path) => panic!("{}", path.display()),
        }
    }

    #[test]
    fn tells_paths_from_urls() {
        for (text, path) in [
            ("iso/x.iso", "iso/x.iso"),
            ("/a b/x.iso", "/a b/x.iso"),
            ("file:///a%20b/x.iso", "/a b/x.iso"),
            ("file://localhost/x.iso", "/x.iso"),
            ("file://./x.iso", "./x.iso"),
            ("what?.iso", "what?.iso"),
            ("x.iso.gz?archive=false", "x.iso.gz"),
        ] {
            assert_eq!(parse(text).unwrap().0, Location::Local(path.into()), "{text}");
        }
        assert_eq!(parse("x.iso?checksum=md5%3A00").unwrap().1.as_deref(), Some("md5:00"));
    }

    #[test]
    fn tells_files_of_the_user_from_downloads() {
        let urls = ["http://h/a.qcow2", "file:///a%20b/x.qcow2", "base.qcow2?checksum=md5:00"].map(ToOwned::to_owned);
        for (path, local) in
            [("/a b/x.qcow2", true), ("base.qcow2", true), ("/cache/a.qcow2", false), ("a.qcow2", false)]
        {
            assert_eq!(names_local(&urls, Path::new(path)), local, "{path}");
        }
        assert!(!names_local(&[], Path::new("")));
    }

    #[test]
    fn keeps_our_parameters_from_servers() {
        let (location, checksum) = parse("https://h/p/x.iso?a=1&checksum=file:http://h/S&b=%20&archive=false").unwrap();
        let Location::Remote(url) = location else { panic!() };
        assert_eq!(url.to_string(), "https://h/p/x.iso?a=1&b=%20");
        assert_eq!(checksum.as_deref(), Some("file:http://h/S"));
        assert_eq!(remote("http://h?x=1").path_and_query(), "/?x=1");
        assert_eq!(remote("http://h/ä b#c").path_and_query(), "/%C3%A4%20b");
    }

    #[test]
    fn hides_passwords() {
        let url = remote("https://me:s%3Acret@host:8443/x");
        assert_eq!((url.login(), url.host(), url.port()), (Some("me:s:cret"), "host", 8443));
        assert_eq!(url.to_string(), "https://host:8443/x");
        assert_eq!(url.with_login(), "https://me:s%3Acret@host:8443/x");
        assert_eq!(remote("http://h/x?token=1").with_login(), "http://h/x?token=1");
        assert_eq!(remote("https://h/x?token=1&a=2").to_string(), "https://h/x?token=xxxxx&a=2");
        assert_eq!(remote("https://h/x?token=1&a=2").path_and_query(), "/x?token=1&a=2");
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        assert!(matches!(parse("s3://bucket/x.iso"), Err(UrlError::Scheme { .. })));
        assert!(matches!(parse("git::https://x/y"), Err(UrlError::Scheme { .. })));
        assert!(matches!(parse("https://h/x.img.xz"), Err(UrlError::Compressed { suffix: "xz", .. })));
        for text in ["http://", "http:///x", "http://h:99999/", "http://h h/"] {
            assert!(matches!(parse(text), Err(UrlError::Malformed { .. })), "{text}");
        }
    }

    #[test]
    fn resolves_redirects() {
        let base = remote("http://u:p@h:81/a/b/c.iso?x=1");
        for (target, expected) in [
            ("https://other/y", "https://other/y"),
            ("//other/y", "http://other/y"),
            ("/y?z", "http://h:81/y?z"),
            ("y", "http://h:81/a/b/y"),
            ("../y?q=..", "http://h:81/a/y?q=.."),
            ("?n", "http://h:81/a/b/c.iso?n"),
        ] {
            let joined = base.join(target).unwrap();
            assert_eq!(joined.to_string(), expected);
            assert_eq!(joined.login().is_some(), expected.contains("h:81"), "{target}");
        }
        assert!(matches!(base.join("file:///etc/passwd"), Err(UrlError::Scheme { .. })));
        assert!(base.join("javascript:x").is_err());
    }
}
