//! What the methods do, and the descriptors that they return.

use std::os::fd::OwnedFd;

use kiln_protocol::Event;

use super::*;

#[tokio::test]
async fn a_job_is_cancelled_and_what_is_over_cannot_be() {
    let Some(bus) = TestBus::start() else { return };
    let daemon = bus.kilnd().await;
    let desktop = bus.desktop().await;
    for mode in [none(), HashMap::from([("mode", "now".into())])] {
        let job = desktop.submit(&daemon, &waits_for(&daemon.path("never"))).await;
        desktop.wait_for(&job, JOB, "State", "running").await;
        () = desktop.call(&job, JOB, "Cancel", &(mode,)).await;
        desktop.wait_for(&job, JOB, "State", "cancelled").await;
        let (name, text) = desktop.refused(&job, JOB, "Cancel", &(none(),)).await;
        assert_eq!(name, "org.kiln.Kiln1.Error.InvalidState", "{text}");
        assert!(text.ends_with("is over (cancelled)"), "{text}");
    }
}

#[tokio::test]
async fn events_and_log_are_read_from_pipes_to_the_end_of_the_job() {
    let Some(bus) = TestBus::start() else { return };
    let daemon = bus.kilnd().await;
    let desktop = bus.desktop().await;
    let go = daemon.path("go");
    let say = |text: &str| json!({"emit": {"build": "qemu.a", "kind": "say", "text": text}});
    let script = json!([say("first"), {"say_variable": "GREETING"}, {"await_file": go}, say("last")]);
    let job = desktop.submit(&daemon, &script).await;
    let events: zbus::OwnedFd = desktop.call(&job, JOB, "OpenEvents", &(0u64, none())).await;
    let log: zbus::OwnedFd = desktop.call(&job, JOB, "OpenLog", &(none(),)).await;
    let (events, log) = (tokio::spawn(read(events)), tokio::spawn(read(log)));
    desktop.wait_for(&job, JOB, "State", "running").await;
    std::fs::write(&go, "").unwrap();
    let events: Vec<Event> = events.await.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(crate::rig::texts(&events), ["first", "GREETING=hello", "last"]);
    assert_eq!(crate::rig::ending(&events).0, kiln_protocol::JobState::Succeeded);
    assert_eq!(log.await.unwrap(), "==> qemu.a: first\nGREETING=hello\n==> qemu.a: last\n");
    desktop.wait_for(&job, JOB, "State", "succeeded").await;

    let last = events.last().unwrap().seq;
    let rest: zbus::OwnedFd = desktop.call(&job, JOB, "OpenEvents", &(last - 1, none())).await;
    assert_eq!(read(rest).await.lines().count(), 1);
}

#[tokio::test]
async fn without_following_a_stream_ends_where_the_job_is() {
    let Some(bus) = TestBus::start() else { return };
    let daemon = bus.kilnd().await;
    let desktop = bus.desktop().await;
    let job = desktop.submit(&daemon, &waits_for(&daemon.path("never"))).await;
    desktop.wait_for(&job, JOB, "State", "running").await;
    let once: Named<'_> = HashMap::from([("follow", false.into())]);
    let events: zbus::OwnedFd = desktop.call(&job, JOB, "OpenEvents", &(0u64, once)).await;
    assert!(read(events).await.contains("job_started"));
}

#[tokio::test]
async fn the_screen_is_read_from_a_descriptor() {
    let Some(bus) = TestBus::start() else { return };
    let daemon = bus.kilnd().await;
    let desktop = bus.desktop().await;
    let script = json!([
        {"emit": {"build": "none", "kind": "build_planned", "position": 0}}, {"await_file": daemon.path("never")},
    ]);
    let job = desktop.submit(&daemon, &script).await;
    desktop.wait_for(&job, JOB, "State", "running").await;
    let png: zbus::OwnedFd = desktop.call(&job, JOB, "Screenshot", &(none(),)).await;
    let picture = tokio::task::spawn_blocking(move || {
        let mut picture = Vec::new();
        std::fs::File::from(OwnedFd::from(png)).read_to_end(&mut picture).map(|_| picture)
    });
    let picture = tokio::time::timeout(PATIENCE, picture).await.expect("the end in time").unwrap().unwrap();
    assert_eq!(picture, b"\x89PNG\r\n\x1a\nscripted");
    // The build of this name has no guest.
    let build = format!("{job}/build/_0");
    desktop.wait_for(&build, BUILD, "State", "running").await;
    let (name, text) = desktop.refused(&build, BUILD, "Screenshot", &(none(),)).await;
    assert_eq!((&*name, &*text), ("org.kiln.Kiln1.Error.Refused", "no guest of none is running"));
}

#[tokio::test]
async fn a_key_makes_a_submission_repeatable() {
    let Some(bus) = TestBus::start() else { return };
    let daemon = bus.kilnd().await;
    let desktop = bus.desktop().await;
    let submission = daemon.submission(&json!([]));
    let (template, directory) = (submission["template"].as_str().unwrap(), daemon.scratch.path().to_str().unwrap());
    let submit = async |template: &str, umask: u32| {
        let specification: Named<'_> = HashMap::from([
            ("template", template.into()),
            ("working_directory", directory.into()),
            ("umask", umask.into()),
        ]);
        let options: Named<'_> = HashMap::from([("idempotency_key", "k1".into())]);
        desktop.try_call(ROOT, MANAGER, "Submit", &(specification, options)).await
    };
    let path = |reply: Message| reply.body().deserialize::<OwnedObjectPath>().unwrap();
    let first = path(submit(template, 18).await.unwrap());
    assert_eq!(path(submit(template, 18).await.unwrap()), first);
    match submit(template, 63).await {
        Err(zbus::Error::MethodError(name, ..)) => assert_eq!(name, "org.kiln.Kiln1.Error.Conflict"),
        other => panic!("{other:?}"),
    }
}
