//! How fast files go. No bound on time, which says nothing on a machine with neighbours: the numbers are shown.

use std::time::Instant;

use kiln_communicators::winrm::{LoginMethod, TlsTrust, WinRmConfig, connect};
use kiln_communicators::{Communicator as _, NoProgress, SilentObserver};

use super::launcher::StandIn;
use super::stand_in::Certificate;
use super::stand_in_or_return;

const SIZE: usize = 8 << 20;

async fn measure(what: &str, stand_in: &StandIn, config: &WinRmConfig) {
    let guest = connect(config, std::sync::Arc::new(SilentObserver)).await.unwrap();
    let local = tempfile::tempdir().unwrap();
    let (here, back) = (local.path().join("here"), local.path().join("back"));
    let content: Vec<u8> = (0..SIZE).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(&here, &content).unwrap();
    let begun = Instant::now();
    guest.upload_file(&here, "c:/large.bin", None, &NoProgress).await.unwrap();
    let up = begun.elapsed();
    let begun = Instant::now();
    guest.download_file("c:/large.bin", &back, &NoProgress).await.unwrap();
    let down = begun.elapsed();
    assert!(std::fs::read(stand_in.root.path().join("c:/large.bin")).unwrap() == content);
    assert!(std::fs::read(back).unwrap() == content);
    let rate = |time: std::time::Duration| SIZE as f64 / 1e6 / time.as_secs_f64();
    eprintln!("{what}: {:.1} MB/s up, {:.1} MB/s down", rate(up), rate(down));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_go_through_one_process() {
    let stand_in = stand_in_or_return!(&["--allow-unencrypted"]);
    measure("Basic over HTTP", &stand_in, &WinRmConfig { login: LoginMethod::Basic, ..stand_in.config() }).await;
    measure("NTLM over HTTP, sealed", &stand_in, &stand_in.config()).await;
    let processes = stand_in.said().matches("command powershell").count();
    assert_eq!(processes, 6, "for each of two connections one that shows that commands run, one up and one down");
    let certificate = Certificate::make();
    let stand_in = stand_in_or_return!(&["--certificate", certificate.both.to_str().unwrap()]);
    measure("NTLM over HTTPS", &stand_in, &WinRmConfig { tls: Some(TlsTrust::Anybody), ..stand_in.config() }).await;
}
