//! What a spec says is what QEMU has: asked over QMP, the way other programs would.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::ports::{forward, forwarded};
use super::*;
use crate::ledger::NoLedger;
use crate::port_lease::PortRange;
use crate::spec::{Topology, VncSpec};

/// A connection to the machine's QMP socket.
struct Asker {
    stream: BufReader<UnixStream>,
}

impl Asker {
    async fn connect(path: &std::path::Path) -> Self {
        let mut asker = Self { stream: BufReader::new(UnixStream::connect(path).await.unwrap()) };
        assert!(asker.line().await["QMP"].is_object());
        asker.ask("qmp_capabilities", &Value::Null).await;
        asker
    }

    async fn line(&mut self) -> Value {
        let mut line = String::new();
        within(self.stream.read_line(&mut line)).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }

    async fn ask(&mut self, command: &str, arguments: &Value) -> Value {
        let mut message = json!({ "execute": command });
        if !arguments.is_null() {
            message["arguments"] = arguments.clone();
        }
        self.stream.get_mut().write_all(format!("{message}\n").as_bytes()).await.unwrap();
        loop {
            let mut line = self.line().await;
            if line.get("event").is_none() {
                assert!(line.get("error").is_none(), "{command}: {line}");
                return line["return"].take();
            }
        }
    }

    async fn query(&mut self, what: &str) -> Value {
        self.ask(&format!("query-{what}"), &Value::Null).await
    }

    async fn property(&mut self, path: &str, property: &str) -> Value {
        self.ask("qom-get", &json!({ "path": path, "property": property })).await
    }

    async fn human(&mut self, line: &str) -> String {
        let answer = self.ask("human-monitor-command", &json!({ "command-line": line })).await;
        answer.as_str().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn every_option_reaches_the_machine() {
    if missing(QEMU) || missing("swtpm") {
        return;
    }
    let host = Host::new();
    let mut spec = host.spec(Guest::Echo);
    let iso = host.directory().join("x.iso");
    let (second, floppy) = (host.directory().join("second"), host.directory().join("floppy"));
    for (path, bytes) in [(&iso, 4096), (&second, 1 << 20), (&floppy, 1_474_560)] {
        std::fs::write(path, vec![0; bytes]).unwrap();
    }
    let socket = host.directory().join("own.monitor");
    spec.name = "seen".to_owned();
    spec.memory_mib = 64;
    spec.topology = Topology::from_options(0, 1, 2, 1);
    spec.disks
        .push(DiskSpec { discard: Some(false), ..DiskSpec::new(&second, DiskFormat::Raw, DiskInterface::Virtio) });
    spec.cdroms.push(CdromSpec { path: iso.clone(), interface: Some("sata".to_owned()) });
    spec.floppy = Some(floppy.clone());
    spec.tpm = Some(TpmVersion::V2);
    spec.network.mode = forward(20_300, 20_400);
    let password = Some("hunter22".to_owned());
    spec.vnc = Some(VncSpec { bind: "127.0.0.1".to_owned(), port_min: 6200, port_max: 6300, password });
    let part = qemu(&mut spec);
    part.machine_type = Some("q35".to_owned());
    part.cpu_model = Some("Westmere".to_owned());
    part.vga = Some("qxl".to_owned());
    part.disk_cache = Some(CacheMode::Directsync);
    part.disk_detect_zeroes = Some(DetectZeroes::On);
    part.qmp_socket = Some(socket.clone());
    part.arguments = vec![vec!["-rtc".to_owned(), "base=".to_owned(), "localtime".to_owned()]];
    spec.disks[0].interface = DiskInterface::Sata;

    let ledger = Arc::new(RecordingLedger::default());
    let machine = host.hypervisor.start(&spec, ledger.clone()).await.unwrap();
    assert!(ledger.held().contains(&Resource::Socket { path: socket.clone() }));
    let mut asker = Asker::connect(&socket).await;
    assert_eq!(asker.query("name").await["name"], "seen");
    assert_eq!(asker.query("memory-size-summary").await["base-memory"], 64 << 20);
    let processors = asker.query("cpus-fast").await;
    assert_eq!(processors.as_array().unwrap().len(), 2, "{processors}");
    for processor in processors.as_array().unwrap() {
        let kind = asker.property(processor["qom-path"].as_str().unwrap(), "type").await;
        assert_eq!(kind, "Westmere-x86_64-cpu");
    }
    assert!(asker.property("/machine", "type").await.as_str().unwrap().starts_with("pc-q35-"));
    assert_eq!(asker.query("kvm").await["enabled"], false);
    assert_eq!(asker.query("tpm").await[0]["model"], "tpm-tis");
    let vnc = asker.query("vnc").await;
    assert_eq!((&vnc["auth"], &vnc["host"]), (&json!("vnc"), &json!("127.0.0.1")));
    assert_eq!(machine.description().vnc.map(|address| address.port().to_string()).as_deref(), vnc["service"].as_str());

    let blocks = asker.query("block").await;
    let inserted = |path: &std::path::Path| {
        let all = blocks.as_array().unwrap().iter();
        let found = all.map(|one| &one["inserted"]).find(|inserted| inserted["file"] == path.to_str().unwrap());
        found.unwrap_or_else(|| panic!("{} is not in {blocks}", path.display())).clone()
    };
    let disk = inserted(&host.directory().join("disk"));
    assert_eq!((&disk["drv"], &disk["ro"], &disk["detect_zeroes"]), (&json!("raw"), &json!(false), &json!("on")));
    assert_eq!(disk["cache"], json!({ "no-flush": false, "direct": true, "writeback": false }));
    assert_eq!(inserted(&second)["cache"], disk["cache"]);
    assert_eq!(inserted(&iso)["ro"], true);
    inserted(&floppy);

    let network = asker.human("info network").await;
    assert!(network.contains("model=e1000") && network.contains("user.0"), "{network}");
    let port = forwarded(machine.as_ref()).await.to_string();
    let usernet = asker.human("info usernet").await;
    assert!(usernet.split_whitespace().any(|word| word == port), "{port} is not in {usernet}");
    let tree = asker.human("info qtree").await;
    for device in ["dev: ide-hd,", "dev: ide-cd,", "dev: virtio-blk-pci,", "dev: qxl-vga,", "dev: tpm-tis,"] {
        assert!(tree.contains(device), "{device} is not in {tree}");
    }
    machine.kill().await;
    assert_eq!(ledger.held(), []);
    assert!(!socket.exists() && !host.anything_left());
}

#[tokio::test]
async fn a_spice_server_of_the_template_is_told_of() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let mut spec = host.spec(Guest::Echo);
    let mut lease = PortRange::new("SPICE", "127.0.0.1", (20451, 20550)).next_free().unwrap();
    let address = format!("127.0.0.1:{}", lease.number());
    let server = format!("port={},addr=127.0.0.1,disable-ticketing=on", lease.number());
    qemu(&mut spec).arguments = vec![vec!["-spice".to_owned(), server]];
    lease.hand_over();
    let machine = match host.hypervisor.start(&spec, Arc::new(NoLedger)).await {
        Ok(machine) => machine,
        // Some distributions have it in a package of its own.
        Err(StartError::EndedEarly { stderr, .. }) if stderr.contains("spice") => {
            assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "QEMU has no SPICE: {stderr}");
            eprintln!("ignored: needs QEMU's SPICE module");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(machine.description().spice, Some(address.parse().unwrap()));
    assert!(std::net::TcpStream::connect(&address).is_ok());
    machine.kill().await;
}

#[tokio::test]
async fn a_templates_own_monitor_takes_the_place_of_the_one_asked_for() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let (asked, own) = (host.directory().join("asked"), host.directory().join("own"));
    let mut spec = host.spec(Guest::Echo);
    qemu(&mut spec).qmp_socket = Some(asked.clone());
    let value = format!("unix:{},server=on,wait=off", own.display());
    qemu(&mut spec).arguments = vec![vec!["-qmp".to_owned(), value]];
    let machine = host.start(&spec).await;
    let mut asker = Asker::connect(&own).await;
    assert_eq!(asker.query("status").await["status"], "prelaunch");
    assert!(!asked.exists());
    machine.kill().await;
}

#[tokio::test]
async fn a_monitor_that_cannot_be_made_is_told_and_leaves_nothing() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let path = host.directory().join("file");
    std::fs::write(&path, "precious").unwrap();
    let mut spec = host.spec(Guest::Echo);
    qemu(&mut spec).qmp_socket = Some(path.clone());
    let ledger = Arc::new(RecordingLedger::default());
    let error = host.hypervisor.start(&spec, ledger.clone()).await.err().unwrap();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    assert_eq!(ledger.held(), []);
    assert!(!host.anything_left());
}
