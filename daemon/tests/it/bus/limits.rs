//! Calls that make no sense, are too large, too many, or never read.

use super::*;

#[tokio::test]
async fn what_is_not_there_and_what_does_not_fit_is_refused_by_its_name() {
    let Some(bus) = TestBus::start() else { return };
    let daemon = bus.kilnd().await;
    let desktop = bus.desktop().await;
    let job = desktop.submit(&daemon, &waits_for(&daemon.path("never"))).await;
    desktop.wait_for(&job, JOB, "State", "running").await;
    let missing = format!("{ROOT}/job/_aaaaaaaaaa");
    let error = |name: &str| format!("org.freedesktop.DBus.Error.{name}");
    let refused =
        async |path: &str, interface: &str, method: &str| desktop.refused(path, interface, method, &(none(),)).await.0;
    assert_eq!(refused(ROOT, MANAGER, "Explode").await, error("UnknownMethod"));
    assert_eq!(refused(ROOT, JOB, "Cancel").await, error("UnknownInterface"));
    assert_eq!(refused(&missing, JOB, "Cancel").await, "org.kiln.Kiln1.Error.NoSuchJob");
    assert_eq!(refused("/org/kiln/Kiln1/job/_x1", JOB, "Cancel").await, error("UnknownInterface"));
    assert_eq!(desktop.refused(&job, JOB, "Cancel", &()).await.0, error("InvalidArgs"));
    let property =
        async |name: &str, interface: &str| desktop.refused(&job, PROPERTIES, "Get", &(interface, name)).await.0;
    assert_eq!(property("Password", JOB).await, error("UnknownProperty"));
    assert_eq!(property("State", MANAGER).await, error("UnknownInterface"));
    let set = desktop.refused(&job, PROPERTIES, "Set", &(JOB, "State", Variant::from("succeeded"))).await;
    assert_eq!(set.0, error("PropertyReadOnly"));

    let flags: Named<'_> = HashMap::from([("flags", 2u64.into())]);
    for (method, interface) in [("Cancel", JOB), ("OpenLog", JOB), ("Screenshot", JOB)] {
        let (name, text) = desktop.refused(&job, interface, method, &(flags_again(&flags),)).await;
        assert_eq!(name, error("InvalidArgs"), "{method}: {text}");
    }
    assert_eq!(desktop.text(&job, JOB, "State").await, "running", "nothing was cancelled");
    let (name, text) = desktop.refused(ROOT, MANAGER, "Submit", &(none(), none())).await;
    assert_eq!(name, "org.kiln.Kiln1.Error.InvalidSubmission", "{text}");
    let relative: Named<'_> = HashMap::from([("template", "a".into()), ("working_directory", "here".into())]);
    let (name, text) = desktop.refused(ROOT, MANAGER, "Submit", &(relative, none())).await;
    assert_eq!(name, "org.kiln.Kiln1.Error.InvalidSubmission");
    assert!(text.contains("absolute"), "{text}");
}

fn flags_again<'a>(flags: &Named<'a>) -> Named<'a> {
    flags.iter().map(|(name, value)| (*name, value.try_clone().unwrap())).collect()
}

#[tokio::test]
async fn a_call_that_is_too_large_is_refused_and_the_next_one_is_answered() {
    let Some(bus) = TestBus::start() else { return };
    let _daemon = bus.kilnd().await;
    let desktop = bus.desktop().await;
    let large = "x".repeat(2 << 20);
    let specification: Named<'_> = HashMap::from([("template_text", large.as_str().into())]);
    let (name, text) = desktop.refused(ROOT, MANAGER, "Submit", &(specification, none())).await;
    assert_eq!(name, "org.freedesktop.DBus.Error.LimitsExceeded", "{text}");
    assert_eq!(desktop.text(ROOT, MANAGER, "Version").await, env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn many_calls_at_once_are_answered_or_refused_and_others_are_served() {
    let Some(bus) = TestBus::start() else { return };
    let daemon = bus.kilnd().await;
    let (flooder, desktop) = (bus.desktop().await, bus.desktop().await);
    let job = desktop.submit(&daemon, &waits_for(&daemon.path("never"))).await;
    desktop.wait_for(&job, JOB, "State", "running").await;
    let flood = (0..500).map(|_| flooder.try_call(&job, PROPERTIES, "GetAll", &(JOB,)));
    let flood = futures_util::future::join_all(flood);
    let (answers, state) = tokio::join!(flood, desktop.text(&job, JOB, "State"));
    assert_eq!(state, "running");
    let mut refused = 0;
    for answer in answers {
        match answer {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(what_is_said(&error).0, "org.freedesktop.DBus.Error.LimitsExceeded");
                refused += 1;
            }
        }
    }
    println!("{refused} of 500 calls at once were refused");
    desktop.wait_for(&job, JOB, "State", "running").await;
}

#[tokio::test]
async fn streams_are_limited_and_one_that_is_closed_makes_room() {
    let Some(bus) = TestBus::start() else { return };
    let daemon = bus.kilnd().await;
    let desktop = bus.desktop().await;
    let job = desktop.submit(&daemon, &waits_for(&daemon.path("never"))).await;
    desktop.wait_for(&job, JOB, "State", "running").await;
    let mut open = Vec::new();
    let refused = loop {
        match desktop.try_call(&job, JOB, "OpenEvents", &(0u64, none())).await {
            Ok(reply) => open.push(reply.body().deserialize::<zbus::OwnedFd>().unwrap()),
            Err(error) => break what_is_said(&error).0,
        }
        assert!(open.len() <= 32, "they are limited");
    };
    assert_eq!((open.len(), &*refused), (32, "org.freedesktop.DBus.Error.LimitsExceeded"));
    // Nobody says anything in this job any more: the end that was closed has to be noticed by itself.
    drop(open.pop());
    until("room", async || desktop.try_call(&job, JOB, "OpenLog", &(none(),)).await.ok()).await;
}

#[tokio::test]
async fn a_reader_that_never_reads_slows_nobody() {
    let Some(bus) = TestBus::start() else { return };
    let daemon = bus.kilnd().await;
    let desktop = bus.desktop().await;
    let line = "x".repeat(10_000);
    let say = json!({"emit": {"build": "qemu.a", "kind": "say", "text": line}});
    let script: Vec<_> = (0..200).map(|_| say.clone()).collect();
    let job = desktop.submit(&daemon, &json!(script)).await;
    let _never_read: zbus::OwnedFd = desktop.call(&job, JOB, "OpenEvents", &(0u64, none())).await;
    let log: zbus::OwnedFd = desktop.call(&job, JOB, "OpenLog", &(none(),)).await;
    assert_eq!(read(log).await.lines().count(), 200);
    desktop.wait_for(&job, JOB, "State", "succeeded").await;
}

/// What a worker says goes out in properties, signals and refusals, and a bus throws out who sends a zero in a text.
#[tokio::test]
async fn zeros_in_what_a_worker_says_do_not_cost_kilnd_its_connection() {
    let Some(bus) = TestBus::start() else { return };
    let daemon = bus.kilnd().await;
    let desktop = bus.desktop().await;
    let before = desktop.owner_of_kilnd().await;
    let emit = |event: Value| {
        let mut said = json!({"build": "qemu.a\0"});
        said.as_object_mut().unwrap().extend(event.as_object().unwrap().clone());
        json!({"emit": said})
    };
    let script = json!([
        emit(json!({"kind": "build_planned", "position": 0})),
        emit(json!({"kind": "step_started", "step": "fe\0tch"})),
        emit(json!({"kind": "artifact", "builder_id": "b\0", "id": "i\0", "text": "t\0", "files": ["/w/a\0"]})),
        emit(json!({"kind": "build_finished", "elapsed_us": 1, "error": "it\0"})),
        {"await_file": daemon.path("never")},
    ]);
    let job = desktop.submit(&daemon, &script).await;
    let build = format!("{job}/build/_0");
    desktop.wait_for(&build, BUILD, "State", "failed").await;
    assert_eq!(desktop.text(&build, BUILD, "Name").await, "qemu.a\u{fffd}");
    assert_eq!(desktop.text(&build, BUILD, "Error").await, "it\u{fffd}");
    let image = desktop.properties(&format!("{build}/image/_0"), IMAGE).await;
    assert_eq!(<&str>::try_from(&*image["Id"]), Ok("i\u{fffd}"));
    let managed = desktop.try_call(ROOT, OBJECT_MANAGER, "GetManagedObjects", &()).await;
    assert!(managed.is_ok(), "{managed:?}");
    assert_eq!(desktop.owner_of_kilnd().await, before, "it has never lost the bus");
}
