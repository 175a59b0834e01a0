//! A connection to a VNC server: its greeting, the way in, and keys.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::auth::{CHALLENGE_BYTES, response};
use super::error::RfbError;

/// How long a server may take over its greeting, and over taking a key.
const LIMIT: Duration = Duration::from_secs(20);

/// Longest reason and desktop name that are read, in bytes.
const MAX_TEXT: usize = 4096;

/// Security types.
const NO_SECURITY: u8 = 1;
const VNC_PASSWORD: u8 = 2;

/// Message types of clients.
const KEY_EVENT: u8 = 4;

/// A connection that is let in.
#[derive(Debug)]
pub(crate) struct RfbClient {
    pub(super) stream: TcpStream,
    /// Size of the screen in pixels.
    pub(super) size: (u16, u16),
}

impl RfbClient {
    /// Connects, and shares the screen with whoever watches it already.
    pub(crate) async fn connect(address: SocketAddr, password: Option<&str>) -> Result<Self, RfbError> {
        let connecting = async {
            let stream = TcpStream::connect(address).await?;
            // A key is a message of its own, which is not to wait for the next.
            stream.set_nodelay(true)?;
            Self::greet(stream, password).await
        };
        within("greet", connecting).await
    }

    async fn greet(mut stream: TcpStream, password: Option<&str>) -> Result<Self, RfbError> {
        let mut version = [0; 12];
        stream.read_exact(&mut version).await?;
        let minor = match &version {
            b"RFB 003.003\n" => 3,
            b"RFB 003.007\n" => 7,
            other if other.starts_with(b"RFB 003.") => 8,
            other => {
                return Err(RfbError::Protocol(format!("it greets with {:?}", String::from_utf8_lossy(other))));
            }
        };
        stream.write_all(format!("RFB 003.00{minor}\n").as_bytes()).await?;
        let security = choose_security(&mut stream, minor, password.is_some()).await?;
        if security == VNC_PASSWORD {
            let mut challenge = [0; CHALLENGE_BYTES];
            stream.read_exact(&mut challenge).await?;
            stream.write_all(&response(challenge, password.unwrap_or_default())).await?;
        }
        // Without security only 3.8 says that all is well.
        if (security == VNC_PASSWORD || minor >= 8) && stream.read_u32().await? != 0 {
            let reason = if minor >= 8 { text(&mut stream).await? } else { "the password is wrong".to_owned() };
            return Err(RfbError::Refused(reason));
        }
        // Shared: people who watch are not thrown out.
        stream.write_u8(1).await?;
        let size = (stream.read_u16().await?, stream.read_u16().await?);
        let mut pixel_format = [0; 16];
        stream.read_exact(&mut pixel_format).await?;
        text(&mut stream).await?;
        Ok(Self { stream, size })
    }

    /// Presses or releases a key, by its X11 keysym.
    pub(crate) async fn key(&mut self, keysym: u32, down: bool) -> Result<(), RfbError> {
        let mut message = [KEY_EVENT, u8::from(down), 0, 0, 0, 0, 0, 0];
        message[4..].copy_from_slice(&keysym.to_be_bytes());
        within("take a key", async { Ok(self.stream.write_all(&message).await?) }).await
    }
}

async fn choose_security(stream: &mut TcpStream, minor: u8, has_password: bool) -> Result<u8, RfbError> {
    let offered = if minor == 3 {
        let chosen = stream.read_u32().await?;
        vec![u8::try_from(chosen).unwrap_or(0)]
    } else {
        let mut offered = vec![0; usize::from(stream.read_u8().await?)];
        stream.read_exact(&mut offered).await?;
        offered
    };
    if offered.is_empty() || offered == [0] {
        return Err(RfbError::Refused(text(stream).await?));
    }
    // Whoever asks for no password where one was set is another server.
    let wanted = [(VNC_PASSWORD, has_password), (NO_SECURITY, !has_password)];
    let chosen = wanted.into_iter().find(|(kind, usable)| *usable && offered.contains(kind)).map(|(kind, _)| kind);
    let Some(chosen) = chosen else {
        let words = match (offered.contains(&VNC_PASSWORD), offered.contains(&NO_SECURITY)) {
            (true, _) => "it wants a password",
            (false, true) => "it asks for no password though one was set, so it is another machine's",
            (false, false) => "it has no way in that is known",
        };
        return Err(RfbError::Refused(words.to_owned()));
    };
    if minor != 3 {
        stream.write_u8(chosen).await?;
    }
    Ok(chosen)
}

/// Reads a length and that many bytes of text.
async fn text(stream: &mut TcpStream) -> Result<String, RfbError> {
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > MAX_TEXT {
        return Err(RfbError::Protocol(format!("a text of {length} bytes")));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits for the server no longer than is sensible.
pub(super) async fn within<T>(
    what: &'static str,
    work: impl Future<Output = Result<T, RfbError>>,
) -> Result<T, RfbError> {
    tokio::time::timeout(LIMIT, work).await.unwrap_or(Err(RfbError::Timeout { what, limit: LIMIT }))
}
