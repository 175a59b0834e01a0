//! A bus that is not there, goes away and comes back, or on which somebody else has the name.

use super::*;

impl Daemon {
    async fn dbus(&self) -> String {
        self.get("/v1/info").await.json::<Value>()["dbus"].as_str().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn without_a_bus_the_daemon_serves_and_says_so() {
    let daemon = Daemon::with(|config| {
        let keep_finished = Duration::from_secs(600);
        config.bus = Some(BusConfig { address: "unix:path=/nonexistent/bus".to_owned(), keep_finished });
    })
    .await;
    until("the state", async || daemon.dbus().await.starts_with("not there (unix:path=/nonexistent").then_some(()))
        .await;
    let id = daemon.submit(&json!([])).await;
    daemon.wait_for_state(&id, kiln_protocol::JobState::Succeeded).await;
    assert_eq!(Daemon::start().await.dbus().await, "off");
}

#[tokio::test]
async fn a_bus_that_goes_away_is_found_again_with_all_jobs() {
    let Some(mut bus) = TestBus::start() else { return };
    let daemon = bus.kilnd().await;
    assert_eq!(daemon.dbus().await, NAME);
    let desktop = bus.desktop().await;
    let job = desktop.submit(&daemon, &waits_for(&daemon.path("never"))).await;
    desktop.wait_for(&job, JOB, "State", "running").await;
    for _ in 0..2 {
        bus.kill();
        until("the loss", async || daemon.dbus().await.starts_with("not there").then_some(())).await;
        // Jobs go on, and new ones come, while there is no bus.
        let id = daemon.submit(&json!([])).await;
        daemon.wait_for_state(&id, kiln_protocol::JobState::Succeeded).await;
        bus.start_again();
        bus.wait_for_kilnd().await;
        let desktop = bus.desktop().await;
        desktop.wait_for(&job, JOB, "State", "running").await;
        desktop.wait_for(&format!("{ROOT}/job/_{id}"), JOB, "State", "succeeded").await;
    }
    assert_eq!(daemon.dbus().await, NAME);
}

#[tokio::test]
async fn a_name_that_is_taken_is_told_and_taken_over_when_it_is_free() {
    let Some(bus) = TestBus::start() else { return };
    let squatter = bus.desktop().await;
    squatter.connection.request_name(NAME).await.unwrap();
    let daemon = bus.kilnd_with(|_| ()).await;
    until("the state", async || daemon.dbus().await.contains("is taken by another program").then_some(())).await;
    let id = daemon.submit(&json!([])).await;
    daemon.wait_for_state(&id, kiln_protocol::JobState::Succeeded).await;
    drop(squatter);
    until("the name", async || (daemon.dbus().await == NAME).then_some(())).await;
    bus.desktop().await.wait_for(&format!("{ROOT}/job/_{id}"), JOB, "State", "succeeded").await;
}

#[tokio::test]
async fn a_daemon_that_stops_gives_its_name_back() {
    let Some(bus) = TestBus::start() else { return };
    let mut daemon = bus.kilnd().await;
    let desktop = bus.desktop().await;
    let job = desktop.submit(&daemon, &waits_for(&daemon.path("never"))).await;
    desktop.wait_for(&job, JOB, "State", "running").await;
    let log: zbus::OwnedFd = desktop.call(&job, JOB, "OpenLog", &(none(),)).await;
    daemon.stop().await;
    until("the name", async || (!desktop.has_owner().await).then_some(())).await;
    assert_eq!(read(log).await, "", "streams end with the daemon");
}
