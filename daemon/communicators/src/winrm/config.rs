//! Everything a WinRM connection can be told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::lookout::Lookout;
use crate::secret::Secret;

/// How to reach a guest. Start from [`WinRmConfig::new`] and set what differs.
#[derive(Debug, Clone)]
pub struct WinRmConfig {
    /// Host name or address; for a forwarded port, the address it is bound to.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User to log in as: a user of the guest, `DOMAIN\user` or `user@domain`.
    pub username: String,
    /// The user's password.
    pub password: Secret,
    /// How the password is shown.
    pub login: LoginMethod,
    /// HTTPS, and whom it trusts; `None` is HTTP.
    pub tls: Option<TlsTrust>,
    /// Fails when no connection came about in this time, the first or one that is made anew; `None` is no limit for the first.
    pub timeout: Option<Duration>,
    /// Goes through this proxy, by CONNECT.
    pub proxy: Option<HttpProxy>,
    /// Watches the guest's network, so that it is left alone until it has an address.
    pub lookout: Option<Arc<dyn Lookout>>,
}

/// How a password is shown to a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginMethod {
    /// As it is. Over HTTP everybody on the way can read it, and Windows takes it only with `AllowUnencrypted` and `Basic` set.
    Basic,
    /// By NTLM, which shows only that we know it; over HTTP all messages are sealed too.
    Ntlm,
}

impl LoginMethod {
    /// What the guest calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Basic => "Basic",
            Self::Ntlm => "NTLM",
        }
    }
}

/// Whose certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsTrust {
    /// Those of the authorities that this system trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others).
    System,
    /// Those of the authorities in this PEM file.
    Authorities(PathBuf),
    /// Anybody's: whoever stands in between can read along.
    Anybody,
}

/// An HTTP proxy.
#[derive(Debug, Clone)]
pub struct HttpProxy {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `user:password`, when the proxy wants them.
    pub login: Option<Secret>,
}

impl WinRmConfig {
    /// Packer's defaults for a user on a host: HTTP on port 5985, Basic, half an hour.
    #[must_use]
    pub fn new(host: impl Into<String>, username: impl Into<String>, password: Secret) -> Self {
        Self {
            host: host.into(),
            port: 5985,
            username: username.into(),
            password,
            login: LoginMethod::Basic,
            tls: None,
            timeout: Some(Duration::from_mins(30)),
            proxy: None,
            lookout: None,
        }
    }

    /// `host:port` as messages show it.
    #[must_use]
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The service's URL.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/wsman", self.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_has_one_address_and_no_secret_is_shown() {
        let mut config = WinRmConfig::new("::1", "packer", "hunter2".into());
        assert_eq!((config.address().as_str(), config.url().as_str()), ("[::1]:5985", "http://[::1]:5985/wsman"));
        (config.tls, config.host) = (Some(TlsTrust::System), "guest".to_owned());
        config.proxy = Some(HttpProxy { host: "p".to_owned(), port: 3128, login: Some("me:hunter3".into()) });
        assert_eq!(config.url(), "https://guest:5985/wsman");
        assert!(!format!("{config:?}").contains("hunter"));
    }
}
