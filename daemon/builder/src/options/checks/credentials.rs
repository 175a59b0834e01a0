//! What there is to log in with by SSH, looked at before anything is started: key files, certificates and the agent.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use russh::keys::PrivateKey;
use russh::keys::ssh_key::certificate::{CertType, Certificate};

use crate::home::expand_home;
use crate::plan_reader::PlanReader;

/// The largest file that is looked at, in bytes; an RSA key with 16384 bits has 13 KB.
const MAX_BYTES: u64 = 1 << 20;

/// How long an agent is waited for that is to say which keys it has. One that asks its owner first takes longer.
const AGENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The file that an option names, which must be one.
pub(crate) fn existing_file(reader: &mut PlanReader<'_>, name: &str) -> Option<PathBuf> {
    let path = expand_home(&reader.text(name)?);
    if !path.is_file() {
        reader.error(name, "No such file", format!("{name} is {}, which is not a file.", path.display()));
    }
    Some(path)
}

/// The key in a file that an option names: it must be a private one and need no passphrase, for which nobody could be asked. `agent` is the
/// option that logs in without the file.
pub(crate) fn private_key(reader: &mut PlanReader<'_>, name: &str, agent: &str) -> Option<PrivateKey> {
    let text = text_of(&existing_file(reader, name)?)?;
    let detail = match russh::keys::decode_secret_key(&text, None) {
        Ok(key) => return Some(key),
        Err(russh::keys::Error::KeyIsEncrypted) => format!("has a passphrase: log in with {agent} instead."),
        Err(_) if russh::keys::PublicKey::from_openssh(text.trim()).is_ok() => {
            "is a public key; the private half is meant.".to_owned()
        }
        Err(error) => format!("is not a private key: {error}."),
    };
    reader.error(name, "Unusable private key", format!("The file of {name} {detail}"));
    None
}

/// The certificate in a file that an option names must be one of a user, be valid some time from now on, and belong to `key`, where that is
/// known.
pub(crate) fn certificate(reader: &mut PlanReader<'_>, name: &str, key: Option<(&str, &PrivateKey)>) {
    let Some(text) = existing_file(reader, name).and_then(|path| text_of(&path)) else { return };
    let detail = match Certificate::from_openssh(text.trim()) {
        Err(error) => format!("is not an OpenSSH certificate (`…-cert.pub`): {error}."),
        Ok(certificate) if certificate.cert_type() == CertType::Host => {
            "is the certificate of a host, not of a user: it is made without `-h` of ssh-keygen.".to_owned()
        }
        Ok(certificate) if certificate.valid_before() <= seconds_now() => {
            "has expired: have its authority make a new one.".to_owned()
        }
        Ok(certificate) => match key {
            Some((option, key)) if certificate.public_key() != key.public_key().key_data() => {
                format!("is not that of the key of {option}.")
            }
            _ => return,
        },
    };
    reader.error(name, "Unusable certificate", format!("The file of {name} {detail}"));
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The text of a file that is one; what cannot be read is told when it is used.
fn text_of(path: &Path) -> Option<String> {
    let mut text = String::new();
    // To read what is no file could take for ever.
    let file = File::open(path).ok().filter(|_| path.is_file())?;
    file.take(MAX_BYTES).read_to_string(&mut text).ok().map(|_| text)
}

/// An option that logs in with the agent's keys needs an agent of the one who builds, unless there is `another` way in. One that may yet have a
/// key or an answer when the guest is there is only told.
pub(crate) fn agent(reader: &mut PlanReader<'_>, name: &str, another: bool) {
    if !reader.flag(name) {
        return;
    }
    let socket = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
    let Some(problem) = agent_problem(socket.as_deref(), AGENT_TIMEOUT) else { return };
    let detail = format!("{name} is set, but {}.", problem.what);
    if another || problem.may_pass {
        reader.warning(name, "No usable SSH agent", detail);
    } else {
        const START: &str = "start one (`eval $(ssh-agent)`), add the key (`ssh-add`), and build from that shell";
        reader.not_here(name, "No usable SSH agent", detail, Some(START.to_owned()));
    }
}

/// What is wrong with an agent.
#[derive(Debug, PartialEq, Eq)]
struct AgentProblem {
    what: String,
    /// It is one, and may let the build in when the guest is there.
    may_pass: bool,
}

/// What is wrong with the agent at `socket`.
fn agent_problem(socket: Option<&Path>, limit: Duration) -> Option<AgentProblem> {
    let problem = |what: String, may_pass| Some(AgentProblem { what, may_pass });
    let Some(socket) = socket else { return problem("SSH_AUTH_SOCK is not set".to_owned(), false) };
    let shown = socket.display();
    match keys_within(socket, limit) {
        Ok(0) => {
            problem(format!("the agent at {shown} has no key: add it (`ssh-add`) before the guest is there"), true)
        }
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::TimedOut || error.kind() == io::ErrorKind::WouldBlock => problem(
            format!(
                "the agent at {shown} has not said within {limit:?} which keys it has: it may be locked, or ask its owner"
            ),
            true,
        ),
        Err(error) => problem(format!("the agent at {shown} cannot be asked: {error}"), false),
    }
}

/// How many keys the agent has. Connecting to a socket has no time limit of its own, so another thread waits for it.
fn keys_within(socket: &Path, limit: Duration) -> io::Result<u32> {
    let (answer, answered) = mpsc::channel();
    let socket = socket.to_owned();
    std::thread::Builder::new().name("ssh-agent".to_owned()).spawn(move || {
        // Nobody waits any longer for one that is late.
        let _ = answer.send(number_of_keys(&socket, limit));
    })?;
    answered.recv_timeout(limit).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Asks for the identities (draft-ietf-sshm-ssh-agent, 4.4) and reads how many there are.
fn number_of_keys(socket: &Path, limit: Duration) -> io::Result<u32> {
    const REQUEST_IDENTITIES: u8 = 11;
    const IDENTITIES_ANSWER: u8 = 12;
    let mut agent = UnixStream::connect(socket)?;
    agent.set_read_timeout(Some(limit))?;
    agent.set_write_timeout(Some(limit))?;
    agent.write_all(&[0, 0, 0, 1, REQUEST_IDENTITIES])?;
    let mut head = [0; 9];
    agent.read_exact(&mut head[..5])?;
    if head[4] != IDENTITIES_ANSWER {
        return Err(io::Error::other("it does not tell its keys"));
    }
    agent.read_exact(&mut head[5..])?;
    Ok(u32::from_be_bytes([head[5], head[6], head[7], head[8]]))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// Serves one question.
    fn agent_that_says(answer: &'static [u8]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 5];
            stream.read_exact(&mut question).unwrap();
            assert_eq!(question, [0, 0, 0, 1, 11]);
            stream.write_all(answer).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            // Until the other side has seen enough.
            let _ = stream.read(&mut question);
        });
        (directory, socket)
    }

    fn problem(socket: Option<&Path>) -> Option<String> {
        agent_problem(socket, Duration::from_mins(1)).map(|problem| problem.what)
    }

    #[test]
    fn an_agent_is_asked_how_many_keys_it_has() {
        for (answer, told) in [
            (&[0, 0, 0, 5, 12, 0, 0, 0, 2][..], None),
            (&[0, 0, 0, 5, 12, 0, 0, 0, 0], Some("has no key: add it")),
            (&[0, 0, 0, 1, 5], Some("does not tell its keys")),
            (&[0, 0], Some("cannot be asked")),
        ] {
            let (_directory, socket) = agent_that_says(answer);
            let problem = problem(Some(&socket));
            match (told, &problem) {
                (Some(words), Some(problem)) => assert!(problem.contains(words), "{problem}"),
                (None, None) => {}
                _ => panic!("{answer:?}: {problem:?}"),
            }
        }
    }

    #[test]
    fn an_agent_that_may_answer_later_is_no_error() {
        let of = |socket: Option<&Path>| agent_problem(socket, Duration::from_mins(1)).unwrap();
        assert_eq!(of(None), AgentProblem { what: "SSH_AUTH_SOCK is not set".to_owned(), may_pass: false });
        let problem = of(Some(Path::new("/nonexistent")));
        assert!(problem.what.contains("cannot be asked") && !problem.may_pass, "{problem:?}");
        let (_directory, socket) = agent_that_says(&[0, 0, 0, 5, 12, 0, 0, 0, 0]);
        assert!(of(Some(&socket)).may_pass, "a key may be added");
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("silent");
        let _silent = UnixListener::bind(&socket).unwrap();
        let problem = agent_problem(Some(&socket), Duration::from_millis(200)).unwrap();
        assert!(problem.what.contains("it may be locked") && problem.may_pass, "{problem:?}");
    }
}
