//! A real OpenSSH of this machine, on a port of its own, with a key of its own.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(super) const SSHD: &str = "/usr/sbin/sshd";

pub(super) const SFTP_SERVER: &str = "/usr/lib/openssh/sftp-server";

/// OpenSSH with a key, on a port of its own; ends with the test.
pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts one whose files are in `home`.
    pub(super) fn start(home: &Path) -> Self {
        let _ = fs::create_dir_all("/run/sshd");
        for key in ["host", "key"] {
            let mut maker = Command::new("ssh-keygen");
            maker.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(home.join(key));
            assert!(maker.status().unwrap().success());
        }
        let at = home.display();
        let config = format!(
            "ListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/key.pub\nStrictModes no\nPidFile none\n\
             UsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nMaxStartups 100\nSubsystem sftp internal-sftp\n"
        );
        fs::write(home.join("sshd_config"), config).unwrap();
        // The port can be another's by the time that it is bound.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let log = home.join("sshd.log");
            let mut server = Command::new(SSHD);
            server.args(["-D", "-e", "-p", &port.to_string(), "-f"]).arg(home.join("sshd_config"));
            let child = server.stdin(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
            let mut server = Self { child, port };
            let until = Instant::now() + Duration::from_secs(60);
            while server.child.try_wait().unwrap().is_none() && Instant::now() < until {
                if fs::read_to_string(&log).unwrap().contains("Server listening on") {
                    return server;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        panic!("no sshd has started: {}", fs::read_to_string(home.join("sshd.log")).unwrap_or_default());
    }
}

/// Who the tests run as, and who is let in.
pub(super) fn user() -> String {
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    String::from_utf8(user).unwrap().trim().to_owned()
}
