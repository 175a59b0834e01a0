//! Moves one file to or from an SSH server: `transfer up|down scp|sftp USER@HOST:PORT KEY SOURCE DESTINATION [WAY…]`.
//!
//! A way is `bastion=USER@HOST:PORT` with the same key, `socks=HOST:PORT`, `http=HOST:PORT`, `cipher=NAME` or `kex=NAME`.
//!
//! A small client of the library, and what `./x bench transfer` runs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use kiln_communicators::ssh::{Bastion, PrivateKeySource, Proxy, ProxyKind, SshConfig, TransferMethod, connect};
use kiln_communicators::{Communicator, NoProgress, SilentObserver};

/// What the command line says.
struct Arguments {
    up: bool,
    config: SshConfig,
    source: String,
    destination: String,
}

fn read(arguments: &[String]) -> Option<Arguments> {
    let [direction, method, place, key, source, destination, ways @ ..] = arguments else { return None };
    let (user, host, port) = place_of(place)?;
    let mut config = SshConfig::new(host, user);
    config.port = port;
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
    for way in ways {
        take(way, &mut config)?;
    }
    Some(Arguments { up, config, source: source.clone(), destination: destination.clone() })
}

fn place_of(text: &str) -> Option<(&str, &str, u16)> {
    let (user, address) = text.split_once('@')?;
    let (host, port) = address.rsplit_once(':')?;
    Some((user, host, port.parse().ok()?))
}

/// Takes one of the words behind the destination.
fn take(way: &str, config: &mut SshConfig) -> Option<()> {
    let proxy = |kind, place: &str| {
        let (host, port) = place.rsplit_once(':')?;
        Some(Proxy { kind, host: host.to_owned(), port: port.parse().ok()?, credentials: None })
    };
    match way.split_once('=')? {
        ("bastion", place) => {
            let (user, host, port) = place_of(place)?;
            config.bastion = Some(Bastion {
                host: host.to_owned(),
                port,
                username: user.to_owned(),
                password: None,
                keyboard_interactive_first: false,
                private_keys: config.private_keys.clone(),
                certificate: None,
                agent_auth: false,
            });
        }
        ("socks", place) => config.proxy = Some(proxy(ProxyKind::Socks5, place)?),
        ("http", place) => config.proxy = Some(proxy(ProxyKind::Http, place)?),
        ("cipher", name) => config.ciphers.push(name.to_owned()),
        ("kex", name) => config.key_exchange_algorithms.push(name.to_owned()),
        _ => return None,
    }
    Some(())
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
        eprintln!("usage: transfer up|down scp|sftp USER@HOST:PORT KEY SOURCE DESTINATION [WAY...]");
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
