//! The control socket between daemon and worker: one request a connection, a line of JSON each way, then perhaps a picture.
//!
//! ```text
//! daemon: {"op":"screen","build":"qemu.web"}\n        worker: {"refused":null,"bytes":48213}\n<48213 bytes of PNG>
//! ```

use std::io;
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::caller::Caller;
use crate::job_dir::JobDir;
use crate::runner::JobControl;

/// Longest request or answer line, in bytes.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// Largest picture, in bytes: PNG of a 4K screen, unless that shows noise. A daemon for all users holds it in memory until it is sent.
const MAX_PICTURE_BYTES: u64 = 8 << 20;

/// Pictures on their way to one user.
pub(crate) const PICTURES_OF_EACH_USER: usize = 2;

/// Time in which a connected daemon must have sent its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Time in which the worker must have answered. A screen comes from the hypervisor, which may be busy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// What the daemon asks of a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ControlRequest {
    /// Stop and clean up.
    Cancel,
    /// Show the guest's screen.
    Screen {
        /// Whose guest; any when unset.
        build: Option<String>,
    },
    /// Answer a prompt.
    Answer {
        /// The prompt's name.
        prompt: String,
        /// The answer.
        answer: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct ControlAnswer {
    refused: Option<String>,
    bytes: u64,
}

/// Reports that a worker did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The worker cannot be reached, or breaks off.
    #[error("the worker does not answer on {path}")]
    Unreachable {
        /// Its control socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The worker refused.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// As many pictures as may be are on their way to who asks.
    #[error(
        "{PICTURES_OF_EACH_USER} pictures of guests are on their way to you, as many as each user may have at once"
    )]
    Busy,
}

/// Asks the worker of this job; returns the bytes that came with its answer.
///
/// # Errors
///
/// It cannot be reached, takes more than 20 s, or refuses.
pub async fn ask(directory: &JobDir, request: &ControlRequest) -> Result<Vec<u8>, ControlError> {
    let unreachable = |source| ControlError::Unreachable { path: directory.control_socket(), source };
    // As the owner of the job, who may have put a link to somebody else's socket there.
    let connected = directory.as_owner(|directory| connect(&directory.control_socket())).await;
    let stream = connected.and_then(UnixStream::from_std).map_err(unreachable)?;
    let exchange = timeout(ANSWER_TIMEOUT, exchange(stream, request)).await;
    let (answer, picture) = exchange
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")))
        .map_err(unreachable)?;
    match answer.refused {
        Some(reason) => Err(ControlError::Refused { reason }),
        None => Ok(picture),
    }
}

/// Connects without waiting: a listener that does not accept has no time to give.
fn connect(path: &Path) -> io::Result<net::UnixStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket.into())
}

async fn exchange(stream: UnixStream, request: &ControlRequest) -> io::Result<(ControlAnswer, Vec<u8>)> {
    let mut stream = BufReader::new(stream);
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let answer: ControlAnswer = serde_json::from_slice(&read_line(&mut stream).await?)?;
    if answer.bytes > MAX_PICTURE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the picture is too large"));
    }
    let mut picture = Vec::new();
    (&mut stream).take(answer.bytes).read_to_end(&mut picture).await?;
    if picture.len() as u64 != answer.bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((answer, picture))
}

/// Answers requests until dropped. `cancelled` is called at each request to cancel, before the job hears of it.
pub async fn serve(listener: UnixListener, control: Arc<dyn JobControl>, cancelled: Arc<dyn Fn() + Send + Sync>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(answer(stream, Arc::clone(&control), Arc::clone(&cancelled)));
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket does not accept");
                // Out of descriptors: the pause keeps this from becoming a busy loop until some are free.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, control: Arc<dyn JobControl>, cancelled: Arc<dyn Fn() + Send + Sync>) {
    let own = rustix::process::geteuid().as_raw();
    if !Caller::of(&stream).is_ok_and(|caller| caller.uid() == own) {
        tracing::warn!("another user's request on the control socket was refused");
        return;
    }
    let mut stream = BufReader::new(stream);
    let request = match timeout(REQUEST_TIMEOUT, read_line(&mut stream)).await {
        Ok(Ok(line)) => serde_json::from_slice(&line).map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no request in time".to_owned()),
    };
    let result = match request {
        Ok(ControlRequest::Cancel) => {
            cancelled();
            control.cancel();
            Ok(Vec::new())
        }
        Ok(ControlRequest::Screen { build }) => {
            control.screen(build.as_deref()).await.map_err(|refused| refused.reason).and_then(small_enough)
        }
        Ok(ControlRequest::Answer { prompt, answer }) => {
            control.answer(&prompt, &answer).map(|()| Vec::new()).map_err(|refused| refused.reason)
        }
        Err(reason) => Err(reason),
    };
    let (refused, picture) = match result {
        Ok(picture) => (None, picture),
        Err(reason) => (Some(reason), Vec::new()),
    };
    let Ok(mut reply) = serde_json::to_vec(&ControlAnswer { refused, bytes: picture.len() as u64 }) else { return };
    reply.push(b'\n');
    reply.extend_from_slice(&picture);
    // The daemon may have gone meanwhile; nobody is left to tell then.
    let _ = timeout(ANSWER_TIMEOUT, stream.write_all(&reply)).await;
}

/// Refuses here what the daemon would not take, with the reason.
fn small_enough(picture: Vec<u8>) -> Result<Vec<u8>, String> {
    let size = picture.len() as u64;
    if size > MAX_PICTURE_BYTES {
        return Err(format!(
            "the picture of the screen has {size} bytes, and kilnd passes on {MAX_PICTURE_BYTES} at most"
        ));
    }
    Ok(picture)
}

async fn read_line(stream: &mut BufReader<UnixStream>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    stream.take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await?;
    if line.pop() == Some(b'\n') { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::runner::{BoxFuture, Refused};

    #[derive(Default)]
    struct Recorded(Mutex<Vec<String>>);

    impl JobControl for Recorded {
        fn cancel(&self) {
            self.0.lock().unwrap().push("cancel".to_owned());
        }

        fn screen<'a>(&'a self, build: Option<&'a str>) -> BoxFuture<'a, Result<Vec<u8>, Refused>> {
            Box::pin(async move {
                match build {
                    Some("qemu.web") => Ok(vec![7; 100_000]),
                    _ => Err(Refused { reason: "no guest is running".to_owned() }),
                }
            })
        }

        fn answer(&self, prompt: &str, answer: &str) -> Result<(), Refused> {
            self.0.lock().unwrap().push(format!("{prompt}={answer}"));
            Ok(())
        }
    }

    #[tokio::test]
    async fn requests_reach_the_job_and_answers_come_back() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = JobDir { root: scratch.path().to_owned(), runtime: scratch.path().to_owned() };
        let path = directory.control_socket();
        let unreachable = ask(&directory, &ControlRequest::Cancel).await.unwrap_err();
        assert!(matches!(unreachable, ControlError::Unreachable { .. }));

        let (job, cancels) = (Arc::new(Recorded::default()), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&cancels);
        let hook = Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let server = tokio::spawn(serve(UnixListener::bind(&path).unwrap(), job.clone(), hook));
        ask(&directory, &ControlRequest::Cancel).await.unwrap();
        let answer = ControlRequest::Answer { prompt: "1".to_owned(), answer: "c".to_owned() };
        ask(&directory, &answer).await.unwrap();
        let picture = ask(&directory, &ControlRequest::Screen { build: Some("qemu.web".to_owned()) }).await.unwrap();
        assert_eq!(picture, vec![7; 100_000]);
        let refused = ask(&directory, &ControlRequest::Screen { build: None }).await.unwrap_err();
        assert_eq!(refused.to_string(), "no guest is running");
        assert_eq!(*job.0.lock().unwrap(), ["cancel", "1=c"]);
        assert_eq!(cancels.load(Ordering::Relaxed), 1);

        let huge = small_enough(vec![0; 9 << 20]).unwrap_err();
        assert_eq!(huge, "the picture of the screen has 9437184 bytes, and kilnd passes on 8388608 at most");

        let mut stream = BufReader::new(UnixStream::connect(&path).await.unwrap());
        stream.write_all(b"not json\n").await.unwrap();
        let line = read_line(&mut stream).await.unwrap();
        assert!(String::from_utf8(line).unwrap().contains("refused"));
        server.abort();
    }

    #[tokio::test]
    async fn a_worker_that_is_none_does_not_fill_the_daemon() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = JobDir { root: scratch.path().to_owned(), runtime: scratch.path().to_owned() };
        let listener = UnixListener::bind(directory.control_socket()).unwrap();
        let theirs = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"{\"refused\":null,\"bytes\":9437184}\n").await.unwrap();
            // Nothing of it is taken: the daemon hangs up.
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        });
        let error = ask(&directory, &ControlRequest::Screen { build: None }).await.unwrap_err();
        let ControlError::Unreachable { source, .. } = error else { panic!("{error:?}") };
        assert_eq!(source.to_string(), "the picture is too large");
        theirs.await.unwrap();
    }
}
