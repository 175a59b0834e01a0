//! Moves bytes between a channel and a local stream.

use bytes::BytesMut;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Size of the pieces moved.
const RELAY_BUFFER: usize = 64 * 1024;

/// Moves bytes between a channel's halves and a stream until the channel or the stream ends.
pub(crate) async fn relay(
    read: &mut ChannelReadHalf,
    write: &ChannelWriteHalf<Msg>,
    stream: impl AsyncRead + AsyncWrite,
) {
    let (mut from_stream, mut to_stream) = tokio::io::split(stream);
    let outward = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(RELAY_BUFFER);
            match from_stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {
                    if write.data_bytes(buffer.split().freeze()).await.is_err() {
                        return;
                    }
                }
            }
        }
        let _ = write.eof().await;
        // The other direction may still have much to say; it ends both.
        std::future::pending::<()>().await;
    };
    let inward = async {
        while let Some(message) = read.wait().await {
            match message {
                ChannelMsg::Data { data } => to_stream.write_all(&data).await?,
                ChannelMsg::Eof => to_stream.shutdown().await?,
                ChannelMsg::Close => break,
                _ => {}
            }
        }
        std::io::Result::Ok(())
    };
    tokio::select! {
        () = outward => {}
        // A stream that takes no more bytes ends the relay as the channel's end does.
        _ = inward => {}
    }
}
