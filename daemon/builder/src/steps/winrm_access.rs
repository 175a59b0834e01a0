//! What gets a build into its guest by WinRM: the settings, and what provisioners are told of them.

use kiln_communicators::winrm::{HttpProxy, LoginMethod, TlsTrust, WinRmConfig};
use kiln_communicators::{ConnectConfig, Secret};

use crate::build_data::WinRmConnection;
use crate::error::StepError;
use crate::fetch;
use crate::plan::WinRmPlan;

/// The settings for a guest at `host`:`port`, unless the template says where it is. `environment` knows the proxies.
pub(super) fn config(
    plan: &WinRmPlan,
    host: &str,
    port: u16,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<ConnectConfig, StepError> {
    let password = plan.password.clone().unwrap_or_else(|| Secret::from(""));
    let mut config = WinRmConfig::new(plan.host.as_deref().unwrap_or(host), &plan.username, password);
    config.port = if plan.host.is_some() { plan.port } else { port };
    config.login = if plan.ntlm { LoginMethod::Ntlm } else { LoginMethod::Basic };
    config.tls = plan.tls.then_some(if plan.insecure { TlsTrust::Anybody } else { TlsTrust::System });
    config.timeout = plan.timeout;
    // Where the guest is asked before it has an address, there is nothing to go to yet.
    if !plan.no_proxy && !config.host.is_empty() {
        config.proxy = proxy(&config, environment)?;
    }
    Ok(ConnectConfig::WinRm(Box::new(config)))
}

/// The proxy that the environment has for the guest.
fn proxy(config: &WinRmConfig, environment: impl Fn(&str) -> Option<String>) -> Result<Option<HttpProxy>, StepError> {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}/", config.address());
    let hint = "winrm_no_proxy = true goes around it; so does an entry in NO_PROXY";
    let proxy = fetch::environment_proxy(&url, environment).map_err(|error| StepError::wrap(error).with_hint(hint))?;
    Ok(proxy.map(|(host, port, login)| HttpProxy { host, port, login: login.map(Secret::new) }))
}

/// What provisioners are told of a connection to `host`:`port`.
pub(super) fn connection(plan: &WinRmPlan, host: &str, port: u16) -> WinRmConnection {
    WinRmConnection { host: host.to_owned(), port, user: plan.username.clone(), password: plan.password.clone() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn plan() -> WinRmPlan {
        WinRmPlan {
            host: None,
            port: 5985,
            username: "packer".to_owned(),
            password: Some("hunter2".into()),
            timeout: Some(Duration::from_secs(9)),
            tls: false,
            insecure: false,
            ntlm: false,
            no_proxy: false,
            pause_before_connecting: Duration::ZERO,
        }
    }

    fn winrm(plan: &WinRmPlan) -> WinRmConfig {
        let environment = |name: &str| (name == "HTTPS_PROXY").then(|| "http://me:hunter3@proxy:3128".to_owned());
        let ConnectConfig::WinRm(config) = config(plan, "guest", 4985, environment).unwrap() else { panic!() };
        *config
    }

    #[test]
    fn the_plan_becomes_the_settings() {
        let config = winrm(&plan());
        assert_eq!((config.host.as_str(), config.port, config.username.as_str()), ("guest", 4985, "packer"));
        assert_eq!(
            (config.login, config.tls, config.timeout),
            (LoginMethod::Basic, None, Some(Duration::from_secs(9)))
        );
        assert_eq!(config.password.expose(), "hunter2");
        assert!(config.proxy.is_none(), "there is none for HTTP");
        let config = winrm(&WinRmPlan { tls: true, ntlm: true, ..plan() });
        assert_eq!((config.login, config.tls), (LoginMethod::Ntlm, Some(TlsTrust::System)));
        let proxy = config.proxy.unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy", 3128));
        assert_eq!(proxy.login.as_ref().map(Secret::expose), Some("me:hunter3"));
        assert!(winrm(&WinRmPlan { tls: true, no_proxy: true, ..plan() }).proxy.is_none());
        let config = winrm(&WinRmPlan { tls: true, insecure: true, host: Some("elsewhere".to_owned()), ..plan() });
        assert_eq!((config.host.as_str(), config.port, config.tls), ("elsewhere", 5985, Some(TlsTrust::Anybody)));
    }

    #[test]
    fn provisioners_are_told_where_and_who() {
        let told = connection(&plan(), "h", 1);
        assert_eq!((told.host.as_str(), told.port, told.user.as_str()), ("h", 1, "packer"));
        assert_eq!(told.password, Some(Secret::from("hunter2")));
        assert!(!serde_json::to_string(&told).unwrap().contains("hunter2"), "it is written down without its password");
    }
}
