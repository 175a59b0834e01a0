//! What the hypervisor would refuse is told before anything is fetched.

use kiln_hypervisors::fake::{FakeHypervisor, FakeScript};

use super::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_cannot_come_to_anything_costs_no_download() {
    let server = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let mut world = World::new();
    let refused = Some("there is no guest system called Bogus; there are: Other".to_owned());
    let script = FakeScript { look_error: refused, ..FakeScript::default() };
    world.hypervisor = FakeHypervisor::in_place_of("virtualbox", script);
    let template = format!(
        r#"
source "virtualbox-iso" "web" {{
  iso_url              = "http://{address}/x.iso"
  iso_checksum         = "none"
  guest_os_type        = "Bogus"
  guest_additions_mode = "disable"
  ssh_username         = "root"
  ssh_password         = "a-long-password"
  output_directory     = "{out}"
}}

build {{
  sources = ["source.virtualbox-iso.web"]
}}
"#,
        address = server.local_addr().unwrap(),
        out = world.path("out").display(),
    );
    let outcome = world.run(&template).await;
    assert_eq!((outcome.exit_code, world.steps()), (1, vec!["look".to_owned()]), "{}", world.text());
    assert!(world.error().unwrap().contains("no guest system called Bogus"), "{:?}", world.error());
    let asked = tokio::time::timeout(std::time::Duration::from_millis(50), server.accept()).await;
    assert!(asked.is_err(), "the server was asked: {asked:?}");
    world.assert_nothing_left("a machine that was refused");
}
