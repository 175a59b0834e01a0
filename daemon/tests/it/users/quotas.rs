//! What a user may have at once: connections and streams.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::json;

use super::{ALICE, BOB, System, as_user};
use crate::rig::{PATIENCE, skip};

#[test]
fn what_a_user_may_have_is_counted_on_the_wire_and_changes_with_a_reload() {
    if !geteuid().is_root() {
        return skip("root");
    }
    let configuration =
        |connections: u32, followers: u32| format!("[quotas]\nconnections = {connections}\nfollowers = {followers}\n");
    let system = System::with(&configuration(4, 2));
    let job = system.submit(BOB, &json!([{"await_answer": "q"}]));
    system.until_state(BOB, &job, "running");
    let connect = || as_user(BOB, || UnixStream::connect(system.socket()).unwrap());
    let refused = |what: &str| {
        system.until(what, || {
            let (status, body) = system.ask(BOB, "GET", "/v1/info", "")?;
            (status == 429 && body.contains("connections, as many as each user")).then_some(())
        });
    };
    let served = |uid: u32| {
        system.until("an answer", || (system.ask(uid, "GET", "/v1/info", "")?.0 == 200).then_some(()));
    };
    let mut open: Vec<_> = (0..4).map(|_| connect()).collect();
    refused("four connections and no more");
    served(ALICE);
    served(0);
    // Those that are given back can be had again.
    open.truncate(1);
    served(BOB);

    let follow = || {
        let mut stream = connect();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("GET /v1/jobs/{job}/events?follow=true HTTP/1.1\r\nhost: kiln\r\n\r\n");
        // One that was turned away may be closed already.
        let _ = stream.write_all(head.as_bytes());
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).ok()?;
        (answer == *b"HTTP/1.1 200").then_some(stream)
    };
    drop(open);
    let followers = [0, 1].map(|_| system.until("a stream", follow));
    system.until("no third stream", || {
        let (status, body) = system.ask(BOB, "GET", &format!("/v1/jobs/{job}/events?follow=true"), "")?;
        (status == 429 && body.contains("you have 2 streams of events open")).then_some(())
    });

    std::fs::write(system.path("etc/kiln/kiln.toml"), configuration(8, 3)).unwrap();
    kill_process(Pid::from_child(&system.daemon), Signal::HUP).unwrap();
    let third = system.until("a third stream", follow);
    // Three follow, so that five more connections are eight.
    let open: Vec<_> = (0..5).map(|_| connect()).collect();
    refused("eight connections and no more");
    drop((followers, third, open));
    served(BOB);
}
