//! Boots the probe's payload on one accelerator.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

use super::findings::ProbeError;
use super::run::{QUESTION_LIMIT, run};
use crate::process::{ChildProcess, ExitState, Tail};

/// The boot sector made from `payload.s`.
pub(crate) const PAYLOAD: &[u8; 512] = include_bytes!("payload.bin");

/// How long the payload may run with hardware's help. It takes less than 0.3 s; where each instruction is emulated it takes a minute.
const HARDWARE_LIMIT: Duration = Duration::from_secs(5);

/// The same under TCG, where it takes 0.3 s on a quiet host: that it is slow is no reason to do without, for there is nothing else.
const TCG_LIMIT: Duration = Duration::from_secs(30);

/// What isa-debug-exit makes of the payload's 0x10: `(value << 1) | 1`.
const SUCCESS: ExitState = ExitState::Exited(0x21);

/// The payload's stages in order, by what it prints before or after each.
const STAGES: [(char, &str); 7] = [
    ('R', "real mode"),
    ('P', "protected mode"),
    ('L', "long mode"),
    ('X', "SSE"),
    ('C', "cmpxchg16b"),
    ('B', "BMI2"),
    ('S', "xsave"),
];

/// Tells whether the payload is made for the architecture.
pub(super) fn fits(architecture: &str) -> bool {
    matches!(architecture, "x86_64" | "i386")
}

/// Runs the payload and returns how long it took.
pub(super) async fn boot(program: &Path, accelerator: &str) -> Result<Duration, Failure> {
    match boot_with(program, accelerator, Some("max")).await {
        // Some hosts cannot start the CPU model `max` but run the default one.
        Err(Failure::BeforeTheGuest(_)) => boot_with(program, accelerator, None).await,
        result => result,
    }
}

/// The payload as a disk that exists in memory only, so that nothing can be left behind.
fn payload_disk() -> std::io::Result<OwnedFd> {
    let mut file = std::fs::File::from(memfd_create("kiln-probe", MemfdFlags::CLOEXEC)?);
    file.write_all(PAYLOAD)?;
    Ok(file.into())
}

/// Why the payload did not run to its end.
pub(super) enum Failure {
    BeforeTheGuest(String),
    InTheGuest(String),
}

impl Failure {
    pub(super) fn problem(&self) -> &str {
        match self {
            Self::BeforeTheGuest(problem) | Self::InTheGuest(problem) => problem,
        }
    }
}

async fn boot_with(program: &Path, accelerator: &str, cpu: Option<&str>) -> Result<Duration, Failure> {
    let early = |problem: String| Failure::BeforeTheGuest(problem);
    let (serial, serial_there) = StdUnixStream::pair().map_err(|error| early(error.to_string()))?;
    serial.set_nonblocking(true).map_err(|error| early(error.to_string()))?;
    let serial_there = OwnedFd::from(serial_there);
    let mut arguments: Vec<OsString> = [
        "-nodefaults",
        "-display",
        "none",
        "-m",
        "16",
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=4",
        "-serial",
        "chardev:kiln-serial",
        "-machine",
    ]
    .map(OsString::from)
    .to_vec();
    arguments.push(format!("type=pc,accel={accelerator}").into());
    let disk = payload_disk().map_err(|error| early(error.to_string()))?;
    arguments.push("-drive".into());
    arguments.push(format!("file=/proc/self/fd/{},format=raw,if=ide", disk.as_raw_fd()).into());
    arguments.push("-chardev".into());
    arguments.push(format!("socket,id=kiln-serial,fd={}", serial_there.as_raw_fd()).into());
    if let Some(cpu) = cpu {
        arguments.extend(["-cpu".into(), cpu.into()]);
    }
    let started = Instant::now();
    let tail = Arc::new(Tail::new(64));
    let serial = UnixStream::from_std(serial).map_err(|error| early(error.to_string()))?;
    let reading = tokio::spawn(keep(serial, tail.clone()));
    let running = run(program, arguments, vec![serial_there, disk], QUESTION_LIMIT).await;
    let (process, qmp) = running.map_err(|error| match error {
        ProbeError::NotQemu(_, problem) => early(problem),
        error => early(error.to_string()),
    })?;
    let mut events = qmp.events();
    let limit = if accelerator == "tcg" { TCG_LIMIT } else { HARDWARE_LIMIT };
    let verdict = tokio::time::timeout(limit, async {
        loop {
            tokio::select! {
                state = process.ended() => break Some(state),
                // The guest is only ever stopped by an error.
                Ok(event) = events.recv() => if event.name == "STOP" { break None },
            }
        }
    })
    .await;
    if let Ok(Some(SUCCESS)) = verdict {
        return Ok(started.elapsed());
    }
    let ended = describe(&process, verdict, limit).await;
    // The serial port's other end is closed by now.
    let _ = tokio::time::timeout(Duration::from_secs(1), reading).await;
    let printed = String::from_utf8_lossy(&tail.last(64)).into_owned();
    Err(Failure::InTheGuest(format!("{ended}, {}", progress(&printed))))
}

async fn describe(
    process: &ChildProcess,
    verdict: Result<Option<ExitState>, tokio::time::error::Elapsed>,
    limit: Duration,
) -> String {
    process.kill();
    process.ended().await;
    let words = process.stderr_tail();
    let first = words.lines().find(|line| !line.contains("warning:")).unwrap_or_default();
    match verdict {
        Err(_) => format!("the boot probe was not through after {} s", limit.as_secs()),
        Ok(None) if first.is_empty() => "QEMU stopped with an internal error".to_owned(),
        Ok(None) => format!("QEMU stopped with \"{first}\""),
        Ok(Some(state)) if first.is_empty() => format!("QEMU ended with {state}"),
        Ok(Some(state)) => format!("QEMU ended with {state}: {first}"),
    }
}

/// Says how far the payload came.
fn progress(printed: &str) -> String {
    match STAGES.iter().rev().find(|(letter, _)| printed.contains(*letter)) {
        Some((_, stage)) => format!("the last stage reached was {stage}"),
        None => "not even real mode was reached".to_owned(),
    }
}

async fn keep(mut stream: UnixStream, tail: Arc<Tail>) {
    let mut buffer = [0; 64];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        tail.push(&buffer[..length]);
    }
}
