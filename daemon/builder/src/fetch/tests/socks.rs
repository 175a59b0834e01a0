//! SOCKS5 proxies, of which one is written here.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::*;

/// Passes connections for `mirror.invalid:80` on to `server`, for whoever logs in as `u` with `p%ss`; says what it was asked for.
async fn socks_proxy(server: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let log = Arc::clone(&asked);
    let task = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            // A client that goes away is none of the proxy's business.
            let log = Arc::clone(&log);
            tokio::spawn(async move { serve(client, server, &log).await });
        }
    });
    (address, asked, AbortOnDropHandle::new(task))
}

async fn text(client: &mut TcpStream) -> std::io::Result<String> {
    let mut text = vec![0; usize::from(client.read_u8().await?)];
    client.read_exact(&mut text).await?;
    Ok(String::from_utf8(text).unwrap())
}

async fn serve(mut client: TcpStream, server: SocketAddr, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    assert_eq!(client.read_u8().await?, 5, "SOCKS5");
    let methods = text(&mut client).await?;
    if !methods.contains('\u{2}') {
        return client.write_all(&[5, 0xff]).await;
    }
    client.write_all(&[5, 2]).await?;
    assert_eq!(client.read_u8().await?, 1);
    let login = (text(&mut client).await?, text(&mut client).await?);
    let welcome = login == ("u".to_owned(), "p%ss".to_owned());
    client.write_all(&[1, u8::from(!welcome)]).await?;
    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    assert_eq!(head, [5, 1, 0, 3], "a name, which the proxy looks up");
    let (name, port) = (text(&mut client).await?, client.read_u16().await?);
    log.lock().unwrap().push(format!("{name}:{port}"));
    let known = (name.as_str(), port) == ("mirror.invalid", 80);
    client.write_all(&[5, if known { 0 } else { 4 }, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    if known {
        let mut server = TcpStream::connect(server).await?;
        tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    }
    Ok(())
}

fn through(proxy: String) -> Transport {
    through_with(proxy, patience())
}

fn through_with(proxy: String, patience: Patience) -> Transport {
    let settings = ProxySettings::from_lookup(move |name| (name == "HTTP_PROXY").then(|| proxy.clone()));
    Transport::for_tests(settings, patience, None)
}

#[tokio::test]
async fn plain_http_goes_through_a_socks_proxy() {
    let server = TestServer::start(|_, request| Reply::file(request, b"through the proxy", TAG)).await;
    let (proxy, asked, _task) = socks_proxy(server.address).await;
    let place = Place::new();
    let request = place.request(&["http://mirror.invalid/x.iso".to_owned()], Checksum::None);
    let transport = through(format!("socks5://u:p%25ss@{proxy}"));
    let fetched = place.fetch_through(&transport, &request).await.unwrap();
    assert_eq!(std::fs::read(fetched.path).unwrap(), b"through the proxy");
    let seen = &server.seen()[0];
    assert_eq!((seen.line.as_str(), seen.header("proxy-authorization")), ("GET /x.iso", None));
    assert_eq!(*asked.lock().unwrap(), ["mirror.invalid:80"]);
}

#[tokio::test]
async fn a_socks_proxy_that_refuses_is_named_without_its_password() {
    let server = TestServer::start(|_, request| Reply::file(request, b"never", TAG)).await;
    let (proxy, _asked, _task) = socks_proxy(server.address).await;
    let place = Place::new();
    for (login, url, reason) in [
        ("u:wrong-secret@", "http://mirror.invalid/x.iso", "credentials not accepted"),
        ("", "http://mirror.invalid/x.iso", "authentication"),
        ("u:p%25ss@", "http://other.invalid/x.iso", "unreachable"),
    ] {
        let request = place.request(&[url.to_owned()], Checksum::None);
        let transport = through(format!("socks5h://{login}{proxy}"));
        let error = place.fetch_through(&transport, &request).await.unwrap_err();
        let told = format!("{error} {error:?} {:?}", place.said());
        assert!(told.contains(&format!("the proxy `socks5://{proxy}` cannot be used: asked for ")), "{told}");
        assert!(told.to_lowercase().contains(reason), "{reason}: {told}");
        assert!(!told.contains("secret") && !told.contains("p%ss"), "{told}");
    }
    assert!(server.seen().is_empty(), "nobody goes around a proxy that refuses");
}

#[tokio::test]
async fn a_socks_proxy_that_says_nothing_is_not_waited_for() {
    // The kernel takes connections; nobody reads them.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let place = Place::new();
    let request = place.request(&["http://mirror.invalid/x.iso".to_owned()], Checksum::None);
    let limit = Duration::from_millis(500);
    let patience = Patience { connect: limit, stall: limit, tries: 2, ..patience() };
    let transport = through_with(format!("socks5://u:a-secret@{proxy}"), patience);
    let fetching = tokio::time::timeout(Duration::from_secs(60), place.fetch_through(&transport, &request));
    let error = fetching.await.expect("it is given up").unwrap_err();
    let told = format!("{error} {error:?} {:?}", place.said());
    assert!(told.contains(&format!("socks5://{proxy}")) && !told.contains("secret"), "{told}");
}
