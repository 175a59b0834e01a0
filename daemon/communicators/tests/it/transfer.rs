//! Files and directories, both ways, by scp and by sftp.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use kiln_communicators::ssh::{SshCommunicator, TransferMethod};
use kiln_communicators::{Communicator, CommunicatorError, ConnectEvent, NoProgress, TransferProgress};

use crate::servers::{Events, Server, connect, server_or_return};

const METHODS: [TransferMethod; 2] = [TransferMethod::Scp, TransferMethod::Sftp];

async fn by(server: &Server, method: TransferMethod) -> SshCommunicator {
    let mut config = server.config();
    config.transfer = method;
    connect(&config).await
}

/// Bytes that do not repeat with any packet size.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[derive(Default)]
struct Counted(AtomicU64, AtomicU64);

impl TransferProgress for Counted {
    fn file_started(&self, _name: &str, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
    fn advanced(&self, bytes: u64) {
        self.1.fetch_add(bytes, Ordering::Relaxed);
    }
}

async fn big_files_are_byte_exact(server: &Server, name: &str, methods: &[TransferMethod], size: usize) {
    let here = tempfile::tempdir().unwrap();
    let source = here.path().join("big");
    let content = noise(size + 12345);
    fs::write(&source, &content).unwrap();
    let rate = |started: Instant| content.len() as f64 / 1e6 / started.elapsed().as_secs_f64();
    for method in methods {
        let guest = by(server, *method).await;
        let there = server.path(&format!("big-{method:?}"));
        let (counted, started) = (Counted::default(), Instant::now());
        guest.upload_file(&source, there.to_str().unwrap(), Some(0o640), &counted).await.unwrap();
        let up = rate(started);
        assert!(fs::read(&there).unwrap() == content, "{method:?} upload to {name}");
        assert_eq!(mode(&there), 0o640);
        assert_eq!(counted.0.into_inner(), content.len() as u64);
        assert_eq!(counted.1.into_inner(), content.len() as u64);
        let (back, started) = (here.path().join("back"), Instant::now());
        guest.download_file(there.to_str().unwrap(), &back, &NoProgress).await.unwrap();
        eprintln!("{name} {method:?}: up {up:.0} MB/s, down {:.0} MB/s", rate(started));
        assert!(fs::read(&back).unwrap() == content, "{method:?} download from {name}");
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 2, "no temporary file is left");
    }
}

fn size() -> usize {
    std::env::var("KILN_TEST_TRANSFER_MB").ok().and_then(|text| text.parse().ok()).unwrap_or(16) << 20
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn big_files_are_byte_exact_with_openssh() {
    let server = server_or_return!(Server::openssh(), "sshd");
    big_files_are_byte_exact(&server, "OpenSSH", &METHODS, size()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn big_files_are_byte_exact_with_dropbear() {
    let server = server_or_return!(Server::dropbear(), "dropbear, dropbearconvert and cc");
    big_files_are_byte_exact(&server, "dropbear", &METHODS[..1], size()).await;
}

#[tokio::test]
async fn small_files_keep_their_modes_and_names() {
    let server = server_or_return!(Server::openssh(), "sshd");
    let here = tempfile::tempdir().unwrap();
    for method in METHODS {
        let guest = by(&server, method).await;
        for name in ["plain", "with blank", "it's \"odd\" & $(id) ; `x` \\ *?[a]", "ünï 日本", "-rf", "#x", "$1"] {
            let source = here.path().join(name);
            fs::write(&source, name).unwrap();
            fs::set_permissions(&source, fs::Permissions::from_mode(0o751)).unwrap();
            let directory = format!("{}/", server.path("").display()).replace("//", "/");
            guest.upload_file(&source, &directory, None, &NoProgress).await.unwrap();
            let there = server.path(name);
            assert_eq!(fs::read_to_string(&there).unwrap(), name, "{method:?}");
            assert_eq!(mode(&there), 0o751, "{method:?} {name}");
            let back = here.path().join("back");
            guest.download_file(there.to_str().unwrap(), &back, &NoProgress).await.unwrap();
            assert_eq!(fs::read_to_string(&back).unwrap(), name, "{method:?}");
            assert_eq!(mode(&back), 0o644);
            fs::remove_file(there).unwrap();
        }
        let empty = server.path("empty");
        guest.upload_bytes(b"", empty.to_str().unwrap(), 0o600).await.unwrap();
        assert_eq!((fs::read(&empty).unwrap().len(), mode(&empty)), (0, 0o600));
        // Over a longer file with another mode.
        fs::write(&empty, "something long").unwrap();
        guest.upload_bytes(b"x", empty.to_str().unwrap(), 0o755).await.unwrap();
        assert_eq!((fs::read_to_string(&empty).unwrap().as_str(), mode(&empty)), ("x", 0o755), "{method:?}");
    }
}

fn make_tree(at: &Path) {
    fs::create_dir_all(at.join("sub/deeper/empty")).unwrap();
    fs::write(at.join("one"), "1").unwrap();
    fs::write(at.join("sub/two words"), "2").unwrap();
    fs::write(at.join("sub/deeper/three"), noise(70_000)).unwrap();
    fs::set_permissions(at.join("sub/deeper/three"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(at.join(".hidden"), "h").unwrap();
    symlink("one", at.join("link")).unwrap();
}

fn check_tree(at: &Path) {
    assert_eq!(fs::read_to_string(at.join("one")).unwrap(), "1");
    assert_eq!(fs::read_to_string(at.join("sub/two words")).unwrap(), "2");
    assert_eq!(fs::read(at.join("sub/deeper/three")).unwrap(), noise(70_000));
    assert_eq!(mode(&at.join("sub/deeper/three")), 0o700);
    assert!(at.join("sub/deeper/empty").is_dir());
    assert!(fs::symlink_metadata(at.join("link")).unwrap().is_file(), "links are followed");
}

async fn directories_follow_the_slash_rule(server: &Server, methods: &[TransferMethod]) {
    let here = tempfile::tempdir().unwrap();
    let tree = here.path().join("tree");
    make_tree(&tree);
    for method in methods {
        let guest = by(server, *method).await;
        let there = |name: &str| server.path(&format!("{name}-{method:?}"));
        // The contents, into a directory that exists and into one that does not.
        let contents = Path::new(tree.to_str().unwrap()).join("");
        fs::create_dir(there("old")).unwrap();
        for name in ["old", "new"] {
            guest.upload_directory(&contents, there(name).to_str().unwrap(), &NoProgress).await.unwrap();
            check_tree(&there(name));
            assert!(there(name).join(".hidden").exists());
            // And the directory itself.
            let into = format!("{}/", there(name).display());
            guest.upload_directory(&tree, &into, &NoProgress).await.unwrap();
            check_tree(&there(name).join("tree"));
        }
        // The directory itself becomes a destination that is missing, and goes below one that is there, slash or not.
        for (name, slash) in [("fresh", ""), ("slash", "/")] {
            let destination = format!("{}{slash}", there(name).display());
            guest.upload_directory(&tree, &destination, &NoProgress).await.unwrap();
            check_tree(&there(name));
            assert!(!there(name).join("tree").exists(), "{method:?} {name}");
            guest.upload_directory(&tree, &destination, &NoProgress).await.unwrap();
            check_tree(&there(name).join("tree"));
        }
        // Nothing gets the name of a directory that is missing.
        let missing = there("missing");
        for source in [&tree, &contents] {
            let below = missing.join("below").display().to_string();
            let error = guest.upload_directory(source, &below, &NoProgress).await.unwrap_err();
            assert!(matches!(&error, CommunicatorError::Remote { .. }), "{method:?} {error}");
            assert!(!missing.exists(), "{method:?} {source:?}");
        }
        let file = missing.join("n.txt").display().to_string();
        let error = guest.upload_bytes(b"x", &file, 0o644).await.unwrap_err();
        assert!(error.to_string().to_lowercase().contains("no such file"), "{method:?} {error}");
        let error = guest.upload_file(&tree.join("one"), &file, None, &NoProgress).await.unwrap_err();
        assert!(error.to_string().contains(missing.to_str().unwrap()), "{method:?} {error}");
        assert!(!missing.exists(), "{method:?}");
        // Nor is a file taken for a directory.
        fs::write(there("file"), "mine").unwrap();
        for source in [&tree, &contents] {
            guest.upload_directory(source, there("file").to_str().unwrap(), &NoProgress).await.unwrap_err();
            assert_eq!(fs::read_to_string(there("file")).unwrap(), "mine", "{method:?}");
        }
        // Back: the directory under its own name, and what a pattern matches.
        let back = here.path().join(format!("back-{method:?}"));
        fs::create_dir(there("src")).unwrap();
        make_tree(&there("src"));
        let source = there("src").display().to_string();
        guest.download_directory(&format!("{source}/"), &back, &NoProgress).await.unwrap();
        check_tree(&back.join(there("src").file_name().unwrap()));
        assert!(back.join(there("src").file_name().unwrap()).join(".hidden").exists());
        let matched = here.path().join(format!("matched-{method:?}"));
        guest.download_directory(&format!("{source}/*"), &matched, &NoProgress).await.unwrap();
        check_tree(&matched);
        assert!(!matched.join(".hidden").exists());
    }
}

#[tokio::test]
async fn directories_follow_the_slash_rule_on_openssh() {
    let server = server_or_return!(Server::openssh(), "sshd");
    directories_follow_the_slash_rule(&server, &METHODS).await;
}

#[tokio::test]
async fn directories_follow_the_slash_rule_on_dropbear() {
    let server = server_or_return!(Server::dropbear(), "dropbear, dropbearconvert and cc");
    directories_follow_the_slash_rule(&server, &METHODS[..1]).await;
}

#[tokio::test]
async fn what_the_guest_cannot_do_is_told_in_its_words() {
    let server = server_or_return!(Server::openssh(), "sshd");
    let here = tempfile::tempdir().unwrap();
    for method in METHODS {
        let guest = by(&server, method).await;
        let error = guest.upload_bytes(b"x", "/nonexistent/dir/x", 0o644).await.unwrap_err();
        assert!(matches!(&error, CommunicatorError::Remote { .. }), "{method:?} {error}");
        assert!(error.to_string().contains("/nonexistent/dir"), "{error}");
        let error = guest.download_file("/nonexistent", &here.path().join("x"), &NoProgress).await.unwrap_err();
        assert!(error.to_string().to_lowercase().contains("no such file"), "{method:?} {error}");
        let error = guest.download_file("/etc", &here.path().join("x"), &NoProgress).await.unwrap_err();
        assert!(matches!(&error, CommunicatorError::Remote { .. }), "{method:?} {error}");
        let error = guest.download_directory("/nonexistent/*", here.path(), &NoProgress).await.unwrap_err();
        assert!(matches!(&error, CommunicatorError::Remote { .. }), "{method:?} {error}");
        let error = guest.upload_bytes(b"x", "/tmp/", 0o644).await.unwrap_err();
        assert!(matches!(&error, CommunicatorError::InvalidDestination { .. }), "{error}");
        let error = guest.upload_file(Path::new("/nonexistent"), "/tmp/x", None, &NoProgress).await.unwrap_err();
        assert!(matches!(&error, CommunicatorError::Local { .. }), "{error}");
        let error = guest.upload_bytes(&noise(300_000), "/dev/full", 0o666).await.unwrap_err();
        assert!(matches!(&error, CommunicatorError::Remote { .. }), "{method:?} {error}");
        assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0);
        // The connection is as good as before.
        guest.upload_bytes(b"x", server.path("after").to_str().unwrap(), 0o644).await.unwrap();
    }
}

#[tokio::test]
async fn the_other_method_is_used_when_the_guest_lacks_one() {
    for (extra, method, used) in [
        ("Subsystem sftp internal-sftp\nSetEnv PATH=/nonexistent\n", TransferMethod::Scp, "sftp"),
        ("", TransferMethod::Sftp, "scp"),
        ("Subsystem sftp /nonexistent/sftp-server\n", TransferMethod::Sftp, "scp"),
    ] {
        let server = server_or_return!(Server::openssh_with(extra), "sshd");
        let mut config = server.config();
        config.transfer = method;
        let events = Events::default();
        let guest = kiln_communicators::ssh::connect(&config, Arc::new(events.clone())).await.unwrap();
        for name in ["a", "b"] {
            guest.upload_bytes(b"x", server.path(name).to_str().unwrap(), 0o644).await.unwrap();
            assert!(server.path(name).exists());
        }
        let events = events.all();
        let notes: Vec<_> =
            events.iter().filter_map(|e| if let ConnectEvent::Note(note) = e { Some(note) } else { None }).collect();
        assert!(notes.len() == 1 && notes[0].ends_with(used), "{notes:?}");
    }
    let server = server_or_return!(Server::openssh_with("SetEnv PATH=/nonexistent\n"), "sshd");
    let error = server.connect().await.upload_bytes(b"x", "/tmp/x", 0o644).await.unwrap_err();
    assert!(matches!(error, CommunicatorError::NoTransferProgram { .. }), "{error}");
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn home_directories_and_variables_are_expanded_by_the_guests_shell() {
    let server = server_or_return!(Server::dropbear(), "dropbear, dropbearconvert and cc");
    let guest = server.connect().await;
    for (destination, name) in [("~/work/tilde", "tilde"), ("$HOME/work/var", "var"), ("work/relative", "relative")] {
        guest.upload_bytes(b"x", destination, 0o644).await.unwrap();
        assert!(server.path(name).exists(), "{destination}");
    }
}
