//! Which proxy a request goes through: the convention of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, as Go's programs read it.
//!
//! `hyper_util::client::proxy::matcher` (feature `client-proxy`) does not serve here: it reads `NO_PROXY` as curl does. Tried with the
//! tables of the tests below, version 0.1.21 sends through a proxy what Go does not (this machine itself, `h:8080`, `*.example.com`, a list
//! with blanks, `[::2]`, a host with a dot behind it), goes around it where Go does not (`.example.com` for `example.com` itself), takes
//! `ALL_PROXY`, of which Go knows nothing, and drops a proxy that it cannot read without a word, so that the request goes out directly.
//! What it would save is reading two variables; the rules are this module. The SOCKS protocol is the library's, see `socks.rs`.

use std::fmt;
use std::net::IpAddr;

use super::error::UrlError;
use super::location::RemoteUrl;
use super::url_secrets::shown;

/// The variables that say how services are reached: the proxies, and whom their certificates are from.
pub const ENVIRONMENT: &[&str] = &[
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// The proxies of an environment.
#[derive(Clone, Debug, Default)]
pub(super) struct ProxySettings {
    http: Option<String>,
    https: Option<String>,
    exceptions: Vec<Exception>,
}

/// One proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) kind: ProxyKind,
    address: RemoteUrl,
    pub(super) port: u16,
}

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxyKind {
    /// Requests as they are for `http:`, CONNECT for `https:`.
    Http,
    /// SOCKS5, which passes on connections.
    Socks5,
}

/// Where no proxy is used.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    Everything,
    /// A domain, and with it all its subdomains. With a leading dot only those.
    Domain {
        name: String,
        itself: bool,
        port: Option<u16>,
    },
    Network {
        address: IpAddr,
        prefix: u8,
    },
}

impl ProxySettings {
    /// Reads the settings with a function that looks up variables.
    pub(super) fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let first =
            |names: [&str; 2]| names.into_iter().find_map(|name| lookup(name).filter(|value| !value.is_empty()));
        let exceptions = first(["NO_PROXY", "no_proxy"]).unwrap_or_default();
        Self {
            http: first(["HTTP_PROXY", "http_proxy"]),
            https: first(["HTTPS_PROXY", "https_proxy"]),
            exceptions: exceptions.split([',', ' ']).filter_map(Exception::parse).collect(),
        }
    }

    /// Returns the proxy for a URL, when there is one. This machine itself is never behind one.
    pub(super) fn for_url(&self, url: &RemoteUrl) -> Result<Option<Proxy>, UrlError> {
        let Some(proxy) = (if url.is_https() { &self.https } else { &self.http }) else { return Ok(None) };
        let host = url.host().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return Ok(None);
        }
        if self.exceptions.iter().any(|exception| exception.covers(&host, address, url.port())) {
            return Ok(None);
        }
        Proxy::parse(proxy).map(Some)
    }
}

impl Proxy {
    fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, place) = text.split_once("://").unwrap_or(("http", text));
        let unusable = |reason: String| UrlError::Proxy { proxy: shown(&format!("{scheme}://{place}")), reason };
        let (kind, port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (ProxyKind::Http, 80),
            // Both leave looking names up to the proxy, as in Go.
            "socks5" | "socks5h" => (ProxyKind::Socks5, 1080),
            _ => {
                let reason = "proxies are spoken to with plain HTTP or SOCKS5 (http://, socks5://)";
                return Err(unusable(reason.to_owned()));
            }
        };
        let address = RemoteUrl::parse(&format!("http://{place}")).map_err(|error| unusable(error.to_string()))?;
        let port = address.uri().port_u16().unwrap_or(port);
        Ok(Self { kind, address, port })
    }

    /// The host; never empty. Numeric IPv6 addresses have brackets.
    pub(super) fn host(&self) -> &str {
        self.address.host()
    }

    /// `user:password`, decoded.
    pub(super) fn login(&self) -> Option<&str> {
        self.address.login()
    }
}

impl fmt::Display for Proxy {
    /// Shows where it is, without its login.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Socks5 => "socks5",
        };
        write!(formatter, "{scheme}://{}:{}", self.host(), self.port)
    }
}

impl Exception {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text.is_empty() {
            return None;
        }
        if text == "*" {
            return Some(Self::Everything);
        }
        if let Some((address, prefix)) = text.split_once('/') {
            let address = address.parse::<IpAddr>().ok()?;
            let prefix = prefix.parse::<u8>().ok()?;
            let longest = if address.is_ipv4() { 32 } else { 128 };
            return (prefix <= longest).then_some(Self::Network { address, prefix });
        }
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Some(Self::Network { address, prefix: if address.is_ipv4() { 32 } else { 128 } });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name.to_owned(), Some(port.parse::<u16>().ok()?)),
            None => (text, None),
        };
        let name = name.strip_prefix('*').unwrap_or(&name);
        let bare = name.trim_start_matches('.');
        Some(Self::Domain { name: bare.to_owned(), itself: bare.len() == name.len(), port })
    }

    fn covers(&self, host: &str, address: Option<IpAddr>, url_port: u16) -> bool {
        match self {
            Self::Everything => true,
            Self::Domain { name, itself, port } => {
                let matches =
                    *itself && host == name || host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                matches && port.is_none_or(|port| port == url_port)
            }
            Self::Network { address: network, prefix } => {
                address.is_some_and(|address| in_network(address, *network, *prefix))
            }
        }
    }
}

fn in_network(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let (left, right, width) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (u128::from(address.to_bits()), u128::from(network.to_bits()), 32_u32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    // A shift by the whole width leaves nothing to compare.
    let ignored = width - u32::from(prefix);
    left.checked_shr(ignored).unwrap_or(0) == right.checked_shr(ignored).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(exceptions: &str, url: &str) -> Option<String> {
        let settings = ProxySettings::from_lookup(|name| match name {
            "http_proxy" => Some("proxy:3128".to_owned()),
            "HTTPS_PROXY" => Some("http://me:pw@secure:1".to_owned()),
            "NO_PROXY" => Some(exceptions.to_owned()),
            _ => None,
        });
        settings.for_url(&RemoteUrl::parse(url).unwrap()).unwrap().map(|proxy| proxy.to_string())
    }

    #[test]
    fn chooses_by_scheme() {
        assert_eq!(proxy("", "http://h/x").as_deref(), Some("http://proxy:3128"));
        assert_eq!(proxy("", "https://h/x").as_deref(), Some("http://secure:1"));
    }

    #[test]
    fn respects_exceptions() {
        for (exceptions, url) in [
            ("", "http://localhost/"),
            ("", "http://127.0.0.2/"),
            ("", "http://[::1]/"),
            ("*", "http://h/"),
            ("example.com", "http://example.com/"),
            ("a, example.com", "http://x.Example.com/"),
            (".example.com", "http://x.example.com/"),
            ("*.example.com", "http://x.example.com/"),
            ("10.0.0.0/8", "http://10.2.3.4/"),
            ("10.2.3.4", "http://10.2.3.4/"),
            ("fd00::/8", "http://[fd12::1]/"),
            ("0.0.0.0/0", "http://1.2.3.4/"),
            ("h:8080", "http://h:8080/"),
            ("a b", "http://b/"),
            ("[::2]", "http://[::2]/"),
            ("example.com", "http://example.com./"),
        ] {
            assert_eq!(proxy(exceptions, url), None, "{exceptions} {url}");
        }
        for (exceptions, url) in [
            ("example.com", "http://badexample.com/"),
            (".example.com", "http://example.com/"),
            ("10.0.0.0/8", "http://11.2.3.4/"),
            ("h:8080", "http://h/"),
            ("10.0.0.0/99,/,:", "http://10.0.0.1/"),
        ] {
            assert!(proxy(exceptions, url).is_some(), "{exceptions} {url}");
        }
    }

    fn with_proxy(text: &str) -> Result<Option<Proxy>, UrlError> {
        let settings = ProxySettings::from_lookup(|name| (name == "HTTP_PROXY").then(|| text.to_owned()));
        settings.for_url(&RemoteUrl::parse("http://h/").unwrap())
    }

    #[test]
    fn reads_kind_place_and_login() {
        for (text, kind, shown, login) in [
            ("h", ProxyKind::Http, "http://h:80", None),
            ("HTTP://u:p%40@h:8", ProxyKind::Http, "http://h:8", Some("u:p@")),
            ("socks5://h", ProxyKind::Socks5, "socks5://h:1080", None),
            ("socks5h://u:p@[::2]:9", ProxyKind::Socks5, "socks5://[::2]:9", Some("u:p")),
        ] {
            let proxy = with_proxy(text).unwrap().unwrap();
            assert_eq!((proxy.kind, proxy.to_string().as_str(), proxy.login()), (kind, shown, login), "{text}");
        }
        assert_eq!(with_proxy("").unwrap(), None);
    }

    #[test]
    fn names_a_proxy_it_cannot_use_without_its_password() {
        for text in
            ["https://me:pw@h:1", "socks4://me:pw@h:1", "me:pw@bad host", "http://me:pw@", "socks5://me:pw@h:99999"]
        {
            let error = with_proxy(text).unwrap_err().to_string();
            assert!(error.starts_with("the proxy `") && !error.contains("pw"), "{text}: {error}");
        }
    }
}
