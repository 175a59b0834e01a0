//! Reads the `winrm_*` options.

use kiln_communicators::Secret;

use crate::option_values::OptionValues;
use crate::plan::WinRmPlan;

/// WinRM's own ports.
const HTTP: u16 = 5985;
const HTTPS: u16 = 5986;

/// Reads a whole WinRM connection.
pub(super) fn read(options: OptionValues<'_>) -> WinRmPlan {
    let tls = options.flag("winrm_use_ssl");
    let usual = if tls { HTTPS } else { HTTP };
    let port = options.given_number("winrm_port").and_then(|port| u16::try_from(port).ok());
    WinRmPlan {
        host: options.text("winrm_host"),
        port: port.filter(|port| *port != 0).unwrap_or(usual),
        username: options.text("winrm_username").unwrap_or_default(),
        password: options.text("winrm_password").map(Secret::new),
        timeout: Some(options.positive_duration("winrm_timeout")),
        tls,
        insecure: options.flag("winrm_insecure"),
        ntlm: options.flag("winrm_use_ntlm"),
        no_proxy: options.flag("winrm_no_proxy"),
        pause_before_connecting: options.duration("pause_before_connecting"),
    }
}
