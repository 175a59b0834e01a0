//! HTTPS, against the server of the openssl program, through a proxy of ours.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::*;

/// An HTTPS server with a certificate of its own authority, made by the openssl program.
struct SecureServer {
    child: Child,
    port: u16,
    roots: RootCertStore,
}

impl Drop for SecureServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn secure_server(directory: &Path) -> SecureServer {
    let status = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args([
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
            "-subj",
            "/CN=test",
            "-addext",
            "subjectAltName=DNS:files.test",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .current_dir(directory)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::write(directory.join("x.iso"), content()).unwrap();
    let (child, port) = tokio::time::timeout(Duration::from_secs(60), openssl(directory)).await.unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(directory.join("cert.pem")).unwrap()).unwrap();
    SecureServer { child, port, roots }
}

/// An `openssl s_server` that listens. It cannot choose its port: one that a neighbour has taken by then ends it, and the next is tried.
async fn openssl(directory: &Path) -> (Child, u16) {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let mut child = Command::new("openssl")
            .args(["s_server", "-quiet", "-WWW", "-key", "key.pem", "-cert", "cert.pem", "-accept"])
            .arg(port.to_string())
            .current_dir(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The program does not say when it listens.
        while child.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return (child, port);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Passes CONNECT on to one port, whatever the name; refuses a name it does not know.
async fn connect_proxy(port: u16) -> (SocketAddr, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    client.read_buf(&mut head).await.unwrap();
                }
                if !head.starts_with(b"CONNECT files.test:443 HTTP/1.1\r\n") {
                    client.write_all(b"HTTP/1.1 403 No\r\n\r\n").await.unwrap();
                    return;
                }
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, AbortOnDropHandle::new(task))
}

fn trusting(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[tokio::test]
async fn https_goes_through_a_connect_proxy_and_is_verified() {
    if Command::new("openssl").arg("version").output().is_err() {
        assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "openssl is required but missing");
        eprintln!("ignored: needs openssl");
        return;
    }
    let place = Place::new();
    let server = secure_server(place.directory.path()).await;
    let (proxy, _proxy) = connect_proxy(server.port).await;
    let settings = ProxySettings::from_lookup(move |name| (name == "https_proxy").then(|| proxy.to_string()));
    let request = place.request(&["https://files.test/x.iso".to_owned()], sha256(&content()));

    let unknown = Transport::for_tests(settings.clone(), patience(), Some(trusting(RootCertStore::empty())));
    let error = place.fetch_through(&unknown, &request).await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");

    let transport = Transport::for_tests(settings, patience(), Some(trusting(server.roots.clone())));
    let fetched = place.fetch_through(&transport, &request).await.unwrap();
    assert_eq!(std::fs::read(fetched.path).unwrap(), content());

    let other = place.request(&["https://other.test/x.iso".to_owned()], Checksum::None);
    let error = place.fetch_through(&transport, &other).await.unwrap_err();
    assert!(error.to_string().contains("asked for other.test:443 it answered \"HTTP/1.1 403 No\""), "{error}");
}
