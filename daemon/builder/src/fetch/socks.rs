//! Passing through a SOCKS5 proxy. The protocol is hyper-util's.

use std::io;

use hyper::Uri;
use hyper_util::client::legacy::connect::proxy::SocksV5;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::ServiceExt as _;

use super::error::UrlError;
use super::proxy::Proxy;

/// Asks the proxy at the other end of `stream` to pass the connection on to `target`, as `host:port`; it looks the name up itself.
pub(super) async fn pass_through(stream: TcpStream, proxy: &Proxy, target: &str) -> Result<TcpStream, UrlError> {
    let failed = |reason: String| UrlError::Proxy { proxy: proxy.to_string(), reason };
    let unusable = |error: hyper::http::uri::InvalidUri| failed(format!("asked for {target}: {error}"));
    // The library wants to make the connection; it is given the one that is there.
    let mut stream = Some(TokioIo::new(stream));
    let ready = tower::service_fn(move |_: Uri| {
        std::future::ready(stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
    });
    let address = format!("socks5://{}:{}", proxy.host(), proxy.port).parse().map_err(unusable)?;
    let mut connector = SocksV5::new(address, ready);
    if let Some(login) = proxy.login() {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        connector = connector.with_auth(user.to_owned(), password.to_owned());
    }
    // Without an own port the library would take that of HTTPS.
    let target_uri: Uri = format!("http://{target}/").parse().map_err(unusable)?;
    let passed = connector.oneshot(target_uri).await.map_err(|error| failed(format!("asked for {target}: {error}")))?;
    Ok(passed.into_inner())
}
