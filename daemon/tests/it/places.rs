//! Places for connections on a daemon for all users: who takes all of them leaves some to the others.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::geteuid;

use crate::rig::skip;
use crate::users::{BOB, System, as_user};

/// A request whose end does not come.
fn slow(socket: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    let head = "POST /v1/jobs HTTP/1.1\r\nhost: kiln\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn users_who_take_all_places_leave_some_to_the_rest() {
    if !geteuid().is_root() {
        skip("root");
        return;
    }
    let system = System::start_with("connections = 64", Vec::new());
    let socket = system.path("run/kiln/kiln.sock");
    // As many as there are places for; four user ids of one user's, as newuidmap(1) gives them.
    let held: Vec<_> = (3_000_000_001..=3_000_000_004_u32)
        .flat_map(|uid| as_user(uid, || (0..64).map(|_| slow(&socket)).collect::<Vec<_>>()))
        .collect();
    assert_eq!(held.len(), 256);
    for uid in [BOB, 0, BOB] {
        let (status, body) = system.answer(uid, "GET", "/v1/info", "");
        assert_eq!(status, 200, "user {uid}: {body}");
    }
}
