//! Starts OpenSSH and dropbear on loopback with keys of their own, without touching the host's users or files.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kiln_communicators::ssh::{
    Bastion, KeyKind, KeyPair, PrivateKeySource, SshCommunicator, SshConfig, generate_key_pair,
};
use kiln_communicators::{CollectedOutput, Communicator, ConnectEvent, ConnectObserver, Exit};
use tempfile::TempDir;

/// Says that a test did not run, or fails it where everything must run.
pub(crate) fn skip(what: &str) {
    assert!(std::env::var_os("KILN_TEST_REQUIRE").is_none_or(|v| v != "all"), "needs {what}");
    eprintln!("ignored: needs {what}");
}

/// Finds a program in PATH or where servers live.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    places.map(|place| place.join(name)).find(|file| file.is_file())
}

/// Starts a server or returns from the test.
macro_rules! server_or_return {
    ($start:expr, $what:expr) => {
        match $start {
            Some(server) => server,
            None => return $crate::servers::skip($what),
        }
    };
}
pub(crate) use server_or_return;

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) directory: TempDir,
    pub(crate) key: KeyPair,
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("What the server said:\n{}", self.log());
        }
        // Sessions are children in sessions of their own: they must not outlive the test, stopped or not.
        for pid in descendants(self.child.id()) {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn descendants(parent: u32) -> Vec<u32> {
    let output = Command::new("ps").args(["-eo", "pid=,ppid="]).output().unwrap();
    let table: Vec<(u32, u32)> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut parts = line.split_whitespace();
            Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
        })
        .collect();
    let mut found = vec![parent];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(table.iter().filter(|(_, ppid)| *ppid == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}

fn directory_with_key() -> (TempDir, KeyPair) {
    let directory = tempfile::tempdir().unwrap();
    let key = generate_key_pair(KeyKind::Ed25519, "client").unwrap();
    let host = generate_key_pair(KeyKind::Ed25519, "host").unwrap();
    write_private(&directory.path().join("host_key"), host.private_openssh.expose());
    fs::create_dir(directory.path().join(".ssh")).unwrap();
    fs::write(directory.path().join(".ssh/authorized_keys"), format!("{}\n", key.public_authorized_keys)).unwrap();
    fs::create_dir(directory.path().join("work")).unwrap();
    (directory, key)
}

pub(crate) fn write_private(path: &Path, text: &str) {
    let mut file = fs::File::create(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// How often a server is started whose port is taken by another test before it listens.
const STARTS: usize = 5;

/// Starts a server and waits for its log to say that it listens: at `port`, or at one that is chosen right before each start.
fn listening(directory: &Path, port: Option<u16>, sign: &str, server: impl Fn(u16) -> Command) -> (Child, u16) {
    let file = directory.join("log");
    let said = || fs::read_to_string(&file).unwrap_or_default();
    for _ in 0..STARTS {
        let log = fs::File::create(&file).unwrap();
        let port = port.unwrap_or_else(free_port);
        let mut child = server(port).stdin(Stdio::null()).stderr(log).spawn().unwrap();
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if said().contains(sign) {
                return (child, port);
            }
            if started.elapsed() > Duration::from_secs(60) {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the server neither listens nor ends:\n{}", said());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        eprintln!("the server at port {port} has ended before it listened:\n{}", said());
    }
    panic!("no server has started in {STARTS} attempts; the last one said:\n{}", said());
}

impl Server {
    /// OpenSSH with key login and sftp.
    pub(crate) fn openssh() -> Option<Self> {
        Self::openssh_with("Subsystem sftp internal-sftp\n")
    }

    pub(crate) fn openssh_with(extra: &str) -> Option<Self> {
        Self::openssh_at(None, extra)
    }

    /// At the port where another server has been, or at a free one.
    pub(crate) fn openssh_at(port: Option<u16>, extra: &str) -> Option<Self> {
        let program = tool("sshd")?;
        let (directory, key) = directory_with_key();
        // sshd wants its privilege separation directory even when it is not root.
        let _ = fs::create_dir_all("/run/sshd");
        let at = directory.path().display();
        let config = format!(
            "ListenAddress 127.0.0.1\nHostKey {at}/host_key\nAuthorizedKeysFile {at}/.ssh/authorized_keys\n\
             StrictModes no\nPidFile none\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nAcceptEnv KILN_*\nMaxStartups 100\n{extra}"
        );
        fs::write(directory.path().join("sshd_config"), config).unwrap();
        let (child, port) = listening(directory.path(), port, "Server listening on", |port| {
            let mut server = Command::new(&program);
            server.args(["-D", "-e", "-p", &port.to_string(), "-f"]).arg(directory.path().join("sshd_config"));
            server
        });
        Some(Self { child, port, directory, key })
    }

    /// OpenSSH that asks by keyboard-interactive, through PAM, and lets in whoever answers `correct`; and, unless `only`, whoever has the
    /// key. Needs root: its PAM configuration lies over the host's for this server alone.
    pub(crate) fn openssh_asking(only: bool) -> Option<Self> {
        let (program, unshare) = (tool("sshd")?, tool("unshare")?);
        if user() != "root" {
            return None;
        }
        let (directory, key) = directory_with_key();
        let _ = fs::create_dir_all("/run/sshd");
        let (at, pam) = (directory.path().to_owned(), directory.path().join("pam.d"));
        fs::create_dir(&pam).unwrap();
        let ask = at.join("ask");
        fs::write(&ask, "#!/bin/sh\n[ \"$(tr -d '\\000')\" = correct ]\n").unwrap();
        fs::set_permissions(&ask, fs::Permissions::from_mode(0o755)).unwrap();
        let rules = format!(
            "auth required pam_exec.so quiet expose_authtok {}\nauth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n",
            ask.display()
        );
        fs::write(pam.join("sshd"), rules).unwrap();
        let config = format!(
            "ListenAddress 127.0.0.1\nHostKey {at}/host_key\nAuthorizedKeysFile {at}/.ssh/authorized_keys\nStrictModes no\n\
             PidFile none\nUsePAM yes\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication yes\n\
             PubkeyAuthentication {}\n",
            if only { "no" } else { "yes" },
            at = at.display(),
        );
        fs::write(at.join("sshd_config"), config).unwrap();
        let (child, port) = listening(&at, None, "Server listening on", |port| {
            let mut server = Command::new(&unshare);
            server.args(["--mount", "sh", "-c", "mount --bind \"$1\" /etc/pam.d && shift && exec \"$@\"", "sh"]);
            server
                .arg(&pam)
                .arg(&program)
                .args(["-D", "-e", "-p", &port.to_string(), "-f"])
                .arg(at.join("sshd_config"));
            server
        });
        Some(Self { child, port, directory, key })
    }

    /// dropbear with key login, and the password `correct` when the C compiler is there to make it so.
    ///
    /// dropbear takes keys from the user's home and passwords from the host's files, both not ours to change; a small
    /// preloaded library answers its question for the user instead.
    pub(crate) fn dropbear() -> Option<Self> {
        let (program, compiler, converter) = (tool("dropbear")?, tool("cc")?, tool("dropbearconvert")?);
        let (directory, key) = directory_with_key();
        let at = directory.path();
        fs::write(at.join("user.c"), USER_SHIM).unwrap();
        let built = Command::new(compiler)
            .args(["-shared", "-fPIC", "-o"])
            .args([at.join("user.so"), at.join("user.c")])
            .args(["-lcrypt", "-ldl"])
            .status();
        assert!(built.unwrap().success());
        let converted = Command::new(converter)
            .args(["openssh", "dropbear"])
            .arg(at.join("host_key"))
            .arg(at.join("host_key.dropbear"))
            .stderr(Stdio::null())
            .status();
        assert!(converted.unwrap().success());
        let (child, port) = listening(at, None, "Not backgrounding", |port| {
            let mut server = Command::new(&program);
            server.args(["-F", "-E", "-p", &format!("127.0.0.1:{port}"), "-r"]).arg(at.join("host_key.dropbear"));
            server.env("LD_PRELOAD", at.join("user.so")).env("TEST_HOME", at);
            server
        });
        Some(Self { child, port, directory, key })
    }

    /// A configuration that can log in.
    pub(crate) fn config(&self) -> SshConfig {
        let mut config = SshConfig::new("127.0.0.1", user());
        config.port = self.port;
        config.private_keys = vec![PrivateKeySource::Pem(self.key.private_openssh.clone())];
        config.timeout = Some(Duration::from_secs(30));
        config
    }

    pub(crate) async fn connect(&self) -> SshCommunicator {
        connect(&self.config()).await
    }

    /// A path below the server's own directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("work").join(name)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

/// How `guest` is reached through `bastion`, each with its own key.
pub(crate) fn through(bastion: &Server, guest: &Server) -> SshConfig {
    let mut config = guest.config();
    config.bastion = Some(Bastion {
        host: "127.0.0.1".into(),
        port: bastion.port,
        username: user(),
        password: None,
        keyboard_interactive_first: false,
        private_keys: vec![PrivateKeySource::Pem(bastion.key.private_openssh.clone())],
        certificate: None,
        agent_auth: false,
    });
    config
}

pub(crate) async fn connect(config: &SshConfig) -> SshCommunicator {
    match kiln_communicators::ssh::connect(config, Arc::new(Events::default())).await {
        Ok(communicator) => communicator,
        Err(error) => panic!("{error}: {:?}", error.source),
    }
}

pub(crate) async fn run(communicator: &SshCommunicator, command: &str) -> (Exit, String, String) {
    let output = CollectedOutput::new(64 << 20);
    let exit = communicator.execute(command, &output).await.unwrap();
    (exit, output.stdout_text(), output.stderr_text())
}

/// Keeps all events.
#[derive(Clone, Default)]
pub(crate) struct Events(pub(crate) Arc<Mutex<Vec<ConnectEvent>>>);

impl Events {
    pub(crate) fn all(&self) -> Vec<ConnectEvent> {
        self.0.lock().unwrap().clone()
    }
}

impl ConnectObserver for Events {
    fn event(&self, event: &ConnectEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

const USER_SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pwd.h>
#include <shadow.h>
#include <stdlib.h>
#include <unistd.h>
char *crypt(const char *, const char *);
struct passwd *getpwnam(const char *name) {
    static char hash[256];
    struct passwd *(*real)(const char *) = dlsym(RTLD_NEXT, "getpwnam");
    struct passwd *found = real(name);
    char *home = getenv("TEST_HOME");
    if (!found || !home) return found;
    char *made = crypt("correct", "$6$testsalt$");
    for (int i = 0; made && i < 255; i++) { hash[i] = made[i]; if (!made[i]) break; }
    found->pw_dir = home;
    found->pw_passwd = hash;
    found->pw_shell = "/bin/sh";
    return found;
}
struct spwd *getspnam(const char *name) { (void)name; return 0; }
"#;
