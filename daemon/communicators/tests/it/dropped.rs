//! A connection that breaks off, or passes nothing on any more, after any number of bytes: work is done again or the loss is told, and nothing
//! hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use kiln_communicators::ssh::{SshConfig, TransferMethod};
use kiln_communicators::{Communicator, NoProgress};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::servers::{Events, Server, server_or_return};

/// Much more than key exchange and log-in take.
const SIZE: usize = 400_001;

/// When nothing more passes in a direction.
const NEVER: u64 = u64::MAX;

/// Losses of one session that are borne.
const MOST_LOSSES: u32 = 10;

/// Sessions at a time: they wait for most of it, but two processors also have to log all of them in.
const AT_A_TIME: usize = 10;

/// What happens to the first connection.
#[derive(Debug, Clone, Copy)]
struct Fault {
    /// After so many bytes from the server, or from us.
    from_server: u64,
    from_us: u64,
    /// It stays open, and nothing passes.
    silent: bool,
    method: TransferMethod,
}

/// Leads to a server, the first time with a fault.
async fn faulty(server: u16, fault: Fault) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let happened = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&happened);
    tokio::spawn(async move {
        let mut faults = Some(fault);
        while let Ok((stream, _)) = listener.accept().await {
            let fault = faults.take();
            let told = Arc::clone(&told);
            tokio::spawn(async move {
                let Ok(there) = TcpStream::connect(("127.0.0.1", server)).await else { return };
                pass(stream, there, fault, &told).await;
            });
        }
    });
    (port, happened)
}

async fn pass(mut here: TcpStream, mut there: TcpStream, fault: Option<Fault>, told: &AtomicBool) {
    let over = Arc::new(Notify::new());
    let (from_server, from_us) = fault.map_or((NEVER, NEVER), |fault| (fault.from_server, fault.from_us));
    let silent = fault.is_some_and(|fault| fault.silent);
    {
        let (here_read, here_write) = here.split();
        let (there_read, there_write) = there.split();
        tokio::select! {
            () = copy(there_read, here_write, from_server, &over) => {}
            () = copy(here_read, there_write, from_us, &over) => {}
            () = over.notified() => told.store(true, Ordering::SeqCst),
        }
    }
    if silent && told.load(Ordering::SeqCst) {
        // Until the test has ended.
        std::future::pending::<()>().await;
    }
}

/// Copies up to a number of bytes, then says that it is over; returns at the end of the stream.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, limit: u64, over: &Notify) {
    let mut left = limit;
    let mut buffer = [0; 4096];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let Ok(length @ 1..) = from.read(&mut buffer[..most]).await else { return };
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        left -= length as u64;
    }
    over.notify_one();
    std::future::pending::<()>().await;
}

/// Connects, and moves a file there and back, as often as a build with `max_retries` would.
async fn works(server: &Server, fault: Fault, number: usize) -> bool {
    let (port, happened) = faulty(server.port, fault).await;
    let here = tempfile::tempdir().unwrap();
    let (source, back) = (here.path().join("source"), here.path().join("back"));
    let content: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    std::fs::write(&source, &content).unwrap();
    let mut config = SshConfig { port, transfer: fault.method, ..server.config() };
    config.timeout = Some(Duration::from_secs(100));
    // A connection that goes silent is lost in this time; a busy machine is let be for longer.
    config.keep_alive_interval = Some(Duration::from_secs(if fault.silent { 2 } else { 20 }));
    config.keep_alive_count_max = 3;
    let guest = match kiln_communicators::ssh::connect(&config, Arc::new(Events::default())).await {
        Ok(guest) => guest,
        Err(error) => panic!("{fault:?}: a lost connection is made again: {error}: {}", error.source),
    };
    let there = server.path(&number.to_string()).display().to_string();
    let mut losses = 0_u32;
    for up in [true, false] {
        loop {
            let moved = match up {
                true => guest.upload_file(&source, &there, None, &NoProgress).await,
                false => guest.download_file(&there, &back, &NoProgress).await,
            };
            let Err(error) = moved else { break };
            losses += 1;
            // The fault loses it once, a machine that is too busy to answer perhaps again.
            assert!(error.is_loss() && losses <= MOST_LOSSES, "{fault:?}: {error}");
            assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 1, "{fault:?} leaves a piece");
        }
    }
    assert!(std::fs::read(&back).unwrap() == content, "{fault:?}");
    guest.close().await;
    happened.load(Ordering::SeqCst)
}

/// From the first byte of the banner over key exchange and log-in into the transfers.
const FROM_SERVER: [u64; 11] = [0, 7, 30, 400, 1100, 1500, 2000, 2500, 3000, 60_000, 300_000];
const FROM_US: [u64; 9] = [0, 7, 500, 1400, 1900, 2600, 3400, 90_000, 350_000];

async fn all(silent: bool) {
    let server = server_or_return!(Server::openssh(), "sshd");
    let methods = [TransferMethod::Scp, TransferMethod::Sftp];
    let mut faults = Vec::new();
    for method in methods {
        faults.extend(FROM_SERVER.map(|from_server| Fault { from_server, from_us: NEVER, silent, method }));
        faults.extend(FROM_US.map(|from_us| Fault { from_server: NEVER, from_us, silent, method }));
    }
    let happened = AtomicU64::new(0);
    let count = faults.len() as u64;
    let tries = faults.into_iter().enumerate().map(|(number, fault)| {
        let (server, happened) = (&server, &happened);
        async move {
            let limit = Duration::from_secs(240);
            let worked = tokio::time::timeout(limit, works(server, fault, number)).await;
            match worked {
                Ok(true) => drop(happened.fetch_add(1, Ordering::SeqCst)),
                Ok(false) => {}
                Err(_) => panic!("{fault:?} hangs"),
            }
        }
    });
    stream::iter(tries).buffer_unordered(AT_A_TIME).collect::<()>().await;
    assert_eq!(happened.into_inner(), count, "each fault is met");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_off_anywhere_is_made_again() {
    all(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_goes_silent_anywhere_is_made_again() {
    all(true).await;
}
