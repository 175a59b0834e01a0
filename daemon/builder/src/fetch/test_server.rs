//! A web server for tests that misbehaves as told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// What to send for a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Reply {
    /// Status line without version, and headers, separated by newlines.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    /// Cuts the connection after so many bytes of the body.
    pub(super) cut_after: Option<usize>,
    /// Sends nothing more after the body, but keeps the connection.
    pub(super) stalls: bool,
}

/// One request as the server saw it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Method and target.
    pub(super) line: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

pub(super) struct TestServer {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _task: AbortOnDropHandle<()>,
}

impl Reply {
    pub(super) fn new(head: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { head: head.to_owned(), body: body.into(), ..Self::default() }
    }

    /// Serves a file as good servers do: with length, ETag and ranges.
    pub(super) fn file(request: &Seen, content: &[u8], tag: &str) -> Self {
        let length = content.len();
        let common = format!("ETag: {tag}\nAccept-Ranges: bytes");
        let start = request
            .header("range")
            .filter(|_| request.header("if-range").is_none_or(|wanted| wanted == tag))
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        match start {
            None => Self::new(&format!("200 OK\nContent-Length: {length}\n{common}"), content),
            Some(start) if start >= length => {
                Self::new(&format!("416 No\nContent-Length: 0\nContent-Range: bytes */{length}"), "")
            }
            Some(start) => Self::new(
                &format!(
                    "206 Part\nContent-Length: {}\nContent-Range: bytes {start}-{}/{length}\n{common}",
                    length - start,
                    length - 1
                ),
                &content[start..],
            ),
        }
    }

    pub(super) fn cut_after(mut self, bytes: usize) -> Self {
        self.cut_after = Some(bytes);
        self
    }
}

impl TestServer {
    /// Starts a server; the handler gets the number of the request, from zero, and the request.
    pub(super) async fn start(handler: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let handler = Arc::new(handler);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (log, handler) = (Arc::clone(&log), Arc::clone(&handler));
                connections.spawn(async move {
                    let _ = serve(stream, &log, handler.as_ref()).await;
                });
            }
        });
        Self { address, seen, _task: AbortOnDropHandle::new(task) }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Seen>>,
    handler: &(dyn Fn(usize, &Seen) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.lines();
    let line = lines.next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let request = Seen { line, headers };
    let number = {
        let mut log = log.lock().unwrap();
        log.push(request.clone());
        log.len() - 1
    };
    let reply = handler(number, &request);
    let head = format!("HTTP/1.1 {}\r\nConnection: close\r\n\r\n", reply.head.replace('\n', "\r\n"));
    stream.write_all(head.as_bytes()).await?;
    if !request.line.starts_with("HEAD ") {
        let end = reply.cut_after.unwrap_or(reply.body.len()).min(reply.body.len());
        stream.write_all(&reply.body[..end]).await?;
    }
    stream.flush().await?;
    if reply.stalls {
        std::future::pending::<()>().await;
    }
    Ok(())
}
