//! The server asked over real sockets.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Collects what the server reports.
#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<RequestLog>>>);

impl Logs {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(ToString::to_string).collect()
    }
}

fn config(logs: &Logs) -> HttpServerConfig {
    let logs = logs.clone();
    HttpServerConfig {
        directory: None,
        content: BTreeMap::new(),
        bind: "127.0.0.1".to_owned(),
        family: AddressFamily::Any,
        port_min: 20_000,
        port_max: 32_000,
        on_request: Arc::new(move |log| logs.0.lock().unwrap().push(log)),
    }
}

fn site() -> tempfile::TempDir {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("http");
    std::fs::create_dir_all(root.join("sub/with index")).unwrap();
    std::fs::write(root.join("ks.cfg"), "0123456789").unwrap();
    std::fs::write(root.join("sub/a&b <c>.txt"), "x").unwrap();
    std::fs::write(root.join("sub/data"), [0, 159, 146]).unwrap();
    std::fs::write(root.join("sub/with index/index.html"), "<p>index</p>").unwrap();
    std::fs::write(outer.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink("../secret", root.join("out")).unwrap();
    std::os::unix::fs::symlink("ks.cfg", root.join("inside")).unwrap();
    std::os::unix::fs::symlink("..", root.join("up")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", root.join("fifo")).unwrap();
    outer
}

async fn serve_site(logs: &Logs) -> (tempfile::TempDir, HttpServer) {
    let outer = site();
    let server = HttpServer::start(HttpServerConfig { directory: Some(outer.path().join("http")), ..config(logs) });
    (outer, server.await.unwrap())
}

/// Sends a request and returns the answer: head in lower-case lines, and body.
async fn ask(server: &HttpServer, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let text = format!("{request}\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

async fn get(server: &HttpServer, path: &str) -> (String, String) {
    ask(server, &format!("GET {path} HTTP/1.1")).await
}

#[tokio::test]
async fn serves_files_and_parts_of_them() {
    let logs = Logs::default();
    let (_outer, server) = serve_site(&logs).await;
    let (head, body) = get(&server, "/ks.cfg").await;
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("content-length: 10"), "{head}");
    assert!(head.contains("content-type: text/plain") && head.contains("accept-ranges: bytes"), "{head}");
    assert_eq!(body, "0123456789");
    let date = head.lines().find_map(|line| line.strip_prefix("last-modified: ")).unwrap().to_owned();
    assert!(date.ends_with(" GMT") && date.len() == 29, "{date}");

    let (head, body) = ask(&server, "HEAD /ks.cfg HTTP/1.1").await;
    assert!(head.contains("content-length: 10"), "{head}");
    assert_eq!(body, "");
    let (head, body) = ask(&server, "GET /ks.cfg HTTP/1.1\r\nrange: bytes=2-4").await;
    assert!(head.starts_with("HTTP/1.1 206") && head.contains("content-range: bytes 2-4/10"), "{head}");
    assert_eq!(body, "234");
    let (head, _) = ask(&server, "GET /ks.cfg HTTP/1.1\r\nrange: bytes=10-").await;
    assert!(head.starts_with("HTTP/1.1 416") && head.contains("content-range: bytes */10"), "{head}");
    let (_, body) = ask(&server, &format!("GET /ks.cfg HTTP/1.1\r\nrange: bytes=8-\r\nif-range: {date}")).await;
    assert_eq!(body, "89");
    let (_, body) = ask(&server, "GET /ks.cfg HTTP/1.1\r\nrange: bytes=8-\r\nif-range: \"old\"").await;
    assert_eq!(body, "0123456789");
    let (head, _) = ask(&server, &format!("GET /ks.cfg HTTP/1.1\r\nif-modified-since: {date}")).await;
    assert!(head.starts_with("HTTP/1.1 304"), "{head}");
    let (head, _) = ask(&server, "POST /ks.cfg HTTP/1.1\r\ncontent-length: 0").await;
    assert!(head.starts_with("HTTP/1.1 405") && head.contains("allow: GET, HEAD"), "{head}");
    server.stop().await;
    assert_eq!(logs.lines()[..3], ["/ks.cfg (10 bytes)", "HEAD /ks.cfg (0 bytes)", "/ks.cfg (3 bytes)"]);
}

#[tokio::test]
async fn lists_directories() {
    let (_outer, server) = serve_site(&Logs::default()).await;
    let (head, _) = get(&server, "/sub").await;
    assert!(head.starts_with("HTTP/1.1 301") && head.contains("location: ./sub/"), "{head}");
    let (head, body) = get(&server, "/sub/").await;
    assert!(head.contains("text/html"), "{head}");
    assert!(body.contains("<a href=\"./a%26b%20%3Cc%3E.txt\">a&amp;b &lt;c&gt;.txt</a>"), "{body}");
    assert!(body.contains("./with%20index/"), "{body}");
    assert_eq!(get(&server, "/sub/a%26b%20%3Cc%3E.txt").await.1, "x");
    assert_eq!(get(&server, "/sub/with%20index/").await.1, "<p>index</p>");
    assert!(get(&server, "/sub/data").await.0.contains("application/octet-stream"));
    assert!(get(&server, "/").await.1.contains("ks.cfg"));
}

#[tokio::test]
async fn nothing_outside_is_served() {
    let logs = Logs::default();
    let (_outer, server) = serve_site(&logs).await;
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/sub/../../secret",
        "/up/../../secret",
        "/up/%2e%2e/%2e%2e/etc/passwd",
        "/fifo",
        "/%2fetc/passwd",
        "//etc/passwd",
        "/ks.cfg/",
        "/%00",
        "/nothing",
    ] {
        let (head, body) = get(&server, path).await;
        assert!(head.starts_with("HTTP/1.1 404") || head.starts_with("HTTP/1.1 400"), "{path}: {head}");
        assert!(!body.contains("secret\n") && !body.starts_with("secret"), "{path}: {body}");
    }
    assert_eq!(get(&server, "/inside").await.1, "0123456789");
    // Links are the owner's choice, wherever they lead.
    assert_eq!(get(&server, "/out").await.1, "secret");
    assert_eq!(get(&server, "/up/secret").await.1, "secret");
    assert!(get(&server, "/up/").await.1.contains("./secret"));
    let (_, body) = get(&server, "/kss.cfg").await;
    assert_eq!(body, "/kss.cfg not found. Did you mean \"/ks.cfg\"?\n");
    server.stop().await;
    let lines = logs.lines();
    assert!(lines.contains(&"/fifo: 404 Not Found, refused: it is not a regular file".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"/kss.cfg: 404 Not Found, there is /ks.cfg".to_owned()), "{lines:#?}");
}

#[tokio::test]
async fn serves_content_and_suggests() {
    let logs = Logs::default();
    let content = [("/user-data".to_owned(), "#cloud-config\n".to_owned()), ("/meta-data".to_owned(), String::new())];
    let server = HttpServer::start(HttpServerConfig { content: content.into(), ..config(&logs) }).await.unwrap();
    assert_eq!(get(&server, "/user-data?x=1").await.1, "#cloud-config\n");
    assert_eq!(ask(&server, "GET /user-data HTTP/1.0\r\nrange: bytes=1-5").await.1, "cloud");
    assert_eq!(get(&server, "/meta-data").await.1, "");
    let (head, body) = get(&server, "/userdata").await;
    assert!(head.starts_with("HTTP/1.1 404"));
    assert_eq!(body, "/userdata not found. Did you mean \"/user-data\"?\n");
    server.stop().await;
    assert!(logs.lines().contains(&"/user-data?x=1 (14 bytes)".to_owned()));
}

#[tokio::test]
async fn keeps_connections_for_several_requests() {
    let (_outer, server) = serve_site(&Logs::default()).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /ks.cfg HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"0123456789") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
    }
}

#[tokio::test]
async fn uses_every_port_of_the_range_and_then_says_so() {
    let logs = Logs::default();
    let first = HttpServer::start(config(&logs)).await.unwrap();
    let port = first.port();
    let narrow = HttpServerConfig { port_min: port, port_max: port, ..config(&logs) };
    let error = HttpServer::start(narrow.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no free port from {port} to {port} on 127.0.0.1"));
    assert!(error.hint().is_some());
    first.stop().await;
    let again = HttpServer::start(narrow).await.unwrap();
    assert_eq!(again.port(), port);
    for (bind, min, max) in [("nonsense", 1, 2), ("127.0.0.1", 2, 1), ("192.0.2.1", 20_000, 20_001)] {
        let config = HttpServerConfig { bind: bind.to_owned(), port_min: min, port_max: max, ..config(&logs) };
        assert!(HttpServer::start(config).await.is_err(), "{bind}");
    }
    let missing = HttpServerConfig { directory: Some("/nonexistent".into()), ..config(&logs) };
    assert!(matches!(HttpServer::start(missing).await, Err(HttpServerError::Directory { .. })));
}

#[tokio::test]
async fn nothing_runs_after_stop_or_drop() {
    for dropped in [false, true] {
        let logs = Logs::default();
        let outer = site();
        // Larger than all socket buffers, so that the answer is under way when the server ends.
        std::fs::File::create(outer.path().join("http/large")).unwrap().set_len(1 << 30).unwrap();
        let config = HttpServerConfig { directory: Some(outer.path().join("http")), ..config(&logs) };
        let server = HttpServer::start(config).await.unwrap();
        let address = server.address();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut buffer = [0; 1000];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        if dropped {
            drop(server);
        } else {
            server.stop().await;
        }
        // The connection is closed early: reading ends long before a gibibyte.
        let mut received = 0_u64;
        let mut sink = vec![0; 1 << 16];
        while let Ok(count) = stream.read(&mut sink).await
            && count > 0
        {
            received += count as u64;
        }
        assert!(received < 1 << 29, "{received}");
        assert!(TcpStream::connect(address).await.is_err());
        assert!(logs.lines()[0].contains("broken off"), "{:?}", logs.lines());
    }
}

#[tokio::test]
async fn idle_connections_make_room_for_the_guest() {
    let logs = Logs::default();
    let (_outer, server) = serve_site(&logs).await;
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS + 20 {
        idle.push(TcpStream::connect(server.address()).await.unwrap());
    }
    let asked = tokio::time::timeout(Duration::from_secs(30), get(&server, "/ks.cfg"));
    assert_eq!(asked.await.expect("the guest is served").1, "0123456789");
}

#[tokio::test]
async fn a_download_is_not_idle() {
    let outer = site();
    let length = 64 << 20;
    std::fs::File::create(outer.path().join("http/large")).unwrap().set_len(length).unwrap();
    let logs = Logs::default();
    let server = HttpServer::start(HttpServerConfig { directory: Some(outer.path().join("http")), ..config(&logs) });
    let server = server.await.unwrap();
    let mut download = TcpStream::connect(server.address()).await.unwrap();
    download.write_all(b"GET /large HTTP/1.0\r\n\r\n").await.unwrap();
    assert_ne!(download.read(&mut [0; 1000]).await.unwrap(), 0);
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        idle.push(TcpStream::connect(server.address()).await.unwrap());
    }
    assert_eq!(get(&server, "/ks.cfg").await.1, "0123456789");
    let rest = tokio::io::copy(&mut download, &mut tokio::io::sink()).await.unwrap();
    assert!(rest > length - 1000, "{rest}");
}
