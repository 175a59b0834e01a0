//! The input of a command, in pieces that it takes away.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::sleep;

use super::failure::Failure;
use super::guest_file::GuestFile;
use super::session::Session;

/// The size of a piece.
const PIECE: usize = 64 << 10;

/// Pieces that may lie there.
const AHEAD: u64 = 3;

/// Pause between two looks at whether a piece was taken.
const PAUSE: Duration = Duration::from_millis(20);

/// What became of a command's input.
pub(super) enum Fed {
    /// It is there to be read, with its end.
    All,
    /// Nobody takes it: what there was of the command in the guest has gone.
    Gone,
}

/// Passes on `input` to the command in `directory`, until it ends.
///
/// # Errors
///
/// It cannot be kept in the guest, where the command would wait for it: no space is left.
pub(super) async fn feed(
    session: &Arc<Session>,
    directory: &str,
    input: &mut (impl AsyncRead + Unpin),
) -> Result<Fed, Failure> {
    let mut piece = vec![0; PIECE];
    let process = format!("{directory}/p");
    // Its directory comes to be when the guest's shell has got that far.
    while !is_there(session, &process).await? {
        sleep(PAUSE).await;
    }
    for number in 0.. {
        // What can be read no more has ended.
        let length = input.read(&mut piece).await.unwrap_or(0);
        while let Some(before) = u64::checked_sub(number, AHEAD)
            && is_there(session, &format!("{directory}/i{before}.k")).await?
        {
            sleep(PAUSE).await;
        }
        for (name, content) in [(format!("i{number}"), &piece[..length]), (format!("i{number}.k"), &b"whole"[..])] {
            match put(session, &format!("{directory}/{name}"), content).await {
                Err(Failure::Refused(_)) if !is_there(session, &process).await? => return Ok(Fed::Gone),
                Err(Failure::Refused(words)) => {
                    return Err(Failure::Refused(format!("its input cannot be kept in {directory}: {words}")));
                }
                done => done?,
            }
        }
        if length == 0 {
            break;
        }
    }
    Ok(Fed::All)
}

async fn is_there(session: &Arc<Session>, path: &str) -> Result<bool, Failure> {
    match GuestFile::open(session, path, "r").await {
        Ok(file) => file.close().await.map(|()| true),
        Err(Failure::Refused(_)) => Ok(false),
        Err(failure) => Err(failure),
    }
}

async fn put(session: &Arc<Session>, path: &str, content: &[u8]) -> Result<(), Failure> {
    let file = GuestFile::open(session, path, "w").await?;
    file.write(content).await?;
    file.finish().await
}
