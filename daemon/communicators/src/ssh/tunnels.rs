//! Ports of this machine that lead into the guest.

use std::net::Ipv4Addr;
use std::sync::Weak;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::ssh::config::Tunnel;
use crate::ssh::error::{ConnectFailure, Stage};
use crate::ssh::link::Link;
use crate::ssh::progress::AttemptFailure;
use crate::ssh::relay::relay;

/// How long the guest may take to reach a tunnel's target.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// Connections through one tunnel at the same time.
const MAX_CONNECTIONS: usize = 256;

/// Listens for one tunnel for as long as the handle lives.
pub(crate) async fn listen(tunnel: Tunnel, link: Weak<Link>) -> Result<AbortOnDropHandle<()>, AttemptFailure> {
    let port = tunnel.listen_port;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| {
        let failure = ConnectFailure::Tunnel { port, reason: error.to_string() };
        AttemptFailure::final_at(Stage::Session, failure)
    })?;
    Ok(AbortOnDropHandle::new(tokio::spawn(serve(listener, tunnel, link))))
}

/// Takes connections. Those under way end with this future, for the set aborts its tasks when dropped.
async fn serve(listener: TcpListener, tunnel: Tunnel, link: Weak<Link>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                let Ok((stream, _)) = accepted else {
                    // Out of file descriptors: accept would fail again at once.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                connections.spawn(forward(stream, tunnel.clone(), link.clone()));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn forward(stream: TcpStream, tunnel: Tunnel, link: Weak<Link>) {
    let Some(connection) = link.upgrade().and_then(|link| link.live_connection()) else { return };
    let opening = connection.open_direct(&tunnel.target_host, tunnel.target_port);
    match timeout(OPEN_TIMEOUT, opening).await {
        Ok(Ok(channel)) => {
            // Only the channel keeps on; the connection must be able to end.
            drop(connection);
            let (mut read, write) = channel.split();
            relay(&mut read, &write, stream).await;
            let _ = write.close().await;
        }
        Ok(Err(error)) => tracing::warn!(port = tunnel.listen_port, %error, "the guest does not open the tunnel"),
        Err(_) => tracing::warn!(port = tunnel.listen_port, "the guest does not answer to the tunnel"),
    }
}
