//! A package that cannot be imported is refused before anything is made: at once when it is here, else right after its download.

use std::time::Duration;

use kiln_builder::{Wanted, validate};
use kiln_hypervisors::fake::{FakeHypervisor, FakeScript};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::World;

/// A descriptor of one machine with this inside, and these disks.
fn ovf(files: &str, disks: &str) -> String {
    let envelope = "http://schemas.dmtf.org/ovf/envelope/1";
    format!(
        "<?xml version=\"1.0\"?><Envelope xmlns=\"{envelope}\" xmlns:ovf=\"{envelope}\"><References>{files}</References>\
         <DiskSection><Info>disks</Info>{disks}</DiskSection><VirtualSystem ovf:id=\"x\"><Info>x</Info></VirtualSystem></Envelope>"
    )
}

fn with_disks(count: usize) -> String {
    let disks = (0..count).map(|number| format!("<Disk ovf:diskId=\"d{number}\" ovf:capacity=\"512\"/>"));
    ovf("", &disks.collect::<String>())
}

fn with_file(href: &str) -> String {
    ovf(
        &format!("<File ovf:id=\"f\" ovf:href=\"{href}\"/>"),
        "<Disk ovf:diskId=\"d\" ovf:fileRef=\"f\" ovf:capacity=\"512\"/>",
    )
}

/// Packages that are refused, with what is said of each.
fn bad() -> Vec<(String, &'static str)> {
    let entity = with_file("&x;")
        .replace("<Envelope", "<!DOCTYPE Envelope [<!ENTITY x SYSTEM \"file:///etc/hostname\">]><Envelope");
    vec![
        (entity, "document type"),
        (with_disks(257), "257 disks, more than 256"),
        (with_disks(10_000), "10000 disks, more than 256"),
        (with_file("absent.vmdk"), "absent.vmdk: the file is missing"),
        (with_file("../../etc/hostname"), "the name leads out of the directory"),
    ]
}

/// A build of a package, which would fetch the guest additions.
struct Import {
    world: World,
    additions: TcpListener,
}

impl Import {
    async fn new() -> Self {
        let mut world = World::new();
        world.hypervisor = FakeHypervisor::in_place_of("virtualbox", FakeScript::default());
        Self { world, additions: TcpListener::bind(("127.0.0.1", 0)).await.unwrap() }
    }

    fn template(&self, source: &str) -> String {
        format!(
            r#"
source "virtualbox-ovf" "web" {{
  source_path          = "{source}"
  guest_additions_url  = "http://{additions}/additions.iso"
  ssh_username         = "root"
  ssh_password         = "a-long-password"
  shutdown_command     = "poweroff"
  output_directory     = "{out}"
}}

build {{
  sources = ["source.virtualbox-ovf.web"]
}}
"#,
            additions = self.additions.local_addr().unwrap(),
            out = self.world.path("out").display(),
        )
    }

    fn local(&self, ovf: &str) -> String {
        let path = self.world.path("x.ovf");
        std::fs::write(&path, ovf).unwrap();
        path.display().to_string()
    }

    /// Nothing came of the build: no machine, no directory, no download.
    async fn assert_nothing_made(&self) {
        assert!(self.world.hypervisor.specs().is_empty());
        assert!(!self.world.path("out").exists());
        let asked = tokio::time::timeout(Duration::from_millis(50), self.additions.accept()).await;
        assert!(asked.is_err(), "the guest additions were asked for: {asked:?}");
    }
}

/// Serves a text to whoever asks.
async fn serve(text: String) -> (String, JoinHandle<()>) {
    let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/x.ovf", server.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = server.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
            let _ = stream.write_all(format!("{head}{text}").as_bytes()).await;
        }
    });
    (url, serving)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_package_that_is_here_starts_nothing_and_is_a_warning_of_validate() {
    for (text, problem) in bad() {
        let import = Import::new().await;
        let template = import.template(&import.local(&text));
        let validation = validate(&import.world.check_request(&template), &import.world.path("cache"), Wanted::Both);
        let told = format!("{:?}", validation.problems.iter().map(|problem| problem.json.clone()).collect::<Vec<_>>());
        assert!(validation.valid && told.contains(problem), "{problem}: {told}");
        let outcome = import.world.run(&template).await;
        // Diagnostics are told in lines of a terminal's width.
        let told = import.world.text().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!((outcome.exit_code, import.world.steps()), (1, Vec::new()), "{problem}: {told}");
        assert!(told.contains(problem) && told.contains("source_path"), "{problem}: {told}");
        import.assert_nothing_made().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_package_is_refused_right_after_its_download() {
    for (text, problem) in bad() {
        let import = Import::new().await;
        let (url, serving) = serve(text).await;
        let outcome = import.world.run(&import.template(&url)).await;
        serving.abort();
        let told = import.world.text();
        let steps = ["look", "fetch", "check"].map(str::to_owned).to_vec();
        assert_eq!((outcome.exit_code, import.world.steps()), (1, steps), "{problem}: {told}");
        assert!(told.contains(problem), "{problem}: {told}");
        import.assert_nothing_made().await;
        import.world.assert_nothing_left(problem);
    }
}

/// The digests of its files are those of its manifest: that takes reading them, and so a step of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_disk_is_found_before_anything_is_made() {
    let import = Import::new().await;
    let template = import.template(&import.local(&with_file("disk.vmdk")));
    std::fs::write(import.world.path("disk.vmdk"), "changed").unwrap();
    std::fs::write(import.world.path("x.mf"), format!("SHA256(disk.vmdk)= {}\n", "0".repeat(64))).unwrap();
    let outcome = import.world.run(&template).await;
    let told = import.world.text();
    let steps = ["look", "fetch", "check"].map(str::to_owned).to_vec();
    assert_eq!((outcome.exit_code, import.world.steps()), (1, steps), "{told}");
    assert!(told.contains("disk.vmdk (line 1): the SHA256 is"), "{told}");
    import.assert_nothing_made().await;
    // What a good one goes on with.
    std::fs::remove_file(import.world.path("x.mf")).unwrap();
    import.world.events.lock().unwrap().clear();
    import.world.run(&template.replace("guest_additions_url", "guest_additions_mode = \"disable\" #")).await;
    let steps = import.world.steps();
    assert_eq!(steps[..5], ["look", "fetch", "check", "output", "work"], "{}", import.world.text());
}
