//! Finding a guest that is starting.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kiln_communicators::ssh::{SshConfig, SshConnectError, Stage};
use kiln_communicators::{BoxFuture, Communicator, ConnectEvent, ConnectStage, GuestSight, Lookout};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::scripted_server::{Script, ScriptedServer};
use crate::servers::{Events, Server, free_port, server_or_return};

fn config(port: u16, timeout: Duration) -> SshConfig {
    let mut config = SshConfig::new("127.0.0.1", "someone");
    config.port = port;
    config.password = Some("correct".into());
    config.timeout = Some(timeout);
    config
}

async fn failure(config: &SshConfig) -> SshConnectError {
    let started = Instant::now();
    let error = kiln_communicators::ssh::connect(config, Arc::new(Events::default())).await.unwrap_err();
    let limit = config.timeout.unwrap();
    assert!(started.elapsed() < limit + Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(error.hint().is_some());
    error
}

/// Serves each connection with a function.
async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    port
}

#[tokio::test]
async fn a_closed_port_is_named() {
    let error = failure(&config(free_port(), Duration::from_secs(1))).await;
    assert_eq!(error.stage, Stage::Refused);
    // It is tried again, and not without end: a busy machine comes to fewer.
    assert!((1..=8).contains(&error.attempts), "{error}");
}

#[tokio::test]
async fn a_forwarded_port_that_closes_is_named() {
    let port = listen(|stream| async move { drop(stream) }).await;
    assert_eq!(failure(&config(port, Duration::from_secs(1))).await.stage, Stage::ClosedAtOnce);
}

#[tokio::test]
async fn a_silent_port_is_named() {
    let port = listen(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let error = failure(&config(port, Duration::from_secs(3))).await;
    assert_eq!(error.stage, Stage::NoBanner, "{error}");
}

#[tokio::test]
async fn another_service_is_named() {
    let port = listen(|mut stream| async move {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n").await;
    })
    .await;
    let error = failure(&config(port, Duration::from_secs(1))).await;
    assert_eq!(error.stage, Stage::NotSsh);
    assert!(error.source.to_string().contains("220 mail.example"), "{}", error.source);
}

#[tokio::test]
async fn a_server_that_hangs_up_after_its_banner_is_named() {
    let port = listen(|mut stream| async move {
        let _ = stream.write_all(b"SSH-2.0-test\r\n").await;
    })
    .await;
    assert_eq!(failure(&config(port, Duration::from_secs(2))).await.stage, Stage::KeyExchange);
}

#[tokio::test]
async fn settings_that_cannot_work_fail_at_once() {
    let mut wrong = config(free_port(), Duration::from_secs(20));
    wrong.ciphers = vec!["arcfour".into()];
    let started = Instant::now();
    let error = kiln_communicators::ssh::connect(&wrong, Arc::new(Events::default())).await.unwrap_err();
    assert_eq!(error.stage, Stage::Configuration);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_starter_is_found_soon_and_answered() {
    let port = free_port();
    let up_after = Duration::from_secs(1);
    let guest = tokio::spawn(async move {
        tokio::time::sleep(up_after).await;
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let up = Instant::now();
        let (mut stream, _) = listener.accept().await.unwrap();
        let found = up.elapsed();
        stream.write_all(b"SSH-2.0-test\r\n").await.unwrap();
        let mut hello = [0; 4];
        stream.read_exact(&mut hello).await.unwrap();
        (found, up.elapsed(), hello)
    });
    let config = config(port, Duration::from_secs(20));
    let connecting = tokio::spawn(async move {
        kiln_communicators::ssh::connect(&config, Arc::new(Events::default())).await.map(|_| ())
    });
    let (found, answered, hello) = guest.await.unwrap();
    connecting.abort();
    assert_eq!(&hello, b"SSH-", "the connection that was found goes on to the key exchange");
    eprintln!("found after {found:?}, our banner after {answered:?}");
    // The pace promises 500 ms, which its own tests prove on a virtual clock; the rest is for a loaded machine.
    assert!(answered < Duration::from_secs(10), "{answered:?}");
}

/// A guest behind a forwarded port of QEMU's user network, which takes every connection.
struct Forwarded {
    port: u16,
    up: Instant,
    lookout: Arc<Watched>,
    connections: Arc<AtomicUsize>,
}

/// What is seen of it.
#[derive(Debug)]
struct Watched(tokio::sync::watch::Receiver<GuestSight>);

impl Lookout for Watched {
    fn sight(&self) -> GuestSight {
        *self.0.borrow()
    }

    fn other_than(&self, sight: GuestSight) -> BoxFuture<'_, GuestSight> {
        let mut sights = self.0.clone();
        Box::pin(async move {
            let changed = sights.wait_for(|now| *now != sight).await.map(|now| *now);
            match changed {
                Ok(now) => now,
                Err(_) => std::future::pending().await,
            }
        })
    }
}

/// While the guest is down nothing happens, and early connections hear of it late; then they are closed at once; then it answers.
async fn slirp(guest: u16, down: Duration, closed: Duration) -> Forwarded {
    let start = Instant::now();
    let up = start + down + closed;
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let (sights, receiver) = tokio::sync::watch::channel(GuestSight::Booting { restarts: 0, spoke: false });
    tokio::spawn(async move {
        tokio::time::sleep(down).await;
        sights.send_replace(GuestSight::Addressed { restarts: 0 });
        sights.closed().await;
    });
    let port = listen(move |mut stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move {
            let age = start.elapsed();
            if age < down {
                tokio::time::sleep(Duration::from_secs(30)).await;
                return;
            }
            if age < down + closed {
                return;
            }
            let Ok(mut to_guest) = TcpStream::connect(("127.0.0.1", guest)).await else { return };
            let _ = copy_bidirectional(&mut stream, &mut to_guest).await;
        }
    })
    .await;
    Forwarded { port, up, lookout: Arc::new(Watched(receiver)), connections }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_guest_is_found_soon_by_few_connections() {
    let server = server_or_return!(Server::openssh(), "sshd");
    let events = Events::default();
    for (down, closed) in [(2500, 0), (1000, 900)] {
        let guest = slirp(server.port, Duration::from_millis(down), Duration::from_millis(closed)).await;
        let mut config = server.config();
        config.port = guest.port;
        config.lookout = Some(guest.lookout.clone());
        let connection = kiln_communicators::ssh::connect(&config, Arc::new(events.clone())).await.unwrap();
        let late = Instant::now().saturating_duration_since(guest.up);
        let connections = guest.connections.load(Ordering::SeqCst);
        eprintln!("logged in {late:?} after the guest was up, by {connections} connections");
        // 500 ms to find it; the rest is sshd's process start, key exchange and login, unoptimised on a loaded machine. A request
        // that came too early and was lost would cost more: it gets another beside it after 5 s.
        assert!(late < Duration::from_secs(5), "{late:?}");
        assert!(connections <= 6, "{connections} connections");
        connection.close().await;
    }
    let events = events.all();
    let stage = |event: &ConnectEvent| if let ConnectEvent::Stage { stage, .. } = event { Some(*stage) } else { None };
    let stages: Vec<ConnectStage> = events.iter().filter_map(stage).collect();
    assert!(stages.contains(&ConnectStage::NoAddress), "{events:?}");
    assert!(stages.contains(&ConnectStage::ClosedAtOnce), "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_cannot_be_watched_is_not_flooded() {
    let server = server_or_return!(Server::openssh(), "sshd");
    let guest = slirp(server.port, Duration::from_secs(60), Duration::ZERO).await;
    let mut config = config(guest.port, Duration::from_secs(14));
    let error = failure(&config).await;
    assert_eq!((error.stage, error.attempts), (Stage::NoBanner, 2));
    assert_eq!(guest.connections.load(Ordering::SeqCst), 2);
    config.lookout = Some(guest.lookout.clone());
    let error = failure(&config).await;
    assert_eq!((error.stage, error.attempts), (Stage::NoAddress, 0), "a watched one is not tried at all");
    assert_eq!(guest.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_turns_us_away_is_named_and_left_alone() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let port = listen(move |mut stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        async move {
            let _ = stream.write_all(b"Exceeded MaxStartups\r\n").await;
        }
    })
    .await;
    assert_eq!(failure(&config(port, Duration::from_secs(4))).await.stage, Stage::TurnedAway);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_slow_to_greet_is_not_overrun() {
    let server = ScriptedServer::start(Script { password: Some("correct"), ..Script::default() }).await;
    let (to, taken) = (server.port, Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&taken);
    let start = Instant::now();
    let port = listen(move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            if start.elapsed() < Duration::from_millis(400) {
                return;
            }
            if counter.fetch_add(1, Ordering::SeqCst) > 0 {
                // Only the first is served: who gives it up never gets in.
                return std::future::pending().await;
            }
            // An emulated guest needs this long to start a process for us.
            tokio::time::sleep(Duration::from_millis(2000)).await;
            let Ok(mut to_guest) = TcpStream::connect(("127.0.0.1", to)).await else { return };
            let _ = copy_bidirectional(&mut stream, &mut to_guest).await;
        }
    })
    .await;
    kiln_communicators::ssh::connect(&config(port, Duration::from_secs(20)), Arc::new(Events::default()))
        .await
        .unwrap();
    let taken = taken.load(Ordering::SeqCst);
    eprintln!("{taken} connections, {:?}", start.elapsed());
    assert!(taken <= 2, "{taken} connections were served");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_connect_leaves_no_socket_behind() {
    let open = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&open);
    // One half of the connections is silent, the other gets stuck in the key exchange.
    let number = AtomicUsize::new(0);
    let port = listen(move |mut stream| {
        let counter = Arc::clone(&counter);
        let greets = number.fetch_add(1, Ordering::SeqCst) % 2 == 1;
        async move {
            counter.fetch_add(1, Ordering::SeqCst);
            if greets {
                let _ = stream.write_all(b"SSH-2.0-test\r\n").await;
            }
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            counter.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let config = config(port, Duration::from_secs(60));
    let connecting = kiln_communicators::ssh::connect(&config, Arc::new(Events::default()));
    assert!(tokio::time::timeout(Duration::from_millis(1500), connecting).await.is_err());
    let cancelled = Instant::now();
    while open.load(Ordering::SeqCst) > 0 {
        // By itself, an attempt would end after 60 s at the earliest.
        assert!(cancelled.elapsed() < Duration::from_secs(10), "{} sockets are open", open.load(Ordering::SeqCst));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_goes_down_in_the_key_exchange_is_found_again() {
    let server = ScriptedServer::start(Script { password: Some("correct"), ..Script::default() }).await;
    let to = server.port;
    let number = AtomicUsize::new(0);
    let port = listen(move |mut stream| {
        let first = number.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                let _ = stream.write_all(b"SSH-2.0-test\r\n").await;
                tokio::time::sleep(Duration::from_secs(60)).await;
                return;
            }
            let Ok(mut to_guest) = TcpStream::connect(("127.0.0.1", to)).await else { return };
            let _ = copy_bidirectional(&mut stream, &mut to_guest).await;
        }
    })
    .await;
    let started = Instant::now();
    kiln_communicators::ssh::connect(&config(port, Duration::from_secs(20)), Arc::new(Events::default()))
        .await
        .unwrap();
    // Another attempt begins 6 s after the first has greeted us, long before the key exchange counts as failed.
    assert!(started.elapsed() < Duration::from_secs(18), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_changed_host_key_is_told() {
    let mut port = None;
    let memory = kiln_communicators::ssh::HostKeyMemory::default();
    let events = Events::default();
    for _ in 0..2 {
        let server = server_or_return!(Server::openssh_at(port, ""), "sshd");
        port = Some(server.port);
        let mut config = server.config();
        config.host_keys = memory.clone();
        let guest = kiln_communicators::ssh::connect(&config, Arc::new(events.clone())).await.unwrap();
        assert!(guest.host_key_fingerprint().unwrap().starts_with("SHA256:"));
        guest.close().await;
    }
    let previous: Vec<bool> = events
        .all()
        .iter()
        .filter_map(|e| if let ConnectEvent::Identity { previous, .. } = e { Some(previous.is_some()) } else { None })
        .collect();
    assert_eq!(previous, [false, true]);
}
