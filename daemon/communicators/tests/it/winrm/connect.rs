//! How connecting fails, and what is told of it.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln_communicators::winrm::{HttpProxy, LoginMethod, TlsTrust, WinRmConfig, connect};
use kiln_communicators::{ConnectError, ConnectEvent, ConnectStage};

use super::launcher::{PASSWORD, PATIENCE, StandIn};
use super::stand_in::{Certificate, Heard};
use super::stand_in_or_return;
use crate::servers::free_port;

/// Where [`refused`] begins.
const SHORT: Option<Duration> = Some(Duration::from_secs(1));

/// Fails to connect. With a limit of time it is one that lets an attempt come to its end on this machine, and is found by trying.
async fn refused(config: &WinRmConfig) -> (ConnectError, Vec<ConnectEvent>) {
    refused_until(config, |error| said(error) != "time was up while waiting").await
}

/// The same, and the limit is one by which enough has happened.
async fn refused_until(
    config: &WinRmConfig,
    is_enough: impl Fn(&ConnectError) -> bool,
) -> (ConnectError, Vec<ConnectEvent>) {
    let mut config = config.clone();
    loop {
        let (error, events) = refused_once(&config).await;
        match config.timeout {
            Some(limit) if limit < PATIENCE && !is_enough(&error) => config.timeout = Some(limit * 3),
            _ => return (error, events),
        }
    }
}

/// Fails to connect, and shows nobody the password in any form.
async fn refused_once(config: &WinRmConfig) -> (ConnectError, Vec<ConnectEvent>) {
    let heard = Arc::new(Heard::default());
    let Err(error) = connect(config, heard.clone()).await else { panic!("it lets us in") };
    let told = format!("{error} {error:?} {:?} {:?} {config:?}", error.source(), heard.all());
    let password = config.password.expose();
    for secret in [password.to_owned(), STANDARD.encode(password), STANDARD.encode(format!("packer:{password}"))] {
        assert!(!told.contains(secret.trim_end_matches('=')), "{told}");
    }
    (error, heard.all())
}

fn said(error: &ConnectError) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

#[tokio::test]
async fn a_wrong_password_is_told_and_tried_again() {
    let stand_in = stand_in_or_return!(&["--allow-unencrypted"]);
    for (login, tried) in [(LoginMethod::Ntlm, "NTLM"), (LoginMethod::Basic, "Basic")] {
        let config = WinRmConfig { login, password: "wrong-wrong".into(), timeout: SHORT, ..stand_in.config() };
        let (error, events) = refused(&config).await;
        assert_eq!(error.kind, ConnectStage::Login);
        assert!(error.to_string().contains(&format!("tried: {tried}")), "{error}");
        assert!(error.hint.as_deref().unwrap().contains("winrm_password"), "{error:?}");
        let rejected = events.iter().filter(|event| matches!(event, ConnectEvent::Rejected { .. })).count();
        assert!(rejected >= 1 && error.attempts >= 1, "{events:?}");
    }
}

#[tokio::test]
async fn a_guest_that_takes_no_basic_says_what_it_takes() {
    let stand_in = stand_in_or_return!(&[]);
    let config = WinRmConfig { login: LoginMethod::Basic, timeout: SHORT, ..stand_in.config() };
    let (error, _) = refused(&config).await;
    assert!(error.to_string().ends_with("(tried: Basic; the guest offers: Negotiate)"), "{error}");
    assert!(error.hint.as_deref().unwrap().contains("winrm_use_ntlm = true"), "{error:?}");
}

#[tokio::test]
async fn certificates_are_checked_unless_told_otherwise() {
    let (certificate, other) = (Certificate::make(), Certificate::make());
    let stand_in = stand_in_or_return!(&["--certificate", certificate.both.to_str().unwrap()]);
    // At once, though there would be a minute.
    let (error, _) = refused(&WinRmConfig { tls: other.trust(), ..stand_in.config() }).await;
    assert_eq!((error.kind, error.attempts), (ConnectStage::Handshake, 1));
    assert!(error.hint.as_deref().unwrap().contains("winrm_insecure"), "{error:?}");
    // Its certificate is for the address, not for the name.
    let config = WinRmConfig { host: "localhost".to_owned(), tls: certificate.trust(), ..stand_in.config() };
    assert_eq!(refused(&config).await.0.kind, ConnectStage::Handshake);
    let (error, _) = refused(&WinRmConfig { timeout: SHORT, ..stand_in.config() }).await;
    assert!(error.kind >= ConnectStage::ClosedAtOnce, "HTTP to a port that speaks TLS: {error}");
    let missing = TlsTrust::Authorities("/nowhere.pem".into());
    let (error, _) = refused(&WinRmConfig { tls: Some(missing), ..stand_in.config() }).await;
    assert_eq!((error.kind, error.attempts), (ConnectStage::Configuration, 0));
    assert!(said(&error).contains("/nowhere.pem"), "{error:?}");
}

#[tokio::test]
async fn a_port_that_speaks_no_tls_is_told() {
    let stand_in = stand_in_or_return!(&[]);
    let (error, _) = refused(&WinRmConfig { tls: Some(TlsTrust::Anybody), timeout: SHORT, ..stand_in.config() }).await;
    assert_eq!(error.kind, ConnectStage::Handshake, "{error}");
    assert!(error.hint.as_deref().unwrap().contains("winrm_use_ssl"), "{error:?}");
}

#[tokio::test]
async fn a_closed_port_and_a_missing_name_are_told() {
    let mut config = WinRmConfig::new("127.0.0.1", "packer", PASSWORD.into());
    (config.port, config.timeout) = (free_port(), SHORT);
    let (error, _) = refused_until(&config, |error| error.attempts > 1).await;
    assert!(error.kind == ConnectStage::Refused && error.attempts > 1, "{error}");
    config.host = "nowhere.invalid".to_owned();
    let (error, _) = refused(&config).await;
    assert_eq!((error.kind, error.hint.as_deref()), (ConnectStage::Resolving, Some("check winrm_host")));
    config.proxy =
        Some(HttpProxy { host: "127.0.0.1".to_owned(), port: free_port(), login: Some("me:secret-secret".into()) });
    let (error, _) = refused(&config).await;
    assert_eq!(error.kind, ConnectStage::Route);
    config.username = "a:b".to_owned();
    assert_eq!(refused(&config).await.0.kind, ConnectStage::Configuration);
}

/// Something else answers, or a WinRM that does what it must not.
#[tokio::test]
async fn whoever_breaks_the_rules_is_not_believed() {
    for (wrong, kind, word) in [
        ("status-404", ConnectStage::OtherService, "Not Found"),
        ("page", ConnectStage::OtherService, "not sealed"),
        ("unsealed", ConnectStage::OtherService, "not sealed"),
        ("forged-fault", ConnectStage::OtherService, "Internal Server Error"),
        ("entities", ConnectStage::OtherService, "document type"),
        ("huge", ConnectStage::OtherService, "larger than"),
        ("drop", ConnectStage::ClosedAtOnce, "HTTP failed"),
    ] {
        let stand_in = stand_in_or_return!(&["--misbehave", wrong]);
        let (error, _) = refused(&WinRmConfig { timeout: SHORT, ..stand_in.config() }).await;
        assert_eq!(error.kind, kind, "{wrong}: {error}: {}", said(&error));
        assert!(said(&error).contains(word), "{wrong}: {}", said(&error));
    }
}

#[tokio::test]
async fn a_guest_that_says_nothing_does_not_hold_us() {
    let stand_in = stand_in_or_return!(&["--misbehave", "silent"]);
    let silent = WinRmConfig { timeout: SHORT, ..stand_in.config() };
    let (error, _) = refused_until(&silent, |error| error.attempts > 0).await;
    assert_eq!(error.attempts, 1, "{error}");
}

#[tokio::test]
async fn a_proxy_passes_the_connection_on() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let stand_in = stand_in_or_return!(&[]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, target) = (listener.local_addr().unwrap().port(), stand_in.port);
    let proxy = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    client.read_buf(&mut head).await.unwrap();
                }
                let head = String::from_utf8(head).unwrap();
                let wanted = head.starts_with(&format!("CONNECT guest.invalid:{target} "))
                    && head
                        .contains(&format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode("me:secret-secret")));
                if !wanted {
                    // The page is not whole, and the connection stays open.
                    let no = b"HTTP/1.1 407 no\r\nContent-Length: 100\r\n\r\n<h1>no</h1>";
                    client.write_all(no).await.unwrap();
                    let _ = client.read(&mut [0]).await;
                    return;
                }
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let mut guest = tokio::net::TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut guest).await;
            });
        }
    });
    let login = |text: &str| Some(HttpProxy { host: "127.0.0.1".to_owned(), port, login: Some(text.into()) });
    // The name is the proxy's affair.
    let mut config =
        WinRmConfig { host: "guest.invalid".to_owned(), proxy: login("me:secret-secret"), ..stand_in.config() };
    connect(&config, Arc::new(Heard::default())).await.unwrap();
    (config.proxy, config.timeout) = (login("me:other"), SHORT);
    let (error, _) = refused(&config).await;
    assert_eq!(error.kind, ConnectStage::Route);
    assert!(said(&error).contains("407"), "{error:?}");
    proxy.abort();
}

#[tokio::test]
async fn a_user_is_let_in_when_the_guest_is_ready() {
    // A neighbour may take the port while nobody listens there; then with another one.
    for _ in 0..10 {
        let port = free_port();
        let heard = Arc::new(Heard::default());
        let mut config = WinRmConfig::new("127.0.0.1", "packer", PASSWORD.into());
        (config.port, config.login, config.timeout) = (port, LoginMethod::Ntlm, Some(PATIENCE));
        let observer = heard.clone();
        let mut waiting = tokio::spawn(async move { connect(&config, observer).await.map(drop) });
        let closed = |event: &ConnectEvent| matches!(event, ConnectEvent::Stage { stage: ConnectStage::Refused, .. });
        while heard.all().is_empty() && !waiting.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let is_free = heard.all().first().is_some_and(closed);
        let stand_in = match StandIn::try_start(&["--port", &port.to_string()]) {
            Some(Ok(stand_in)) if is_free => stand_in,
            Some(_) => {
                waiting.abort();
                continue;
            }
            None => {
                waiting.abort();
                return crate::servers::skip("the Python of `./x test`, with pyspnego");
            }
        };
        let connected = tokio::time::timeout(PATIENCE * 2, &mut waiting).await.unwrap().unwrap();
        if let Err(error) = connected {
            panic!("{error}: {:?}\n{}", error.source, stand_in.said());
        }
        assert!(matches!(heard.all().last(), Some(ConnectEvent::Connected { .. })), "{:?}", heard.all());
        return;
    }
    panic!("ten ports were taken by others");
}
