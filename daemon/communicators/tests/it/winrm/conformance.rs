//! WinRM keeps the promises of all communicators, by each way to log in; and others' clients find the stand-in to be a WinRM.

use std::process::Command;

use kiln_communicators::conformance::{self, Guest};
use kiln_communicators::winrm::{LoginMethod, TlsTrust, WinRmConfig};
use kiln_communicators::{ConnectConfig, GuestConnector};

use super::launcher::{StandIn, folder, python};
use super::stand_in::Certificate;
use super::stand_in_or_return;

async fn promises(stand_in: &StandIn, config: WinRmConfig) {
    let config = ConnectConfig::WinRm(Box::new(config));
    let (local, directory) = (tempfile::tempdir().unwrap(), stand_in.root.path().join("guest"));
    std::fs::create_dir(&directory).unwrap();
    let directory = directory.to_str().unwrap();
    let (connector, local) = (&GuestConnector, local.path());
    conformance::check(&Guest { connector, config: &config, directory, local, overlapping_commands: true }).await;
    assert!(stand_in.said().trim_end().ends_with("shells left 0"), "what was opened is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ntlm_over_http_sealed() {
    let stand_in = stand_in_or_return!(&[]);
    promises(&stand_in, stand_in.config()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn basic_over_http() {
    let stand_in = stand_in_or_return!(&["--allow-unencrypted", "--schemes", "Basic"]);
    promises(&stand_in, WinRmConfig { login: LoginMethod::Basic, ..stand_in.config() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ntlm_over_https() {
    let certificate = Certificate::make();
    let stand_in = stand_in_or_return!(&["--certificate", certificate.both.to_str().unwrap(), "--schemes", "NTLM"]);
    promises(&stand_in, WinRmConfig { tls: certificate.trust(), ..stand_in.config() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn basic_over_https_whoever_it_is() {
    let certificate = Certificate::make();
    let stand_in =
        stand_in_or_return!(&["--certificate", certificate.both.to_str().unwrap(), "--max-envelope-kb", "150"]);
    let config = WinRmConfig { tls: Some(TlsTrust::Anybody), login: LoginMethod::Basic, ..stand_in.config() };
    promises(&stand_in, config).await;
}

#[test]
fn others_find_the_stand_in_to_be_a_winrm_and_our_scripts_to_be_powershell() {
    let Some(python) = python() else {
        return crate::servers::skip("the Python of `./x test`, with pywinrm and pypsrp");
    };
    let certificate = Certificate::make();
    let judged = Command::new(python).arg(folder().join("judge.py")).arg(&certificate.both).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&judged.stdout), String::from_utf8_lossy(&judged.stderr));
    assert!(judged.status.success(), "{said}{errors}");
    assert_eq!(said.lines().count(), 14, "{said}");
}
