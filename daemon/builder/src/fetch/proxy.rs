//! Which proxy a request goes through: the convention of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.

use std::net::IpAddr;

use super::error::UrlError;
use super::location::RemoteUrl;
use super::url_secrets::shown;

/// The proxies of an environment.
#[derive(Clone, Debug, Default)]
pub(super) struct ProxySettings {
    http: Option<String>,
    https: Option<String>,
    exceptions: Vec<Exception>,
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
    pub(super) fn for_url(&self, url: &RemoteUrl) -> Result<Option<RemoteUrl>, UrlError> {
        let Some(proxy) = (if url.is_https() { &self.https } else { &self.http }) else { return Ok(None) };
        let host = url.host().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return Ok(None);
        }
        if self.exceptions.iter().any(|exception| exception.covers(&host, address, url.port())) {
            return Ok(None);
        }
        let with_scheme = if proxy.contains("://") { proxy.clone() } else { format!("http://{proxy}") };
        let unusable = |reason: String| UrlError::Proxy { proxy: shown(&with_scheme), reason };
        let proxy = RemoteUrl::parse(&with_scheme).map_err(|error| unusable(error.to_string()))?;
        if proxy.is_https() {
            return Err(unusable("only proxies that are spoken to with plain HTTP are supported".to_owned()));
        }
        Ok(Some(proxy))
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
        assert_eq!(proxy("", "http://h/x").as_deref(), Some("http://proxy:3128/"));
        assert_eq!(proxy("", "https://h/x").as_deref(), Some("http://secure:1/"));
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

    #[test]
    fn names_a_proxy_it_cannot_use_without_its_password() {
        let settings =
            ProxySettings::from_lookup(|name| (name == "HTTP_PROXY").then(|| "socks5://me:pw@h:1".to_owned()));
        let error = settings.for_url(&RemoteUrl::parse("http://h/").unwrap()).unwrap_err().to_string();
        assert!(error.contains("socks5") && !error.contains("pw"), "{error}");
    }
}
