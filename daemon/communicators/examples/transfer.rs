//! Moves one file to or from an SSH server: `transfer up|down scp|sftp USER@HOST:PORT KEY SOURCE DESTINATION`.
//!
//! A small client of the library, and what `./x bench transfer` runs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use kiln_communicators::ssh::{PrivateKeySource, SshConfig, TransferMethod, connect};
use kiln_communicators::{Communicator, NoProgress, SilentObserver};

/// What the command line says.
struct Arguments {
    up: bool,
    config: SshConfig,
    source: String,
    destination: String,
}

fn read(arguments: &[String]) -> Option<Arguments> {
    let [direction, method, place, key, source, destination] = arguments else { return None };
    let (user, address) = place.split_once('@')?;
    let (host, port) = address.rsplit_once(':')?;
    let mut config = SshConfig::new(host, user);
    config.port = port.parse().ok()?;
    config.private_keys = vec![PrivateKeySource::File(PathBuf::from(key))];
    config.transfer = match method.as_str() {
        "scp" => TransferMethod::Scp,
        "sftp" => TransferMethod::Sftp,
        _ => return None,
    };
    let up = match direction.as_str() {
        "up" => true,
        "down" => false,
        _ => return None,
    };
    Some(Arguments { up, config, source: source.clone(), destination: destination.clone() })
}

async fn carry(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { up, config, source, destination } = arguments;
    let guest = connect(config, Arc::new(SilentObserver)).await?;
    if *up {
        guest.upload_file(Path::new(source), destination, None, &NoProgress).await?;
    } else {
        guest.download_file(source, Path::new(destination), &NoProgress).await?;
    }
    guest.close().await;
    Ok(())
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "a program for the terminal")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(arguments) = read(&arguments) else {
        eprintln!("usage: transfer up|down scp|sftp USER@HOST:PORT KEY SOURCE DESTINATION");
        return ExitCode::from(2);
    };
    match carry(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
